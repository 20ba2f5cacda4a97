package bot

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"rehome/conversation"
	"rehome/store"
)

// atOnce is how many deliveries are under way at most. Each is one line's head,
// so that order within a line never depends on it.
const atOnce = 8

// Run delivers what is due until ctx ends, and returns nil then, after the
// deliveries under way are done. It returns an error when the store fails:
// what happened to the last write is unknown then, and the process must start anew.
func (b *Bot) Run(ctx context.Context) error {
	r := round{bot: b, busy: map[string]bool{}, pace: pacer{every: b.Pace, burst: b.Burst}}
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
			delete(r.busy, line)
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
	busy   map[string]bool // lines whose head is being delivered
	pace   pacer
	done   chan string
	failed chan error
}

// start begins every delivery that may go out now and returns when to look again.
func (r *round) start(ctx context.Context) (next time.Time, err error) {
	if len(r.busy) == atOnce {
		return next, nil // one that ends makes Run look again
	}
	now := r.bot.Now()
	ready, next, err := r.bot.Store.Due(ctx, now)
	if err != nil {
		return next, fmt.Errorf("reading what is due: %w", err)
	}
	for _, d := range ready {
		if r.busy[d.Line] {
			continue
		}
		if len(r.busy) == atOnce {
			break
		}
		r.busy[d.Line] = true
		r.wait.Add(1)
		go func() {
			defer r.wait.Done()
			if err := r.bot.deliver(ctx, d, &r.pace); err != nil {
				select {
				case r.failed <- err:
				default:
				}
			}
			select {
			case r.done <- d.Line:
			case <-ctx.Done():
			}
		}()
	}
	return next, nil
}

// drain takes the other lines that ended meanwhile.
func (r *round) drain() {
	for {
		select {
		case line := <-r.done:
			delete(r.busy, line)
		default:
			return
		}
	}
}

// deliver carries one delivery out and settles it. Only a failing store is an error.
func (b *Bot) deliver(ctx context.Context, d store.Delivery, pace *pacer) error {
	c, err := b.Store.Get(ctx, d.Conversation)
	if err != nil {
		return quiet(ctx, fmt.Errorf("delivery %d: %w", d.ID, err))
	}
	var o store.Outcome
	switch e := d.Effect.(type) {
	case conversation.Show:
		o = b.show(ctx, c, d, e, pace)
	case conversation.Tell:
		o = b.tell(ctx, c, d, e)
	case conversation.Record:
		// unreachable: records are written with the state
	}
	if ctx.Err() != nil && !o.RetryAt.IsZero() {
		return nil // stopping: it is still queued and goes out after the restart
	}
	o.At = b.Now()
	// A delivery that was carried out must be settled even when we are stopping,
	// or it would be carried out twice.
	settling, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := b.Store.Settle(settling, d, o); err != nil {
		return fmt.Errorf("settling delivery %d: %w", d.ID, err)
	}
	return nil
}

// show brings a card up to date.
func (b *Bot) show(ctx context.Context, c conversation.Conversation, d store.Delivery, e conversation.Show, pace *pacer) store.Outcome {
	if e.In < 0 || e.In >= len(c.Threads) {
		return store.Outcome{} // the thread is no more
	}
	now := b.Now()
	card, ok := c.Card(e.Card, now)
	th := c.Threads[e.In]
	if !ok || (e.Card != conversation.RootKey && th.RootTS() == "") {
		return store.Outcome{} // the root's own posting shows it
	}
	m := Message{
		Conversation: c.ID, Key: e.Card, Card: card, Channel: th.Channel, TS: th.Shown[e.Card].TS, Digest: conversation.Digest(card),
	}
	if m.TS != "" && th.Shown[e.Card].Digest == m.Digest {
		return store.Outcome{} // shown just so already
	}
	if e.Card != conversation.RootKey {
		m.ThreadTS = th.RootTS()
	} else {
		m.ThreadTS = th.Anchor
	}
	if m.TS == "" {
		if err := pace.wait(ctx, m.Channel, b.Now); err != nil {
			return store.Outcome{RetryAt: now}
		}
	}
	at, err := b.Chat.Show(ctx, m)
	if err != nil {
		return b.failed(d, e, err)
	}
	posted := conversation.Posted{In: e.In, Card: e.Card, Channel: at.Channel, TS: at.TS, Digest: m.Digest}
	return store.Outcome{Step: b.step(posted, b.Now())}
}

func (b *Bot) tell(ctx context.Context, c conversation.Conversation, d store.Delivery, e conversation.Tell) store.Outcome {
	if e.In < 0 || e.In >= len(c.Threads) {
		return store.Outcome{}
	}
	th := c.Threads[e.In]
	if err := b.Chat.Tell(ctx, e.To, th.Place, th.RootTS(), e.Text); err != nil {
		return b.failed(d, conversation.Show{In: e.In}, err)
	}
	return store.Outcome{}
}

// failed decides what follows a failure: later, anew, or never.
func (b *Bot) failed(d store.Delivery, e conversation.Show, err error) store.Outcome {
	var f *Failure
	if !errors.As(err, &f) {
		f = &Failure{Kind: Again, Code: "unknown", Err: err}
	}
	log := b.Log.With("conversation", d.Conversation, "delivery", d.ID, "code", f.Code)
	now := b.Now()
	switch f.Kind {
	case Lost:
		log.Info("message was deleted by somebody; posting it anew")
		return store.Outcome{Step: b.step(conversation.Gone{In: e.In, Card: e.Card}, now)}
	case Never:
		log.Warn("message cannot be delivered", "err", err)
		o := store.Outcome{Abandoned: true, Error: f.Code}
		if e.Card != "" {
			o.Step = b.step(conversation.Unreachable{In: e.In, Card: e.Card, Why: f.Code}, now)
		}
		return o
	case Again:
	}
	after := max(f.After, backoff(d.Attempts))
	log.Info("message is put off", "after", after, "attempt", d.Attempts+1)
	return store.Outcome{RetryAt: now.Add(after), Error: f.Code}
}

// backoff grows from a second to five minutes.
func backoff(attempts int) time.Duration {
	return min(time.Second<<min(attempts, 10), 5*time.Minute)
}

// A pacer keeps posts in one channel apart. Slack allows about one message a
// second in a channel, and short bursts (rate limits of chat.postMessage).
type pacer struct {
	every time.Duration
	burst int

	mu   sync.Mutex
	free map[string]time.Time // when a channel's burst allowance is whole again
}

// wait returns when one more message may go to channel. It sleeps on the real
// timer of the bubble it runs in, and ends early with ctx.
func (p *pacer) wait(ctx context.Context, channel string, now func() time.Time) error {
	p.mu.Lock()
	if p.free == nil {
		p.free = map[string]time.Time{}
	}
	at := now()
	whole := p.free[channel]
	if whole.Before(at) {
		whole = at
	}
	whole = whole.Add(p.every)
	p.free[channel] = whole
	for ch, t := range p.free {
		if t.Before(at) {
			delete(p.free, ch)
		}
	}
	p.mu.Unlock()

	delay := whole.Add(-time.Duration(p.burst) * p.every).Sub(at)
	if delay <= 0 {
		return nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
