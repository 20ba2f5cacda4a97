package slackapp

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/slack-go/slack"

	"rehome/bot"
)

// failure says what an error of a Slack call means for whoever has to go on.
//
// A refusal with a code is taken at its word. Everything else (no connection, a
// timeout, 5xx, a page instead of JSON, an empty answer) leaves open what
// happened and may go through later.
func failure(err error, edit bool) *bot.Failure {
	f := &bot.Failure{Kind: bot.Again, Err: withoutURL(err), Unsure: !neverSent(err)}
	var (
		limited *slack.RateLimitedError
		status  slack.StatusCodeError
		refused slack.SlackErrorResponse
	)
	switch {
	case errors.As(err, &limited): // 429 with Retry-After
		f.Code, f.After, f.Unsure = codeLimited, max(limited.RetryAfter, time.Second), false
	case errors.As(err, &status) && status.Code == http.StatusTooManyRequests: // 429 without
		f.Code, f.After, f.Unsure = codeLimited, unsaidLimit, false
	case errors.As(err, &status):
		f.Code = "http_" + strconv.Itoa(status.Code)
		if status.Code < 500 {
			f.After = misconfigured // not Slack, or not its API: somebody has to look
		}
	case errors.As(err, &refused):
		return refusal(refused.Err, edit, err)
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
	codeLimited   = "ratelimited"
	unsaidLimit   = 30 * time.Second // when Slack does not say how long to wait; its windows are a minute
	misconfigured = time.Minute      // until somebody has changed a setting
)

// refusal reads an error code of Slack's.
func refusal(code string, edit bool, err error) *bot.Failure {
	f := &bot.Failure{Kind: bot.Never, Code: code, Err: err}
	switch {
	case code == "ratelimited" || code == "rate_limited" || code == "message_limit_exceeded": // 429 as HTTP 200
		f.Kind, f.Code, f.After = bot.Again, codeLimited, unsaidLimit
	case authTrouble[code]:
		f.Kind, f.After = bot.Again, misconfigured
	case passing[code]:
		f.Kind, f.Unsure = bot.Again, true
	case edit && gone[code]:
		f.Kind = bot.Lost
	}
	return f
}

// authTrouble are codes that no message is to blame for: the token or its
// scopes are wrong. Messages wait until somebody has put that right.
var authTrouble = map[string]bool{
	"invalid_auth": true, "not_authed": true, "account_inactive": true, "token_revoked": true, "token_expired": true,
	"missing_scope": true, "no_permission": true, "not_allowed_token_type": true, "access_denied": true,
	"ekm_access_denied": true, "org_login_required": true, "two_factor_setup_required": true,
	"team_access_not_granted": true, "enterprise_is_restricted": true, "accesslimited": true,
}

// passing are codes of a Slack that cannot just now. fatal_error and
// internal_error are documented with "some aspect of the operation succeeded".
var passing = map[string]bool{
	"internal_error": true, "fatal_error": true, "service_unavailable": true, "request_timeout": true,
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
