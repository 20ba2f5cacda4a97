package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// running is the program while it runs in the background, as somebody at a
// terminal sees it.
type running struct {
	t      *testing.T
	cancel context.CancelFunc
	code   chan int
	mu     sync.Mutex
	lines  []string      // of standard output
	more   chan struct{} // closed and made anew with each line
	err    lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs the program until stop is called or the test ends.
func start(t *testing.T, env map[string]string, in io.Reader, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, cancel: cancel, code: make(chan int, 1), more: make(chan struct{})}
	out, w := io.Pipe()
	var reading sync.WaitGroup
	reading.Go(func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			r.mu.Lock()
			r.lines = append(r.lines, s.Text())
			close(r.more)
			r.more = make(chan struct{})
			r.mu.Unlock()
		}
	})
	go func() {
		code := run(ctx, args, func(name string) string { return env[name] }, stdio{in, w, &r.err})
		_ = w.Close()
		reading.Wait()
		r.code <- code
	}()
	t.Cleanup(func() {
		if r.cancel != nil {
			r.stop()
		}
	})
	return r
}

// stop is Ctrl-C. It returns the exit code.
func (r *running) stop() int {
	r.t.Helper()
	r.cancel()
	r.cancel = nil
	return r.wait()
}

func (r *running) wait() int {
	r.t.Helper()
	select {
	case code := <-r.code:
		r.code <- code
		return code
	case <-time.After(30 * time.Second):
		r.t.Fatalf("it does not stop; it said:\n%s\n%s", r.said(), r.err.String())
		return -1
	}
}

func (r *running) said() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "\n")
}

// expect waits for a line that matches and returns its groups.
func (r *running) expect(pattern string) []string {
	r.t.Helper()
	re := regexp.MustCompile("(?m)" + pattern)
	deadline := time.After(30 * time.Second)
	for {
		r.mu.Lock()
		more := r.more
		m := re.FindStringSubmatch(strings.Join(r.lines, "\n"))
		r.mu.Unlock()
		if m != nil {
			return m
		}
		select {
		case <-more:
		case code := <-r.code:
			r.code <- code
			r.t.Fatalf("it ended with %d before saying %q:\n%s\n%s", code, pattern, r.said(), r.err.String())
		case <-deadline:
			r.t.Fatalf("it never said %q:\n%s\n%s", pattern, r.said(), r.err.String())
		}
	}
}

// once runs the program to its end.
func once(env map[string]string, args ...string) (code int, out, errs string) {
	var o, e bytes.Buffer
	code = run(context.Background(), args, func(name string) string { return env[name] }, stdio{strings.NewReader(""), &o, &e})
	return code, o.String(), e.String()
}

// nothingLeft fails the test when goroutines outlive what it started.
func nothingLeft(t *testing.T) {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, ignore) })
}

// shortDir is a folder whose name leaves room for a Unix socket in it.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
