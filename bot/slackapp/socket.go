package slackapp

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// This file is the door for Socket Mode. Slack sends each delivery over any one of
// the connections that an app has open, and ends every connection after a few
// hours. So two are kept open, opened some time apart: while one is being replaced
// the other is there. A connection that Slack is about to end is read until it
// ends, while the one that replaces it is opened already. A delivery is
// acknowledged over the connection that it came over, after it was written down.
//
//	line 1 ─ connection ─┐                       ┌─ work: decode → take → acknowledge
//	                     ├─ read ─ queue (512) ─ ┼─ …
//	line 2 ─ connection ─┘                       └─ 32 of them, most waiting for one shared sync
//
// slack-go's own socketmode client is not used. It ends a connection at Slack's
// warning and loses what still comes over it, does not say why Slack ended one,
// reconnects without a pause, treats an acknowledgement as sent when it is queued,
// and never acknowledges what it cannot decode. Only the call that asks for a
// connection's address (apps.connections.open) is slack-go's. line.go opens the
// connections and knows their state.

// Limits of Socket Mode: how much is worked on and waits, and how long things may take.
const (
	socketWorkers = 32               // deliveries worked on at once
	socketQueue   = 512              // deliveries read and not yet worked on
	maxAck        = 18 << 10         // Slack drops acknowledgements of 20 KiB in silence
	drainWithin   = 5 * time.Second  // to take in what was read when the end comes
	ackWithin     = 5 * time.Second  // to write one acknowledgement
	silence       = 30 * time.Second // without a ping a connection is dead; Slack pings more often
	farewell      = 30 * time.Second // from Slack's warning to the end; it says ten seconds
)

// RunSocket is the door for Socket Mode. It connects and stays connected until ctx
// ends. It then takes in and acknowledges what was read, and returns nil. It
// returns an error only when Slack has never let us in and will not with this
// token; the error says what to do. Later troubles, such as a revoked token, are
// tried again and show in SocketState.
//
// Slack delivers an event again that was not acknowledged. It does not deliver
// again what a person did, but shows them that it did not work.
func (d *Doors) RunSocket(ctx context.Context) error {
	if d.Chat.appToken == "" {
		return errors.New("no app-level token for Socket Mode: set SLACK_APP_TOKEN to one with connections:write (xapp-…), from Basic Information in the app's settings")
	}
	s := d.newSockets()
	lasting, cancel := outlast(ctx, drainWithin)
	defer cancel()
	var workers sync.WaitGroup
	for range socketWorkers {
		workers.Go(func() { s.work(lasting) })
	}
	g, open := errgroup.WithContext(ctx)
	for n := range s.count {
		g.Go(func() error { return s.line(open, n) })
	}
	err := g.Wait()
	s.reading.Wait() // until all that was read is acknowledged
	close(s.queue)
	workers.Wait()
	return err
}

// outlast returns a context that ends some time after ctx is cancelled, and no
// later than ctx's own deadline.
func outlast(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	if deadline, ok := ctx.Deadline(); ok {
		lasting, cancel = context.WithDeadline(context.WithoutCancel(ctx), deadline)
	}
	stop := context.AfterFunc(ctx, func() {
		if sleep(lasting, by) == nil {
			cancel()
		}
	})
	return lasting, func() { stop(); cancel() }
}

// A frame is what comes over a connection.
type frame struct {
	ID      string          `json:"envelope_id"`
	Type    string          `json:"type"`
	Reason  string          `json:"reason"` // of a disconnect
	Payload json.RawMessage `json:"payload"`
}

// What frames there are. Only deliveries are acknowledged.
const (
	frameHello       = "hello"
	frameDisconnect  = "disconnect"
	frameEvent       = "events_api"
	frameCommand     = "slash_commands"
	frameInteraction = "interactive"
)

// receive takes note of what Slack says about a connection, and puts deliveries
// into the queue. When the queue is full it drops them, since a reader that waits
// would answer no pings.
func (s *sockets) receive(c *connection, raw []byte) {
	var f frame
	err := json.Unmarshal(raw, &f)
	switch {
	case err != nil || f.ID == "" && f.Type != frameHello && f.Type != frameDisconnect:
		s.doors.Log.Warn("something that is no delivery came over the socket", "bytes", len(raw))
		f = frame{Payload: raw} // it is kept aside; without an id it cannot be acknowledged
	case f.Type == frameHello:
		s.said(c)
		return
	case f.Type == frameDisconnect:
		c.retire(f.Reason)
		return
	}
	c.pending.Add(1)
	select {
	case s.queue <- delivery{c, f}:
	default:
		c.pending.Done()
		s.doors.Log.Error("too many deliveries at once; Slack will deliver its events again", "waiting", socketQueue)
	}
}

// A delivery is a frame that asks for an acknowledgement over its connection.
type delivery struct {
	over *connection
	frame
}

// work takes deliveries from the queue and works on them, until it is closed and
// empty.
func (s *sockets) work(ctx context.Context) {
	for d := range s.queue {
		after := s.deliver(ctx, d)
		d.over.pending.Done()
		if after != nil {
			after()
		}
	}
}

// deliver takes a delivery in and acknowledges it. It returns what is left to do,
// for which the connection is not needed any more; nil for nothing.
func (s *sockets) deliver(ctx context.Context, d delivery) (after func()) {
	if ctx.Err() != nil {
		return nil // too late: Slack delivers it again
	}
	p, err := d.decode()
	if err != nil {
		if s.doors.keepAside(ctx, "socket", d.Type, d.Payload) == nil && d.ID != "" {
			s.acknowledge(ctx, d, answer{}, nil)
		}
		return nil
	}
	a := s.doors.take(ctx, p)
	if a.err != nil {
		return nil // not acknowledged: Slack delivers it again
	}
	s.acknowledge(ctx, d, a, p)
	return func() { s.doors.finish(ctx, a) }
}

func (f frame) decode() (payload, error) {
	switch f.Type {
	case frameEvent:
		return decodeEvent(f.Payload)
	case frameCommand:
		return decodeCommandJSON(f.Payload)
	case frameInteraction:
		return decodeInteraction(f.Payload)
	}
	return nil, errNotSlack
}

type acknowledgement struct {
	ID      string `json:"envelope_id"`
	Payload any    `json:"payload,omitempty"`
}

// acknowledge sends an acknowledgement over the connection that the delivery came
// over. When that has broken, Slack delivers an event again, which has no second
// effect, and the answer to a command is sent to its response_url instead.
func (s *sockets) acknowledge(ctx context.Context, d delivery, a answer, p payload) {
	err := d.over.write(acknowledgement{d.ID, small(a.ack)})
	if err == nil {
		return
	}
	s.doors.Log.Warn("what was taken in could not be acknowledged; its connection is gone", "type", d.Type)
	if typed, ok := p.(command); ok && a.ack != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackWithin)
		defer cancel()
		s.doors.Bot.Answer(ctx, s.doors.Chat.responding(typed.ResponseURL, a.ack))
	}
}

// small shortens an acknowledgement that Slack would drop for its size: first by
// its blocks, which leaves the text, and if need be by the end of the text.
func small(payload any) any {
	a, ok := payload.(ack)
	if !ok {
		return payload
	}
	if b, err := json.Marshal(a); err == nil && len(b) <= maxAck {
		return a
	}
	a.Blocks = nil
	for b, err := json.Marshal(a); err == nil && len(b) > maxAck; b, err = json.Marshal(a) {
		a.Text = strings.TrimSuffix(cut(a.Text, len([]rune(a.Text))/2), string(voiceCut))
	}
	return a
}
