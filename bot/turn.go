package bot

import (
	"context"
	"errors"
	"sync"
	"time"

	"rehome/conversation"
)

// answered learns from a call that sent something: it slows down when Slack says
// that calls come too fast, and notes when nothing goes through at all and when
// messages do again. err is what the call returned.
func (b *Bot) answered(m Message, err error) {
	var f *Failure
	switch now := time.Now(); { // the pace and the halt go by the monotonic clock
	case err == nil && m.ByAddress: // which says nothing of our token
	case err == nil:
		b.goOn()
	case !errors.As(err, &f):
	case f.Kind == Stop:
		b.stop(f.Code, now)
	case f.Kind == Again && f.After > 0 && f.Code == CodeLimited:
		b.tooFast(m, now, now.Add(f.After))
	}
}

// tooFast slows down the calls that Slack says come too fast. Slack does not say
// whether a message was too much for its channel or for the workspace. It is taken
// for the channel, and for the workspace too when two channels are told so within
// a minute.
func (b *Bot) tooFast(m Message, now, until time.Time) {
	for _, l := range b.out.limits(m) {
		if l.name != allPosts {
			b.out.pace.slow(l.name, l.Rate, now, until)
		}
	}
	if m.TS != "" || m.Whispered || m.ByAddress {
		return
	}
	in := b.out.directs.name(m.Channel)
	b.out.refused.mu.Lock()
	also := b.out.refused.in != "" && b.out.refused.in != in && now.Sub(b.out.refused.at) < time.Minute
	b.out.refused.in, b.out.refused.at = in, now
	b.out.refused.mu.Unlock()
	if also {
		b.out.pace.slow(allPosts, postsInAll, now, now.Add(time.Second))
	}
}

// CodeLimited is the Code of a Failure when calls came too fast.
const CodeLimited = "ratelimited"

// A limit is a bucket and the rate it is emptied at.
type limit struct {
	name string
	Rate
}

// limits are those of the call that brings a message out, the widest first.
func (o *outward) limits(m Message) []limit {
	switch {
	case m.ByAddress:
		return []limit{{allAddressed, tells}}
	case m.Whispered:
		return []limit{{allTells, tells}}
	case m.TS != "":
		return []limit{{allEdits, edits}}
	}
	return []limit{{allPosts, postsInAll}, {channelOf + o.directs.name(m.Channel), postsInChannel}}
}

// directs are the direct messages that have begun. Each is one place under two
// ids, its own and its person's, and has one limit, which goes by the person's.
type directs struct {
	mu   sync.Mutex
	with map[string]string // person, by the direct message's own id
}

// name returns the one id that a place's limit goes by.
func (d *directs) name(channel string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if person, known := d.with[channel]; known {
		return person
	}
	return channel
}

// learn takes note of where a message is that was sent to a channel.
func (d *directs) learn(sent string, at At) {
	if at.Channel == sent || !(conversation.Place{Channel: sent}).IsDirect() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.with == nil || len(d.with) >= maxBuckets {
		d.with = map[string]string{} // what is forgotten is learnt again with the next message
	}
	d.with[at.Channel] = sent
}

// patience is about how long a delivery that is under way may wait for its turn
// under Slack's limits. Run starts one when its turn is no farther off than that,
// or twice that when somebody waits for it. A delivery that was started and finds
// its turn three times as far off, because Slack has refused something since or
// because Run could not know what it needs, ends with notYet and is started again
// later, so that others can go on.
const patience = 3 * time.Second

// notYet is the error of a delivery whose turn is too far off, see patience.
// Nothing was sent, and nothing was written down.
type notYet struct {
	until time.Time // its turn, by the monotonic clock
	edit  bool      // it waits to edit something
}

func (n *notYet) Error() string { return "its turn comes at " + n.until.String() }

// turn waits until Slack's limits let a message through, or returns *notYet.
func (b *Bot) turn(ctx context.Context, m Message) error { return b.turnWithin(ctx, m, 3*patience) }

// turnWithin is turn for what waits no longer than most.
func (b *Bot) turnWithin(ctx context.Context, m Message, most time.Duration) error {
	if b.Unlimited {
		return ctx.Err()
	}
	now := time.Now()
	var wait time.Duration
	for _, l := range b.out.limits(m) {
		wait = max(wait, b.out.pace.until(l.name, l.Rate, now))
	}
	if wait > most {
		return &notYet{until: now.Add(wait), edit: m.TS != ""}
	}
	// A channel's bucket counts what is said when it is said, and not when it began
	// to wait for the workspace's: or what waited there would come out bunched.
	wait = 0
	for _, l := range b.out.limits(m) {
		wait += b.out.pace.take(l.name, l.Rate, now.Add(wait))
	}
	return sleep(ctx, wait)
}
