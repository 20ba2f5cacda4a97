// Package storetest is the contract of a store, as a test. Whatever passes it
// can stand where a [store.Store] is asked for:
//
//	storetest.Run(t, func(t *testing.T) store.Store { return store.NewMem() })
//
// Its steps are written by hand; what conversations really do is no matter of
// the store.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"rehome/conversation"
	"rehome/policy"
	"rehome/store"
)

// Open opens an empty store. The contract closes it.
type Open func(t *testing.T) store.Store

// Run runs the contract.
func Run(t *testing.T, open Open) {
	for name, test := range map[string]func(*testing.T, store.Store){
		"conversations are numbered in the order they open":     numbered,
		"an event is applied once":                              appliedOnce,
		"a finding opens one conversation":                      oneFinding,
		"what must be known opens nothing":                      onlyKnown,
		"an event for an unknown conversation is refused":       unknownConversation,
		"an input without a key or a step is refused":           refusedInput,
		"a step sees the state the step before left":            stepsFollow,
		"a step that panics changes nothing":                    panicking,
		"a step cannot rename a conversation":                   renaming,
		"what is kept is shared with nobody":                    unshared,
		"a conversation is found by the root of each thread":    found,
		"records go into the journal of their conversation":     journal,
		"effects wait as deliveries, each in its line":          waiting,
		"a line waits for its head, other lines do not":         headOfLine,
		"an abandoned delivery is listed and its line goes on":  abandoned,
		"a delivery is settled once":                            settledOnce,
		"an outcome's step and its effects come with it":        outcomeSteps,
		"an outcome whose step panics leaves the delivery":      outcomePanics,
		"an outcome cannot be put off and abandoned":            refusedOutcome,
		"a list can be left, and its reader may write":          listing,
		"a finding that is seen again has a step of its own":    seenAgain,
		"a batch is applied in order and sees itself":           batch,
		"a batch is applied whole or not at all":                batchFails,
		"what could not be read is kept aside until released":   keptAside,
		"what a finding was heard as is no news":                heardBefore,
		"what comes again is kept aside once, and discarded":    countedAside,
		"what is long over is forgotten with all of it":         forgetting,
		"what was forgotten opens anew, and keeps its number":   afterForgetting,
		"much is forgotten at once":                             forgettingMany,
		"every effect that is delivered waits in its line":      everyEffect,
		"a line is listed as it waits":                          lineListed,
		"what is due is taken by line and channel":              taking,
		"what was due first is taken first":                     soonestFirst,
		"what somebody waits for is asked about first":          urgentFirst,
		"what must not wait behind the rest has its own line":   ownLines,
		"a delivery that was begun may have been carried out":   begun,
		"deliveries are settled together, or none is":           settledTogether,
		"values are remembered, recalled and forgotten":         recalling,
		"a conversation is found by the app its facts name":     about,
		"one event from many at once is applied once":           manyAtOnce,
		"many conversations from many at once are all kept":     crowd,
		"a call whose context has ended changes nothing":        endedContext,
		"a closed store says so, however often it is closed":    closing,
		"a conversation keeps every kind of value it was given": everything,
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			defer func() {
				if err := s.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			}()
			test(t, s)
		})
	}
}

// noon is when things happen in these tests.
var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// does returns a step that sets the status and has effects.
func does(status conversation.Status, effects ...conversation.Effect) store.Step {
	return func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
		c.Status = status
		c.Rev++
		return c, effects
	}
}

// opens applies an event that opens a conversation and returns its id.
func opens(t *testing.T, s store.Store, event string, effects ...conversation.Effect) string {
	t.Helper()
	return applies(t, s, store.Input{Event: event, At: noon, Step: does(conversation.Asking, effects...)}).ID
}

// applies applies an input that must be fresh.
func applies(t *testing.T, s store.Store, in store.Input) conversation.Conversation {
	t.Helper()
	got, err := s.Apply(t.Context(), in)
	if err != nil || !got.Fresh {
		t.Fatalf("Apply(%s) = fresh %v, %v; want it applied", in.Event, got.Fresh, err)
	}
	return got.Conversation
}

func settles(t *testing.T, s store.Store, d store.Delivery, o store.Outcome) {
	t.Helper()
	if err := s.Settle(t.Context(), store.Settled{Delivery: d, Outcome: o}); err != nil {
		t.Fatalf("Settle(%d): %v", d.ID, err)
	}
}

