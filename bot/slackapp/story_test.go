package slackapp

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"rehome/bot"
	"rehome/bot/sandbox"
	"rehome/conversation"
	"rehome/policy"
	"rehome/store"
)

func TestFromTheCommandToTheSteps(t *testing.T) {
	everyDoor(t, func(t *testing.T, d *desk) {
		check(t, d.Command(alice, triage, "/rehome", title))
		d.told(alice, "*RH-1* is open in this channel")
		root := d.find(triage, "*RH-1 · "+title)
		q1 := d.find(triage, "1. Is ")
		if q1.ThreadTS != root.TS {
			t.Errorf("question 1 is not in the root's thread")
		}
		check(t, d.Click(alice, triage, q1.TS, "3P"))
		q2 := d.find(triage, "*2. ")
		check(t, d.Select(alice, triage, q2.TS, actionPick, "CME"))
		q3 := d.find(triage, "*3. ")
		check(t, d.Click(bob, triage, q3.TS, "Option A"))
		d.find(triage, "Prod + CME")
		d.settle()
		if m, _ := d.Message(triage, q1.TS); !strings.Contains(m.Text, "answered by <@"+alice+">") || len(m.Selects()) > 0 || len(m.Buttons()) != 1 {
			t.Errorf("question 1 is not closed: %s", m.Text)
		}
		steps := d.Thread(triage, root.TS)
		if last := steps[len(steps)-1]; len(last.Buttons()) != 1 || last.Buttons()[0].Label != "Change" {
			t.Errorf("the last part of the reply has no Change: %s", last.Text)
		}
	})
}

func TestAnswersCanBeChangedAndTheOldReplyShrinks(t *testing.T) {
	everyDoor(t, func(t *testing.T, d *desk) {
		check(t, d.Command(alice, triage, "/rehome", title+" 3P CME option A"))
		root := d.find(triage, "*RH-1")
		first := d.find(triage, "Prod + CME")
		d.settle()
		thread := d.Thread(triage, root.TS)
		check(t, d.Click(bob, triage, thread[len(thread)-1].TS, "Change"))
		what := d.find(triage, "What should be different?")
		if len(what.Selects()) == 1 {
			check(t, d.Select(bob, triage, what.TS, actionPick, "app_tenant"))
		} else {
			check(t, d.Click(bob, triage, what.TS, "app_tenant"))
		}
		again := d.find(triage, "the answer that holds is *CME*")
		check(t, d.Select(bob, triage, again.TS, actionPick, "AME"))
		d.find(triage, "Prod + AME")
		d.settle()
		if m, _ := d.Message(triage, first.TS); !strings.Contains(m.Text, "no longer holds") || strings.Contains(m.Text, "Prod + CME") {
			t.Errorf("the superseded reply still stands: %s", m.Text)
		}
	})
}

func TestWhereTheBotIsNotItUsesADirectMessageAndSaysWhy(t *testing.T) {
	everyDoor(t, func(t *testing.T, d *desk) {
		check(t, d.Command(alice, random, "/rehome", title))
		d.told(alice, "in our direct message, since I'm not in this one")
		root := d.find(d.DM(alice), "*RH-1 · ")
		if got := labels(root); got != "I take it [Hand over…]" {
			t.Errorf("the root has %s: there is nothing to join", got)
		}
		q := d.find(d.DM(alice), "*1. Is ")
		if q.ThreadTS != root.TS {
			t.Error("the question is not in the thread")
		}
		check(t, d.Click(alice, d.DM(alice), q.TS, "1P"))
		d.find(d.DM(alice), "*2. ")
		d.settle()
		if n := len(d.Messages(random)); n != 0 {
			t.Errorf("%d messages in a channel the bot is not in", n)
		}

		check(t, d.Invite(alice, random)) // which it hears of
		d.settleInvite(random)
		check(t, d.Command(alice, random, "/rehome", title))
		d.find(random, "*RH-2 · ")
	})
}

// settleInvite waits until the bot heard that it is in a channel now.
func (d *desk) settleInvite(channel string) {
	d.t.Helper()
	d.await("the invitation is heard", func() bool {
		for _, x := range d.Deliveries() {
			if x.Name == "member_joined_channel" && x.Failure == "" {
				return true
			}
		}
		return false
	})
}

