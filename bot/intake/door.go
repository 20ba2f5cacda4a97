package intake

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"rehome/bot"
)

// A Door takes alerts in over HTTP:
//
//	POST    one violation or many, in any shape of this package; 202 after the commit
//	OPTIONS the handshake of CloudEvents webhooks
//
// A POST has one of these types: application/cloudevents+json,
// application/cloudevents-batch+json, application/x-ndjson, and application/json
// for a record, a list of records, or the data of an event in binary mode, whose
// attributes are in ce- headers.
//
// The status codes are chosen by what senders make of them: Event Grid does not
// come again after 400, 401, 403 or 413 and drops the event, unless it has a
// place for dead letters.
//
//	202  everything is either a conversation or in quarantine, durably; see [Answer]
//	401  no valid token; nothing of the body was read
//	405  neither POST nor OPTIONS
//	408  the body did not come in time
//	413  over the size limit, or more records than one request may have
//	415  a type that is not spoken here
//	503  with Retry-After: any doubt of our own, and a source that sends too fast.
//	     It is never 429, which not every sender comes again after.
//
// A request is one transaction: after a 503 all of it is to be sent again, and
// what was kept nevertheless is known by its key and has no second effect.
type Door struct {
	Intake *Intake

	// Who may send. With neither, everybody is told to come later.
	Tokens []string // bearer tokens; several for the time of a rotation
	Entra  Verifier // nil: tokens of Entra are not taken

	Origins    []string      // who may subscribe this address, as WebHook-Request-Origin; nil: eventgrid.azure.net
	MaxBody    int64         // bytes of a body; 0: 16 MiB
	MaxRecords int           // records in a request; 0: 10,000
	MaxHeld    int64         // bytes of all bodies that are being worked; 0: 64 MiB
	Timeout    time.Duration // for a body to come, and for it to be taken in; 0: 20 s (Event Grid waits for 30)
	Rate       float64       // requests a second of one source; 0: no limit
	Burst      int           // requests of one source at once, when Rate is set; 0: one second's worth

	Ready   func() error                         // nil: always; an error is a 503, and why it is goes to the log
	Observe func(status int, took time.Duration) // nil: nobody counts; called after each answer
	Log     *slog.Logger                         // nil: discard
	Now     func() time.Time                     // nil: time.Now

	held  *room
	rates *rates
}

// A Verifier says who sends a token of an identity provider. An error that is
// ErrUnsure means that it could not be found out.
type Verifier interface {
	Verify(ctx context.Context, token string) (caller string, err error)
}

// ErrUnsure is the cause of a verifier that could not tell: the provider's keys
// cannot be had.
var ErrUnsure = errors.New("the token could not be checked")

