package slackapp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rehome/bot"
	"rehome/conversation"
	"rehome/policy"
)

// slackSays is a Slack that gives one answer to everything.
func slackSays(t *testing.T, answer http.HandlerFunc) (*Chat, *logbook) {
	return slackSaysWithin(t, 5*time.Second, answer)
}

func slackSaysWithin(t *testing.T, timeout time.Duration, answer http.HandlerFunc) (*Chat, *logbook) {
	t.Helper()
	srv := httptest.NewServer(answer)
	book := &logbook{}
	c, err := NewChat(Options{BotToken: "xoxb-very-secret", APIURL: srv.URL + "/api", Timeout: timeout, Log: book.logger()})
	check(t, err)
	t.Cleanup(func() { c.Close(); srv.Close() })
	return c, book
}

func body(status int, header, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		name, value, _ := strings.Cut(header, ": ")
		if name != "" {
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

func refused(code string) http.HandlerFunc {
	return body(200, "Content-Type: application/json", fmt.Sprintf(`{"ok":false,"error":%q}`, code))
}

func TestWhatAFailureMeansForWhoeverGoesOn(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		edit   bool
		kind   bot.FailureKind
		code   string
		after  time.Duration
	}{
		{"too fast, and for how long", body(429, "Retry-After: 7", `{"ok":false,"error":"ratelimited"}`), false, bot.Again, "ratelimited", 7 * time.Second},
		{"too fast, no word of how long", body(429, "", ""), false, bot.Again, "ratelimited", unsaidLimit},
		{"too fast, as a success of HTTP", refused("ratelimited"), false, bot.Again, "ratelimited", unsaidLimit},
		{"Slack is down", body(503, "", "upstream"), false, bot.Again, "http_503", 0},
		{"not Slack's API at all", body(404, "", "<html>"), false, bot.Again, "http_404", misconfigured},
		{"a page instead of JSON", body(200, "Content-Type: text/html", "<html>log in first</html>"), false, bot.Again, "unreadable_answer", 0},
		{"an error of a shape nobody knows", body(200, "", `{"ok":false,"error":"x","errors":[{"strange":"secret text"}]}`), false, bot.Again, "unreadable_answer", 0},
		{"not ok, and no word of why", body(200, "", `{"ok":false}`), false, bot.Again, "empty_answer", 0},
		{"nothing at all", body(200, "", `{}`), false, bot.Again, "empty_answer", 0},
		{"ok without a message", body(200, "", `{"ok":true}`), false, bot.Again, "empty_answer", 0},
		{"half an answer", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"ok":tr`)
		}, false, bot.Again, "unreadable_answer", 0},
		{"the line goes dead", func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, false, bot.Again, "no_answer", 0},
		{"a redirect", body(302, "Location: https://evil.example/", ""), false, bot.Again, "redirect", misconfigured},
		{"Slack stumbles", refused("internal_error"), false, bot.Again, "internal_error", 0},
		{"Slack stumbles badly", refused("fatal_error"), false, bot.Again, "fatal_error", 0},
		{"a bad token", refused("invalid_auth"), false, bot.Again, "invalid_auth", misconfigured},
		{"a scope is missing", refused("missing_scope"), false, bot.Again, "missing_scope", misconfigured},
		{"the message was deleted", refused("message_not_found"), true, bot.Lost, "message_not_found", 0},
		{"the message is not ours", refused("cant_update_message"), true, bot.Lost, "cant_update_message", 0},
		{"too late to edit", refused("edit_window_closed"), true, bot.Lost, "edit_window_closed", 0},
		{"a thread that is gone cannot be lost by posting", refused("thread_not_found"), false, bot.Never, "thread_not_found", 0},
		{"no such channel", refused("channel_not_found"), false, bot.Never, "channel_not_found", 0},
		{"no such channel, editing", refused("channel_not_found"), true, bot.Never, "channel_not_found", 0},
		{"not in it", refused("not_in_channel"), false, bot.Never, "not_in_channel", 0},
		{"archived", refused("is_archived"), false, bot.Never, "is_archived", 0},
		{"no such user", refused("user_not_found"), false, bot.Never, "user_not_found", 0},
		{"blocks refused", refused("invalid_blocks"), false, bot.Never, "invalid_blocks", 0},
		{"too long", refused("msg_too_long"), true, bot.Never, "msg_too_long", 0},
		{"a code nobody heard of", refused("brand_new_code"), false, bot.Never, "brand_new_code", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			chat, book := slackSays(t, c.answer)
			m := bot.Message{Conversation: "RH-1", Key: "n1", Card: conversation.Remark{ID: "RH-1", Text: policy.Say("hello")}, Channel: triage, Digest: "0123"}
			if c.edit {
				m.TS = "1.2"
			}
			_, err := chat.Show(t.Context(), m)
			f := failed(err)
			if f.Kind != c.kind || f.Code != c.code || f.After != c.after {
				t.Fatalf("got %#v, want kind %d, code %s, after %s", err, c.kind, c.code, c.after)
			}
			for _, said := range []string{err.Error(), book.String()} {
				if strings.Contains(said, "very-secret") || strings.Contains(said, "secret text") || strings.Contains(said, "hello") {
					t.Errorf("it says too much: %s", said)
				}
			}
			if authTrouble[c.code] && !strings.Contains(book.String(), "OAuth & Permissions") {
				t.Errorf("the operator is not told what to do: %s", book)
			}
		})
	}
}

// failed is an error as the failure it must be.
func failed(err error) bot.Failure {
	var f *bot.Failure
	if !errors.As(err, &f) {
		return bot.Failure{Kind: -1}
	}
	return *f
}

func TestASilentSlackIsGivenUpOn(t *testing.T) {
	hung := make(chan struct{})
	defer close(hung)
	chat, _ := slackSaysWithin(t, 20*time.Millisecond, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-hung:
		}
	})
	_, err := chat.send(t.Context(), triage, false, quiet("x")...)
	if f := failed(err); f.Kind != bot.Again || f.Code != "timeout" {
		t.Errorf("got %#v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if f := failed(chat.Tell(ctx, conversation.Person{ID: alice}, conversation.Place{Channel: triage}, "1.2", policy.Say("x"))); f.Code != "timeout" || f.Kind != bot.Again {
		t.Errorf("got %#v", f)
	}
}

func TestNothingIsSentTwiceByTheClient(t *testing.T) {
	var calls atomic.Int32
	chat, _ := slackSays(t, func(http.ResponseWriter, *http.Request) { calls.Add(1); panic(http.ErrAbortHandler) })
	_, _ = chat.send(t.Context(), triage, false, quiet("x")...)
	if n := calls.Load(); n != 1 {
		t.Errorf("%d posts for one message", n)
	}
}

func TestEveryMessageIsQuietAndMarked(t *testing.T) {
	d := sit(t, set{door: "http"})
	m := bot.Message{Conversation: "RH-1", Key: "q1", Card: cards()["question"], Channel: alice, Digest: "0123456789abcdef"}
	at, err := d.chat.Show(t.Context(), m)
	check(t, err)
	if at.Channel != d.DM(alice) || at.TS == "" {
		t.Errorf("the direct message's channel is not learnt: %+v", at)
	}
	m.Channel, m.TS = at.Channel, at.TS
	_, err = d.chat.Show(t.Context(), m)
	check(t, err)
	for _, call := range d.Calls() {
		for name, want := range map[string]string{"unfurl_links": "false", "unfurl_media": "false", "parse": "none", "link_names": "false"} {
			if call.Args[name] != want {
				t.Errorf("%s: %s is %v", call.Method, name, call.Args[name])
			}
		}
		if blocks := fmt.Sprint(call.Args["blocks"]); !strings.Contains(blocks, `"block_id":"rh:RH-1:q1:01234567"`) || !strings.Contains(blocks, `"block_id":"ask:RH-1:q1:01234567"`) {
			t.Errorf("%s: blocks %s", call.Method, blocks)
		}
		if meta := fmt.Sprint(call.Args["metadata"]); !strings.Contains(meta, MetadataEvent) || !strings.Contains(meta, `"conversation":"RH-1"`) {
			t.Errorf("%s: metadata %s", call.Method, meta)
		}
	}
}

func TestOptionsSayWhatToDo(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{}, "set SLACK_BOT_TOKEN"},
		{Options{BotToken: "xapp-1-secret"}, "put that into SLACK_APP_TOKEN"},
		{Options{BotToken: "xoxb-1", AppToken: "xoxb-secret"}, "put that into SLACK_BOT_TOKEN"},
		{Options{BotToken: "xoxb-1", APIURL: "slack.com"}, "SLACK_API_URL is not"},
		{Options{BotToken: "xoxb-1", APIURL: "ftp://slack.com"}, "SLACK_API_URL is not"},
	} {
		if _, err := NewChat(c.o); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
	if _, err := New(Doors{}); err == nil {
		t.Error("doors without a bot")
	}
	if _, err := New(Doors{Bot: &bot.Bot{}, Chat: &Chat{}, SigningSecrets: []string{""}}); err == nil || !strings.Contains(err.Error(), "SLACK_SIGNING_SECRET") {
		t.Errorf("an empty secret would let everybody in: %v", err)
	}
}

func TestIdentifyTellsTheTokenApart(t *testing.T) {
	chat, _ := slackSays(t, refused("invalid_auth"))
	if _, err := chat.Identify(t.Context()); err == nil || !strings.Contains(err.Error(), "SLACK_BOT_TOKEN") {
		t.Errorf("got %v", err)
	}
	d := sit(t, set{door: "http"})
	self, err := d.chat.Identify(t.Context())
	if err != nil || self.UserID != botUser || self.TeamID == "" {
		t.Errorf("%+v, %v", self, err)
	}
}

func TestAResponseURLLeadsToSlackOrNowhere(t *testing.T) {
	var reached atomic.Bool
	chat, _ := slackSays(t, func(w http.ResponseWriter, r *http.Request) { reached.Store(r.Header.Get("Authorization") == "") })
	for address, may := range map[string]bool{
		"https://hooks.slack.com/actions/T1/2/3":                true,
		"https://HOOKS.slack.com/commands/T1/2/3":               true,
		"http://hooks.slack.com/actions/T1":                     false,
		"https://hooks.slack.com.evil.example/":                 false,
		"https://hooks.slack.com@evil.example/":                 false,
		"https://evil.example/hooks.slack.com":                  false,
		"https://hooks.slack.com:8443/":                         false,
		"https://x:y@hooks.slack.com/":                          false,
		"file:///etc/passwd":                                    false,
		"":                                                      false,
		chat.base.String() + "x":                                true,
		strings.Replace(chat.base.String(), "http", "https", 1): false,
	} {
		if got := chat.mayRespond(address); got != may {
			t.Errorf("%q: %v", address, got)
		}
	}
	check(t, chat.respond(t.Context(), chat.base.String()+"response/1", say("hello")))
	if !reached.Load() {
		t.Error("not reached, or with our token")
	}
	secretly := "https://evil.example/response/very-secret"
	if err := chat.respond(t.Context(), secretly, say("hello")); err == nil || strings.Contains(err.Error(), "very-secret") {
		t.Errorf("got %v", err)
	}
	chat, _ = slackSays(t, body(404, "", "used_url"))
	if err := chat.respond(t.Context(), chat.base.String()+"very-secret", say("hello")); err == nil || strings.Contains(err.Error(), "very-secret") {
		t.Errorf("got %v", err)
	}
}