func TestRepliesAreUnderstoodInTheThread(t *testing.T) {
	everyDoor(t, func(t *testing.T, d *desk) {
		check(t, d.Command(alice, triage, "/rehome", title))
		root := d.find(triage, "*RH-1")
		d.find(triage, "*1. Is ")
		d.say(bob, triage, root.TS, "3p")
		d.find(triage, "answered by <@"+bob+">")
		d.say(alice, triage, root.TS, "lunch, anybody?") // people talk among themselves
		d.say(alice, triage, root.TS, "@rehome lunch?")
		d.told(alice, "I make nothing of that")
		d.say(alice, triage, root.TS, "@rehome  torus   gallatin")
		d.find(triage, "*3. ")
		d.settle()
		if n := len(d.Ephemerals(alice)); n != 2 { // the command's answer, and the one above
			t.Errorf("%d ephemeral messages:\n%s", n, d.Transcript())
		}
	})
}

func (d *desk) say(user, channel, thread, text string) string {
	d.t.Helper()
	ts, err := d.Say(user, channel, thread, text)
	check(d.t, err)
	return ts
}

func TestAMentionOpensInItsOwnThreadOnce(t *testing.T) {
	everyDoor(t, func(t *testing.T, d *desk) {
		ts := d.say(alice, triage, "", "@rehome "+title+" 1P")
		root := d.find(triage, "*RH-1 · ")
		if root.ThreadTS != ts {
			t.Errorf("the root is not in the mention's thread")
		}
		d.await("both events are delivered", func() bool { return d.heard("app_mention") == 1 && d.heard("message") >= 1 })
		d.settle()
		if c := d.count("*RH-2"); c != 0 {
			t.Error("a mention that arrives as two events opened two conversations")
		}
		d.say(alice, triage, ts, "@rehome what now?")
		d.told(alice, "I make nothing of that")

		d.say(bob, triage, "", "@rehome")
		d.told(bob, "What I do")
	})
}

func TestACallForHelpIsAnsweredOnceHoweverOftenItArrives(t *testing.T) {
	d := sit(t, set{door: "http"})
	for _, kind := range []string{"message", "app_mention", "app_mention"} {
		w := d.ask(signed("/slack/events", typeJSON, `{"type":"event_callback","event_id":"Ev`+kind+`","authorizations":[{"user_id":"`+botUser+`","is_bot":true}],
			"event":{"type":"`+kind+`","user":"`+bob+`","channel":"`+triage+`","ts":"1.1","text":"<@`+botUser+`> help"}}`))
		if w.Code != 200 {
			t.Errorf("%s: %d", kind, w.Code)
		}
	}
	if n := len(d.Ephemerals(bob)); n != 1 { // what follows an acknowledgement is done when the handler returns
		t.Errorf("%d answers to one mention:\n%s", n, d.Transcript())
	}
}

// TestMessagesThatAreNobodysWords: bots, edits, deletions, joins, ourselves.
func TestMessagesThatAreNobodysWords(t *testing.T) {
	d := sit(t, set{door: "http"})
	check(t, d.Command(alice, triage, "/rehome", title))
	root := d.find(triage, "*RH-1")
	d.find(triage, "*1. Is ")
	d.settle()
	for _, event := range []string{
		`"type":"message","user":"U1","bot_id":"B1","text":"1P"`,
		`"type":"message","subtype":"bot_message","text":"1P"`,
		`"type":"message","subtype":"message_changed","user":"U1","message":{"text":"1P"}`,
		`"type":"message","subtype":"message_deleted","user":"U1"`,
		`"type":"message","subtype":"thread_broadcast","user":"U1","bot_id":"B1","text":"1P"`,
		`"type":"message","subtype":"channel_join","user":"U1","text":"1P"`,
		`"type":"message","text":"1P"`,
		`"type":"message","user":"U1","text":"1P","thread_ts":"1.1"`,
		`"type":"reaction_added","user":"U1","text":"1P"`,
	} {
		if !strings.Contains(event, "thread_ts") {
			event += `,"thread_ts":"` + root.TS + `"`
		}
		if w := d.ask(signed("/slack/events", typeJSON, `{"type":"event_callback","event_id":"Ev","event":{"channel":"`+triage+`","ts":"9.`+root.TS[11:]+`",`+event+`}}`)); w.Code != 200 {
			t.Errorf("%s: %d", event, w.Code)
		}
	}
	c, err := d.store.Get(t.Context(), "RH-1")
	check(t, err)
	if n := c.OpenQuestion(); n != 1 {
		t.Errorf("question %d is open: something that nobody said was taken for an answer", n)
	}
}

