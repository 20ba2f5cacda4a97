package bot

import (
	"context"
	"slices"
	"sync"
	"time"

	"rehome/conversation"
	"rehome/store"
)

// This file is about what can never be delivered. People can see it in the
// conversation's journal and in `rehome outbox --failed`, and the security channel
// gets one line a day for each place and reason.

// giveUp returns the outcome that ends the delivery of m for good.
func (b *Bot) giveUp(ctx context.Context, d store.Delivery, m Message, code string) store.Outcome {
	e := conversation.Unreachable{Why: code, Unsure: code == codeUnsure}
	switch effect := d.Effect.(type) {
	case conversation.Show:
		e.In, e.Card = effect.In, effect.Card
	case conversation.Tell:
		e.In, e.What = effect.In, "an answer to "+effect.To.ID
	case conversation.Report:
		e.In, e.What = -1, "a report to the security channel"
		b.Log.Error("the security channel cannot be told; check securityChannel, and invite the bot there", "channel", m.Channel, "code", code)
	case conversation.Gather, conversation.Lookup, conversation.Spread, conversation.Record, conversation.Remember:
		return store.Outcome{Abandoned: true, Error: code} // whoever carries these out says what became of them
	}
	key := undelivered(m.Channel, code)
	e.Report = e.In >= 0 && b.worthSaying(ctx, key)
	return store.Outcome{Abandoned: true, Error: code, Step: b.saying(key, e)}
}

// undelivered returns the key under which the store remembers when the security
// channel was last told of a place and reason.
func undelivered(place, code string) string { return "undelivered/" + place + "/" + code }

// sayAgain is how long the security channel is not told the same again.
const sayAgain = 24 * time.Hour

// said is when the security channel was told of what, by undelivered's keys, since
// the process began. What it was told before is remembered in the store.
type said struct {
	mu   sync.Mutex
	keys map[string]time.Time
}

// worthSaying reports whether the security channel is to be told of a place and
// reason, because it has not been for a while. It takes note that it now is.
func (b *Bot) worthSaying(ctx context.Context, key string) bool {
	now := b.Now()
	s := &b.out.said
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, known := s.keys[key]; known && now.Sub(at) < sayAgain {
		return false
	}
	for k, at := range s.keys {
		if now.Sub(at) >= sayAgain {
			delete(s.keys, k)
		}
	}
	if s.keys == nil {
		s.keys = map[string]time.Time{}
	}
	s.keys[key] = now
	kept, err := b.Store.Recall(ctx, key)
	if err != nil {
		return true // rather twice than not at all
	}
	at, err := time.Parse(time.RFC3339, kept[key])
	return err != nil || now.Sub(at) >= sayAgain
}

// saying returns the step for an event that may lead to a Report. When it does, it
// also remembers under key, in the same transaction, that the report was made.
func (b *Bot) saying(key string, e conversation.Event) store.Step {
	now := b.Now()
	step := b.step(e, now)
	return func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
		c, effects := step(c)
		if slices.ContainsFunc(effects, func(e conversation.Effect) bool { _, is := e.(conversation.Report); return is }) {
			effects = append(effects, conversation.Remember{Key: key, Value: now.UTC().Format(time.RFC3339)})
		}
		return c, effects
	}
}
