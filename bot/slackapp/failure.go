package slackapp

import (
	"context"
	"errors"
	"maps"
	"math"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"rehome/bot"
)

// failure classifies an error of a Slack call by what to do about it.
//
// When Slack refused the call with a code, the code decides. Everything else (no
// connection, a timeout, 5xx, a page instead of JSON, an empty answer) leaves open
// what happened, and the call may go through later.
//
//	Again, certainly not done   429 however it comes, no connection at all
//	Again, perhaps done         timeouts, resets, 5xx, HTML, truncated or empty answers, internal_error
//	Again, in a minute          other HTTP errors and redirects: not Slack's API; somebody has to look
//	Lost                        the message to be edited, or the thread to post in, is not there
//	Stop                        the token or its scopes let nothing be posted
//	Never                       all other refusals
func failure(err error, of call) *bot.Failure {
	f := &bot.Failure{Kind: bot.Again, Err: withoutURL(err), Unsure: !neverSent(err)}
	var (
		limited *slack.RateLimitedError
		status  slack.StatusCodeError
		refused slack.SlackErrorResponse
	)
	switch {
	case errors.As(err, &limited): // 429 with Retry-After
		f.Code, f.After, f.Unsure = bot.CodeLimited, max(limited.RetryAfter, time.Second), false
	case errors.As(err, &status) && status.Code == http.StatusTooManyRequests: // 429 without
		f.Code, f.After, f.Unsure = bot.CodeLimited, unsaidLimit, false
	case errors.As(err, &status):
		f.Code = "http_" + strconv.Itoa(status.Code)
		if status.Code < 500 {
			f.After = misconfigured // not Slack, or not its API: somebody has to look
		}
	case errors.As(err, &refused):
		return refusal(refused.Err, of, err)
	case errors.Is(err, errNoTS):
		f.Code = "empty_answer"
	case errors.Is(err, errRedirect):
		f.Code, f.After = "redirect", misconfigured
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		f.Code = "timeout"
	case isTransport(err):
		f.Code = "no_answer"
	default:
		// A page instead of JSON, or JSON of an unknown shape. slack-go quotes
		// what it could not read; that may hold a message's text.
		f.Code, f.Err = "unreadable_answer", errUnreadable
	}
	return f
}

// neverSent reports whether the connection failed before anything was written
// on it.
func neverSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

func isTransport(err error) bool {
	var u *url.Error
	return errors.As(err, &u)
}

var errUnreadable = errors.New("the answer of Slack cannot be read; check SLACK_API_URL and proxies on the way")

// errNoTS is an answer that says neither that it worked nor that it did not.
var errNoTS = errors.New("the answer of Slack names no message")

const (
	unsaidLimit   = 30 * time.Second // when Slack does not say how long to wait; its windows are a minute
	longestLimit  = time.Hour        // an answer that asks for more is taken for a mistake
	misconfigured = time.Minute      // until somebody has changed a setting
)

// unresponded reads the status that a response_url answers with instead of an error
// code. What is below 500 is a no: it was used up, is too old, or takes nothing
// like this.
func unresponded(r *http.Response) *bot.Failure {
	if after, err := strconv.Atoi(r.Header.Get("Retry-After")); err == nil && r.StatusCode == http.StatusTooManyRequests {
		return failure(&slack.RateLimitedError{RetryAfter: time.Duration(after) * time.Second}, posting)
	}
	f := failure(slack.StatusCodeError{Code: r.StatusCode, Status: r.Status}, posting)
	if f.Code != bot.CodeLimited && r.StatusCode < 500 {
		f.Kind, f.Unsure = bot.Never, false
	}
	return f
}

// A call is what was asked of Slack: the same refusal means different things.
type call int

const (
	asking   call = iota // for something to be looked up or opened
	posting              // a message
	replying             // a message in a thread
	editing              // a message
	reading              // what was said in a channel or thread
)

// refusal reads an error code of Slack's.
func refusal(code string, of call, err error) *bot.Failure {
	f := &bot.Failure{Kind: bot.Never, Code: code, Err: err}
	sends := of == posting || of == replying || of == editing
	switch {
	case code == bot.CodeLimited || code == "rate_limited" || code == "message_limit_exceeded": // 429 as HTTP 200
		f.Kind, f.Code, f.After = bot.Again, bot.CodeLimited, unsaidLimit
	case of == reading && unreadable[code]:
		// Never: the place may not be read.
	case sends && (tokenTrouble[code] || code == "missing_scope"):
		f.Kind = bot.Stop
	case authTrouble[code] && !sends:
		f.Kind, f.After = bot.Again, misconfigured
	case passing[code]:
		f.Kind, f.Unsure = bot.Again, true
	case of == editing && gone[code], of == replying && threadGone[code]:
		f.Kind = bot.Lost
	}
	return f
}

// tokenTrouble are codes that no message is to blame for: nothing goes through
// until somebody has put the token or the workspace right.
var tokenTrouble = map[string]bool{
	"invalid_auth": true, "not_authed": true, "account_inactive": true, "token_revoked": true, "token_expired": true,
	"not_allowed_token_type": true, "ekm_access_denied": true, "org_login_required": true, "two_factor_setup_required": true,
	"team_access_not_granted": true, "enterprise_is_restricted": true, "accesslimited": true,
}

// authTrouble are those, and the codes that say it of one method.
var authTrouble = func() map[string]bool {
	all := map[string]bool{"missing_scope": true, "no_permission": true, "access_denied": true}
	maps.Copy(all, tokenTrouble)
	return all
}()

// unreadable are codes of a place that we may not read, or that is not there.
var unreadable = map[string]bool{
	"missing_scope": true, "not_in_channel": true, "channel_not_found": true, "no_permission": true, "access_denied": true,
	"not_allowed_token_type": true, "method_not_supported_for_channel_type": true, "restricted_action": true,
}

// passing are codes for troubles at Slack that pass. fatal_error and
// internal_error are documented with "some aspect of the operation succeeded".
var passing = map[string]bool{
	"internal_error": true, "fatal_error": true, "service_unavailable": true, "request_timeout": true, "update_failed": true,
	"team_added_to_org": true, "external_channel_migrating": true, "streaming_state_conflict": true,
}

// gone are codes of an edit whose message is not there, or not ours any more.
var gone = map[string]bool{
	"message_not_found": true, "cant_update_message": true, "edit_window_closed": true, "thread_not_found": true,
}

// codeMissingScope is Slack's for a token that may do less than is needed.
const codeMissingScope = "missing_scope"

// neededScope returns the scope that Slack misses, or "".
func neededScope(err error) string {
	var refused slack.SlackErrorResponse
	if !errors.As(err, &refused) {
		return ""
	}
	return cut(clean(refused.Needed), 80)
}

// threadGone are codes of a reply to a message that is not there, or that takes
// none.
var threadGone = map[string]bool{"thread_not_found": true, "cannot_reply_to_message": true}

// sayableLimit mends the Retry-After of a 429 for slack-go, which cannot read an
// answer whose Retry-After is not a number, and takes one that is too large for a
// negative one. One that is no number is removed, and failure has a default.
func sayableLimit(r *http.Response) {
	if r.StatusCode != http.StatusTooManyRequests {
		return
	}
	seconds, err := strconv.ParseFloat(strings.TrimSpace(r.Header.Get("Retry-After")), 64)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange), !(seconds >= 0):
		r.Header.Del("Retry-After")
	default:
		r.Header.Set("Retry-After", strconv.Itoa(int(math.Ceil(min(seconds, longestLimit.Seconds())))))
	}
}
