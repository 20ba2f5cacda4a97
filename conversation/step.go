package conversation

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"rehome/policy"
)

// Step is the one door through which a conversation changes. It is total: any
// event in any state has a result, and an event that no longer fits changes
// nothing but tells its author why. The same arguments give the same result.
func Step(p *policy.Policy, c Conversation, e Event, now time.Time) (Conversation, []Effect) {
	t := turn{policy: p, now: now, was: c, c: c.clone()}
	if _, first := e.(Opened); first == t.started() {
		// A second Opened is a repeat; anything before the first has nothing to
		// change. Neither can come through the doors.
		return c, nil
	}
	if by, in, asked := asksOf(e); asked && t.c.Status == Closed {
		t.tell(by, in, t.sayWaits())
		return t.end()
	}
	switch e := e.(type) {
	case Opened:
		t.open(e)
	case Chosen:
		t.choose(e.By, e.In, e.Question, e.Value)
	case Said:
		t.said(e)
	case Revised:
		t.revise(e)
	case Found:
		t.found(e)
	case NotMine:
		t.notMine(e)
	case Named:
		t.named(e)
	case Corrected:
		t.corrected(e)
	case Passed:
		t.passed(e)
	case Took:
		t.took(e)
	case LetGo:
		t.letGo(e)
	case Joined:
		t.joined(e)
	case Told:
		t.told(e)
	case Unreached:
		t.unreached(e)
	case Linked:
		t.linked(e)
	case Seen:
		t.seen(e)
	case Ruled:
		t.ruled(e)
	case Posted:
		t.posted(e)
	case Gone:
		t.gone(e)
	case Unreachable:
		t.unreachable(e)
	}
	return t.end()
}

// asksOf returns who asked, and in which thread, when an event asks for something
// that a closed conversation does not do.
func asksOf(e Event) (by Person, in int, asked bool) {
	switch e := e.(type) {
	case Chosen:
		return e.By, e.In, true
	case Revised:
		return e.By, e.In, true
	case LetGo:
		return e.By, e.In, true
	case Said:
		return e.By, e.In, e.Addressed
	case Opened, Found, NotMine, Named, Corrected, Passed, Took, Joined, Told, Unreached, Linked, Seen, Ruled, Posted, Gone, Unreachable:
	}
	return Person{}, 0, false
}

// A turn is one event being worked.
type turn struct {
	policy  *policy.Policy
	now     time.Time
	was     Conversation // as it was before
	c       Conversation // as it becomes
	effects []Effect     // all but Show, in order
	shows   []Effect     // each Show that is not due to a change of a card's content; end finds the others
	anew    bool         // what changes does so because the policy has changed
}

func (t *turn) started() bool { return !t.c.Opened.IsZero() }

// clone copies the slices whose elements a turn may change in place.
func (c Conversation) clone() Conversation {
	c.Asked = slices.Clone(c.Asked)
	c.Replies = slices.Clone(c.Replies)
	c.Notes = slices.Clone(c.Notes)
	c.Threads = slices.Clone(c.Threads)
	return c
}

func (t *turn) open(e Opened) {
	c := &t.c
	c.Opened, c.Updated, c.By = t.now, t.now, e.By
	c.Violation, c.Facts = e.Violation, e.Facts
	c.Threads = []Thread{{Place: e.In}}
	c.Related = e.Related
	t.record(e.By, "opened: "+orElse(e.Violation.Title, "no title given"))
	if len(e.Unknown) > 0 {
		t.note(unknownWords(e.Unknown))
	}
	if len(e.Exposed) > 0 {
		t.note(sayExposed(e.Exposed))
	}
	if e.Lookup {
		c.Looking = true
		t.effect(Lookup{})
	}
	t.decide(Person{})
}

