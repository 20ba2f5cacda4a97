package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rehome/conversation"
	"rehome/policy"
	"rehome/store"
)

func line(t *testing.T, s store.Store, name string) []store.Delivery {
	t.Helper()
	all, err := s.Line(t.Context(), name)
	if err != nil {
		t.Fatalf("Line(%s): %v", name, err)
	}
	return all
}

// inThreads returns a step that leaves the conversation with a thread in each
// channel, and has effects.
func inThreads(channels []string, effects ...conversation.Effect) store.Step {
	return func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
		c.Threads = nil
		for _, channel := range channels {
			c.Threads = append(c.Threads, conversation.Thread{Place: conversation.Place{Channel: channel}})
		}
		c.Rev++
		return c, effects
	}
}

func everyEffect(t *testing.T, s store.Store) {
	ada := conversation.Person{ID: "U1"}
	tell := conversation.Tell{To: ada, In: 1, Text: policy.Say("already answered")}
	report := conversation.Report{Text: policy.Text{{Kind: policy.Linked, Text: "RH-1", URL: "https://example.com"}}}
	applies(t, s, store.Input{Event: "a", At: noon, Step: inThreads([]string{"C1", "D1"},
		show(0, "root"), show(1, "root"), show(2, "root"), show(-1, "root"), tell,
		conversation.Lookup{}, conversation.Gather{To: ada}, report, conversation.Record{Text: "opened"}, remembers("k", "v"))})
	applies(t, s, store.Input{Event: "b", At: noon, Step: inThreads(nil, conversation.Gather{To: ada}, conversation.Lookup{}, report,
		conversation.Lookup{Late: true}, conversation.Spread{By: ada, Owner: conversation.Person{ID: "U2"}, In: 1})})
	want := []store.Delivery{
		{Conversation: "RH-1", Line: "RH-1/0", Channel: "C1", Effect: show(0, "root")},
		{Conversation: "RH-1", Line: "RH-1/1", Channel: "D1", Effect: show(1, "root")},
		{Conversation: "RH-1", Line: "RH-1/2", Effect: show(2, "root")},
		{Conversation: "RH-1", Line: "RH-1/-1", Effect: show(-1, "root")},
		{Conversation: "RH-1", Line: "RH-1/tell/U1", Channel: "D1", Effect: tell},
		{Conversation: "RH-1", Line: "RH-1/lookup", Effect: conversation.Lookup{}},
		{Conversation: "RH-1", Line: "gather/U1", Effect: conversation.Gather{To: ada}},
		{Conversation: "RH-1", Line: "report", Effect: report},
		{Conversation: "RH-2", Line: "gather/U1", Effect: conversation.Gather{To: ada}},
		{Conversation: "RH-2", Line: "RH-2/lookup", Effect: conversation.Lookup{}},
		{Conversation: "RH-2", Line: "report", Effect: report},
		{Conversation: "RH-2", Line: "RH-2/lookup/late", Effect: conversation.Lookup{Late: true}},
		{Conversation: "RH-2", Line: "RH-2/spread", Effect: conversation.Spread{By: ada, Owner: conversation.Person{ID: "U2"}, In: 1}},
	}
	for i := range want {
		want[i].ID, want[i].Created, want[i].Due = uint64(i+1), noon, noon
	}
	differ(t, "the outbox", want, outbox(t, s, false))
	ready, _ := due(t, s, noon)
	differ(t, "what is due", slices.Concat(want[:8], want[9:10], want[11:]), ready)
	differ(t, "what waits for U1", []store.Delivery{want[6], want[8]}, line(t, s, "gather/U1"))
}

