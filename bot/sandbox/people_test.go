package sandbox_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/slack-go/slack"
	"github.com/slack-go/slack/slackevents"

	"rehome/bot/sandbox"
)

// What people do and what the app hears of it.

// heard gathers events as the app decodes them.
type heard struct {
	mu     sync.Mutex
	events []string
}

func (h *heard) add(e slackevents.EventsAPIEvent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch in := e.InnerEvent.Data.(type) {
	case *slackevents.MessageEvent:
		text := in.Text
		if in.SubType == "message_changed" {
			text = in.PreviousMessage.Text + "→" + in.Message.Text
		}
		h.events = append(h.events, fmt.Sprint("message.", in.ChannelType, " ", in.SubType, " ", in.User, " ", text))
	case *slackevents.AppMentionEvent:
		h.events = append(h.events, fmt.Sprint("mention ", in.User, " ", in.Text))
	case *slackevents.AppHomeOpenedEvent:
		h.events = append(h.events, fmt.Sprint("home ", in.User, " ", in.Tab, " ", in.Channel[:1]))
	case *slackevents.MemberJoinedChannelEvent:
		h.events = append(h.events, fmt.Sprint("joined ", in.User, " ", in.Channel))
	case *slackevents.ReactionAddedEvent:
		h.events = append(h.events, fmt.Sprint("reaction ", in.User, " ", in.Reaction))
	}
}

func (h *heard) list() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.events)
}

