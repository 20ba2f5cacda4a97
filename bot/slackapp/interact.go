package slackapp

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
	"strings"

	"rehome/bot"
	"rehome/conversation"
	"rehome/policy"
)

// The kinds of interaction we act on.
const (
	typePress      = "block_actions"
	typeSubmission = "view_submission"
	typeMessage    = "message_action"
	typeShortcut   = "shortcut"
)

// interaction answers a press, a submitted form or a shortcut.
func (d *Doors) interaction(ctx context.Context, i interaction) answer {
	switch {
	case i.Type == typePress:
		return d.press(ctx, i)
	case i.Type == typeSubmission && i.View.CallbackID == formCallback:
		return d.submit(ctx, i)
	case i.Type == typeMessage && i.CallbackID == MessageShortcut:
		return d.triage(ctx, i)
	case i.Type == typeShortcut && i.CallbackID == GlobalShortcut:
		return d.startForm(ctx, i.Trigger, form{Place: conversation.Place{Channel: i.User.ID}}, func(p *page) answer {
			return answer{after: d.tellBack(i, p)}
		})
	case i.Type == typeMessage || i.Type == typeShortcut:
		return answer{after: d.tellBack(i, say(voiceUnknownControl))}
	}
	// A closed form, or a kind of interaction we never ask for: nothing to do,
	// and nobody waits for an answer.
	d.Log.Info("an interaction was ignored", "type", cut(clean(i.Type), 40), "callback", cut(clean(i.CallbackID), 40))
	return answer{}
}

// press handles a button or a select.
func (d *Doors) press(ctx context.Context, i interaction) answer {
	for _, a := range i.Actions {
		if a.BlockID == homeStart {
			return d.startForm(ctx, i.Trigger, form{Place: conversation.Place{Channel: i.User.ID}}, func(p *page) answer {
				return answer{after: d.tellBack(interaction{User: i.User, Trigger: i.Trigger}, p)}
			})
		}
		if at, ok := parseControl(a.BlockID); ok {
			return d.pressed(ctx, i, a, at)
		}
	}
	d.Log.Warn("a control nobody knows was pressed", "actions", len(i.Actions))
	return answer{after: d.tellBack(i, say(voiceUnknownControl))}
}

// pressed brings a press on one of our controls to its conversation.
func (d *Doors) pressed(ctx context.Context, i interaction, a action, at control) answer {
	c, err := d.Bot.Store.Get(ctx, at.conversation)
	if errors.Is(err, bot.ErrNotFound) {
		return answer{after: d.tellBack(i, forgotten(at.conversation))}
	} else if err != nil {
		return answer{err: err}
	}
	in, ok := threadOf(c, i.channel(), i.threadTS(), i.User.ID)
	if at.verb == verbOwn && (ok || at.listed) {
		return d.owned(ctx, i, a, at, c, in)
	}
	if !ok {
		return answer{after: d.tellBack(i, elsewhere(at.conversation))}
	}
	by := conversation.Person{ID: i.User.ID}
	var e conversation.Event
	switch {
	case at.verb == verbChange && a.ActionID == actionChange:
		e = conversation.Revised{By: by, In: in, Question: at.question}
	case at.verb == verbAsk && a.ActionID == actionPick:
		e = conversation.Chosen{By: by, In: in, Question: at.question, Value: a.Selected.Value}
	case at.verb == verbAsk && isChoose(a.ActionID):
		e = conversation.Chosen{By: by, In: in, Question: at.question, Value: a.Value}
	default:
		return answer{after: d.tellBack(i, say(voiceUnknownControl))}
	}
	_, err = d.Bot.Handle(ctx, i.key(a), at.conversation, e)
	if errors.Is(err, bot.ErrNotFound) {
		return answer{after: d.tellBack(i, forgotten(at.conversation))}
	}
	return answer{err: err}
}

func isChoose(actionID string) bool {
	n, ok := strings.CutPrefix(actionID, actionChoose+":")
	_, err := strconv.ParseUint(n, 10, 8)
	return ok && err == nil
}

// threadOf returns the index of the thread of a conversation that the message with
// root ts in a channel belongs to. A press can come before it is noted where the
// message went. Then the thread is known by its channel, or, for a direct message,
// by its person.
func threadOf(c conversation.Conversation, channel, ts, user string) (int, bool) {
	found, ok := 0, false
	for i, t := range c.Threads {
		here := t.Channel == channel || t.Channel == user && strings.HasPrefix(channel, "D")
		if here && t.RootTS() == ts {
			return i, true
		}
		if here && (!ok || t.RootTS() == "") {
			found, ok = i, true
		}
	}
	return found, ok
}

