package sandbox

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Socket Mode: https://docs.slack.dev/apis/events-api/using-socket-mode. Deliveries travel in
// envelopes over websockets the app opened; each goes to any one of them, and is acknowledged by id.

const (
	maxSockets   = 10
	pingEvery    = 15 * time.Second
	warnBefore   = 10 * time.Second  // between `warning` and the end of a connection
	debugRefresh = 360 * time.Second // a connection's life with ?debug_reconnects=true
	maxAck       = 20 << 10          // bytes; Slack drops larger answers without a word
	socketWrite  = 5 * time.Second   // how long a client may take to accept a frame
	maxFrame     = 1 << 20           // bytes of one frame from the app
	closeGrace   = 2 * time.Second   // how long a client may take to close its side
)

// socket is one connection of the app.
type socket struct {
	w      *Workspace
	conn   *websocket.Conn
	ctx    context.Context
	cancel context.CancelFunc

	mu   sync.Mutex
	out  [][]byte // frames in the order they were decided; a nil frame ends the connection
	wake chan struct{}
}

// envelope is a delivery on its way over a socket.
type envelope struct {
	id     string
	socket *socket
	acked  chan ack // holds one
}

type ack struct {
	payload json.RawMessage
	failure string // why there is none
}

func (w *Workspace) connectionsOpen(r *request) (reply, *apiError) {
	if !w.app.SocketMode {
		return nil, refuse("socket_mode_disabled")
	}
	t := token(16)
	w.tickets[t] = true
	return reply{"url": "ws" + strings.TrimPrefix(r.host, "http") + "/socket/" + t + "?ticket=" + token(8) + "&app_id=" + w.app.ID}, nil
}

// upgrader takes any Origin: slack-go sends Slack's, Bolt none.
var upgrader = websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }, HandshakeTimeout: socketWrite}

func (w *Workspace) serveSocket(rw http.ResponseWriter, r *http.Request) {
	fault := w.faultFor("socket.connect")
	if fault.Kind != Flap && fault.Kind != NoPing && !w.before(rw, r, fault) {
		return
	}
	w.mu.Lock()
	ticket := r.PathValue("ticket")
	valid := w.tickets[ticket]
	delete(w.tickets, ticket) // a URL opens one connection
	w.mu.Unlock()
	if !valid {
		http.Error(rw, "this socket URL was used or never given out; call apps.connections.open for another", http.StatusForbidden)
		return
	}
	conn, err := upgrader.Upgrade(rw, r, nil)
	if err != nil {
		return // Upgrade has answered
	}
	conn.SetReadLimit(maxFrame)
	ctx, cancel := context.WithCancel(w.ctx)
	s := &socket{w: w, conn: conn, ctx: ctx, cancel: cancel, wake: make(chan struct{}, 1)}
	life := w.cfg.RefreshEvery
	if r.URL.Query().Get("debug_reconnects") == "true" {
		life = debugRefresh
	}
	if !w.admit(s, fault.Kind, life) {
		s.end()
		return
	}
	s.read()
	w.part(s)
}

// admit says hello and makes the socket one of those deliveries go to.
func (w *Workspace) admit(s *socket, fault FaultKind, life time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	if len(w.sockets) >= maxSockets {
		s.disconnect("too_many_websockets")
		s.push(nil)
		w.spawn(func() { s.write(false) })
		return true
	}
	s.pushJSON(map[string]any{"type": "hello", "num_connections": len(w.sockets) + 1,
		"connection_info": map[string]any{"app_id": w.app.ID},
		"debug_info": map[string]any{"host": "sandbox", "started": w.cfg.Now().UTC().Format("2006-01-02 15:04:05.000"),
			"build_number": 1, "approximate_connection_time": int(max(life, time.Hour).Seconds())}})
	if fault == Flap {
		s.disconnect("link_disabled")
		s.push(nil)
	} else {
		w.sockets = append(w.sockets, s)
		w.publishPresence()
		if life > 0 {
			w.spawn(func() { s.retire(life) })
		}
	}
	w.spawn(func() { s.write(fault != NoPing) })
	w.touch()
	return true
}

// part forgets a socket; what it had not acknowledged has failed.
func (w *Workspace) part(s *socket) {
	s.end()
	w.mu.Lock()
	defer w.mu.Unlock()
	before := len(w.sockets)
	w.sockets = slices.DeleteFunc(slices.Clone(w.sockets), func(o *socket) bool { return o == s })
	for id, e := range w.pending {
		if e.socket == s {
			delete(w.pending, id)
			e.acked <- ack{failure: "connection_failed"}
		}
	}
	if before != len(w.sockets) {
		w.publishPresence()
	}
	w.touch()
}

// end breaks the connection off; reader and writer then return.
func (s *socket) end() {
	s.cancel()
	_ = s.conn.Close() // it is gone either way
}

