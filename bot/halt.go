package bot

import (
	"sync"
	"time"
)

// A halt is when Slack takes nothing from us at all: the token was revoked, or a
// scope without which nothing can be posted is missing. Nothing is sent then but
// one delivery a minute, by which it is found out when that has been put right.
// What is taken in meanwhile waits.
type halt struct {
	mu    sync.Mutex
	code  string // Slack's; "" when all is well
	since time.Time
	until time.Time
}

// probeEvery is how often a Slack that takes nothing is tried again.
const probeEvery = time.Minute

// Halted returns Slack's code for why nothing is sent at the moment, and since
// when; "" when nothing keeps us from it. It clears with the first message that
// goes through.
func (b *Bot) Halted() (code string, since time.Time) {
	b.out.halt.mu.Lock()
	defer b.out.halt.mu.Unlock()
	return b.out.halt.code, b.out.halt.since
}

// probing reports whether nothing may be sent before a time, or one delivery to
// see how things stand.
func (h *halt) probing() (until time.Time, halted bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.until, h.code != ""
}

func (b *Bot) stop(code string, now time.Time) {
	h := &b.out.halt
	h.mu.Lock()
	first := h.code != code
	if h.code == "" {
		h.since = now
	}
	h.code, h.until = code, now.Add(probeEvery)
	h.mu.Unlock()
	if first {
		b.Log.Error("Slack takes no messages from us, so none are sent until it does; see the app's OAuth & Permissions, and reinstall it after changing scopes", "code", code, "tried", "every "+probeEvery.String())
	}
}

func (b *Bot) goOn() {
	h := &b.out.halt
	h.mu.Lock()
	was, since := h.code, h.since
	h.code, h.since, h.until = "", time.Time{}, time.Time{}
	h.mu.Unlock()
	if was != "" {
		b.Log.Info("Slack takes messages again", "was", was, "for", time.Since(since).Round(time.Second))
		b.Wake()
	}
}