// triage opens a conversation about somebody's message.
func (d *Doors) triage(ctx context.Context, i interaction) answer {
	back := func(p *page) answer { return answer{after: d.tellBack(i, p)} }
	m, err := readMessage(i.Message)
	if err != nil {
		return back(say(voiceUnknownControl))
	}
	anchor := orElse(m.thread, orElse(m.ts, i.MessageTS))
	id := m.ours
	if id == "" {
		if id, err = d.Bot.Store.Find(ctx, i.channel(), anchor); err != nil && !errors.Is(err, bot.ErrNotFound) {
			return answer{err: err}
		}
	}
	if id != "" {
		return back(already(id))
	}
	r := request{key: "msc:" + brief(orElse(i.Trigger, digest(i.channel(), m.ts, i.User.ID, i.ActionTS))), user: i.User.ID,
		// The message is what a second use of the shortcut is known by.
		finding: messageFinding(i.channel(), anchor),
		place:   conversation.Place{Channel: i.channel(), Anchor: anchor}, text: m.text, exposed: m.secrets, how: "read in the message"}
	facts, _ := d.Bot.Policy.Read(r.text, r.how)
	if !certain(facts) {
		return d.startForm(ctx, i.Trigger, form{Place: r.place, Empty: true}, back)
	}
	o, err := d.open(ctx, r, asAlert(facts), nil)
	switch {
	case err != nil:
		return answer{err: err}
	case !o.fresh:
		return back(already(o.id))
	}
	return back(o.page())
}

func already(id string) *page {
	return say("That is already ", bold(words(id)), ". ", code("/rehome show "+id), " shows where it stands.")
}

// asAlert turns answers into claims of an alert. What was read in a message was not
// stated by whoever used the shortcut on it, and must yield to what they answer.
func asAlert(facts policy.Facts) policy.Facts {
	var out policy.Facts
	for _, f := range facts {
		if f.From == policy.FromAnswer {
			f.From = policy.FromAlert
		}
		out = out.With(f)
	}
	return out
}

// A message is what a shortcut was used on.
type message struct {
	ts, thread string
	text       string // everything written in it, blocks and attachments too, without secrets
	secrets    []string
	ours       string // the conversation it is a card of, if it is one
}

// maxRead bounds how much of a message is read.
const maxRead = 12000

// readMessage gathers a message's words wherever they stand, whatever kinds of
// block they stand in: many alerts have nothing in their text.
func readMessage(raw []byte) (message, error) {
	var m struct {
		TS          string `json:"ts"`
		ThreadTS    string `json:"thread_ts"`
		Text        string `json:"text"`
		Blocks      any    `json:"blocks"`
		Attachments any    `json:"attachments"`
	}
	if err := json.Unmarshal(raw, &m); err != nil || m.TS == "" {
		return message{}, errNotSlack
	}
	out := message{ts: m.TS, thread: m.ThreadTS}
	lines := []string{m.Text}
	gather(m.Blocks, &lines, 0)
	gather(m.Attachments, &lines, 0)
	text := strings.Join(lines, "\n")
	if len(text) > maxRead {
		text = strings.ToValidUTF8(text[:maxRead], "")
	}
	out.text, out.secrets = policy.Strip(typed(text))
	out.ours = cardOf(m.Blocks)
	return out, nil
}

// gather collects the strings people read: texts, addresses, field values.
func gather(v any, into *[]string, depth int) {
	if depth > 20 || len(*into) > 500 {
		return
	}
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			gather(e, into, depth+1)
		}
	case map[string]any:
		for _, name := range []string{"pretext", "title", "title_link", "text", "url", "value", "fallback"} {
			if s, ok := v[name].(string); ok {
				*into = append(*into, s)
			}
		}
		for _, name := range []string{"text", "title", "elements", "fields", "blocks", "accessory", "message_blocks", "message"} {
			gather(v[name], into, depth+1)
		}
	}
}

var cardID = regexp.MustCompile(`^rh:(RH-[1-9][0-9]{0,8}):`)

// cardOf returns the conversation whose card the blocks are.
func cardOf(blocks any) string {
	list, _ := blocks.([]any)
	if len(list) == 0 {
		return ""
	}
	first, _ := list[0].(map[string]any)
	id, _ := first["block_id"].(string)
	if m := cardID.FindStringSubmatch(id); m != nil {
		return m[1]
	}
	return ""
}

func forgotten(id string) *page {
	return say("I don't know ", bold(words(id)), " any more, so nothing changed. Type ", code("/rehome"), " to start anew.")
}

func elsewhere(id string) *page {
	return say(bold(words(id)), " is not worked on here, so nothing changed. ", code("/rehome show "+id), " shows where it is.")
}
