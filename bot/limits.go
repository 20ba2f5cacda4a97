package bot

import (
	"context"
	"sync"
	"time"
)

// The rates we keep to, a little below Slack's published limits
// (https://docs.slack.dev/apis/web-api/rate-limits): about one message a second in
// a channel, with short bursts; several hundred messages a minute in a workspace,
// which we take as 300; 50 edits a minute (tier 3); 100 answers to one person a
// minute (tier 4). Slack counts over a sliding minute, so a burst and a minute at
// the rate are together below the limit.
var (
	postsInChannel = Rate{Every: time.Second, Burst: 3}
	postsInAll     = Rate{Every: 225 * time.Millisecond, Burst: 15}
	edits          = Tier3
	tells          = Tier4

	Tier3 = Rate{Every: 1400 * time.Millisecond, Burst: 7} // 50 calls a minute
	Tier4 = Rate{Every: 650 * time.Millisecond, Burst: 8}  // 100 calls a minute
)

// A Rate lets Burst through at once and one more each Every.
type Rate struct {
	Every time.Duration
	Burst int
}

// Names of the buckets of what goes out.
const (
	allPosts = "posts"
	allEdits = "edits"
	allTells = "tells"
	// Answers to addresses that Slack gave for them; it names no limit, so that of tells is kept.
	allAddressed = "answers by address"
	channelOf    = "posts in " // and the channel
)

// A Pace keeps calls under a workspace's limits, each kind in a token bucket of its
// own. It adapts to what Slack answers: a bucket that is told to wait waits that
// long, then goes on at half its rate, and gets an eighth of its rate back with
// every minute in which it is not told so again. It never goes slower than an
// eighth. It goes by the monotonic clock. The zero Pace is ready to use.
type Pace struct {
	mu      sync.Mutex
	buckets map[string]*bucket
}

type bucket struct {
	empty   time.Time // when its burst is there again in full
	blocked time.Time // until when Slack wants nothing of the kind
	eighths int       // how many eighths of the rate are missing, 0 to 7
	told    time.Time // when Slack last sent something away, or an eighth came back
}

// maxBuckets is how many buckets there may be before those are dropped that are
// full and at their whole rate again.
const maxBuckets = 4096

// Wait waits until the next call of a kind may be made. It ends early, with ctx's
// error, when ctx does.
func (p *Pace) Wait(ctx context.Context, name string, r Rate) error {
	return sleep(ctx, p.take(name, r, time.Now()))
}

// Slow notes that Slack has refused a call of a kind for coming too fast, and wants
// none until a time.
func (p *Pace) Slow(name string, r Rate, until time.Time) { p.slow(name, r, time.Now(), until) }

// take reserves the next call and returns how long to wait before it is made.
func (p *Pace) take(name string, r Rate, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.bucket(name, now)
	turn := b.turn(r, now)
	b.empty = latest(b.empty, now).Add(b.every(r))
	return max(0, turn.Sub(now))
}

// Until returns how long Wait would wait if it were called now.
func (p *Pace) Until(name string, r Rate) time.Duration { return p.until(name, r, time.Now()) }

// until is Until at a time.
func (p *Pace) until(name string, r Rate, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.buckets[name]
	if b == nil {
		return 0
	}
	b.recover(now)
	return max(0, b.turn(r, now).Sub(now))
}

// slow is Slow at a time. Calls that were under way together are refused together,
// which halves the rate only once.
func (p *Pace) slow(name string, r Rate, now, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.bucket(name, now)
	if !b.blocked.After(now) {
		b.eighths = min(7, b.eighths+(8-b.eighths+1)/2)
		b.told = latest(now, until)
	}
	b.blocked = latest(b.blocked, until)
	b.empty = latest(b.empty, b.blocked.Add(time.Duration(r.Burst-1)*b.every(r))) // no burst follows a refusal
}

// bucket returns the bucket with a name. p.mu is held.
func (p *Pace) bucket(name string, now time.Time) *bucket {
	if b := p.buckets[name]; b != nil {
		b.recover(now)
		return b
	}
	if p.buckets == nil {
		p.buckets = map[string]*bucket{}
	}
	if len(p.buckets) >= maxBuckets {
		for n, b := range p.buckets {
			if b.recover(now); b.eighths == 0 && !b.empty.After(now) && !b.blocked.After(now) {
				delete(p.buckets, n)
			}
		}
	}
	b := &bucket{}
	p.buckets[name] = b
	return b
}

// recover gives back an eighth of the rate for each minute without a refusal.
func (b *bucket) recover(now time.Time) {
	for b.eighths > 0 && now.Sub(b.told) >= time.Minute {
		b.eighths--
		b.told = b.told.Add(time.Minute)
	}
}

// every returns the time between two calls at the present rate.
func (b *bucket) every(r Rate) time.Duration {
	return r.Every * 8 / time.Duration(8-b.eighths)
}

// turn returns when the next call may be made.
func (b *bucket) turn(r Rate, now time.Time) time.Time {
	return latest(latest(b.empty, now).Add(-time.Duration(r.Burst-1)*b.every(r)), b.blocked)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// sleep waits, and ends early with ctx's error when ctx does.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
