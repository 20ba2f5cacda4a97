package slackapp

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/url"
	"regexp"
	"strings"
)

// This file decodes what comes through either door. It reads the few fields that
// we need and ignores all others, so that a new kind of block in somebody's message
// cannot make a delivery unreadable.

// A payload is what Slack delivers: a command, an interaction or an event.
type payload interface {
	origin() (team, app string)
}

var errNotSlack = errors.New("this is signed, but not a payload of Slack's")

// A command is a slash command.
type command struct {
	Team        string `json:"team_id"`
	App         string `json:"api_app_id"`
	User        string `json:"user_id"`
	Channel     string `json:"channel_id"`
	Command     string `json:"command"`
	Text        string `json:"text"`
	Trigger     string `json:"trigger_id"`
	ResponseURL string `json:"response_url"`
}

func (c command) origin() (string, string) { return c.Team, c.App }

// decodeCommand reads the form a command comes as over HTTP.
func decodeCommand(form url.Values) (command, error) {
	return command{
		Team: form.Get("team_id"), App: form.Get("api_app_id"), User: form.Get("user_id"), Channel: form.Get("channel_id"),
		Command: form.Get("command"), Text: form.Get("text"), Trigger: form.Get("trigger_id"), ResponseURL: form.Get("response_url"),
	}.checked()
}

// decodeCommandJSON reads the object a command comes as over a socket.
func decodeCommandJSON(raw []byte) (command, error) {
	var c command
	if err := json.Unmarshal(raw, &c); err != nil {
		return c, errNotSlack
	}
	return c.checked()
}

func (c command) checked() (command, error) {
	if !isUser(c.User) || !channelID.MatchString(c.Channel) || !strings.HasPrefix(c.Command, "/") {
		return c, errNotSlack
	}
	return c, nil
}

// key names the command for bot.Handle: it is the same when Slack delivers it again.
func (c command) key() string {
	if c.Trigger != "" {
		return "cmd:" + brief(c.Trigger)
	}
	return "cmd:" + digest(c.User, c.Channel, c.Command, c.Text, c.ResponseURL)
}

// An interaction is a press, a pick, a submitted form or a shortcut.
type interaction struct {
	Type        string          `json:"type"`
	Team        idOnly          `json:"team"`
	App         string          `json:"api_app_id"`
	User        idOnly          `json:"user"`
	Channel     idOnly          `json:"channel"`
	CallbackID  string          `json:"callback_id"`
	Trigger     string          `json:"trigger_id"`
	ResponseURL string          `json:"response_url"`
	ActionTS    string          `json:"action_ts"`
	MessageTS   string          `json:"message_ts"`
	Container   container       `json:"container"`
	Message     json.RawMessage `json:"message"`
	Actions     []action        `json:"actions"`
	View        view            `json:"view"`
}

type idOnly struct {
	ID string `json:"id"`
}

type container struct {
	Type      string `json:"type"`
	Channel   string `json:"channel_id"`
	MessageTS string `json:"message_ts"`
	ThreadTS  string `json:"thread_ts"`
	ViewID    string `json:"view_id"`
}

type action struct {
	ActionID string `json:"action_id"`
	BlockID  string `json:"block_id"`
	Value    string `json:"value"`
	Selected struct {
		Value string `json:"value"`
	} `json:"selected_option"`
	Person   string `json:"selected_user"`
	ActionTS string `json:"action_ts"`
}

type view struct {
	ID         string `json:"id"`
	Type       string `json:"type"`
	CallbackID string `json:"callback_id"`
	Hash       string `json:"hash"`
	Private    string `json:"private_metadata"`
	State      struct {
		Values map[string]map[string]field `json:"values"`
	} `json:"state"`
}

type field struct {
	Value    string `json:"value"`
	Selected struct {
		Value string `json:"value"`
	} `json:"selected_option"`
}

func (i interaction) origin() (string, string) { return i.Team.ID, i.App }

// decodeInteraction reads the JSON an interaction comes as through either door.
func decodeInteraction(raw []byte) (interaction, error) {
	var i interaction
	if err := json.Unmarshal(raw, &i); err != nil || i.Type == "" || !isUser(i.User.ID) {
		return i, errNotSlack
	}
	return i, nil
}

// threadTS is the root of the thread the pressed message stands in; a message
// outside a thread is its own.
func (i interaction) threadTS() string {
	var m struct {
		TS       string `json:"ts"`
		ThreadTS string `json:"thread_ts"`
	}
	_ = json.Unmarshal(i.Message, &m) // absent in views; then all is empty
	return cmp.Or(i.Container.ThreadTS, m.ThreadTS, i.Container.MessageTS, m.TS)
}

