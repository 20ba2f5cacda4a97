package conversation_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"rehome/conversation"
	"rehome/policy"
)

// TestAnyWalkEndsInADefinedState plays long random conversations; the seed of a
// failing one is in its name.
func TestAnyWalkEndsInADefinedState(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			steps := make([]byte, 80)
			for i := range steps {
				steps[i] = byte(r.Uint32())
			}
			walk(t, steps)
		})
	}
}

// FuzzStep lets the fuzzer choose the events.
func FuzzStep(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3})
	f.Add([]byte("a conversation that nobody would have"))
	f.Fuzz(func(t *testing.T, steps []byte) {
		if len(steps) > 300 {
			steps = steps[:300]
		}
		walk(t, steps)
	})
}

// Every answer to every question leads to a reply after a handful of questions:
// the whole tree, not a sample.
func TestEveryWayThroughTheQuestionsEnds(t *testing.T) {
	p := policy.Default()
	ends := map[policy.Outcome]int{}
	var follow func(c conversation.Conversation, asked int)
	follow = func(c conversation.Conversation, asked int) {
		check(t, c)
		n := c.OpenQuestion()
		if n == 0 {
			reply, _ := c.CurrentReply()
			ends[reply.Decision.Outcome]++
			return
		}
		if asked == 7 {
			t.Fatalf("seven questions and still asking: %v", c.Asked[n-1].Need)
		}
		for _, choice := range c.Asked[n-1].Need.Choices {
			next, _ := conversation.Step(p, c, conversation.Chosen{By: person("a"), Question: n, Value: choice.Value}, start)
			follow(next, asked+1)
		}
	}
	for _, words := range []string{"", "1P", "3P", "3P AME Fairfax", "CME Fairfax 1P"} {
		facts, _ := p.Read(words, "typed")
		c, _ := conversation.Step(p, conversation.Conversation{ID: "RH-1"}, conversation.Opened{By: person("a"), Facts: facts, In: conversation.Place{Channel: "C1"}}, start)
		follow(c, 0)
	}
	t.Logf("ends: %v", ends)
	for _, o := range []policy.Outcome{policy.Steps, policy.NoPolicyRow, policy.Redirect, policy.Refused} {
		if ends[o] == 0 {
			t.Errorf("no way ends in %s", o)
		}
	}
}

var start = time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)

var people = []conversation.Person{{ID: "alice"}, {ID: "bob"}}

var typed = []string{
	"1P", "3p", "AME", "torus gallatin", "fairfax", "option a", "2", "3", "data flow", "control-plane", "change", "change party", "change tenant", "huh?", "",
	"move the certificate", "1P AME Mooncake option A", "keep", "no idea, <!channel>", "AAD Entra Apps cloud mismatches with Cert Cloud",
}

// walk plays one event for each byte and checks what must always hold.
func walk(t *testing.T, steps []byte) {
	p := policy.Default()
	titles := []string{"", "AAD Entra Apps in Prod Tenants using certificates in Non-Prod Tenant", "AAD Entra Apps cloud mismatches with Cert Cloud", "1pApp certs Tenant mismatches the Tenant of the Security Group", "something else"}
	c := conversation.Conversation{ID: "RH-1"}
	now := start.AddDate(1, 0, 0) // the policy has grown old by then, and says so
	for i, b := range steps {
		now = now.Add(time.Minute)
		e := eventFor(p, c, titles, i, b)
		before := encode(t, c)
		next, effects := conversation.Step(p, c, e, now)
		if !bytes.Equal(before, encode(t, c)) {
			t.Fatalf("%T changed the conversation it was given", e)
		}
		// What is kept is JSON; a conversation read back must go on the same way.
		var stored conversation.Conversation
		if err := json.Unmarshal(before, &stored); err != nil {
			t.Fatal(err)
		}
		again, same := conversation.Step(p, stored, e, now)
		if got, want := encode(t, again), encode(t, next); !bytes.Equal(got, want) {
			t.Fatalf("%#v goes on otherwise after storing:\n%s\n%s", e, got, want)
		}
		if fmt.Sprint(same) != fmt.Sprint(effects) {
			t.Fatalf("%#v has other effects after storing:\n%v\n%v", e, same, effects)
		}
		answered(t, e, effects, next)
		c = next
		check(t, c)
		c = deliver(p, c, effects, now)
		check(t, c)
		if i%4 == 3 || i == len(steps)-1 {
			everythingIsShown(t, c, now) // what is missing now is missing later
		}
	}
	readsTheSameWhenStored(t, c, now)
}

