package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"rehome/conversation"
	"rehome/store"
)

func openWith(t *testing.T, o Options) *Store {
	t.Helper()
	o.MapSize = 1 << 20
	s, err := Open(filepath.Join(t.TempDir(), "rehome.db"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// notes returns an input that opens a conversation with that many bytes.
func notes(event string, size int) store.Input {
	return store.Input{Event: event, At: time.Now(), Step: func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
		c.Violation.Title = strings.Repeat("x", size)
		return c, []conversation.Effect{conversation.Show{Card: "root"}, conversation.Record{Text: "opened"}}
	}}
}

// together has the committer take writes as one group: they gather while a
// first one is held up. It returns when all are answered.
func together(t *testing.T, s *Store, each []func()) {
	t.Helper()
	release, running := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		_ = s.write(context.Background(), 1, func(*tx) error { close(running); <-release; return nil })
	})
	<-running
	gathered := make(chan struct{}, len(each))
	for _, do := range each {
		all.Go(func() { gathered <- struct{}{}; do() })
	}
	for range each {
		<-gathered
	}
	close(release)
	all.Wait()
}

func TestAfterACommitThatFailedNothingMoreIsWritten(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	var file *os.File
	s := openWith(t, Options{openFile: func(path string, flag int, mode os.FileMode) (_ *os.File, err error) {
		file, err = os.OpenFile(path, flag, mode)
		return file, err
	}})
	first, err := s.Apply(t.Context(), notes("before", 10))
	if err != nil {
		t.Fatal(err)
	}
	waiting, err := s.Outbox(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	watched := make(chan error, 1)
	go func() { watched <- s.Watch(context.Background()) }()
	if err := s.Watch(ended()); err != nil {
		t.Errorf("Watch of a store that writes = %v", err)
	}
	_ = file.Close() // from here on the disk refuses every write
	var failures []func()
	for i := range 10 {
		failures = append(failures, func() {
			if _, err := s.Apply(t.Context(), notes(fmt.Sprint("e", i), 10)); !errors.Is(err, store.ErrUncertain) {
				t.Errorf("Apply = %v, want ErrUncertain", err)
			}
		})
	}
	together(t, s, failures)
	if err := <-watched; !errors.Is(err, store.ErrUncertain) || !errors.Is(err, os.ErrClosed) {
		t.Errorf("Watch = %v, want ErrUncertain and its cause", err)
	}
	if err := s.Settle(t.Context(), store.Settled{Delivery: waiting[0]}); !errors.Is(err, store.ErrUncertain) || !errors.Is(err, os.ErrClosed) {
		t.Errorf("Settle = %v, want ErrUncertain and its cause", err)
	}
	if c, err := s.Get(t.Context(), first.Conversation.ID); err != nil || c.ID != "RH-1" {
		t.Errorf("Get = %s, %v; want reads to go on", c.ID, err)
	}
	if ready, _, err := s.Due(t.Context(), time.Now(), nil); err != nil || len(ready) != 1 {
		t.Errorf("Due = %d, %v; want the one that was there before", len(ready), err)
	}
}

// ended is a context that has ended.
func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestAFullStoreSaysSoAndTakesWhatIsSmall(t *testing.T) {
	s := openWith(t, Options{MaxSize: 2 << 20})
	var small, big, batch error
	together(t, s, []func(){
		func() { _, big = s.Apply(t.Context(), notes("too big", 4<<20)) },
		func() { _, small = s.Apply(t.Context(), notes("small", 10)) },
		func() {
			_, batch = s.ApplyAll(t.Context(), store.Batch{Inputs: []store.Input{notes("of a batch", 10), notes("too big, in a batch", 4<<20)}})
		},
	})
	if !errors.Is(big, store.ErrFull) || !errors.Is(batch, store.ErrFull) || small != nil {
		t.Errorf("together: big = %v, batch = %v, small = %v; want ErrFull, ErrFull and none", big, batch, small)
	}
	if got, err := s.Apply(t.Context(), notes("of a batch", 10)); err != nil || !got.Fresh {
		t.Errorf("half of a batch that did not fit: fresh %v, %v; want nothing of it", got.Fresh, err)
	}
	var full bool
	for i := 0; i < 100 && !full; i++ {
		_, err := s.Apply(t.Context(), notes(fmt.Sprint("big ", i), 100_000))
		full = errors.Is(err, store.ErrFull)
		if err != nil && !full {
			t.Fatal(err)
		}
	}
	if !full {
		t.Fatal("a store of 2 MiB took 10 MB")
	}
	if all, err := s.Outbox(t.Context(), false); err != nil || len(all) == 0 {
		t.Errorf("Outbox = %d, %v", len(all), err)
	} else if err := s.Settle(t.Context(), store.Settled{Delivery: all[0]}); err != nil {
		t.Errorf("Settle in a full store = %v", err)
	}
	if err := s.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAWriteThatFailsHalfWayFailsAlone(t *testing.T) {
	s := openWith(t, Options{})
	broken := errors.New("broken half-way")
	runs := []func(){
		func() {
			err := s.write(t.Context(), 1, func(t *tx) error {
				if err := t.put(inFindings, []byte("half"), number(1)); err != nil {
					return err
				}
				return broken
			})
			if !errors.Is(err, broken) {
				t.Errorf("the broken write = %v", err)
			}
		},
		func() {
			err := s.write(t.Context(), 1, func(t *tx) error {
				_ = t.put(inFindings, []byte("half"), number(1))
				panic("bbolt gave up")
			})
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("the panicking write = %v", err)
			}
		},
	}
	for i := range 10 {
		runs = append(runs, func() {
			if got, err := s.Apply(t.Context(), notes(fmt.Sprint("e", i), 10)); err != nil || !got.Fresh {
				t.Errorf("a write beside it = %v", err)
			}
		})
	}
	together(t, s, runs)
	got, err := s.Apply(t.Context(), store.Input{Event: "f", Finding: "half", Step: notes("", 1).Step})
	if err != nil || !got.Fresh || got.Conversation.ID != "RH-11" {
		t.Errorf("afterwards = %+v, %v; want nothing of the broken writes, and ten of the others", got, err)
	}
	if ready, _, err := s.Due(t.Context(), time.Now(), nil); err != nil || len(ready) != 11 {
		t.Errorf("%d are due, %v; want 11", len(ready), err)
	}
}

func TestABatchThatFailsLeavesTheOthersOfItsGroupAlone(t *testing.T) {
	s := openWith(t, Options{})
	inputs := func(who string, n int) store.Batch {
		var b store.Batch
		for i := range n {
			b.Inputs = append(b.Inputs, notes(fmt.Sprint(who, " ", i), 10))
		}
		b.Quarantine = []store.Quarantined{{Source: who, Body: []byte("{}")}}
		return b
	}
	var runs []func()
	for i := range 4 {
		runs = append(runs, func() {
			b := inputs(fmt.Sprint("good ", i), 10)
			if got, err := s.ApplyAll(t.Context(), b); err != nil || len(got) != 10 || !got[9].Fresh {
				t.Errorf("a batch beside one that fails = %d, %v", len(got), err)
			}
		}, func() {
			b := inputs(fmt.Sprint("bad ", i), 10)
			b.Inputs[9].Conversation = "RH-99999"
			if got, err := s.ApplyAll(t.Context(), b); !errors.Is(err, store.ErrNotFound) || got != nil {
				t.Errorf("a batch with an unknown conversation = %d, %v", len(got), err)
			}
		}, func() {
			if got, err := s.Apply(t.Context(), notes(fmt.Sprint("one ", i), 10)); err != nil || !got.Fresh {
				t.Errorf("one beside a batch that fails = %v", err)
			}
		})
	}
	together(t, s, runs)
	if ready, _, err := s.Due(t.Context(), time.Now(), nil); err != nil || len(ready) != 44 {
		t.Errorf("%d are due, %v; want those of 44 conversations", len(ready), err)
	}
	aside, err := s.Quarantined(t.Context())
	if err != nil || len(aside) != 4 {
		t.Errorf("%d were kept aside, %v; want 4", len(aside), err)
	}
	for i, q := range aside {
		if q.ID != uint64(i+1) || !strings.HasPrefix(q.Source, "good") {
			t.Errorf("kept aside: %d from %s", q.ID, q.Source)
		}
	}
	if err := s.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAGroupIsBoundedByWhatItHolds(t *testing.T) {
	s := openWith(t, Options{})
	commits := func() (n int) {
		_ = s.db.View(func(t *bbolt.Tx) error { n = t.ID(); return nil })
		return n
	}
	before := commits()
	var runs []func()
	for i := range 6 {
		runs = append(runs, func() {
			b := store.Batch{Inputs: make([]store.Input, maxGroup/2)}
			for j := range b.Inputs {
				b.Inputs[j] = notes(fmt.Sprint(i, " ", j), 10)
			}
			if _, err := s.ApplyAll(t.Context(), b); err != nil {
				t.Error(err)
			}
		})
	}
	together(t, s, runs)
	if got := commits() - before; got < 3 {
		t.Errorf("6 batches of %d were committed in %d, want at most two batches in each", maxGroup/2, got)
	}
}

func TestACallerMayLeaveWhileItsEventIsCommitted(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	s := openWith(t, Options{})
	ctx, leave := context.WithCancel(t.Context())
	running, release := make(chan struct{}), make(chan struct{})
	in := notes("e", 10)
	inner := in.Step
	in.Step = func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
		close(running)
		<-release
		return inner(c)
	}
	left := make(chan error)
	go func() { _, err := s.Apply(ctx, in); left <- err }()
	<-running
	waits := make(chan error)
	go func() { _, err := s.Apply(ctx, notes("never taken", 10)); waits <- err }()
	leave()
	for _, got := range []chan error{left, waits} {
		if err := <-got; !errors.Is(err, context.Canceled) {
			t.Errorf("Apply = %v, want context.Canceled", err)
		}
	}
	close(release)
	for event, fresh := range map[string]bool{"e": false, "never taken": true} {
		if got, err := s.Apply(t.Context(), notes(event, 10)); err != nil || got.Fresh != fresh {
			t.Errorf("%s again: fresh %v, %v; want %v", event, got.Fresh, err, fresh)
		}
	}
}

func TestCloseWaitsForWhatIsBeingCommitted(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	s := openWith(t, Options{})
	running, release := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		err := s.write(t.Context(), 1, func(t *tx) error {
			close(running)
			<-release
			_, err := t.apply(notes("e", 10))
			return err
		})
		if err != nil {
			t.Errorf("the write under way = %v", err)
		}
	})
	<-running
	for range 3 {
		all.Go(func() {
			if err := s.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}
		})
	}
	<-s.closing
	select {
	case <-s.closed:
		t.Error("Close did not wait")
	default:
	}
	close(release)
	all.Wait()
	again, err := Open(s.path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close() }()
	if _, err := again.Get(t.Context(), "RH-1"); err != nil {
		t.Errorf("what was being committed: %v", err)
	}
}