// TestAReplyShownInTheChannelAsWellIsAReply: "Also send to channel" makes
// another kind of message of the same words.
func TestAReplyShownInTheChannelAsWellIsAReply(t *testing.T) {
	d := sit(t, set{door: "http"})
	check(t, d.Command(alice, triage, "/rehome", title))
	root := d.find(triage, "*RH-1")
	d.find(triage, "*1. Is ")
	d.settle()
	w := d.ask(signed("/slack/events", typeJSON, `{"type":"event_callback","event_id":"Ev","event":{"type":"message","subtype":"thread_broadcast","user":"`+bob+`",
		"channel":"`+triage+`","ts":"9.1","thread_ts":"`+root.TS+`","root":{"ts":"`+root.TS+`","user":"`+botUser+`"},"text":"3P"}}`))
	if w.Code != 200 {
		t.Errorf("answered %d", w.Code)
	}
	d.find(triage, "answered by <@"+bob+">")
}

// TestANearMissIsSaidToWhoeverMeantIt: one word from whoever opened it or owns
// the app, while a question is open, and to nobody else.
func TestANearMissIsSaidToWhoeverMeantIt(t *testing.T) {
	d := sit(t, set{door: "http"})
	check(t, d.Command(alice, triage, "/rehome", title))
	root := d.find(triage, "*RH-1")
	d.find(triage, "*1. Is ")
	d.settle()
	before := d.heard("message")
	talk := []string{"ask bob", "1P?", ":+1:", "<@" + bob + ">", "https://wiki.contoso.example/1P"}
	for _, words := range talk {
		d.say(alice, triage, root.TS, words)
	}
	d.say(bob, triage, root.TS, "banana")
	d.await("all is heard", func() bool { return d.heard("message") == before+len(talk)+1 })
	d.settle()
	if n := len(d.Ephemerals(alice)) + len(d.Ephemerals(bob)); n != 1 { // the command's answer
		t.Errorf("talk was answered:\n%s", d.Transcript())
	}
	d.say(alice, triage, root.TS, "banana")
	d.told(alice, "The open question is: ")
}

