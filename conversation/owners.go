package conversation

import (
	"reflect"
	"slices"
	"strconv"
	"strings"

	"rehome/policy"
)

// This file is about whose app it is: who was found, who was told, who says it
// is not theirs, and who works on it.

// found takes what came of looking for the app and its owners.
func (t *turn) found(e Found) {
	c := &t.c
	known := len(c.Hops) > 0 && len(c.Owners) == 0 // that nobody can be told
	c.Looking, c.ReadAt, c.Hops = false, e.ReadAt, e.Hops
	for _, f := range e.Facts {
		c.Facts = c.Facts.With(f)
	}
	for _, h := range e.Hops {
		if slices.Contains(t.was.Hops, h) {
			continue // was found out before
		}
		t.record(Person{}, "looked for owners in "+h.Where+": "+h.Result)
	}
	if t.c.By.ID == "" && t.policy.Decide(c.Facts, t.now).Outcome == policy.OutOfScope {
		t.decide(Person{}) // a feed's finding that is none of ours is nobody's to be told
		return
	}
	var anybody bool
	for _, o := range e.Owners {
		anybody = t.addOwner(o, e.Urgent) || anybody
	}
	if e.Lack != LackNothing && (e.Late || c.Lacks == LackNothing) {
		t.effect(Lookup{Late: true})
	}
	if c.Lacks = e.Lack; anybody && c.Lacks == LackNothing {
		t.forgetMail()
	}
	if !anybody && len(c.Owners) == 0 && len(e.Hops) > 0 && !known {
		t.record(Person{}, "no owner can be told")
		t.report(text(plain(c.ID + ": no owner can be told. Whoever knows the app can press “I take it” in its thread.")))
	}
	t.decide(Person{})
}

// addOwner adds somebody to be told, unless they know or said it is not theirs.
func (t *turn) addOwner(o Owner, urgent bool) bool {
	i := slices.IndexFunc(t.c.Owners, func(k Owner) bool { return k.Person == o.Person })
	if i >= 0 && t.c.Owners[i].State != NotReach {
		if t.c.Owners[i].Via == viaHanded {
			t.setOwner(o.Person, func(k *Owner) { k.Via = o.Via }) // theirs, it turns out
		}
		return t.c.Owners[i].State != NotTheirs
	}
	if i >= 0 {
		k := t.c.Owners[i]
		if o.Denied = k.Denied; o.Via == viaHanded {
			o.Via = k.Via
		}
	}
	o.State = ToBeTold
	if o.Person == t.c.By || t.c.threadOf(o.Person) >= 0 {
		o.State = ToldAlone // opened it or has it in front of them already
	}
	t.c.Owners = slices.Clone(t.c.Owners)
	if i >= 0 {
		t.c.Owners[i] = o
	} else {
		t.c.Owners = append(t.c.Owners, o)
	}
	if o.State == ToBeTold {
		t.effect(Gather{To: o.Person, Urgent: urgent})
	}
	return true
}

// threadOf returns the index of a person's direct message, or -1.
func (c Conversation) threadOf(p Person) int {
	return slices.IndexFunc(c.Threads, func(th Thread) bool {
		return th.For == p && p.ID != "" || th.IsDirect() && th.Channel == p.ID
	})
}

// setOwner changes what is known of an owner, and reports whether they are one.
func (t *turn) setOwner(p Person, change func(*Owner)) bool {
	i := slices.IndexFunc(t.c.Owners, func(o Owner) bool { return o.Person == p })
	if i < 0 {
		return false
	}
	t.c.Owners = slices.Clone(t.c.Owners)
	change(&t.c.Owners[i])
	return true
}

func (t *turn) told(e Told) {
	state := ToldAlone
	if e.Digest {
		state = ToldInOne
	}
	if !t.setOwner(e.To, func(o *Owner) {
		if o.State == ToBeTold || o.State == NotReach || o.State == ToldInOne {
			o.State, o.Why, o.Heard = state, "", true
		}
	}) {
		return
	}
	t.record(Person{}, "told "+e.To.ID+digestWord(e.Digest))
	if !e.Digest {
		t.thread(e.To)
	}
}

func digestWord(digest bool) string {
	if digest {
		return ", on a list of several"
	}
	return ", in a direct message"
}

