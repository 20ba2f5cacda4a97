package bot

import (
	"context"
	"sync"
	"time"
)

// Slack's published limits, kept a little under so that none is met in steady
// state (https://docs.slack.dev/apis/web-api/rate-limits): about one
// message a second in a channel with short bursts, several hundred messages a
// minute in a workspace (we keep to 300), 50 edits a minute (tier 3), 100 answers
// to one person a minute (tier 4). Slack counts over a sliding minute, so a
// burst and a minute's rate together stay under each.
var (
	postsInChannel = Rate{Every: time.Second, Burst: 3}
	postsInAll     = Rate{Every: 225 * time.Millisecond, Burst: 15}
	edits          = Tier3
	tells          = Tier4

	Tier3 = Rate{Every: 1500 * time.Millisecond, Burst: 10} // 50 calls a minute
	Tier4 = Rate{Every: 650 * time.Millisecond, Burst: 8}   // 100 calls a minute
)

// A Rate lets Burst through at once and one more each Every.
type Rate struct {
	Every time.Duration
	Burst int
}

// Names of the buckets of what goes out.
const (
	allPosts  = "posts"
	allEdits  = "edits"
	allTells  = "tells"
	channelOf = "posts in " // and the channel
)

// A Pace keeps calls under a workspace's limits, each kind in a bucket of its
// own. What Slack answers corrects the rates: a bucket that was told to wait
// waits that long, then lets go at half its rate, and gets an eighth of the rate
// back with every minute in which it is not told so again. It never goes slower
// than an eighth. The zero Pace is ready to use.
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

// maxBuckets is when those that are full again and as fast as ever are dropped.
const maxBuckets = 4096

// Wait takes a place in the bucket called name and returns when its turn has
// come. It ends early, with an error, when ctx does.
func (p *Pace) Wait(ctx context.Context, name string, r Rate) error {
	return sleep(ctx, p.take(name, r, time.Now()))
}

// Slow takes Slack's word that calls of a kind came too fast, and that it wants
// none until a time.
func (p *Pace) Slow(name string, r Rate, until time.Time) { p.slow(name, r, time.Now(), until) }

// take takes a place and returns how long it is until its turn.
func (p *Pace) take(name string, r Rate, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.bucket(name, now)
	turn := b.turn(r, now)
	b.empty = later(b.empty, now).Add(b.every(r))
	return max(0, turn.Sub(now))
}

// Until returns how long whoever takes a place now would wait.
func (p *Pace) Until(name string, r Rate) time.Duration { return p.until(name, r, time.Now()) }

// until returns how long whoever takes a place now would wait.
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

// slow takes Slack's word that a kind of call came too fast and is not wanted
// until a time. Calls that were under way together are sent away together, which
// counts once.
func (p *Pace) slow(name string, r Rate, now, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.bucket(name, now)
	if !b.blocked.After(now) {
		b.eighths = min(7, b.eighths+(8-b.eighths+1)/2)
		b.told = later(now, until)
	}
	b.blocked = later(b.blocked, until)
	b.empty = later(b.empty, b.blocked.Add(time.Duration(r.Burst-1)*b.every(r))) // what Slack sent away has used the burst up
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

// recover gives back what went well long enough.
func (b *bucket) recover(now time.Time) {
	for b.eighths > 0 && now.Sub(b.told) >= time.Minute {
		b.eighths--
		b.told = b.told.Add(time.Minute)
	}
}

// every is how far apart calls are now.
func (b *bucket) every(r Rate) time.Duration {
	return r.Every * 8 / time.Duration(8-b.eighths)
}

// turn is when the next call may go out.
func (b *bucket) turn(r Rate, now time.Time) time.Time {
	return later(later(b.empty, now).Add(-time.Duration(r.Burst-1)*b.every(r)), b.blocked)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// sleep waits on the timer of the bubble it runs in, and ends early with ctx.
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
