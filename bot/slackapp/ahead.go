package slackapp

import (
	"net/http"
	"sync/atomic"
	"time"
)

// ahead is how far our clock has been ahead of Slack's at most since we began.
// What Slack has of a message that was sent by such a clock is older than we
// think: who looks for it must look further back, also after the clock was put
// right. A clock that is behind does no harm.
type ahead struct{ most atomic.Int64 } // nanoseconds

// mostAhead bounds what one wrong answer makes us read: of a channel, a day.
const mostAhead = 25 * time.Hour

// learn hears Slack's time from the head of an answer.
func (a *ahead) learn(answer http.Header) {
	off, said := aheadOf(answer)
	off = min(off, mostAhead)
	for was := a.most.Load(); said && int64(off) > was; was = a.most.Load() {
		if a.most.CompareAndSwap(was, int64(off)) {
			return
		}
	}
}

// before returns the earliest that a time of our clock may have been by Slack's.
// One that is still to come was told by a clock that was put back since.
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
