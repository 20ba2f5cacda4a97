package entra

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"syscall"
	"time"

	"rehome/bot"
)

// attempts is how often one request is made at most.
const attempts = 4

// ask makes a request and repeats it while that may help. It waits for a slot and
// while the tenant throttles. It gives up as soon as the next attempt could not
// begin before ctx ends, so that the error is what the service said and not a
// timeout. permission is the one that a 403 would be about.
func ask[T any](ctx context.Context, t *tenant, permission string, get func(context.Context) (T, error)) (T, *refusal) {
	var none T
	for n := 0; ; n++ {
		if r := t.quiet.wait(ctx); r != nil {
			return none, r
		}
		v, err := once(ctx, t, get)
		if err == nil {
			return v, nil
		}
		r := readError(err, permission)
		if r.status == http.StatusTooManyRequests {
			t.quiet.until(r.after)
		}
		if !r.again || n == attempts-1 || ctx.Err() != nil {
			return none, r
		}
		wait := max(r.after, backoff(n))
		if !leaves(ctx, wait) {
			r.after = wait
			return none, r
		}
		if err := sleep(ctx, wait); err != nil {
			return none, readError(err, permission)
		}
	}
}

// once makes a single attempt with its own deadline. For some answers the SDK
// returns nil, and on others it panics; here both are errors.
func once[T any](ctx context.Context, t *tenant, get func(context.Context) (T, error)) (v T, err error) {
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
	case <-ctx.Done():
		return v, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, t.attempt)
	defer cancel()
	defer func() {
		if p := recover(); p != nil { // the panic's text may quote the answer, so it is not used
			err = &refusal{kind: bot.Busy, code: "unreadable", hint: "Graph's answer is not in the form that was expected"}
		}
	}()
	v, err = get(ctx)
	if err == nil && any(v) == nil {
		err = &refusal{kind: bot.Busy, code: "nothing", again: true, hint: "Graph answered without an object"}
	}
	return v, err
}

// backoff returns how long to wait after attempt n, counted from 0: half a second,
// doubled each time, give or take a half, so that many callers do not come back at once.
func backoff(n int) time.Duration {
	d := 500 * time.Millisecond << n
	return d/2 + rand.N(d)
}

// leaves reports whether ctx leaves time for anything after a wait.
func leaves(ctx context.Context, wait time.Duration) bool {
	end, bounded := ctx.Deadline()
	return !bounded || time.Until(end) > wait
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// brokenOff reports whether err is that of a connection which was refused, or ended
// before the answer did.
func brokenOff(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ECONNREFUSED)
}