func TestPressesThatComeTooLateOrFromElsewhere(t *testing.T) {
	d := sit(t, set{door: "http"})
	check(t, d.Command(alice, triage, "/rehome", title))
	root := d.find(triage, "*RH-1")
	q1 := d.find(triage, "*1. Is ")
	check(t, d.Click(alice, triage, q1.TS, "3P"))
	d.find(triage, "*2. ")
	check(t, d.ClickOn(bob, q1, "1P")) // he still saw the buttons
	d.told(bob, "Already answered by <@"+alice+">")

	press := func(channel, thread, block, action, value string) {
		t.Helper()
		payload := map[string]any{
			"type": "block_actions", "user": map[string]any{"id": bob}, "channel": map[string]any{"id": channel}, "trigger_id": block + action + value + channel,
			"container": map[string]any{"type": "message", "channel_id": channel, "message_ts": "1.2", "thread_ts": thread},
			"message":   map[string]any{"ts": "1.2"}, "actions": []any{map[string]any{"block_id": block, "action_id": action, "value": value}},
		}
		b, err := json.Marshal(payload)
		check(t, err)
		if w := d.ask(signed("/slack/interactions", typeForm, form1("payload", string(b)))); w.Code != 200 {
			t.Errorf("%s %s: %d", block, action, w.Code)
		}
	}
	for _, c := range []struct{ channel, block, action, value, want string }{
		{triage, "ask:RH-1:q2:x", "choose:0", "no such value", "not one of the answers"},
		{triage, "ask:RH-1:q77:x", "choose:0", "1P", "not one of RH-1's"},
		{triage, "ask:RH-99:q1:x", "choose:0", "1P", "I don't know *RH-99* any more"},
		{triage, "change:RH-99:r1.1:x", "change", "change", "I don't know *RH-99* any more"},
		{triage, "ask:RH-1:q2:x", "delete:0", "1P", "I don't know that button"},
		{triage, "ask:RH-1:q2:x", "choose:999", "1P", "I don't know that button"},
		{triage, "drop:RH-1:q2:x", "choose:0", "1P", "I don't know that button"},
		{triage, "ask:RH-1:r1:x", "choose:0", "1P", "I don't know that button"},
		{triage, "ask:RH-1:q2:x; rm", "choose:0", "1P", "I don't know that button"},
	} {
		before := len(d.Ephemerals(bob))
		press(c.channel, root.TS, c.block, c.action, c.value)
		d.await(c.block+" "+c.action+" is answered", func() bool { return len(d.Ephemerals(bob)) > before })
		if e := d.Ephemerals(bob); !strings.Contains(e[len(e)-1].Text, c.want) {
			t.Errorf("%+v: answered %s", c, e[len(e)-1].Text)
		}
	}
	press(d.DM(bob), d.say(bob, d.DM(bob), "", "help"), "ask:RH-1:q2:x", "choose:0", "CME")
	d.find(d.DM(bob), "*RH-1* is not worked on here")
	c, err := d.store.Get(t.Context(), "RH-1")
	check(t, err)
	if c.OpenQuestion() != 2 {
		t.Error("something changed")
	}
}

func TestAControlIsReadAsStrictlyAsItIsWritten(t *testing.T) {
	m := marker{"RH-1042", "q7", "0123456789abcdef"}
	if got, ok := parseControl(m.control(verbAsk)); !ok || got != (control{verb: verbAsk, conversation: "RH-1042", question: 7}) {
		t.Errorf("%+v %v", got, ok)
	}
	m.key = keyList
	if got, ok := parseControl(m.control(verbOwn)); !ok || got != (control{verb: verbOwn, conversation: "RH-1042", listed: true}) {
		t.Errorf("%+v %v", got, ok)
	}
	m.key = conversation.RootKey
	if got, ok := parseControl(m.control(verbOwn)); !ok || got != (control{verb: verbOwn, conversation: "RH-1042"}) {
		t.Errorf("%+v %v", got, ok)
	}
	m.key = "r2.3"
	if got, ok := parseControl(m.control(verbChange)); !ok || got != (control{verb: verbChange, conversation: "RH-1042"}) {
		t.Errorf("%+v %v", got, ok)
	}
	for _, bad := range []string{"", "ask", "ask:RH-0:q1:", "ask:RH-1:q0:", "ask:RH-1:q1", "ask:rh-1:q1:", "ask:RH-1:q1:0123456789", " ask:RH-1:q1:", "ask:RH-1:q1:\n", "ask:RH-1:r1:", "keep:RH-1:q1:", "own:RH-1:q1:", "own:RH-1::", "ask:RH-1:root:", "change:RH-1:list:", "own:RH-1:root", "ask:RH-99999999999999999999:q1:"} {
		if got, ok := parseControl(bad); ok {
			t.Errorf("%q is read as %+v", bad, got)
		}
	}
}

