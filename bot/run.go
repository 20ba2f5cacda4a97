package bot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"rehome/conversation"
	"rehome/store"
)

// Run delivers what is due until ctx ends, and returns nil then, after the
// deliveries under way are done. It returns an error when the store fails:
// what happened to the last write is unknown then, and the process must start anew.
func (b *Bot) Run(ctx context.Context) error {
	r := newRound(b)
	defer r.wait.Wait()
	for {
		next, err := r.start(ctx)
		if err != nil {
			return quiet(ctx, err)
		}
		timer := time.NewTimer(untilNext(next, b.Now()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case err := <-r.failed:
			timer.Stop()
			return quiet(ctx, err)
		case e := <-r.done:
			r.end(e)
			r.drain()
		case <-b.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// idle is how long Run sleeps when nothing is due. It is woken by what comes
// in; the bound only limits the harm of a clock that was set back.
const idle = time.Minute

func untilNext(next, now time.Time) time.Duration {
	if next.IsZero() {
		return idle
	}
	return min(max(next.Sub(now), time.Millisecond), idle)
}

// quiet drops the error of an ended context.
func quiet(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// deliver carries one delivery out and settles it, and any that went with it.
// An error is *notYet, for one whose turn is far off, or that of a failing store.
func (b *Bot) deliver(ctx context.Context, d store.Delivery) error {
	settled, err := b.carryOut(ctx, d)
	var wait *notYet
	switch {
	case errors.As(err, &wait):
		return wait
	case err != nil:
		return quiet(ctx, fmt.Errorf("delivery %d: %w", d.ID, err))
	}
	for i := range settled {
		if ctx.Err() != nil && !settled[i].Outcome.RetryAt.IsZero() {
			return nil // stopping: it is still queued and goes out after the restart
		}
		settled[i].Outcome.At = b.Now()
	}
	// A delivery that was carried out must be settled even when we are stopping,
	// or it would be looked for again; and however long the disk takes, for only
	// a write that failed leaves open whether it is there.
	if err := b.Store.Settle(context.WithoutCancel(ctx), settled...); err != nil {
		return fmt.Errorf("settling delivery %d: %w", d.ID, err)
	}
	return nil
}

func (b *Bot) carryOut(ctx context.Context, d store.Delivery) (settled []store.Settled, err error) {
	// One delivery that cannot be worked must not stop all others, now and after
	// each restart: it is given up and listed as failed.
	giveUp := func(code string) []store.Settled {
		return []store.Settled{{Delivery: d, Outcome: store.Outcome{Abandoned: true, Error: code}}}
	}
	defer func() {
		if r := recover(); r != nil {
			b.Log.Error("a delivery panicked and is given up; please report this", "conversation", d.Conversation, "delivery", d.ID, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			settled, err = giveUp("panic"), nil
		}
	}()
	like, err := b.like(ctx, d) // before the conversation is read: what it shows then covers them
	if err != nil {
		return nil, err
	}
	c, err := b.Store.Get(ctx, d.Conversation)
	switch {
	case ctx.Err() != nil, errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrUncertain):
		return nil, cmp.Or(err, ctx.Err())
	case err != nil:
		b.Log.Error("a conversation cannot be read; its delivery is given up", "conversation", d.Conversation, "delivery", d.ID, "err", err)
		return giveUp("unreadable"), nil
	}
	var o store.Outcome
	switch e := d.Effect.(type) {
	case conversation.Show:
		o, err = b.show(ctx, c, d, e)
	case conversation.Tell:
		o, err = b.tell(ctx, c, d, e)
	case conversation.Report:
		o, err = b.report(ctx, c, d, e)
	case conversation.Lookup:
		if b.People == nil {
			return []store.Settled{{Delivery: d}}, nil // nobody can be told anyway
		}
		o, err = b.lookup(ctx, c, d, e.Late)
	case conversation.Spread:
		o, err = b.spread(ctx, c, d, e)
	case conversation.Gather:
		return b.gather(ctx, d, e.To)
	case conversation.Record, conversation.Remember:
		// unreachable: they are written with the state
	}
	if err != nil {
		return nil, err
	}
	if !o.RetryAt.IsZero() {
		like = nil // they wait behind it
	}
	return append(like, store.Settled{Delivery: d, Outcome: o}), nil
}

// like returns, settled, what waits in line with an edit of a root for the very
// same edit: one that is carried out shows the newest state, so one is enough.
func (b *Bot) like(ctx context.Context, d store.Delivery) ([]store.Settled, error) {
	if store.PurposeOf(d.Line) != store.RootEdits {
		return nil, nil
	}
	waiting, err := b.Store.Line(ctx, d.Line)
	if err != nil {
		return nil, err
	}
	var all []store.Settled
	for _, w := range waiting {
		if w.ID != d.ID && w.Effect == d.Effect {
			all = append(all, store.Settled{Delivery: w})
		}
	}
	return all, nil
}

// show brings a card up to date.
func (b *Bot) show(ctx context.Context, c conversation.Conversation, d store.Delivery, e conversation.Show) (store.Outcome, error) {
	if e.In < 0 || e.In >= len(c.Threads) {
		return store.Outcome{}, nil // the thread is no more
	}
	card, ok := c.CardIn(e.In, e.Card, b.Now())
	th := c.Threads[e.In]
	if !ok || (e.Card != conversation.RootKey && th.RootTS() == "") {
		return store.Outcome{}, nil // the root's own posting shows it
	}
	m := Message{
		Conversation: c.ID, Key: e.Card, Card: card, Channel: th.Channel, TS: th.Shown[e.Card].TS, Digest: conversation.Digest(card),
	}
	switch {
	case m.TS != "" && th.Shown[e.Card].Digest == m.Digest && d.MaybeSent.IsZero():
		return store.Outcome{}, nil // shown just so already
	case m.TS == "" && slices.Contains(th.Unsure, e.Card):
		return store.Outcome{}, nil // it may be there already, and nobody can tell
	case m.TS == "" && store.PurposeOf(d.Line) == store.RootEdits:
		return store.Outcome{}, nil // it was deleted meanwhile; the thread's own line posts it anew
	case m.TS != "" && e.Card == conversation.RootKey && store.PurposeOf(d.Line) != store.RootEdits:
		// It was to be posted when this was written down. Two lines that edit one
		// message could leave the older state there: it goes on in the other.
		return store.Outcome{Step: func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
			return c, []conversation.Effect{e}
		}}, nil
	}
	if e.Card != conversation.RootKey {
		m.ThreadTS = th.RootTS()
	} else {
		m.ThreadTS = th.Anchor
	}
	posted := func(at At, digest string) store.Outcome {
		return store.Outcome{Step: b.step(conversation.Posted{
			In: e.In, Card: e.Card, Channel: at.Channel, TS: at.TS, Digest: digest, Edit: m.TS != "", Under: m.ThreadTS,
		}, b.Now())}
	}
	if o := b.unsettled(d); o != nil {
		return *o, nil
	}
	if m.TS == "" && !d.MaybeSent.IsZero() {
		at, found, o := b.find(ctx, d, m)
		if o != nil {
			return *o, nil
		}
		if found {
			return posted(at, ""), nil // which state it shows is not known: the next Show edits it
		}
	}
	if err := b.turn(ctx, m); err != nil {
		return store.Outcome{}, err
	}
	if o := b.begin(ctx, d); o != nil {
		return *o, nil
	}
	at, err := b.Chat.Show(ctx, m)
	if b.answered(m, err); err != nil {
		return b.failed(ctx, d, m, err), nil
	}
	return posted(at, m.Digest), nil
}

// begin writes down that deliveries may have been carried out from here on, or
// puts the first of them off.
func (b *Bot) begin(ctx context.Context, all ...store.Delivery) *store.Outcome {
	for _, d := range all {
		if err := b.Store.Begin(ctx, d, b.Now()); err != nil {
			b.Log.Warn("a message cannot be written down as begun, so it is not sent", "conversation", d.Conversation, "delivery", d.ID, "err", err)
			return &store.Outcome{RetryAt: b.Now().Add(backoff(all[0].Attempts)), Error: "not begun"}
		}
	}
	return nil
}

// unsettled puts a delivery off that may have been carried out and whose effect
// may still be to come: a post that would not be found yet, an edit that would
// come after the next one and undo it.
func (b *Bot) unsettled(d store.Delivery) *store.Outcome {
	if d.MaybeSent.IsZero() {
		return nil
	}
	wait := b.unsure.left(d.ID, b.Settle)
	if wait == 0 {
		return nil
	}
	return &store.Outcome{RetryAt: b.Now().Add(wait), Held: true, Error: "finding out whether it was sent"}
}

// lookBack is how much further back than its sending a message is looked for: the
// clocks of both ends differ, and Slack's may be known too late.
const lookBack = 15 * time.Minute

// find looks for a message that may have been posted before. When it cannot say,
// it returns the outcome that puts the delivery off.
func (b *Bot) find(ctx context.Context, d store.Delivery, m Message) (At, bool, *store.Outcome) {
	log := b.Log.With("conversation", d.Conversation, "delivery", d.ID)
	at, found, err := b.Chat.Find(ctx, m, d.MaybeSent.Add(-lookBack))
	var f *Failure
	switch {
	case err == nil:
		log.Info("looked for a message that may have been sent", "found", found)
		return at, found, nil
	case !errors.As(err, &f) || f.Kind != Never:
		o := b.failed(ctx, d, m, err)
		o.Unsent = false
		return At{}, false, &o
	case b.AtMostOnce:
		log.Warn("cannot look for a message that may have been sent; giving it up, as the settings say", "code", f.Code)
		o := b.giveUp(ctx, d, m, codeUnsure)
		return At{}, false, &o
	}
	log.Warn("cannot look for a message that may have been sent; sending it again, as the settings say", "code", f.Code)
	return At{}, false, nil
}

// codeUnsure is the code of a message that may be there and is given up.
const codeUnsure = "may_have_been_sent"

// tell answers one person where they acted. In a channel they alone see it, and
// it cannot be looked for: it is said again when it is not known whether it was
// said, since an answer twice is better than none.
func (b *Bot) tell(ctx context.Context, c conversation.Conversation, d store.Delivery, e conversation.Tell) (store.Outcome, error) {
	if e.In < 0 || e.In >= len(c.Threads) {
		return store.Outcome{}, nil
	}
	th := c.Threads[e.In]
	m := words(d, th.Channel)
	m.ThreadTS, m.whispered = th.RootTS(), !th.IsDirect()
	send := func() error { return b.Chat.Tell(ctx, e.To, m, e.Text) }
	if !m.whispered {
		return b.say(ctx, d, m, send)
	}
	if err := b.turn(ctx, m); err != nil {
		return store.Outcome{}, err
	}
	err := send()
	if b.answered(m, err); err != nil {
		return b.failed(ctx, d, m, err), nil
	}
	return store.Outcome{}, nil
}

// report tells the security channel.
func (b *Bot) report(ctx context.Context, c conversation.Conversation, d store.Delivery, e conversation.Report) (store.Outcome, error) {
	if b.SecurityChannel == "" || b.People == nil {
		return store.Outcome{}, nil // the journal has it
	}
	if e.InRoot && len(c.Threads) > 0 && c.Threads[0].Channel == b.SecurityChannel {
		return store.Outcome{}, nil // the root there says it already
	}
	m := words(d, b.SecurityChannel)
	return b.say(ctx, d, m, func() error { return b.People.Report(ctx, m, e.Text) })
}

// words is the message of a delivery that shows no card.
func words(d store.Delivery, channel string) Message {
	return Message{Conversation: d.Conversation, Key: "d" + strconv.FormatUint(d.ID, 10), Channel: channel}
}

// say posts words once.
func (b *Bot) say(ctx context.Context, d store.Delivery, m Message, send func() error) (store.Outcome, error) {
	if o := b.unsettled(d); o != nil {
		return *o, nil
	}
	if !d.MaybeSent.IsZero() {
		_, found, o := b.find(ctx, d, m)
		if o != nil {
			return *o, nil
		}
		if found {
			return store.Outcome{}, nil
		}
	}
	if err := b.turn(ctx, m); err != nil {
		return store.Outcome{}, err
	}
	if o := b.begin(ctx, d); o != nil {
		return *o, nil
	}
	err := send()
	if b.answered(m, err); err != nil {
		return b.failed(ctx, d, m, err), nil
	}
	return store.Outcome{}, nil
}

// failed decides what follows a failure: later, anew, or never. m is what could
// not be sent; it has a card when it is one that can be posted anew.
func (b *Bot) failed(ctx context.Context, d store.Delivery, m Message, err error) store.Outcome {
	var f *Failure
	if !errors.As(err, &f) {
		f = &Failure{Kind: Again, Code: "unknown", Err: err}
	}
	log := b.Log.With("conversation", d.Conversation, "delivery", d.ID, "code", f.Code)
	now := b.Now()
	switch f.Kind {
	case Lost:
		e, isCard := d.Effect.(conversation.Show)
		if !isCard {
			return b.giveUp(ctx, d, m, f.Code)
		}
		log.Info("message was deleted by somebody; posting it anew")
		return store.Outcome{Step: b.step(conversation.Gone{In: e.In, Card: e.Card, TS: cmp.Or(m.TS, m.ThreadTS), Thread: m.TS == ""}, now)}
	case Never:
		log.Warn("message cannot be delivered", "err", err)
		o := b.giveUp(ctx, d, m, f.Code)
		o.Unsent = !f.Unsure
		return o
	case Stop:
		return store.Outcome{RetryAt: now.Add(probeEvery), Error: f.Code, Unsent: !f.Unsure}
	case Again:
	}
	if f.Unsure {
		b.unsure.begin(d.ID)
	}
	after := max(f.After, backoff(d.Attempts))
	log.Info("message is put off", "after", after, "attempt", d.Attempts+1)
	return store.Outcome{RetryAt: now.Add(after), Error: f.Code, Unsent: !f.Unsure}
}

// backoff grows from a second to five minutes.
func backoff(attempts int) time.Duration {
	return min(time.Second<<min(attempts, 10), 5*time.Minute)
}