func gets(t *testing.T, s store.Store, id string) conversation.Conversation {
	t.Helper()
	c, err := s.Get(t.Context(), id)
	if err != nil {
		t.Fatalf("Get(%s): %v", id, err)
	}
	return c
}

func due(t *testing.T, s store.Store, now time.Time) ([]store.Delivery, time.Time) {
	t.Helper()
	ready, next, err := s.Due(t.Context(), now, nil)
	if err != nil {
		t.Fatalf("Due: %v", err)
	}
	return ready, next
}

func outbox(t *testing.T, s store.Store, failed bool) []store.Delivery {
	t.Helper()
	all, err := s.Outbox(t.Context(), failed)
	if err != nil {
		t.Fatalf("Outbox: %v", err)
	}
	return all
}

// cards names deliveries by what they show, for short comparisons.
func cards(ds []store.Delivery) string {
	var names []string
	for _, d := range ds {
		switch e := d.Effect.(type) {
		case conversation.Show:
			names = append(names, e.Card)
		case conversation.Tell:
			names = append(names, "@"+e.To.ID)
		default:
			names = append(names, fmt.Sprintf("%T", e))
		}
	}
	return strings.Join(names, " ")
}

// differ reports how got differs from want; nil and empty are the same to a
// store.
func differ(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s (- want, + got):\n%s", what, diff)
	}
}

func show(in int, card string) conversation.Effect { return conversation.Show{In: in, Card: card} }

func numbered(t *testing.T, s store.Store) {
	for n, event := range []string{"a", "b", "c"} {
		var seen string
		c := applies(t, s, store.Input{Event: event, At: noon, Step: func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
			seen = c.ID
			return c, nil
		}})
		want := fmt.Sprintf("RH-%d", n+1)
		if c.ID != want || seen != want {
			t.Errorf("conversation %d is %s and its step saw %s, want %s", n+1, c.ID, seen, want)
		}
		differ(t, "Get("+want+")", c, gets(t, s, want))
	}
	for _, id := range []string{"", "RH-", "RH-0", "RH-4", "RH-01", "RH-+1", "rh-1", "1", "RH-1 ", "RH--1", "RH-99999999999999999999"} {
		if _, err := s.Get(t.Context(), id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Get(%q) = %v, want ErrNotFound", id, err)
		}
	}
}

func appliedOnce(t *testing.T, s store.Store) {
	id := opens(t, s, "click", show(0, "root"), conversation.Record{Text: "opened"})
	other := opens(t, s, "other")
	for _, in := range []store.Input{
		{Event: "click", At: noon, Step: does(conversation.Ended, show(0, "q1"))},
		{Event: "click", Conversation: other, At: noon, Step: does(conversation.Ended)},
		{Event: "click", Conversation: "RH-77", At: noon, Step: does(conversation.Ended)},
		{Event: "click", Finding: "new finding", At: noon, Step: does(conversation.Ended)},
	} {
		got, err := s.Apply(t.Context(), in)
		if err != nil || got.Fresh || got.Conversation.ID != id {
			t.Errorf("repeat = fresh %v, %s, %v; want %s as it was", got.Fresh, got.Conversation.ID, err, id)
		}
		differ(t, "the repeat's conversation", gets(t, s, id), got.Conversation)
	}
	if c := gets(t, s, id); c.Rev != 1 || c.Status != conversation.Asking {
		t.Errorf("after the repeats it is %s at rev %d, want it untouched", c.Status, c.Rev)
	}
	if got := cards(outbox(t, s, true)); got != "root" {
		t.Errorf("after the repeats %q waits, want root", got)
	}
	applies(t, s, store.Input{Event: "the finding was not taken", Finding: "new finding", At: noon, Step: does(conversation.Asking)})
}

