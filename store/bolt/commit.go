package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"rehome/store"
)

// Committing in groups. A commit is two syncs of the disk, whatever it holds.
// So one goroutine takes a write, takes with it all that have gathered while
// the commit before was under way, commits them as one and answers them all.
// There is no timer: one caller alone waits for nobody.
//
//	Apply, ApplyAll, Settle, … ──► writes ──► take all that wait ──► run each ──► commit ──► answer all
//
// A write that cannot be run fails alone. A commit that fails leaves open
// whether it was written (a sync can fail after the disk has it), so that the
// store then refuses to write on: to go on from memory that may differ from the
// file would lose or double things. Restarting reads what is true.

// maxGroup bounds the size of the writes that are taken together, and with it
// how long the first of them waits. A batch is never parted.
const maxGroup = 1024

// A write is one call that writes, on its way.
type write struct {
	run  func(*tx) error // may be run again, in a new transaction
	size int             // how many inputs or outcomes it holds
	err  error
	done chan struct{}
}

// write has the committer run something and waits until it is durable. When ctx
// ends first, whether it was written is open.
func (s *Store) write(ctx context.Context, size int, run func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := &write{run: run, size: size, done: make(chan struct{})}
	select {
	case s.writes <- w:
	case <-s.closing:
		return store.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// commitAll is the committer. It answers every write it takes.
func (s *Store) commitAll() {
	defer close(s.closed)
	debug.SetPanicOnFault(true) // for this goroutine: a damaged file must not end the process
	var group []*write
	for {
		crowded := len(group) > 1
		select {
		case w := <-s.writes:
			group = append(group[:0], w)
		case <-s.closing:
			return
		}
		for size, before := group[0].size, 0; size != before && size < maxGroup; {
			before = size
			if crowded {
				// Those who were answered just now get to ask again first, while
				// any does. They would miss this commit, and groups be small.
				runtime.Gosched()
			}
			group, size = s.gather(group, size)
		}
		s.commitGroup(group)
		clear(group)
	}
}

// gather adds the writes that wait now to a group of that size.
func (s *Store) gather(group []*write, size int) ([]*write, int) {
	for size < maxGroup {
		select {
		case w := <-s.writes:
			group = append(group, w)
			size += w.size
		default:
			return group, size
		}
	}
	return group, size
}

// commitGroup commits all it can of a group and answers each.
func (s *Store) commitGroup(group []*write) {
	for len(group) > 0 {
		if failed := s.failed.Load(); failed != nil {
			answer(group, *failed)
			return
		}
		culprit, err := s.commit(group)
		switch {
		case err == nil:
			for _, w := range group {
				close(w.done)
			}
			return
		case culprit >= 0:
			// Nothing was written. The others go on without it.
			answer(group[culprit:culprit+1], err)
			group = append(group[:culprit:culprit], group[culprit+1:]...)
		case errors.Is(err, store.ErrFull) && len(group) > 1:
			// What is small, or frees room, may still go in.
			for i := range group {
				s.commitGroup(group[i : i+1])
			}
			return
		case errors.Is(err, store.ErrFull):
			answer(group, err)
			return
		default:
			err = fmt.Errorf("%s: %w: %w", s.path, store.ErrUncertain, err)
			s.failed.Store(&err)
			close(s.broken)
		}
	}
}

func answer(group []*write, err error) {
	for _, w := range group {
		w.err = err
		close(w.done)
	}
}

// commit runs a group in one transaction. On an error nothing was written when
// it is one write's (its index is returned) or store.ErrFull; otherwise that is
// open, and the index is -1.
func (s *Store) commit(group []*write) (culprit int, err error) {
	running := -1
	defer func() {
		if r := recover(); r != nil {
			culprit, err = running, damagedFile(s.path, r)
		}
	}()
	inner, err := s.db.Begin(true)
	if err != nil {
		return -1, err
	}
	t := &tx{Tx: inner, room: s.roomFor(inner), age: s.ages.now(), past: s.past}
	// A transaction that bbolt gave up on itself has no database any more.
	defer func() {
		if t.Tx != nil && t.DB() != nil {
			_ = t.Rollback()
		}
	}()
	dirty, size := false, 0
	for i, w := range group {
		running, t.touched = i, false
		t.texts.Reset()
		w.err = w.run(t)
		if w.err != nil && t.touched {
			return i, w.err // half of it is in the transaction
		}
		dirty = dirty || t.touched
		size += w.size
	}
	running = -1
	if !dirty {
		return -1, nil // repeats and refusals need no disk
	}
	if err := t.forget(t.age-age(s.seenFor), 2*size); err != nil {
		return -1, err
	}
	s.lines.mu.Lock()
	defer s.lines.mu.Unlock()
	if err := t.Commit(); errors.Is(err, bolterrors.ErrMaxSizeReached) {
		return -1, fmt.Errorf("%s: %w", s.path, store.ErrFull)
	} else if err != nil {
		return -1, err
	}
	s.lines.follow(t.changes)
	return -1, nil
}

// damagedFile is the error about a file that bbolt cannot read. What the runtime
// says of reading where nothing is means nothing to whoever has the file.
func damagedFile(path string, why any) error {
	if _, is := why.(runtime.Error); is {
		why = "a page leads to where nothing is"
	}
	return &damagedAs{path, fmt.Sprint(why)}
}

// tx is a write transaction.
type tx struct {
	*bbolt.Tx
	room    func() error // store.ErrFull while nothing new is to be taken in
	age     age          // of the store, now
	past    past         // that the store does not know of
	touched bool         // by the write that is running
	changes []change     // to deliveries that wait
	link    []byte       // hash of the journal's last entry, once it is needed
	texts   bytes.Buffer // what the write that is running has encoded
}
