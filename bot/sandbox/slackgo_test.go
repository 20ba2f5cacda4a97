package sandbox_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/slackevents"
	"github.com/slack-go/slack/socketmode"

	"rehome/bot/sandbox"
)

// helper is a small bot on slack-go's Socket Mode client. It acknowledges what it is told to by its
// hooks; a nil hook is an empty acknowledgement.
type helper struct {
	api     *slack.Client
	command func(slack.SlashCommand) any
	action  func(slack.InteractionCallback) any
	event   func(slackevents.EventsAPIEvent)
}

func (h *helper) run(t *testing.T, w *sandbox.Workspace) {
	t.Helper()
	client := socketmode.New(h.api)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{}, 2)
	go func() { _ = client.RunContext(ctx); done <- struct{}{} }()
	go func() {
		defer func() { done <- struct{}{} }()
		for {
			select {
			case <-ctx.Done():
				return
			case e := <-client.Events:
				h.handle(ctx, client, e)
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done; <-done })
	check(t, w.Await(soon(t), func() bool { return w.Sockets() > 0 }))
}

func (h *helper) handle(ctx context.Context, client *socketmode.Client, e socketmode.Event) {
	var payload any
	switch data := e.Data.(type) {
	case slack.SlashCommand:
		if h.command != nil {
			payload = h.command(data)
		}
	case slack.InteractionCallback:
		if h.action != nil {
			payload = h.action(data)
		}
	case slackevents.EventsAPIEvent:
		if h.event != nil {
			h.event(data)
		}
	default:
		return
	}
	if payload == never {
		return
	}
	if e.Request != nil && e.Request.EnvelopeID != "" {
		_ = client.AckCtx(ctx, e.Request.EnvelopeID, payload)
	}
}

// never is a hook's answer that no acknowledgement shall be sent.
var never any = struct{ no string }{"acknowledgement"}

func TestSlackGoAnswersACommandAButtonAndAModal(t *testing.T) {
	w, api, _ := open(t, office())
	bot := &helper{api: api}
	bot.command = func(c slack.SlashCommand) any {
		_, _, err := api.PostMessage(c.ChannelID, slack.MsgOptionText("Which one?", false), slack.MsgOptionBlocks(
			slack.NewSectionBlock(slack.NewTextBlockObject("mrkdwn", "Which one, <@"+c.UserID+">?", false, false), nil, nil),
			slack.NewActionBlock("ask", slack.NewButtonBlockElement("form", "1", slack.NewTextBlockObject("plain_text", "Open form", false, false))),
		))
		if err != nil {
			return map[string]any{"text": "failed: " + err.Error()}
		}
		return map[string]any{"text": "on it: " + c.Text}
	}
	bot.action = func(c slack.InteractionCallback) any {
		if c.Type == slack.InteractionTypeBlockActions {
			_, err := api.OpenView(c.TriggerID, form())
			if err != nil {
				t.Error(err)
			}
		}
		if c.Type == slack.InteractionTypeViewSubmission {
			name := c.View.State.Values["name"]["name"].Value
			if name == "wrong" {
				return slack.NewErrorsViewSubmissionResponse(map[string]string{"name": "not that one"})
			}
			_, _, _, err := api.UpdateMessage(ops, w.Messages(ops)[0].TS, slack.MsgOptionText("It is "+name, false))
			if err != nil {
				t.Error(err)
			}
		}
		return nil
	}
	bot.run(t, w)

	check(t, w.Command(ann, ops, "/help", "me"))
	if e := w.Ephemerals(ann); len(e) != 1 || e[0].Text != "on it: me" {
		t.Fatalf("ephemerals %+v", e)
	}
	m := w.Messages(ops)[0]
	if b := m.Buttons(); len(b) != 1 || b[0].Label != "Open form" || fmt.Sprint(m.Mentions) != "[U1]" {
		t.Fatalf("buttons %+v, mentions %v", b, m.Mentions)
	}
	check(t, w.Click(ann, ops, m.TS, "Open form"))
	if v, ok := w.Modal(ann); !ok || v.TitleText() != "Form" {
		t.Fatalf("no modal: %s", w.Transcript())
	}
	if err := w.SubmitView(ann, map[string]string{"Name": "wrong"}); err == nil || err.Error() != "the form was not accepted: name: not that one" {
		t.Fatalf("got %v", err)
	}
	check(t, w.SubmitView(ann, map[string]string{"Name": "right"}))
	if _, still := w.Modal(ann); still {
		t.Error("the modal is still open")
	}
	if m := w.Messages(ops)[0]; m.Text != "It is right" || m.Edited == nil || len(m.Buttons()) != 0 {
		t.Errorf("message %+v", m)
	}
}

func form() slack.ModalViewRequest {
	text := func(s string) *slack.TextBlockObject { return slack.NewTextBlockObject("plain_text", s, false, false) }
	return slack.ModalViewRequest{Type: slack.VTModal, Title: text("Form"), Submit: text("Go"), CallbackID: "form", Blocks: slack.Blocks{BlockSet: []slack.Block{
		slack.NewInputBlock("name", text("Name"), nil, slack.NewPlainTextInputBlockElement(nil, "name"))}}}
}
