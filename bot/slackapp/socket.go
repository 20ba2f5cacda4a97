package slackapp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"
	"golang.org/x/time/rate"
)

// What Socket Mode may take and hold.
const (
	socketWorkers = 32              // deliveries worked on at once; most of it is waiting for one shared sync
	socketQueue   = 512             // deliveries read and not yet worked on
	ackWithin     = time.Second     // to hand an acknowledgement to the writer; without a connection there is none
	openEvery     = 5 * time.Second // apps.connections.open is Tier 3 (50 a minute) and shared with whoever else uses the app
	openBurst     = 3
	maxAck        = 18 << 10 // Slack drops acknowledgements of 20 KiB in silence
)

// Connected reports whether a socket is open.
func (d *Doors) Connected() bool { return d.up.Load() > 0 }

// RunSocket is the door for Socket Mode. It connects, stays connected, and
// returns nil when ctx ends, after the deliveries under way are done; an error
// means that Slack will never let us in like this, and says what to do.
//
// Slack delivers what was not acknowledged again, if it is an event; what a
// person did and we missed is lost to us, and they see that it did not work.
// Two of these may run at once, on one store: a delivery's key makes it one.
func (d *Doors) RunSocket(ctx context.Context) error {
	if d.Chat.appToken == "" {
		return errors.New("no app-level token for Socket Mode: set SLACK_APP_TOKEN to one with connections:write (xapp-…), from Basic Information in the app's settings")
	}
	s := d.newSocket()
	run, stop := context.WithCancel(ctx)
	defer stop()
	var all sync.WaitGroup
	for range socketWorkers {
		all.Go(func() { s.work(ctx) })
	}
	all.Go(func() { s.drain(run) })
	err := s.client.RunContext(run)
	stop()
	all.Wait()
	s.connected(false)
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("socket mode ended (%w): check SLACK_APP_TOKEN, its scope connections:write, and that Socket Mode is on in the app's settings", withoutURL(err))
}

// A socket is one connection's reading and acknowledging.
type socket struct {
	doors  *Doors
	client *socketmode.Client
	queue  chan socketmode.Event
	up     bool // said hello; read and written by drain alone
}

// connected notes that the connection came or went.
func (s *socket) connected(up bool) {
	if up != s.up {
		s.doors.up.Add(map[bool]int32{true: 1, false: -1}[up])
	}
	s.up = up
}

func (d *Doors) newSocket() *socket {
	base := d.Chat.base.String()
	api := slack.New("", slack.OptionAPIURL(base), slack.OptionAppLevelToken(d.Chat.appToken),
		slack.OptionHTTPClient(&http.Client{
			Timeout: 30 * time.Second, CheckRedirect: refuseRedirect,
			Transport: &calm{next: d.Chat.http.Transport, gate: d.gate},
		}))
	dialer := &websocket.Dialer{HandshakeTimeout: 10 * time.Second, Proxy: http.ProxyFromEnvironment, NetDialContext: d.Chat.dial}
	return &socket{
		doors: d, queue: make(chan socketmode.Event, socketQueue),
		client: socketmode.New(api, socketmode.OptionDialer(dialer), socketmode.OptionReadLimit(maxBody), socketmode.OptionLog(log.New(io.Discard, "", 0))),
	}
}

// calm keeps slack-go from asking for connections as fast as it can: it starts
// over without a pause after every connection that was made and ended at once,
// thousands of times a second when Socket Mode was just switched off.
type calm struct {
	next http.RoundTripper
	gate *rate.Limiter
}

func (c *calm) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := c.gate.Wait(r.Context()); err != nil {
		return nil, err
	}
	return c.next.RoundTrip(r)
}

// drain takes events from slack-go as fast as they come: its reader waits for
// us, and while it waits it answers no pings and the connection is given up.
func (s *socket) drain(ctx context.Context) {
	defer close(s.queue)
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-s.client.Events:
			s.sort(e)
		}
	}
}