func oneFinding(t *testing.T, s store.Store) {
	first := applies(t, s, store.Input{Event: "a1", Finding: "s360/77", At: noon, Step: does(conversation.Asking, show(0, "root"))})
	again := store.Input{Event: "a2", Finding: "s360/77", At: noon, Step: does(conversation.Ended, show(0, "root"))}
	for range 2 {
		got, err := s.Apply(t.Context(), again)
		if err != nil || got.Fresh {
			t.Fatalf("the finding again = fresh %v, %v; want it known", got.Fresh, err)
		}
		differ(t, "the conversation of the finding", first, got.Conversation)
	}
	if other := applies(t, s, store.Input{Event: "a3", Finding: "s360/78", At: noon, Step: does(conversation.Asking)}); other.ID == first.ID {
		t.Errorf("another finding went to %s as well", other.ID)
	}
	if n := len(outbox(t, s, true)); n != 1 {
		t.Errorf("%d deliveries wait, want the first one's", n)
	}
	// Nothing of the known finding's event was kept, its key neither.
	again.Finding = ""
	applies(t, s, again)
}

func onlyKnown(t *testing.T, s store.Store) {
	over := store.Input{Event: "a1", Finding: "s360/77", At: noon, Known: true, Step: does(conversation.Asking, show(0, "root")), Again: does(conversation.Closed)}
	if got, err := s.Apply(t.Context(), over); err != nil || got.Fresh || got.Conversation.ID != "" {
		t.Fatalf("a finding nobody knew = %+v, %v; want nothing", got, err)
	}
	first := applies(t, s, store.Input{Event: "a2", Finding: "s360/77", At: noon, Step: does(conversation.Asking)})
	got, err := s.Apply(t.Context(), over) // its key was not kept
	if err != nil || !got.Again || got.Conversation.ID != first.ID || got.Conversation.Status != conversation.Closed {
		t.Errorf("the known finding = %+v, %v; want %s closed", got, err, first.ID)
	}
}

func unknownConversation(t *testing.T, s store.Store) {
	in := store.Input{Event: "e", Conversation: "RH-1", At: noon, Step: does(conversation.Asking)}
	if _, err := s.Apply(t.Context(), in); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("Apply to RH-1 of an empty store = %v, want ErrNotFound", err)
	}
	opens(t, s, "open")
	applies(t, s, in) // its key was not taken
}

func refusedInput(t *testing.T, s store.Store) {
	ok := does(conversation.Asking)
	for what, in := range map[string]store.Input{
		"no key":         {Step: ok},
		"a long key":     {Event: strings.Repeat("k", 513), Step: ok},
		"a long finding": {Event: "e", Finding: strings.Repeat("k", 513), Step: ok},
		"no step":        {Event: "e"},
		"both":           {Event: "e", Finding: "f", Conversation: "RH-1", Step: ok},
	} {
		if got, err := s.Apply(t.Context(), in); err == nil {
			t.Errorf("an input with %s opened %s", what, got.Conversation.ID)
		}
	}
	applies(t, s, store.Input{Event: strings.Repeat("k", 512), Finding: strings.Repeat("f", 512), Step: ok})
}

func stepsFollow(t *testing.T, s store.Store) {
	id := opens(t, s, "open")
	for i := range 5 {
		c := applies(t, s, store.Input{Event: fmt.Sprint("e", i), Conversation: id, At: noon, Step: func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
			c.Rev++
			c.Notes = append(c.Notes, conversation.Note{})
			return c, nil
		}})
		if c.Rev != i+2 || len(c.Notes) != i+1 {
			t.Errorf("after event %d: rev %d, %d notes", i, c.Rev, len(c.Notes))
		}
		differ(t, "what was kept", c, gets(t, s, id))
	}
}

func panicking(t *testing.T, s store.Store) {
	id := opens(t, s, "open")
	for _, in := range []store.Input{
		{Event: "e", Conversation: id, Step: boom},
		{Event: "e", Finding: "f", Step: boom},
	} {
		if _, err := s.Apply(t.Context(), in); err == nil || !strings.Contains(err.Error(), "boom") {
			t.Errorf("a panicking step = %v, want an error that says boom", err)
		}
	}
	if c := applies(t, s, store.Input{Event: "e", Finding: "f", Step: does(conversation.Asking)}); c.ID != "RH-2" {
		t.Errorf("the next conversation is %s, want RH-2", c.ID)
	}
}

func boom(conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
	panic("boom")
}

func renaming(t *testing.T, s store.Store) {
	c := applies(t, s, store.Input{Event: "e", Step: func(conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
		return conversation.Conversation{ID: "RH-9"}, []conversation.Effect{show(0, "root")}
	}})
	if c.ID != "RH-1" || gets(t, s, "RH-1").ID != "RH-1" || outbox(t, s, false)[0].Conversation != "RH-1" {
		t.Errorf("a step renamed RH-1 to %s", c.ID)
	}
}

