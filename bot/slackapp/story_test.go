package slackapp

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"rehome/bot/sandbox"
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
		d.settle()
		if n := len(d.Ephemerals(bob)); n != 1 {
			t.Errorf("%d answers to one mention", n)
		}
	})
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
		if root.ThreadTS != "" {
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

		ts, err = d.PostAs("somebody", triage, "lunch?", nil)
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
		wrong, ok := err.(sandbox.ViewErrors)
		if !ok || !strings.Contains(wrong.Error(), "not an app id") || !strings.Contains(wrong.Error(), "not an address") {
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

// goldenView compares a view as the sandbox got it.
func goldenView(t *testing.T, name string, v sandbox.View) {
	t.Helper()
	blocks := digests.ReplaceAll(v.Blocks, []byte("sha256:…")) // of policy files that other people edit
	golden(t, name, v.TitleText(), json.RawMessage(blocks))
}

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
		{"list team", "Open: none"},
		{"list overdue", "Open and overdue: none"},
		{"list frobnicate", "I made nothing of `list frobnicate`"},
		{"show RH-7", "There is no `RH-7`"},
		{"show", "There is no `RH-…`"},
		{"show ../../etc", "There is no"},
		{"frobnicate the widget", "I made nothing of `frobnicate"},
		{"policy 3P CME", "`Mooncake, Prod + CME`"},
		{"policy 1P AME Mooncake", "`MoonCake + Prod + CME`"},
		{"policy 1P GME Mooncake", "There is *no policy row* for `1P GME Mooncake`"},
		{"policy 3P AME Fairfax", "`AME` is in *Public*"},
		{"policy nonsense", "I made nothing of `nonsense`"},
		{"policy", "3P, by app tenant"},
	} {
		if got := ask(c.text); !strings.Contains(got, c.want) {
			t.Errorf("/rehome %s: want %q in\n%s", c.text, c.want, got)
		}
	}
	if n := len(d.AllMessages()); n != 0 {
		t.Errorf("%d messages were posted for questions", n)
	}
	ask(title + " 3P")
	d.settle()
	for _, c := range []struct{ text, want string }{
		{"list", "*RH-1* " + title}, {"list team", "*RH-1*"}, {"list overdue", "none"}, {"show rh-1", "*RH-1 · "}, {"show 1", "Worked on in <#" + triage + ">"},
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