// FuzzInteractions throws anything at the decoder and the door behind it.
func FuzzInteractions(f *testing.F) {
	for _, s := range []string{
		`{}`, `null`, `[]`, `{"type":"block_actions","user":{"id":"U1"},"actions":[{"block_id":"ask:RH-1:q1:","action_id":"choose:0","value":"1P"}],"channel":{"id":"C1"}}`,
		`{"type":"message_action","callback_id":"triage_with_rehome","user":{"id":"U1"},"message":{"ts":"1.1","text":"x","blocks":[[[{"text":{"text":"3P"}}]]]}}`,
		`{"type":"view_submission","user":{"id":"U1"},"view":{"callback_id":"rehome_start","private_metadata":"{","state":{"values":{"violation":{"v":{"selected_option":{"value":"x"}}}}}}}`,
		`{"type":"block_actions","user":{"id":"U1"},"actions":[{"block_id":"own:RH-1:root:","action_id":"hand","selected_user":"U2"}],"channel":{"id":"C1"}}`,
		`{"type":"block_actions","user":{"id":"U1"},"actions":[{"block_id":"own:RH-1:list:","action_id":"join"}],"channel":{"id":"D1"}}`,
		`{"type":"shortcut","callback_id":"start_rehome","user":{"id":"U1"}}`, `{"type":"view_submission","user":{"id":"U1"},"view":null}`,
	} {
		f.Add([]byte(s))
	}
	d := unheard(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		i, err := decodeInteraction(raw)
		if err != nil {
			return
		}
		if a := d.take(t.Context(), i); a.err != nil {
			t.Errorf("%s: %v", raw, a.err)
		}
	})
}

// FuzzWords throws anything at /rehome.
func FuzzWords(f *testing.F) {
	for _, s := range []string{"", "help", "list mine", "digest daily", "show RH-1", "policy 1P AME", title, "3P CME option a", nasty, "show " + nasty, "policy " + nasty, "list " + nasty, "help " + nasty, "<https://x.vault.azure.cn|x>", strings.Repeat("x ", 5000), "\x00", "show RH-99999999999999999999"} {
		f.Add(s)
	}
	d := unheard(f)
	f.Fuzz(func(t *testing.T, text string) {
		a := d.take(t.Context(), command{User: alice, Channel: "D0000000001", Command: "/rehome", Text: text, Trigger: text})
		answered, ok := a.ack.(ack)
		if a.err != nil || !ok || answered.Text == "" || answered.ResponseType != "ephemeral" {
			t.Fatalf("%q: %+v", text, a)
		}
		if why := obeysOwn(strings.NewReplacer("<#"+triage+">", "", "<@"+alice+">", "").Replace(answered.Text)); why != "" {
			t.Errorf("%q: %s: %s", text, why, answered.Text)
		}
	})
}

// unheard are doors whose Slack is not there.
func unheard(f *testing.F) *Doors {
	chat, err := NewChat(Options{BotToken: "xoxb-test", APIURL: "http://127.0.0.1:1/api/"})
	if err != nil {
		f.Fatal(err)
	}
	d, err := New(Doors{Bot: bot.New(bot.Bot{Policy: policy.Default(), Store: store.NewMem(), Chat: chat}), Chat: chat})
	if err != nil {
		f.Fatal(err)
	}
	return d
}

// heard counts the deliveries of one kind that were acknowledged.
func (d *desk) heard(name string) (n int) {
	for _, x := range d.Deliveries() {
		if x.Name == name && x.Failure == "" {
			n++
		}
	}
	return n
}

func (d *desk) count(words string) (n int) {
	for _, m := range d.AllMessages() {
		if strings.Contains(m.Text, words) {
			n++
		}
	}
	return n
}

func TestADirectMessageIsLikeTheCommand(t *testing.T) {
	everyDoor(t, func(t *testing.T, d *desk) {
		dm := d.DM(alice)
		d.say(alice, dm, "", title)
		root := d.find(dm, "*RH-1 · ")
		if root.ThreadTS != "" && root.ThreadTS != root.TS { // a root that has replies names itself
			t.Error("the root is not a message of its own")
		}
		d.find(dm, "*1. Is ")
		d.settle()
		d.say(alice, dm, root.TS, "1P")
		d.find(dm, "*2. ")
		d.say(alice, dm, root.TS, "hm")
		d.find(dm, "I make nothing of that")
		d.say(alice, dm, "", "frobnicate")
		d.find(dm, "I made nothing of `frobnicate`, so nothing was opened")
	})
}

