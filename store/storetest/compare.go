package storetest

import (
	"fmt"
	"math/rand"
	"strings"
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
		switch r.Intn(20) {
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
			var settled []store.Settled
			for range 1 + r.Intn(3) {
				settled = append(settled, store.Settled{Delivery: all[r.Intn(len(all))], Outcome: anyOutcome(r, now)})
			}
			what = fmt.Sprintf("settled %+v", settled)
			wantErr, err := model.Settle(t.Context(), settled...), s.Settle(t.Context(), settled...)
			differ(t, what, wantErr == nil, err == nil)
		case 10:
			if r.Intn(10) == 0 {
				what, s = "reopened", reopen(t, s)
			}
		case 11, 12, 13:
			b := anyBatch(r, now)
			what = fmt.Sprintf("applied a batch %+v", b)
			want, wantErr := model.ApplyAll(t.Context(), b)
			got, err := s.ApplyAll(t.Context(), b)
			differ(t, what, want, got)
			differ(t, what, wantErr == nil, err == nil)
		case 14, 15:
			d := store.Delivery{ID: uint64(r.Intn(100))}
			what = fmt.Sprintf("began %d", d.ID)
			wantErr, err := model.Begin(t.Context(), d, now), s.Begin(t.Context(), d, now)
			differ(t, what, wantErr == nil, err == nil)
		case 16:
			if r.Intn(3) == 0 {
				then := now.Add(-time.Duration(r.Intn(600)) * time.Second)
				what = fmt.Sprintf("forgot what is over since before %s", then)
				want, wantErr := model.Forget(t.Context(), then, now)
				got, err := s.Forget(t.Context(), then, now)
				differ(t, what, want, got)
				differ(t, what, wantErr == nil, err == nil)
				continue
			}
			if r.Intn(3) == 0 {
				ids := []uint64{uint64(r.Intn(20)), uint64(r.Intn(20))}
				what = fmt.Sprintf("discarded %v", ids)
				want, wantErr := model.Discard(t.Context(), now, ids...)
				got, err := s.Discard(t.Context(), now, ids...)
				differ(t, what, len(want), len(got))
				differ(t, what, wantErr == nil, err == nil)
				continue
			}
			key, value := anyMemory(r)
			what = fmt.Sprintf("remembered %q as %q", key, value)
			wantErr, err := model.Remember(t.Context(), key, value), s.Remember(t.Context(), key, value)
			differ(t, what, wantErr == nil, err == nil)
		case 17, 18:
			refused := fmt.Sprint("C", r.Intn(3))
			left, has := fmt.Sprint("C", r.Intn(3)), r.Intn(5)
			room := has
			take := func(w store.Waiting) store.Taking {
				if w.Channel == left && store.PurposeOf(w.Line) == store.InThread {
					if room == 0 {
						return store.LeaveChannel
					}
					room--
				}
				return takeIf(w.Channel != refused && !strings.HasPrefix(w.Line, "gather/"))
			}
			what = fmt.Sprintf("took what does not go to %s, and %d of %s", refused, has, left)
			want, wantNext, wantErr := model.Due(t.Context(), now, take)
			room = has
			got, next, err := s.Due(t.Context(), now, take)
			differ(t, what, want, got)
			differ(t, "next", wantNext, next)
			differ(t, what, wantErr == nil, err == nil)
		}
		if round%5 == 4 || round == rounds-1 { // asking for everything takes longest
			differ(t, "what is remembered", remembered(t, model), remembered(t, s))
		}
		if t.Failed() {
			t.Fatalf("seed %d, round %d: %s, or in the rounds since everything was last compared", seed, round, what)
		}
	}
}

func anyInput(r *rand.Rand, now time.Time) store.Input {
	in := store.Input{Event: fmt.Sprint("e", r.Intn(200)), At: now, Step: anyStep(r, now), Urgent: r.Intn(3) == 0}
	switch r.Intn(4) {
	case 0:
		in.Finding = fmt.Sprint("f", r.Intn(10))
		if r.Intn(2) == 0 {
			in.Again = anyStep(r, now)
		}
	case 1, 2:
		in.Conversation = fmt.Sprintf("RH-%d", r.Intn(8))
	}
	return in
}

