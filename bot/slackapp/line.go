package slackapp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/slack-go/slack"
	"golang.org/x/time/rate"

	"rehome/bot"
)

// This file keeps the connections of Socket Mode open: when one is opened, when it
// has to be replaced, and why there is none. socket.go works on what comes over
// them.

// How connections follow each other.
const (
	apart     = 2 * time.Minute  // between the openings of two connections, so that Slack does not end both at once
	steady    = 30 * time.Second // a connection that lasted less counts as a failure
	openEvery = 5 * time.Second  // apps.connections.open is Tier 3 (50 a minute) and shared with whoever else uses the app
	openBurst = 3
	pauseMost = 30 * time.Second // between attempts, before its jitter
	forEver   = 365 * 24 * time.Hour
	openIn    = 15 * time.Second // what one attempt may take
)

// SocketState is how Socket Mode stands.
type SocketState struct {
	Want, Up int    // connections
	Code     string // why one is missing: Slack's code or a word of ours; "" when none is, or it was not tried yet
	Needed   string // the scope that the app-level token lacks, when the code is missing_scope
}

// Why there is no connection, beside what Slack answers.
const (
	codeLinkDisabled = "link_disabled"   // Slack: Socket Mode was switched off
	codeBroken       = "connection_lost" // it broke off soon after it was opened
)

// SocketState says how Socket Mode stands. Want is 0 while RunSocket does not run.
func (d *Doors) SocketState() SocketState {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.socket
}

// sockets are the connections of one RunSocket, and what they know of each other.
type sockets struct {
	doors  *Doors
	count  int
	api    *slack.Client
	dialer *websocket.Dialer
	gate   *rate.Limiter
	queue  chan delivery

	reading sync.WaitGroup // connections that are read, until all they brought is acknowledged

	mu      sync.Mutex
	up      []*connection // by line: the one that said hello and need not be replaced yet; nil when there is none
	changed chan struct{} // closed and made anew when up changes
	once    bool          // one has said hello, ever
}

func (d *Doors) newSockets() *sockets {
	count := d.Sockets
	s := &sockets{
		doors: d, count: count, gate: rate.NewLimiter(rate.Every(openEvery), openBurst), queue: make(chan delivery, socketQueue),
		api: slack.New("", slack.OptionAPIURL(d.Chat.base.String()), slack.OptionAppLevelToken(d.Chat.appToken),
			slack.OptionHTTPClient(&http.Client{Timeout: openIn, CheckRedirect: refuseRedirect, Transport: d.Chat.http.Transport})),
		dialer: &websocket.Dialer{HandshakeTimeout: openIn, Proxy: http.ProxyFromEnvironment, NetDialContext: d.Chat.dial},
		up:     make([]*connection, count), changed: make(chan struct{}),
	}
	d.note(func(now *SocketState) { *now = SocketState{Want: count} })
	return s
}

// line keeps one connection open until ctx ends. Before the first hello, an
// answer that will not change is an error.
func (s *sockets) line(ctx context.Context, n int) error {
	for failures := 0; ; {
		if s.turn(ctx, n) != nil {
			return nil //nolint:nilerr // the end
		}
		c, err := s.open(ctx, n)
		var pause time.Duration
		if err == nil {
			pause, err = s.outlive(ctx, c, &failures)
		} else {
			failures++
			pause = pauseAfter(failures)
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end
		}
		if err != nil {
			f := failure(err, asking)
			if s.refused(f, err); s.hopeless(f) {
				return fmt.Errorf("socket mode ended (%w): check SLACK_APP_TOKEN, its scope connections:write, and that Socket Mode is on in the app's settings", withoutURL(err))
			}
			pause = max(pause, f.After)
		}
		if sleep(ctx, pause) != nil {
			return nil //nolint:nilerr // the end
		}
	}
}

// outlive waits until a connection has to be replaced. It returns the pause before
// the next one is opened, none when Slack ended this one as it does every few
// hours, and why it ended when something is wrong.
func (s *sockets) outlive(ctx context.Context, c *connection, failures *int) (pause time.Duration, why error) {
	lasted := c.lasts(ctx, steady)
	if lasted {
		s.settled()
		*failures = 0
		c.lasts(ctx, forEver)
	}
	switch {
	case ctx.Err() != nil:
		return 0, nil //nolint:nilerr // the end
	case !lasted:
		why = slack.SlackErrorResponse{Err: orElse(c.why, codeBroken)}
	case c.why == codeLinkDisabled:
		why = slack.SlackErrorResponse{Err: c.why}
	case c.why != "":
		return 0, nil
	}
	*failures++
	return pauseAfter(*failures), why
}