// thread opens the direct message with a person.
func (t *turn) thread(p Person) {
	if t.c.threadOf(p) < 0 {
		t.c.Threads = append(t.c.Threads, Thread{Place: Place{Channel: p.ID}, For: p})
	}
}

func (t *turn) unreached(e Unreached) {
	t.setOwner(e.To, func(o *Owner) {
		if o.State != NotTheirs {
			o.State, o.Why = NotReach, e.Why
		}
	})
	t.record(Person{}, "could not tell "+e.To.ID+": "+e.Why)
	if e.Report {
		t.report(sayUnreached(t.c.ID, e))
	}
}

// notMine takes an owner's word that the app is not theirs, and keeps it for
// the next time.
func (t *turn) notMine(e NotMine) {
	if t.c.owner(e.By).State == NotTheirs {
		t.tell(e.By, e.In, policy.Say("Noted already: this app is not yours. If you know whose it is, say so there."))
		return
	}
	if !t.setOwner(e.By, func(o *Owner) { o.State, o.Denied = NotTheirs, false }) {
		t.tell(e.By, e.In, policy.Say("You are not held to be an owner of this app, so nothing changed."))
		return
	}
	t.record(e.By, "says the app is not theirs")
	t.remember("not/"+e.By.ID, "yes")
	t.spread(Spread{By: e.By, In: e.In})
	if t.c.Named == e.By {
		t.c.Named = Person{}
	}
	if t.c.Taken == e.By {
		t.c.Taken = Person{}
	}
	if t.nobodyLeft() {
		t.report(text(plain(t.c.ID+": "), who(e.By), plain(" says the app is not theirs, and nobody else is known so far. Whoever knows the app can press “I take it” in its thread.")))
		t.lookOn()
	}
}

func (t *turn) nobodyLeft() bool {
	return !slices.ContainsFunc(t.c.Owners, func(o Owner) bool { return o.State != NotTheirs && o.State != NotReach })
}

// lookOn looks in the places that come after those where nobody was found who
// says that it is theirs. It is a late look, so that whoever was asked whose it
// is has a moment to say it.
func (t *turn) lookOn() {
	if t.c.Taken.ID == "" && t.c.Lacks == LackNothing && !t.c.Looking && len(t.c.Hops) > 0 {
		t.c.Lacks = LackOwner
		t.effect(Lookup{Late: true})
	}
}

// lookNoMore is for when somebody is known whose it is.
func (t *turn) lookNoMore() {
	if t.c.Lacks == LackOwner {
		t.c.Lacks = LackNothing
	}
}

// named takes somebody's word for whose the app is. The same word twice, in the
// direct message and on a list, is taken once.
func (t *turn) named(e Named) {
	if t.c.Named == e.Owner && t.c.owner(e.Owner).State != NotTheirs {
		t.tell(e.By, e.In, text(plain("Noted already: this app is "), who(e.Owner), plain("'s. Nothing changed.")))
		return
	}
	t.c.Named = e.Owner
	t.lookNoMore()
	t.spread(Spread{By: e.By, Owner: e.Owner, In: e.In})
	if e.Owner == e.By {
		if t.setOwner(e.By, func(o *Owner) {
			o.State, o.Why, o.Denied = ToldAlone, "", false
			if o.Via == viaHanded {
				o.Via = viaOwnWord
			}
		}) {
			t.record(e.By, "says the app is theirs after all")
		} else {
			t.record(e.By, "says the app is theirs")
			t.c.Owners = append(slices.Clone(t.c.Owners), Owner{Person: e.By, Via: viaOwnWord, State: ToldAlone})
			t.thread(e.By)
		}
		t.remember("not/"+e.By.ID, "")
		t.remember("owner", e.By.ID)
		return
	}
	t.record(e.By, "says the app is "+e.Owner.ID+"'s")
	t.remember("owner", e.Owner.ID)
	t.remember("not/"+e.Owner.ID, "")
	t.setOwner(e.Owner, func(o *Owner) {
		if o.Denied = false; o.State == NotTheirs {
			o.State = NotReach // asked again, since somebody insists
		}
	})
	if !t.addOwner(Owner{Person: e.Owner, Via: "named by a colleague"}, false) {
		return
	}
	kept := "."
	if t.c.Facts.Value(policy.AppID) != "" {
		kept = ", and remember it for this app."
	}
	t.tell(e.By, e.In, text(plain("Thank you. I tell "), who(e.Owner), plain(kept)))
}

