//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A victim is `rehome serve` in a process of its own, which is killed and
// started again over the same store.
type victim struct {
	t    *testing.T
	name string   // of the program: one of those TestMain knows
	env  []string // beside the test's own
	up   func(url string)
	// launch starts the process and returns what waits for its end; nil: as usual.
	launch func(*exec.Cmd) (wait func() error, err error)

	mu      sync.Mutex
	process *exec.Cmd
	ended   chan error
	url     string // "" while it is down
	said    []string
}

// start runs the program and returns when it listens.
func (v *victim) start(ctx context.Context) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	c := exec.Command(exe, "serve") //nolint:noctx // it is killed in its own way
	c.Args[0] = v.name
	c.Env = append(os.Environ(), v.env...)
	out, w, err := os.Pipe()
	if err != nil {
		return err
	}
	c.Stdout, c.Stderr = w, w
	launch := v.launch
	if launch == nil {
		launch = func(c *exec.Cmd) (func() error, error) { return c.Wait, c.Start() }
	}
	over, err := launch(c)
	_ = w.Close() // the process has its own; it ends with that
	if err != nil {
		return errors.Join(err, out.Close())
	}
	ended, listens := make(chan error, 1), make(chan string, 1)
	v.mu.Lock()
	v.process, v.ended = c, ended
	v.mu.Unlock()
	go func() {
		v.listen(out, listens)
		ended <- over()
	}()
	select {
	case url, ok := <-listens:
		if !ok {
			return fmt.Errorf("serve did not come up: %w; it said:\n%s", <-ended, v.last())
		}
		v.mu.Lock()
		v.url = url
		v.mu.Unlock()
		v.up(url)
		return nil
	case <-ctx.Done():
		_ = c.Process.Kill()
		<-ended
		return ctx.Err()
	}
}

// listen keeps the end of what the program says, and passes on where it listens.
func (v *victim) listen(out io.ReadCloser, listens chan<- string) {
	defer func() { _ = out.Close() }()
	defer close(listens)
	for lines, found := bufio.NewScanner(out), false; lines.Scan(); {
		line := lines.Text()
		v.mu.Lock()
		if v.said = append(v.said, line); len(v.said) > 200 {
			v.said = v.said[100:]
		}
		v.mu.Unlock()
		for _, sign := range []string{"DATA RACE", "panic:", "fatal error:"} {
			if strings.Contains(line, sign) {
				v.t.Errorf("the program says: %s", line)
			}
		}
		if _, after, here := strings.Cut(line, "listen=127.0.0.1:"); here && !found {
			port, _, _ := strings.Cut(after, " ")
			listens <- "http://127.0.0.1:" + port
			found = true
		}
	}
}

func (v *victim) last() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return strings.Join(v.said, "\n")
}

// address is where it listens, or "" while it is down.
func (v *victim) address() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.url
}

// end sends a signal that ends the process, and waits until it has.
func (v *victim) end(s syscall.Signal) error {
	v.mu.Lock()
	v.url = ""
	process, ended := v.process, v.ended
	v.mu.Unlock()
	if err := process.Process.Signal(s); err != nil {
		return fmt.Errorf("it ended by itself: %w", err)
	}
	return <-ended
}

// kill ends what a test that failed has left running.
func (v *victim) kill() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.process != nil {
		_ = v.process.Process.Kill() // it may have ended long ago
	}
}

// A fate is what becomes of one process: how long it lives, and whether it is
// stopped for a while in the middle.
type fate struct{ lives, stopped time.Duration }

// nextFate draws one. Most processes die soon, in the middle of starting or of
// their first messages; some live long enough to find out what those before
// them may have sent.
func nextFate(r *rand.Rand) fate {
	between := func(from, to time.Duration) time.Duration { return from + time.Duration(r.Int64N(int64(to-from))) }
	switch n := r.IntN(100); {
	case n < 25:
		return fate{lives: between(crashSettle, crashSettle+1500*time.Millisecond)}
	case n < 29:
		return fate{lives: between(crashSettle, 2*crashSettle), stopped: between(100*time.Millisecond, 2*crashSettle)}
	}
	return fate{lives: between(10*time.Millisecond, 500*time.Millisecond)}
}

// live lets the process meet its fate.
func (v *victim) live(ctx context.Context, f fate) error {
	wait(ctx, f.lives/2)
	if f.stopped > 0 {
		_ = v.process.Process.Signal(syscall.SIGSTOP)
		wait(ctx, f.stopped)
		_ = v.process.Process.Signal(syscall.SIGCONT)
	}
	wait(ctx, f.lives/2)
	select {
	case err := <-v.ended:
		return fmt.Errorf("the program ended by itself: %w; it said:\n%s", err, v.last())
	default:
	}
	_ = v.end(syscall.SIGKILL)
	return nil
}

// wait is time that goes by while others act, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
