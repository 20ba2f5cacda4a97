package sandbox

import "time"

// rate is one of Slack's tiers: calls per method, per workspace, per app and minute.
// https://docs.slack.dev/apis/web-api/rate-limits
type rate int

const (
	tier2      rate = 20
	tier3      rate = 50
	tier4      rate = 100
	special    rate = 600 // auth.test and chat.getPermalink: "hundreds per minute"
	perChannel rate = -1  // chat.postMessage: one a second per channel, short bursts, and see below
)

const (
	channelBurst    = 4   // Slack: "short bursts of >1 allowed"; the number is ours
	workspaceMinute = 300 // Slack: "several hundred messages per minute" per workspace; the number is ours
)

// PerMinute is how many calls of a method a workspace with [Config].RateLimits takes from its app in a
// minute; of chat.postMessage in all channels together, each of which takes one a second. It is 0 for
// a method that does not exist.
func PerMinute(name string) int {
	if r := methods[name].rate; r != perChannel {
		return int(r)
	}
	return workspaceMinute
}

// limiter counts calls in sliding minutes, and messages per channel in leaky buckets.
type limiter struct {
	minute  map[string][]time.Time
	buckets map[string]time.Time // when the channel's bucket will be empty again
}

func newLimiter() limiter {
	return limiter{minute: map[string][]time.Time{}, buckets: map[string]time.Time{}}
}

// take counts a call and returns zero, or does not count it and returns how long to wait.
func (l *limiter) take(r rate, method, channel string, now time.Time) time.Duration {
	if r != perChannel {
		return l.window(method, int(r), now)
	}
	full := l.buckets[channel]
	if full.Before(now) {
		full = now
	}
	if wait := full.Sub(now) - (channelBurst-1)*time.Second; wait > 0 {
		return wait
	}
	if wait := l.window(method, workspaceMinute, now); wait > 0 {
		return wait
	}
	l.buckets[channel] = full.Add(time.Second)
	return 0
}

func (l *limiter) window(method string, most int, now time.Time) time.Duration {
	recent := l.minute[method]
	for len(recent) > 0 && !recent[0].After(now.Add(-time.Minute)) {
		recent = recent[1:]
	}
	l.minute[method] = recent
	if len(recent) >= most {
		return recent[0].Add(time.Minute).Sub(now)
	}
	l.minute[method] = append(recent, now)
	return 0
}