// choose takes an answer to question n.
func (t *turn) choose(by Person, in, n int, value string) {
	if n < 1 || n > len(t.c.Asked) {
		t.tell(by, in, sayForeign(t.c.ID))
		return
	}
	q := &t.c.Asked[n-1]
	switch q.State {
	case Answered:
		t.tell(by, in, sayAnswered(*q, value, by))
		return
	case Fallen:
		t.tell(by, in, sayFallen(*q))
		return
	case Waiting:
		t.tell(by, in, t.sayWaits())
		return
	case Open:
	}
	choice, ok := choiceFor(q.Need, value)
	if !ok {
		t.tell(by, in, sayNoChoice(*q))
		return
	}
	t.answer(n, choice, by)
}

// answer closes question n with a choice and lets the policy decide again.
func (t *turn) answer(n int, choice policy.Choice, by Person) {
	q := &t.c.Asked[n-1]
	before := q.Chosen
	q.State, q.Chosen, q.By, q.At, q.Why = Answered, choice, by, t.now, nil
	t.record(by, "answered question "+strconv.Itoa(n)+", "+string(q.Need.Fact)+": "+choice.Value)

	if q.Need.Fact == whatToChange {
		if choice.Value == keepAll {
			t.decide(Person{})
		} else {
			t.reopen(policy.FactName(choice.Value), by)
		}
		return
	}
	changed := before.Value != "" && before.Value != choice.Value
	t.c.Facts = t.c.Facts.With(policy.Fact{
		Name: q.Need.Fact, Value: choice.Value, From: policy.FromAnswer, Why: "the answer to question " + strconv.Itoa(n),
	})
	// Only one answered question about a fact stands. An older one, which was asked
	// before the fact fell away and was needed again, falls.
	for i := range t.c.Asked {
		if o := &t.c.Asked[i]; i != n-1 && o.Need.Fact == q.Need.Fact && o.State == Answered {
			o.State, o.Why = Fallen, sayAskedAgain(n)
		}
	}
	if !changed {
		by = Person{}
	}
	t.decide(by)
}

// said takes words typed in a thread. They answer the open question, ask for a
// change, or state facts that nobody has stated yet. All else is talk among people.
func (t *turn) said(e Said) {
	var secrets []string
	if e.Text, secrets = policy.Strip(e.Text); len(secrets) > 0 {
		t.tell(e.By, e.In, saySecret(secrets))
		t.record(e.By, "typed what looks like "+strings.Join(secrets, " and ")+"; nothing of it was kept")
	}
	if t.c.Status == Closed || e.Text == "" && len(secrets) > 0 {
		return
	}
	n := t.c.OpenQuestion()
	asking := strings.HasSuffix(strings.TrimSpace(e.Text), "?") // "1P?" is a question, not an answer
	if n > 0 && !asking {
		if choice, ok := t.policy.Match(t.c.Asked[n-1].Need, e.Text); ok {
			t.answer(n, choice, e.By)
			return
		}
	}
	if name, ok := changeWord(e.Text); ok {
		t.revise(Revised{By: e.By, In: e.In, Question: t.questionAbout(name)})
		return
	}
	facts, unknown := t.policy.Read(e.Text, "typed in the thread")
	if asking || len(unknown) > 0 || len(facts) == 0 {
		if e.Addressed {
			t.tell(e.By, e.In, sayNotUnderstood(t.c, n))
		}
		return
	}
	t.state(e, facts)
}

// state takes several facts typed at once. While an answer is being changed,
// only words about that answer count.
func (t *turn) state(e Said, facts policy.Facts) {
	if n := t.changing(); n > 0 {
		need := t.c.Asked[n-1].Need
		f, _ := facts.Claim(need.Fact, policy.FromAnswer)
		choice, ok := choiceFor(need, f.Value)
		more := slices.ContainsFunc(facts, func(f policy.Fact) bool { return f.From == policy.FromAnswer && f.Name != need.Fact })
		if ok && !more {
			t.answer(n, choice, e.By)
			return
		}
		t.tell(e.By, e.In, sayWaiting(n))
		return
	}
	var added bool
	for _, f := range facts {
		if f.From != policy.FromAnswer || t.meantOtherwise(f, facts) {
			continue
		}
		held, known := t.c.Facts.Claim(f.Name, policy.FromAnswer)
		switch {
		case known && held.Value == f.Value:
		case known:
			t.tell(e.By, e.In, sayHeld(held))
		default:
			t.c.Facts = t.c.Facts.With(f)
			t.record(e.By, "typed "+string(f.Name)+": "+f.Value)
			t.answerOpen(f, e.By)
			added = true
		}
	}
	switch {
	case added:
		t.decide(e.By)
	case len(t.effects) == 0:
		t.tell(e.By, e.In, policy.Say("I have that already. Nothing changed."))
	}
}