// TestLettingGoLeavesTheOwnersAsTheyWere: wherever a conversation stands, handing
// it to somebody who then lets go makes nobody an owner, and takes nobody's word back.
func TestLettingGoLeavesTheOwnersAsTheyWere(t *testing.T) {
	p := policy.Default()
	took, hand := 0, 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		c := conversation.Conversation{ID: "RH-1"}
		for i := range 25 {
			b := byte(r.Uint32())
			e := aboutOwners(p, c, b)
			if i == 0 {
				e = eventFor(p, c, []string{""}, i, b)
			}
			c, _ = conversation.Step(p, c, e, start)
		}
		if c.Status == conversation.Closed {
			continue
		}
		for _, to := range []conversation.Person{people[0], people[1], person("carol")} {
			handed, _ := conversation.Step(p, c, conversation.Took{By: person("zoe"), To: to, Over: true}, start)
			if handed.Taken != to {
				t.Fatalf("seed %d: handed to %s, and %s has it", seed, to.ID, handed.Taken.ID)
			}
			let, _ := conversation.Step(p, handed, conversation.LetGo{By: to}, start)
			if let.Taken.ID != "" || let.LeftBy != to {
				t.Fatalf("seed %d: %s let go, and %q has it", seed, to.ID, let.Taken.ID)
			}
			took++
			if c.Taken.ID != "" {
				continue // whoever had it is what they were before that
			}
			if len(handed.Owners) != len(c.Owners) {
				hand++
			}
			if was, is := standings(c), standings(let); was != is {
				t.Fatalf("seed %d: before %s had it the owners were %s, and after it %s", seed, to.ID, was, is)
			}
		}
	}
	if took < 100 || hand < 20 {
		t.Fatalf("let go %d times, of which %d made an owner: too few to tell", took, hand)
	}
}

// standings are who is held to be an owner and who is not. That somebody was
// not reached may be tried anew when it is handed to them.
func standings(c conversation.Conversation) string {
	var out strings.Builder
	for _, o := range c.Owners {
		fmt.Fprint(&out, o.ID, " via ", o.Via, " not theirs: ", o.State == conversation.NotTheirs, "; ")
	}
	return out.String()
}

// readsTheSameWhenStored checks that nothing that is shown is lost in storing.
func readsTheSameWhenStored(t *testing.T, c conversation.Conversation, now time.Time) {
	t.Helper()
	var stored conversation.Conversation
	if err := json.Unmarshal(encode(t, c), &stored); err != nil {
		t.Fatal(err)
	}
	for _, key := range c.Keys() {
		was, _ := c.Card(key, now)
		is, _ := stored.Card(key, now)
		if conversation.Digest(was) != conversation.Digest(is) {
			t.Fatalf("%s reads differently after storing:\n%+v\n%+v", key, was, is)
		}
	}
}

