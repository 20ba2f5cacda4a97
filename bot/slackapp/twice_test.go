package slackapp

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rehome/bot"
	"rehome/conversation"
	"rehome/store"
)

type fields = map[string]any

// with returns f with more in it.
func with(f fields, more fields) fields {
	out := maps.Clone(f)
	maps.Copy(out, more)
	return out
}

// Slack may deliver anything twice: over HTTP when an answer came late
// (X-Slack-Retry-Num), over the other socket when the first one broke, and people
// press twice. All of it has one effect, and all of it is acknowledged.
func TestEverythingTwice(t *testing.T) {
	command := fields{"command": "/rehome", "text": title, "user_id": alice, "channel_id": triage, "trigger_id": "t1", "response_url": "https://hooks.slack.com/1"}
	mention := fields{"type": "event_callback", "event_id": "Ev1", "authorizations": []any{fields{"user_id": botUser, "is_bot": true}},
		"event": fields{"type": "app_mention", "user": alice, "channel": triage, "ts": "7.1", "text": "<@" + botUser + "> " + title}}
	message := fields{"type": "event_callback", "event_id": "Ev2", "authorizations": mention["authorizations"],
		"event": fields{"type": "message", "channel_type": "channel", "user": alice, "channel": triage, "ts": "7.1", "text": "<@" + botUser + "> " + title}}
	reply := fields{"type": "event_callback", "event_id": "Ev3", "authorizations": mention["authorizations"],
		"event": fields{"type": "message", "channel_type": "channel", "user": alice, "channel": triage, "ts": "7.2", "thread_ts": "5.1", "text": "3P"}}
	alert := fields{"type": "event_callback", "event_id": "Ev4", "event": fields{"type": "message", "subtype": "bot_message", "bot_id": "B0OTHERBOT", "channel": triage, "ts": "7.3", "text": title}}
	press := fields{"type": "block_actions", "user": fields{"id": alice}, "channel": fields{"id": triage}, "trigger_id": "t2",
		"container": fields{"message_ts": "5.2", "thread_ts": "5.1"},
		"actions":   []any{fields{"block_id": "ask:RH-1:q1:0", "action_id": "choose:1", "value": "3P", "action_ts": "9.1"}}}
	form := fields{"type": "view_submission", "user": fields{"id": alice}, "trigger_id": "t3", "view": fields{"id": "V1", "hash": "h1", "callback_id": formCallback,
		"private_metadata": `{"place":{"Channel":"` + triage + `"}}`,
		"state":            fields{"values": fields{formViolation: fields{formAction: fields{"selected_option": fields{"value": title}}}}}}}
	shortcut := fields{"type": "message_action", "callback_id": MessageShortcut, "trigger_id": "t4", "user": fields{"id": alice}, "channel": fields{"id": triage},
		"message": fields{"ts": "7.4", "text": title}}
	global := fields{"type": "shortcut", "callback_id": GlobalShortcut, "trigger_id": "t5", "user": fields{"id": alice}}
	without := func(f fields, name string) fields {
		f = maps.Clone(f)
		delete(f, name)
		return f
	}
	for name, c := range map[string]struct {
		kind          string
		first, second fields
		opened        bool // RH-1 is there, with a question open
		says          string
		more          bool // the second adds a word to whoever acted, and nothing else
		views         int
	}{
		"a command":                        {kind: frameCommand, first: command, second: command, says: "*RH-1* is open"},
		"a command without a trigger":      {kind: frameCommand, first: without(command, "trigger_id"), second: without(command, "trigger_id"), says: "*RH-1* is open"},
		"a question about what there is":   {kind: frameCommand, first: with(command, fields{"text": "help"}), second: with(command, fields{"text": "help"}), says: "What I do"},
		"a command for the form":           {kind: frameCommand, first: with(command, fields{"text": ""}), second: with(command, fields{"text": ""}), views: 1},
		"a mention":                        {kind: frameEvent, first: mention, second: mention},
		"a mention that is a message, too": {kind: frameEvent, first: mention, second: message},
		"a message that is a mention, too": {kind: frameEvent, first: message, second: mention},
		"an answer typed in the thread":    {kind: frameEvent, first: reply, second: reply, opened: true},
		"an alert of another app":          {kind: frameEvent, first: alert, second: alert},
		"a press":                          {kind: frameInteraction, first: press, second: press, opened: true},
		"a press without a trigger":        {kind: frameInteraction, first: without(press, "trigger_id"), second: without(press, "trigger_id"), opened: true},
		"a double click":                   {kind: frameInteraction, first: press, second: with(press, fields{"trigger_id": "t9"}), opened: true, more: true},
		"a form":                           {kind: frameInteraction, first: form, second: form},
		"a shortcut on a message":          {kind: frameInteraction, first: shortcut, second: shortcut},
		"a shortcut by two people":         {kind: frameInteraction, first: shortcut, second: with(shortcut, fields{"trigger_id": "t9", "user": fields{"id": bob}})},
		"a shortcut for the form":          {kind: frameInteraction, first: global, second: global, views: 1},
	} {
		for _, door := range []string{"http", "socket"} {
			t.Run(name+" over "+door, func(t *testing.T) {
				t.Parallel()
				w := newWire(t)
				mem := store.NewMem()
				d, _ := w.doors(mem)
				t.Cleanup(d.Chat.Close)
				d.AlertChannels = []string{triage}
				if c.opened {
					openQuestion(t, d.Bot)
				}
				deliver := w.throughHTTP(d)
				if door == "socket" {
					deliver = w.throughTwoSockets(d)
				}
				said := deliver(c.kind, c.first, 0)
				once := effects(t, mem)
				again := deliver(c.kind, c.second, 1)
				twice := effects(t, mem)
				if said != again || !strings.Contains(said, c.says) {
					t.Errorf("the answers are\n%s\n%s", said, again)
				}
				if c.more {
					if len(twice.waiting) != len(once.waiting)+1 || !strings.HasPrefix(twice.waiting[len(twice.waiting)-1], "conversation.Tell") {
						t.Errorf("whoever pressed twice hears: %v", twice.waiting)
					}
					once.waiting, twice.waiting = nil, nil
				}
				if diff := cmp.Diff(once, twice, cmp.AllowUnexported(seenEffects{})); diff != "" {
					t.Errorf("the second time changes something (-once +twice):\n%s", diff)
				}
				if nothing := cmp.Equal(once, seenEffects{}, cmp.AllowUnexported(seenEffects{})); nothing && c.says == "" && c.views == 0 {
					t.Error("it has no effect at all")
				}
				if n := w.calls("views.open"); n != c.views {
					t.Errorf("%d forms were opened, want %d", n, c.views)
				}
			})
		}
	}
}