func lineListed(t *testing.T, s store.Store) {
	opens(t, s, "a", show(0, "root"), show(0, "q1"), show(1, "other"), show(0, "q2"), show(0, "q3"))
	if got := line(t, s, "RH-1/0"); cards(got) != "root q1 q2 q3" {
		t.Fatalf("line RH-1/0 is %q", cards(got))
	}
	all := line(t, s, "RH-1/0")
	settles(t, s, all[0], store.Outcome{RetryAt: noon.Add(time.Hour)}) // still the head
	settles(t, s, all[1], store.Outcome{})
	settles(t, s, all[3], store.Outcome{Abandoned: true})
	got := line(t, s, "RH-1/0")
	if cards(got) != "root q2" || !got[0].Due.Equal(noon.Add(time.Hour)) || got[0].Attempts != 1 {
		t.Errorf("line RH-1/0 is %q, want root, put off, and q2", cards(got))
	}
	for _, name := range []string{"", "RH-1", "RH-1/", "RH-1/2", "RH-2/0"} {
		if got := line(t, s, name); len(got) != 0 {
			t.Errorf("line %q is %q, want none", name, cards(got))
		}
	}
}

func taking(t *testing.T, s store.Store) {
	applies(t, s, store.Input{Event: "a", At: noon, Step: inThreads([]string{"C1", "C2", "C1", "C3"},
		show(0, "a"), show(0, "behind"), show(1, "b"), show(2, "c"), show(3, "d"), conversation.Lookup{})})
	settles(t, s, line(t, s, "RH-1/3")[0], store.Outcome{RetryAt: noon.Add(time.Minute)})

	var asked []store.Waiting
	ready, next, err := s.Due(t.Context(), noon, func(w store.Waiting) store.Taking {
		asked = append(asked, w)
		return takeIf(w.Channel == "C1")
	})
	if err != nil || cards(ready) != "a c" || !next.Equal(noon.Add(time.Minute)) {
		t.Errorf("taking what goes to C1: %q, next %s, %v; want a c, and the one put off", cards(ready), next, err)
	}
	slices.SortFunc(asked, func(a, b store.Waiting) int {
		if a.Line < b.Line {
			return -1
		}
		return 1
	})
	differ(t, "what was asked about", []store.Waiting{
		{Line: "RH-1/0", Channel: "C1"}, {Line: "RH-1/1", Channel: "C2"}, {Line: "RH-1/2", Channel: "C1"}, {Line: "RH-1/lookup"},
	}, asked)

	ready, next, err = s.Due(t.Context(), noon, func(store.Waiting) store.Taking { return store.Leave })
	if err != nil || len(ready) != 0 || !next.Equal(noon.Add(time.Minute)) {
		t.Errorf("taking none: %q, next %s, %v", cards(ready), next, err)
	}
	asked = nil
	ready, next, err = s.Due(t.Context(), noon, func(w store.Waiting) store.Taking {
		asked = append(asked, w)
		return store.LeaveChannel
	})
	if err != nil || len(ready) != 0 || len(asked) != 3 || !next.Equal(noon.Add(time.Minute)) {
		t.Errorf("leaving every channel: %q, next %s, %v, after asking about %v; want each channel asked about once", cards(ready), next, err, asked)
	}
	settles(t, s, line(t, s, "RH-1/0")[0], store.Outcome{})
	ready, _, err = s.Due(t.Context(), noon.Add(time.Hour), func(w store.Waiting) store.Taking {
		return takeIf(w.Line == "RH-1/0" || w.Channel == "C3")
	})
	if err != nil || cards(ready) != "behind d" {
		t.Errorf("taking by line and channel: %q, %v; want the new head, and the one put off", cards(ready), err)
	}
}

func takeIf(is bool) store.Taking {
	if is {
		return store.Take
	}
	return store.Leave
}

