//go:build linux

package intake

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"rehome/store/bolt"
)

// BenchmarkAlerts takes alerts in, one in a request, from 64 senders at once:
// each is answered after it is durable. x-of-sync compares with bare 4 KiB
// writes with fdatasync to the same disk, in turns; the aim is at least 2.
//
//	go test -run '^$' -bench Alerts ./bot/intake
//
// Over HTTP means over loopback, senders included, on the same cores.
func BenchmarkAlerts(b *testing.B) {
	collectAsServe(b)
	for _, how := range []string{"at-the-door", "over-HTTP"} {
		b.Run(how, func(b *testing.B) {
			l := open(b)
			var next atomic.Int64
			send := l.postDirect
			if how == "over-HTTP" {
				send = l.postOver(b)
			}
			one := func() { send(b, ofApp(next.Add(1))) }
			sync := syncs(b)
			spread(64, 500, one) // warm up
			const rounds = 5
			var took, synced float64
			b.ResetTimer()
			for range rounds {
				b.StartTimer()
				took += spread(64, b.N/rounds+1, one)
				b.StopTimer()
				synced += spread(1, 400, sync)
			}
			b.ReportMetric(rounds/took, "alerts/s")
			b.ReportMetric(synced/took, "x-of-sync")
		})
	}
}

// BenchmarkBatch takes alerts in by the thousand and compares with one bbolt
// transaction that puts the very same keys and values; the aim is at least 0.5.
func BenchmarkBatch(b *testing.B) {
	collectAsServe(b)
	const size = 1000
	var batches, transactions time.Duration
	for n := range b.N {
		path := filepath.Join(b.TempDir(), strconv.Itoa(n))
		s, err := bolt.Open(path, bolt.Options{})
		if err != nil {
			b.Fatal(err)
		}
		l := openOn(b, s)
		var body strings.Builder
		for i := range size {
			body.WriteString(ofApp(int64(i)) + "\n")
		}
		start := time.Now()
		l.postDirect(b, body.String())
		batches += time.Since(start)
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		transactions += inOne(b, path)
	}
	b.ReportMetric(float64(b.N*size)/batches.Seconds(), "alerts/s")
	b.ReportMetric(transactions.Seconds()/batches.Seconds(), "x-of-bbolt")
}

// collectAsServe has memory collected as seldom as `rehome serve` does.
func collectAsServe(b *testing.B) {
	was := debug.SetGCPercent(400)
	b.Cleanup(func() { debug.SetGCPercent(was) })
}

// inOne puts everything that is in a file into another, in one transaction.
func inOne(b *testing.B, path string) time.Duration {
	b.Helper()
	type pair struct{ bucket, key, value []byte }
	var all []pair
	from, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		b.Fatal(err)
	}
	err = from.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
			return bucket.ForEach(func(k, v []byte) error {
				all = append(all, pair{bytes.Clone(name), bytes.Clone(k), bytes.Clone(v)})
				return nil
			})
		})
	})
	if err != nil {
		b.Fatal(err)
	}
	_ = from.Close()
	to, err := bbolt.Open(path+".one", 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType, InitialMmapSize: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = to.Close() }()
	err = to.Update(func(tx *bbolt.Tx) error {
		for _, p := range all {
			if _, err := tx.CreateBucketIfNotExists(p.bucket); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	err = to.Update(func(tx *bbolt.Tx) error {
		for _, p := range all {
			bucket := tx.Bucket(p.bucket)
			bucket.FillPercent = .9
			if err := bucket.Put(p.key, p.value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}

// BenchmarkBurst sends 10,000 alerts at once over HTTP, from 256 senders. The
// aims are under 3000 ms for an acknowledgement at p99, and under 200 MB of
// memory, which is the most anonymous memory the process had, senders included.
func BenchmarkBurst(b *testing.B) {
	collectAsServe(b)
	const alerts = 10_000
	for b.Loop() {
		l := open(b)
		send := l.postOver(b)
		stop, peak := watchMemory()
		var mu sync.Mutex
		var acks []time.Duration
		var next atomic.Int64
		spread(256, alerts, func() {
			start := time.Now()
			send(b, ofApp(next.Add(1)))
			mu.Lock()
			acks = append(acks, time.Since(start))
			mu.Unlock()
		})
		stop()
		slices.Sort(acks)
		b.ReportMetric(float64(acks[len(acks)*99/100].Milliseconds()), "p99-ms")
		b.ReportMetric(float64(peak.Load())/1000, "peak-MB")
	}
}

// watchMemory samples the anonymous memory of the process, in kB.
func watchMemory() (stop func(), peak *atomic.Int64) {
	peak = new(atomic.Int64)
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			if now := anonymous(); now > peak.Load() {
				peak.Store(now)
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	return func() { cancel(); done.Wait() }, peak
}

func anonymous() (kB int64) {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			_, _ = fmt.Sscanf(rest, "%d", &kB)
		}
	}
	return kB
}

// ofApp is a violation of an app of its own.
func ofApp(n int64) string {
	return strings.Replace(violation(strconv.FormatInt(n, 10), ""), "3f6b2a10-8c4d", fmt.Sprintf("%08x-8c4d", n), 1)
}

// postDirect posts without a network.
func (l lobby) postDirect(b *testing.B, body string) {
	if w := l.do(request("application/x-ndjson", body)); w.Code != http.StatusAccepted {
		b.Errorf("%d %s", w.Code, w.Body)
	}
}

// postOver returns what posts over loopback.
func (l lobby) postOver(b *testing.B) func(*testing.B, string) {
	server := httptest.NewServer(l)
	b.Cleanup(server.Close)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1024}}
	b.Cleanup(client.CloseIdleConnections)
	return func(b *testing.B, body string) {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, server.URL, strings.NewReader(body))
		if err != nil {
			b.Error(err)
			return
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		res, err := client.Do(req)
		if err != nil {
			b.Error(err)
			return
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusAccepted {
			b.Errorf("%s", res.Status)
		}
	}
}

// spread has senders do count things between them and returns the seconds one
// took.
func spread(senders, count int, do func()) float64 {
	var left atomic.Int64
	left.Store(int64(count))
	var all sync.WaitGroup
	start := time.Now()
	for range senders {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				do()
			}
		})
	}
	all.Wait()
	return time.Since(start).Seconds() / float64(count)
}

// syncs returns what writes 4 KiB and waits until they are on the disk.
func syncs(b *testing.B) func() {
	f, err := os.Create(filepath.Join(b.TempDir(), "sync"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = f.Close() })
	page := make([]byte, 4096)
	return func() {
		if _, err := f.WriteAt(page, 0); err != nil {
			b.Error(err)
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			b.Error(err)
		}
	}
}