// corrected takes what somebody said in another conversation about the same
// app. It was answered there, so that here it is only shown: nobody has to say
// it, or is told of it, once for each finding. Whoever works on this finding
// goes on with it, whosever the app is.
func (t *turn) corrected(e Corrected) {
	said := " said in " + e.From + " that the app is "
	switch {
	case e.Owner == (Person{}):
		if o := t.c.owner(e.By); t.c.Taken == e.By || o.State == NotTheirs {
			return
		}
		if !t.setOwner(e.By, func(o *Owner) { o.State = NotTheirs }) {
			if !t.c.Looking && t.c.Lacks == LackNothing {
				return
			}
			// Whoever looks for owners now may not have heard of it.
			t.c.Owners = append(slices.Clone(t.c.Owners), Owner{Person: e.By, State: NotTheirs})
		}
		if t.c.Named == e.By {
			t.c.Named = Person{}
		}
		t.record(e.By, "it was"+said+"not theirs")
		if t.c.Status != Closed && t.nobodyLeft() {
			t.lookOn()
		}
	case t.c.Status == Closed, t.c.Named == e.Owner && t.c.owner(e.Owner).State != NotTheirs:
	default:
		t.c.Named = e.Owner
		t.lookNoMore()
		via := "named by a colleague"
		if e.Owner == e.By {
			via = viaOwnWord
			t.setOwner(e.By, func(o *Owner) {
				if o.State == NotTheirs && o.Heard {
					o.State = ToldInOne // they have it on a list, if in no thread
				}
				if t.c.threadOf(e.By) >= 0 {
					o.State = ToldAlone
				}
			})
		}
		t.setOwner(e.Owner, func(o *Owner) {
			if o.Denied = false; o.State == NotTheirs {
				o.State = NotReach // asked again, since somebody insists
			}
		})
		t.addOwner(Owner{Person: e.Owner, Via: via}, false)
		t.record(e.By, "it was"+said+e.Owner.ID+"'s")
	}
}

// passed says once in how many other places a correction made a difference.
func (t *turn) passed(e Passed) {
	if len(e.To) == 0 {
		return
	}
	t.record(e.By, "it was noted in "+strings.Join(e.To, ", ")+" as well")
	t.tell(e.By, e.In, text(plain("Noted in "+listed(e.To)+" as well: the same app.")))
}

// listed names a few conversations, and how many more there are.
func listed(ids []string) string {
	const most = 5
	if len(ids) <= most {
		return strings.Join(ids, ", ")
	}
	return strings.Join(ids[:most], ", ") + " and " + strconv.Itoa(len(ids)-most) + " more"
}

// spread passes a correction on to other conversations about the app.
func (t *turn) spread(e Spread) {
	if t.c.Facts.Value(policy.AppID) != "" {
		t.effect(e)
	}
}

// took lets somebody work on it, or hands that over.
func (t *turn) took(e Took) {
	switch {
	case t.c.Taken == e.To:
		t.tell(e.By, e.In, text(who(e.To), plain(" has it already. Nothing changed.")))
		return
	case t.c.Taken.ID != "" && e.To == e.By && !e.Over:
		t.tell(e.By, e.In, text(who(t.c.Taken), plain(" took it before you. Nothing changed. To work on it instead, choose yourself under “Hand over…”.")))
		return
	}
	before := t.c.Taken
	t.c.Taken, t.c.LeftBy = e.To, Person{}
	t.asBeforeHanded(before)
	t.lookNoMore()
	switch {
	case e.To == e.By && before.ID == "":
		t.record(e.By, "takes it")
		t.worksAnyway(e.By)
		return
	case e.To == e.By:
		t.record(e.By, "takes it over from "+before.ID)
		t.worksAnyway(e.By)
		t.tell(before, t.c.threadOf(before), text(who(e.By), plain(" took "+t.c.ID+" over from you.")))
		return
	}
	t.record(e.By, "hands it to "+e.To.ID)
	if before.ID != "" && before != e.By {
		t.tell(before, t.c.threadOf(before), text(who(e.By), plain(" handed "+t.c.ID+" on to "), who(e.To), plain(".")))
	}
	t.setOwner(e.To, func(o *Owner) {
		if o.State == NotTheirs {
			o.State, o.Denied = NotReach, true // they are asked to work on it, whoever owns it
		}
	})
	if in := t.c.threadOf(e.To); in >= 0 {
		t.tell(e.To, in, text(who(e.By), plain(" handed "+t.c.ID+" to you. What it waits for is in this thread.")))
	}
	t.addOwner(Owner{Person: e.To, Via: viaHanded}, false)
}