// meantOtherwise reports whether f is the wrong one of the two facts that Read
// makes of a tenant named without saying whose it is: a 3P app has no SG owner,
// and for a 1P app the tenant is the SG owner's.
func (t *turn) meantOtherwise(f policy.Fact, facts policy.Facts) bool {
	other := policy.AppTenant
	switch {
	case f.Name == policy.AppTenant && t.c.Facts.Value(policy.PartyFact) == string(policy.FirstParty):
		other = policy.SGOwner
	case f.Name == policy.SGOwner && t.c.Facts.Value(policy.PartyFact) == string(policy.ThirdParty):
	default:
		return false
	}
	return facts.Value(other) == f.Value
}

// answerOpen marks the open question as answered when f is the fact it asks for.
func (t *turn) answerOpen(f policy.Fact, by Person) {
	n := t.c.OpenQuestion()
	if n == 0 || t.c.Asked[n-1].Need.Fact != f.Name {
		return
	}
	q := &t.c.Asked[n-1]
	q.State, q.Chosen, q.By, q.At, q.Why = Answered, choiceOf(q.Need, f.Value), by, t.now, nil
}

// revise reopens an answered question, or asks what should change.
func (t *turn) revise(e Revised) {
	if n := t.changing(); n > 0 && n != e.Question {
		t.tell(e.By, e.In, sayWaiting(n))
		return
	}
	if e.Question == 0 {
		t.askWhatToChange(e)
		return
	}
	if e.Question < 0 || e.Question > len(t.c.Asked) {
		t.tell(e.By, e.In, sayForeign(t.c.ID))
		return
	}
	q := t.c.Asked[e.Question-1]
	switch q.State {
	case Open:
		t.tell(e.By, e.In, sayOpen(e.Question))
	case Fallen:
		t.tell(e.By, e.In, sayFallen(q))
	case Waiting:
		t.tell(e.By, e.In, t.sayWaits())
	case Answered:
		t.record(e.By, "wants to change question "+strconv.Itoa(e.Question))
		t.reopen(q.Need.Fact, e.By)
	}
}

// reopen asks for a fact again, whatever is known about it: by reopening the
// question that asked for it, or with a new one when it was never asked. The old
// answer holds until another one is given.
func (t *turn) reopen(name policy.FactName, by Person) {
	n := t.questionAbout(name)
	need, ok := t.needFor(name)
	switch {
	case !ok && n == 0:
		t.decide(Person{}) // nothing would ask for it any more
		return
	case !ok:
		need = t.c.Asked[n-1].Need
	}
	if open := t.c.OpenQuestion(); open > 0 {
		t.c.Asked[open-1].State, t.c.Asked[open-1].Why = Waiting, sayBeingChanged(name, by)
	}
	if n == 0 {
		t.c.Asked = append(t.c.Asked, Asked{})
		n = len(t.c.Asked)
		held := t.c.Facts.Value(name)
		t.c.Asked[n-1].Chosen = choiceOf(need, held)
	}
	q := &t.c.Asked[n-1]
	q.Need, q.State, q.By, q.At, q.Why = need, Open, by, t.now, nil
	t.c.Status = Asking
}

// needFor returns what would be asked if nothing were known about a fact, and
// whether it would be asked at all.
func (t *turn) needFor(name policy.FactName) (policy.Need, bool) {
	return t.policy.NeedFor(name, t.c.Facts)
}

