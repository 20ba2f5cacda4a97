package storetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"rehome/conversation"
	"rehome/store"
)

// remembers returns the effect that keeps a value.
func remembers(key, value string) conversation.Effect {
	return conversation.Remember{Key: key, Value: value}
}

func appliesAll(t *testing.T, s store.Store, b store.Batch) []store.Applied {
	t.Helper()
	applied, err := s.ApplyAll(t.Context(), b)
	if err != nil || len(applied) != len(b.Inputs) {
		t.Fatalf("ApplyAll of %d = %d, %v; want all of it applied", len(b.Inputs), len(applied), err)
	}
	return applied
}

func quarantined(t *testing.T, s store.Store) []store.Quarantined {
	t.Helper()
	all, err := s.Quarantined(t.Context())
	if err != nil {
		t.Fatalf("Quarantined: %v", err)
	}
	return all
}

// heardBefore repeats a finding under keys of their own: the conversation says
// whether it is news, in the transaction, and when it is none nothing is kept.
func heardBefore(t *testing.T, s store.Store) {
	say := func(event string, status conversation.Status) store.Input {
		step := does(status, conversation.Record{Text: string(status)})
		return store.Input{Event: event, Finding: "s360/77", At: noon, Step: step, Again: step,
			Repeat: func(c conversation.Conversation) bool { return c.Status == status }}
	}
	got := appliesAll(t, s, store.Batch{Inputs: []store.Input{
		say("a", conversation.Asking), say("b", conversation.Asking), say("c", conversation.Closed), say("d", conversation.Closed), say("e", conversation.Asking),
	}})
	for i, news := range []bool{true, false, true, false, true} {
		if got[i].Fresh != news || got[i].Conversation.ID != "RH-1" {
			t.Errorf("input %d: fresh %v in %s, want %v in RH-1", i+1, got[i].Fresh, got[i].Conversation.ID, news)
		}
	}
	all, err := s.Journal(t.Context(), "RH-1")
	if err != nil || len(all) != 3 {
		t.Errorf("the journal has %d lines, %v; want 3", len(all), err)
	}
	// A repeat left no key: the same event may be news later.
	if again := appliesAll(t, s, store.Batch{Inputs: []store.Input{say("d", conversation.Closed)}}); !again[0].Fresh {
		t.Error("the key of a repeat was kept")
	}
}

func seenAgain(t *testing.T, s store.Store) {
	open := store.Input{Event: "a1", Finding: "s360/77", At: noon, Step: does(conversation.Asking)}
	id := applies(t, s, open).ID
	again := store.Input{
		Event: "a2", Finding: "s360/77", At: noon,
		Step:  boom,
		Again: does(conversation.Ended, show(0, "root"), conversation.Record{Text: "seen again"}),
	}
	for i, want := range []store.Applied{{Fresh: true, Again: true}, {}, {}} {
		got, err := s.Apply(t.Context(), again)
		if err != nil || got.Fresh != want.Fresh || got.Again != want.Again || got.Conversation.ID != id || got.Conversation.Rev != 2 {
			t.Errorf("time %d: fresh %v, again %v, %s at rev %d, %v; want %+v and RH-1 changed once", i+1, got.Fresh, got.Again, got.Conversation.ID, got.Conversation.Rev, err, want)
		}
	}
	if cards(outbox(t, s, true)) != "root" {
		t.Errorf("%q waits, want what the step said, once", cards(outbox(t, s, true)))
	}
	entries, err := s.Journal(t.Context(), id)
	if err != nil || len(entries) != 1 || entries[0].Event != "a2" {
		t.Errorf("the journal is %v, %v; want the event that was seen again", entries, err)
	}
	again.Event, again.Again = "a3", boom
	if _, err := s.Apply(t.Context(), again); err == nil {
		t.Error("a step that panics was applied")
	}
	again.Again = nil
	got, err := s.Apply(t.Context(), again)
	if err != nil || got.Fresh || !got.Again || got.Conversation.Rev != 2 {
		t.Errorf("without a step for it: %+v, %v; want the conversation as it is", got, err)
	}
	again.Finding, again.Step, again.Again = "s360/78", does(conversation.Asking), boom
	if c := applies(t, s, again); c.ID != "RH-2" { // a3 was not taken
		t.Errorf("another finding opened %s, want RH-2", c.ID)
	}
}

