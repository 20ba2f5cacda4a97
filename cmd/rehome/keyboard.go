package main

import (
	"errors"
	"io"
	"os"
	"sync"
)

// keyboard is a terminal's input, handed from one question to the next.
//
// Each question is a terminal program of its own, and such a program leaves a
// reader behind that takes one more key from the terminal, which then is missing
// from the next question. So only the keyboard reads the terminal, and a
// question reads from its turn at it.
type keyboard struct {
	tty   *os.File
	start sync.Once
	keys  chan []byte
	err   error // why there are no more keys; set before keys is closed
}

func newKeyboard(tty *os.File) *keyboard { return &keyboard{tty: tty, keys: make(chan []byte)} }

// read takes keys until the terminal is gone. Nothing can interrupt it; it ends
// with the process.
func (k *keyboard) read() {
	defer close(k.keys)
	for {
		b := make([]byte, 256)
		n, err := k.tty.Read(b)
		if n > 0 {
			k.keys <- b[:n]
		}
		if err != nil {
			k.err = err
			return
		}
	}
}

// turn is the keyboard for one question: a terminal to whoever looks at its
// descriptor, and at its end once over was called.
func (k *keyboard) turn() *turn {
	k.start.Do(func() { go k.read() })
	return &turn{k: k, done: make(chan struct{})}
}

type turn struct {
	k    *keyboard
	rest []byte
	done chan struct{}
}

func (t *turn) over() { close(t.done) }

func (t *turn) Read(p []byte) (int, error) {
	select {
	case <-t.done:
		return 0, io.EOF
	default:
	}
	if len(t.rest) == 0 {
		select {
		case <-t.done:
			return 0, io.EOF
		case b, more := <-t.k.keys:
			if !more {
				return 0, errors.Join(io.EOF, t.k.err)
			}
			t.rest = b
		}
	}
	n := copy(p, t.rest)
	t.rest = t.rest[n:]
	return n, nil
}

func (t *turn) Fd() uintptr                 { return t.k.tty.Fd() }
func (t *turn) Write(p []byte) (int, error) { return t.k.tty.Write(p) }
func (t *turn) Close() error                { return nil } // the terminal is not ours to close