func unshared(t *testing.T, s store.Store) {
	mine := map[string]conversation.Shown{"root": {TS: "1.0"}}
	id := applies(t, s, store.Input{Event: "e", Step: func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
		c.Threads = []conversation.Thread{{Place: conversation.Place{Channel: "C1"}, Shown: mine}}
		return c, nil
	}}).ID
	mine["root"] = conversation.Shown{TS: "2.0"}
	gets(t, s, id).Threads[0].Shown["root"] = conversation.Shown{TS: "3.0"}
	if got := gets(t, s, id).Threads[0].RootTS(); got != "1.0" {
		t.Errorf("the root's ts became %s through somebody's memory, want 1.0", got)
	}
}

// at returns a step that leaves the conversation with threads at the places
// given as channel, ts.
func at(places ...string) store.Step {
	return func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
		c.Threads = nil
		for i := 0; i < len(places); i += 2 {
			c.Threads = append(c.Threads, conversation.Thread{
				Place: conversation.Place{Channel: places[i]},
				Shown: map[string]conversation.Shown{conversation.RootKey: {TS: places[i+1]}},
			})
		}
		return c, nil
	}
}

func found(t *testing.T, s store.Store) {
	finds := func(channel, ts, want string) {
		t.Helper()
		got, err := s.Find(t.Context(), channel, ts)
		if want == "" && !errors.Is(err, store.ErrNotFound) || want != "" && err != nil || got != want {
			t.Errorf("Find(%s, %s) = %q, %v; want %q", channel, ts, got, err, want)
		}
	}
	n := 0
	moves := func(id string, places ...string) {
		t.Helper()
		n++
		applies(t, s, store.Input{Event: fmt.Sprint("move", n), Conversation: id, Step: at(places...)})
	}
	one, two := opens(t, s, "one"), opens(t, s, "two")
	finds("C1", "", "")

	moves(one, "C1", "", "U1", "") // not posted yet
	finds("C1", "", "")
	moves(one, "C1", "1.0", "D1", "1.1")
	finds("C1", "1.0", one)
	finds("D1", "1.1", one)
	finds("C1", "1.1", "")
	finds("C11", ".0", "")

	moves(one, "C1", "2.0", "D1", "1.1") // deleted by somebody and posted anew
	finds("C1", "1.0", "")
	finds("C1", "2.0", one)
	finds("D1", "1.1", one)

	moves(two, "C1", "2.0") // both in somebody's thread: the later one has it
	finds("C1", "2.0", two)
	moves(one, "C1", "2.0", "D1", "1.1")
	finds("C1", "2.0", two)
	moves(one, "D1", "1.1") // and keeps it when the other leaves
	finds("C1", "2.0", two)
	moves(two)
	finds("C1", "2.0", "")

	anchored := applies(t, s, store.Input{Event: "anchored", Step: func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
		c.Threads = []conversation.Thread{{Place: conversation.Place{Channel: "C9", Anchor: "9.0"}}}
		return c, nil
	}})
	finds("C9", "9.0", anchored.ID)

	d := outboxOf(t, s, one)
	settles(t, s, d, store.Outcome{Step: at("C5", "5.0")})
	finds("C5", "5.0", one)
	finds("D1", "1.1", "")
}

// outboxOf has a conversation show a card and returns the delivery.
func outboxOf(t *testing.T, s store.Store, id string) store.Delivery {
	t.Helper()
	applies(t, s, store.Input{Event: "show/" + id, Conversation: id, At: noon, Step: func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
		return c, []conversation.Effect{show(0, "root")}
	}})
	all := outbox(t, s, false)
	return all[len(all)-1]
}

