package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A few alerts and their answers, over and over, with the program killed at its first
// write to a file or a socket, at its second, and so on to its last. A fault
// that strikes at one write alone is met for certain, not by chance.
//
// It is killed by the one who traces it (ptrace), in between any two of its
// system calls. Without REHOME_CRASH_FOR, a sample of the writes is taken.

func TestCrashAtEachWrite(t *testing.T) {
	seed := seedOf(t)
	writes := 0
	t.Run("unharmed", func(t *testing.T) { writes = crashAt(t, seed, 0) })
	if writes == 0 {
		if !t.Failed() {
			t.Skip("no process can be traced here: see above")
		}
		return
	}
	// Another run has a few writes more or less: those past the least are left out.
	sample := rand.New(rand.NewPCG(seed, 3)).Perm(writes * 3 / 4)
	if lasting(t) == 0 {
		sample = sample[:min(12, len(sample))]
	}
	slices.Sort(sample)
	t.Logf("of %d writes, the program is killed at %d", writes, len(sample))
	t.Run("killed", func(t *testing.T) {
		for _, n := range sample {
			t.Run(fmt.Sprint(n+1), func(t *testing.T) {
				t.Parallel()
				crashAt(t, seed, n+1)
			})
		}
	})
}

// crashAt runs the story with the program killed at write n; 0 is never. It
// returns how many writes there were.
func crashAt(t *testing.T, seed uint64, n int) (writes int) {
	untilClear(t, func(patience int) (c *crash, v *verdict) {
		c, v, writes = crashOnceAt(t, seed, n, patience)
		return c, v
	})
	return writes
}

func crashOnceAt(t *testing.T, seed uint64, n int, patience int) (*crash, *verdict, int) {
	c := newCrash(t, unchanged, seed, time.Duration(patience)*300*time.Millisecond, time.Duration(patience)*600*time.Millisecond)
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute) // who cannot be looked up on a busy machine is looked up again after one
	defer stop()
	one, two := crashOwners()[0], crashOwners()[1] // who has a list, of two
	several := map[string]alert{
		"EACH-1": {place: places[2], owners: []string{one.ID}, named: map[string]any{"slackUserId": one.ID}},
		"EACH-2": {place: places[4], owners: []string{two.ID}, named: map[string]any{"email": two.Email}},
		"EACH-3": places[1].inDirectory(1, 0),
	}
	var sending, again sync.WaitGroup
	sending.Go(func() {
		for ctx.Err() == nil && !c.sendOnce(several) {
			wait(ctx, 5*time.Millisecond)
		}
	})
	k := &killer{at: n, dead: make(chan struct{})}
	c.v.launch = k.launch
	err := c.v.start(ctx)
	if errors.Is(err, errUntraceable) {
		stop()
		sending.Wait()
		t.Skip(err)
	} else if err != nil && n == 0 {
		t.Fatal(err)
	}
	var stopping atomic.Bool
	again.Go(func() {
		<-k.dead
		if stopping.Load() {
			return
		}
		c.v.launch = nil
		if err := c.v.start(ctx); err != nil {
			t.Error(err)
		}
	})
	sending.Wait()
	c.settled(ctx)
	stopping.Store(true)
	_ = c.v.end(syscall.SIGTERM) // it may be killed in the middle of that
	again.Wait()
	if c.v.address() != "" {
		_ = c.v.end(syscall.SIGTERM)
	}
	if n > k.writes {
		t.Logf("there were %d writes this time, so that it was not killed", k.writes)
	}
	return c, c.judge(), k.writes
}

var errUntraceable = errors.New("tracing a process is refused here")

// A killer traces a process and kills it as it begins a certain write.
type killer struct {
	at     int
	writes int // that it began; for whoever has seen dead
	dead   chan struct{}
}

func (k *killer) launch(c *exec.Cmd) (wait func() error, err error) {
	begun := make(chan error, 1)
	go func() {
		defer close(k.dead)
		// Who traces is a thread, not a process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		c.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
		if err := c.Start(); err != nil {
			begun <- fmt.Errorf("%w: %w", errUntraceable, err)
			return
		}
		begun <- nil
		k.follow(c.Process.Pid)
	}()
	return func() error { <-k.dead; return nil }, <-begun
}

const (
	exitKill    = 0x100000   // PTRACE_O_EXITKILL
	ofThreads   = 0x20000000 // __WNOTHREAD: of this thread's own children alone
	systemCall  = syscall.SIGTRAP | 0x80
	notYet      = -int64(syscall.ENOSYS) // the result of a call that begins
	traceOption = syscall.PTRACE_O_TRACESYSGOOD | syscall.PTRACE_O_TRACECLONE | exitKill
)

// follow lets the process and its threads go on from call to call.
func (k *killer) follow(pid int) {
	set, known := false, map[int]bool{pid: true}
	for {
		var status syscall.WaitStatus
		id, err := syscall.Wait4(-1, &status, syscall.WALL|ofThreads, nil)
		switch {
		case err == syscall.EINTR: //nolint:errorlint // as the system gives it
			continue
		case err != nil:
			return
		case !status.Stopped():
			if id == pid {
				return
			}
			continue
		}
		if !set {
			_ = syscall.PtraceSetOptions(pid, traceOption)
			set = true
		}
		pass := 0
		switch s := status.StopSignal(); {
		case s == systemCall:
			if k.isWrite(id) {
				if k.writes++; k.writes == k.at {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			}
		case s == syscall.SIGTRAP: // our own: a program or a thread began
		case s == syscall.SIGSTOP && !known[id]: // as every new thread does
		default:
			pass = int(s)
		}
		known[id] = true
		_ = syscall.PtraceSyscall(id, pass) // one that was killed meanwhile is waited for
	}
}

// isWrite reports whether a thread begins a write.
func (k *killer) isWrite(thread int) bool {
	var regs syscall.PtraceRegs
	if syscall.PtraceGetRegs(thread, &regs) != nil || int64(regs.Rax) != notYet {
		return false
	}
	switch regs.Orig_rax {
	case syscall.SYS_WRITE, syscall.SYS_PWRITE64, syscall.SYS_FDATASYNC:
		return true
	}
	return false
}
