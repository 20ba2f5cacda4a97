package sandbox

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// The browser's event stream: everything that changes what somebody sees, numbered, so that a page
// can load the state once and follow from there, through any number of reconnects.

const (
	streamKept = 2048             // events kept for pages that reconnect
	streamIdle = 20 * time.Second // a comment this often keeps proxies from giving up
)

type streamEvent struct {
	seq     int
	kind    string
	user    string // the only one who sees it; "" for
	channel string // everybody who sees this channel; "" for everybody
	data    json.RawMessage
}

// publish appends an event. Callers hold w.mu.
func (w *Workspace) publish(e streamEvent) {
	w.seq++
	e.seq = w.seq
	w.stream = append(w.stream, e)
	if len(w.stream) > 2*streamKept {
		w.stream = slices.Clone(w.stream[streamKept:])
	}
	w.touch()
}

func (w *Workspace) publishChannel(c *channel, user string) {
	w.publish(streamEvent{kind: "channel", user: user, data: mustJSON(w.channelFor(c, user))})
}

// publishUnread tells everybody in a channel how much they have not read.
func (w *Workspace) publishUnread(c *channel) {
	for _, u := range w.cfg.Users {
		if c.members[u.ID] {
			w.publishChannel(c, u.ID)
		}
	}
}

func (w *Workspace) publishPresence() {
	w.publish(streamEvent{kind: "app", data: mustJSON(map[string]any{"app": w.app.ID, "connected": w.connected(), "via": w.via()})})
}

// connected reports whether the app can be reached; over HTTP nobody knows before trying.
func (w *Workspace) connected() bool { return !w.app.SocketMode || len(w.sockets) > 0 }

func (w *Workspace) via() string {
	if w.app.SocketMode {
		return "socket"
	}
	return "http"
}

func (w *Workspace) serveStream(rw http.ResponseWriter, r *http.Request) {
	user := r.URL.Query().Get("user")
	since := r.Header.Get("Last-Event-ID")
	if since == "" {
		since = r.URL.Query().Get("since")
	}
	w.mu.Lock()
	at := w.seq
	if n, err := strconv.Atoi(since); err == nil && n >= 0 && n <= w.seq {
		at = n
	}
	_, known := w.people[user]
	w.mu.Unlock()
	if !known {
		writeClient(rw, nil, noSuch("no user %s", user))
		return
	}
	h := rw.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	out := http.NewResponseController(rw)
	_ = out.SetWriteDeadline(time.Time{}) // a server's write timeout would end every stream; not all writers have one
	_, _ = io.WriteString(rw, "retry: 1000\n\n")
	if out.Flush() != nil {
		return
	}
	for {
		events, next, changed := w.streamSince(user, at)
		at = next
		for _, e := range events {
			if _, err := fmt.Fprintf(rw, "id: %d\nevent: %s\ndata: %s\n\n", e.seq, e.kind, e.data); err != nil {
				return
			}
		}
		if len(events) > 0 && out.Flush() != nil {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-w.ctx.Done():
			return
		case <-w.cfg.After(streamIdle):
			if _, err := io.WriteString(rw, ": still here\n\n"); err != nil || out.Flush() != nil {
				return
			}
		}
	}
}

// streamSince lists what a person has not been sent yet, and what wakes the next look. If events
// they needed are gone, they get one `reset`: load the state again.
func (w *Workspace) streamSince(user string, at int) ([]streamEvent, int, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at == w.seq {
		return nil, at, w.changed
	}
	if len(w.stream) > 0 && at+1 < w.stream[0].seq {
		return []streamEvent{{seq: w.seq, kind: "reset", data: json.RawMessage("{}")}}, w.seq, w.changed
	}
	start, _ := slices.BinarySearchFunc(w.stream, at+1, func(e streamEvent, seq int) int { return e.seq - seq })
	var out []streamEvent
	for _, e := range w.stream[start:] {
		c, inChannel := w.channels[e.channel]
		if e.user == "" && (!inChannel || w.canSee(user, c)) || e.user == user {
			out = append(out, e)
		}
	}
	return out, w.seq, w.changed
}
