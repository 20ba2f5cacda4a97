package slackapp

import (
	"net/http"
	"sync/atomic"
	"time"
)

// ahead is how far our clock has been ahead of Slack's at most, since the process
// began. Slack's time of a message that we sent then is earlier than ours, so that
// whoever looks for the message must look further back, also after our clock was
// set right. A clock that is behind does no harm.
type ahead struct{ most atomic.Int64 } // nanoseconds

// mostAhead bounds how much of a channel a wrong Date makes us read: a day.
const mostAhead = 25 * time.Hour

// learn takes Slack's time from the header of an answer.
func (a *ahead) learn(answer http.Header) {
	off, said := aheadOf(answer)
	off = min(off, mostAhead)
	for was := a.most.Load(); said && int64(off) > was; was = a.most.Load() {
		if a.most.CompareAndSwap(was, int64(off)) {
			return
		}
	}
}

// before returns the earliest time by Slack's clock that t, a time by ours, may
// have been. When t is in the future our clock was set back since, and the present
// is used.
func (a *ahead) before(t time.Time) time.Time {
	if now := time.Now(); t.After(now) {
		t = now
	}
	return t.Add(-time.Duration(a.most.Load()))
}

// aheadOf returns how far our clock is ahead of Slack's, to the second, when an
// answer says what time it is there.
func aheadOf(answer http.Header) (off time.Duration, said bool) {
	at, err := http.ParseTime(answer.Get("Date"))
	if err != nil {
		return 0, false
	}
	return time.Since(at).Truncate(time.Second), true
}
