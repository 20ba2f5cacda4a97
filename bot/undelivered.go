package bot

import (
	"context"
	"slices"
	"sync"
	"time"

	"rehome/conversation"
	"rehome/store"
)

// What cannot be delivered is given up where people can see it: in the
// conversation's journal, in `rehome outbox --failed`, and with one line a day for
// each place and reason in the security channel.

// giveUp ends the delivery of a message for good.
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
		return store.Outcome{Abandoned: true, Error: code} // said in words of their own
	}
	key := undelivered(m.Channel, code)
	e.Report = e.In >= 0 && b.worthSaying(ctx, key)
	return store.Outcome{Abandoned: true, Error: code, Step: b.saying(key, e)}
}

// undelivered is the key under which it is remembered that a place and reason
// were said.
func undelivered(place, code string) string { return "undelivered/" + place + "/" + code }

// sayAgain is how long the same is not said again.
const sayAgain = 24 * time.Hour

// said is what the security channel was told since the process began. What it
// was told before that is remembered in the store.
type said struct {
	mu   sync.Mutex
	keys map[string]time.Time
}

// worthSaying reports whether the security channel has not heard of a place and
// reason of late, and that it hears of it now.
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

// saying is the step of an event that may have a report, which is remembered
// under key together with it.
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
