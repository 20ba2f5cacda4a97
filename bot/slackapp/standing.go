package slackapp

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"rehome/bot"
)

// This file tells what the bot may do in the workspace: with its token, and in a
// channel. /readyz and `rehome doctor` ask for it.

// A Standing is what Slack says about our token.
type Standing struct {
	Self
	Scopes []string      // that the token has; nil when Slack does not say
	Ahead  time.Duration // of our clock to Slack's, to the second; 0 when Slack does not say
}

// Stand asks Slack each time it is called. Slack allows hundreds of these a
// minute. A token that is refused is an error that wraps ErrTokenRefused, whose
// code CodeOf returns.
func (c *Chat) Stand(ctx context.Context) (Standing, error) {
	self, header, err := c.whoAmI(ctx)
	if err != nil {
		return Standing{}, err
	}
	s := Standing{Self: self}
	if _, said := header["X-Oauth-Scopes"]; said {
		s.Scopes = []string{}
	}
	for scope := range strings.SplitSeq(header.Get("X-OAuth-Scopes"), ",") {
		if scope = strings.TrimSpace(scope); scope != "" {
			s.Scopes = append(s.Scopes, scope)
		}
	}
	s.Ahead, _ = aheadOf(header)
	return s, nil
}

// Missing returns the scopes we need and the token does not have.
func (s Standing) Missing() []string {
	if s.Scopes == nil {
		return nil
	}
	var missing []string
	for _, scope := range slices.Sorted(maps.Keys(Scopes)) {
		if !slices.Contains(s.Scopes, scope) {
			missing = append(missing, scope)
		}
	}
	return missing
}

// CodeOf returns the code of a failed call: Slack's own, such as token_revoked,
// or a word of ours, such as no_answer; and the scope that Slack misses, when
// the code is missing_scope.
func CodeOf(err error) (code, needed string) {
	var refused *TokenRefused
	if errors.As(err, &refused) {
		return refused.Code, refused.Needed
	}
	var f *bot.Failure
	if !errors.As(err, &f) {
		f = failure(err, asking)
	}
	return f.Code, neededScope(err)
}

// A TokenRefused is why Slack does not take our token.
type TokenRefused struct{ Code, Needed string }

func (t *TokenRefused) Error() string {
	return ErrTokenRefused.Error() + " (" + t.Code + "): " + TokenFix(t.Code)
}

// Unwrap makes it an ErrTokenRefused.
func (t *TokenRefused) Unwrap() error { return ErrTokenRefused }

// TokenFix says what to do about a bot token that is refused with a code.
func TokenFix(code string) string {
	switch code {
	case "account_inactive":
		return "the app's bot was removed from the workspace, or the workspace is gone: install the app again, and copy its Bot User OAuth Token into SLACK_BOT_TOKEN"
	case "token_revoked", "token_expired":
		return "somebody revoked it, or it ran out: install the app again, and copy its Bot User OAuth Token into SLACK_BOT_TOKEN"
	case codeMissingScope:
		return "add what is missing under OAuth & Permissions in the app's settings, and install the app again"
	case "not_allowed_token_type":
		return "it is a token of another kind: SLACK_BOT_TOKEN wants the Bot User OAuth Token (xoxb-…)"
	}
	return "copy it again from OAuth & Permissions in the app's settings into SLACK_BOT_TOKEN"
}

// A Channel is a channel as it is now.
type Channel struct {
	Name     string
	Member   bool // we are in it
	Archived bool
}

// Channel asks Slack about a channel. Errors are *bot.Failure; channel_not_found
// is a channel that is not there, or a private one that we are not in.
// Needs channels:read or groups:read.
func (c *Chat) Channel(ctx context.Context, id string) (Channel, error) {
	info, err := c.api.GetConversationInfoContext(ctx, &slack.GetConversationInfoInput{ChannelID: id})
	if err == nil && info.ID == "" {
		err = errNoTS
	}
	if err != nil {
		return Channel{}, failure(err, asking)
	}
	return Channel{Name: cut(clean(info.Name), 80), Member: info.IsMember, Archived: info.IsArchived}, nil
}

// MayRead asks for one message of a channel, which is what finding out what
// became of a message needs. Errors are *bot.Failure.
// Needs channels:history or groups:history.
func (c *Chat) MayRead(ctx context.Context, channel string) error {
	r, err := c.api.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{ChannelID: channel, Limit: 1})
	if err == nil && !r.Ok {
		err = errNoTS
	}
	if err != nil {
		return failure(err, asking)
	}
	return nil
}

// MayOpenSocket asks for the address of a connection for Socket Mode, which takes
// the app-level token with connections:write, and does not open it. Errors are
// *bot.Failure.
func (c *Chat) MayOpenSocket(ctx context.Context) error {
	api := slack.New("", slack.OptionAPIURL(c.base.String()), slack.OptionAppLevelToken(c.appToken), slack.OptionHTTPClient(c.http))
	_, address, err := api.StartSocketModeContext(ctx)
	if err == nil && address == "" {
		err = errNoTS
	}
	if err != nil {
		return failure(err, asking)
	}
	return nil
}

// ChannelFix says what is wrong with a channel that something is posted in, in
// Slack's code or a word of ours, and what to do; "" for nothing.
func ChannelFix(c Channel, err error) (code, fix string) {
	code, needed := "", ""
	if err != nil {
		code, needed = CodeOf(err)
	}
	switch {
	case code == "channel_not_found":
		return code, "there is no such channel, or it is private and the bot is not in it: check the id, and type /invite @rehome there"
	case code == codeMissingScope:
		return code, "the token lacks " + orElse(needed, "channels:read") + ": " + TokenFix(code)
	case code != "":
		return code, "Slack did not say; try again"
	case c.Archived:
		return "is_archived", "the channel is archived: unarchive it, or name another one"
	case !c.Member:
		return "not_in_channel", "type /invite @rehome in #" + c.Name
	}
	return "", ""
}
