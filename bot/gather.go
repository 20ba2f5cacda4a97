package bot

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"rehome/conversation"
	"rehome/policy"
	"rehome/store"
)

// This file tells owners of the conversations that have come together for them,
// in direct messages of their own or on lists.

// gather tells an owner of the conversations that wait for them: of a few in direct
// messages of their own, of more on lists. d is the oldest delivery of them.
//
// A list is one message for several deliveries. They are written down as begun
// together, and its marks are made from exactly these, so that it can be looked for
// when it is not known whether it was sent. What comes later goes on the next list.
func (b *Bot) gather(ctx context.Context, d store.Delivery, to conversation.Person) ([]store.Settled, error) {
	if b.People == nil {
		return []store.Settled{{Delivery: d}}, nil // nobody is told in a direct message
	}
	var waiting []store.Delivery
	for _, line := range store.LinesFor(to) {
		more, err := b.Store.Line(ctx, line)
		if err != nil {
			return nil, err
		}
		waiting = append(waiting, more...)
	}
	if begun := maybeSent(waiting); len(begun) > 0 {
		return b.findList(ctx, d, to, begun), nil
	}
	now := b.Now()
	fresh, done, err := b.toBeTold(ctx, waiting, to, now)
	if err != nil || len(fresh) == 0 {
		return done, err
	}
	// Only the head is put off: the others wait behind it.
	if at := d.Created.Add(b.Manners.Window); at.After(now) {
		return append(done, store.Settled{Delivery: d, Outcome: store.Outcome{RetryAt: at, Held: true, Error: "gathering"}}), nil
	}
	if at := b.tellAt(ctx, d, to, now); at.After(now) {
		fresh, at = b.pressingOf(fresh, now, at)
		if !slices.ContainsFunc(fresh, func(g gathered) bool { return g.delivery.ID == d.ID }) {
			done = append(done, store.Settled{Delivery: d, Outcome: store.Outcome{RetryAt: at, Held: true, Error: "gathering"}})
		}
	}
	switch {
	case len(fresh) == 0:
		return done, nil
	case len(fresh) > b.Manners.Alone:
		settled, err := b.list(ctx, d, to, fresh)
		return append(done, settled...), err
	}
	return append(done, b.told(to, fresh, false)...), nil
}

// pressingOf returns those of fresh that may be told at any hour, and when the
// first of the others will be, at the latest at.
func (b *Bot) pressingOf(fresh []gathered, now, at time.Time) ([]gathered, time.Time) {
	var urgent []gathered
	for _, g := range fresh {
		due := g.listed.Due
		if b.pressing(due, now) {
			urgent = append(urgent, g)
		} else if then := due.Add(-b.Manners.Urgent); !due.IsZero() && then.Before(at) {
			at = then
		}
	}
	return urgent, at
}

// A gathered conversation is one that an owner is to be told of.
type gathered struct {
	delivery store.Delivery
	listed   Listed
}

// toBeTold sorts the deliveries that wait for an owner: fresh are those with a
// conversation to tell them of, done are the others, settled.
func (b *Bot) toBeTold(ctx context.Context, waiting []store.Delivery, to conversation.Person, now time.Time) (fresh []gathered, done []store.Settled, err error) {
	seen := map[string]bool{}
	for _, w := range waiting {
		c, err := b.Store.Get(ctx, w.Conversation)
		switch {
		case ctx.Err() != nil, errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrUncertain):
			return nil, nil, cmp.Or(err, ctx.Err())
		case err != nil:
			b.Log.Error("a conversation cannot be read; nobody is told of it", "conversation", w.Conversation, "err", err)
			done = append(done, store.Settled{Delivery: w, Outcome: store.Outcome{Abandoned: true, Error: "unreadable"}})
			continue
		}
		if seen[c.ID] || c.Status == conversation.Closed || !c.ToBeTold(to) {
			done = append(done, store.Settled{Delivery: w})
			continue
		}
		seen[c.ID] = true
		fresh = append(fresh, gathered{w, listed(c, now)})
	}
	return fresh, done, nil
}

// told settles deliveries of which an owner is told now, in direct messages of
// their own, or on a list (digest).
func (b *Bot) told(to conversation.Person, all []gathered, digest bool) []store.Settled {
	settled := make([]store.Settled, len(all))
	for i, g := range all {
		settled[i] = store.Settled{Delivery: g.delivery, Outcome: store.Outcome{Step: b.step(conversation.Told{To: to, Digest: digest}, b.Now())}}
	}
	return settled
}

// listedAtOnce is how many conversations are listed for a person at once. Who
// has more needs to look through them, and not messages.
const listedAtOnce = 60