// How somebody came to it other than by being found.
const (
	viaHanded  = "it was handed to them" // asked to work on it, and no owner
	viaOwnWord = "their own word"
)

// worksAnyway is for somebody who takes what they said is not theirs: they hear
// of it again, for as long as they work on it.
func (t *turn) worksAnyway(p Person) {
	t.setOwner(p, func(o *Owner) {
		if o.State != NotTheirs {
			return
		}
		if o.State, o.Denied = ToldInOne, true; t.c.threadOf(p) >= 0 {
			o.State = ToldAlone
		}
	})
}

// letGo lets whoever works on it stop. They are an owner as much as they were
// before it was handed to them, and no more.
func (t *turn) letGo(e LetGo) {
	switch {
	case t.c.Taken.ID == "" && t.c.LeftBy == e.By:
		t.tell(e.By, e.In, policy.Say("You let go of it already, and nobody has it. Nothing changed."))
		return
	case t.c.Taken.ID == "":
		t.tell(e.By, e.In, policy.Say("Nobody has it, so there is nothing to let go of. Nothing changed."))
		return
	case t.c.Taken != e.By:
		t.tell(e.By, e.In, text(plain("Only "), who(t.c.Taken), plain(" can let go of it: they have it. Nothing changed. Anybody can hand it over.")))
		return
	}
	t.c.Taken, t.c.LeftBy = Person{}, e.By
	t.record(e.By, "lets go of it; nobody has it")
	t.asBeforeHanded(e.By)
	if t.c.By.ID == "" && t.nobodyLeft() { // what somebody opened is theirs to go on with
		t.report(text(plain(t.c.ID+": "), who(e.By), plain(" let go of it, and no owner is known who could be told. Whoever knows the app can press “I take it” in its thread.")))
		if len(t.c.Owners) > 0 {
			t.lookOn()
		}
	}
}

// asBeforeHanded takes back what handing it to a person made of them, now that
// they don't work on it any more.
func (t *turn) asBeforeHanded(p Person) {
	if t.c.owner(p).Denied {
		t.setOwner(p, func(o *Owner) { o.State, o.Denied = NotTheirs, false })
		return
	}
	t.c.Owners = slices.DeleteFunc(slices.Clone(t.c.Owners), func(o Owner) bool { return o.Person == p && o.Via == viaHanded })
}

func (t *turn) joined(e Joined) {
	if t.c.threadOf(e.By) >= 0 {
		t.tell(e.By, e.In, policy.Say("You have it in our direct message already."))
		return
	}
	t.record(e.By, "joins")
	t.setOwner(e.By, func(o *Owner) {
		if o.State != NotTheirs {
			o.State, o.Why = ToldAlone, ""
		}
	})
	t.thread(e.By)
}

func (t *turn) linked(e Linked) {
	if e.ID == t.c.ID || slices.Contains(t.c.Related, e.ID) {
		return
	}
	t.c.Related = append(slices.Clone(t.c.Related), e.ID)
	t.record(Person{}, "the same app has "+e.ID)
}

// ToBeTold reports whether a person is an owner who has not been told.
func (c Conversation) ToBeTold(p Person) bool { return c.owner(p).State == ToBeTold }

// seen takes the finding as the feed reports it now. It closes a conversation that
// is over, and opens one again that is not.
func (t *turn) seen(e Seen) {
	c := &t.c
	v := c.Hears(e.Violation)
	if old := c.Violation.Observed; !v.Observed.IsZero() && v.Observed.Before(old) {
		t.record(Person{}, "older news from the feed, "+v.Status+", is left aside")
		return
	}
	over := v.Over()
	searchAgain := v.App.AppID != c.Violation.App.AppID || v.Owner != c.Violation.Owner || v.Assignee != c.Violation.Assignee || v.Service != c.Violation.Service ||
		c.Status == Closed && !over && c.Lacks != LackNothing
	if searchAgain {
		v.Owner, v.Assignee = e.Violation.Owner, e.Violation.Assignee // with their addresses
	}
	c.Violation = v
	if !over || !e.Violation.Nameless() {
		t.takeFacts(e.Facts)
	}
	if searchAgain {
		t.searchAgain()
	}
	switch {
	case over && c.Status != Closed:
		t.close()
	case over:
	case c.Status == Closed:
		t.openAgain()
	default:
		t.decide(Person{})
	}
}

