//go:build linux

package bolt

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"rehome/conversation"
	"rehome/policy"
	"rehome/store"
)

// BenchmarkAppend opens conversations, each durable before the next of its
// caller, and compares with one bbolt Update each that puts values of the same
// sizes under keys of the same kinds, in the same run:
//
//	go test -run '^$' -bench Append ./store/bolt
//
// x-of-Update is how many times as many are appended; the aim is at least 8
// with 64 in flight, and at least 0.77 (1/1.3) for one alone. x-of-sync is the
// same against bare 4 KiB writes with fdatasync to the same disk. The three take
// turns, so that a busy machine is busy for all.
func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 8, 64, 256} {
		b.Run(fmt.Sprintf("%d-in-flight", callers), func(b *testing.B) {
			appendOne, updateOne, syncOne := appends(b), updates(b), syncs(b)
			spread(callers, callers*10, appendOne) // warm up
			spread(callers, callers*10, updateOne)
			const rounds = 5
			var append, update, sync float64 // seconds for one
			b.ReportAllocs()
			b.ResetTimer()
			for range rounds {
				b.StartTimer()
				append += seconds(callers, b.N/rounds+1, appendOne) / rounds
				b.StopTimer()
				update += seconds(callers, min(b.N/rounds+1, 1000), updateOne) / rounds
				sync += seconds(1, 400, syncOne) / rounds
			}
			b.ReportMetric(1/append, "appends/s")
			b.ReportMetric(update/append, "x-of-Update")
			b.ReportMetric(sync/append, "x-of-sync")
		})
	}
}