// A thousand deliveries of one command at once open one conversation, and all of
// them are told which.
func TestAThousandReplaysAtOnce(t *testing.T) {
	w := newWire(t)
	mem := store.NewMem()
	d, _ := w.doors(mem)
	defer d.Chat.Close()
	deliver := w.throughHTTP(d)
	var all sync.WaitGroup
	for range 1000 {
		all.Go(func() {
			if said := deliver(frameCommand, fields{"command": "/rehome", "text": title, "user_id": alice, "channel_id": triage, "trigger_id": "t1"}, 0); !strings.Contains(said, "*RH-1* is open") {
				t.Errorf("answered %s", said)
			}
		})
	}
	all.Wait()
	if e := effects(t, mem); len(e.conversations) != 1 {
		t.Errorf("%d conversations are open", len(e.conversations))
	}
}

// openQuestion opens RH-1 in the triage channel, with its first question posted.
func openQuestion(t *testing.T, b *bot.Bot) {
	t.Helper()
	facts, _ := b.Policy.Read(title, "test")
	_, err := b.Open(t.Context(), "k", "", conversation.Opened{By: conversation.Person{ID: alice}, Facts: facts, In: conversation.Place{Channel: triage}})
	check(t, err)
	_, err = b.Handle(t.Context(), "k2", "RH-1", conversation.Posted{Card: conversation.RootKey, Channel: triage, TS: "5.1"})
	check(t, err)
}

// seenEffects is all that deliveries can change.
type seenEffects struct{ conversations, journal, waiting []string }

func effects(t *testing.T, s store.Store) (e seenEffects) {
	t.Helper()
	check(t, s.List(t.Context(), func(c conversation.Conversation) bool {
		c.Rev = 0
		b, err := json.Marshal(c)
		check(t, err)
		e.conversations = append(e.conversations, string(b))
		journal, err := s.Journal(t.Context(), c.ID)
		check(t, err)
		for _, j := range journal {
			e.journal = append(e.journal, j.Text)
		}
		return true
	}))
	outbox, err := s.Outbox(t.Context(), true)
	check(t, err)
	for _, o := range outbox {
		e.waiting = append(e.waiting, fmt.Sprintf("%T %s", o.Effect, o.Line))
	}
	return e
}

// throughHTTP delivers as Slack does over HTTP, and returns the answer.
func (w *wire) throughHTTP(d *Doors) func(kind string, payload fields, retry int) string {
	d.SigningSecrets = []string{secret}
	handler := d.Handler()
	return func(kind string, payload fields, retry int) string {
		b, err := json.Marshal(payload)
		check(w.t, err)
		r := signed("/slack/events", typeJSON, string(b))
		switch kind {
		case frameCommand:
			var pairs []string
			for name, v := range payload {
				pairs = append(pairs, name, v.(string))
			}
			r = signed("/slack/commands", typeForm, form1(pairs...))
		case frameInteraction:
			r = signed("/slack/interactions", typeForm, form1("payload", string(b)))
		}
		if retry > 0 {
			r.Header.Set("X-Slack-Retry-Num", fmt.Sprint(retry))
			r.Header.Set("X-Slack-Retry-Reason", "http_timeout")
		}
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, r)
		if rec.Code != 200 {
			w.t.Errorf("it is answered with %d", rec.Code)
		}
		return strings.TrimSpace(rec.Body.String())
	}
}

// throughTwoSockets delivers the first over one connection and what follows over
// another, and returns what the acknowledgement carries.
func (w *wire) throughTwoSockets(d *Doors) func(kind string, payload fields, retry int) string {
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.RunSocket(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		check(w.t, <-ended)
	})
	one := w.next()
	check(w.t, one.WriteJSON(hello))
	check(w.t, one.WriteJSON(fields{"type": "disconnect", "reason": "warning"}))
	two := w.next()
	check(w.t, two.WriteJSON(hello))
	return func(kind string, payload fields, retry int) string {
		over := one
		if retry > 0 {
			over = two
		}
		id := fmt.Sprint("e", retry)
		check(w.t, over.WriteJSON(fields{"envelope_id": id, "type": kind, "payload": payload, "retry_attempt": retry}))
		a := w.ack()
		if a.ID != id {
			w.t.Errorf("acknowledged %q", a.ID)
		}
		return string(a.Payload)
	}
}