// soonestFirst: what a channel has no place for waits for what was due before it.
func soonestFirst(t *testing.T, s store.Store) {
	applies(t, s, store.Input{Event: "a", At: noon, Step: inThreads([]string{"C1", "C1", "C1", "C1", "C2"},
		show(0, "a"), show(1, "b"), show(2, "c"), show(3, "d"), show(4, "e"))})
	settles(t, s, line(t, s, "RH-1/0")[0], store.Outcome{RetryAt: noon.Add(3 * time.Minute)})
	settles(t, s, line(t, s, "RH-1/2")[0], store.Outcome{RetryAt: noon.Add(time.Minute)})
	settles(t, s, line(t, s, "RH-1/3")[0], store.Outcome{RetryAt: noon.Add(2 * time.Minute)})
	settles(t, s, line(t, s, "RH-1/4")[0], store.Outcome{RetryAt: noon.Add(9 * time.Minute)})
	room := 2
	take := func(store.Waiting) store.Taking {
		if room == 0 {
			return store.LeaveChannel
		}
		room--
		return store.Take
	}
	ready, next, err := s.Due(t.Context(), noon.Add(5*time.Minute), take)
	if err != nil || cards(ready) != "b c" || !next.Equal(noon.Add(9*time.Minute)) {
		t.Errorf("taking two of C1: %q, next %s, %v; want b c, which were due before a and d, and when e will be", cards(ready), next, err)
	}
	room = 1
	ready, next, err = s.Due(t.Context(), noon.Add(30*time.Second), take)
	if err != nil || cards(ready) != "b" || !next.Equal(noon.Add(time.Minute)) {
		t.Errorf("taking one of C1: %q, next %s, %v; want b, and when c will be", cards(ready), next, err)
	}
}

func begun(t *testing.T, s store.Store) {
	id := opens(t, s, "a", show(0, "root"))
	begins := func(d store.Delivery, at time.Time) {
		t.Helper()
		if err := s.Begin(t.Context(), d, at); err != nil {
			t.Fatalf("Begin(%d): %v", d.ID, err)
		}
	}
	maybe := func(when string, want time.Time) store.Delivery {
		t.Helper()
		ready, _ := due(t, s, noon.Add(time.Hour))
		if len(ready) != 1 || !ready[0].MaybeSent.Equal(want) {
			t.Fatalf("%s: %+v is due, want one that may be sent since %s", when, ready, want)
		}
		return ready[0]
	}
	d := maybe("before", time.Time{})
	begins(d, noon)
	want := d
	want.MaybeSent = noon
	differ(t, "a delivery that was begun", want, maybe("begun", noon))
	begins(d, noon.Add(time.Second))
	maybe("begun again", noon.Add(time.Second))
	settles(t, s, d, store.Outcome{RetryAt: noon.Add(time.Minute), Error: "timeout"})
	maybe("put off and unknown", noon.Add(time.Second))
	settles(t, s, d, store.Outcome{RetryAt: noon.Add(time.Minute), Error: "ratelimited", Unsent: true})
	if got := maybe("put off and not sent", time.Time{}); got.Attempts != 2 || got.LastError != "ratelimited" {
		t.Errorf("after two attempts it is %+v", got)
	}
	settles(t, s, d, store.Outcome{RetryAt: noon.Add(time.Minute), Error: "gathering", Held: true})
	if got := maybe("held", time.Time{}); got.Attempts != 2 || got.LastError != "gathering" {
		t.Errorf("held after two attempts it is %+v", got)
	}
	begins(d, noon.Add(2*time.Minute))
	settles(t, s, d, store.Outcome{Abandoned: true, Error: "timeout"})
	if all := outbox(t, s, true); !all[0].MaybeSent.Equal(noon.Add(2 * time.Minute)) {
		t.Errorf("given up without knowing: %+v, want it to say so", all[0])
	}
	applies(t, s, store.Input{Event: "b", Conversation: id, At: noon, Step: does(conversation.Asking, show(0, "q1"))})
	other := maybe("another", time.Time{})
	begins(other, noon)
	settles(t, s, other, store.Outcome{Abandoned: true, Error: "is_archived", Unsent: true})
	if all := outbox(t, s, true); !all[1].MaybeSent.IsZero() {
		t.Errorf("refused and given up: %+v, want it to be certain", all[1])
	}
	before := outbox(t, s, true)
	begins(d, noon.Add(time.Hour))
	begins(store.Delivery{ID: 99}, noon)
	differ(t, "after beginning what is over", before, outbox(t, s, true))
	if rev := gets(t, s, id).Rev; rev != 2 {
		t.Errorf("the conversation is at rev %d, want 2", rev)
	}
}

