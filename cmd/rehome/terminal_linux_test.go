package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// screen is the far side of a pseudo-terminal: the keyboard and the screen.
type screen struct {
	t    *testing.T
	far  *os.File
	mu   sync.Mutex
	text strings.Builder
	more chan struct{}
	errs lockedBuffer // standard error of a program that is started at it
}

// openTerminal returns a terminal for the program and its far side.
func openTerminal(t *testing.T) (*screen, *os.File) {
	t.Helper()
	far, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminal here: %v", err)
	}
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	// Not by far.Fd(): that would make reads of it impossible to interrupt.
	raw, err := far.SyscallConn()
	check(err)
	var n int
	check(raw.Control(func(fd uintptr) {
		n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		check(err)
		check(unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0))
		check(unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 120}))
	}))
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	check(err)
	s := &screen{t: t, far: far, more: make(chan struct{}, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.read()
	}()
	t.Cleanup(func() {
		// This ends every read of the terminal, too. The terminal itself is left to
		// the collector: bubbletea asks its size beside everything else, and does not
		// say when it is done.
		_ = far.Close()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Error("the far side of the terminal is still read")
		}
	})
	return s, tty
}

func (s *screen) read() {
	b := make([]byte, 4096)
	for {
		n, err := s.far.Read(b)
		s.mu.Lock()
		s.text.Write(b[:n])
		s.mu.Unlock()
		select {
		case s.more <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

func (s *screen) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// await waits until the screen has shown the words.
func (s *screen) await(words string) {
	s.t.Helper()
	late := time.After(20 * time.Second)
	for !strings.Contains(s.said(), words) {
		select {
		case <-s.more:
		case <-late:
			s.t.Fatalf("the screen never shows %q:\n%q", words, s.said())
		}
	}
}

func (s *screen) press(keys string) {
	s.t.Helper()
	if _, err := s.far.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}
