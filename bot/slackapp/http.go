package slackapp

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
)

// Handler is the door for signed requests:
//
//	POST /slack/events        application/json
//	POST /slack/commands      application/x-www-form-urlencoded
//	POST /slack/interactions  application/x-www-form-urlencoded, field payload
//
// It answers 413 over 1 MiB, 401 to a bad, missing or stale signature, 415 to
// another type, 400 to what is signed but unreadable, and 503 when an event
// could not be written down, so that Slack delivers it again. Nothing is parsed
// before its signature was verified.
func (d *Doors) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /slack/events", d.verified(typeJSON, d.httpEvent))
	mux.HandleFunc("POST /slack/commands", d.verified(typeForm, d.httpForm(func(form url.Values) (payload, error) {
		return decodeCommand(form)
	})))
	mux.HandleFunc("POST /slack/interactions", d.verified(typeForm, d.httpForm(func(form url.Values) (payload, error) {
		return decodeInteraction([]byte(form.Get("payload")))
	})))
	return mux
}

const (
	maxBody  = 1 << 20
	typeJSON = "application/json"
	typeForm = "application/x-www-form-urlencoded"
)

// verified reads the body and lets it through when it is what it should be.
func (d *Doors) verified(kind string, next func(http.ResponseWriter, *http.Request, []byte)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			d.turnAway(w, r, http.StatusRequestEntityTooLarge, "the request is larger than 1 MiB")
			return
		} else if err != nil {
			d.turnAway(w, r, http.StatusBadRequest, "the request breaks off")
			return
		}
		if err := verify(r.Header, body, d.SigningSecrets, time.Now()); err != nil {
			d.turnAway(w, r, http.StatusUnauthorized, err.Error())
			return
		}
		if got, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || got != kind {
			d.turnAway(w, r, http.StatusUnsupportedMediaType, "send "+kind)
			return
		}
		next(w, r, body)
	}
}

// turnAway refuses a request and says why, to Slack and to the log.
func (d *Doors) turnAway(w http.ResponseWriter, r *http.Request, status int, why string) {
	d.Log.Warn("a request was refused", "path", r.URL.Path, "status", status, "why", why)
	http.Error(w, why, status)
}

// unreadable refuses what Slack signed and we cannot read, and keeps it aside.
func (d *Doors) unreadable(w http.ResponseWriter, r *http.Request, body []byte, err error) {
	_ = d.keepAside(context.WithoutCancel(r.Context()), "http", path.Base(r.URL.Path), body) // it logs its own error
	d.turnAway(w, r, http.StatusBadRequest, err.Error())
}

// formAsJSON returns a form as it is kept aside: the payload of an interaction, or
// else its fields.
func formAsJSON(form url.Values) []byte {
	if p := form.Get("payload"); p != "" {
		return []byte(p)
	}
	b, _ := json.Marshal(form) // cannot fail: lists of strings
	return b
}

func (d *Doors) httpEvent(w http.ResponseWriter, r *http.Request, body []byte) {
	e, err := decodeEvent(body)
	if err != nil {
		d.unreadable(w, r, body, err)
		return
	}
	if e.Type == "url_verification" {
		reply(w, "text/plain; charset=utf-8", []byte(e.Challenge))
		return
	}
	d.serve(w, r, e)
}

// httpForm parses a form with the given decoder. It is parsed from the bytes
// that were verified, once.
func (d *Doors) httpForm(decode func(url.Values) (payload, error)) func(http.ResponseWriter, *http.Request, []byte) {
	return func(w http.ResponseWriter, r *http.Request, body []byte) {
		form, err := url.ParseQuery(string(body))
		if err != nil {
			d.turnAway(w, r, http.StatusBadRequest, "the form cannot be read")
			return
		}
		if form.Get("ssl_check") == "1" { // Slack checks the certificate now and then
			reply(w, "", nil)
			return
		}
		p, err := decode(form)
		if err != nil {
			d.unreadable(w, r, formAsJSON(form), err)
			return
		}
		d.serve(w, r, p)
	}
}

// serve takes a payload in, acknowledges it, and only then does the rest.
func (d *Doors) serve(w http.ResponseWriter, r *http.Request, p payload) {
	// Slack hanging up does not undo what somebody did.
	ctx := context.WithoutCancel(r.Context())
	a := d.take(ctx, p)
	if a.err != nil {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "not taken in; deliver it again", http.StatusServiceUnavailable)
		return
	}
	if a.ack == nil {
		reply(w, "", nil)
	} else {
		body, err := json.Marshal(a.ack)
		if err != nil {
			d.Log.Error("an acknowledgement cannot be written", "err", err) // unreachable: made of strings
		}
		reply(w, typeJSON+"; charset=utf-8", body)
	}
	if a.after != nil {
		// With its length known and flushed, the answer is complete for Slack
		// while we go on.
		_ = http.NewResponseController(w).Flush()
		d.finish(ctx, a)
	}
}

func reply(w http.ResponseWriter, kind string, body []byte) {
	if kind != "" {
		w.Header().Set("Content-Type", kind)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body)
}

// freshFor is how far a request's timestamp may be from now (Slack, "Verifying
// requests"): older ones may be replays.
const freshFor = 5 * time.Minute

// verify checks Slack's signature v0 with each secret: HMAC-SHA256 over
// "v0:timestamp:body".
func verify(h http.Header, body []byte, secrets []string, now time.Time) error {
	signature, ok := strings.CutPrefix(h.Get("X-Slack-Signature"), "v0=")
	stamp := h.Get("X-Slack-Request-Timestamp")
	if !ok || stamp == "" {
		return errors.New("the request is not signed by Slack")
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return errors.New("the signature's timestamp is not a number")
	}
	if now.Sub(time.Unix(seconds, 0)).Abs() > freshFor {
		return errors.New("the signature is more than five minutes old or ahead; check this machine's clock")
	}
	want, err := hex.DecodeString(signature)
	if err != nil || len(want) != sha256.Size {
		return errors.New("the signature has the wrong form")
	}
	var sum [sha256.Size]byte
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, []byte(secret))
		_, _ = mac.Write([]byte("v0:" + stamp + ":"))
		_, _ = mac.Write(body)
		if hmac.Equal(mac.Sum(sum[:0]), want) {
			return nil
		}
	}
	return errors.New("the signature does not match; check SLACK_SIGNING_SECRET")
}
