package sandbox

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// One source of deliveries, two doors to the app: envelopes over its sockets, or signed requests to
// its URLs. Events are retried, commands and interactions are not: there the person is told.

const (
	kindEvent       = "events_api"
	kindCommand     = "slash_commands"
	kindInteraction = "interactive"

	ackDeadline = 3 * time.Second
	maxAckBody  = 1 << 20 // bytes of an HTTP answer we read
)

// retryWaits is Slack's schedule for an event nobody acknowledged: at once, a minute, five minutes.
var retryWaits = []time.Duration{0, time.Minute, 5 * time.Minute}

// What a person is told when the app does not acknowledge. The words are Slack's codes.
var (
	errNotDelivered = errors.New("dispatch_failed")
	errNoAnswer     = errors.New("operation_timeout")
)

var errTooManyRedirects = errors.New("too_many_redirects")

func twoRedirects(_ *http.Request, via []*http.Request) error {
	if len(via) > 2 {
		return errTooManyRedirects
	}
	return nil
}

// delivery is one thing the app is to be told.
type delivery struct {
	kind    string
	payload json.RawMessage
	name    string // for the log: the event's type, the command, the interaction's type
}

// Delivery is one attempt to tell the app something, for tests and measurements.
type Delivery struct {
	Kind    string        // events_api, slash_commands, interactive
	Name    string        // message, app_mention, /command, block_actions, view_submission …
	Attempt int           // 0 is the first
	Took    time.Duration // until the acknowledgement or the failure
	Failure string        // "" acknowledged; else timeout, http_timeout, connection_failed, http_error …
	Payload json.RawMessage
}

// Deliveries lists every finished attempt to reach the app, oldest first.
func (w *Workspace) Deliveries() []Delivery {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.delivered)
}

// ask delivers something a person waits for, once, and returns the app's answer (nil if it is empty).
func (w *Workspace) ask(d *delivery) (json.RawMessage, error) {
	start := w.cfg.Now()
	w.mu.Lock()
	var e *envelope
	if w.app.SocketMode {
		e = w.send(d, 0, "")
	}
	w.mu.Unlock()
	a := w.attempt(d, e, 0, "")
	w.logDelivery(d, 0, start, a.failure)
	switch a.failure {
	case "":
		return a.payload, nil
	case "timeout", "http_timeout":
		return nil, errNoAnswer
	}
	return nil, errNotDelivered
}

// tell delivers an event until it is acknowledged or given up. Callers hold w.mu, so that events
// leave in the order in which they happened.
func (w *Workspace) tell(d *delivery) {
	start := w.cfg.Now()
	var e *envelope
	if w.app.SocketMode {
		e = w.send(d, 0, "")
	}
	w.spawn(func() {
		reason := ""
		for n := 0; ; n++ {
			a := w.attempt(d, e, n, reason)
			w.logDelivery(d, n, start, a.failure)
			if a.failure == "" || a.failure == noRetry || n == len(retryWaits) || !w.pause(w.ctx, retryWaits[n]) {
				return
			}
			start = w.cfg.Now()
			w.mu.Lock()
			if reason, e = a.failure, nil; w.app.SocketMode {
				e = w.send(d, n+1, reason)
			}
			w.mu.Unlock()
		}
	})
}

const noRetry = "no_retry" // the app refused and asked not to be tried again (X-Slack-No-Retry: 1)

func (w *Workspace) attempt(d *delivery, e *envelope, n int, reason string) ack {
	if e != nil {
		return w.await(e)
	}
	return w.request(d, n, reason)
}

func (w *Workspace) logDelivery(d *delivery, n int, start time.Time, failure string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delivered = keepLast(append(w.delivered,
		Delivery{Kind: d.kind, Name: d.name, Attempt: n, Took: w.cfg.Now().Sub(start), Failure: failure, Payload: d.payload}))
	w.touch()
}

// request is a signed HTTP delivery: JSON for events, a form for the others.
func (w *Workspace) request(d *delivery, n int, reason string) ack {
	w.mu.Lock()
	to := map[string]string{kindEvent: w.app.EventsURL, kindCommand: w.app.CommandsURL, kindInteraction: w.app.InteractionsURL}[d.kind]
	w.mu.Unlock()
	if to == "" {
		return ack{failure: "connection_failed"}
	}
	h := http.Header{}
	if n > 0 {
		h.Set("X-Slack-Retry-Num", strconv.Itoa(n))
		h.Set("X-Slack-Retry-Reason", reason)
	}
	body, kind := encodeDelivery(d)
	status, header, answer, err := w.postSigned(to, kind, body, h)
	switch {
	case errors.Is(err, errTooManyRedirects):
		return ack{failure: "too_many_redirects"}
	case errors.Is(err, context.DeadlineExceeded):
		return ack{failure: "http_timeout"}
	case err != nil:
		return ack{failure: "connection_failed"}
	case status/100 != 2 && header.Get("X-Slack-No-Retry") == "1":
		return ack{failure: noRetry}
	case status/100 != 2 || d.kind != kindEvent && status != http.StatusOK:
		return ack{failure: "http_error"}
	}
	return ack{payload: readAnswer(d, header.Get("Content-Type"), answer)}
}