func settledTogether(t *testing.T, s store.Store) {
	ada := conversation.Person{ID: "U1"}
	for _, event := range []string{"a", "b", "c", "d"} {
		opens(t, s, event, conversation.Gather{To: ada})
	}
	d := line(t, s, "gather/U1")
	told := store.Outcome{At: noon, Step: does(conversation.Advised, show(0, "root"), conversation.Record{Text: "told"}, remembers("told", "U1"))}
	before := remembered(t, s)
	for what, bad := range map[string]store.Settled{
		"a step that panics":         {Delivery: d[2], Outcome: store.Outcome{At: noon, Step: boom}},
		"one put off and given up":   {Delivery: d[2], Outcome: store.Outcome{RetryAt: noon, Abandoned: true}},
		"one to give up that panics": {Delivery: d[3], Outcome: store.Outcome{Abandoned: true, Step: boom}},
	} {
		err := s.Settle(t.Context(),
			store.Settled{Delivery: d[0], Outcome: told}, store.Settled{Delivery: d[1], Outcome: store.Outcome{RetryAt: noon.Add(time.Hour)}}, bad)
		if err == nil {
			t.Errorf("settled together with %s", what)
		}
		differ(t, "after "+what, before, remembered(t, s))
	}

	sees := store.Outcome{At: noon, Step: func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
		if c.Rev != 2 {
			t.Errorf("the second outcome of %s sees rev %d, want 2", c.ID, c.Rev)
		}
		c.Rev++
		return c, nil
	}}
	applies(t, s, store.Input{Event: "more", Conversation: "RH-4", At: noon, Step: func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
		return c, []conversation.Effect{conversation.Lookup{}}
	}})
	lookup := line(t, s, "RH-4/lookup")[0]
	err := s.Settle(t.Context(),
		store.Settled{Delivery: d[1], Outcome: told},
		store.Settled{Delivery: d[0], Outcome: store.Outcome{At: noon, RetryAt: noon.Add(time.Hour), Error: "gathering"}},
		store.Settled{Delivery: d[2], Outcome: store.Outcome{At: noon, Abandoned: true, Error: "user_not_found", Step: told.Step}},
		store.Settled{Delivery: d[3], Outcome: told},
		store.Settled{Delivery: d[3], Outcome: store.Outcome{Step: boom}}, // over by now
		store.Settled{Delivery: lookup, Outcome: sees},
	)
	if err != nil {
		t.Fatalf("Settle: %v", err)
	}
	for id, rev := range map[string]int{"RH-1": 1, "RH-2": 2, "RH-3": 2, "RH-4": 3} {
		if got := gets(t, s, id).Rev; got != rev {
			t.Errorf("%s is at rev %d, want %d: each step is its own conversation's", id, got, rev)
		}
	}
	if got := line(t, s, "gather/U1"); len(got) != 1 || got[0].ID != d[0].ID || got[0].LastError != "gathering" {
		t.Errorf("%+v waits for U1, want the one that was put off", got)
	}
	if got := cards(outbox(t, s, false)); got != "conversation.Gather root root root" {
		t.Errorf("%q waits", got)
	}
	if err := s.Settle(t.Context()); err != nil {
		t.Errorf("settling nothing = %v", err)
	}
}

