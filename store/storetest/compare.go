package storetest

import (
	"fmt"
	"math/rand"
	"testing"
	"time"

	"rehome/conversation"
	"rehome/policy"
	"rehome/store"
)

// Compare does the same random things, as seed has them, to a store and to the
// one that [store.NewMem] returns, and wants the same to come of each. Now and
// then it opens the store anew; pass a reopen that returns the same store where
// that makes no sense.
func Compare(t *testing.T, seed int64, rounds int, reopen func(t *testing.T, was store.Store) store.Store) {
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewSource(seed))
	model, s := store.NewMem(), reopen(t, nil)
	defer func() { closes(t, s) }()
	now := noon
	for round := range rounds {
		now = now.Add(time.Duration(r.Intn(40)-5) * time.Second) // clocks do jump back
		what := "asked"
		switch r.Intn(12) {
		case 0, 1, 2, 3, 4:
			in := anyInput(r, now)
			what = fmt.Sprintf("applied %s to %q for finding %q", in.Event, in.Conversation, in.Finding)
			want, wantErr := model.Apply(t.Context(), in)
			got, err := s.Apply(t.Context(), in)
			differ(t, what, want, got)
			differ(t, what, wantErr == nil, err == nil)
		case 5, 6, 7, 8, 9:
			want, wantNext := due(t, model, now)
			got, next := due(t, s, now)
			differ(t, "due", want, got)
			differ(t, "next", wantNext, next)
			all := outbox(t, model, true)
			if len(want) > 0 && r.Intn(4) > 0 {
				all = want
			}
			if len(all) == 0 {
				continue
			}
			d, o := all[r.Intn(len(all))], anyOutcome(r, now)
			what = fmt.Sprintf("settled %d with %+v", d.ID, o)
			wantErr, err := model.Settle(t.Context(), store.Settled{Delivery: d, Outcome: o}), s.Settle(t.Context(), store.Settled{Delivery: d, Outcome: o})
			differ(t, what, wantErr == nil, err == nil)
		case 10:
			if r.Intn(10) == 0 {
				what, s = "reopened", reopen(t, s)
			}
		}
		differ(t, "what is remembered", remembered(t, model), remembered(t, s))
		if t.Failed() {
			t.Fatalf("seed %d, round %d: %s", seed, round, what)
		}
	}
}

func anyInput(r *rand.Rand, now time.Time) store.Input {
	in := store.Input{Event: fmt.Sprint("e", r.Intn(200)), At: now, Step: anyStep(r)}
	switch r.Intn(4) {
	case 0:
		in.Finding = fmt.Sprint("f", r.Intn(10))
	case 1, 2:
		in.Conversation = fmt.Sprintf("RH-%d", r.Intn(8))
	}
	return in
}

func anyOutcome(r *rand.Rand, now time.Time) store.Outcome {
	o := store.Outcome{At: now}
	switch r.Intn(4) {
	case 0:
		o.RetryAt, o.Error = now.Add(time.Duration(r.Intn(90))*time.Second), "ratelimited"
	case 1:
		o.Abandoned, o.Error = true, "is_archived"
	}
	if r.Intn(2) == 0 {
		o.Step = anyStep(r)
	}
	return o
}

// anyStep draws all its luck beforehand, so that the step itself is pure.
func anyStep(r *rand.Rand) store.Step {
	var threads []conversation.Thread
	for range r.Intn(4) {
		threads = append(threads, conversation.Thread{
			Place: conversation.Place{Channel: fmt.Sprint("C", r.Intn(3))},
			Shown: map[string]conversation.Shown{conversation.RootKey: {TS: []string{"", "1.0", "2.0", "3.0"}[r.Intn(4)]}},
		})
	}
	var effects []conversation.Effect
	for range r.Intn(4) {
		switch r.Intn(3) {
		case 0:
			effects = append(effects, conversation.Show{In: r.Intn(2), Card: fmt.Sprint("q", r.Intn(3))})
		case 1:
			effects = append(effects, conversation.Tell{To: conversation.Person{ID: fmt.Sprint("U", r.Intn(2))}, Text: policy.Say("already answered")})
		case 2:
			effects = append(effects, conversation.Record{By: conversation.Person{ID: "U1"}, Text: fmt.Sprint("line ", r.Intn(100))})
		}
	}
	bad := r.Intn(15) == 0
	return func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
		if bad && c.Rev == 0 {
			panic("a step that cannot cope")
		}
		c.Rev++
		c.Threads = threads
		return c, effects
	}
}