// eventFor makes an event out of a byte, mostly one that fits.
func eventFor(p *policy.Policy, c conversation.Conversation, titles []string, i int, b byte) conversation.Event {
	if i == 0 {
		facts, unknown := p.Read(titles[int(b)%len(titles)], "typed")
		return conversation.Opened{By: people[0], Facts: facts, Unknown: unknown, In: conversation.Place{Channel: "C1"}, Lookup: b&1 == 1}
	}
	if i%5 == 4 {
		return aboutOwners(p, c, b)
	}
	by := people[b&1]
	open := c.OpenQuestion()
	pick := int(b >> 1)
	switch {
	case pick < 60 && open > 0:
		choices := c.Asked[open-1].Need.Choices
		return conversation.Chosen{By: by, Question: open, Value: choices[pick%len(choices)].Value}
	case pick < 70:
		return conversation.Chosen{By: by, Question: pick%9 - 1, Value: []string{"1P", "A", "AME", "Fairfax"}[pick%4]}
	case pick < 90:
		return conversation.Revised{By: by, Question: pick%(len(c.Asked)+3) - 1}
	case pick < 118:
		return conversation.Said{By: by, Text: typed[pick%len(typed)], Addressed: pick%2 == 0}
	case pick < 122:
		keys := append(c.Keys(), "q99", "")
		return conversation.Gone{In: pick%2 - 1, Card: keys[pick%len(keys)]}
	case pick < 125:
		return conversation.Unreachable{In: pick % 2, Card: "root", Why: "not_in_channel"}
	}
	return conversation.Opened{By: by}
}

// aboutOwners makes an event about whose app it is, or from the feed.
func aboutOwners(p *policy.Policy, c conversation.Conversation, b byte) conversation.Event {
	by, other := people[b&1], people[b>>1&1]
	in := int(b>>6) - 1
	switch b >> 2 & 7 {
	case 0:
		return conversation.Found{Owners: []conversation.Owner{{Person: other, Via: "owner of the application"}}, Hops: []conversation.Hop{{Where: "a", Result: "b"}},
			Lack: []conversation.Lack{conversation.LackNothing, conversation.LackAnswer}[b>>5&1], Late: b>>6&1 == 1,
			Facts: policy.Facts{{Name: policy.OwnerOrg, Value: "f8cdef31-a31e-4b4a-93e4-5f571e91255a", From: policy.FromDirectory}}}
	case 1:
		return conversation.NotMine{By: by, In: in}
	case 2:
		switch b >> 5 & 7 {
		case 6:
			return conversation.Corrected{By: by, Owner: other, From: "RH-7"}
		case 7:
			return conversation.Corrected{By: by, From: "RH-7"}
		}
		return conversation.Named{By: by, In: in, Owner: other}
	case 3:
		return conversation.Took{By: by, In: in, To: other, Over: b>>5&1 == 1}
	case 4:
		if b>>5&1 == 1 {
			return conversation.LetGo{By: by, In: in}
		}
		return conversation.Joined{By: by, In: in}
	case 5:
		if b>>5&7 == 7 {
			return conversation.Ruled{Facts: p.Infer(c.Violation)}
		}
		return conversation.Told{To: other, Digest: b&1 == 1}
	case 6:
		return conversation.Unreached{To: other, Why: "user_not_found"}
	}
	v := policy.Violation{Title: "AAD Entra Apps cloud mismatches with Cert Cloud", Status: []string{"active", "resolved"}[b&1]}
	return conversation.Seen{Violation: v, Facts: p.Infer(v)}
}

// deliver posts what is to be shown, so that the walk goes on as it would.
func deliver(p *policy.Policy, c conversation.Conversation, effects []conversation.Effect, now time.Time) conversation.Conversation {
	for len(effects) > 0 {
		show, ok := effects[0].(conversation.Show)
		effects = effects[1:]
		if !ok || show.In >= len(c.Threads) {
			continue
		}
		card, ok := c.Card(show.Card, now)
		if !ok {
			continue
		}
		var more []conversation.Effect
		c, more = conversation.Step(p, c, conversation.Posted{In: show.In, Card: show.Card, TS: show.Card, Digest: conversation.Digest(card)}, now)
		effects = append(effects, more...)
	}
	return c
}

