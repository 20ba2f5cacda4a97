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

// Run delivers what is due until ctx ends. It then waits for the deliveries under
// way and returns nil. It returns an error when the store fails: whether the last
// write took place is not known then, and the process has to be started anew.
func (b *Bot) Run(ctx context.Context) error {
	r := newRound(b)
	defer r.wait.Wait()
	defer b.answers.shut(b)
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
		case a := <-b.answers.waiting:
			r.wait.Go(func() { b.insist(ctx, a) })
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

// deliver carries one delivery out and settles it, together with others that are
// done by the same message. An error is a bare *notYet when the delivery's turn is
// far off, and else that of a failing store.
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
	// A delivery that was carried out must be settled even when we are stopping, or
	// the message would have to be looked for after the restart. There is no time
	// limit either: giving up on a slow disk would leave open what was written.
	if err := b.Store.Settle(context.WithoutCancel(ctx), settled...); err != nil {
		return fmt.Errorf("settling delivery %d: %w", d.ID, err)
	}
	if slices.ContainsFunc(settled, func(one store.Settled) bool { return one.Outcome.Step != nil }) {
		ring(b.changed)
	}
	return nil
}

// carryOut does what a delivery is for, and returns what became of it and of
// others that are done by the same message.
func (b *Bot) carryOut(ctx context.Context, d store.Delivery) (settled []store.Settled, err error) {
	// A delivery that cannot be carried out must not stop all others, now and after
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
	same, err := b.sameEdits(ctx, d) // read before the conversation, which is then at least as new as they are
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
		same = nil // they wait behind it
	}
	return append(same, store.Settled{Delivery: d, Outcome: o}), nil
}

// sameEdits returns, as settled, the deliveries in d's line that would make the
// same edit of a root as d. An edit shows the newest state, so one is enough. It
// returns none when d is not an edit of a root.
func (b *Bot) sameEdits(ctx context.Context, d store.Delivery) ([]store.Settled, error) {
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
	m, o := b.messageOf(c, d, e)
	if o != nil {
		return *o, nil
	}
	return b.once(ctx, d, m, func() (At, error) { return b.Chat.Show(ctx, m) }, func(at At, found bool) store.Outcome {
		b.out.directs.learn(m.Channel, at)
		shown := conversation.Posted{
			In: e.In, Card: e.Card, Channel: at.Channel, TS: at.TS, Digest: m.Digest, Edit: m.TS != "", Under: m.ThreadTS,
		}
		if found {
			shown.Digest = "" // which state it shows is not known: the next Show edits it
		}
		return store.Outcome{Step: b.step(shown, b.Now())}
	})
}

// messageOf returns the message that brings a card up to date, or what becomes of
// the delivery when there is nothing to send.
func (b *Bot) messageOf(c conversation.Conversation, d store.Delivery, e conversation.Show) (Message, *store.Outcome) {
	nothing := &store.Outcome{}
	if e.In < 0 || e.In >= len(c.Threads) {
		return Message{}, nothing // the thread is no more
	}
	card, ok := c.CardIn(e.In, e.Card, b.Now())
	th := c.Threads[e.In]
	isRoot := e.Card == conversation.RootKey
	if !ok || !isRoot && th.RootTS() == "" {
		return Message{}, nothing // when the root is posted, this is shown after it
	}
	shown := th.Shown[e.Card]
	m := Message{
		Conversation: c.ID, Key: e.Card, Card: card, Channel: th.Channel, ThreadTS: th.Anchor, TS: shown.TS, Digest: conversation.Digest(card),
	}
	if !isRoot {
		m.ThreadTS = th.RootTS()
	}
	editsRoot := store.PurposeOf(d.Line) == store.RootEdits
	switch {
	case m.TS != "" && shown.Digest == m.Digest && d.MaybeSent.IsZero():
		return Message{}, nothing // it is shown like this already
	case m.TS == "" && slices.Contains(th.Unsure, e.Card):
		return Message{}, nothing // it may be there already, which cannot be found out
	case m.TS == "" && editsRoot:
		return Message{}, nothing // it was deleted meanwhile; the thread's own line posts it anew
	case m.TS != "" && isRoot && !editsRoot:
		// It was posted after this delivery was written down, so this would be an
		// edit. Edits of one message in two lines could overtake each other and leave
		// the older state, so the effect goes into the line for edits of roots.
		return Message{}, &store.Outcome{Step: func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
			return c, []conversation.Effect{e}
		}}
	}
	return m, nil
}