func journal(t *testing.T, s store.Store) {
	ada := conversation.Person{ID: "U1"}
	one := opens(t, s, "a", conversation.Record{By: ada, Text: "opened"}, show(0, "root"), conversation.Record{Text: "guessed"})
	two := opens(t, s, "b", conversation.Record{Text: "opened too"})
	applies(t, s, store.Input{Event: "c", Conversation: one, At: noon.Add(time.Hour), Step: does(conversation.Ended, conversation.Record{By: ada, Text: "answered"})})
	d := outbox(t, s, false)[0]
	settles(t, s, d, store.Outcome{At: noon.Add(2 * time.Hour), Step: does(conversation.Ended, conversation.Record{Text: "posted"})})
	three := opens(t, s, "quiet")

	for id, want := range map[string][]store.Entry{
		one: {
			{Seq: 1, At: noon, Conversation: one, By: "U1", Text: "opened", Event: "a"},
			{Seq: 2, At: noon, Conversation: one, Text: "guessed", Event: "a"},
			{Seq: 4, At: noon.Add(time.Hour), Conversation: one, By: "U1", Text: "answered", Event: "c"},
			{Seq: 5, At: noon.Add(2 * time.Hour), Conversation: one, Text: "posted", Event: store.EventOf(d.ID)},
		},
		two:   {{Seq: 3, At: noon, Conversation: two, Text: "opened too", Event: "b"}},
		three: nil,
	} {
		got, err := s.Journal(t.Context(), id)
		if err != nil {
			t.Fatalf("Journal(%s): %v", id, err)
		}
		differ(t, "the journal of "+id, want, got)
	}
	if _, err := s.Journal(t.Context(), "RH-4"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the journal of nothing = %v, want ErrNotFound", err)
	}
}

func waiting(t *testing.T, s store.Store) {
	tell := conversation.Tell{To: conversation.Person{ID: "U2"}, In: 1, Text: policy.Say("already answered")}
	id := opens(t, s, "a", show(0, "root"), tell, show(1, "root"), show(0, "q1"))
	want := []store.Delivery{
		{ID: 1, Line: id + "/0", Effect: show(0, "root")},
		{ID: 2, Line: id + "/tell/U2", Effect: tell},
		{ID: 3, Line: id + "/1", Effect: show(1, "root")},
		{ID: 4, Line: id + "/0", Effect: show(0, "q1")},
	}
	for i := range want {
		want[i].Conversation, want[i].Created, want[i].Due = id, noon, noon
	}
	differ(t, "the outbox", want, outbox(t, s, false))
	ready, next := due(t, s, noon)
	differ(t, "what is due", want[:3], ready)
	if !next.IsZero() {
		t.Errorf("next = %s, want never", next)
	}
	if ready, next = due(t, s, noon.Add(-time.Second)); len(ready) > 0 || !next.Equal(noon) {
		t.Errorf("a second early %d are due and the next at %s, want none and noon", len(ready), next)
	}
}

func headOfLine(t *testing.T, s store.Store) {
	opens(t, s, "a", show(0, "root"), show(1, "other"), show(0, "q1"), show(0, "q2"))
	later := noon.Add(time.Minute)

	ready, _ := due(t, s, noon)
	if cards(ready) != "root other" {
		t.Fatalf("due: %q, want the heads of both lines", cards(ready))
	}
	root := ready[0]
	settles(t, s, root, store.Outcome{At: noon, RetryAt: later, Error: "ratelimited"})
	ready, next := due(t, s, noon)
	if cards(ready) != "other" || !next.Equal(later) {
		t.Errorf("behind a put-off head: due %q, next %s; want other, and the head's time", cards(ready), next)
	}
	settles(t, s, ready[0], store.Outcome{})
	if ready, next = due(t, s, noon); len(ready) != 0 || !next.Equal(later) {
		t.Errorf("behind a put-off head alone: due %q, next %s", cards(ready), next)
	}
	ready, next = due(t, s, later)
	if cards(ready) != "root" || !next.IsZero() {
		t.Fatalf("when the head is due again: due %q, next %s", cards(ready), next)
	}
	want := root
	want.Attempts, want.LastError, want.Due = 1, "ratelimited", later
	differ(t, "the head that was put off", want, ready[0])
	for _, card := range []string{"root", "q1", "q2"} {
		if ready, _ = due(t, s, later); cards(ready) != card {
			t.Fatalf("due %q, want %s alone", cards(ready), card)
		}
		settles(t, s, ready[0], store.Outcome{At: later})
	}
	if left := outbox(t, s, true); len(left) != 0 {
		t.Errorf("%q is left", cards(left))
	}

	// One that is not the head may be put off too; it then holds up the line
	// when its turn comes.
	opens(t, s, "b", show(0, "root"), show(0, "q1"))
	all := outbox(t, s, false)
	settles(t, s, all[1], store.Outcome{RetryAt: later.Add(time.Hour)})
	if ready, next = due(t, s, later); cards(ready) != "root" || !next.IsZero() {
		t.Errorf("before one that was put off: due %q, next %s; want root", cards(ready), next)
	}
	settles(t, s, all[0], store.Outcome{})
	if ready, next = due(t, s, later); len(ready) != 0 || !next.Equal(later.Add(time.Hour)) {
		t.Errorf("at one that was put off: due %q, next %s; want nothing for an hour", cards(ready), next)
	}
}