// urgentFirst: an urgent line is asked about before others, urgency goes down to
// what follows, and leaving one purpose of a channel leaves no other.
func urgentFirst(t *testing.T, s store.Store) {
	ada := conversation.Person{ID: "U1"}
	applies(t, s, store.Input{Event: "a", At: noon, Step: inThreads([]string{"C1", "C1"}, show(0, "a"), show(1, "b"))})
	applies(t, s, store.Input{Event: "b", At: noon.Add(time.Second), Urgent: true, Step: inThreads([]string{"C1"}, show(0, "hurry"), conversation.Tell{To: ada})})
	one := func(w store.Waiting) store.Taking { return store.Take }
	asked := func(now time.Time) string {
		var lines []string
		if _, _, err := s.Due(t.Context(), now, func(w store.Waiting) store.Taking {
			lines = append(lines, fmt.Sprint(w.Line, " ", w.Urgent))
			return one(w)
		}); err != nil {
			t.Fatal(err)
		}
		if len(lines) > 2 {
			slices.Sort(lines[:2]) // two purposes, in no order
		}
		return strings.Join(lines, ", ")
	}
	if got, want := asked(noon.Add(time.Minute)), "RH-2/0 true, RH-2/tell/U1 true, RH-1/0 false, RH-1/1 false"; got != want {
		t.Errorf("asked about %s; want %s", got, want)
	}
	one = func(store.Waiting) store.Taking { return store.LeaveChannel }
	if got, want := asked(noon.Add(time.Minute)), "RH-2/0 true, RH-2/tell/U1 true, RH-1/0 false"; got != want {
		t.Errorf("asked about %s; want %s: one of a purpose", got, want)
	}
	one = func(store.Waiting) store.Taking { return store.Take }

	// What follows from an urgent one is urgent, and makes what is before it so.
	settles(t, s, line(t, s, "RH-2/0")[0], store.Outcome{At: noon, Step: does(conversation.Asking, show(0, "next"))})
	if next := line(t, s, "RH-2/0"); len(next) != 1 || !next[0].Urgent {
		t.Errorf("what follows an urgent delivery is %+v", next)
	}
	applies(t, s, store.Input{Event: "c", Conversation: "RH-1", At: noon, Urgent: true, Step: does(conversation.Asking, show(1, "behind"))})
	if got, want := asked(noon.Add(time.Minute)), "RH-1/1 true, RH-2/0 true"; !strings.Contains(got, "RH-1/1 true") || strings.Contains(got, "RH-1/0 true") {
		t.Errorf("asked about %s; want %s first", got, want)
	}
	settles(t, s, line(t, s, "RH-1/1")[1], store.Outcome{Abandoned: true})
	if got := asked(noon.Add(time.Minute)); !strings.Contains(got, "RH-1/1 false") {
		t.Errorf("asked about %s; want RH-1/1 urgent no more", got)
	}
}

// ownLines: a root that is there is edited in a line of its own, and what is
// urgent for a person does not wait behind what is not.
func ownLines(t *testing.T, s store.Store) {
	shown := func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
		c.Threads = []conversation.Thread{{Place: conversation.Place{Channel: "C1"}, Shown: map[string]conversation.Shown{conversation.RootKey: {TS: "1.1"}}}, {Place: conversation.Place{Channel: "D1", Anchor: "2.2"}}}
		return c, []conversation.Effect{show(0, "root"), show(0, "q1"), show(1, "root")}
	}
	applies(t, s, store.Input{Event: "a", At: noon, Step: shown})
	opens(t, s, "b", conversation.Gather{To: conversation.Person{ID: "U1"}}, conversation.Gather{To: conversation.Person{ID: "U1"}, Urgent: true})
	for name, urgent := range map[string]bool{"gather/U1": false, "gather/U1/urgent": true} {
		if got := line(t, s, name); len(got) != 1 || got[0].Effect != (conversation.Gather{To: conversation.Person{ID: "U1"}, Urgent: urgent}) || store.PurposeOf(name) != store.Gathering {
			t.Errorf("line %s is %+v", name, got)
		}
	}
	for name, want := range map[string]string{"RH-1/0/root": "root", "RH-1/0": "q1", "RH-1/1": "root"} {
		if got := cards(line(t, s, name)); got != want {
			t.Errorf("line %s is %q, want %q", name, got, want)
		}
	}
}