// questionAbout returns the number of the standing question about a fact, or 0.
func (t *turn) questionAbout(name policy.FactName) int {
	for i := len(t.c.Asked) - 1; i >= 0; i-- {
		if q := t.c.Asked[i]; q.Need.Fact == name && (q.State == Answered || q.State == Open) {
			return i + 1
		}
	}
	return 0
}

// changing returns the number of the question that is open because somebody
// pressed Change, or 0.
func (t *turn) changing() int {
	n := t.c.OpenQuestion()
	if n == 0 {
		return 0
	}
	if q := t.c.Asked[n-1]; q.Chosen.Value == "" && q.Need.Fact != whatToChange {
		return 0
	}
	return n
}

// whatToChange stands for a fact in the question that the Change on a reply asks:
// which answer should be different. The policy does not know it.
const whatToChange policy.FactName = "change"

func (t *turn) askWhatToChange(e Revised) {
	choices := t.changeable()
	if len(choices) == 0 {
		t.tell(e.By, e.In, policy.Say("There is nothing here that a different answer could change."))
		return
	}
	t.record(e.By, "wants to change an answer")
	if open := t.c.OpenQuestion(); open > 0 {
		t.c.Asked[open-1].State, t.c.Asked[open-1].Why = Waiting, sayBeingChanged(whatToChange, e.By)
	}
	t.c.Asked = append(t.c.Asked, Asked{State: Open, By: e.By, At: t.now, Need: policy.Need{
		Fact: whatToChange, Prompt: "What should be different?",
		Why:     "Pick one; I then ask for it again and work everything out anew. Until you answer, all stays as it is.",
		Choices: append(choices, policy.Choice{Value: keepAll, Label: "Keep everything as it is"}),
	}})
	t.c.Status = Asking
}

// keepAll is the choice that changes nothing.
const keepAll = "keep"

// changeable lists the facts that can be asked for and that are known.
func (t *turn) changeable() []policy.Choice {
	var out []policy.Choice
	for _, name := range []policy.FactName{policy.Violated, policy.PartyFact, policy.AppTenant, policy.SGOwner, policy.AppCloud, policy.Option, policy.Plane} {
		f, known := t.c.Facts.Get(name)
		if !known {
			continue
		}
		if _, ok := t.needFor(name); !ok {
			continue
		}
		out = append(out, policy.Choice{Value: string(name), Label: cut(FactTitle(name)+": "+spoken(f), 75), Hint: cut(HowKnown(f), 75)})
	}
	return out
}

// decide lets the policy decide on the facts as they are now. It asks what the
// policy needs or adds a reply with what it decided, and lets answers fall that no
// longer apply. by is who changed an answer, which is why earlier replies no
// longer hold; nobody when that is not why.
func (t *turn) decide(by Person) {
	if t.changing() > 0 || t.c.Status == Closed {
		return // somebody is about to change an answer, or it is over: nothing new is asked
	}
	if t.c.Looking && len(t.c.Asked)+len(t.c.Replies) == 0 {
		t.c.Status = LookingUp // the directory may know more: nothing is asked or said before it answered
		return
	}
	t.anew = t.anew || by.ID == "" && t.c.Ruled != "" && t.c.Ruled != t.policy.Mark()
	d := t.policy.Decide(t.c.Facts, t.now)
	for t.letFall(d) {
		d = t.policy.Decide(t.c.Facts, t.now)
	}
	t.c.Inferred, t.c.Ruled = beyond(t.c.Facts, d.Facts), t.policy.Mark()
	switch d.Outcome {
	case policy.Ask, policy.Conflict:
		t.supersede(by)
		t.ask(d)
		t.c.Status = Asking
	case policy.Steps, policy.NoPolicyRow, policy.Redirect, policy.Refused, policy.OutOfScope:
		t.withdraw()
		switch cur, ok := t.c.CurrentReply(); {
		case ok && readsTheSame(cur.Decision, d):
			if cur.Decision.Policy.Digest != d.Policy.Digest {
				t.c.Replies[len(t.c.Replies)-1].Decision = d
				t.record(Person{}, "the reply holds by another policy as well: "+toldWords(d))
			}
		default:
			t.supersede(by)
			t.c.Replies = append(t.c.Replies, newReply(d))
			t.record(Person{}, "replied: "+toldWords(d))
		}
		t.c.Status = Ended
		if d.Outcome == policy.Steps {
			t.c.Status = Advised
		}
	}
}