func abandoned(t *testing.T, s store.Store) {
	id := opens(t, s, "a", show(0, "root"), show(0, "q1"))
	ready, _ := due(t, s, noon)
	settles(t, s, ready[0], store.Outcome{At: noon, RetryAt: noon, Error: "timeout"})
	settles(t, s, ready[0], store.Outcome{At: noon, Abandoned: true, Error: "is_archived", Step: does(conversation.Ended, show(1, "root"))})

	if ready, _ := due(t, s, noon); cards(ready) != "q1 root" {
		t.Errorf("after the head was given up %q is due, want its line to go on and what the step said", cards(ready))
	}
	if left := outbox(t, s, false); cards(left) != "q1 root" {
		t.Errorf("%q waits, want q1 root", cards(left))
	}
	all := outbox(t, s, true)
	if cards(all) != "root q1 root" {
		t.Fatalf("%q waits or failed, want root q1 root", cards(all))
	}
	want := ready[0]
	want.Attempts, want.LastError, want.Abandoned = 2, "is_archived", true
	differ(t, "what was given up", want, all[0])
	if gets(t, s, id).Status != conversation.Ended {
		t.Errorf("the step that came with giving up was not applied")
	}

	settles(t, s, all[0], store.Outcome{Step: does(conversation.Asking)})
	settles(t, s, all[0], store.Outcome{RetryAt: noon})
	differ(t, "after settling what was given up", all, outbox(t, s, true))
	if gets(t, s, id).Status != conversation.Ended {
		t.Errorf("settling what was given up applied a step")
	}
}

func settledOnce(t *testing.T, s store.Store) {
	id := opens(t, s, "a", show(0, "root"))
	ready, _ := due(t, s, noon)
	posted := store.Outcome{At: noon, Step: does(conversation.Advised, conversation.Record{Text: "posted"}, show(0, "q1"))}
	for range 3 {
		settles(t, s, ready[0], posted)
	}
	settles(t, s, ready[0], store.Outcome{Abandoned: true})
	settles(t, s, ready[0], store.Outcome{RetryAt: noon})
	settles(t, s, store.Delivery{ID: 99}, posted)
	if rev := gets(t, s, id).Rev; rev != 2 {
		t.Errorf("rev %d after settling over and over, want 2", rev)
	}
	if all := outbox(t, s, true); cards(all) != "q1" {
		t.Errorf("%q waits or failed, want q1 once", cards(all))
	}
	opens(t, s, "b", show(0, "root"))
	if all := outbox(t, s, false); all[1].ID != 3 {
		t.Errorf("delivery 3 is %d: ids are used again", all[1].ID)
	}
}

func outcomeSteps(t *testing.T, s store.Store) {
	id := opens(t, s, "a", show(0, "root"), show(0, "q1"))
	ready, _ := due(t, s, noon)
	later := noon.Add(time.Second)
	settles(t, s, ready[0], store.Outcome{At: later, RetryAt: later, Step: does(conversation.Ended)})
	if c := gets(t, s, id); c.Status != conversation.Asking {
		t.Errorf("a step was applied with putting off")
	}
	settles(t, s, ready[0], store.Outcome{At: later, Step: does(conversation.Advised, show(0, "r1.1"), show(0, "q1"))})
	if c := gets(t, s, id); c.Status != conversation.Advised || c.Rev != 2 {
		t.Errorf("the outcome's step was not applied")
	}
	all := outbox(t, s, true)
	if cards(all) != "q1 r1.1 q1" {
		t.Fatalf("%q waits, want q1 r1.1 q1", cards(all))
	}
	if last := all[2]; !last.Created.Equal(later) || !last.Due.Equal(later) || last.ID != 4 || last.Attempts != 0 {
		t.Errorf("an outcome's effect waits as %+v", last)
	}
}