// BenchmarkBatch opens 1,000 conversations with one ApplyAll, and compares with
// one bbolt transaction that holds the same bytes under keys of the same kinds:
// x-of-transaction is how many times as many conversations are kept in the same
// time; the aim is at least 0.5.
func BenchmarkBatch(b *testing.B) {
	const size = 1000
	batches, plain := openForBench(b), openForBench(b)
	put := puts(b, plain)
	last, lastPlain := int64(0), int64(1)
	batch := func() {
		var all store.Batch
		for range size {
			last++
			all.Inputs = append(all.Inputs, opening(last))
		}
		if _, err := batches.ApplyAll(b.Context(), all); err != nil {
			b.Error(err)
		}
	}
	transaction := func() {
		err := plain.db.Update(func(t *bbolt.Tx) error {
			for range size {
				lastPlain++
				if err := put(t, lastPlain); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Error(err)
		}
	}
	var inBatches, inTransactions float64
	b.ReportAllocs()
	for b.Loop() {
		inBatches += seconds(1, 1, batch)
		b.StopTimer()
		inTransactions += seconds(1, 1, transaction)
		b.StartTimer()
	}
	b.ReportMetric(size*float64(b.N)/inBatches, "conversations/s")
	b.ReportMetric(inTransactions/inBatches, "x-of-transaction")
}

// BenchmarkDue asks what is due while 100,000 lines wait for 1,000 channels, all
// but eight of which have no room. The aim is under 1 ms.
func BenchmarkDue(b *testing.B) {
	s := openForBench(b)
	const conversations, threads = 100, 1000
	for i := range conversations {
		in := store.Input{Event: fmt.Sprint(i), At: time.Now(), Step: func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
			var effects []conversation.Effect
			for in := range threads {
				c.Threads = append(c.Threads, conversation.Thread{Place: conversation.Place{Channel: fmt.Sprintf("C%010d", in)}})
				effects = append(effects, conversation.Show{In: in, Card: conversation.RootKey})
			}
			return c, effects
		}}
		if _, err := s.Apply(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
	may := map[string]bool{}
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		clear(may)
		taken := 0
		ready, _, err := s.Due(b.Context(), now, func(w store.Waiting) store.Taking {
			if may[w.Channel] || taken == 8 {
				return store.LeaveChannel
			}
			may[w.Channel] = true
			taken++
			return store.Take
		})
		if err != nil || len(ready) != 8 {
			b.Fatal(len(ready), err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "ms")
}

// seconds returns how long one takes when callers do count between them.
func seconds(callers, count int, do func()) float64 {
	return spread(callers, count, do).Seconds() / float64(count)
}

// spread has callers do count things between them and returns how long it took.
func spread(callers, count int, do func()) time.Duration {
	var left atomic.Int64
	left.Store(int64(count))
	var all sync.WaitGroup
	start := time.Now()
	for range callers {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				do()
			}
		})
	}
	all.Wait()
	return time.Since(start)
}

func openForBench(b *testing.B) *Store {
	s, err := Open(filepath.Join(b.TempDir(), "rehome.db"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

func appends(b *testing.B) func() {
	s := openForBench(b)
	var next atomic.Int64
	return func() {
		if _, err := s.Apply(b.Context(), opening(next.Add(1))); err != nil {
			b.Error(err)
		}
	}
}

// appOf returns the id of an app with four alerts; ids are in no order.
func appOf(n int64) string {
	return fmt.Sprintf("%08x-0000-4000-8000-000000000000", uint32(n/4)*2654435761)
}

var benchTitle, benchWhy = strings.Repeat("title ", 20), strings.Repeat("why ", 10)

// opening is an event as an alert makes one: about 1 KB of conversation, two
// cards to show, a line for the journal.
func opening(n int64) store.Input {
	return store.Input{
		Event: fmt.Sprintf("s360/00000000-0000-4000-8000-%012d", n), Finding: fmt.Sprintf("s360/KAI-%d", n), At: time.Now(),
		Step: func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
			c.Violation = policy.Violation{ID: fmt.Sprint(n), Title: benchTitle}
			c.Facts = policy.Facts{
				{Name: policy.PartyFact, Value: "3P", From: policy.FromAlert, Why: benchWhy},
				{Name: policy.AppID, Value: appOf(n), From: policy.FromAlert, Why: benchWhy},
			}
			c.Threads = []conversation.Thread{{Place: conversation.Place{Channel: "C0000000001"}}}
			c.Status = conversation.Asking
			return c, []conversation.Effect{
				conversation.Show{Card: "root"}, conversation.Show{Card: "q1"},
				conversation.Record{Text: "opened by an alert"},
			}
		},
	}
}

// updates returns one Update that puts as much as one Apply of an opening.
func updates(b *testing.B) func() {
	s := openForBench(b)
	put := puts(b, s)
	var last atomic.Int64
	last.Store(1)
	return func() {
		n := last.Add(1)
		if err := s.db.Update(func(t *bbolt.Tx) error { return put(t, n) }); err != nil {
			b.Error(err)
		}
	}
}

// puts returns what puts values as long as Apply's of an opening, under keys of
// the same kinds. n begins with 2: the first is applied here.
func puts(b *testing.B, s *Store) func(t *bbolt.Tx, n int64) error {
	if _, err := s.Apply(b.Context(), opening(1)); err != nil {
		b.Fatal(err)
	}
	bodies := map[string][]byte{}
	err := s.db.View(func(t *bbolt.Tx) error {
		for _, name := range buckets {
			if _, record := t.Bucket([]byte(name)).Cursor().First(); record != nil {
				bodies[name] = append([]byte(nil), record...)
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return func(t *bbolt.Tx, i int64) error {
		in, n := opening(i), uint64(i)
		for _, p := range []struct {
			bucket string
			key    []byte
		}{
			{inConversations, number(n)},
			{inFindings, []byte(in.Finding)},
			{inApps, appKey(appOf(i), n)},
			{inJournal, number(n)},
			{inDeliveries, number(2 * n)},
			{inDeliveries, number(2*n + 1)},
			{inSeen, []byte(in.Event)},
			{inSeenByAge, append(number(n), number(n)...)},
		} {
			bucket := t.Bucket([]byte(p.bucket))
			switch p.bucket {
			case inConversations, inJournal, inDeliveries, inSeenByAge:
				bucket.FillPercent = fill
			}
			if err := bucket.Put(p.key, bodies[p.bucket]); err != nil {
				return err
			}
		}
		return nil
	}
}

// syncs returns one bare 4 KiB overwrite with fdatasync.
func syncs(b *testing.B) func() {
	f, err := os.Create(filepath.Join(b.TempDir(), "raw"))
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