// once sends m, unless it may have been sent before and is found. send sends it;
// sent says what becomes of the delivery when m is there, at a place, either
// because it was found or because it was sent now.
func (b *Bot) once(ctx context.Context, d store.Delivery, m Message, send func() (At, error), sent func(at At, found bool) store.Outcome) (store.Outcome, error) {
	if o := b.unsettled(d); o != nil {
		return *o, nil
	}
	if m.TS == "" && !d.MaybeSent.IsZero() {
		at, found, o := b.findEither(ctx, d, m)
		switch {
		case o != nil:
			return *o, nil
		case found:
			return sent(at, true), nil
		}
	}
	if err := b.turn(ctx, m); err != nil {
		return store.Outcome{}, err
	}
	if o := b.begin(ctx, d); o != nil {
		return *o, nil
	}
	at, err := send()
	if b.answered(m, err); err != nil {
		return b.failed(ctx, d, m, err), nil
	}
	return sent(at, false), nil
}

// begin writes down that each of these deliveries may have been carried out from
// here on. When that cannot be written it returns the outcome that puts the first
// of them off, and nothing must be sent.
func (b *Bot) begin(ctx context.Context, all ...store.Delivery) *store.Outcome {
	for _, d := range all {
		if err := b.Store.Begin(ctx, d, b.Now()); err != nil {
			b.Log.Warn("a message cannot be written down as begun, so it is not sent", "conversation", d.Conversation, "delivery", d.ID, "err", err)
			return &store.Outcome{RetryAt: b.Now().Add(backoff(all[0].Attempts)), Error: "not begun"}
		}
	}
	return nil
}

// unsettled returns the outcome that puts a delivery off while it may have been
// carried out and its effect may be still to come: a post that could not be found
// yet, or an edit that would arrive after the next one and undo it. It returns nil
// when the delivery can go on.
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

// lookBack is how much further back than the time of its sending a message is
// looked for, because Slack's clock and ours differ.
const lookBack = 15 * time.Minute

// find looks for a message that may have been posted before. When that cannot be
// found out it returns the outcome that puts the delivery off or gives it up, or
// not found when the settings say that it is sent again.
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

// findEither is find for a message of a single delivery. Words stand outside their
// thread when they were sent before it was known that what it hangs on is there:
// they are looked for in both places.
func (b *Bot) findEither(ctx context.Context, d store.Delivery, m Message) (At, bool, *store.Outcome) {
	at, found, o := b.find(ctx, d, m)
	if found || o != nil || m.Card != nil || m.ThreadTS == "" {
		return at, found, o
	}
	m.ThreadTS = ""
	return b.find(ctx, d, m)
}

// codeUnsure is the code of a message that is given up though it may be there.
const codeUnsure = "may_have_been_sent"

// tell answers one person where they acted. In a channel they alone see the
// answer, which cannot be looked for. It is sent again when it is not known
// whether it was sent, since an answer twice is better than none.
func (b *Bot) tell(ctx context.Context, c conversation.Conversation, d store.Delivery, e conversation.Tell) (store.Outcome, error) {
	if e.In < 0 || e.In >= len(c.Threads) {
		return store.Outcome{}, nil
	}
	th := c.Threads[e.In]
	m := words(d, th.Channel)
	m.ThreadTS, m.Whispered = th.RootTS(), !th.IsDirect()
	if !m.Whispered {
		return b.say(ctx, d, m, func() error { return b.Chat.Tell(ctx, e.To, m, e.Text) })
	}
	if err := b.turn(ctx, m); err != nil {
		return store.Outcome{}, err
	}
	err := b.Chat.Tell(ctx, e.To, m, e.Text)
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

// say posts words for which there is no card, once.
func (b *Bot) say(ctx context.Context, d store.Delivery, m Message, send func() error) (store.Outcome, error) {
	return b.once(ctx, d, m, func() (At, error) { return At{}, send() }, func(At, bool) store.Outcome { return store.Outcome{} })
}

// failed decides what becomes of a delivery that failed with err, which should be
// a *Failure: it is tried again later, its card is posted anew, or it is given up.
// m is the message that could not be sent.
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

// backoff is how long a delivery waits after so many attempts: from a second to
// five minutes.
func backoff(attempts int) time.Duration {
	return min(time.Second<<min(attempts, 10), 5*time.Minute)
}