// pauseAfter returns how long to wait after so many failures: from a second to half
// a minute, with jitter, so that many bots do not come back all at once.
func pauseAfter(failures int) time.Duration {
	pause := min(time.Second<<min(failures-1, 10), pauseMost)
	return pause*3/4 + rand.N(pause/2)
}

// turn waits until line n may open a connection: some time after the other line
// opened one, and never faster than Slack allows. While there is no connection at
// all, only the first line tries.
func (s *sockets) turn(ctx context.Context, n int) error {
	for {
		wait, changed := s.ahead(n)
		if wait <= 0 {
			return s.gate.Wait(ctx)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-changed:
		case <-ctx.Done():
		}
		timer.Stop()
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// ahead returns how long line n has to wait because of the other lines, and a
// channel that is closed when that may have changed.
func (s *sockets) ahead(n int) (time.Duration, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var newest time.Time
	for i, c := range s.up {
		if i != n && c != nil && c.since.After(newest) {
			newest = c.since
		}
	}
	switch {
	case !newest.IsZero():
		return apart - time.Since(newest), s.changed
	case n == 0:
		return 0, s.changed
	}
	return apart, s.changed
}

// open makes a connection and begins to read it.
func (s *sockets) open(ctx context.Context, n int) (*connection, error) {
	soon, cancel := context.WithTimeout(ctx, openIn)
	defer cancel()
	_, address, err := s.api.StartSocketModeContext(soon)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "wss" && (u.Scheme != "ws" || s.doors.Chat.base.Scheme == "https") {
		return nil, errUnreadable
	}
	ws, resp, err := s.dialer.DialContext(soon, address, http.Header{"Origin": {"https://api.slack.com"}})
	if resp != nil {
		_ = resp.Body.Close() // gorilla has read what there is
	}
	switch {
	case errors.Is(err, websocket.ErrBadHandshake) && resp != nil:
		return nil, slack.StatusCodeError{Code: resp.StatusCode, Status: resp.Status}
	case err != nil:
		return nil, &url.Error{Op: "connecting", URL: "the socket", Err: withoutURL(err)}
	}
	c := &connection{line: n, ws: ws, retired: make(chan struct{})}
	s.reading.Go(func() { s.read(ctx, c) })
	return c, nil
}

// said notes a connection's hello.
func (s *sockets) said(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.over() || s.up[c.line] == c {
		return // a hello too many
	}
	s.once, c.since = true, time.Now()
	s.change(c.line, c)
}

// lost notes that a connection is no longer one to count on.
func (s *sockets) lost(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.up[c.line] == c {
		s.change(c.line, nil)
	}
}

// change sets the connection of a line, nil for none, and tells whoever waits.
// s.mu is held.
func (s *sockets) change(line int, to *connection) {
	s.up[line] = to
	close(s.changed)
	s.changed = make(chan struct{})
	up := 0
	for _, c := range s.up {
		if c != nil {
			up++
		}
	}
	before, now := s.doors.note(func(now *SocketState) { now.Up = up })
	if before.Up == 0 && now.Up > 0 && now.Code == "" {
		s.doors.Log.Info("connected to Slack by Socket Mode")
	}
}

// settled notes that a connection has lasted, so that what was wrong is over.
func (s *sockets) settled() {
	before, _ := s.doors.note(func(now *SocketState) { now.Code, now.Needed = "", "" })
	if before.Code != "" {
		s.doors.Log.Info("connected to Slack by Socket Mode again", "after", before.Code)
	}
}

// refused notes why there is no connection, and logs it when the reason is a new
// one.
func (s *sockets) refused(f *bot.Failure, err error) {
	before, now := s.doors.note(func(now *SocketState) { now.Code, now.Needed = f.Code, neededScope(err) })
	if before.Code != now.Code {
		s.doors.Log.Warn("no connection to Slack by Socket Mode; it goes on trying", "code", now.Code, "hint", SocketFix(now))
	}
}

// hopeless reports whether there is no point in trying again: Slack refuses the
// token and has never accepted it. A token that was accepted before may be again.
func (s *sockets) hopeless(f *bot.Failure) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.once && authTrouble[f.Code]
}

// SocketFix says what to do about the state of Socket Mode; "" when there is
// nothing to do.
func SocketFix(s SocketState) string {
	switch {
	case s.Code == "":
		return ""
	case s.Code == codeLinkDisabled || s.Code == "socket_mode_disabled":
		return "Socket Mode is off: switch it on under Socket Mode in the app's settings"
	case s.Code == codeMissingScope:
		return "SLACK_APP_TOKEN lacks " + orElse(s.Needed, "connections:write") + ": generate an app-level token with it, under Basic Information in the app's settings"
	case authTrouble[s.Code]:
		return "SLACK_APP_TOKEN must be an app-level token (xapp-…) with connections:write that nobody has revoked: generate one under Basic Information in the app's settings"
	}
	return "check the way to Slack: name resolution, proxy and firewall, for https and wss"
}

// note changes the state of the sockets and returns it as it was and is.
func (d *Doors) note(change func(*SocketState)) (before, now SocketState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before = d.socket
	change(&d.socket)
	return before, d.socket
}

// A connection is one websocket.
type connection struct {
	line    int
	since   time.Time // of its hello; guarded by sockets.mu
	ws      *websocket.Conn
	broken  atomic.Bool    // it broke off without a close frame, so nothing more can be sent
	pending sync.WaitGroup // deliveries that came over it and are not acknowledged

	once    sync.Once
	retired chan struct{} // closed when it has to be replaced
	why     string        // Slack's reason; "" when it broke off. Set before retired is closed

	writing sync.Mutex
}

// lasts waits until the connection has to be replaced, for d at most, and reports
// whether it lasted that long.
func (c *connection) lasts(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.retired:
	case <-ctx.Done():
	}
	return false
}