// beyond returns those of the facts by, from which a decision was made, that are
// not in given: the policy inferred them.
func beyond(given policy.Facts, by []policy.Fact) policy.Facts {
	var out policy.Facts
	for _, f := range by {
		if held, _ := given.Get(f.Name); held != f {
			out = append(out, f)
		}
	}
	return out
}

// toldWords says for the journal what a reply told and by which policy, since the
// reply itself is emptied when it no longer holds.
func toldWords(d policy.Decision) string {
	s := string(d.Outcome) + orEmpty(" ", string(d.Scenario)) + orEmpty(", option ", d.Option) + orEmpty(", to ", d.Redirect)
	if d.Row != nil {
		s += ", row " + d.Row.File + ": " + d.Row.AsWritten
	}
	return s + "; policy " + d.Policy.Version + " " + d.Policy.Digest
}

// ask makes sure that the question for what d needs is open, and no other.
func (t *turn) ask(d policy.Decision) {
	need := *d.Need
	for i := range t.c.Asked {
		q := &t.c.Asked[i]
		if q.State != Open && q.State != Waiting {
			continue
		}
		if q.Need.Fact == need.Fact && slices.Equal(q.Need.Choices, need.Choices) {
			q.State, q.Need, q.Why = Open, need, nil
			return
		}
		q.State, q.Why = Fallen, t.notNeeded()
	}
	t.c.Asked = append(t.c.Asked, Asked{Need: need, State: Open, At: t.now, Scenario: d.Scenario})
	t.record(Person{}, "asked question "+strconv.Itoa(len(t.c.Asked))+": "+string(need.Fact))
}

// withdraw closes questions that are open while nothing is missing.
func (t *turn) withdraw() {
	for i := range t.c.Asked {
		if q := &t.c.Asked[i]; q.State == Open || q.State == Waiting {
			q.State, q.Why = Fallen, t.notNeeded()
		}
	}
}

// ruled decides again after the policy, or the tenant map, has changed. What
// people answered stays, and what follows from it is worked out anew, so that
// advice which no longer holds does not stand as if it did.
func (t *turn) ruled(e Ruled) {
	if t.c.Status == Closed {
		return // decided again when it is found again
	}
	was, _ := t.c.CurrentReply()
	t.anew = true
	if t.c.By.ID == "" {
		t.takeFacts(e.Facts)
	} else {
		t.takeInferred(e.Facts) // the rest is what they wrote, or what was read in it
	}
	t.decide(Person{})
	t.c.Ruled = t.policy.Mark() // also when it has to wait
	if now, _ := t.c.CurrentReply(); t.c.By.ID == "" && was.Decision.Outcome == policy.OutOfScope && now.Decision.Outcome != policy.OutOfScope {
		t.effect(Lookup{}) // it was out of scope until now, so no owner was looked for
	}
}

// takeFacts replaces the facts that came from the violation by those that come
// from it now. What people and the directory said stays.
func (t *turn) takeFacts(now policy.Facts) {
	c := &t.c
	for _, f := range slices.Clone(c.Facts) {
		switch f.From {
		case policy.FromAlert, policy.FromTitle, policy.FromHandoff, policy.FromInference:
			c.Facts = c.Facts.Without(f.Name, f.From)
		case policy.FromAnswer, policy.FromDirectory:
		}
	}
	c.Facts = c.Facts.With(now...)
}