func batch(t *testing.T, s store.Store) {
	old := opens(t, s, "old")
	open := func(event, finding string) store.Input {
		return store.Input{
			Event: event, Finding: finding, At: noon,
			Step:  does(conversation.Asking, show(0, event), conversation.Record{Text: event}),
			Again: does(conversation.Ended, show(0, event), conversation.Record{Text: event}),
		}
	}
	in := store.Batch{Inputs: []store.Input{
		open("a", "f1"),
		{Event: "b", Conversation: old, At: noon, Step: does(conversation.Advised, show(0, "b"))},
		open("a", "f9"),   // an event of this batch again
		open("c", "f1"),   // a finding of this batch again
		open("d", "f2"),   // another
		open("old", "f3"), // an event from before
		{Event: "e", Conversation: "RH-2", At: noon, Step: does(conversation.Closed, show(1, "e"))}, // opened in this batch
		open("f", ""),
	}}
	type line struct {
		id           string
		fresh, again bool
		rev          int
	}
	want := []line{
		{"RH-2", true, false, 1}, {old, true, false, 2}, {"RH-2", false, false, 1}, {"RH-2", true, true, 2}, {"RH-3", true, false, 1},
		{old, false, false, 2}, {"RH-2", true, false, 3}, {"RH-4", true, false, 1},
	}
	for i, got := range appliesAll(t, s, in) {
		if got := (line{got.Conversation.ID, got.Fresh, got.Again, got.Conversation.Rev}); got != want[i] {
			t.Errorf("input %d came to %+v, want %+v", i, got, want[i])
		}
	}
	if got := cards(outbox(t, s, true)); got != "a b c d e f" {
		t.Errorf("%q waits, want it in the order of the batch", got)
	}
	before := remembered(t, s)
	for i, got := range appliesAll(t, s, in) {
		if got.Fresh {
			t.Errorf("input %d was applied twice", i)
		}
	}
	differ(t, "after the whole batch again", before, remembered(t, s))
	applies(t, s, store.Input{Event: "g", Finding: "f9", At: noon, Step: does(conversation.Asking)}) // a repeat takes no finding
	if got := appliesAll(t, s, store.Batch{}); len(got) != 0 {
		t.Errorf("an empty batch came to %v", got)
	}
}

func batchFails(t *testing.T, s store.Store) {
	old := opens(t, s, "old", show(0, "root"))
	appliesAll(t, s, store.Batch{Quarantine: []store.Quarantined{{At: noon, Source: "http", Why: "no title", Body: []byte("{}")}}})
	before := remembered(t, s)
	good := []store.Input{
		{Event: "a", Finding: "f", At: noon, Step: placed("C1", "1.0", "app", show(0, "root"), conversation.Record{Text: "opened"}, remembers("k", "v"))},
		{Event: "b", Conversation: old, At: noon, Step: placed("C2", "2.0", "app", show(0, "root"))},
		{Event: "c", Finding: "f", At: noon, Step: boom, Again: placed("C3", "3.0", "other", remembers("k", ""))},
	}
	for what, bad := range map[string]store.Input{
		"a step that panics":      {Event: "z", At: noon, Step: boom},
		"an unknown conversation": {Event: "z", Conversation: "RH-9", At: noon, Step: does(conversation.Asking)},
		"no step":                 {Event: "z"},
		"a memory without a key":  {Event: "z", Step: does(conversation.Asking, remembers("", "v"))},
	} {
		got, err := s.ApplyAll(t.Context(), store.Batch{
			Inputs:     append(good[:len(good):len(good)], bad),
			Quarantine: []store.Quarantined{{At: noon, Source: "http", Why: "no title", Body: []byte("[]")}},
			Release:    []uint64{1},
		})
		if err == nil || got != nil || !strings.Contains(err.Error(), "input 4 of 4") {
			t.Errorf("a batch with %s = %v, %v; want an error that says which input", what, got, err)
		}
		if what == "an unknown conversation" && !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a batch with %s = %v, want ErrNotFound", what, err)
		}
		differ(t, "after a batch with "+what, before, remembered(t, s))
	}
	for i, got := range appliesAll(t, s, store.Batch{Inputs: good}) {
		if !got.Fresh || got.Again != (i == 2) {
			t.Errorf("input %d of the rest: fresh %v, again %v; want nothing taken before", i, got.Fresh, got.Again)
		}
	}
	if got := quarantined(t, s); len(got) != 1 || got[0].ID != 1 {
		t.Errorf("kept aside: %v, want what was there", got)
	}
}

func keptAside(t *testing.T, s store.Store) {
	var want []store.Quarantined
	for i := range 3 {
		want = append(want, store.Quarantined{At: noon, Source: fmt.Sprint("import alerts.csv:", i), Why: "no date: \"yesterday\"", Body: []byte{'{', 0, 0xff, byte('0' + i)}})
	}
	appliesAll(t, s, store.Batch{Quarantine: want[:2]})
	appliesAll(t, s, store.Batch{Inputs: []store.Input{{Event: "a", At: noon, Step: does(conversation.Asking)}}, Quarantine: want[2:]})
	for i := range want {
		want[i].ID, want[i].Last, want[i].Count = uint64(i+1), noon, 1
	}
	differ(t, "what was kept aside", want, quarantined(t, s))
	quarantined(t, s)[0].Body[0] = 'x'
	differ(t, "what was kept aside, after somebody wrote into it", want, quarantined(t, s))

	release := store.Batch{Inputs: []store.Input{{Event: "b", At: noon, Step: does(conversation.Asking)}}, Release: []uint64{3, 1, 99}}
	for range 2 {
		appliesAll(t, s, release)
		differ(t, "what is still aside", want[1:2], quarantined(t, s))
	}
	appliesAll(t, s, store.Batch{Quarantine: []store.Quarantined{{At: noon}}})
	if got := quarantined(t, s); len(got) != 2 || got[1].ID != 4 {
		t.Errorf("the next is kept aside as %v, want 4: ids are not used again", got)
	}
}