func outcomePanics(t *testing.T, s store.Store) {
	opens(t, s, "a", show(0, "root"))
	before := outbox(t, s, true)
	for _, giveUp := range []bool{false, true} {
		err := s.Settle(t.Context(), store.Settled{Delivery: before[0], Outcome: store.Outcome{At: noon, Abandoned: giveUp, Step: boom}})
		if err == nil {
			t.Error("a panicking step settled a delivery")
		}
	}
	differ(t, "the outbox", before, outbox(t, s, true))
}

func refusedOutcome(t *testing.T, s store.Store) {
	opens(t, s, "a", show(0, "root"))
	before := outbox(t, s, true)
	if err := s.Settle(t.Context(), store.Settled{Delivery: before[0], Outcome: store.Outcome{RetryAt: noon, Abandoned: true}}); err == nil {
		t.Error("a delivery was put off and abandoned")
	}
	differ(t, "the outbox", before, outbox(t, s, true))
}

func listing(t *testing.T, s store.Store) {
	const count = 600 // more than any reasonable chunk
	var all sync.WaitGroup
	for i := range count {
		all.Go(func() { opens(t, s, fmt.Sprint(i)) })
	}
	all.Wait()
	n := 0
	err := s.List(t.Context(), func(c conversation.Conversation) bool {
		n++
		if want := fmt.Sprintf("RH-%d", n); c.ID != want {
			t.Fatalf("number %d of the list is %s", n, c.ID)
		}
		if n == 1 {
			opens(t, s, "while listing")
		}
		return true
	})
	if err != nil || n != count {
		t.Errorf("List gave %d, %v; want the %d that were there", n, err, count)
	}
	n = 0
	if err := s.List(t.Context(), func(conversation.Conversation) bool { n++; return n < 3 }); err != nil || n != 3 {
		t.Errorf("a list left after 3 gave %d, %v", n, err)
	}
}

func manyAtOnce(t *testing.T, s store.Store) {
	const many = 100
	var fresh int
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			got, err := s.Apply(t.Context(), store.Input{Event: fmt.Sprint("retry ", i%2), Finding: "f", At: noon, Step: does(conversation.Asking, show(0, "root"))})
			if err != nil || got.Conversation.ID != "RH-1" || got.Conversation.Rev != 1 {
				t.Errorf("one of many = %s rev %d, %v; want RH-1", got.Conversation.ID, got.Conversation.Rev, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if got.Fresh {
				fresh++
			}
		})
	}
	all.Wait()
	if fresh != 1 || len(outbox(t, s, true)) != 1 {
		t.Errorf("%d were fresh and %d deliveries wait, want one each", fresh, len(outbox(t, s, true)))
	}
}

func crowd(t *testing.T, s store.Store) {
	const writers, events = 16, 20
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			id := opens(t, s, fmt.Sprint("open ", w), show(0, "root"), conversation.Record{Text: "opened"})
			for i := range events {
				applies(t, s, store.Input{Event: fmt.Sprint(w, " ", i), Conversation: id, At: noon, Step: does(conversation.Asking, show(0, fmt.Sprint(i)))})
				if _, _, err := s.Due(t.Context(), noon, nil); err != nil {
					t.Errorf("Due: %v", err)
				}
			}
			if rev := gets(t, s, id).Rev; rev != events+1 {
				t.Errorf("%s is at rev %d, want %d", id, rev, events+1)
			}
		})
	}
	all.Wait()
	left := writers * (events + 1)
	for last := map[string]uint64{}; left > 0; {
		ready, _ := due(t, s, noon)
		if len(ready) != writers {
			t.Fatalf("%d heads are due with %d deliveries left, want %d", len(ready), left, writers)
		}
		for _, d := range ready {
			if d.ID <= last[d.Line] {
				t.Fatalf("line %s gave %d after %d", d.Line, d.ID, last[d.Line])
			}
			last[d.Line] = d.ID
			settles(t, s, d, store.Outcome{At: noon})
			left--
		}
	}
	if rest := outbox(t, s, true); len(rest) != 0 {
		t.Errorf("%d deliveries are left", len(rest))
	}
}

