package slackapp

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"rehome/conversation"
)

// holdsNothing checks that a word is in nothing that is remembered or logged.
func (d *desk) holdsNothing(word string) {
	d.t.Helper()
	held := map[string]string{"the log": d.log.String()}
	check(d.t, d.store.List(d.t.Context(), func(c conversation.Conversation) bool {
		b, err := json.Marshal(c)
		check(d.t, err)
		journal, err := d.store.Journal(d.t.Context(), c.ID)
		check(d.t, err)
		held["a conversation"] += string(b)
		held["a journal"] += fmt.Sprint(journal)
		return true
	}))
	waiting, err := d.store.Outbox(d.t.Context(), true)
	check(d.t, err)
	held["the outbox"] = fmt.Sprint(waiting)
	for where, text := range held {
		if strings.Contains(text, word) {
			d.t.Errorf("%s has it:\n%s", where, text)
		}
	}
}

// Whoever types or pastes a secret is told, and nothing of it is kept.
func TestASecretThatSomebodyTypesIsKeptNowhere(t *testing.T) {
	tail := "canary" + strings.Repeat("aB3_", 7)
	for what, secret := range map[string]string{
		"a client secret": "abc" + "8Q~" + tail,
		"a token":         "eyJ" + "hbGciOiJSUzI1NiJ9" + ".eyJ" + "jYW5hcnkiOjF9" + ".canary",
		"an access key":   "https://contoso.blob.core.windows.net/c?sv=2025-01-05&sig=" + "canary%2Babc%3D",
		"a private key":   "-----BEGIN PRIVATE KEY----- " + "canary MIIE -----END PRIVATE KEY-----",
		"a password":      "Server=tcp:contoso.database.windows.net;Password=" + "canary!23;Encrypt=True",
	} {
		t.Run(what, func(t *testing.T) {
			d := sit(t, watching("socket"))
			said := "holds what looks like *" + what + "*"

			check(t, d.Command(alice, triage, "/rehome", title+" 3P "+secret))
			d.told(alice, said)
			root := d.find(triage, "*RH-1 · "+title)
			d.find(triage, "*1. Which tenant")
			check(t, d.Command(alice, triage, "/rehome", secret))
			check(t, d.Command(alice, triage, "/rehome", "list "+secret))

			d.say(alice, triage, root.TS, "PME, and the app's secret is "+secret)
			d.told(alice, "holds what looks like "+what)
			d.say(alice, triage, root.TS, secret)
			d.say(bob, triage, "", "@rehome "+title+" "+secret)
			d.told(bob, said)

			ts, err := d.PostAs("s360", triage, "New finding", []any{
				map[string]any{"type": "section", "text": map[string]any{"type": "mrkdwn", "text": "*" + title + "*\nApp " + ledger + " signs in with " + strings.ReplaceAll(secret, "&", "&amp;")}},
			})
			check(t, err)
			if note := d.find(triage, "The message above holds what looks like "+what); note.ThreadTS != ts {
				t.Errorf("it is said elsewhere: %+v", note)
			}

			check(t, d.Command(alice, triage, "/rehome", ""))
			err = d.SubmitView(alice, map[string]string{formViolation: title, formAppName: "ledger " + secret})
			if err == nil || !strings.Contains(err.Error(), "nothing of it is kept") {
				t.Errorf("the form took it: %v", err)
			}
			d.settle()
			d.holdsNothing("canary")
		})
	}
}