func anyBatch(r *rand.Rand, now time.Time) store.Batch {
	var b store.Batch
	for range r.Intn(5) {
		b.Inputs = append(b.Inputs, anyInput(r, now))
	}
	for i := range r.Intn(3) {
		b.Quarantine = append(b.Quarantine, store.Quarantined{At: now, Source: "http", Why: "no title", Body: fmt.Append(nil, "{", i)})
		b.Release = append(b.Release, uint64(r.Intn(20)))
	}
	return b
}

// anyMemory returns one in ten without a key, which is refused, and a third to
// be forgotten.
func anyMemory(r *rand.Rand) (key, value string) {
	if r.Intn(10) > 0 {
		key = fmt.Sprintf("app/%d/owner", r.Intn(12))
	}
	return key, []string{"", "U1", "U2"}[r.Intn(3)]
}

func anyOutcome(r *rand.Rand, now time.Time) store.Outcome {
	o := store.Outcome{At: now, Unsent: r.Intn(3) == 0}
	switch r.Intn(4) {
	case 0:
		o.RetryAt, o.Error = now.Add(time.Duration(r.Intn(90))*time.Second), "ratelimited"
	case 1:
		o.Abandoned, o.Error = true, "is_archived"
	}
	if r.Intn(2) == 0 {
		o.Step = anyStep(r, now)
	}
	return o
}

// anyStep draws all its luck beforehand, so that the step itself is pure.
func anyStep(r *rand.Rand, updated time.Time) store.Step {
	var threads []conversation.Thread
	for range r.Intn(4) {
		threads = append(threads, conversation.Thread{
			Place: conversation.Place{Channel: fmt.Sprint("C", r.Intn(3))},
			Shown: map[string]conversation.Shown{conversation.RootKey: {TS: []string{"", "1.0", "2.0", "3.0"}[r.Intn(4)]}},
		})
	}
	var effects []conversation.Effect
	for range r.Intn(4) {
		switch r.Intn(8) {
		case 0:
			effects = append(effects, conversation.Show{In: r.Intn(2), Card: fmt.Sprint("q", r.Intn(3))})
		case 1:
			effects = append(effects, conversation.Tell{To: conversation.Person{ID: fmt.Sprint("U", r.Intn(2))}, Text: policy.Say("already answered")})
		case 2:
			effects = append(effects, conversation.Record{By: conversation.Person{ID: "U1"}, Text: fmt.Sprint("line ", r.Intn(100))})
		case 3:
			effects = append(effects, conversation.Lookup{Late: r.Intn(2) == 0})
		case 4:
			effects = append(effects, conversation.Gather{To: conversation.Person{ID: fmt.Sprint("U", r.Intn(2))}})
		case 5:
			effects = append(effects, conversation.Report{Text: policy.Say("not reached")})
		case 6:
			key, value := anyMemory(r)
			effects = append(effects, conversation.Remember{Key: key, Value: value})
		case 7:
			effects = append(effects, conversation.Spread{By: conversation.Person{ID: "U1"}, Owner: conversation.Person{ID: fmt.Sprint("U", r.Intn(2))}, In: r.Intn(2)})
		}
	}
	var facts policy.Facts
	if app := r.Intn(4); app > 0 {
		facts = policy.Facts{{Name: policy.AppID, Value: fmt.Sprint("app", app), From: policy.FromAnswer}}
	}
	status := []conversation.Status{"", conversation.Asking, conversation.Ended, conversation.Closed}[r.Intn(4)]
	bad := r.Intn(15) == 0
	return func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
		if bad && c.Rev == 0 {
			panic("a step that cannot cope")
		}
		c.Rev++
		c.Threads, c.Status, c.Updated = threads, status, updated
		c.Facts = facts
		return c, effects
	}
}