// sort puts deliveries in the queue and logs the rest. Only deliveries are
// acknowledged: hello and disconnect bear a request without an envelope id.
func (s *socket) sort(e socketmode.Event) {
	log := s.doors.Log
	switch e.Type {
	case socketmode.EventTypeEventsAPI, socketmode.EventTypeSlashCommand, socketmode.EventTypeInteractive, socketmode.EventTypeErrorBadMessage:
		select {
		case s.queue <- e:
		default:
			log.Error("too many deliveries at once; Slack will deliver its events again", "waiting", socketQueue)
		}
	case socketmode.EventTypeConnecting:
		s.connected(false)
	case socketmode.EventTypeHello:
		s.connected(true)
		log.Info("connected to Slack by Socket Mode")
	case socketmode.EventTypeConnectionError:
		if c, ok := e.Data.(*slack.ConnectionErrorEvent); ok {
			f := failure(c.ErrorObj, false)
			log.Warn("no connection to Slack yet", "code", f.Code, "attempt", c.Attempt, "again_in", c.Backoff, "hint", socketHint(f.Code))
		}
	case socketmode.EventTypeErrorWriteFailed:
		log.Warn("an acknowledgement was not sent; Slack will deliver its event again")
	case socketmode.EventTypeConnected, socketmode.EventTypeDisconnect, socketmode.EventTypeInvalidAuth:
		// hello follows the first, the end of the connection the second; the
		// third is also the error that ends Run
	case socketmode.EventTypeIncomingError:
		log.Warn("the socket broke off; connecting anew")
	}
}

func socketHint(code string) string {
	if authTrouble[code] {
		return "SLACK_APP_TOKEN must be an app-level token (xapp-…) with connections:write"
	}
	return "it goes on trying"
}

// work acknowledges deliveries after they were taken in.
func (s *socket) work(ctx context.Context) {
	for e := range s.queue {
		if ctx.Err() != nil {
			continue // stopping: Slack delivers it again
		}
		s.deliver(ctx, e)
	}
}

// An envelope is what a delivery comes in.
type envelope struct {
	ID      string          `json:"envelope_id"`
	Type    string          `json:"type"`
	Payload json.RawMessage `json:"payload"`
}

func (s *socket) deliver(ctx context.Context, e socketmode.Event) {
	var env envelope
	if bad, ok := e.Data.(*socketmode.ErrorBadMessage); ok {
		// slack-go could not decode it, and would leave it unacknowledged for
		// ever. We decode for ourselves; if we cannot either, it is noise.
		if json.Unmarshal(bad.Message, &env) != nil || env.ID == "" {
			s.doors.Log.Warn("something that is no delivery came over the socket", "bytes", len(bad.Message))
			return
		}
	} else if e.Request != nil {
		env = envelope{ID: e.Request.EnvelopeID, Type: e.Request.Type, Payload: e.Request.Payload}
	}
	if env.ID == "" {
		return
	}
	p, err := env.decode()
	if err != nil {
		s.doors.Log.Warn("a delivery cannot be read and was dropped", "type", cut(clean(env.Type), 40), "bytes", len(env.Payload))
		s.ack(ctx, env.ID, nil)
		return
	}
	a := s.doors.take(context.WithoutCancel(ctx), p)
	if a.err != nil {
		return // not acknowledged: Slack delivers it again
	}
	s.ack(ctx, env.ID, a.ack)
	s.doors.finish(ctx, a)
}

func (e envelope) decode() (payload, error) {
	switch e.Type {
	case socketmode.RequestTypeEventsAPI:
		return decodeEvent(e.Payload)
	case socketmode.RequestTypeSlashCommands:
		return decodeCommandJSON(e.Payload)
	case socketmode.RequestTypeInteractive:
		return decodeInteraction(e.Payload)
	}
	return nil, errNotSlack
}

// ack hands an acknowledgement to the writer. It does not wait for ever: with
// no connection, slack-go's queue for them fills up and blocks.
func (s *socket) ack(ctx context.Context, id string, payload any) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackWithin)
	defer cancel()
	payload = small(payload)
	if err := s.client.AckCtx(ctx, id, payload); err != nil {
		s.doors.Log.Warn("a delivery was taken in and could not be acknowledged", "err", err)
	}
}

// small makes an acknowledgement that fits through a socket: without its looks,
// and if need be without its end.
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
