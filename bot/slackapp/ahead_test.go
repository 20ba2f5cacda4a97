package slackapp

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"rehome/bot"
	"rehome/bot/sandbox"
	"rehome/conversation"
	"rehome/policy"
)

// What was sent by a clock that is ahead of Slack's is found, wherever it is: also
// when the clock was put right before it is looked for.
func TestAMessageIsFoundWhateverOurClockSaidWhenItWasSent(t *testing.T) {
	for name, tc := range map[string]struct {
		ahead time.Duration // of our clock
		sent  time.Duration // what our clock said then, from now
	}{
		"an hour ahead":                    {time.Hour, 0},
		"a day ahead":                      {24 * time.Hour, 0},
		"a day ahead, and put right since": {0, 24 * time.Hour},
		"behind":                           {-time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			slackNow := func() time.Time { return time.Now().Add(-tc.ahead) }
			w, err := sandbox.New(sandbox.Config{
				Strict: true,
				Users:  []sandbox.User{{ID: alice, Name: "alice", Email: "alice@contoso.example"}}, Channels: []sandbox.Channel{{ID: triage, Name: "triage", BotMember: true}},
				App: sandbox.App{Name: "rehome", BotToken: "xoxb-test", Scopes: slices.Sorted(maps.Keys(Scopes))}, Now: slackNow,
			})
			check(t, err)
			srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Date", slackNow().UTC().Format(http.TimeFormat))
				w.ServeHTTP(rw, r)
			}))
			w.SetBaseURL(srv.URL)
			chat, err := NewChat(Options{BotToken: "xoxb-test", APIURL: srv.URL + "/api/"})
			check(t, err)
			t.Cleanup(func() { w.Close(); srv.Close(); chat.Close() })

			root := bot.Message{Conversation: "RH-7", Key: "root", Channel: triage, Card: conversation.Remark{ID: "RH-7", Text: policy.Say("noted")}}
			at, err := chat.Show(t.Context(), root)
			check(t, err)
			for where, m := range map[string]bot.Message{
				"a channel": {Channel: triage}, "a thread": {Channel: triage, ThreadTS: at.TS}, "a direct message": {Channel: alice},
			} {
				m.Conversation, m.Key, m.Card = root.Conversation, "n1", root.Card
				begun := time.Now().Add(tc.sent)
				_, err := chat.Show(t.Context(), m)
				check(t, err)
				if _, found, err := chat.Find(t.Context(), m, begun.Add(-time.Minute)); err != nil || !found {
					t.Errorf("in %s: found %v (%v), want the message", where, found, err)
				}
			}
		})
	}
}