// NewDoor returns a door with its defaults filled in, or says what is wrong.
func NewDoor(d Door) (*Door, error) {
	if d.Intake == nil {
		return nil, errors.New("a door needs an intake")
	}
	if slices.Contains(d.Tokens, "") {
		return nil, errors.New("an intake token is empty; anybody could send it, so leave it out or give it a value")
	}
	if d.Origins == nil {
		d.Origins = []string{"eventgrid.azure.net"}
	}
	if d.MaxBody == 0 {
		d.MaxBody = 16 << 20
	}
	if d.MaxRecords == 0 {
		d.MaxRecords = 10_000
	}
	if d.MaxHeld == 0 {
		d.MaxHeld = 64 << 20
	}
	d.MaxHeld = max(d.MaxHeld, d.MaxBody)
	if d.Timeout == 0 {
		d.Timeout = 20 * time.Second
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	d.held = &room{free: d.MaxHeld}
	d.rates = newRates(d.Rate, d.Burst)
	return &d, nil
}

// Answer is what a request is told that was taken in. The counts are of
// violations, of which a record may hold several; the indexes are of records.
type Answer struct {
	Accepted      int      `json:"accepted"`    // opened a conversation
	Duplicates    int      `json:"duplicates"`  // were known by their event or finding
	Updated       int      `json:"updated"`     // the duplicates that said something new, which their conversation has heard
	Ignored       int      `json:"ignored"`     // are no violations, or were over before they were heard of
	Quarantined   int      `json:"quarantined"` // records that could not be read, or not all of them; they are kept
	Conversations []string `json:"conversations"`
	Errors        []Said   `json:"errors"`               // what was not understood or left out
	Notes         []Said   `json:"notes,omitempty"`      // what was read in a way worth knowing
	MoreErrors    int      `json:"moreErrors,omitempty"` // errors that are not listed
}

// Said is something about one field of one record.
type Said struct {
	Index   int    `json:"index"` // of the record, from 0
	Field   string `json:"field"` // its path; "" for the record as a whole
	Message string `json:"message"`
}

// mostErrors is how many errors an answer lists.
const mostErrors = 1000

// answer adds up what became of the records.
func answer(all []Became) Answer {
	a := Answer{Conversations: []string{}, Errors: []Said{}}
	seen := map[string]bool{}
	for _, b := range all {
		a.Accepted += b.Opened
		a.Duplicates += b.Updated + b.Known
		a.Updated += b.Updated
		a.Ignored += b.Ignored
		if b.Quarantined {
			a.Quarantined++
		}
		for _, id := range b.Conversations {
			if !seen[id] {
				seen[id] = true
				a.Conversations = append(a.Conversations, id)
			}
		}
		for _, f := range b.Faults {
			if len(a.Errors) == mostErrors {
				a.MoreErrors++
				continue
			}
			a.Errors = append(a.Errors, Said{b.Index, f.Field, f.Message})
		}
		for _, f := range b.Notes {
			if len(a.Notes) < mostErrors {
				a.Notes = append(a.Notes, Said{b.Index, f.Field, f.Message})
			}
		}
	}
	return a
}

// A refusal is an answer that is not 202.
type refusal struct {
	status int
	why    string        // for the sender, with what to do next
	after  time.Duration // for Retry-After
	cause  error         // for the log
}

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status: status, why: fmt.Sprintf(format, args...)}
}

// later is a refusal for a doubt of our own.
func later(after time.Duration, why string, cause error) *refusal {
	return &refusal{http.StatusServiceUnavailable, why + "; send it again later", after, cause}
}

// ServeHTTP implements [http.Handler].
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := d.Now()
	w.Header().Set("X-Content-Type-Options", "nosniff")
	var status int
	switch r.Method {
	case http.MethodOptions:
		status = d.handshake(w, r)
	case http.MethodPost:
		status = d.post(w, r)
	default:
		w.Header().Set("Allow", "POST, OPTIONS")
		status = d.turnAway(w, r, "", refuse(http.StatusMethodNotAllowed, "send alerts with POST"))
	}
	if d.Observe != nil {
		d.Observe(status, d.Now().Sub(started))
	}
}

func (d *Door) post(w http.ResponseWriter, r *http.Request) int {
	caller, no := d.admit(r)
	if no != nil {
		return d.turnAway(w, r, caller, no)
	}
	kind, no := kindOf(r.Header)
	if no != nil {
		return d.turnAway(w, r, caller, no)
	}
	body, giveBack, no := d.body(w, r)
	defer giveBack()
	if no != nil {
		return d.turnAway(w, r, caller, no)
	}
	if code, asked := validation(r.Header, body); asked {
		return reply(w, http.StatusOK, map[string]string{"validationResponse": code})
	}
	pieces, no := d.cut(kind, r.Header, body)
	if no != nil {
		return d.turnAway(w, r, caller, no)
	}
	// Whoever sent it may hang up; what was begun is finished.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), d.Timeout)
	defer cancel()
	became, err := d.Intake.Take(ctx, func(Record) string { return "http" }, pieces)
	switch {
	case errors.Is(err, bot.ErrFull):
		return d.turnAway(w, r, caller, later(30*time.Second, "there is no room for more alerts", err))
	case err != nil:
		return d.turnAway(w, r, caller, later(5*time.Second, "the alerts could not be written down", err))
	}
	a := answer(became)
	if len(trim(body)) == 0 {
		a.Errors = append(a.Errors, Said{0, "", "the request holds no record; send one, or a list of them"})
	}
	d.Log.Info("alerts were taken in", "caller", caller, "accepted", a.Accepted, "duplicates", a.Duplicates,
		"updated", a.Updated, "ignored", a.Ignored, "quarantined", a.Quarantined, "errors", len(a.Errors)+a.MoreErrors)
	return reply(w, http.StatusAccepted, a)
}