func TestTheMessageShortcutReadsAnAlert(t *testing.T) {
	everyDoor(t, func(t *testing.T, d *desk) {
		blocks := []any{
			map[string]any{"type": "section", "text": map[string]any{"type": "mrkdwn", "text": "*" + title + "*"}},
			map[string]any{"type": "section", "fields": []any{map[string]any{"type": "mrkdwn", "text": "Vault: <https://contoso-kv.vault.azure.cn|vault>"}}},
		}
		ts, err := d.PostAs("s360", triage, "New finding", blocks)
		check(t, err)
		check(t, d.Shortcut(alice, MessageShortcut, triage, ts))
		root := d.find(triage, "*RH-1 · "+title)
		if root.ThreadTS != ts || !strings.Contains(root.Text, "Mooncake") {
			t.Errorf("root %+v", root)
		}
		d.told(alice, "*RH-1* is open in this channel")
		check(t, d.Shortcut(bob, MessageShortcut, triage, ts))
		d.told(bob, "That is already *RH-1*")

		ts, err = d.PostAs("s360", random, title, nil)
		check(t, err)
		check(t, d.Shortcut(alice, MessageShortcut, random, ts))
		d.told(alice, "*RH-2* is open in our direct message, since I'm not in this one")
		check(t, d.Shortcut(alice, MessageShortcut, random, ts))
		d.told(alice, "That is already *RH-2*")

		ts, err = d.PostAs("somebody", triage, "lunch in Gallatin?", nil)
		check(t, err)
		check(t, d.Shortcut(alice, MessageShortcut, triage, ts))
		if v, ok := d.Modal(alice); !ok || !strings.Contains(strings.Join(v.BlockTexts(), " "), "I recognised nothing in that message") {
			t.Errorf("no form: %s", d.Transcript())
		}
	})
}

func TestTheForm(t *testing.T) {
	everyDoor(t, func(t *testing.T, d *desk) {
		check(t, d.Command(alice, triage, "/rehome", " "))
		v, ok := d.Modal(alice)
		if !ok || v.TitleText() != "Start with Rehome" {
			t.Fatalf("no form: %s\n%s", d.Transcript(), d.log)
		}
		goldenView(t, "view-form", v)
		err := d.SubmitView(alice, map[string]string{"Violation": title, "App id": "not-a-guid", "Vault": "not an address"})
		var wrong sandbox.ViewErrors
		if !errors.As(err, &wrong) || !strings.Contains(wrong.Error(), "not an app id") || !strings.Contains(wrong.Error(), "not an address") {
			t.Fatalf("got %v", err)
		}
		check(t, d.SubmitView(alice, map[string]string{
			"Violation": title, "App id": "11111111-2222-4333-8444-555555555555", "App name": "contoso <payroll>", "Vault": "https://contoso-kv.vault.azure.cn", "Party": "3P", "Tenant": "Torus Gallatin",
		}))
		d.told(alice, "*RH-1* is open in this channel")
		root := d.find(triage, "*RH-1 · ")
		for _, words := range []string{"contoso &lt;payroll&gt;", "11111111-2222", "`Torus Gallatin`", "Mooncake", "`3P`"} {
			if !strings.Contains(root.Text, words) {
				t.Errorf("the root does not say %s:\n%s", words, root.Text)
			}
		}
		if _, open := d.Modal(alice); open {
			t.Error("the form is still open")
		}

		check(t, d.Command(bob, random, "/rehome", ""))
		check(t, d.SubmitView(bob, map[string]string{"Violation": title}))
		v, ok = d.Modal(bob)
		if !ok || !strings.Contains(strings.Join(v.BlockTexts(), " "), "in our direct message, since I'm not in this one") {
			t.Errorf("it is not said where it went: %s", d.Transcript())
		}
		d.find(d.DM(bob), "*RH-2 · ")

		check(t, d.Shortcut(bob, GlobalShortcut, "", ""))
		if v, ok := d.Modal(bob); !ok || v.TitleText() != "Start with Rehome" {
			t.Error("the global shortcut opens no form")
		}
	})
}