func TestRepeatsCostNoCommit(t *testing.T) {
	s := openWith(t, Options{})
	in := notes("e", 10)
	if _, err := s.Apply(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	id := func() (n int) {
		_ = s.db.View(func(t *bbolt.Tx) error { n = t.ID(); return nil })
		return n
	}
	before := id()
	for range 5 {
		if _, err := s.Apply(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
	if got := id(); got != before {
		t.Errorf("five repeats made %d commits", got-before)
	}
}

func TestAJournalThatWasRewrittenDoesNotAddUp(t *testing.T) {
	for what, rewrite := range map[string]func(*bbolt.Bucket) error{
		"an entry changed": func(b *bbolt.Bucket) error {
			body, err := unseal(inJournal, number(3), b.Get(number(3)))
			if err != nil {
				return err
			}
			body = append([]byte(nil), strings.Replace(string(body), "opened", "closed", 1)...)
			return b.Put(number(3), seal(inJournal, number(3), body))
		},
		"an entry taken out":  func(b *bbolt.Bucket) error { return b.Delete(number(3)) },
		"the first taken out": func(b *bbolt.Bucket) error { return b.Delete(number(1)) },
	} {
		s := openWith(t, Options{})
		var all sync.WaitGroup
		for i := range chunk + 10 {
			all.Go(func() {
				if _, err := s.Apply(t.Context(), notes(fmt.Sprint(i), 10)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if err := s.Verify(t.Context()); err != nil {
			t.Fatalf("before: %v", err)
		}
		if err := s.db.Update(func(t *bbolt.Tx) error { return rewrite(t.Bucket([]byte(inJournal))) }); err != nil {
			t.Fatal(err)
		}
		if err := s.Verify(t.Context()); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "in journal") {
			t.Errorf("%s: Verify = %v, want ErrDamaged in the journal", what, err)
		}
	}
}

func TestAnErrorAfterTheWriteStopsTheStoreAndARestartKnowsTheEvent(t *testing.T) {
	s := openWith(t, Options{})
	err := s.write(t.Context(), 1, func(t *tx) error {
		t.OnCommit(func() { panic("the last sync failed, but the disk had it all") })
		_, err := t.apply(notes("e", 10))
		return err
	})
	if !errors.Is(err, store.ErrUncertain) {
		t.Fatalf("the write = %v, want ErrUncertain", err)
	}
	// The disk would take it, but what is in memory may not be what is there.
	if err := s.Err(); !errors.Is(err, store.ErrUncertain) {
		t.Errorf("Err = %v, want ErrUncertain", err)
	}
	if _, err := s.Apply(t.Context(), notes("next", 10)); !errors.Is(err, store.ErrUncertain) {
		t.Errorf("the next Apply = %v, want ErrUncertain", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(s.path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close() }()
	for event, fresh := range map[string]bool{"e": false, "next": true} {
		if got, err := again.Apply(t.Context(), notes(event, 10)); err != nil || got.Fresh != fresh {
			t.Errorf("%s after the restart: fresh %v, %v; want %v", event, got.Fresh, err, fresh)
		}
	}
}