// takeInferred replaces the facts that were inferred, and no others, by those that
// are inferred now.
func (t *turn) takeInferred(now policy.Facts) {
	inferred := func(f policy.Fact) bool { return f.From == policy.FromInference }
	t.c.Facts = slices.DeleteFunc(slices.Clone(t.c.Facts), inferred)
	for _, f := range now {
		if inferred(f) {
			t.c.Facts = t.c.Facts.With(f)
		}
	}
}

// notNeeded says why a question is no longer asked.
func (t *turn) notNeeded() policy.Text {
	if t.anew {
		return sayRuledNeedless()
	}
	return sayNotNeeded()
}

// supersede marks the reply that held so far as holding no longer. by is whose
// change of an answer is why, nobody when that is not why.
func (t *turn) supersede(by Person) {
	n := len(t.c.Replies)
	if n == 0 || t.c.Replies[n-1].Superseded != nil {
		return
	}
	r := &t.c.Replies[n-1]
	r.Decision, r.Superseded = policy.Decision{}, saySuperseded(by)
	if t.anew {
		r.Superseded = sayRuledOut()
	}
	t.record(by, "reply "+strconv.Itoa(n)+" no longer holds")
}

// letFall drops the first answer that decision d has no use for, and reports
// whether there was one. See applies.
func (t *turn) letFall(d policy.Decision) bool {
	for i := range t.c.Asked {
		q := &t.c.Asked[i]
		if q.State != Answered || q.Need.Fact == whatToChange {
			continue
		}
		without := t.c.Facts.Without(q.Need.Fact, policy.FromAnswer)
		if applies(q, d, t.policy.Decide(without, t.now)) {
			continue
		}
		q.State, q.Why = Fallen, t.notNeeded()
		t.c.Facts = without
		t.record(Person{}, "question "+strconv.Itoa(i+1)+" no longer applies: "+string(q.Need.Fact)+" "+q.Chosen.Value)
		return true
	}
	return false
}

// applies reports whether the answer to q still has a use: with is the decision
// made with it, without the one made without it.
//
// It has when the policy would otherwise ask for it and offer it in the same
// words. When the policy would not ask for it now, because a fact that it asks for
// earlier is missing, it may still ask later, and the answer stays.
func applies(q *Asked, with, without policy.Decision) bool {
	if without.Need != nil && without.Need.Fact == q.Need.Fact {
		return slices.ContainsFunc(without.Need.Choices, func(c policy.Choice) bool {
			return c.Value == q.Chosen.Value && c.Label == q.Chosen.Label
		}) || !slices.ContainsFunc(q.Need.Choices, func(c policy.Choice) bool { return c == q.Chosen })
	}
	if q.Need.Fact == policy.Option && without.Scenario != q.Scenario {
		return false // a way out of another kind of violation
	}
	if with.Need != nil && rank(with.Need.Fact) < rank(q.Need.Fact) {
		return true // what comes before it is missing: cannot tell yet
	}
	return !sameDecision(with, without)
}

// sameDecision reports whether two decisions have the same result, whatever words
// they are told in.
func sameDecision(a, b policy.Decision) bool {
	need := func(d policy.Decision) policy.FactName {
		if d.Need == nil {
			return ""
		}
		return d.Need.Fact
	}
	return a.Outcome == b.Outcome && a.Scenario == b.Scenario && a.Option == b.Option &&
		a.Redirect == b.Redirect && need(a) == need(b) && reflect.DeepEqual(a.Row, b.Row)
}

// readsTheSame reports whether two decisions would be told in the same words.
// That the policy has meanwhile grown old, or is another one that says the same,
// is no reason to tell it again.
func readsTheSame(a, b policy.Decision) bool {
	told := func(d policy.Decision) string {
		if d.Remediation != nil {
			r := *d.Remediation
			r.Policy = policy.Version{}
			d.Remediation = &r
		}
		return digest(sections(d))
	}
	return a.Outcome == b.Outcome && told(a) == told(b)
}

