package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"rehome/bot/slackapp"
	"rehome/store"
)

// ready answers 200 while the store can be read, Slack takes our token, and it
// can reach us; and 503 with what is amiss otherwise.
func (a *assembly) ready(w http.ResponseWriter, r *http.Request) {
	if amiss := a.amiss(r.Context()); amiss != "" {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, amiss)
		return
	}
	fmt.Fprintln(w, "ready")
}

// readyWithin bounds each thing that ready waits for.
const readyWithin = 2 * time.Second

// amiss says what keeps the bot from its work, or nothing.
func (a *assembly) amiss(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	if _, err := a.store.Get(ctx, "RH-0"); err != nil && !errors.Is(err, store.ErrNotFound) {
		a.log.Warn("not ready", "err", err)
		return "the store cannot be read"
	}
	if err := a.store.Room(); err != nil {
		return "no new alerts are taken in: " + err.Error()
	}
	if a.slack.AppToken != "" && len(a.signed) == 0 && !a.doors.Connected() {
		return "Socket Mode is not connected"
	}
	switch err := a.reached.ask(a.chat.Reach); { //nolint:contextcheck // the answer is shared by all who ask, so no one caller ends it
	case errors.Is(err, slackapp.ErrTokenRefused):
		return "Slack refuses the bot token; check SLACK_BOT_TOKEN"
	case err != nil:
		return "Slack cannot be reached"
	}
	return ""
}

// reach remembers for a while how Slack answered, so that those who ask often
// whether we are ready cost Slack little.
type reach struct {
	mu    sync.Mutex
	err   error
	until time.Time // of err; zero before the first time
}

const (
	reachedFor   = 10 * time.Second
	unreachedFor = time.Second
)

// ask asks Slack, or repeats what it has just answered. Whoever asks first may
// go away: the others hear the answer all the same.
func (r *reach) ask(slack func(context.Context) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().Before(r.until) {
		return r.err
	}
	ctx, cancel := context.WithTimeout(context.Background(), readyWithin)
	defer cancel()
	r.err = slack(ctx)
	lasts := reachedFor
	if r.err != nil {
		lasts = unreachedFor
	}
	r.until = time.Now().Add(lasts)
	return r.err
}

// identify asks Slack at the start who we are. A token that is refused ends the
// bot; a Slack that is away may come back, and /readyz says so meanwhile.
func (a *assembly) identify(ctx context.Context) error {
	self, err := a.chat.Identify(ctx)
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, slackapp.ErrTokenRefused):
		return err
	case err != nil:
		a.log.Warn("Slack does not answer; it is tried again with everything there is to say", "err", err)
	default:
		a.log.Info("Slack knows us", "workspace", self.Team, "team", self.TeamID, "bot", self.UserID)
	}
	return nil //nolint:nilerr // a Slack that is away, or our own end, is no reason not to start
}
