package bot

import (
	"context"
	"errors"
	"time"
)

// answered takes note of what Slack made of a call that sends something: it
// corrects the pace, and sees when nothing goes through at all and when it does
// again. err is what the call returned.
func (b *Bot) answered(m Message, err error) {
	var f *Failure
	switch now := time.Now(); { // a pace is kept by the clock that nobody sets
	case err == nil:
		b.goOn()
	case !errors.As(err, &f):
	case f.Kind == Stop:
		b.stop(f.Code, now)
	case f.Kind == Again && f.After > 0 && f.Code == CodeLimited:
		b.tooFast(m, now, now.Add(f.After))
	}
}

// tooFast holds back what Slack says comes too fast. It does not say whether a
// message was too much for its channel or for the workspace: when two channels
// are too fast within a minute, it is taken to be both.
func (b *Bot) tooFast(m Message, now, until time.Time) {
	for name, r := range m.buckets() {
		if name != allPosts {
			b.out.pace.slow(name, r, now, until)
		}
	}
	if m.TS != "" || m.whispered {
		return
	}
	b.out.refused.mu.Lock()
	also := b.out.refused.in != "" && b.out.refused.in != m.Channel && now.Sub(b.out.refused.at) < time.Minute
	b.out.refused.in, b.out.refused.at = m.Channel, now
	b.out.refused.mu.Unlock()
	if also {
		b.out.pace.slow(allPosts, postsInAll, now, now.Add(time.Second))
	}
}

// CodeLimited is the Code of a Failure that says that calls came too fast.
const CodeLimited = "ratelimited"

// buckets are the ones of the calls that bring a message out, by name.
func (m Message) buckets() map[string]Rate {
	switch {
	case m.whispered:
		return map[string]Rate{allTells: tells}
	case m.TS != "":
		return map[string]Rate{allEdits: edits}
	}
	return map[string]Rate{allPosts: postsInAll, channelOf + m.Channel: postsInChannel}
}

// patience is how long a delivery waits for its turn in its place: it is given
// one only when its turn is about that near, or twice that when somebody waits for
// it. One that finds it to be three times as far off, because Slack said so in
// between or because it was not known what it needs, gives the place to others and
// comes back then.
const patience = 3 * time.Second

// notYet is the error of a delivery whose turn is farther off than that. Nothing
// was done, and nothing is written down.
type notYet struct {
	until time.Time // by the clock that nobody sets
	edit  bool      // it waits to edit something
}

func (n *notYet) Error() string { return "its turn comes at " + n.until.String() }

// turn waits until Slack's limits let a message through, or returns *notYet.
func (b *Bot) turn(ctx context.Context, m Message) error {
	if b.Unlimited {
		return ctx.Err()
	}
	now := time.Now()
	buckets := m.buckets()
	var wait time.Duration
	for name, r := range buckets {
		wait = max(wait, b.out.pace.until(name, r, now))
	}
	if wait > 3*patience {
		return &notYet{until: now.Add(wait), edit: m.TS != ""}
	}
	for name, r := range buckets {
		wait = max(wait, b.out.pace.take(name, r, now))
	}
	return sleep(ctx, wait)
}
