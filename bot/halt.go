package bot

import (
	"sync"
	"time"
)

// A halt is a time in which Slack takes no message at all: the token was revoked,
// or a scope that posting needs is missing. During it one delivery a minute is
// tried, to find out when somebody has mended that. All others wait.
type halt struct {
	mu    sync.Mutex
	code  string    // Slack's; "" while messages go through
	since time.Time // by the monotonic clock, like until
	until time.Time // when the next delivery is tried
}

// probeEvery is how often a Slack that takes nothing is tried again.
const probeEvery = time.Minute

// Halted returns Slack's code for why it takes no messages, and since when, or ""
// when it takes them. The first message that goes through ends a halt.
func (b *Bot) Halted() (code string, since time.Time) {
	b.out.halt.mu.Lock()
	defer b.out.halt.mu.Unlock()
	return b.out.halt.code, b.out.halt.since
}

// probing reports whether there is a halt, and until when nothing may be sent.
// After that one delivery may be.
func (h *halt) probing() (until time.Time, halted bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.until, h.code != ""
}

// stop begins a halt, or goes on with it.
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

// goOn ends a halt, if there is one.
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