func (i interaction) channel() string { return cmp.Or(i.Channel.ID, i.Container.Channel) }

func (i interaction) key(a action) string {
	if i.Trigger != "" {
		return "act:" + brief(i.Trigger)
	}
	return "act:" + digest(i.channel(), i.Container.MessageTS, cmp.Or(a.ActionTS, i.ActionTS), i.User.ID, a.BlockID, a.ActionID, a.Value, a.Selected.Value, a.Person)
}

// An event is one delivery of the Events API.
type event struct {
	Type      string       `json:"type"`
	Challenge string       `json:"challenge"`
	Team      string       `json:"team_id"`
	App       string       `json:"api_app_id"`
	EventID   string       `json:"event_id"`
	Event     happening    `json:"event"`
	Auths     []authorized `json:"authorizations"`
}

type happening struct {
	Type        string `json:"type"`
	Subtype     string `json:"subtype"`
	User        string `json:"user"`
	BotID       string `json:"bot_id"`
	Channel     string `json:"-"`
	ChannelType string `json:"channel_type"`
	Text        string `json:"text"`
	TS          string `json:"ts"`
	ThreadTS    string `json:"thread_ts"`
	Tab         string `json:"tab"`

	raw []byte // of what an app posted: its words stand in blocks and attachments, too
}

// fromApp reports whether it is a message that an app posted.
func (h *happening) fromApp() bool {
	return h.Type == "message" && (h.Subtype == "bot_message" || h.Subtype == "" && h.BotID != "")
}

// UnmarshalJSON reads a happening. A few events have objects where messages
// have ids: then the id is taken from inside, or left empty.
func (h *happening) UnmarshalJSON(raw []byte) error {
	type plain happening
	aux := struct {
		*plain
		User    flexID `json:"user"`
		Channel flexID `json:"channel"`
	}{plain: (*plain)(h)}
	if err := json.Unmarshal(raw, &aux); err != nil {
		return err
	}
	h.User, h.Channel = string(aux.User), string(aux.Channel)
	if h.fromApp() {
		h.raw = bytes.Clone(raw)
	}
	return nil
}

// flexID is an id, or the id of an object.
type flexID string

func (f *flexID) UnmarshalJSON(raw []byte) error {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		*f = flexID(s)
		return nil
	}
	var o idOnly
	if json.Unmarshal(raw, &o) == nil {
		*f = flexID(o.ID)
	}
	return nil
}

type authorized struct {
	UserID string `json:"user_id"`
	IsBot  bool   `json:"is_bot"`
}

func (e event) origin() (string, string) { return e.Team, e.App }

// decodeEvent reads the JSON an event comes as through either door.
func decodeEvent(raw []byte) (event, error) {
	var e event
	if err := json.Unmarshal(raw, &e); err != nil || e.Type == "" {
		return e, errNotSlack
	}
	return e, nil
}

// key names the event for bot.Handle. A message is named by where it is, because a
// mention in a channel is delivered twice, as app_mention and as message.
func (e event) key() string {
	if e.Event.TS != "" && e.Event.Channel != "" {
		return "msg:" + brief(e.Event.Channel) + ":" + brief(e.Event.TS)
	}
	return "ev:" + brief(e.EventID)
}

// self is our own user id as the delivery states it, or "".
func (e event) self() string {
	for _, a := range e.Auths {
		if a.IsBot {
			return a.UserID
		}
	}
	return ""
}

func isUser(id string) bool { return userID.MatchString(id) }

// brief returns an id that is short enough for a store's key.
func brief(id string) string {
	if len(id) <= 200 {
		return id
	}
	return digest(id)
}

func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

var sequence = regexp.MustCompile(`<([^<>]*)>`)

// typed turns the text of a message into what somebody typed: addresses lose their
// labels, mentions of people, channels and groups lose their ids, and entities
// become characters.
func typed(text string) string {
	text = sequence.ReplaceAllStringFunc(text, func(s string) string {
		target, shown, labelled := strings.Cut(s[1:len(s)-1], "|")
		switch {
		case strings.HasPrefix(target, "http://"), strings.HasPrefix(target, "https://"):
			return target
		case labelled:
			return shown
		case strings.HasPrefix(target, "@"), strings.HasPrefix(target, "#"), strings.HasPrefix(target, "!"):
			return ""
		case strings.HasPrefix(target, "mailto:"):
			return strings.TrimPrefix(target, "mailto:")
		}
		return target
	})
	return strings.TrimSpace(unescaper.Replace(text))
}

var unescaper = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")