func encodeDelivery(d *delivery) (body []byte, contentType string) {
	const form = "application/x-www-form-urlencoded"
	switch d.kind {
	case kindEvent:
		return d.payload, "application/json"
	case kindInteraction:
		return []byte(url.Values{"payload": {string(d.payload)}}.Encode()), form
	}
	var fields map[string]string
	_ = json.Unmarshal(d.payload, &fields) // our own JSON: a command's fields are all strings
	v := url.Values{}
	for k, s := range fields {
		v.Set(k, s)
	}
	return []byte(v.Encode()), form
}

// readAnswer is an answer's JSON; plain text after a command is its text.
func readAnswer(d *delivery, contentType string, body []byte) json.RawMessage {
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return nil
	}
	if kind, _, _ := mime.ParseMediaType(contentType); kind != "application/json" && d.kind == kindCommand {
		return mustJSON(map[string]any{"text": string(body)})
	}
	return body
}

// postSigned sends a body with Slack's v0 signature and reads the answer, within three seconds.
func (w *Workspace) postSigned(to, contentType string, body []byte, h http.Header) (int, http.Header, []byte, error) {
	ctx, cancel := context.WithCancelCause(w.ctx)
	watched := make(chan struct{})
	defer func() { cancel(nil); <-watched }()
	go func() {
		defer close(watched)
		select {
		case <-w.cfg.After(ackDeadline):
			cancel(context.DeadlineExceeded)
		case <-ctx.Done():
		}
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	ts := strconv.FormatInt(w.cfg.Now().Unix(), 10)
	req.Header = h
	h.Set("Content-Type", contentType)
	h.Set("User-Agent", "Slackbot 1.0 (+https://api.slack.com/robots)")
	h.Set("X-Slack-Request-Timestamp", ts)
	h.Set("X-Slack-Signature", Sign(w.app.SigningSecret, ts, body))
	res, err := w.client.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return 0, nil, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAckBody))
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	return res.StatusCode, res.Header, answer, err
}

// Sign is Slack's v0 request signature: "v0=" and the hex HMAC-SHA256, keyed by the signing secret,
// of "v0:TIMESTAMP:BODY".
func Sign(secret, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = fmt.Fprintf(mac, "v0:%s:", timestamp) // a hash never fails
	_, _ = mac.Write(body)
	return "v0=" + hex.EncodeToString(mac.Sum(nil))
}

// VerifyURL asks the events URL to echo a challenge, as Slack does when the URL is saved.
func (w *Workspace) VerifyURL() error {
	w.mu.Lock()
	to := w.app.EventsURL
	w.mu.Unlock()
	challenge := token(16)
	body := mustJSON(map[string]any{"type": "url_verification", "challenge": challenge, "token": verificationToken})
	status, _, answer, err := w.postSigned(to, "application/json", body, http.Header{})
	var o struct{ Challenge string }
	switch {
	case err != nil:
		return fmt.Errorf("your URL didn't respond: %w", err)
	case status != http.StatusOK:
		return fmt.Errorf("your URL responded with HTTP %d", status)
	case strings.TrimSpace(string(answer)) == challenge || json.Unmarshal(answer, &o) == nil && o.Challenge == challenge:
		return nil
	}
	return errors.New("your URL didn't respond with the value of the challenge parameter")
}

// DeliverRaw sends bytes to the app as they are: one frame on a socket in turn, or a signed HTTP
// request to the URL for kind. It is for throwing things at the app that Slack would never send.
// Over a socket there is no answer and status is 0.
func (w *Workspace) DeliverRaw(kind, contentType string, body []byte) (status int, err error) {
	w.mu.Lock()
	if w.app.SocketMode {
		defer w.mu.Unlock()
		if len(w.sockets) == 0 {
			return 0, errNotDelivered
		}
		w.turn++
		w.sockets[w.turn%len(w.sockets)].push(slices.Clone(body))
		return 0, nil
	}
	to := map[string]string{kindEvent: w.app.EventsURL, kindCommand: w.app.CommandsURL, kindInteraction: w.app.InteractionsURL}[kind]
	w.mu.Unlock()
	status, _, _, err = w.postSigned(to, contentType, body, http.Header{})
	return status, err
}

const verificationToken = "sandbox-verification-token" // the deprecated one, still in every payload

// token is n random bytes in hex.
func token(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}

func uuid() string {
	t := token(16)
	return t[:8] + "-" + t[8:12] + "-4" + t[13:16] + "-a" + t[17:20] + "-" + t[20:]
}