// retire ends the connection as Slack does every few hours.
func (s *socket) retire(life time.Duration) {
	if !s.w.pause(s.ctx, max(0, life-warnBefore)) {
		return
	}
	s.disconnect("warning")
	if !s.w.pause(s.ctx, warnBefore) {
		return
	}
	s.disconnect("refresh_requested")
	s.push(nil)
}

func (s *socket) disconnect(reason string) {
	s.pushJSON(map[string]any{"type": "disconnect", "reason": reason, "debug_info": map[string]any{"host": "sandbox"}})
}

func (s *socket) pushJSON(v any) { s.push(mustJSON(v)) }

// push queues a frame; it never blocks, so it may be called under the workspace's lock.
func (s *socket) push(frame []byte) {
	s.mu.Lock()
	s.out = append(s.out, frame)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// write is the only goroutine that writes frames. It pings right after hello and then every 15
// seconds: clients give a connection up that has been silent for 30.
func (s *socket) write(ping bool) {
	tick := s.w.cfg.After(0)
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick:
			tick = s.w.cfg.After(pingEvery)
			if !s.flush() {
				return
			}
			if ping && s.conn.WriteControl(websocket.PingMessage, []byte("ping"), time.Now().Add(socketWrite)) != nil {
				s.end()
				return
			}
		case <-s.wake:
			if !s.flush() {
				return
			}
		}
	}
}

func (s *socket) flush() bool {
	s.mu.Lock()
	frames := s.out
	s.out = nil
	s.mu.Unlock()
	for _, f := range frames {
		deadline := time.Now().Add(socketWrite)
		if f == nil {
			// The reader ends the connection when the client has closed its side, or soon: breaking off
			// here could take what was just written with it.
			_ = s.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), deadline)
			_ = s.conn.SetReadDeadline(time.Now().Add(closeGrace))
			return false
		}
		_ = s.conn.SetWriteDeadline(deadline)
		if s.conn.WriteMessage(websocket.TextMessage, f) != nil {
			s.end()
			return false
		}
	}
	return true
}

// read takes acknowledgements until the connection ends. What is not one is ignored, as Slack does.
func (s *socket) read() {
	for {
		_, frame, err := s.conn.ReadMessage()
		if err != nil {
			return
		}
		var a struct {
			EnvelopeID string          `json:"envelope_id"`
			Payload    json.RawMessage `json:"payload"`
		}
		if len(frame) >= maxAck || json.Unmarshal(frame, &a) != nil {
			continue
		}
		s.w.acknowledge(s, a.EnvelopeID, a.Payload)
	}
}

func (w *Workspace) acknowledge(s *socket, id string, payload json.RawMessage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, ok := w.pending[id]
	if !ok || e.socket != s { // late, unknown, or on another connection, which Slack does not document
		return
	}
	delete(w.pending, id)
	e.acked <- ack{payload: payload}
}

// send puts an envelope on the next socket in turn. Callers hold w.mu. Without a socket the
// envelope comes back failed.
func (w *Workspace) send(d *delivery, attempt int, reason string) *envelope {
	e := &envelope{id: uuid(), acked: make(chan ack, 1)}
	if len(w.sockets) == 0 {
		e.acked <- ack{failure: "connection_failed"}
		return e
	}
	w.turn++
	e.socket = w.sockets[w.turn%len(w.sockets)]
	frame := map[string]any{"envelope_id": e.id, "type": d.kind, "payload": d.payload, "accepts_response_payload": d.kind != kindEvent}
	if d.kind == kindEvent {
		frame["retry_attempt"], frame["retry_reason"] = attempt, reason
	}
	w.pending[e.id] = e
	e.socket.pushJSON(frame)
	return e
}

// await waits for an envelope's acknowledgement, three seconds at most.
func (w *Workspace) await(e *envelope) ack {
	select {
	case a := <-e.acked:
		return a
	case <-w.ctx.Done():
		return ack{failure: "connection_failed"}
	case <-w.cfg.After(ackDeadline):
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.pending, e.id)
	select {
	case a := <-e.acked: // it came while we were taking the lock
		return a
	default:
		return ack{failure: "timeout"}
	}
}

// Sockets is how many Socket Mode connections the app has open.
func (w *Workspace) Sockets() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.sockets)
}

// Refresh ends all open sockets as Slack does every few hours: `warning` now, `refresh_requested`
// and the close ten seconds later.
func (w *Workspace) Refresh() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.sockets {
		w.spawn(func() { s.retire(0) })
	}
}

// Disconnect ends all open sockets at once with a reason: "refresh_requested", "link_disabled",
// "too_many_websockets"; without a reason they break off silently.
func (w *Workspace) Disconnect(reason string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.sockets {
		if reason == "" {
			s.end()
			continue
		}
		s.disconnect(reason)
		s.push(nil)
	}
}
