package slackapp

import (
	"errors"
	"maps"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"rehome/bot"
	"rehome/bot/sandbox"
	"rehome/conversation"
	"rehome/policy"
)

// TestWhatSlackTookIsFound posts cards while the answer is lost in every way it
// can be, and looks for them as the bot does afterwards.
func TestWhatSlackTookIsFound(t *testing.T) {
	remark := func(key string) bot.Message {
		return bot.Message{Conversation: "RH-7", Key: key, Card: conversation.Remark{ID: "RH-7", Text: policy.Say("noted")}, Digest: "0123456789abcdef"}
	}
	for _, tc := range []struct {
		name  string
		fault sandbox.FaultKind
		there bool
	}{
		{"the connection breaks after the post", sandbox.DropAfter, true},
		{"500 after the post", sandbox.FailAfter, true},
		{"the answer breaks off", sandbox.Truncate, true},
		{"the connection breaks before it", sandbox.DropBefore, false},
		{"500 before it", sandbox.FailBefore, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var broken atomic.Bool
			w, err := sandbox.New(sandbox.Config{
				Strict: true, Users: []sandbox.User{{ID: alice, Name: "alice"}}, Channels: []sandbox.Channel{{ID: triage, Name: "triage", BotMember: true}},
				App: sandbox.App{BotToken: "xoxb-test", Scopes: slices.Sorted(maps.Keys(Scopes))},
				Fault: func(method string, _ int) sandbox.Fault {
					if method == "chat.postMessage" && broken.Load() {
						return sandbox.Fault{Kind: tc.fault}
					}
					return sandbox.Fault{}
				},
			})
			check(t, err)
			srv := httptest.NewServer(w)
			w.SetBaseURL(srv.URL)
			chat, err := NewChat(Options{BotToken: "xoxb-test", APIURL: srv.URL + "/api/"})
			check(t, err)
			t.Cleanup(func() { w.Close(); srv.Close(); chat.Close() })

			root := remark("root")
			root.Channel = triage
			at, err := chat.Show(t.Context(), root)
			check(t, err)
			for where, m := range map[string]bot.Message{
				"a channel": {Channel: triage}, "a thread": {Channel: triage, ThreadTS: at.TS}, "a direct message": {Channel: alice},
			} {
				sent := remark("n1")
				sent.Channel, sent.ThreadTS = m.Channel, m.ThreadTS
				begun := time.Now()
				broken.Store(true)
				_, err := chat.Show(t.Context(), sent)
				broken.Store(false)
				var f *bot.Failure
				if !errors.As(err, &f) || f.Kind != bot.Again || !f.Unsure {
					t.Fatalf("in %s: %#v, want a failure that leaves it open", where, err)
				}
				got, found, err := chat.Find(t.Context(), sent, begun.Add(-time.Minute))
				check(t, err)
				if found != tc.there || found && got.TS == "" {
					t.Errorf("in %s: found %v at %+v, want %v", where, found, got, tc.there)
				}
				if other := remark("n2"); found {
					other.Channel, other.ThreadTS = m.Channel, m.ThreadTS
					if _, found, err := chat.Find(t.Context(), other, begun.Add(-time.Minute)); err != nil || found {
						t.Errorf("in %s: another card passes for it (%v, %v)", where, found, err)
					}
				}
			}
		})
	}
}
