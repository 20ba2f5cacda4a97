package entra

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/models/odataerrors"

	"rehome/bot"
)

// A refusal is the error of a request, in words that may be shown and logged: codes
// and our own hints, never a message of the service, which may hold names and ids.
type refusal struct {
	kind       bot.LookupKind
	status     int           // of Graph's answer; 0 where there was none
	code       string        // Graph's error code, or a word of ours
	request    string        // Graph's request id, for its support
	permission string        // Denied: what to grant; "" when that would not help
	hint       string        // what to do next; "" when there is nothing to add
	after      time.Duration // Retry-After
	again      bool          // the same request may succeed in a moment
	cause      error         // a context's error, or nil
}

func (r *refusal) Error() string {
	var s strings.Builder
	switch {
	case r.status != 0:
		fmt.Fprintf(&s, "Graph answered %d", r.status)
		if r.code != "" {
			s.WriteString(" " + r.code)
		}
	default:
		s.WriteString(r.code)
	}
	if r.request != "" {
		s.WriteString(" (request " + r.request + ")")
	}
	if r.hint != "" {
		s.WriteString("; " + r.hint)
	}
	return s.String()
}

func (r *refusal) Unwrap() error { return r.cause }

// why returns the code for a Gap: Graph's status, or else the code.
func (r *refusal) why() string {
	if r.status != 0 {
		return strconv.Itoa(r.status)
	}
	return r.code
}

func (r *refusal) lookup(directory string) *bot.LookupError {
	return &bot.LookupError{Kind: r.kind, Directory: directory, Permission: r.permission, After: r.after, Err: r}
}

func (r *refusal) gap(what string) bot.Gap {
	return bot.Gap{What: what, Permission: r.permission, Why: r.why()}
}

// missing reports whether Graph says that there is no such object.
func (r *refusal) missing() bool { return r != nil && r.kind == bot.NoSuchApp }

// readError turns whatever the SDK returned into a refusal. An ODataError's own
// Error method must not be called: it panics on bodies without a message.
func readError(err error, permission string) *refusal {
	var r *refusal
	var odata *odataerrors.ODataError
	var api abstractions.ApiErrorable
	switch {
	case errors.As(err, &r):
		return r
	case errors.As(err, &odata):
		r = fromStatus(odata.GetStatusCode(), permission)
		if e := odata.GetErrorEscaped(); e != nil && e.GetCode() != nil {
			r.code = code(*e.GetCode())
		}
		r.readHeaders(odata.GetResponseHeaders())
	case errors.As(err, &api):
		r = fromStatus(api.GetStatusCode(), permission)
		r.readHeaders(api.GetResponseHeaders())
	case errors.Is(err, context.DeadlineExceeded):
		return &refusal{kind: bot.Busy, code: "timeout", again: true, cause: context.DeadlineExceeded}
	case errors.Is(err, context.Canceled):
		return &refusal{kind: bot.Busy, code: "cancelled", cause: context.Canceled}
	case unreachable(err) != nil:
		return unreachable(err)
	default:
		return &refusal{kind: bot.Busy, code: "unreadable", hint: "Graph's answer is not in the form that was expected"}
	}
	if r.status == 0 && r.code == "" {
		r.code = "unreadable"
	}
	if r.status == http.StatusNotFound && !strings.Contains(r.code, "NotFound") {
		r.kind, r.hint = bot.Busy, "the 404 is not one of Graph's; check GRAPH_BASE_URL"
	}
	return r
}

// fromStatus says what an HTTP status means for us.
func fromStatus(status int, permission string) *refusal {
	r := &refusal{kind: bot.Busy, status: status}
	switch {
	case status == http.StatusUnauthorized:
		r.kind, r.hint = bot.Denied, "check the directory's tenant and cloud, and that an administrator consented to the bot's application there"
	case status == http.StatusForbidden:
		r.kind, r.permission = bot.Denied, permission
	case status == http.StatusNotFound:
		r.kind = bot.NoSuchApp
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests,
		status >= 500 && status != http.StatusNotImplemented:
		r.again = true
	}
	return r
}

func (r *refusal) readHeaders(h *abstractions.ResponseHeaders) {
	if h == nil {
		return
	}
	for _, v := range h.Get("Retry-After") {
		r.after = retryAfter(v, time.Now())
	}
	for _, v := range h.Get("request-id") {
		r.request = plainGUID(v)
	}
}

// longestAfter bounds what a Retry-After may ask for.
const longestAfter = time.Hour

// retryAfter reads the header: seconds, which some services write with a
// fraction, or a date. What cannot be read is 0.
func retryAfter(v string, now time.Time) time.Duration {
	v = strings.TrimSpace(v)
	var d time.Duration
	if seconds, err := strconv.ParseFloat(v, 64); err == nil {
		d = time.Duration(min(seconds, longestAfter.Seconds()) * float64(time.Second))
	} else if at, err := http.ParseTime(v); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), longestAfter)
}

// unreachable names a failure below HTTP; nil when err is none that is known.
func unreachable(err error) *refusal {
	r := &refusal{kind: bot.Busy, code: "unreachable", again: true}
	var dns *net.DNSError
	var op *net.OpError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &unknown), errors.As(err, &name):
		r.code, r.again, r.hint = "untrusted-certificate", false, "check the machine's certificate store and any proxy that opens TLS"
	case errors.As(err, &dns):
		r.code, r.hint = "unknown-host", "check name resolution and the directory's cloud"
	case errors.As(err, &timeout) && timeout.Timeout():
		r.code = "timeout"
	case errors.As(err, &op), brokenOff(err):
	default:
		return nil
	}
	return r
}

var codeForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,79}$`)

// code is an error code of the service if it looks like one.
func code(s string) string {
	if !codeForm.MatchString(s) {
		return ""
	}
	return s
}