// searchAgain looks for owners as if none had been looked for. What the directory
// said, and who is still to be told, came from another app, or from other words
// about who owns it.
func (t *turn) searchAgain() {
	c := &t.c
	c.Lacks = LackNothing
	for _, f := range slices.Clone(c.Facts) {
		c.Facts = c.Facts.Without(f.Name, policy.FromDirectory)
	}
	c.Owners = slices.DeleteFunc(slices.Clone(c.Owners), func(o Owner) bool { return o.State == ToBeTold })
	t.effect(Lookup{})
}

// close closes the conversation, because the violation's source says that it is over.
func (t *turn) close() {
	c := &t.c
	c.Status, c.Over = Closed, c.Violation.Status+" in "+orElse(c.Violation.Source.System, "its source")
	for i := range c.Asked {
		if q := &c.Asked[i]; q.State == Open {
			q.State, q.Why = Waiting, policy.Say("It is closed: "+c.Over+".")
		}
	}
	t.record(Person{}, "closed: "+c.Over)
	t.forgetMail()
}

// openAgain opens a closed conversation again, because its source found it again.
func (t *turn) openAgain() {
	c := &t.c
	c.Status, c.Over = Asking, ""
	t.record(Person{}, "found again, so it is open again")
	for _, o := range c.Owners {
		if o.State == ToBeTold {
			t.effect(Gather{To: o.Person}) // it was closed before they were told
		}
	}
	again := "This was closed and is found again, so it is open again."
	if slices.ContainsFunc(c.Asked, func(q Asked) bool { return q.State == Answered }) {
		again += " What was answered still holds."
	}
	t.note(policy.Say(again))
	t.resume()
}

// Hears returns a reported violation as the conversation keeps it: with the id and
// source it had where the report lacks them, and without the mail address of
// somebody who was found by it before. A report that only says that it is over
// changes nothing but the status.
func (c Conversation) Hears(v policy.Violation) policy.Violation {
	if v.Over() && v.Nameless() {
		is := c.Violation // all that is said is that it is over
		if is.Status = v.Status; !v.Observed.IsZero() {
			is.Observed = v.Observed
		}
		return is
	}
	v.ID, v.Source.System = orElse(v.ID, c.Violation.ID), orElse(v.Source.System, c.Violation.Source.System)
	for _, o := range []struct {
		is  *policy.Owner
		was policy.Owner
	}{{&v.Owner, c.Violation.Owner}, {&v.Assignee, c.Violation.Assignee}} {
		if o.was.Mark != "" && o.is.Forgotten() == o.was {
			*o.is = o.was
		}
	}
	return v
}

// HasHeard reports whether a violation says nothing that the feed has not said
// last.
func (c Conversation) HasHeard(v policy.Violation) bool {
	return v.Over() == (c.Status == Closed) && reflect.DeepEqual(c.Hears(v), c.Violation)
}

// forgetMail drops the mail addresses of the people whom the alert names, when
// nobody is looked for by them any more. The next alert brings them again.
func (t *turn) forgetMail() {
	v := &t.c.Violation
	v.Owner, v.Assignee = v.Owner.Forgotten(), v.Assignee.Forgotten()
}

// resume goes on where a closed conversation stopped. A change that somebody began
// and did not finish is given up.
func (t *turn) resume() {
	for i := range t.c.Asked {
		q := &t.c.Asked[i]
		if q.State == Waiting && (q.Chosen.Value != "" || q.Need.Fact == whatToChange) {
			q.State, q.Why = Answered, nil
			if q.Chosen.Value == "" {
				q.State, q.Why = Fallen, sayNotNeeded()
			}
		}
	}
	t.decide(Person{})
}

// report tells the security channel, which has no thread to look at.
func (t *turn) report(words policy.Text) { t.effect(Report{Text: words, InRoot: true}) }

// remember keeps a word about this app for other conversations.
func (t *turn) remember(key, value string) {
	if id := t.c.Facts.Value(policy.AppID); id != "" {
		t.effect(Remember{Key: "app/" + id + "/" + key, Value: value})
	}
}
