package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rehome/conversation"
	"rehome/store"
)

// over returns a step that leaves the conversation over since then, with one
// thread and naming an app, and has effects.
func over(status conversation.Status, since time.Time, ts string, effects ...conversation.Effect) store.Step {
	return func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
		c, _ = placed("C1", ts, "app")(c)
		c.Status, c.Updated = status, since
		return c, effects
	}
}

func forgets(t *testing.T, s store.Store, then time.Time, want store.Forgotten) {
	t.Helper()
	got, err := s.Forget(t.Context(), then, then.AddDate(1, 0, 0))
	if err != nil || got != want {
		t.Errorf("Forget = %+v, %v; want %+v", got, err, want)
	}
}

// own returns what the store's own journal says.
func own(t *testing.T, s store.Store) []store.Entry {
	t.Helper()
	entries, err := s.Journal(t.Context(), "")
	if err != nil {
		t.Fatalf("Journal: %v", err)
	}
	return entries
}

func forgetting(t *testing.T, s store.Store) {
	old, then, young := noon, noon.AddDate(1, 0, 0), noon.AddDate(1, 0, 1)
	open := func(n int, step store.Step) {
		t.Helper()
		applies(t, s, store.Input{Event: fmt.Sprint("e", n), Finding: fmt.Sprint("f", n), At: noon, Step: step})
	}
	said := conversation.Record{Text: "opened"}
	open(1, over(conversation.Closed, old, "1.0", said))
	open(2, over(conversation.Ended, old, "2.0", said, show(0, "root")))
	open(3, over(conversation.Asking, old, "3.0", said))
	open(4, over(conversation.Closed, young, "4.0", said))
	open(5, over(conversation.Closed, old, "5.0", said, show(0, "root"))) // still to be said
	open(6, over(conversation.Advised, old, "6.0", said))
	open(7, over(conversation.Closed, then, "7.0", said)) // at the very time
	settles(t, s, outbox(t, s, false)[0], store.Outcome{At: noon, Abandoned: true, Error: "is_archived"})

	forgets(t, s, then, store.Forgotten{Conversations: 2, Entries: 2})
	for _, id := range []string{"RH-1", "RH-2"} {
		if _, err := s.Get(t.Context(), id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s is there, %v", id, err)
		}
		if _, err := s.Journal(t.Context(), id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the journal of %s is there, %v", id, err)
		}
	}
	if id, err := s.Find(t.Context(), "C1", "1.0"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the thread of RH-1 leads to %s, %v", id, err)
	}
	var left []string
	if err := s.List(t.Context(), func(c conversation.Conversation) bool { left = append(left, c.ID); return true }); err != nil {
		t.Fatal(err)
	}
	want := []string{"RH-3", "RH-4", "RH-5", "RH-6", "RH-7"}
	if !slices.Equal(left, want) {
		t.Errorf("%v are left, want %v", left, want)
	}
	if got, err := s.About(t.Context(), "app", 100); err != nil || !slices.Equal(got, want) {
		t.Errorf("about the app are %v, %v; want %v", got, err, want)
	}
	if all := outbox(t, s, true); len(all) != 1 || all[0].Conversation != "RH-5" {
		t.Errorf("%v waits or was given up, want what is to be said of RH-5", all)
	}
	if entries, err := s.Journal(t.Context(), "RH-3"); err != nil || len(entries) != 1 || entries[0].Seq != 3 {
		t.Errorf("the journal of RH-3 is %v, %v; want entry 3", entries, err)
	}
	for i, e := range own(t, s) {
		if e.Conversation != "" || e.Event != store.EventForget || e.Seq != uint64(8+i) || !strings.HasPrefix(e.Text, fmt.Sprintf("RH-%d was forgotten", i+1)) {
			t.Errorf("line %d of the store's own journal is %+v", i, e)
		}
	}
	if n := len(own(t, s)); n != 2 {
		t.Errorf("the store's own journal has %d lines, want 2", n)
	}
	before := remembered(t, s)
	forgets(t, s, then, store.Forgotten{})
	differ(t, "after forgetting again", before, remembered(t, s))
}

func afterForgetting(t *testing.T, s store.Store) {
	in := store.Input{Event: "a", Finding: "f", At: noon, Step: over(conversation.Closed, noon, "1.0", conversation.Record{Text: "opened"})}
	applies(t, s, in)
	forgets(t, s, noon.AddDate(1, 0, 0), store.Forgotten{Conversations: 1, Entries: 1})
	if got, err := s.Apply(t.Context(), in); err != nil || got.Fresh || got.Conversation.ID != "RH-1" || got.Conversation.Status != "" {
		t.Errorf("the event again = fresh %v, %+v, %v; want only the id of what is gone", got.Fresh, got.Conversation, err)
	}
	if _, err := s.Apply(t.Context(), store.Input{Event: "b", Conversation: "RH-1", Step: boom}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an event for what is gone: %v, want ErrNotFound", err)
	}
	in.Event, in.Again = "c", boom
	if got := applies(t, s, in); got.ID != "RH-2" {
		t.Errorf("the finding again opened %s, want RH-2: numbers are not given out again", got.ID)
	}
	if id, err := s.Find(t.Context(), "C1", "1.0"); err != nil || id != "RH-2" {
		t.Errorf("the thread leads to %s, %v; want RH-2", id, err)
	}
	if entries, err := s.Journal(t.Context(), "RH-2"); err != nil || len(entries) != 1 || entries[0].Seq != 3 {
		t.Errorf("the journal goes on with %v, %v; want entry 3", entries, err)
	}
	// The store's own lines grow old as others do.
	forgets(t, s, noon.AddDate(3, 0, 0), store.Forgotten{Conversations: 1, Entries: 2})
	if lines := own(t, s); len(lines) != 1 || lines[0].Seq != 4 {
		t.Errorf("the store's own journal is %v, want the last line", lines)
	}
	forgets(t, s, noon.AddDate(5, 0, 0), store.Forgotten{Entries: 1})
	if lines := own(t, s); len(lines) != 0 {
		t.Errorf("the store's own journal is %v, want nothing", lines)
	}
	id := opens(t, s, "d", conversation.Record{Text: "opened"})
	if entries, err := s.Journal(t.Context(), id); err != nil || len(entries) != 1 || entries[0].Seq != 5 {
		t.Errorf("an empty journal goes on with %v, %v; want entry 5", entries, err)
	}
}