// TestTheFormKeepsNoSecretOfAnAddress: a vault's address is easily pasted with
// the token that opens it.
func TestTheFormKeepsNoSecretOfAnAddress(t *testing.T) {
	d := sit(t, set{door: "http"})
	for i, c := range []struct{ vault, shown string }{
		{"https://contoso-kv.vault.azure.net/certificates/x?sv=2020&sig=SECRETSIG#SECRETFRAG", "`https://contoso-kv.vault.azure.net/certificates/x`"},
		{"https://SECRETUSER:SECRETWORD@contoso-kv.vault.azure.net", "`https://contoso-kv.vault.azure.net`"},
		{"contoso-kv.vault.azure.net", "`contoso-kv.vault.azure.net`"},
	} {
		check(t, d.Command(alice, triage, "/rehome", ""))
		check(t, d.SubmitView(alice, map[string]string{"Violation": title, "App id": "{11111111-2222-4333-8444-55555555555A}", "Vault": c.vault}))
		id := fmt.Sprintf("RH-%d", i+1)
		root := d.find(triage, "*"+id+" · ")
		for _, shown := range []string{c.shown, "11111111-2222-4333-8444-55555555555a", "ends in .vault.azure.net"} {
			if !strings.Contains(root.Text, shown) {
				t.Errorf("%s: the root does not say %s:\n%s", c.vault, shown, root.Text)
			}
		}
		d.settle()
		kept, err := d.store.Get(t.Context(), id)
		check(t, err)
		b, err := json.Marshal(kept)
		check(t, err)
		if all := string(b) + d.Transcript() + d.log.String(); strings.Contains(all, "SECRET") {
			t.Errorf("%s: a secret was kept or said", c.vault)
		}
	}
}

// goldenView compares a view as the sandbox got it.
func goldenView(t *testing.T, name string, v sandbox.View) {
	t.Helper()
	blocks := digests.ReplaceAll(v.Blocks, []byte("sha256:…"))                            // of policy files that other people edit
	blocks = threads.ReplaceAll(blocks, []byte("https://contoso.example/archives/D1/p1")) // of this run's sandbox
	golden(t, name, v.TitleText(), json.RawMessage(blocks))
}

var threads = regexp.MustCompile(`http://127\.0\.0\.1:[0-9]+/archives/[A-Z0-9]+/p[0-9]+`)

var digests = regexp.MustCompile(`sha256:[0-9a-f]+`)

func TestTheHomeTab(t *testing.T) {
	everyDoor(t, func(t *testing.T, d *desk) {
		check(t, d.OpenHome(alice))
		var v sandbox.View
		d.await("the Home tab", func() (ok bool) { v, ok = d.Home(alice); return ok })
		if !strings.Contains(strings.Join(v.BlockTexts(), " "), "Nothing is waiting for you") {
			t.Errorf("home: %v", v.BlockTexts())
		}
		check(t, d.ClickHome(alice, "Start"))
		check(t, d.SubmitView(alice, map[string]string{"Violation": title}))
		d.find(d.DM(alice), "*RH-1 · ")
		d.settle()
		check(t, d.CloseView(alice)) // where it said that it is in the direct message
		check(t, d.OpenHome(alice))
		d.await("the Home tab shows it", func() bool {
			v, _ = d.Home(alice)
			return strings.Contains(strings.Join(v.BlockTexts(), " "), "RH-1")
		})
		goldenView(t, "view-home", v)
	})
}

func TestTheHomeTabCountsWhatItDoesNotShow(t *testing.T) {
	d := sit(t, set{door: "http"})
	for range homeLength + 2 {
		check(t, d.Command(alice, triage, "/rehome", "cloud-mismatch"))
	}
	check(t, d.OpenHome(alice))
	d.await("the Home tab counts them", func() bool {
		v, _ := d.Home(alice)
		all := v.TitleText() + strings.Join(v.BlockTexts(), " ")
		return strings.Contains(all, fmt.Sprint("Open and yours: ", homeLength+2)) && strings.Contains(all, fmt.Sprintf("The newest %d are shown.", homeLength))
	})
}

