package bot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"rehome/conversation"
	"rehome/store"
)

const (
	// atOnce is how many deliveries are under way at most, most of them waiting
	// for their turn under Slack's limits. Each is one line's head, so that order
	// within a line never depends on it.
	atOnce = 256
	// atOnceInChannel keeps a channel with much to say from taking all places.
	atOnceInChannel = 2
)

// Run delivers what is due until ctx ends, and returns nil then, after the
// deliveries under way are done. It returns an error when the store fails:
// what happened to the last write is unknown then, and the process must start anew.
func (b *Bot) Run(ctx context.Context) error {
	r := round{bot: b, busy: map[string]string{}, in: map[string]int{}}
	defer r.wait.Wait()
	r.done = make(chan string, atOnce)
	r.failed = make(chan error, 1)
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
		case line := <-r.done:
			r.end(line)
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

// A round is the state of one Run.
type round struct {
	bot    *Bot
	wait   sync.WaitGroup
	busy   map[string]string // lines whose head is being delivered, and in which channel
	in     map[string]int    // how many of them in each channel
	done   chan string
	failed chan error
}

// start begins every delivery that may go out now and returns when to look again.
func (r *round) start(ctx context.Context) (next time.Time, err error) {
	if len(r.busy) == atOnce {
		return next, nil // one that ends makes Run look again
	}
	taken := map[string]int{}
	room := atOnce - len(r.busy)
	take := func(w store.Waiting) store.Taking {
		if room == 0 || w.Channel != "" && r.in[w.Channel]+taken[w.Channel] >= atOnceInChannel {
			return store.LeaveChannel // one that ends makes Run look again
		}
		if _, busy := r.busy[w.Line]; busy {
			return store.Leave
		}
		taken[w.Channel]++
		room--
		return store.Take
	}
	ready, next, err := r.bot.Store.Due(ctx, r.bot.Now(), take)
	if err != nil {
		return next, fmt.Errorf("reading what is due: %w", err)
	}
	for _, d := range ready {
		r.busy[d.Line] = d.Channel
		r.in[d.Channel]++
		r.wait.Go(func() {
			if err := r.bot.deliver(ctx, d); err != nil {
				select {
				case r.failed <- err:
				default:
				}
			}
			select {
			case r.done <- d.Line:
			case <-ctx.Done():
			}
		})
	}
	return next, nil
}

// end notes that a line's head was delivered.
func (r *round) end(line string) {
	channel := r.busy[line]
	delete(r.busy, line)
	if r.in[channel]--; r.in[channel] <= 0 {
		delete(r.in, channel)
	}
}

// drain takes the other lines that ended meanwhile.
func (r *round) drain() {
	for {
		select {
		case line := <-r.done:
			r.end(line)
		default:
			return
		}
	}
}

// deliver carries one delivery out and settles it, and any that went with it.
// Only a failing store is an error.
func (b *Bot) deliver(ctx context.Context, d store.Delivery) error {
	settled, err := b.carryOut(ctx, d)
	if err != nil {
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
		o = b.show(ctx, c, d, e)
	case conversation.Tell:
		o = b.tell(ctx, c, d, e)
	case conversation.Report:
		o = b.report(ctx, c, d, e)
	case conversation.Lookup:
		if b.People == nil {
			return []store.Settled{{Delivery: d}}, nil // nobody can be told anyway
		}
		if o, err = b.lookup(ctx, c, d, e.Late); err != nil {
			return nil, err
		}
	case conversation.Spread:
		if o, err = b.spread(ctx, c, d, e); err != nil {
			return nil, err
		}
	case conversation.Gather:
		return b.gather(ctx, d, e.To)
	case conversation.Record, conversation.Remember:
		// unreachable: they are written with the state
	}
	return []store.Settled{{Delivery: d, Outcome: o}}, nil
}

// show brings a card up to date.
func (b *Bot) show(ctx context.Context, c conversation.Conversation, d store.Delivery, e conversation.Show) store.Outcome {
	if e.In < 0 || e.In >= len(c.Threads) {
		return store.Outcome{} // the thread is no more
	}
	now := b.Now()
	card, ok := c.CardIn(e.In, e.Card, now)
	th := c.Threads[e.In]
	if !ok || (e.Card != conversation.RootKey && th.RootTS() == "") {
		return store.Outcome{} // the root's own posting shows it
	}
	m := Message{
		Conversation: c.ID, Key: e.Card, Card: card, Channel: th.Channel, TS: th.Shown[e.Card].TS, Digest: conversation.Digest(card),
	}
	if m.TS != "" && th.Shown[e.Card].Digest == m.Digest && d.MaybeSent.IsZero() {
		return store.Outcome{} // shown just so already
	}
	if e.Card != conversation.RootKey {
		m.ThreadTS = th.RootTS()
	} else {
		m.ThreadTS = th.Anchor
	}
	if o := b.unsettled(d); o != nil {
		return *o
	}
	if m.TS == "" && !d.MaybeSent.IsZero() {
		at, found, o := b.find(ctx, d, m)
		if o != nil {
			return *o
		}
		if found {
			// Which state it shows is not known: no digest, so that the next Show edits it.
			return store.Outcome{Step: b.step(conversation.Posted{In: e.In, Card: e.Card, Channel: at.Channel, TS: at.TS}, b.Now())}
		}
	}
	if err := b.turn(ctx, m); err != nil {
		return store.Outcome{RetryAt: now, Error: "stopping", Unsent: d.MaybeSent.IsZero()}
	}
	if err := b.Store.Begin(ctx, d, b.Now()); err != nil {
		return store.Outcome{RetryAt: now.Add(backoff(d.Attempts)), Error: "not begun"}
	}
	at, err := b.Chat.Show(ctx, m)
	if err != nil {
		b.correct(m, err)
		return b.failed(d, &e, err)
	}
	posted := conversation.Posted{In: e.In, Card: e.Card, Channel: at.Channel, TS: at.TS, Digest: m.Digest}
	return store.Outcome{Step: b.step(posted, b.Now())}
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

// find looks for a message that may have been posted before. When it cannot say,
// it returns the outcome that puts the delivery off.
func (b *Bot) find(ctx context.Context, d store.Delivery, m Message) (At, bool, *store.Outcome) {
	at, found, err := b.Chat.Find(ctx, m, d.MaybeSent.Add(-time.Minute))
	if err != nil {
		var f *Failure
		if errors.As(err, &f) && f.Kind == Never {
			// Where we may not read, nothing was posted by us either, or nobody can
			// tell: rather twice than not at all, and the journal of the log says so.
			b.Log.Warn("cannot look for a message that may have been sent; sending it again", "conversation", d.Conversation, "delivery", d.ID, "code", f.Code)
			return At{}, false, nil
		}
		o := b.failed(d, nil, err)
		o.Unsent = false
		return At{}, false, &o
	}
	b.Log.Info("looked for a message that may have been sent", "conversation", d.Conversation, "delivery", d.ID, "found", found)
	return at, found, nil
}

// turn waits until Slack's limits let a message through.
func (b *Bot) turn(ctx context.Context, m Message) error {
	if m.TS != "" {
		return b.limits.wait(ctx, "edits", edits, b.Now())
	}
	// The channel's limit is the narrower one, so its turn is waited for last.
	if err := b.limits.wait(ctx, "posts", postsInAll, b.Now()); err != nil {
		return err
	}
	return b.limits.wait(ctx, "posts in "+m.Channel, postsInChannel, b.Now())
}

// correct holds back what Slack says comes too fast.
func (b *Bot) correct(m Message, err error) {
	var f *Failure
	if !errors.As(err, &f) || f.Kind != Again || f.After == 0 {
		return
	}
	name := "edits"
	if m.TS == "" {
		name = "posts in " + m.Channel
	}
	b.limits.block(name, b.Now().Add(f.After))
}

func (b *Bot) tell(ctx context.Context, c conversation.Conversation, d store.Delivery, e conversation.Tell) store.Outcome {
	if e.In < 0 || e.In >= len(c.Threads) {
		return store.Outcome{}
	}
	if err := b.limits.wait(ctx, "tells", tells, b.Now()); err != nil {
		return store.Outcome{RetryAt: b.Now(), Error: "stopping"}
	}
	th := c.Threads[e.In]
	if err := b.Chat.Tell(ctx, e.To, th.Place, th.RootTS(), e.Text); err != nil {
		return b.failed(d, nil, err)
	}
	return store.Outcome{}
}

// report tells the security channel.
func (b *Bot) report(ctx context.Context, c conversation.Conversation, d store.Delivery, e conversation.Report) store.Outcome {
	if b.SecurityChannel == "" || b.People == nil {
		return store.Outcome{} // the journal has it
	}
	if len(c.Threads) > 0 && c.Threads[0].Channel == b.SecurityChannel {
		return store.Outcome{} // the root there says it already
	}
	if err := b.turn(ctx, Message{Channel: b.SecurityChannel}); err != nil {
		return store.Outcome{RetryAt: b.Now(), Error: "stopping"}
	}
	if err := b.People.Report(ctx, b.SecurityChannel, e.Text); err != nil {
		b.correct(Message{Channel: b.SecurityChannel}, err)
		return b.failed(d, nil, err)
	}
	return store.Outcome{}
}

// failed decides what follows a failure: later, anew, or never. e is the card
// that could not be shown, or nil.
func (b *Bot) failed(d store.Delivery, e *conversation.Show, err error) store.Outcome {
	var f *Failure
	if !errors.As(err, &f) {
		f = &Failure{Kind: Again, Code: "unknown", Err: err}
	}
	log := b.Log.With("conversation", d.Conversation, "delivery", d.ID, "code", f.Code)
	now := b.Now()
	switch f.Kind {
	case Lost:
		if e == nil {
			return store.Outcome{Abandoned: true, Error: f.Code}
		}
		log.Info("message was deleted by somebody; posting it anew")
		return store.Outcome{Step: b.step(conversation.Gone{In: e.In, Card: e.Card}, now)}
	case Never:
		log.Warn("message cannot be delivered", "err", err)
		o := store.Outcome{Abandoned: true, Error: f.Code}
		if e != nil {
			o.Step = b.step(conversation.Unreachable{In: e.In, Card: e.Card, Why: f.Code}, now)
		}
		return o
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