func forgettingMany(t *testing.T, s store.Store) {
	var many store.Batch
	for i := range 700 {
		in := store.Input{Event: fmt.Sprint("e", i), Finding: fmt.Sprint("f", i), At: noon, Step: over(conversation.Closed, noon, fmt.Sprint(i, ".0"), conversation.Record{Text: "opened"})}
		if i == 650 {
			in.Step = over(conversation.Asking, noon, fmt.Sprint(i, ".0"), conversation.Record{Text: "opened"})
		}
		many.Inputs = append(many.Inputs, in)
	}
	appliesAll(t, s, many)
	forgets(t, s, noon.AddDate(1, 0, 0), store.Forgotten{Conversations: 699, Entries: 650})
	var left []string
	if err := s.List(t.Context(), func(c conversation.Conversation) bool { left = append(left, c.ID); return true }); err != nil || !slices.Equal(left, []string{"RH-651"}) {
		t.Errorf("%v are left, %v; want RH-651", left, err)
	}
	if entries, err := s.Journal(t.Context(), "RH-651"); err != nil || len(entries) != 1 || entries[0].Seq != 651 {
		t.Errorf("its journal is %v, %v; want entry 651", entries, err)
	}
}

func countedAside(t *testing.T, s store.Store) {
	aside := func(day int, source, body, why string) {
		t.Helper()
		appliesAll(t, s, store.Batch{Quarantine: []store.Quarantined{{At: noon.AddDate(0, 0, day), Source: source, Why: why, Body: []byte(body)}}})
	}
	aside(0, "http", "{}", "no title")
	aside(1, "http", "{}", "no title and no id")
	aside(2, "import a.csv:1", "{}", "no title")
	aside(3, "http", "[]", "no title")
	appliesAll(t, s, store.Batch{Quarantine: []store.Quarantined{{At: noon, Source: "x", Body: []byte("1")}, {At: noon, Source: "x", Body: []byte("1")}}})
	want := []store.Quarantined{
		{ID: 1, At: noon, Last: noon.AddDate(0, 0, 1), Count: 2, Source: "http", Why: "no title and no id", Body: []byte("{}")},
		{ID: 2, At: noon.AddDate(0, 0, 2), Last: noon.AddDate(0, 0, 2), Count: 1, Source: "import a.csv:1", Why: "no title", Body: []byte("{}")},
		{ID: 3, At: noon.AddDate(0, 0, 3), Last: noon.AddDate(0, 0, 3), Count: 1, Source: "http", Why: "no title", Body: []byte("[]")},
		{ID: 4, At: noon, Last: noon, Count: 2, Source: "x", Body: []byte("1")},
	}
	differ(t, "what was kept aside", want, quarantined(t, s))

	appliesAll(t, s, store.Batch{Release: []uint64{1}})
	aside(5, "http", "{}", "no title")
	if all := quarantined(t, s); len(all) != 4 || all[3].ID != 5 || all[3].Count != 1 {
		t.Errorf("what was released and came again is %+v, want it new as 5", all)
	}

	gone, err := s.Discard(t.Context(), noon, 4, 99, 2)
	ids := []uint64{}
	for _, q := range gone {
		ids = append(ids, q.ID)
	}
	slices.Sort(ids)
	if err != nil || !slices.Equal(ids, []uint64{2, 4}) {
		t.Errorf("Discard = %v, %v; want 2 and 4, which were there", gone, err)
	}
	if gone, err := s.Discard(t.Context(), noon, 2); err != nil || len(gone) != 0 {
		t.Errorf("Discard again = %v, %v; want nothing", gone, err)
	}
	lines := own(t, s)
	if len(lines) != 2 {
		t.Fatalf("the store's own journal is %v, want a line for each", lines)
	}
	for _, e := range lines {
		if e.Event != store.EventDiscard || !strings.Contains(e.Text, "was discarded") {
			t.Errorf("the store's own journal says %+v", e)
		}
	}

	forgets(t, s, noon.AddDate(0, 0, 4), store.Forgotten{Quarantined: 1, Entries: 2})
	if all := quarantined(t, s); len(all) != 1 || all[0].ID != 5 {
		t.Errorf("kept aside after forgetting: %+v, want the one of day 5", all)
	}
	if lines := own(t, s); len(lines) != 1 || !strings.Contains(lines[0].Text, "record 3 from http was forgotten") {
		t.Errorf("the store's own journal is %v, want a line about record 3", lines)
	}
}
