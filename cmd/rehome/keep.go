package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"rehome/store"
)

// How long what is over is kept. Without a setting it is kept for ever: how long
// one must be able to say who did what differs between companies, the file holds
// years of it, and what was forgotten does not come back.

// leastKeep keeps a feed that reports a closed finding again from opening it as
// a new one, and event keys from outliving what they belong to.
const leastKeep = 30 * 24 * time.Hour

// parseKeep reads a number of days: "400d". "" is for ever, and 0.
func parseKeep(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	digits, days := strings.CutSuffix(s, "d")
	n, err := strconv.Atoi(digits)
	if keep := time.Duration(n) * 24 * time.Hour; err == nil && days && n <= 36_500 && keep >= leastKeep {
		return keep, nil
	}
	return 0, fmt.Errorf("%q is not a number of days, %d to 36500; write it as 400d, or leave it out to keep everything", s, int(leastKeep.Hours())/24)
}

// How often it is looked for what is to be forgotten, and how long after the
// start for the first time: then there is better to do.
const (
	forgetFirst = time.Minute
	forgetEvery = 6 * time.Hour
)

// forgetOld forgets what is over for longer than keep, until ctx ends or the
// store fails.
func forgetOld(ctx context.Context, st store.Store, keep time.Duration, now func() time.Time, log *slog.Logger) error {
	for wait := forgetFirst; ; wait = forgetEvery {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		at := now()
		f, err := st.Forget(ctx, at.Add(-keep), at)
		if f != (store.Forgotten{}) {
			log.Info("what was over for long is forgotten", "conversations", f.Conversations, "quarantined", f.Quarantined, "journal entries", f.Entries)
		}
		switch {
		case errors.Is(err, store.ErrUncertain):
			return fmt.Errorf("forgetting what was over for long: %w", err)
		case err != nil && ctx.Err() == nil:
			log.Warn("forgetting what was over for long did not work; it is tried again", "after", forgetEvery, "err", err)
		}
	}
}
