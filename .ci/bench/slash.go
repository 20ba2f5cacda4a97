// Command slash times signed slash commands side by side: @slack/bolt's HTTP
// receiver that only acknowledges, a bare Go handler with the same signature
// check that stores nothing, the same handler with as many bytes as rehome keeps
// of a command put into bbolt, 64 in a transaction, and `rehome serve`, which
// acknowledges after a durable commit. The third decides nothing, encodes
// nothing and looks nothing up: it is what bbolt and the disk leave.
//
//	(cd .ci/bolt && npm ci) && go run .ci/bench/slash.go
//
// Each server is one process and may use the whole machine, which it shares with
// the client; with -pin it has the first processor alone. The
// rounds are interleaved and the medians compared, so that only ratios of one run
// are ever quoted.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slack-go/slack"
	"go.etcd.io/bbolt"
)

const secret = "8f742231b10e8888abcd99yyyzzz85a5"

var (
	rounds  = flag.Int("rounds", 3, "how often each server is measured")
	warm    = flag.Duration("warm", 2*time.Second, "warm-up before each measurement")
	measure = flag.Duration("measure", 3*time.Second, "length of each measurement")
	inAir   = flag.Int("c", 64, "requests in flight")
	bare    = flag.String("bare", "", "be the bare handler on this address (used by the bench itself)")
	keep    = flag.String("keep", "", "with -bare: put what rehome keeps of a command into this bbolt file first")
	pin     = flag.Bool("pin", false, "give each server the first processor alone")
	only    = flag.String("only", "", "measure only servers whose name contains this")
	dir     = flag.String("dir", "", "where rehome's store goes; default a temporary folder, which must be on a real disk")
)

func main() {
	flag.Parse()
	if *bare != "" {
		log.Fatal(serveBare(*bare, *keep))
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "slash:", err)
		os.Exit(1)
	}
}