// list sends one list, of what is due soonest and of what else there is about the
// same apps.
func (b *Bot) list(ctx context.Context, d store.Delivery, to conversation.Person, fresh []gathered) ([]store.Settled, error) {
	slices.SortStableFunc(fresh, func(a, b gathered) int { return soonestDue(a.listed, b.listed) })
	fresh = byApp(fresh)
	most := fresh[:min(len(fresh), listedAtOnce)]
	list := make([]Listed, len(most))
	for i, g := range most {
		list[i] = g.listed
	}
	n := min(max(1, b.People.Fit(list)), len(list))
	page := Digest{List: list[:n], Follow: len(most) - n, Left: len(fresh) - len(most)}
	on := deliveriesOf(most[:n])
	m := listMessage(to, on)

	if err := b.turn(ctx, m); err != nil {
		return nil, err
	}
	if o := b.begin(ctx, on...); o != nil {
		return []store.Settled{{Delivery: d, Outcome: *o}}, nil
	}
	err := b.People.Digest(ctx, m, page)
	if b.answered(m, err); err == nil {
		return b.told(to, append(slices.Clone(most[:n]), fresh[len(most):]...), true), nil
	}
	o := b.failed(ctx, d, m, err)
	switch {
	case o.Abandoned: // they cannot be told at all, so the rest is given up too
		return b.unreached(ctx, to, deliveriesOf(fresh), o), nil
	case o.Unsent:
		return putOff(d, on, o), nil
	}
	return []store.Settled{{Delivery: d, Outcome: o}}, nil
}

// findList looks for a list that may have been sent: begun is what stood on it.
func (b *Bot) findList(ctx context.Context, d store.Delivery, to conversation.Person, begun []store.Delivery) []store.Settled {
	last := d
	for _, one := range begun {
		last.MaybeSent = latest(last.MaybeSent, one.MaybeSent)
	}
	if o := b.unsettled(last); o != nil {
		return []store.Settled{{Delivery: d, Outcome: *o}}
	}
	_, found, o := b.find(ctx, last, listMessage(to, begun))
	switch {
	case o != nil && o.Abandoned:
		return b.unreached(ctx, to, begun, *o)
	case o != nil:
		return []store.Settled{{Delivery: d, Outcome: *o}}
	case found:
		var all []gathered
		for _, one := range begun {
			all = append(all, gathered{delivery: one})
		}
		return b.told(to, all, true)
	}
	return putOff(d, begun, store.Outcome{RetryAt: b.Now(), Unsent: true, Error: "was not sent"})
}

// maybeSent returns those deliveries of a line that may have been sent. They were
// on one list, because a line has one message under way at a time.
func maybeSent(waiting []store.Delivery) (begun []store.Delivery) {
	for _, w := range waiting {
		if !w.MaybeSent.IsZero() {
			begun = append(begun, w)
		}
	}
	return begun
}

// listMessage returns the message of a list for a person. Its key is made from the
// deliveries on it, so that it can be found by exactly these.
func listMessage(to conversation.Person, on []store.Delivery) Message {
	ids := make([]uint64, len(on))
	for i, d := range on {
		ids[i] = d.ID
	}
	slices.Sort(ids)
	sum := sha256.Sum256(fmt.Append(nil, to.ID, ids))
	return Message{Conversation: "list", Key: hex.EncodeToString(sum[:8]), Channel: to.ID}
}

func deliveriesOf(all []gathered) []store.Delivery {
	out := make([]store.Delivery, len(all))
	for i, g := range all {
		out[i] = g.delivery
	}
	return out
}

// putOff puts off all deliveries of a list that was certainly not sent, and the
// head of their line, for which the line waits.
func putOff(head store.Delivery, all []store.Delivery, o store.Outcome) []store.Settled {
	settled := []store.Settled{{Delivery: head, Outcome: o}}
	for _, d := range all {
		if d.ID != head.ID {
			settled = append(settled, store.Settled{Delivery: d, Outcome: o})
		}
	}
	return settled
}

// unreached settles the deliveries of which a person cannot be told at all. The
// report, if there is to be one, is made by the first of them for all.
func (b *Bot) unreached(ctx context.Context, to conversation.Person, all []store.Delivery, o store.Outcome) []store.Settled {
	key := undelivered(to.ID, o.Error)
	report := b.worthSaying(ctx, key)
	settled := make([]store.Settled, len(all))
	for i, d := range all {
		e := conversation.Unreached{To: to, Why: o.Error}
		if i == 0 {
			e.Report, e.Also = report, len(all)-1
		}
		o.Step = b.saying(key, e)
		settled[i] = store.Settled{Delivery: d, Outcome: o}
	}
	return settled
}

// byApp moves conversations about the same app together, to where the first of
// them is.
func byApp(all []gathered) []gathered {
	var apps []string
	of := map[string][]gathered{}
	for _, g := range all {
		app := g.listed.app()
		if of[app] == nil {
			apps = append(apps, app)
		}
		of[app] = append(of[app], g)
	}
	out := make([]gathered, 0, len(all))
	for _, app := range apps {
		out = append(out, of[app]...)
	}
	return out
}

// soonestDue compares by due date, with those that have none last, and then by
// age.
func soonestDue(a, b Listed) int {
	switch {
	case a.Due.IsZero() != b.Due.IsZero():
		if a.Due.IsZero() {
			return 1
		}
		return -1
	case !a.Due.Equal(b.Due):
		return a.Due.Compare(b.Due)
	}
	return cmp.Or(cmp.Compare(len(a.ID), len(b.ID)), cmp.Compare(a.ID, b.ID))
}

func listed(c conversation.Conversation, now time.Time) Listed {
	l := Listed{
		ID: c.ID, Title: c.Facts.Value(policy.Violated), App: c.Facts.Value(policy.AppName), AppID: c.Facts.Value(policy.AppID),
		Due: c.Violation.Due, Overdue: !c.Violation.Due.IsZero() && c.Violation.Due.Before(now),
	}
	if len(c.Threads) > 0 {
		l.Thread, l.RootTS = c.Threads[0].Place, c.Threads[0].RootTS()
	}
	return l
}
