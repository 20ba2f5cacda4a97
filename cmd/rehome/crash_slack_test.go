//go:build unix

package main

import (
	"context"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rehome/bot/sandbox"
	"rehome/bot/slackapp"
)

// A hostile is a workspace that misbehaves while it is wild, with people in it
// who answer whatever they are asked.
type hostile struct {
	w      *sandbox.Workspace
	api    string
	socket bool // reached by Socket Mode, else by signed HTTP
	wild   atomic.Bool
	long   bool // the run has time for waits of half a minute

	posted, doubled atomic.Int64
	stall           atomic.Int64 // the longest that this process stood still, in ns

	mu     sync.Mutex
	r      *rand.Rand
	faults map[sandbox.FaultKind]int
	people context.CancelFunc
	all    sync.WaitGroup
}

func newHostile(t *testing.T, seed uint64, long bool) *hostile {
	t.Helper()
	h := &hostile{socket: seed%2 == 0, long: long, r: rand.New(rand.NewPCG(seed, 2)), faults: map[sandbox.FaultKind]int{}}
	var err error
	h.w, err = sandbox.New(sandbox.Config{
		Strict:   true,
		Users:    []sandbox.User{{ID: rivera, Name: "rivera", RealName: "Robin Rivera", Email: "rivera@contoso.example"}},
		Channels: crashChannels(),
		App: sandbox.App{
			Name: "rehome", BotToken: botToken, AppToken: appToken, SigningSecret: signing, SocketMode: h.socket,
			Commands: []sandbox.Command{{Name: slackapp.CommandName}}, Events: slackapp.Events, Scopes: slices.Sorted(maps.Keys(slackapp.Scopes)),
		},
		Fault: h.fault,
		// Slack delivers an event that nobody took at once, after a minute and after
		// five. A minute is a second here.
		After: func(d time.Duration) <-chan time.Time {
			if d >= time.Minute {
				d /= 60
			}
			return time.After(d)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h.w)
	h.api = server.URL + "/api/"
	h.w.SetBaseURL(server.URL)
	ctx, stop := context.WithCancel(context.Background())
	h.people = stop
	for i, c := range crashChannels() {
		h.all.Go(func() { h.answer(ctx, c.ID, rand.New(rand.NewPCG(seed, 200+uint64(i)))) })
	}
	h.all.Go(func() { h.beat(ctx) })
	t.Cleanup(func() {
		h.rest()
		h.w.Close()
		server.CloseClientConnections()
		server.Close()
	})
	return h
}

// rest sends the people home.
func (h *hostile) rest() {
	h.people()
	h.all.Wait()
}

// reachAt says where the program listens.
func (h *hostile) reachAt(url string) {
	h.w.SetRequestURLs(url+"/slack/events", url+"/slack/commands", url+"/slack/interactions")
}

// A chance is how many calls of a hundred meet a fault, and how long that takes
// at least and at most.
type chance struct {
	of       int
	kind     sandbox.FaultKind
	from, to time.Duration
}

var chances = []chance{
	{5, sandbox.RateLimited, time.Second, 2 * time.Second},
	{3, sandbox.FailBefore, 0, 0},
	{4, sandbox.FailAfter, 0, 0},
	{2, sandbox.DropBefore, 0, 0},
	{4, sandbox.DropAfter, 0, 0},
	{2, sandbox.Hang, 0, 0},
	{4, sandbox.Slow, crashTimeout / 4, crashTimeout + crashLate},
	{2, sandbox.Truncate, 0, 0},
	{5, sandbox.LateVisible, crashLate / 4, crashLate},
}

// fault is what goes wrong with one call.
func (h *hostile) fault(method string, _ int) sandbox.Fault {
	if !h.wild.Load() || method == "socket.connect" || method == "apps.connections.open" {
		return sandbox.Fault{}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.r.IntN(100)
	for _, c := range chances {
		if n -= c.of; n >= 0 {
			continue
		}
		f := sandbox.Fault{Kind: c.kind}
		if c.to > 0 {
			f.Delay = c.from + time.Duration(h.r.Int64N(int64(c.to-c.from)))
		}
		if c.kind == sandbox.RateLimited && h.long && h.r.IntN(10) == 0 {
			f.Delay = -1 // without Retry-After; it is taken for half a minute
		}
		h.faults[c.kind]++
		return f
	}
	return sandbox.Fault{}
}

// hit is how many calls met a fault.
func (h *hostile) hit() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, hits := range h.faults {
		n += hits
	}
	return n
}

// A mark is what a card's message bears.
type mark struct{ Conversation, Key, Digest string }

func markOf(m sandbox.Message) (mark, bool) {
	var out mark
	if m.Metadata == nil || m.Metadata.EventType != slackapp.MetadataEvent {
		return out, false
	}
	return out, json.Unmarshal(m.Metadata.EventPayload, &out) == nil
}

// answer is somebody who reads a channel and answers its questions: with the
// first of the choices, pressed or typed, sometimes late, sometimes twice.
func (h *hostile) answer(ctx context.Context, channel string, r *rand.Rand) {
	open := map[string]time.Time{} // questions, by ts, and when to look at them again
	seen := map[mark]bool{}
	for read := 0; ctx.Err() == nil; wait(ctx, 20*time.Millisecond) {
		fresh := h.w.Posted(channel, read)
		read += len(fresh)
		for _, m := range fresh {
			k, ours := markOf(m)
			if !ours {
				continue
			}
			k.Digest = ""
			if seen[k] {
				h.doubled.Add(1)
			}
			seen[k] = true
			h.posted.Add(1)
			if strings.HasPrefix(k.Key, "q") {
				open[m.TS] = time.Now()
			}
		}
		for ts, next := range open {
			if time.Now().Before(next) || r.IntN(3) > 0 {
				continue
			}
			m, _ := h.w.Message(channel, ts)
			asked, took := h.reply(m, r)
			switch {
			case !asked:
				delete(open, ts)
			case took:
				open[ts] = time.Now().Add(3 * time.Second) // for the answer to be seen
			}
		}
	}
}

// reply answers a question, and reports whether there was one and whether the
// answer was taken.
func (h *hostile) reply(m sandbox.Message, r *rand.Rand) (asked, took bool) {
	choose, label := func() error { return nil }, ""
	for _, b := range m.Buttons() {
		if strings.HasPrefix(b.BlockID, "ask:") {
			choose, label = func() error { return h.w.ClickOn(rivera, m, b.ActionID) }, b.Label
			break
		}
	}
	for _, s := range m.Selects() {
		if strings.HasPrefix(s.BlockID, "ask:") {
			choose, label = func() error { return h.w.SelectOn(rivera, m, s.BlockID, s.Options[0].Value) }, s.Options[0].Label
		}
	}
	switch {
	case label == "":
		return false, false
	case r.IntN(6) == 0:
		_, err := h.w.Say(rivera, m.Channel, m.ThreadTS, label) // said again when nothing comes of it
		return true, err == nil
	}
	err := choose()
	if r.IntN(8) == 0 {
		_ = choose() // some press twice
	}
	return true, err == nil
}

// beat notes the longest time that this process did not get to run.
func (h *hostile) beat(ctx context.Context) {
	const every = 20 * time.Millisecond
	for last := time.Now(); ctx.Err() == nil; {
		wait(ctx, every)
		now := time.Now()
		if late := int64(now.Sub(last) - every); late > h.stall.Load() {
			h.stall.Store(late)
		}
		last = now
	}
}

func (h *hostile) stalled() time.Duration {
	return time.Duration(h.stall.Load()).Round(time.Millisecond)
}
