//go:build unix

package main

import (
	"context"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rehome/bot/sandbox"
	"rehome/bot/sandbox/graph"
	"rehome/bot/slackapp"
)

// A hostile is a workspace that misbehaves while it is wild, with people in it
// who answer whatever they are asked, wherever they are asked it.
type hostile struct {
	w         *sandbox.Workspace
	api       string
	directory *graph.Server // it misbehaves, too
	graphAt   string
	socket    bool // reached by Socket Mode, else by signed HTTP
	wild      atomic.Bool
	long      bool // the run has time for waits of half a minute, and for looking owners up again after one

	posted, doubled atomic.Int64
	doubledDirect   atomic.Int64 // of them, in direct messages
	wishes          atomic.Int64 // what people are still at
	stall           atomic.Int64 // the longest that this process stood still, in ns

	mu     sync.Mutex
	r      *rand.Rand
	faults map[string]int
	joined map[about]bool // who asked to have a conversation in a direct message
	there  map[about]bool // who has it there
	acts   map[about]owed // what people did in their direct messages
	people context.CancelFunc
	all    sync.WaitGroup
}

// about names a conversation and somebody in it.
type about struct{ user, conversation string }

// owed is how many answers what somebody did must have had, and may have had.
type owed struct{ least, most int }

func newHostile(t *testing.T, seed uint64, long bool) *hostile {
	t.Helper()
	h := &hostile{socket: seed%2 == 0, long: long, r: rand.New(rand.NewPCG(seed, 2)), faults: map[string]int{},
		joined: map[about]bool{}, there: map[about]bool{}, acts: map[about]owed{}}
	var err error
	h.w, err = sandbox.New(sandbox.Config{
		Strict:   true,
		Users:    append(crashOwners(), sandbox.User{ID: rivera, Name: "rivera", RealName: "Robin Rivera", Email: "rivera@contoso.example"}),
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
	if h.directory, err = graph.New(crashGraph()); err != nil {
		t.Fatal(err)
	}
	h.directory.Break(h.graphFault)
	directory := httptest.NewServer(h.directory)
	h.graphAt = directory.URL
	ctx, stop := context.WithCancel(context.Background())
	h.people = stop
	seat := uint64(200)
	sit := func(user, channel string) {
		p := &person{h: h, id: user, channel: channel, r: rand.New(rand.NewPCG(seed, seat)), wishes: map[string]*wish{}, seen: map[mark]bool{}}
		seat++
		h.all.Go(func() { p.sit(ctx) })
	}
	for _, c := range crashChannels() {
		sit(rivera, c.ID)
	}
	for _, u := range append(crashOwners(), sandbox.User{ID: rivera}) {
		sit(u.ID, h.w.DM(u.ID))
	}
	h.all.Go(func() { h.beat(ctx) })
	t.Cleanup(func() {
		h.rest()
		h.w.Close()
		for _, s := range []*httptest.Server{server, directory} {
			s.CloseClientConnections()
			s.Close()
		}
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
	if strings.HasPrefix(method, "users.") && !h.long {
		n *= 4 // an owner who cannot be looked up four times is looked up again a minute later
	}
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
		h.faults[c.kind.String()]++
		return f
	}
	return sandbox.Fault{}
}

// graphFault is what goes wrong with one request to the directory.
func (h *hostile) graphFault(graph.Request) graph.Fault {
	if !h.wild.Load() {
		return graph.Fault{}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	f := graph.Fault{}
	switch n := h.r.IntN(200); {
	case n < 6:
		f = graph.Fault{Status: http.StatusTooManyRequests, RetryAfter: "1"}
	case n < 14:
		f = graph.Fault{Status: http.StatusServiceUnavailable}
	case n < 22:
		f = graph.Fault{Drop: true}
	case n < 24 && h.long:
		f = graph.Fault{Hang: true}
	default:
		return f
	}
	h.faults["the directory"]++
	return f
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