// retire says that the connection has to be replaced, and why. It is still read
// until it ends.
func (c *connection) retire(why string) {
	c.once.Do(func() {
		c.why = why
		close(c.retired)
	})
}

func (c *connection) over() bool {
	select {
	case <-c.retired:
		return true
	default:
		return false
	}
}

// read receives what comes over a connection until it ends or ctx does. It closes
// the connection when all of that is acknowledged.
func (s *sockets) read(ctx context.Context, c *connection) {
	defer func() {
		c.retire("")
		s.lost(c)
		c.pending.Wait()
		c.bye()
	}()
	c.ws.SetReadLimit(maxBody)
	c.ws.SetPingHandler(func(said string) error {
		c.await(ctx)
		// Not being able to answer shows soon enough.
		_ = c.ws.WriteControl(websocket.PongMessage, []byte(said), time.Now().Add(ackWithin))
		return nil
	})
	c.ws.SetCloseHandler(func(int, string) error { return nil }) // bye answers, after the acknowledgements
	c.await(ctx)
	defer context.AfterFunc(ctx, func() { c.await(ctx) })()
	for {
		_, raw, err := c.ws.ReadMessage()
		if err != nil {
			c.broken.Store(!websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway, websocket.CloseServiceRestart) && ctx.Err() == nil)
			return
		}
		before := c.over()
		s.receive(c, raw)
		if !before && c.over() {
			s.lost(c)
			_ = c.ws.NetConn().SetReadDeadline(time.Now().Add(farewell))
		}
		c.await(ctx)
	}
}

// await sets the time by which the next frame has to come. A retired connection
// keeps the one it has, and when ctx has ended none is waited for.
func (c *connection) await(ctx context.Context) {
	if !c.over() {
		_ = c.ws.NetConn().SetReadDeadline(time.Now().Add(silence))
	}
	if ctx.Err() != nil {
		_ = c.ws.NetConn().SetReadDeadline(time.Now())
	}
}

var errBroken = errors.New("the connection is gone")

// write sends one text frame. Its error means that it did not leave.
func (c *connection) write(v any) error {
	frame, err := json.Marshal(v)
	if err != nil {
		return err // unreachable: made of strings
	}
	if c.broken.Load() {
		return errBroken // a write would only seem to succeed
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.ws.SetWriteDeadline(time.Now().Add(ackWithin))
	return c.ws.WriteMessage(websocket.TextMessage, frame)
}

// bye ends the connection in order.
func (c *connection) bye() {
	_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
	_ = c.ws.Close()
}

// sleep waits, and ends early with ctx.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