// rank returns where a fact comes in the order in which the policy asks.
func rank(name policy.FactName) int {
	order := []policy.FactName{policy.Violated, policy.PartyFact, policy.AppTenant, policy.AppCloud, policy.Option, policy.Plane}
	if name == policy.SGOwner {
		name = policy.AppTenant
	}
	return slices.Index(order, name)
}

func (t *turn) posted(e Posted) {
	if e.In < 0 || e.In >= len(t.c.Threads) {
		return
	}
	th := &t.c.Threads[e.In]
	if e.Edit && th.Shown[e.Card].TS != e.TS || e.Under != "" && th.RootTS() != e.Under {
		return
	}
	first := e.Card == RootKey && th.Shown[RootKey].TS == ""
	if e.Channel != "" {
		th.Channel = e.Channel
	}
	th.Shown = withShown(th.Shown, e.Card, Shown{TS: e.TS, Digest: e.Digest})
	if first {
		// Replies hang on the root, so everything else waited for it.
		for _, key := range t.c.Keys() {
			if key != RootKey {
				t.shows = append(t.shows, Show{In: e.In, Card: key})
			}
		}
	}
}

func (t *turn) gone(e Gone) {
	if e.In < 0 || e.In >= len(t.c.Threads) {
		return
	}
	th := &t.c.Threads[e.In]
	there := th.Shown[e.Card].TS
	if e.Thread {
		there = th.RootTS()
	}
	switch {
	case e.TS != "" && e.TS != there:
		return // it was posted anew already
	case e.Thread:
		// Nothing can be said in it any more: start one of our own.
		th.Anchor, th.Shown, th.Unsure = "", nil, nil
		t.record(Person{}, "the thread is gone; another one is started")
		t.shows = append(t.shows, Show{In: e.In, Card: RootKey})
		return
	case e.Card == RootKey && th.Anchor == "":
		// A deleted root takes its thread with it: start another one.
		th.Shown = nil
	default:
		th.Shown = maps.Clone(th.Shown)
		delete(th.Shown, e.Card)
	}
	t.record(Person{}, "somebody deleted "+e.Card+"; it is posted anew")
	t.shows = append(t.shows, Show{In: e.In, Card: e.Card})
}

func (t *turn) unreachable(e Unreachable) {
	if e.What != "" {
		t.record(Person{}, "could not say "+e.What+": "+e.Why)
	} else {
		t.record(Person{}, "could not show "+e.Card+": "+e.Why)
	}
	if e.In < 0 || e.In >= len(t.c.Threads) {
		return
	}
	th := &t.c.Threads[e.In]
	if e.Card == RootKey && th.For.ID != "" {
		t.unreached(Unreached{To: th.For, Why: e.Why, Report: e.Report})
		return
	}
	if e.Unsure && e.What == "" {
		th.Unsure = append(slices.Clone(th.Unsure), e.Card)
	}
	if e.Report {
		t.effect(Report{Text: sayUndelivered(t.c.ID, th.Place, e.Why)})
	}
	if e.Card != RootKey {
		return
	}
	if t.c.By.ID == "" || th.IsDirect() {
		return
	}
	t.note(sayMoved(e.Why))
	*th = Thread{Place: Place{Channel: t.c.By.ID}}
	t.shows = append(t.shows, Show{In: e.In, Card: RootKey})
}

// end works out which cards changed and returns the conversation with its effects:
// first the edits of cards that are there, then the new cards, then what somebody
// missed while it was not theirs, then the root.
func (t *turn) end() (Conversation, []Effect) {
	var edits, posts, back, root []Effect
	wasKeys := t.was.Keys()
	for _, key := range t.c.Keys() {
		isNew := !slices.Contains(wasKeys, key)
		same := key != RootKey && !isNew && t.looksTheSame(key)
		for in, th := range t.c.Threads {
			show := Show{In: in, Card: key}
			switch {
			case key == RootKey:
				if t.reachable(th) && (isNew || !t.rootLooksTheSame(in)) {
					root = append(root, show)
				}
			case th.Shown[RootKey].TS == "", t.c.owner(th.For).State == NotTheirs:
				// it waits for the root, or is none of theirs
			case t.was.owner(th.For).State == NotTheirs:
				back = append(back, show) // what they missed; what they did not miss is not edited
			case same:
				// nothing to do
			case isNew:
				posts = append(posts, show)
			default:
				edits = append(edits, show)
			}
		}
	}
	changed := len(t.effects)+len(edits)+len(posts)+len(back)+len(root)+len(t.shows) > 0
	if changed || !reflect.DeepEqual(t.was.Threads, t.c.Threads) {
		t.c.Rev++
	}
	if len(edits)+len(posts)+len(back)+len(root) > 0 {
		t.c.Updated = t.now
	}
	return t.c, dedupe(slices.Concat(t.effects, edits, posts, back, root, t.shows))
}

