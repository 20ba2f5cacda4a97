package slackapp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"rehome/bot"
	"rehome/conversation"
)

// Doors are how Slack reaches the bot. Fill in Bot and Chat, and the signing
// secrets for HTTP, and give it to [New].
type Doors struct {
	Bot  *bot.Bot
	Chat *Chat

	// SigningSecrets verify requests over HTTP. Two while one replaces the other.
	SigningSecrets []string
	// TeamID and AppID, when set, are the only ones served.
	TeamID, AppID string

	// AlertChannels are where other apps post alerts: a message there that bears a
	// known title, or one of AlertLinks, is worked in its own thread.
	AlertChannels []string
	// AlertLinks are addresses, https://host/path, at or below which findings are.
	AlertLinks []string

	// Sockets is how many connections Socket Mode keeps open, 1 or 2; 0 is two.
	Sockets int

	Log *slog.Logger // nil: discard

	patience time.Duration // what a delivery may take until it is acknowledged
	*doorway
}

// A doorway is the state of the doors.
type doorway struct {
	recent recent
	homes  homes

	mu     sync.Mutex
	socket SocketState
}

// New checks d and fills in its defaults.
func New(d Doors) (*Doors, error) {
	if d.Bot == nil || d.Chat == nil {
		return nil, errors.New("slackapp: Doors need a Bot and a Chat")
	}
	if slices.Contains(d.SigningSecrets, "") {
		return nil, errors.New("a Slack signing secret is empty: copy it from Basic Information in the app's settings into SLACK_SIGNING_SECRET")
	}
	for _, id := range d.AlertChannels {
		if !channelID.MatchString(id) {
			return nil, fmt.Errorf("the alert channel %q is not a channel id: take it from the end of the channel's link, it looks like C0123456789", cut(clean(id), 80))
		}
	}
	for _, l := range d.AlertLinks {
		if u, err := url.Parse(l); err != nil || u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf("the alert link %q is not an https address: give the part that all findings begin with, such as https://s360.contoso.example/findings", cut(clean(l), 80))
		}
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	switch d.Sockets {
	case 0:
		d.Sockets = 2
	case 1, 2:
	default:
		return nil, fmt.Errorf("%d connections for Socket Mode: one or two are kept open", d.Sockets)
	}
	d.doorway = &doorway{homes: homes{bell: make(chan struct{}, 1)}}
	if d.patience == 0 {
		d.patience = 2500 * time.Millisecond
	}
	return &d, nil
}

// An answer is what a delivery comes to. Slack wants it within three seconds.
type answer struct {
	ack   any                   // what the acknowledgement carries, JSON; nil for nothing
	after func(context.Context) // what is left to do once acknowledged; may be nil
	err   error                 // not taken in: Slack should deliver it again
}

// take takes in what came through either door. What it took in is on disk when it
// returns.
func (d *Doors) take(ctx context.Context, p payload) (a answer) {
	ctx, cancel := context.WithTimeout(ctx, d.patience)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			d.Log.Error("a handler panicked; please report this", "payload", fmt.Sprintf("%T", p), "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			a = d.sorry(p, fmt.Errorf("handling %T: panic", p))
		}
	}()
	if team, app := p.origin(); d.TeamID != "" && team != d.TeamID || d.AppID != "" && app != d.AppID {
		d.Log.Warn("a delivery for another workspace or app was turned away", "team", cut(clean(team), 20), "app", cut(clean(app), 20))
		return d.foreign(p)
	}
	switch p := p.(type) {
	case command:
		a = d.command(ctx, p)
	case interaction:
		a = d.interaction(ctx, p)
	case event:
		a = d.event(ctx, p)
	}
	if a.err != nil {
		d.Log.Error("a delivery could not be taken in", "payload", fmt.Sprintf("%T", p), "err", a.err)
		return d.sorry(p, a.err)
	}
	return a
}

// askWithin is what asking Slack about a channel, a person or ourselves may take
// of a delivery's patience. The other half is for writing it down.
func (d *Doors) askWithin() time.Duration { return d.patience / 2 }

// finish does what was left for after the acknowledgement.
func (d *Doors) finish(ctx context.Context, a answer) {
	if a.after == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			d.Log.Error("what follows an acknowledgement panicked; please report this", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		}
	}()
	a.after(ctx)
}

// sorry answers for what could not be taken in. Slack delivers events again, so
// they are left unacknowledged. It does not repeat what people did, so they are
// told.
func (d *Doors) sorry(p payload, err error) answer {
	switch p := p.(type) {
	case command:
		return answer{ack: ephemeral(say(voiceBusy))}
	case interaction:
		if p.Type == typeSubmission {
			return answer{ack: formErrors(map[string]string{formFirst: string(voiceBusyForm)})}
		}
		return answer{after: d.tellBack(p, say(voiceBusy))}
	}
	return answer{err: err}
}

// foreign turns away what is meant for another workspace or app.
func (d *Doors) foreign(p payload) answer {
	switch p := p.(type) {
	case command:
		return answer{ack: ephemeral(say(voiceForeign))}
	case interaction:
		return answer{after: d.tellBack(p, say(voiceForeign))}
	}
	return answer{}
}

// tellBack answers a press where it was made: in its thread if that is in a
// channel, else by the address Slack gave for it, which needs no membership.
func (d *Doors) tellBack(i interaction, p *page) func(context.Context) {
	where := conversation.Place{Channel: orElse(i.channel(), i.User.ID)}
	ways := []bot.Way{d.Chat.whispering(i.User.ID, i.key(action{}), where, i.threadTS(), p)}
	if i.ResponseURL != "" {
		ways = append(ways, d.Chat.responding(i.ResponseURL, ephemeral(p)))
	}
	if i.Type != typePress || where.IsDirect() {
		slices.Reverse(ways)
	}
	return d.saying(ways...)
}

// saying is an answer that belongs to no conversation.
func (d *Doors) saying(ways ...bot.Way) func(context.Context) {
	return func(ctx context.Context) { d.Bot.Answer(ctx, ways...) }
}

// whispering is the way of an answer to where somebody is. key names what is
// answered.
func (c *Chat) whispering(user, key string, where conversation.Place, thread string, p *page) bot.Way {
	m := bot.Message{Conversation: keyAnswer, Key: digest(key), Channel: where.Channel, ThreadTS: thread, Whispered: !where.IsDirect()}
	return bot.Way{Message: m, Send: func(ctx context.Context) error { return c.whisper(ctx, user, m, p) }}
}

// keyAnswer stands for a conversation in the marks of what belongs to none.
const keyAnswer = "answer"

// responding is the way of an answer to the address Slack gave for it.
func (c *Chat) responding(address string, answer any) bot.Way {
	return bot.Way{Message: bot.Message{ByAddress: true}, Send: func(ctx context.Context) error { return c.respond(ctx, address, answer) }}
}

// say is a page of one paragraph.
func say(m ...markup) *page {
	var p page
	p.say(m...)
	return &p
}

// An ack is the body that answers a command, or that is posted to a response_url.
type ack struct {
	ResponseType string `json:"response_type"`
	Text         string `json:"text"`
	Blocks       any    `json:"blocks,omitempty"`
}

// ephemeral is seen by one person alone and replaces nothing.
func ephemeral(p *page) ack {
	return ack{ResponseType: "ephemeral", Text: p.words(), Blocks: p.blocks}
}