// check holds a conversation to what must be true of every one.
func check(t *testing.T, c conversation.Conversation) {
	t.Helper()
	if c.Opened.IsZero() {
		return
	}
	open := 0
	for _, q := range c.Asked {
		if q.State == conversation.Open {
			open++
			if len(q.Need.Choices) == 0 {
				t.Fatalf("the open question about %s has no answers", q.Need.Fact)
			}
			if q.Need.Why == "" || q.Need.Prompt == "" {
				t.Fatalf("the question about %s does not say what or why", q.Need.Fact)
			}
		}
		for _, ch := range q.Need.Choices {
			if len([]rune(ch.Label)) > 75 || len(ch.Value) > 75 || len([]rune(ch.Hint)) > 75 {
				t.Fatalf("a choice is over Slack's 75 characters: %+v", ch)
			}
		}
	}
	if c.Taken.ID != "" && c.LeftBy.ID != "" {
		t.Fatalf("%s has it, and %s is said to have let go of it", c.Taken.ID, c.LeftBy.ID)
	}
	_, replied := c.CurrentReply()
	switch c.Status {
	case conversation.Asking:
		if open != 1 {
			t.Fatalf("%d questions are open while it is asking", open)
		}
	case conversation.LookingUp, conversation.Closed:
		if open != 0 {
			t.Fatalf("%s with %d questions open", c.Status, open)
		}
	case conversation.Advised, conversation.Ended:
		if open != 0 || !replied {
			t.Fatalf("%s with %d questions open and replied=%v", c.Status, open, replied)
		}
	default:
		t.Fatalf("undefined status %q", c.Status)
	}
	for _, key := range c.Keys() {
		card, ok := c.Card(key, start)
		if !ok {
			t.Fatalf("card %s is listed and does not exist", key)
		}
		if a, ok := card.(conversation.Advice); ok && a.Superseded == nil {
			for _, s := range a.Sections {
				if strings.Contains(s.Text.String(), "{") && !strings.Contains(s.Text.String(), "where") {
					t.Fatalf("a blank is left in %s: %s", key, s.Text)
				}
			}
		}
	}
}

// everythingIsShown checks that once all is delivered each thread shows what the
// conversation has to show, except to those who said that it is not theirs.
func everythingIsShown(t *testing.T, c conversation.Conversation, now time.Time) {
	t.Helper()
	is := map[string]string{}
	for _, key := range c.Keys()[1:] { // the root differs between threads
		card, _ := c.Card(key, now)
		is[key] = conversation.Digest(card)
	}
	for _, th := range c.Threads {
		denies := func(o conversation.Owner) bool {
			return o.Person == th.For && o.State == conversation.NotTheirs
		}
		if th.Shown[conversation.RootKey].TS == "" || slices.ContainsFunc(c.Owners, denies) {
			continue
		}
		for key, digest := range is {
			if th.Shown[key].Digest != digest {
				t.Fatalf("%s does not show %s as it is", th.Channel, key)
			}
		}
	}
}

// answered checks that whoever did something heard of it: in the thread, or alone.
func answered(t *testing.T, e conversation.Event, effects []conversation.Effect, c conversation.Conversation) {
	t.Helper()
	var heard bool
	for _, eff := range effects {
		switch eff.(type) {
		case conversation.Tell, conversation.Show:
			heard = true
		case conversation.Record:
		}
	}
	switch e := e.(type) {
	case conversation.Chosen, conversation.Revised, conversation.NotMine, conversation.Took, conversation.LetGo, conversation.Joined:
		if !heard && shownAnywhere(c) {
			t.Fatalf("%#v got no answer", e)
		}
	case conversation.Said:
		if e.Addressed && !heard && shownAnywhere(c) {
			t.Fatalf("%#v got no answer", e)
		}
	}
}

func shownAnywhere(c conversation.Conversation) bool {
	return len(c.Threads) > 0 && c.Threads[0].RootTS() != ""
}

func encode(t *testing.T, c conversation.Conversation) []byte {
	t.Helper()
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