func TestTheAppHearsWhatItSubscribedToWhereItIs(t *testing.T) {
	w, api, _ := open(t, office())
	var h heard
	(&helper{api: api, event: h.add}).run(t, w)
	say := func(user, channel, thread, text string) string {
		t.Helper()
		return must(w.Say(user, channel, thread, text))
	}
	root := say(ann, ops, "", "@helper look at <b> & @bob")
	say(bob, ops, root, "in a thread")
	say(ann, secops, "", "quiet")
	say(ann, lobby, "", "@helper unheard")
	say(ann, w.DM(ann), "", "direct")
	_, ts, err := api.PostMessage(ops, slack.MsgOptionText("mine", false))
	check(t, err)
	_, _, _, err = api.UpdateMessage(ops, ts, slack.MsgOptionText("yours", false))
	check(t, err)
	check(t, w.React(ann, ops, root, "eyes"))
	check(t, w.React(ann, lobby, w.Messages(lobby)[0].TS, "eyes"))
	check(t, w.OpenHome(ann))
	check(t, w.Invite(ann, lobby))

	want := []string{
		"message.channel  U1 <@UBOT> look at &lt;b&gt; &amp; <@U2>",
		"mention U1 <@UBOT> look at &lt;b&gt; &amp; <@U2>",
		"message.channel  U2 in a thread",
		"message.group  U1 quiet",
		"message.im  U1 direct",
		"message.channel  UBOT mine",
		"message.channel message_changed  mine→yours",
		"reaction U1 eyes",
		"home U1 home D",
		"message.channel channel_join UBOT <@UBOT> has joined the channel",
		"joined UBOT C3",
	}
	check(t, w.Await(soon(t), func() bool { return len(h.list()) >= len(want) }))
	if got := h.list(); !slices.Equal(got, want) {
		t.Errorf("heard:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if m, _ := w.Message(ops, root); !slices.Equal(m.Mentions, []string{bob, "UBOT"}) || m.ReplyCount != 1 {
		t.Errorf("the root is %+v", m)
	}
}

func TestWithoutItsScopeAnEventIsNotTold(t *testing.T) {
	cfg := office()
	cfg.App.Scopes = []string{"commands", "app_mentions:read"}
	w, api, _ := open(t, cfg)
	var h heard
	(&helper{api: api, event: h.add}).run(t, w)
	must(w.Say(ann, ops, "", "@helper one"))
	must(w.Say(ann, ops, "", "@helper two"))
	check(t, w.Await(soon(t), func() bool { return len(h.list()) >= 2 }))
	if got := h.list(); !slices.Equal(got, []string{"mention U1 <@UBOT> one", "mention U1 <@UBOT> two"}) {
		t.Errorf("heard %q", got)
	}
}

func TestPeopleAreToldWhatTheyCanNotDo(t *testing.T) {
	w, api, _ := open(t, office())
	_, ts, err := api.PostMessage(ops, slack.MsgOptionBlocks(slack.NewActionBlock("b",
		slack.NewButtonBlockElement("one", "1", slack.NewTextBlockObject("plain_text", "Option A now", false, false)),
		slack.NewButtonBlockElement("two", "2", slack.NewTextBlockObject("plain_text", "Option B", false, false)))))
	check(t, err)
	for want, do := range map[string]func() error{
		"/nope is not a valid command":  func() error { return w.Command(ann, ops, "/nope", "") },
		"U3 sees no channel C1":         func() error { return w.Command(gus, ops, "/help", "") },
		"no user bob":                   func() error { _, err := w.Say("bob", ops, "", "y"); return err },
		"#old is archived":              func() error { _, err := w.Say(ann, old, "", "y"); return err },
		"nothing to say":                func() error { _, err := w.Say(ann, ops, "", " "); return err },
		"no thread 1.2":                 func() error { _, err := w.Say(ann, ops, "1.2", "x"); return err },
		`no button "Option C"`:          func() error { return w.Click(ann, ops, ts, "Option C") },
		`2 buttons are called "Option"`: func() error { return w.Click(ann, ops, ts, "Option") },
		`no menu "one"`:                 func() error { return w.Select(ann, ops, ts, "one", "x") },
		"sees no message 1.2":           func() error { return w.Click(ann, ops, "1.2", "one") },
		"no shortcut nope":              func() error { return w.Shortcut(ann, "nope", "", "") },
		"no message 1.2 in C1":          func() error { return w.Shortcut(ann, "look", ops, "1.2") },
		"has no modal open":             func() error { return w.SubmitView(ann, nil) },
		"has no Home tab":               func() error { return w.ClickHome(ann, "x") },
	} {
		err := do()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestMenusStatesAndShortcutsArriveDecoded(t *testing.T) {
	w, api, _ := open(t, office())
	var got []slack.InteractionCallback
	var mu sync.Mutex
	(&helper{api: api, action: func(c slack.InteractionCallback) any {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, c)
		return nil
	}}).run(t, w)
	text := func(s string) *slack.TextBlockObject { return slack.NewTextBlockObject("plain_text", s, false, false) }
	option := func(s string) *slack.OptionBlockObject { return slack.NewOptionBlockObject("v-"+s, text(s), nil) }
	_, ts, err := api.PostMessage(ops, slack.MsgOptionBlocks(
		slack.NewSectionBlock(text("Where?"), nil, slack.NewAccessory(slack.NewOptionsSelectBlockElement("static_select", text("Tenant"), "tenant", option("AME"), option("CME"), option("CME Gov")))),
		slack.NewActionBlock("more", slack.NewDatePickerBlockElement("due"), slack.NewCheckboxGroupsBlockElement("boxes", option("a"), option("b"))),
	))
	check(t, err)
	check(t, w.Select(ann, ops, ts, "Tenant", "CME"))
	check(t, w.Select(bob, ops, ts, "boxes", "a", "v-b"))
	check(t, w.Shortcut(bob, "look", ops, ts))
	check(t, w.Shortcut(bob, "start", "", ""))

	if len(got) != 4 {
		t.Fatalf("%d interactions", len(got))
	}
	a := got[0].ActionCallback.BlockActions[0]
	if a.ActionID != "tenant" || a.SelectedOption.Value != "v-CME" || a.SelectedOption.Text.Text != "CME" || got[0].User.ID != ann || got[0].Channel.ID != ops || got[0].Message.Timestamp != ts {
		t.Errorf("the choice %+v", got[0])
	}
	if s := got[0].BlockActionState.Values["more"]["due"]; s.SelectedDate != "" || string(s.Type) != "datepicker" {
		t.Errorf("the state %+v", got[0].BlockActionState)
	}
	if o := got[1].ActionCallback.BlockActions[0].SelectedOptions; len(o) != 2 || o[1].Value != "v-b" {
		t.Errorf("the boxes %+v", o)
	}
	if got[2].Type != slack.InteractionTypeMessageAction || got[2].CallbackID != "look" || got[2].MessageTs != ts || got[2].ResponseURL == "" || got[2].TriggerID == "" {
		t.Errorf("the message shortcut %+v", got[2])
	}
	if got[3].Type != slack.InteractionTypeShortcut || got[3].CallbackID != "start" || got[3].ResponseURL != "" {
		t.Errorf("the global shortcut %+v", got[3])
	}
}

func TestAStaleClickStillArrives(t *testing.T) {
	w, api, _ := open(t, office())
	clicks := make(chan string, 1)
	(&helper{api: api, action: func(c slack.InteractionCallback) any {
		clicks <- c.ActionCallback.BlockActions[0].Value
		return nil
	}}).run(t, w)
	_, ts, err := api.PostMessage(ops, slack.MsgOptionBlocks(slack.NewActionBlock("b", slack.NewButtonBlockElement("one", "1", slack.NewTextBlockObject("plain_text", "Press", false, false)))))
	check(t, err)
	seen, _ := w.Message(ops, ts)
	_, _, _, err = api.UpdateMessage(ops, ts, slack.MsgOptionText("answered", false))
	check(t, err)
	if err := w.Click(ann, ops, ts, "Press"); err == nil {
		t.Error("the button is gone, and was pressed")
	}
	check(t, w.ClickOn(ann, seen, "Press"))
	if v := <-clicks; v != "1" {
		t.Errorf("the value is %q", v)
	}
}

func TestAnEphemeralMessagesButtonComesWithoutTheMessage(t *testing.T) {
	w, api, _ := open(t, office())
	clicks := make(chan slack.InteractionCallback, 1)
	(&helper{api: api, action: func(c slack.InteractionCallback) any { clicks <- c; return nil }}).run(t, w)
	_, err := api.PostEphemeral(ops, ann, slack.MsgOptionBlocks(slack.NewActionBlock("b",
		slack.NewButtonBlockElement("one", "1", slack.NewTextBlockObject("plain_text", "Press", false, false)))))
	check(t, err)
	shown := w.Ephemerals(ann)[0]
	if err := w.Click(bob, ops, shown.TS, "Press"); err == nil {
		t.Error("bob pressed what only ann sees")
	}
	check(t, w.Click(ann, ops, shown.TS, "Press"))
	if c := <-clicks; !c.Container.IsEphemeral || c.Message.Timestamp != "" || c.ResponseURL == "" {
		t.Errorf("pressed %+v", c)
	}
}

func TestModalsStackThreeDeepAndCloseOneByOne(t *testing.T) {
	w, api, _ := open(t, office())
	named := func(title string) slack.ModalViewRequest {
		v := form()
		v.Title.Text, v.NotifyOnClose = title, true
		return v
	}
	var closed []string
	var mu sync.Mutex
	answers := make(chan any, 10)
	(&helper{api: api,
		command: func(c slack.SlashCommand) any {
			_, err := api.OpenView(c.TriggerID, named("1"))
			check(t, err)
			return nil
		},
		action: func(c slack.InteractionCallback) any {
			mu.Lock()
			defer mu.Unlock()
			if c.Type == slack.InteractionTypeViewClosed {
				closed = append(closed, c.View.Title.Text)
				return nil
			}
			return <-answers
		}}).run(t, w)
	title := func() string { v, _ := w.Modal(ann); return v.TitleText() }
	submit := func(answer any) error {
		answers <- answer
		return w.SubmitView(ann, map[string]string{"name": "x"})
	}
	check(t, w.Command(ann, ops, "/help", ""))
	for _, next := range []string{"2", "3"} {
		v := named(next)
		check(t, submit(slack.NewPushViewSubmissionResponse(&v)))
		if title() != next {
			t.Fatalf("on top is %q, want %s", title(), next)
		}
	}
	four := named("4")
	if err := submit(slack.NewPushViewSubmissionResponse(&four)); err == nil || err.Error() != "push_limit_reached" {
		t.Errorf("a fourth: %v", err)
	}
	update := named("3b")
	check(t, submit(slack.NewUpdateViewSubmissionResponse(&update)))
	third, _ := w.Modal(ann)
	if _, err := api.UpdateView(named("3c"), "", "1.old", third.ID); err == nil || err.Error() != "hash_conflict" || title() != "3b" {
		t.Errorf("updating by an old hash: %v", err)
	}
	check(t, w.CloseView(ann))
	if title() != "2" {
		t.Errorf("after closing the third: %q", title())
	}
	check(t, w.Await(soon(t), func() bool { mu.Lock(); defer mu.Unlock(); return slices.Equal(closed, []string{"3b"}) }))
	check(t, submit(nil))
	if title() != "1" {
		t.Errorf("after submitting the second: %q", title())
	}
	for _, wrong := range []any{
		map[string]any{"response_action": "dance"},
		map[string]any{"response_action": "errors", "errors": map[string]string{"nothing": "x"}},
		map[string]any{"response_action": "update", "view": map[string]any{"type": "modal"}},
	} {
		if err := submit(wrong); err == nil || !strings.HasPrefix(err.Error(), "invalid_view_response") || title() != "1" {
			t.Errorf("%v: %v", wrong, err)
		}
	}
	if err := w.SubmitView(ann, map[string]string{"name": ""}); err == nil || !errors.As(err, new(sandbox.ViewErrors)) {
		t.Errorf("an empty required field: %v", err)
	}
	check(t, submit(slack.NewClearViewSubmissionResponse()))
	if _, open := w.Modal(ann); open {
		t.Error("a modal is still open")
	}
}

func TestTheHomeTabIsPublishedAndPressed(t *testing.T) {
	w, api, _ := open(t, office())
	pressed := make(chan slack.InteractionCallback, 1)
	(&helper{api: api, action: func(c slack.InteractionCallback) any { pressed <- c; return nil },
		event: func(e slackevents.EventsAPIEvent) {
			if in, ok := e.InnerEvent.Data.(*slackevents.AppHomeOpenedEvent); ok {
				_, err := api.PublishViewContext(t.Context(), slack.PublishViewContextRequest{UserID: in.User, View: slack.HomeTabViewRequest{Type: slack.VTHomeTab, Blocks: slack.Blocks{BlockSet: []slack.Block{
					slack.NewActionBlock("b", slack.NewButtonBlockElement("go", "1", slack.NewTextBlockObject("plain_text", "Go", false, false)))}}}})
				check(t, err)
			}
		}}).run(t, w)
	check(t, w.OpenHome(ann))
	check(t, w.Await(soon(t), func() bool { _, ok := w.Home(ann); return ok }))
	check(t, w.ClickHome(ann, "Go"))
	if c := <-pressed; c.View.Type != "home" || c.Container.ViewID == "" || c.ActionCallback.BlockActions[0].ActionID != "go" {
		t.Errorf("pressed %+v", c)
	}
	v, _ := w.Home(ann)
	_, err := api.PublishViewContext(t.Context(), slack.PublishViewContextRequest{UserID: ann, Hash: new("1.old"), View: slack.HomeTabViewRequest{Type: slack.VTHomeTab, Blocks: slack.Blocks{BlockSet: []slack.Block{}}}})
	if err == nil || err.Error() != "hash_conflict" {
		t.Errorf("an old hash: %v", err)
	}
	if now, _ := w.Home(ann); now.Hash != v.Hash {
		t.Error("the refused view was shown")
	}
}

func TestADeliveryGoesToAnyOneOfTenSockets(t *testing.T) {
	inBubble(t, office(), func(t *testing.T, b *bubble) {
		counts := make(chan int, 100)
		for i := range 10 {
			s := b.dial(t, "")
			go func() {
				for {
					var e map[string]any
					if s.ReadJSON(&e) != nil {
						return
					}
					_ = s.WriteJSON(map[string]any{"envelope_id": e["envelope_id"]})
					counts <- i
				}
			}()
		}
		for range 30 {
			check(t, b.Command(ann, ops, "/help", ""))
		}
		per := map[int]int{}
		for range 30 {
			per[<-counts]++
		}
		if len(per) != 10 {
			t.Errorf("the sockets got %v", per)
		}

		_, url, err := b.api.StartSocketModeContext(t.Context())
		check(t, err)
		d := websocket.Dialer{NetDialContext: b.pipe.DialContext}
		eleventh, _, err := d.Dial(url, nil)
		check(t, err)
		defer eleventh.Close()
		var frame map[string]any
		check(t, eleventh.ReadJSON(&frame))
		if frame["type"] != "disconnect" || frame["reason"] != "too_many_websockets" || b.Sockets() != 10 {
			t.Errorf("the eleventh was told %v", frame)
		}
		if _, res, err := d.Dial(url, nil); err == nil || res.StatusCode != http.StatusForbidden {
			t.Errorf("a used URL: %v", err)
		}
	})
}

func TestAcknowledgementsAreReadAsSlackReadsThem(t *testing.T) {
	cfg := office()
	cfg.App.Events = nil // only what is asked for shall come over the socket
	inBubble(t, cfg, func(t *testing.T, b *bubble) {
		s := b.dial(t, "")
		command := func(answer func(e map[string]any)) error {
			done := make(chan error, 1)
			go func() { done <- b.Command(ann, ops, "/help", "") }()
			answer(s.read(t))
			return <-done
		}
		check(t, command(func(e map[string]any) { s.ack(t, e, map[string]any{}) }))
		if err := command(func(e map[string]any) { s.ack(t, e, map[string]any{"text": strings.Repeat("x", 20<<10)}) }); err == nil || err.Error() != "operation_timeout" {
			t.Errorf("twenty kibibytes: %v", err)
		}
		check(t, command(func(e map[string]any) {
			check(t, s.WriteMessage(websocket.TextMessage, []byte("{nonsense")))
			check(t, s.WriteJSON(map[string]any{"envelope_id": "unknown"}))
			s.ack(t, e, map[string]any{"text": "for all", "response_type": "in_channel"})
		}))
		if err := command(func(e map[string]any) {
			s.ack(t, e, map[string]any{"blocks": []any{map[string]any{"type": "nonsense"}}})
		}); err == nil || err.Error() != "invalid_blocks" {
			t.Errorf("invalid blocks: %v", err)
		}
		if err := command(func(map[string]any) { _ = s.Close() }); err == nil || err.Error() != "dispatch_failed" {
			t.Errorf("a socket that breaks: %v", err)
		}
		var texts []string
		for _, m := range b.Messages(ops) {
			texts = append(texts, m.User+" "+m.Text)
		}
		if want := []string{"U1 /help", "UBOT for all"}; !slices.Equal(texts, want) || len(b.Ephemerals(ann)) != 0 {
			t.Errorf("shown: %s", b.Transcript())
		}
	})
}

func TestAnUnackedSocketThatBreaksIsReplacedAtOnce(t *testing.T) {
	inBubble(t, office(), func(t *testing.T, b *bubble) {
		first := b.dial(t, "")
		_, err := b.Say(ann, ops, "", "hello")
		check(t, err)
		first.read(t)
		second := b.dial(t, "")
		_ = first.Close()
		e := second.read(t)
		if e["retry_attempt"] != 1.0 || e["retry_reason"] != "connection_failed" {
			t.Errorf("envelope %v", e)
		}
		second.ack(t, e, nil)
	})
}

func TestRawBytesReachTheApp(t *testing.T) {
	inBubble(t, office(), func(t *testing.T, b *bubble) {
		if _, err := b.DeliverRaw("", "", []byte("x")); err == nil {
			t.Error("without a socket")
		}
		s := b.dial(t, "")
		_, err := b.DeliverRaw("", "", []byte("{not json"))
		check(t, err)
		if _, frame, err := s.ReadMessage(); err != nil || string(frame) != "{not json" {
			t.Errorf("%q %v", frame, err)
		}
	})
}

func TestTimestampsNeverRepeatAndNeverGoBack(t *testing.T) {
	cfg := office()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	cfg.Now = func() time.Time { return now } // a clock that stands still, and is then set back
	w, err := sandbox.New(cfg)
	check(t, err)
	defer w.Close()
	last := ""
	for i := range 50 {
		if i == 25 {
			now = now.Add(-time.Hour)
		}
		ts := must(w.Say(ann, lobby, "", "x"))
		if ts <= last {
			t.Fatalf("%s after %s", ts, last)
		}
		last = ts
	}
	if n := len(w.Messages(lobby)); n != 50 {
		t.Errorf("%d messages", n)
	}
}

func TestAwaitShowsWhatThereIsInstead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, err := sandbox.New(office())
		check(t, err)
		defer w.Close()
		must(w.Say(ann, ops, "", "only this"))
		ctx := soon(t)
		err = w.Await(ctx, func() bool { return false })
		if err == nil || !strings.Contains(err.Error(), "ann: only this") {
			t.Errorf("got %v", err)
		}
	})
}

func TestAnotherIntegrationCanPost(t *testing.T) {
	w, api, _ := open(t, office())
	ts := must(w.PostAs("alerts", ops, "A violation", nil))
	if m, _ := w.Message(ops, ts); m.Username != "alerts" || m.Subtype != "bot_message" {
		t.Errorf("posted %+v", m)
	}
	if _, _, _, err := api.UpdateMessage(ops, ts, slack.MsgOptionText("x", false)); err == nil || err.Error() != "cant_update_message" {
		t.Errorf("updating it: %v", err)
	}
	raw, err := json.Marshal(w.Messages(ops)[0])
	check(t, err)
	if !strings.Contains(string(raw), `"username":"alerts"`) {
		t.Errorf("as JSON: %s", raw)
	}
}
