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
	postsInChannel = limit{every: time.Second, burst: 3}
	postsInAll     = limit{every: 225 * time.Millisecond, burst: 15}
	edits          = limit{every: 1500 * time.Millisecond, burst: 10}
	tells          = limit{every: 650 * time.Millisecond, burst: 8}
)

// A limit lets burst through at once and one more each every.
type limit struct {
	every time.Duration
	burst int
}

// limits keep what is sent under Slack's limits. What Slack answers corrects
// them: see block.
type limits struct {
	off bool

	mu      sync.Mutex
	empty   map[string]time.Time // when a bucket will be empty again
	blocked map[string]time.Time // until when Slack wants nothing of a kind
}

// wait takes one place in the bucket called name and returns when its turn has
// come. It ends early, with an error, when ctx does.
func (l *limits) wait(ctx context.Context, name string, lim limit, now time.Time) error {
	return sleep(ctx, l.take(name, lim, now))
}

// take takes one place and returns how long it is until its turn.
func (l *limits) take(name string, lim limit, now time.Time) time.Duration {
	if l.off {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.empty) > 4096 {
		for n, at := range l.empty {
			if at.Before(now) {
				delete(l.empty, n)
			}
		}
	}
	empty := l.empty[name]
	if empty.Before(now) {
		empty = now
	}
	turn := empty.Add(-time.Duration(lim.burst-1) * lim.every)
	if until := l.blocked[name]; until.After(turn) {
		turn = until
		empty = until // what Slack sent away has used the burst up
	}
	l.empty[name] = empty.Add(lim.every)
	return max(0, turn.Sub(now))
}

// block holds everything of one kind back until a time: Slack said 429.
func (l *limits) block(name string, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if until.After(l.blocked[name]) {
		l.blocked[name] = until
	}
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
