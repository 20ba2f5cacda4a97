package slackapp

import (
	"net/url"
	"strings"
	"testing"

	"rehome/bot/sandbox"
)

// watching is a desk that works alerts other apps post in the triage channel.
func watching(door string) set {
	s := owning(door, mailOf("carol"))
	s.doors = func(d *Doors) {
		d.AlertChannels, d.AlertLinks = []string{triage, security}, []string{"https://s360.contoso.example/findings/"}
	}
	return s
}

func TestAnAlertOfAnotherAppIsWorkedInItsOwnThread(t *testing.T) {
	for _, door := range []string{"socket", "http"} {
		t.Run(door, func(t *testing.T) {
			d := sit(t, watching(door))
			ts, err := d.PostAs("s360", triage, "New finding", []any{
				map[string]any{"type": "section", "text": map[string]any{"type": "mrkdwn", "text": "*" + title + "*\nApp " + ledger}},
				map[string]any{"type": "section", "fields": []any{map[string]any{"type": "mrkdwn", "text": "Vault: <https://contoso-kv.vault.azure.cn|vault>"}}},
			})
			check(t, err)
			root := d.find(triage, "*RH-1 · "+title)
			if root.ThreadTS != ts || !strings.Contains(root.Text, "Mooncake") || !strings.Contains(root.Text, "by an alert from `slack`") {
				t.Errorf("root %+v", root)
			}
			if q := d.find(triage, "*1. Is "); q.ThreadTS != ts {
				t.Error("the question is not in the alert's thread")
			}
			d.find(d.DM(carol), "*RH-1 · ") // the owner hears of it
			d.settle()
			check(t, d.Click(alice, triage, root.TS, "I take it"))
			d.shows(root, "*Taken* by <@"+alice+">")
			check(t, d.Shortcut(bob, MessageShortcut, triage, ts))
			d.told(bob, "That is already *RH-1*")

			ts, err = d.PostAs("s360", triage, "<https://s360.contoso.example/findings/KAI-7|KAI-7> is overdue", nil)
			check(t, err)
			if root := d.find(triage, "*RH-2 · title not known yet"); root.ThreadTS != ts || !strings.Contains(root.Text, "<https://s360.contoso.example/findings/KAI-7|Finding>") {
				t.Errorf("root %+v", root)
			}

			for _, words := range []string{
				"lunch?", "https://s360.contoso.example.evil.example/findings/KAI-8", "https://s360.contoso.example/findingsx/1", "http://s360.contoso.example/findings/9",
				title + " - Some new scenario", "https://contoso-kv.vault.azure.net",
			} {
				_, err = d.PostAs("s360", triage, words, nil)
				check(t, err)
			}
			_, err = d.PostAs("s360", random, title, nil) // not watched, and the bot is not there
			check(t, err)
			last, err := d.PostAs("s360", security, title, nil)
			check(t, err)
			if root := d.find(security, "*RH-3 · "); root.ThreadTS != last {
				t.Errorf("something else became RH-3:\n%s", d.Transcript())
			}
			d.settle()
		})
	}
}