func TestQuestionsAboutWhatThereIs(t *testing.T) {
	d := sit(t, set{door: "http"})
	ask := func(text string) string {
		t.Helper()
		check(t, d.Command(alice, triage, "/rehome", text))
		e := d.Ephemerals(alice)
		return e[len(e)-1].Text
	}
	for _, c := range []struct{ text, want string }{
		{"help", "What I do"},
		{"HELP start", "Starting"},
		{"help change", "Answering"},
		{"help <!channel>", "There is no help on"},
		{"list", "Open and yours: none"},
		{"list team", "Open in this channel: none"},
		{"list overdue", "Open and overdue: none"},
		{"list frobnicate", "takes `mine`, `team` or `overdue`, not `frobnicate`"},
		{"show RH-7", "There is no `RH-7`"},
		{"show 7", "There is no `RH-7`"},
		{"show", "by its number: `/rehome show RH-7`"},
		{"show ../../etc", "by its number"},
		{"gallatin", "`gallatin` may mean the cloud Mooncake or the tenant Torus Gallatin, so nothing was opened"},
		{"frobnicate the widget", "I made nothing of `frobnicate the widget`, so nothing was opened"},
		{"my cert is in the wrong tenant", "I made nothing of `my cert is in the wrong tenant`"},
		{"lst", "Did you mean `/rehome list`?"},
		{"overdue", "Open and overdue: none"},
		{"Team", "Open in this channel: none"},
		{"show rh7", "There is no `RH-7`"},
		{"show #7", "There is no `RH-7`"},
		{"hello!", "*What I do*"},
		{"change", "*Answering*"},
		{"hand over", "*Owners*"},
		{"digest", "`/rehome digest daily`"},
		{"digest hourly", "`/rehome digest daily`"},
		{"digest DAILY", "once a day"},
		{"digest now", "as things come"},
		{"help owners", "Not my app"},
		{"policy 3P CME", "`Mooncake, Prod + CME`"},
		{"policy 1P AME Mooncake", "`MoonCake + Prod + CME`"},
		{"policy 1P GME Mooncake", "There is *no policy row* for `1P GME Mooncake`. `GME` has one for *Public* alone"},
		{"policy 1P Torus ITAR Public", "`Torus ITAR` has one for *Fairfax* alone"},
		{"policy 1P USME Public", "`USME` has one for *Fairfax* alone"},
		{"policy 1P CME Fairfax", "`CME` has one for *Mooncake* alone"},
		{"policy 1P AME", "`FairFax + Prod + USME`"},
		{"policy 3P AME Fairfax", "*contradict each other*: `AME` is a tenant in *Public*, and you said *Fairfax*"},
		{"policy gallatin", "`gallatin` may mean the cloud Mooncake or the tenant Torus Gallatin, so no rows are shown"},
		{"policy 3P ITAR", "`ITAR` may mean"},
		{"policy option a", "I made nothing of `option a`, so no rows are shown"},
		{"policy nonsense", "I made nothing of `nonsense`"},
		{"policy", "3P, by app tenant"},
	} {
		if got := ask(c.text); !strings.Contains(got, c.want) {
			t.Errorf("/rehome %s: want %q in\n%s", c.text, c.want, got)
		}
	}
	if got := ask("policy 3P AME Fairfax"); strings.Contains(got, "no policy row") {
		t.Errorf("a contradiction is said as a missing row:\n%s", got)
	}
	if n := len(d.AllMessages()); n != 0 {
		t.Errorf("%d messages were posted for questions", n)
	}
	ask(title + " 3P")
	d.settle()
	for _, c := range []struct{ text, want string }{
		{"list", "*RH-1* " + title}, {"list team", "|its thread>"}, {"list overdue", "none"}, {"show rh-1", "*RH-1 · "}, {"RH-1", "*RH-1 · "}, {"what about rh-1?", "*RH-1 · "}, {"RH-9 please", "There is no `RH-9`"}, {"RH-1 or RH-2", "I made nothing of"}, {"show 01", "*RH-1 · "}, {"show 1", "Worked on in <#" + triage + ">"}, {"show 1", "|Open its thread>"},
	} {
		if got := ask(c.text); !strings.Contains(got, c.want) {
			t.Errorf("/rehome %s: want %q in\n%s", c.text, c.want, got)
		}
	}
	check(t, d.Command(bob, triage, "/rehome", "list mine"))
	if e := d.Ephemerals(bob); !strings.Contains(e[0].Text, "none") {
		t.Errorf("bob has %s", e[0].Text)
	}
}