// serveBare is the floor: verify, parse, answer. With a path, what rehome keeps of
// a command is durable in a bbolt file there before the answer.
func serveBare(addr, path string) error {
	kept := func() error { return nil }
	if path != "" {
		var err error
		if kept, err = keeper(path); err != nil {
			return err
		}
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		v, verr := slack.NewSecretsVerifier(r.Header, secret)
		if err != nil || verr != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = v.Write(body)
		if v.Ensure() != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if _, err := slack.SlashCommandParse(r); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if err := kept(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"response_type":"ephemeral","text":"noted"}`)
	})
	srv := &http.Server{Addr: addr, Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second}
	return srv.ListenAndServe()
}

// keeper returns what puts records of the sizes that rehome has for this command
// into a bbolt file, as many callers' as wait in one transaction.
func keeper(path string) (func() error, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType, InitialMmapSize: 1 << 30})
	if err != nil {
		return nil, err
	}
	sizes := []int{1416, 182, 178, 178, 13, 11} // conversation, delivery, two journal entries, the event's key twice
	values := make([][]byte, len(sizes))
	for i, size := range sizes {
		values[i] = bytes.Repeat([]byte{'x'}, size)
	}
	puts := func(tx *bbolt.Tx, n uint64) error {
		for i, value := range values {
			bucket, err := tx.CreateBucketIfNotExists([]byte{byte(i)})
			if err != nil {
				return err
			}
			bucket.FillPercent = .9
			if err := bucket.Put(binary.BigEndian.AppendUint64(nil, n), value); err != nil {
				return err
			}
		}
		return nil
	}
	waiting := make(chan chan error)
	go func() {
		var n uint64
		var group []chan error
		for first := range waiting {
			group = append(group[:0], first)
			for before := 0; before != len(group); {
				before = len(group)
				runtime.Gosched()
				for more := true; more; {
					select {
					case one := <-waiting:
						group = append(group, one)
					default:
						more = false
					}
				}
			}
			err := db.Update(func(tx *bbolt.Tx) error {
				for range group {
					n++
					if err := puts(tx, n); err != nil {
						return err
					}
				}
				return nil
			})
			for _, one := range group {
				one <- err
			}
		}
	}()
	return func() error {
		done := make(chan error, 1)
		waiting <- done
		return <-done
	}, nil
}

type server struct {
	name  string
	start func(ctx context.Context, port int) (*exec.Cmd, error)
	rates []float64
	p50   []time.Duration
	p99   []time.Duration
	cpu   []time.Duration // of the server's process, per request, its start included
}

func run() error {
	tmp, err := os.MkdirTemp(*dir, "rehome-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	rehome := filepath.Join(tmp, "rehome")
	self := filepath.Join(tmp, "slash")
	for out, pkg := range map[string]string{rehome: "./cmd/rehome", self: ".ci/bench/slash.go"} {
		if msg, err := exec.Command("go", "build", "-o", out, pkg).CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", pkg, err, msg)
		}
	}
	api, err := stubSlack()
	if err != nil {
		return err
	}
	n := 0
	servers := []*server{
		{name: "@slack/bolt, acknowledges only", start: func(ctx context.Context, port int) (*exec.Cmd, error) {
			return spawn(ctx, []string{"PORT=" + strconv.Itoa(port)}, "node", ".ci/bench/receiver.js")
		}},
		{name: "bare Go handler, stores nothing", start: func(ctx context.Context, port int) (*exec.Cmd, error) {
			return spawn(ctx, nil, self, "-bare", "127.0.0.1:"+strconv.Itoa(port))
		}},
		{name: "the same, its bytes into bbolt", start: func(ctx context.Context, port int) (*exec.Cmd, error) {
			n++
			return spawn(ctx, nil, self, "-bare", "127.0.0.1:"+strconv.Itoa(port), "-keep", filepath.Join(tmp, "kept"+strconv.Itoa(n)))
		}},
		{name: "rehome serve, durable commit", start: func(ctx context.Context, port int) (*exec.Cmd, error) {
			n++
			return spawn(ctx, []string{
				"REHOME_LISTEN=127.0.0.1:" + strconv.Itoa(port), "SLACK_API_URL=" + api, "SLACK_BOT_TOKEN=xoxb-bench",
				"REHOME_STORE=bolt:" + filepath.Join(tmp, "store"+strconv.Itoa(n), "rehome.db"), "REHOME_CHANNEL=C0TRIAGE01",
			}, rehome, "serve")
		}},
	}
	servers = slices.DeleteFunc(servers, func(s *server) bool { return !strings.Contains(s.name, *only) })
	for r := range *rounds {
		for i, s := range servers {
			if err := s.round(21000 + r*10 + i); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	if *only != "" {
		for _, s := range servers {
			fmt.Printf("%s: %.0f req/s, p50 %s, p99 %s, %s of CPU each\n", s.name, median(s.rates), median(s.p50).Round(10*time.Microsecond), median(s.p99).Round(10*time.Microsecond), median(s.cpu).Round(time.Microsecond))
		}
		return nil
	}
	base := median(servers[0].rates)
	floor := median(servers[1].rates)
	fmt.Printf("%-34s %10s %9s %9s %9s %9s %9s\n", "server", "req/s", "p50", "p99", "CPU/req", "of bolt", "of bare")
	for _, s := range servers {
		m := median(s.rates)
		fmt.Printf("%-34s %10.0f %9s %9s %9s %8.1fx %9.2f\n", s.name, m, median(s.p50).Round(10*time.Microsecond), median(s.p99).Round(10*time.Microsecond),
			median(s.cpu).Round(time.Microsecond), m/base, m/floor)
	}
	return nil
}

// spawn starts a server, on the first processor alone when -pin says so, without
// what this process's own environment says about Slack.
func spawn(ctx context.Context, env []string, name string, args ...string) (*exec.Cmd, error) {
	if *pin {
		path, err := exec.LookPath("taskset")
		if err != nil {
			return nil, err
		}
		args = append([]string{"-c", "0", name}, args...)
		name = path
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "SLACK_SIGNING_SECRET=" + secret}, env...)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd, cmd.Start()
}

func (s *server) round(port int) error {
	ctx, cancel := context.WithCancel(context.Background())
	cmd, err := s.start(ctx, port)
	if err != nil {
		cancel()
		return err
	}
	asked := 0
	defer func() {
		cancel()
		_ = cmd.Wait()
		if state := cmd.ProcessState; state != nil && asked > 0 {
			s.cpu = append(s.cpu, (state.UserTime()+state.SystemTime())/time.Duration(asked))
		}
	}()
	addr := "127.0.0.1:" + strconv.Itoa(port)
	if err := ready(addr); err != nil {
		return err
	}
	_, early, err := load(addr, *warm)
	if err != nil {
		return err
	}
	took, lat, err := load(addr, *measure)
	if err != nil {
		return err
	}
	asked = len(early) + len(lat)
	slices.Sort(lat)
	s.rates = append(s.rates, float64(len(lat))/took.Seconds())
	s.p50 = append(s.p50, lat[len(lat)/2])
	s.p99 = append(s.p99, lat[len(lat)*99/100])
	return nil
}

func ready(addr string) error {
	for range 100 {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			return c.Close()
		}
		time.Sleep(100 * time.Millisecond)
	}
	return errors.New("did not come up on " + addr)
}

var serial atomic.Int64

// load keeps c requests in flight for a while and returns each one's latency.
func load(addr string, long time.Duration) (time.Duration, []time.Duration, error) {
	var (
		wait  sync.WaitGroup
		mu    sync.Mutex
		all   []time.Duration
		first error
	)
	begin := time.Now()
	for range *inAir {
		wait.Go(func() {
			lat, err := client(addr, begin.Add(long))
			mu.Lock()
			defer mu.Unlock()
			all = append(all, lat...)
			if err != nil && first == nil {
				first = err
			}
		})
	}
	wait.Wait()
	return time.Since(begin), all, first
}

func client(addr string, until time.Time) ([]time.Duration, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	mac := hmac.New(sha256.New, []byte(secret))
	var lat []time.Duration
	var out bytes.Buffer
	for time.Now().Before(until) {
		request(&out, mac, addr)
		begin := time.Now()
		if _, err := conn.Write(out.Bytes()); err != nil {
			return lat, err
		}
		status, body, err := response(in)
		if err != nil {
			return lat, err
		}
		lat = append(lat, time.Since(begin))
		if !strings.HasPrefix(status, "HTTP/1.1 200 ") || bytes.Contains(body, []byte("try again")) {
			return lat, fmt.Errorf("answered %s: %s", status, body)
		}
	}
	return lat, nil
}

// response reads one answer, and no more of its head than is needed: what the
// client costs is taken from the servers.
func response(in *bufio.Reader) (status string, body []byte, err error) {
	length, chunked := 0, false
	for first := true; ; first = false {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return status, nil, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if first {
			status = string(line)
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch {
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			chunked = true
		case bytes.EqualFold(name, []byte("content-length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return status, nil, err
			}
		}
	}
	if chunked {
		if body, err = io.ReadAll(httputil.NewChunkedReader(in)); err == nil {
			_, err = in.ReadSlice('\n') // the empty line after the last chunk
		}
		return status, body, err
	}
	body = make([]byte, length)
	_, err = io.ReadFull(in, body)
	return status, body, err
}

var form = url.Values{
	"team_id": {"T0CONTOSO1"}, "team_domain": {"contoso"}, "channel_id": {"C0TRIAGE01"}, "channel_name": {"app-security"}, "user_id": {"U0ALEX0001"}, "user_name": {"alex"},
	"command": {"/rehome"}, "api_app_id": {"A1"}, "response_url": {"https://hooks.slack.com/commands/T1/1/x"},
	"text": {"AAD Entra Apps in Prod Tenants using certificates in Non-Prod Tenant 3P"},
}.Encode()

// request writes one command with a trigger id of its own, as Slack does.
func request(out *bytes.Buffer, mac interface {
	io.Writer
	Reset()
	Sum([]byte) []byte
}, addr string) {
	body := form + "&trigger_id=" + strconv.FormatInt(serial.Add(1), 10) + ".bench"
	ts := strconv.FormatInt(time.Now().Unix(), 10)
	mac.Reset()
	_, _ = io.WriteString(mac, "v0:"+ts+":"+body)
	out.Reset()
	fmt.Fprintf(out, "POST /slack/commands HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\nX-Slack-Request-Timestamp: %s\r\nX-Slack-Signature: v0=%s\r\n\r\n%s",
		addr, len(body), ts, hex.EncodeToString(mac.Sum(nil)), body)
}

// stubSlack answers every method well, so that only our own side is timed.
func stubSlack() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	var ts atomic.Int64
	go func() {
		srv := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if strings.HasSuffix(r.URL.Path, "/conversations.info") {
				_, _ = io.WriteString(w, `{"ok":true,"channel":{"id":"C0TRIAGE01","name":"app-security","is_channel":true,"is_member":true}}`)
				return
			}
			fmt.Fprintf(w, `{"ok":true,"ts":"1.%06d","channel":"C0TRIAGE01","user_id":"U0","bot_id":"B0","team_id":"T0CONTOSO1"}`, ts.Add(1))
		})}
		_ = srv.Serve(l)
	}()
	return "http://" + l.Addr().String() + "/api/", nil
}

func median[T float64 | time.Duration](v []T) T {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}