func TestEditsRepeatsAndOurOwnMessagesOpenNothing(t *testing.T) {
	d := sit(t, watching("http"))
	post := func(event string) {
		t.Helper()
		if w := d.ask(signed("/slack/events", typeJSON, `{"type":"event_callback","event_id":"Ev","event":{"type":"message","channel":"`+triage+`",`+event+`}}`)); w.Code != 200 {
			t.Errorf("%s: %d", event, w.Code)
		}
	}
	ts, err := d.PostAs("s360", triage, title, nil)
	check(t, err)
	d.find(triage, "*RH-1 · ")
	d.settle()
	alert := `"text":"` + title + `","bot_id":"B9","ts":"` + ts + `"`
	post(`"subtype":"bot_message",` + alert)
	post(alert) // the same, as apps post today
	if d.store.has(t, "RH-2") {
		t.Fatal("a repeat opened another")
	}
	for _, event := range []string{
		`"subtype":"message_changed","ts":"9.1","message":{` + alert + `}`,
		`"subtype":"message_deleted","ts":"9.2","previous_message":{` + alert + `}`,
		`"subtype":"bot_message","bot_id":"B9","text":"` + title + `","ts":"9.3","thread_ts":"9.0"`,
		`"bot_id":"B0000000001","text":"` + title + `","ts":"9.4"`,
		`"bot_id":"B9","user":"` + botUser + `","text":"` + title + `","ts":"9.5"`,
		`"bot_id":"B9","user":"U7","text":"` + title + `","ts":"9.6","blocks":[{"type":"header","block_id":"rh:RH-7:root:0"}]`,
		`"bot_id":"B9","text":"` + title + `"`,
	} {
		if post(event); d.store.has(t, "RH-2") {
			t.Fatalf("it opened another: %s", event)
		}
	}
	post(`"bot_id":"B9","user":"U7","text":"x","ts":"9.7","attachments":[{"color":"#f00","fields":[{"title":"Finding","value":"` + title + `"}]}]`)
	d.await("an attachment is read", func() bool { return d.store.has(t, "RH-2") })
}

func TestAnAlertIsDeliveredAgainWhenItMayBeOurOwn(t *testing.T) {
	s := watching("http")
	s.config = withFault(s.config, func(method string, n int) sandbox.Fault {
		if method == "auth.test" && n == 1 {
			return sandbox.Fault{Kind: sandbox.FailBefore}
		}
		return sandbox.Fault{}
	})
	d := sit(t, s)
	body := `{"type":"event_callback","event_id":"Ev","event":{"type":"message","channel":"` + triage + `","bot_id":"B9","text":"` + title + `","ts":"9.1"}}`
	if w := d.ask(signed("/slack/events", typeJSON, body)); w.Code != 503 {
		t.Errorf("taken with %d", w.Code)
	}
	if w := d.ask(signed("/slack/events", typeJSON, body)); w.Code != 200 {
		t.Errorf("refused with %d", w.Code)
	}
	if !d.store.has(t, "RH-1") {
		t.Error("it was lost")
	}
}

func withFault(config func(*sandbox.Config), fault func(string, int) sandbox.Fault) func(*sandbox.Config) {
	return func(c *sandbox.Config) {
		config(c)
		c.Fault = fault
	}
}

func (w *watched) has(t *testing.T, id string) bool {
	t.Helper()
	_, err := w.Get(t.Context(), id)
	return err == nil
}

func TestWhatIsNoChannelOrAddressIsRefusedAtTheStart(t *testing.T) {
	d := sit(t, set{door: "http"})
	for _, c := range []struct {
		change func(*Doors)
		want   string
	}{
		{func(d *Doors) { d.AlertChannels = []string{"#alerts"} }, "not a channel id"},
		{func(d *Doors) { d.AlertLinks = []string{"s360.contoso.example"} }, "not an https address"},
		{func(d *Doors) { d.AlertLinks = []string{"http://s360.contoso.example"} }, "not an https address"},
	} {
		doors := Doors{Bot: d.bot, Chat: d.chat}
		c.change(&doors)
		if _, err := New(doors); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

func TestWhereALinkLeads(t *testing.T) {
	for _, c := range []struct {
		known, address string
		want           bool
	}{
		{"https://a.example/f/", "https://a.example/f/1", true},
		{"https://a.example/f", "https://A.example/f?x=1", true},
		{"https://a.example", "https://a.example/f", true},
		{"https://a.example/f", "https://a.example/fx", false},
		{"https://a.example/f", "http://a.example/f", false},
		{"https://a.example/f", "https://a.example.evil.example/f", false},
		{"https://a.example/f", "https://a.example@evil.example/f", false},
		{"https://a.example/f", "https://x@a.example/f", false},
		{"https://a.example/f", "https://a.example:8443/f", false},
		{"nonsense", "https://a.example/f", false},
	} {
		u, err := url.Parse(c.address)
		check(t, err)
		if got := leadsTo(u, c.known); got != c.want {
			t.Errorf("%s leads to %s: %v", c.address, c.known, got)
		}
	}
}