// looksTheSame reports whether a card shows what it showed before the turn. The
// parts of a reply need not be compared: they change only when the reply is
// superseded or holds by another policy, and then together.
func (t *turn) looksTheSame(key string) bool {
	if n, _, ok := replyKey(key); ok {
		was, is := t.was.Replies[n-1], t.c.Replies[n-1]
		return (was.Superseded == nil) == (is.Superseded == nil) && was.Decision.Policy.Digest == is.Decision.Policy.Digest
	}
	before, _ := t.was.Card(key, t.now)
	after, _ := t.c.Card(key, t.now)
	return reflect.DeepEqual(before, after)
}

// reachable reports whether it is any use to send to a thread. It is not to one
// without a root that belongs to an owner who could not be told.
func (t *turn) reachable(th Thread) bool {
	return th.RootTS() != "" || t.c.owner(th.For).State != NotReach
}

// rootLooksTheSame is looksTheSame for the root, which differs between threads.
func (t *turn) rootLooksTheSame(in int) bool {
	if in >= len(t.was.Threads) {
		return false
	}
	return reflect.DeepEqual(t.was.root(in, t.now), t.c.root(in, t.now))
}

// dedupe drops a Show that stands earlier already.
func dedupe(effects []Effect) []Effect {
	seen := map[Show]bool{}
	return slices.DeleteFunc(effects, func(e Effect) bool {
		s, ok := e.(Show)
		if !ok {
			return false
		}
		if seen[s] {
			return true
		}
		seen[s] = true
		return false
	})
}

// tell answers a person in the thread they acted in, or in the first one when they
// acted in none. Nobody, and whoever is answered at the door, gets no answer here.
func (t *turn) tell(to Person, in int, text policy.Text) {
	if to.ID == "" || in == AtDoor {
		return
	}
	if in < 0 || in >= len(t.c.Threads) {
		in = 0
		if first := t.c.Threads[0]; first.IsDirect() && first.For != to && (first.For != Person{} || t.c.By != to) {
			return // it would be said to somebody else
		}
	}
	t.effect(Tell{To: to, In: in, Text: text})
}

// record adds a line to the journal. by is nobody for what the bot does itself.
func (t *turn) record(by Person, text string) { t.effect(Record{By: by, Text: text}) }

func (t *turn) effect(e Effect) { t.effects = append(t.effects, e) }

func (t *turn) note(text policy.Text) { t.c.Notes = append(t.c.Notes, Note{Text: text}) }

func withShown(m map[string]Shown, key string, s Shown) map[string]Shown {
	m = maps.Clone(m)
	if m == nil {
		m = map[string]Shown{}
	}
	m[key] = s
	return m
}

// choiceFor returns need's choice with a value, if there is one.
func choiceFor(need policy.Need, value string) (policy.Choice, bool) {
	i := slices.IndexFunc(need.Choices, func(c policy.Choice) bool { return c.Value == value })
	if i < 0 {
		return policy.Choice{}, false
	}
	return need.Choices[i], true
}

// choiceOf is choiceFor that makes a choice of the value where need has none.
func choiceOf(need policy.Need, value string) policy.Choice {
	if choice, ok := choiceFor(need, value); ok {
		return choice
	}
	return policy.Choice{Value: value, Label: value}
}
