package entra

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"rehome/bot"
)

// A quiet is the time for which a tenant has asked not to be called. One throttled
// request holds up all, because the limit is the tenant's, and calls during it
// make it last longer.
type quiet struct {
	mu  sync.Mutex
	end time.Time
}

func (q *quiet) until(after time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if end := time.Now().Add(after); end.After(q.end) {
		q.end = end
	}
}

// wait waits until the tenant may be called again. It returns a refusal at once
// when that would be too late for ctx.
func (q *quiet) wait(ctx context.Context) *refusal {
	q.mu.Lock()
	left := time.Until(q.end)
	q.mu.Unlock()
	switch {
	case left <= 0:
		return nil
	case !leaves(ctx, left):
		return &refusal{kind: bot.Busy, status: http.StatusTooManyRequests, code: "TooManyRequests", after: left}
	}
	if err := sleep(ctx, left+rand.N(250*time.Millisecond)); err != nil { // not all in the same instant
		return readError(err, "")
	}
	return nil
}

// keyReads returns the limiter of requests that ask for key credentials: Graph allows
// 150 a minute and tenant (https://learn.microsoft.com/graph/api/application-list).
// A fifth may come at once and the rest evenly, so that no minute holds more.
func keyReads(perMinute int) *rate.Limiter {
	if perMinute < 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	burst := max(perMinute/5, 1)
	return rate.NewLimiter(rate.Limit(float64(perMinute-burst)/60), burst)
}
