package slackapp

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"

	"rehome/bot"
	"rehome/conversation"
	"rehome/policy"
)

// event handles what happens in the workspace.
func (d *Doors) event(ctx context.Context, e event) answer {
	h := e.Event
	switch h.Type {
	case "app_mention", "message":
		return d.heard(ctx, e)
	case "app_home_opened":
		if isUser(h.User) && (h.Tab == "" || h.Tab == "home") {
			d.homes.open(h.User)
		}
	case "member_joined_channel", "member_left_channel", "channel_left", "group_left", "channel_deleted", "group_deleted", "channel_archive", "group_archive":
		d.Chat.members.forget(h.Channel)
	case "app_uninstalled", "tokens_revoked":
		d.Log.Error("the app was removed from the workspace, or its tokens were revoked: nothing can be posted until it is installed again", "event", h.Type)
	case "":
		if e.Type == "app_rate_limited" {
			d.Log.Error("Slack is holding events back: more than 30,000 came in an hour")
		}
	}
	return answer{}
}

// byPeople are the subtypes of messages that are a person's words: plain ones, those
// with a file, and replies that are shown in the channel as well.
var byPeople = map[string]bool{"": true, "file_share": true, "thread_broadcast": true}

// heard handles something somebody wrote.
func (d *Doors) heard(ctx context.Context, e event) answer {
	h := e.Event
	if h.fromApp() {
		return d.posted(ctx, e)
	}
	if !isUser(h.User) || h.BotID != "" || h.TS == "" || !channelID.MatchString(h.Channel) || !byPeople[h.Subtype] {
		return answer{} // a bot, ourselves, an edit, a deletion, somebody joining
	}
	direct := strings.HasPrefix(h.Channel, "D") || h.ChannelType == "im"
	self := ""
	if strings.Contains(h.Text, "<@") {
		self = d.selfOf(ctx, e)
	}
	// The same words come as app_mention and as message; both count as the mention.
	addressed := direct || h.Type == "app_mention" || self != "" && strings.Contains(h.Text, "<@"+self)
	if h.ThreadTS != "" {
		id, err := d.Bot.Store.Find(ctx, h.Channel, h.ThreadTS)
		if err == nil {
			return d.said(ctx, e, id, withoutMention(h.Text, self), addressed)
		}
		if !errors.Is(err, bot.ErrNotFound) {
			return answer{err: err}
		}
	}
	if !addressed {
		return answer{}
	}
	return d.asked(ctx, e, withoutMention(h.Text, self), direct)
}

// selfOf returns our user id, from the delivery or from Slack, or "".
func (d *Doors) selfOf(ctx context.Context, e event) string {
	if id := e.self(); id != "" {
		return id
	}
	self, err := d.Chat.Identify(ctx)
	if err != nil {
		d.Log.Warn("could not find out who we are", "err", err)
	}
	return self.UserID
}

// said brings a reply to its conversation.
func (d *Doors) said(ctx context.Context, e event, id, text string, addressed bool) answer {
	c, err := d.Bot.Store.Get(ctx, id)
	if err != nil {
		return answer{err: err}
	}
	h := e.Event
	in, ok := threadOf(c, h.Channel, h.ThreadTS, h.User)
	if !ok {
		return answer{} // unreachable: the store found it by its thread
	}
	text = typed(text)
	_, err = d.Bot.Handle(ctx, e.key(), id, conversation.Said{By: conversation.Person{ID: h.User}, In: in, Text: text, Addressed: addressed || attempts(c, h.User, text)})
	return answer{err: err}
}

// attempts reports whether words are likely meant as an answer although they are
// not addressed to us: a single plain word, while a question is open, from whoever
// opened the conversation or owns the app. They are told when it is not understood.
// Everything else that is not addressed is talk among people.
func attempts(c conversation.Conversation, user, text string) bool {
	plain := text != "" && !strings.ContainsFunc(text, func(r rune) bool { return r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return plain && c.OpenQuestion() > 0 && !over(c) && (c.By.ID == user ||
		slices.ContainsFunc(c.Owners, func(o conversation.Owner) bool { return o.ID == user && o.State != conversation.NotTheirs }))
}

// asked answers words that are meant for us and belong to no conversation.
func (d *Doors) asked(ctx context.Context, e event, text string, direct bool) answer {
	h := e.Event
	text, secrets := policy.Strip(typed(text))
	r := request{key: e.key(), user: h.User, text: text, secrets: secrets, how: "typed in a message",
		place: conversation.Place{Channel: h.Channel, Anchor: orElse(h.ThreadTS, h.TS)}, joined: !direct}
	if r.text == "" && len(secrets) == 0 {
		r.text = "help"
	}
	p, opened, err := d.ask(ctx, r)
	if err != nil {
		return answer{err: err}
	}
	if opened || !d.recent.first(e.key()) {
		return answer{} // what comes up in the thread is the answer; or it was answered
	}
	thread := h.ThreadTS
	if direct {
		thread = r.place.Anchor
	}
	return answer{after: d.saying(d.Chat.whispering(h.User, e.key(), r.place, thread, p))}
}

// withoutMention takes our own mention out of a text, and any other's first one
// when we don't know who we are.
func withoutMention(text, self string) string {
	done := false
	return strings.TrimSpace(mentioned.ReplaceAllStringFunc(text, func(s string) string {
		id := mentioned.FindStringSubmatch(s)[1]
		if id == self || self == "" && !done {
			done = true
			return " "
		}
		return s
	}))
}

var mentioned = regexp.MustCompile(`<@([UW][A-Z0-9]+)(?:\|[^<>]*)?>`)

// recent remembers the keys of what was answered and is not in the store, such as a
// call for help, so that a mention that comes twice is answered once. It is lost
// with the process, and forgets the oldest keys.
type recent struct {
	mu   sync.Mutex
	seen map[string]bool
	last []string // in order of arrival
}

const maxRecent = 1000

// first reports whether key is new, and remembers it.
func (r *recent) first(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen[key] {
		return false
	}
	if r.seen == nil {
		r.seen = map[string]bool{}
	}
	if len(r.last) >= maxRecent {
		delete(r.seen, r.last[0])
		r.last = r.last[1:]
	}
	r.seen[key] = true
	r.last = append(r.last, key)
	return true
}

// forget makes a key new again, as when nothing came of it.
func (r *recent) forget(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.seen, key)
}
