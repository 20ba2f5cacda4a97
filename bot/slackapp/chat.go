// Package slackapp is the bot in Slack: the two doors people's words and presses
// come in through, and the messages that go out. It is the only package that
// knows slack-go.
//
//	Socket Mode ─┐                      ┌─ command  /rehome …
//	             ├─ Doors ─ one decoder ┼─ interact buttons, selects, forms, shortcuts; owners: whose it is
//	signed HTTP ─┘                      └─ events   mentions, messages, the Home tab; alerts of other apps
//	                                         │
//	                                         ▼ bot.Open, bot.Handle: on disk, then acknowledged
//	bot.Run ── Chat.Show, Chat.Tell ── render: cards → Block Kit and the same in words
//	        ├─ Chat.Digest, Chat.Report  several conversations for one person; a word in a channel
//	        └─ Chat.Person ── people: who may be told, and in which time zone
//	RunHomes ── home: each person's Home tab, as it is now
//
// Payloads are decoded here and not by slack-go, which refuses a whole envelope
// for one element it does not know; we read the few fields we need and nothing
// else. slack-go carries the Web API and the socket.
//
// Whatever comes from outside is escaped in mrkdwn.go, by the type of what it
// becomes. What is pressed is told apart by what stands in block and action
// ids, see control.
package slackapp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slack-go/slack"
	"golang.org/x/sync/singleflight"

	"rehome/bot"
	"rehome/conversation"
	"rehome/policy"
)

// Options say how to reach a workspace.
type Options struct {
	BotToken string // xoxb-…; required
	AppToken string // xapp-…; for Socket Mode only
	APIURL   string // default https://slack.com/api/; a missing slash at its end is added

	Timeout     time.Duration                                                     // of one call; default 10 s
	Log         *slog.Logger                                                      // nil: discard
	Unlimited   bool                                                              // keep to no limits: for a workspace that has none
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error) // nil: the net package's; also used by the socket
}

// A Chat posts cards and answers in one workspace. It is safe for use by many
// goroutines.
type Chat struct {
	api      *slack.Client
	http     *http.Client
	base     *url.URL // of the API
	appToken string
	dial     func(ctx context.Context, network, addr string) (net.Conn, error)
	log      *slog.Logger

	unlimited bool
	self      onceOK[Self]
	refusal   atomic.Pointer[string] // why Slack takes no messages of ours: "" or nil when it does
	members   membership
	people    known
	ahead     ahead
	pace      bot.Pace // of what is asked of Slack; what is sent is paced by the bot
}

var _ bot.Chat = (*Chat)(nil)

const defaultAPI = "https://slack.com/api/"

