package bolt_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rehome/conversation"
	"rehome/store"
)

// A journal of which everything has left goes on where it ended.
func TestAJournalThatWasEmptiedGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rehome.db")
	lively(t, path)
	s := openAt(t, path)
	for n := 4; n <= 9; n++ {
		_, err := s.Apply(t.Context(), store.Input{Event: fmt.Sprint("close ", n), Conversation: fmt.Sprint("RH-", n), At: noon, Step: func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
			c.Status = conversation.Closed
			return c, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	waiting, err := s.Outbox(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range waiting {
		if err := s.Settle(t.Context(), store.Settled{Delivery: d}); err != nil {
			t.Fatal(err)
		}
	}
	for year := 3; year < 6; year += 2 { // the second time the lines about the first
		if _, err := s.Forget(t.Context(), noon.AddDate(year, 0, 0), noon.AddDate(year, 0, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := s.Apply(t.Context(), opened(10)); err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	found := examined(t, path)
	if len(found.Problems) > 0 || found.Journal.Entries != 1 || found.Conversations != 1 || len(found.Did) != 0 {
		t.Errorf("found %+v, want one entry of one conversation", found)
	}
}

// While much is forgotten, conversations come to life again, and new ones open:
// nothing of those is lost, and nothing disagrees.
func TestWhatComesToLifeWhileOthersAreForgottenStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rehome.db")
	s := openAt(t, path)
	const count = 300
	var many store.Batch
	for n := range count {
		in := opened(n)
		in.Finding = fmt.Sprint("f", n)
		in.Step = func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
			c.Status, c.Updated = conversation.Closed, noon
			return c, []conversation.Effect{conversation.Record{Text: "opened"}}
		}
		many.Inputs = append(many.Inputs, in)
	}
	if _, err := s.ApplyAll(t.Context(), many); err != nil {
		t.Fatal(err)
	}
	var alive sync.WaitGroup
	var said, again atomic.Int64
	for n := count - 1; n >= 0; n -= 3 {
		in := opened(count + n)
		in.Finding = fmt.Sprint("f", n)
		in.Again = func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
			if n%2 == 0 { // closed as before, but there is something to say
				return c, []conversation.Effect{conversation.Show{Card: "root"}}
			}
			c.Status = conversation.Asking // and nothing to say
			return c, nil
		}
		alive.Go(func() {
			got, err := s.Apply(context.WithoutCancel(t.Context()), in)
			if err != nil {
				t.Error(err)
			}
			if got.Again {
				again.Add(1)
			}
			if !got.Again || n%2 == 0 { // what was forgotten already is opened anew
				said.Add(1)
			}
		})
	}
	f, err := s.Forget(t.Context(), noon.AddDate(1, 0, 0), time.Now())
	alive.Wait()
	if err != nil || f.Conversations != count-int(again.Load()) {
		t.Errorf("Forget = %+v, %v; want all forgotten but %d", f, err, again.Load())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	found := examined(t, path)
	if len(found.Problems) > 0 || found.Deliveries != int(said.Load()) || found.Conversations != count/3 {
		t.Errorf("found %d conversations that wait for %d deliveries, and %+v; want the %d that came to life, %d with something to say",
			found.Conversations, found.Deliveries, found.Problems, count/3, said.Load())
	}
	t.Logf("%d came to life before they were forgotten", again.Load())
}