// turnAway refuses a request and says why, to the sender and to the log.
func (d *Door) turnAway(w http.ResponseWriter, r *http.Request, caller string, no *refusal) int {
	d.Log.Warn("alerts were refused", "status", no.status, "why", no.why, "caller", caller, "from", hostOf(r), "err", no.cause)
	switch no.status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="rehome"`)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", strconv.Itoa(max(1, int((no.after+time.Second-1)/time.Second))))
	case http.StatusRequestTimeout, http.StatusRequestEntityTooLarge:
		w.Header().Set("Connection", "close") // the rest of the body is not wanted
	}
	return reply(w, no.status, map[string]string{"error": no.why})
}

func reply(w http.ResponseWriter, status int, body any) int {
	text, err := json.Marshal(body)
	if err != nil {
		status, text = http.StatusServiceUnavailable, []byte(`{"error":"the answer cannot be written"}`) // unreachable: texts and numbers
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)+1))
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n'))
	return status
}

// admit finds out who sends, before anything of the body is read.
func (d *Door) admit(r *http.Request) (caller string, no *refusal) {
	if d.Ready != nil {
		if err := d.Ready(); err != nil {
			return "", later(5*time.Second, "alerts cannot be taken in now", err)
		}
	}
	caller, no = d.caller(r)
	if no != nil {
		return "", no
	}
	if wait := d.rates.wait(caller+"@"+hostOf(r), d.Now()); wait > 0 {
		return caller, later(wait, fmt.Sprintf("more than %g requests a second came from here", d.Rate), nil)
	}
	return caller, nil
}

// hostOf is the address a request came from, without its port.
func hostOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// body reads the body, as far as the limits let it. What it takes up of MaxHeld
// is given back by giveBack.
func (d *Door) body(w http.ResponseWriter, r *http.Request) (body []byte, giveBack func(), no *refusal) {
	tooLarge := refuse(http.StatusRequestEntityTooLarge, "the request is larger than %s; send it in parts", sizeOf(d.MaxBody))
	if r.ContentLength > d.MaxBody {
		return nil, func() {}, tooLarge
	}
	// Where the server cannot, its own timeouts have to do.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(d.Timeout))
	held := &holding{r: http.MaxBytesReader(w, r.Body, d.MaxBody), room: d.held}
	var b bytes.Buffer
	if r.ContentLength > 0 {
		b.Grow(int(min(r.ContentLength+bytes.MinRead, 1<<20)))
	}
	_, err := b.ReadFrom(held)
	var over *http.MaxBytesError
	switch {
	case err == nil:
		return b.Bytes(), held.giveBack, nil
	case errors.As(err, &over):
		no = tooLarge
	case errors.Is(err, errNoRoom):
		no = later(2*time.Second, "too much is being taken in at once", nil)
	case errors.Is(err, os.ErrDeadlineExceeded):
		no = refuse(http.StatusRequestTimeout, "the request did not come in %v; send it again, or in parts", d.Timeout)
	default: // whoever sent it has gone
		no = later(time.Second, "the request breaks off", err)
	}
	return nil, held.giveBack, no
}

// kind is how the records of a request are laid out.
type kind int

const (
	plain  kind = iota // a record, or a list of them
	lines              // NDJSON
	events             // events in structured mode, one or a list
	binary             // one event, whose attributes are headers
)

// kindOf reads the type of a request.
func kindOf(h http.Header) (kind, *refusal) {
	no := refuse(http.StatusUnsupportedMediaType, "this type is not spoken here; send application/json, application/x-ndjson, "+
		"application/cloudevents+json or application/cloudevents-batch+json, in UTF-8 and not compressed")
	if e := h.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return 0, no
	}
	t, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || params["charset"] != "" && !strings.EqualFold(params["charset"], "utf-8") {
		return 0, no
	}
	inHeaders := h.Get("Ce-Specversion") != ""
	switch {
	case t == "application/cloudevents+json", t == "application/cloudevents-batch+json":
		return events, nil
	case inHeaders && (t == "application/json" || strings.HasPrefix(t, "application/") && strings.HasSuffix(t, "+json")):
		return binary, nil
	case t == "application/json":
		return plain, nil
	case t == "application/x-ndjson":
		return lines, nil
	}
	return 0, no
}

// cut cuts a body into records, no more than there may be.
func (d *Door) cut(k kind, h http.Header, body []byte) ([]Piece, *refusal) {
	if k == binary {
		return []Piece{{Record: Record{Line: 1, Raw: envelope(h, body)}}}, nil
	}
	body = bytes.TrimPrefix(body, []byte("\ufeff"))
	trimmed := trim(body)
	if len(trimmed) == 0 {
		return nil, nil
	}
	if k != lines && trimmed[0] != '[' && !severalLines(trimmed) {
		return []Piece{eventOnly(k, Piece{Record: Record{Line: 1, Raw: trimmed}})}, nil
	}
	var pieces []Piece
	for rec, err := range records(bytes.NewReader(body), min(MaxRecord, len(body)+1)) {
		if len(pieces) == d.MaxRecords {
			return nil, refuse(http.StatusRequestEntityTooLarge, "the request holds more than %d records; send it in parts", d.MaxRecords)
		}
		pieces = append(pieces, eventOnly(k, Piece{rec, err}))
	}
	return pieces, nil
}

// severalLines reports whether what should be one record is NDJSON under the
// name of JSON, as curl sends it when told nothing else.
func severalLines(body []byte) bool {
	first, rest, more := bytes.Cut(body, []byte("\n"))
	return more && json.Valid(first) && len(trim(rest)) > 0
}

// eventOnly refuses what came as an event and has no envelope.
func eventOnly(k kind, p Piece) Piece {
	if k == events && p.Err == nil {
		var e struct {
			Specversion *json.RawMessage `json:"specversion"`
		}
		if err := json.Unmarshal(p.Raw, &e); err == nil && e.Specversion == nil {
			p.Err = malformed("specversion", "is missing; send a CloudEvents 1.0 envelope, or a bare violation as application/json")
		}
	}
	return p
}

// envelope makes an event in structured mode of one in binary mode, so that
// there is one way to read it, also when it comes out of quarantine.
func envelope(h http.Header, body []byte) []byte {
	e := map[string]any{}
	for name, values := range h {
		if attribute, ok := strings.CutPrefix(strings.ToLower(name), "ce-"); ok && len(values) > 0 {
			e[attribute] = unescape(values[0])
		}
	}
	body = trim(bytes.TrimPrefix(body, []byte("\ufeff")))
	if e["data"] = json.RawMessage(body); !json.Valid(body) {
		e["data"] = string(scrubText(body))
	}
	if len(body) == 0 {
		delete(e, "data")
	}
	delete(e, "data_base64")
	text, err := json.Marshal(e)
	if err != nil {
		return body // unreachable: texts and valid JSON
	}
	return text
}

// unescape undoes the percent-encoding of an attribute in a header (CloudEvents
// HTTP binding, 3.1.3.2). What is none stays as it is.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return strings.ToValidUTF8(b.String(), "�")
}

// handshake answers the validation request of a webhook (CloudEvents HTTP 1.1
// Web Hooks, section 4). It proves nothing about who asks, which is what the
// token is for. An address to call back is never called.
func (d *Door) handshake(w http.ResponseWriter, r *http.Request) int {
	w.Header().Set("Allow", "POST, OPTIONS")
	origin := r.Header.Get("WebHook-Request-Origin")
	if origin == "" {
		w.WriteHeader(http.StatusNoContent)
		return http.StatusNoContent
	}
	i := slices.IndexFunc(d.Origins, func(o string) bool { return strings.EqualFold(o, origin) })
	if i < 0 {
		return d.turnAway(w, r, "", refuse(http.StatusForbidden, "this origin may not subscribe; add it to the origins of the intake"))
	}
	w.Header().Set("WebHook-Allowed-Origin", d.Origins[i])
	rate := "*"
	if d.Rate > 0 {
		rate = strconv.Itoa(max(1, int(d.Rate*60))) // a minute
	}
	w.Header().Set("WebHook-Allowed-Rate", rate)
	w.WriteHeader(http.StatusOK)
	return http.StatusOK
}

// validation returns the code that Event Grid wants back before it delivers in
// its own schema.
func validation(h http.Header, body []byte) (code string, asked bool) {
	if h.Get("Aeg-Event-Type") != "SubscriptionValidation" {
		return "", false
	}
	var of []struct {
		EventType string `json:"eventType"`
		Data      struct {
			ValidationCode string `json:"validationCode"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &of); err != nil || len(of) != 1 || of[0].EventType != "Microsoft.EventGrid.SubscriptionValidationEvent" {
		return "", false
	}
	code = of[0].Data.ValidationCode
	return code, code != "" && len(code) <= 256
}