// NewChat checks the options and makes a Chat. It does not connect.
func NewChat(o Options) (*Chat, error) {
	if o.BotToken == "" {
		return nil, errors.New("no Slack bot token: set SLACK_BOT_TOKEN to the app's bot token (xoxb-…), from OAuth & Permissions in the app's settings")
	}
	if strings.HasPrefix(o.BotToken, "xapp-") {
		return nil, errors.New("SLACK_BOT_TOKEN holds an app-level token (xapp-…): put that into SLACK_APP_TOKEN, and the bot token (xoxb-…) here")
	}
	if strings.HasPrefix(o.AppToken, "xoxb-") {
		return nil, errors.New("SLACK_APP_TOKEN holds a bot token (xoxb-…): put that into SLACK_BOT_TOKEN, and the app-level token (xapp-…) here")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	base, err := url.Parse(strings.TrimSuffix(orElse(o.APIURL, defaultAPI), "/") + "/")
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, errors.New("SLACK_API_URL is not an http or https address; leave it unset for Slack itself")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = o.DialContext
	if o.DialContext == nil {
		transport.DialContext = (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	transport.MaxIdleConnsPerHost = 16
	c := &Chat{base: base, appToken: o.AppToken, dial: o.DialContext, log: o.Log, unlimited: o.Unlimited}
	c.http = &http.Client{Timeout: o.Timeout, Transport: limited{transport, &c.ahead}, CheckRedirect: refuseRedirect}
	c.api = slack.New(o.BotToken, slack.OptionAPIURL(base.String()), slack.OptionHTTPClient(c.http))
	return c, nil
}

// refuseRedirect keeps tokens and messages from following a redirect to
// another host. Slack's API does not redirect.
func refuseRedirect(req *http.Request, _ []*http.Request) error {
	return errRedirect
}

var errRedirect = errors.New("the Slack API answered with a redirect, which is not followed; check SLACK_API_URL")

// limited bounds what one answer may hold, mends one, and learns Slack's clock.
type limited struct {
	next  http.RoundTripper
	ahead *ahead
}

const maxAnswer = 4 << 20 // bytes; Slack's answers to what we call are a few KiB

func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	l.ahead.learn(resp.Header)
	sayableLimit(resp)
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	return resp, nil
}

// CloseIdleConnections passes on what http.Client asks of its transport; without
// it Close would do nothing.
func (l limited) CloseIdleConnections() {
	if t, ok := l.next.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// Close lets go of idle connections.
func (c *Chat) Close() { c.http.CloseIdleConnections() }

// addressed is a card as it is for the place it goes to: in a direct message,
// the root of a conversation that somebody opened there speaks to them.
func addressed(m bot.Message) conversation.Card {
	r, ok := m.Card.(conversation.Root)
	if ok && r.For.ID == "" && (conversation.Place{Channel: m.Channel}).IsDirect() {
		r.For.Person = r.OpenedBy
		return r
	}
	return m.Card
}

// Show implements [bot.Chat].
func (c *Chat) Show(ctx context.Context, m bot.Message) (bot.At, error) {
	blocks, text := render(addressed(m), markerOf(m))
	return c.send(ctx, m.Channel, callOf(m), marked(m, text, blocks)...)
}

// post posts words for which there is no card, where and under what m says.
func (c *Chat) post(ctx context.Context, m bot.Message, p *page) (bot.At, error) {
	p.stamp(markerOf(m).String())
	return c.send(ctx, m.Channel, callOf(m), marked(m, p.words(), p.blocks)...)
}

func callOf(m bot.Message) call {
	switch {
	case m.TS != "":
		return editing
	case m.ThreadTS != "":
		return replying
	}
	return posting
}

func markerOf(m bot.Message) marker {
	return marker{conversation: m.Conversation, key: m.Key, digest: m.Digest}
}

// marked are the options of a message that can be found again by either of two
// marks: the block_id of its first block, which the blocks bear already, and its
// metadata.
func marked(m bot.Message, text string, blocks []slack.Block) []slack.MsgOption {
	options := append(quiet(text, blocks...), slack.MsgOptionMetadata(slack.SlackMetadata{
		EventType:    MetadataEvent,
		EventPayload: map[string]any{"conversation": m.Conversation, "key": m.Key, "digest": m.Digest},
	}))
	if m.TS != "" {
		return append(options, slack.MsgOptionUpdate(m.TS))
	}
	if m.ThreadTS != "" {
		return append(options, slack.MsgOptionTS(m.ThreadTS))
	}
	return options
}

// MetadataEvent is the event_type of every message's metadata.
const MetadataEvent = "rehome_card"

// Tell implements [bot.Chat]: in a channel for one person's eyes only, in a
// direct message as a reply, which stays.
func (c *Chat) Tell(ctx context.Context, to conversation.Person, m bot.Message, text policy.Text) error {
	return c.whisper(ctx, to.ID, m, say(prose(text)...))
}

// whisper shows a page to one person where they are: in a direct message it bears
// m's marks, in a channel they alone see it and it bears none.
func (c *Chat) whisper(ctx context.Context, user string, m bot.Message, p *page) error {
	if (conversation.Place{Channel: m.Channel}).IsDirect() {
		_, err := c.post(ctx, m, p)
		return err
	}
	options := append(quiet(p.words(), p.blocks...), slack.MsgOptionPostEphemeral(user))
	if m.ThreadTS != "" {
		options = append(options, slack.MsgOptionTS(m.ThreadTS))
	}
	_, err := c.send(ctx, m.Channel, posting, options...)
	return err
}

// quiet are the options of every message: nothing in it unfurls, and Slack
// looks for no names and addresses in it. parse must be said, because
// chat.update's default is another one than chat.postMessage's.
func quiet(text string, blocks ...slack.Block) []slack.MsgOption {
	return []slack.MsgOption{
		slack.MsgOptionText(text, false), slack.MsgOptionBlocks(blocks...),
		slack.MsgOptionDisableLinkUnfurl(), slack.MsgOptionDisableMediaUnfurl(),
		slack.MsgOptionParse(false), slack.MsgOptionLinkNames(false),
	}
}

// send posts or edits. An answer without a ts is no success, whatever else it
// says: slack-go takes {"ok":false} without an error for one. A request that has
// begun when ctx ends is given a while to finish, since what became of it would
// have to be found out otherwise.
func (c *Chat) send(ctx context.Context, channel string, of call, options ...slack.MsgOption) (bot.At, error) {
	if err := ctx.Err(); err != nil {
		f := failure(err, of)
		f.Unsure = false // nothing was sent
		return bot.At{}, f
	}
	ctx, cancel := outlast(ctx, finishWithin)
	defer cancel()
	at, ts, _, err := c.api.SendMessageContext(ctx, channel, options...)
	if err == nil && ts == "" {
		err = errNoTS
	}
	if err != nil {
		f := failure(err, of)
		if f.Kind == bot.Stop {
			c.refused(f.Code, neededScope(err))
		}
		return bot.At{}, f
	}
	c.refused("", "")
	return bot.At{Channel: orElse(at, channel), TS: ts}, nil
}

// finishWithin is how long a request may go on after we were told to stop.
const finishWithin = 5 * time.Second

// refused notes with which code Slack refuses our messages, "" when it takes
// them, and says so when that changes.
func (c *Chat) refused(code, needed string) {
	now := strings.TrimSpace(code + " " + needed)
	if before := c.refusal.Swap(&now); before == nil && now == "" || before != nil && *before == now {
		return
	}
	if code == "" {
		c.log.Info("Slack takes our messages again")
		return
	}
	c.log.Error("Slack refuses our messages; they wait", "code", code, "needed", needed, "hint", TokenFix(code))
}

// respond answers a press or a command later, at the address Slack gave with
// it. The address is a secret and only used when it leads to Slack. It lives for
// half an hour and takes five answers. Errors are *bot.Failure.
func (c *Chat) respond(ctx context.Context, address string, answer any) error {
	if !c.mayRespond(address) {
		return &bot.Failure{Kind: bot.Never, Code: "not_slack", Err: errors.New("the response_url does not lead to Slack")}
	}
	body, err := json.Marshal(answer)
	if err != nil {
		return &bot.Failure{Kind: bot.Never, Code: "unwritable", Err: err} // unreachable: a page is made of strings
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(string(body)))
	if err != nil {
		return &bot.Failure{Kind: bot.Never, Code: "not_slack", Err: errors.New("the response_url cannot be used")}
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	resp, err := c.http.Do(req)
	if err != nil {
		return failure(err, posting)
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, resp.Body) // so that the connection can be used again
	if resp.StatusCode != http.StatusOK {
		return unresponded(resp)
	}
	return nil
}

// mayRespond reports whether an address is Slack's: https on hooks.slack.com,
// or the scheme and host of the API.
func (c *Chat) mayRespond(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.User != nil {
		return false
	}
	return u.Scheme == "https" && strings.EqualFold(u.Host, "hooks.slack.com") ||
		u.Scheme == c.base.Scheme && strings.EqualFold(u.Host, c.base.Host)
}

// withoutURL takes the address out of an error of net/http.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return fmt.Errorf("%s: %w", u.Op, u.Err)
	}
	return err
}

// Self is who we are in the workspace.
type Self struct {
	Team, TeamID, UserID, BotID string

	URL string // of the workspace: https://contoso.slack.com/
}

// ErrTokenRefused is in Identify's and Stand's errors when Slack answers and
// does not take the bot token: asking again is no use.
var ErrTokenRefused = errors.New("the bot token is refused")

// Identify asks Slack who we are, once, and checks the token by it. The error
// says what to do.
func (c *Chat) Identify(ctx context.Context) (Self, error) {
	return c.self.get(func() (Self, error) {
		self, _, err := c.whoAmI(ctx)
		return self, err
	})
}

func (c *Chat) whoAmI(ctx context.Context) (Self, http.Header, error) {
	r, err := c.api.AuthTestContext(ctx)
	if err == nil && r.UserID == "" {
		err = errNoTS
	}
	if err != nil {
		f := failure(err, asking)
		if authTrouble[f.Code] {
			return Self{}, nil, &TokenRefused{Code: f.Code, Needed: neededScope(err)}
		}
		return Self{}, nil, fmt.Errorf("asking Slack who we are: %w", f)
	}
	return Self{Team: r.Team, TeamID: r.TeamID, UserID: r.UserID, BotID: r.BotID, URL: r.URL}, r.Header, nil
}

// onceOK remembers the first success of a function.
type onceOK[T any] struct {
	mu   sync.Mutex
	done bool
	v    T
}

func (o *onceOK[T]) get(f func() (T, error)) (T, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.done {
		return o.v, nil
	}
	v, err := f()
	o.v, o.done = v, err == nil
	return v, err
}

// membership remembers which channels we are in.
type membership struct {
	flight singleflight.Group
	mu     sync.Mutex
	known  map[string]member
}

type member struct {
	in    bool
	until time.Time
}

const (
	memberFor    = 10 * time.Minute // join and leave events end it sooner
	notMemberFor = 15 * time.Second // somebody is about to invite us
	maxKnown     = 10_000
)

// isMember reports whether we are in a channel, or that Slack does not say so in
// time. Many commands at once ask Slack once.
func (c *Chat) isMember(ctx context.Context, channel string, within time.Duration) (bool, error) {
	m := &c.members
	m.mu.Lock()
	k, ok := m.known[channel]
	m.mu.Unlock()
	if ok && time.Now().Before(k.until) {
		return k.in, nil
	}
	v, err, _ := m.flight.Do(channel, func() (any, error) {
		// Whoever asks first may give up; the others wait for the same answer.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
		defer cancel()
		in, err := c.askMember(ctx, channel)
		if err != nil {
			return false, err
		}
		m.keep(channel, in)
		return in, nil
	})
	if err != nil {
		return false, err
	}
	return v.(bool), nil
}

func (c *Chat) askMember(ctx context.Context, channel string) (bool, error) {
	if err := c.turn(ctx, "conversations.info", bot.Tier3); err != nil {
		return false, err
	}
	info, err := c.api.GetConversationInfoContext(ctx, &slack.GetConversationInfoInput{ChannelID: channel})
	if err == nil {
		if info.ID == "" {
			return false, errNoTS
		}
		return info.IsMember, nil
	}
	var refused slack.SlackErrorResponse
	if errors.As(err, &refused) && (refused.Err == "channel_not_found" || refused.Err == "missing_scope") {
		return false, nil // a private channel or group message that we cannot see is one we are not in
	}
	return false, err
}

func (m *membership) keep(channel string, in bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil || len(m.known) >= maxKnown {
		m.known = map[string]member{}
	}
	k := member{in: in, until: time.Now().Add(memberFor)}
	if !in {
		k.until = time.Now().Add(notMemberFor)
	}
	m.known[channel] = k
}

// forget makes the next question about a channel go to Slack.
func (m *membership) forget(channel string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.known, channel)
}