func endedContext(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	id := opens(t, s, "a", show(0, "root"))
	d := outbox(t, s, true)[0]
	for what, err := range everyCall(ctx, t, s, id, d) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s = %v, want context.Canceled", what, err)
		}
	}
	if gets(t, s, id).Status != conversation.Asking || len(outbox(t, s, true)) != 1 || !outbox(t, s, true)[0].MaybeSent.IsZero() {
		t.Error("a call whose context had ended changed something")
	}
	recalls(t, s, "", nil)
}

// everyCall makes every call that a store has, of which none should come to
// anything, and returns what each said.
func everyCall(ctx context.Context, t *testing.T, s store.Store, id string, d store.Delivery) map[string]error {
	_, errApply := s.Apply(ctx, store.Input{Event: "b", Conversation: id, Step: does(conversation.Ended)})
	_, errApplyAll := s.ApplyAll(ctx, store.Batch{Inputs: []store.Input{{Event: "b", Conversation: id, Step: does(conversation.Ended)}}})
	_, errGet := s.Get(ctx, id)
	_, errFind := s.Find(ctx, "C1", "1.0")
	_, errJournal := s.Journal(ctx, id)
	_, errOutbox := s.Outbox(ctx, true)
	_, _, errDue := s.Due(ctx, noon, nil)
	_, errLine := s.Line(ctx, d.Line)
	_, errRecall := s.Recall(ctx, "")
	_, errQuarantined := s.Quarantined(ctx)
	_, errAbout := s.About(ctx, "", 1)
	return map[string]error{
		"Apply": errApply, "ApplyAll": errApplyAll, "an empty ApplyAll": emptyBatch(ctx, s),
		"Settle": s.Settle(ctx, store.Settled{Delivery: d}), "an empty Settle": s.Settle(ctx), "Begin": s.Begin(ctx, d, noon),
		"Get": errGet, "Find": errFind, "Journal": errJournal, "About": errAbout,
		"List":   s.List(ctx, func(conversation.Conversation) bool { t.Error("List went on"); return true }),
		"Outbox": errOutbox, "Due": errDue, "Line": errLine,
		"Recall": errRecall, "Remember": s.Remember(ctx, "k", "v"), "Quarantined": errQuarantined,
	}
}

func emptyBatch(ctx context.Context, s store.Store) error {
	_, err := s.ApplyAll(ctx, store.Batch{})
	return err
}

func closing(t *testing.T, s store.Store) {
	id := opens(t, s, "a", show(0, "root"))
	d := outbox(t, s, true)[0]
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
	for what, err := range everyCall(t.Context(), t, s, id, d) {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s of a closed store = %v, want ErrClosed", what, err)
		}
	}
}

func everything(t *testing.T, s store.Store) {
	row := policy.Row{Table: policy.ThirdParty, Key: "AME", AsWritten: "Prod, CME"}
	want := conversation.Conversation{
		Opened: noon, Updated: noon.Add(time.Nanosecond), By: conversation.Person{ID: "U1"},
		Violation: policy.Violation{ID: "77", Source: policy.ViolationFrom{System: "s360"}, Title: "Certificate in the wrong tenant <>&\u2028"},
		Facts:     policy.Facts{{Name: policy.PartyFact, Value: "3P", From: policy.FromAlert, Why: "said so"}},
		Asked:     []conversation.Asked{{Need: policy.Need{Fact: policy.Option, Choices: []policy.Choice{{Value: "A", Suggested: true}}}, State: conversation.Open}},
		Replies: []conversation.Reply{{Parts: 2, Decision: policy.Decision{
			Outcome: policy.Steps, Row: &row, Summary: policy.Say("move it"),
			Remediation: &policy.Remediation{Playbook: "p", Steps: []policy.Step{{ID: "s", Gate: true, Text: policy.Text{{Kind: policy.Linked, Text: "guide", URL: "https://example.com"}}}}},
		}}},
		Threads: []conversation.Thread{{Place: conversation.Place{Channel: "C1"}, Shown: map[string]conversation.Shown{"root": {TS: "1.0", Digest: "d"}}}},
		Status:  conversation.Advised, Rev: 7,
	}
	got := applies(t, s, store.Input{Event: "e", At: noon, Step: func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
		want.ID = c.ID
		return want, nil
	}})
	differ(t, "what Apply returned", want, got)
	differ(t, "what was kept", want, gets(t, s, want.ID))
}
