package storetest

import (
	"fmt"
	"testing"
	"time"

	"rehome/conversation"
	"rehome/policy"
	"rehome/store"
)

// RunReopened runs what a store that outlives its process promises besides
// [Run]. Reopen opens the store of one test again, after it was closed; the
// first time it opens it empty.
func RunReopened(t *testing.T, fresh func(t *testing.T) (reopen Open)) {
	t.Run("everything is there after a restart", func(t *testing.T) {
		reopen := fresh(t)
		s := reopen(t)
		applies(t, s, store.Input{Event: "open", Finding: "f", At: noon, Step: func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
			c, _ = placed("C1", "1.0", "app")(c)
			return c, []conversation.Effect{show(0, "root"), show(0, "q1"), show(1, "root"), show(2, "root"), conversation.Record{Text: "opened"}, remembers("app/owner", "U1")}
		}})
		all := outbox(t, s, false)
		settles(t, s, all[0], store.Outcome{At: noon, Step: does(conversation.Advised, conversation.Record{Text: "posted"})})
		settles(t, s, all[2], store.Outcome{At: noon, RetryAt: noon.Add(time.Hour), Error: "timeout"})
		settles(t, s, all[3], store.Outcome{At: noon, Abandoned: true, Error: "is_archived"})
		appliesAll(t, s, store.Batch{Quarantine: []store.Quarantined{{At: noon, Source: "http", Why: "no title", Body: []byte("{}")}, {At: noon}}})
		appliesAll(t, s, store.Batch{Release: []uint64{2}})
		if err := s.Begin(t.Context(), all[2], noon); err != nil {
			t.Fatal(err)
		}
		before := remembered(t, s)
		closes(t, s)

		s = reopen(t)
		defer closes(t, s)
		differ(t, "what is remembered", before, remembered(t, s))
		for _, in := range []store.Input{{Event: "open", Step: does(conversation.Ended)}, {Event: "again", Finding: "f", Step: does(conversation.Ended)}} {
			if got, err := s.Apply(t.Context(), in); err != nil || got.Fresh || got.Conversation.ID != "RH-1" {
				t.Errorf("a repeat after the restart = fresh %v, %s, %v; want RH-1 as it was", got.Fresh, got.Conversation.ID, err)
			}
		}
		if id := opens(t, s, "new", show(0, "root"), conversation.Record{Text: "opened"}); id != "RH-2" {
			t.Errorf("the next conversation is %s, want RH-2", id)
		}
		all = outbox(t, s, true)
		if last := all[len(all)-1]; last.ID != 5 {
			t.Errorf("the next delivery is %d, want 5", last.ID)
		}
		ready, _, err := s.Due(t.Context(), noon.Add(time.Hour), func(w store.Waiting) store.Taking { return takeIf(w.Channel == "C1") })
		if err != nil || cards(ready) != "q1" {
			t.Errorf("of channel C1 %q is due, %v; want q1", cards(ready), err)
		}
		appliesAll(t, s, store.Batch{Quarantine: []store.Quarantined{{At: noon}}})
		if aside := quarantined(t, s); len(aside) != 2 || aside[1].ID != 3 {
			t.Errorf("kept aside: %v, want 1 and now 3", aside)
		}
	})
	t.Run("a restart between any two calls changes nothing", func(t *testing.T) {
		reopen := fresh(t)
		for i := range 5 {
			s := reopen(t)
			opens(t, s, fmt.Sprint("open ", i), show(0, "root"), show(0, "q1"))
			closes(t, s)
			s = reopen(t)
			ready, _ := due(t, s, noon)
			if len(ready) != 1 {
				t.Fatalf("%d deliveries are due, want the one root", len(ready))
			}
			settles(t, s, ready[0], store.Outcome{At: noon})
			closes(t, s)
			s = reopen(t)
			ready, _ = due(t, s, noon)
			if cards(ready) != "q1" {
				t.Fatalf("%q is due, want q1", cards(ready))
			}
			settles(t, s, ready[0], store.Outcome{At: noon})
			closes(t, s)
		}
	})
}

func closes(t *testing.T, s store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

// memory is all that a store can be asked.
type memory struct {
	Conversations []conversation.Conversation
	Journals      map[string][]store.Entry
	Outbox        []store.Delivery
	Due           []store.Delivery
	Next          time.Time
	Lines         map[string][]store.Delivery
	Found         map[string]string
	About         map[string][]string
	Remembered    map[string]string
	Quarantined   []store.Quarantined
	Own           []store.Entry
}

// remembered asks a store everything, at noon.
func remembered(t *testing.T, s store.Store) memory {
	t.Helper()
	m := memory{
		Journals: map[string][]store.Entry{}, Lines: map[string][]store.Delivery{}, Found: map[string]string{}, About: map[string][]string{},
		Outbox: outbox(t, s, true), Quarantined: quarantined(t, s), Own: own(t, s),
	}
	m.Due, m.Next = due(t, s, noon)
	for _, d := range m.Outbox {
		if _, asked := m.Lines[d.Line]; !asked {
			m.Lines[d.Line] = line(t, s, d.Line)
		}
	}
	var err error
	if m.Remembered, err = s.Recall(t.Context(), ""); err != nil {
		t.Fatalf("Recall: %v", err)
	}
	err = s.List(t.Context(), func(c conversation.Conversation) bool {
		m.Conversations = append(m.Conversations, c)
		entries, err := s.Journal(t.Context(), c.ID)
		if err != nil {
			t.Fatalf("Journal(%s): %v", c.ID, err)
		}
		m.Journals[c.ID] = entries
		app := c.Facts.Value(policy.AppID)
		if m.About[app], err = s.About(t.Context(), app, 100); err != nil {
			t.Fatalf("About(%s): %v", app, err)
		}
		for _, thread := range c.Threads {
			if id, err := s.Find(t.Context(), thread.Channel, thread.RootTS()); err == nil {
				m.Found[thread.Channel+"/"+thread.RootTS()] = id
			}
		}
		return true
	})
	if err != nil {
		t.Fatalf("List: %v", err)
	}
	return m
}
