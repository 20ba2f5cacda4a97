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
	limited := func(after string) http.HandlerFunc {
		return body(429, "Retry-After: "+after, `{"ok":false,"error":"ratelimited"}`)
	}
	const sure, unsure = false, true
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		of     call
		kind   bot.FailureKind
		code   string
		after  time.Duration
		unsure bool // it may have been done all the same
	}{
		{"too fast, and for how long", limited("7"), posting, bot.Again, "ratelimited", 7 * time.Second, sure},
		{"too fast, for no time at all", limited("0"), posting, bot.Again, "ratelimited", time.Second, sure},
		{"too fast, for longer than a person lives", limited("99999999999"), posting, bot.Again, "ratelimited", time.Hour, sure},
		{"too fast, for more than a number holds", limited("99999999999999999999999"), posting, bot.Again, "ratelimited", time.Hour, sure},
		{"too fast, for a fraction", limited("1.5"), posting, bot.Again, "ratelimited", 2 * time.Second, sure},
		{"too fast, until yesterday", limited("-5"), posting, bot.Again, "ratelimited", unsaidLimit, sure},
		{"too fast, until a date", limited("Fri, 31 Dec 1999 23:59:59 GMT"), posting, bot.Again, "ratelimited", unsaidLimit, sure},
		{"too fast, for nonsense", limited("NaN"), posting, bot.Again, "ratelimited", unsaidLimit, sure},
		{"too fast, no word of how long", body(429, "", ""), posting, bot.Again, "ratelimited", unsaidLimit, sure},
		{"too fast, as a success of HTTP", refused("ratelimited"), posting, bot.Again, "ratelimited", unsaidLimit, sure},
		{"too fast, by its other name", refused("rate_limited"), editing, bot.Again, "ratelimited", unsaidLimit, sure},
		{"too much for the workspace", refused("message_limit_exceeded"), posting, bot.Again, "ratelimited", unsaidLimit, sure},
		{"Slack is down", body(503, "", "upstream"), posting, bot.Again, "http_503", 0, unsure},
		{"not Slack's API at all", body(404, "", "<html>"), posting, bot.Again, "http_404", misconfigured, unsure},
		{"a page instead of JSON", body(200, "Content-Type: text/html", "<html>log in first</html>"), posting, bot.Again, "unreadable_answer", 0, unsure},
		{"an error of a shape nobody knows", body(200, "", `{"ok":false,"error":"x","errors":[{"strange":"secret text"}]}`), posting, bot.Again, "unreadable_answer", 0, unsure},
		{"not ok, and no word of why", body(200, "", `{"ok":false}`), posting, bot.Again, "empty_answer", 0, unsure},
		{"nothing at all", body(200, "", `{}`), posting, bot.Again, "empty_answer", 0, unsure},
		{"ok without a message", body(200, "", `{"ok":true}`), posting, bot.Again, "empty_answer", 0, unsure},
		{"no body", body(200, "", ""), posting, bot.Again, "unreadable_answer", 0, unsure},
		{"half an answer", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"ok":tr`)
		}, posting, bot.Again, "unreadable_answer", 0, unsure},
		{"the line goes dead", func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, posting, bot.Again, "no_answer", 0, unsure},
		{"a redirect", body(302, "Location: https://evil.example/", ""), posting, bot.Again, "redirect", misconfigured, unsure},
		{"Slack stumbles", refused("internal_error"), posting, bot.Again, "internal_error", 0, unsure},
		{"Slack stumbles badly", refused("fatal_error"), posting, bot.Again, "fatal_error", 0, unsure},
		{"Slack is busy", refused("service_unavailable"), posting, bot.Again, "service_unavailable", 0, unsure},
		{"Slack read half of it", refused("request_timeout"), posting, bot.Again, "request_timeout", 0, unsure},
		{"the workspace is moving", refused("team_added_to_org"), posting, bot.Again, "team_added_to_org", 0, unsure},
		{"the message streams", refused("streaming_state_conflict"), editing, bot.Again, "streaming_state_conflict", 0, unsure},
		{"a bad token", refused("invalid_auth"), posting, bot.Stop, "invalid_auth", 0, sure},
		{"no token", refused("not_authed"), replying, bot.Stop, "not_authed", 0, sure},
		{"a revoked token", refused("token_revoked"), editing, bot.Stop, "token_revoked", 0, sure},
		{"an expired token", refused("token_expired"), posting, bot.Stop, "token_expired", 0, sure},
		{"the app was removed", refused("account_inactive"), posting, bot.Stop, "account_inactive", 0, sure},
		{"another kind of token", refused("not_allowed_token_type"), posting, bot.Stop, "not_allowed_token_type", 0, sure},
		{"posting is suspended", refused("ekm_access_denied"), posting, bot.Stop, "ekm_access_denied", 0, sure},
		{"chat:write is missing", refused("missing_scope"), posting, bot.Stop, "missing_scope", 0, sure},
		{"a scope is missing to look something up", refused("missing_scope"), asking, bot.Again, "missing_scope", misconfigured, sure},
		{"a bad token, looking something up", refused("invalid_auth"), asking, bot.Again, "invalid_auth", misconfigured, sure},
		{"history may not be read", refused("missing_scope"), reading, bot.Never, "missing_scope", 0, sure},
		{"history of a channel we are not in", refused("not_in_channel"), reading, bot.Never, "not_in_channel", 0, sure},
		{"a bad token, reading history", refused("token_revoked"), reading, bot.Again, "token_revoked", misconfigured, sure},
		{"the message was deleted", refused("message_not_found"), editing, bot.Lost, "message_not_found", 0, sure},
		{"the message is not ours", refused("cant_update_message"), editing, bot.Lost, "cant_update_message", 0, sure},
		{"too late to edit", refused("edit_window_closed"), editing, bot.Lost, "edit_window_closed", 0, sure},
		{"the thread is gone", refused("thread_not_found"), replying, bot.Lost, "thread_not_found", 0, sure},
		{"a message that takes no replies", refused("cannot_reply_to_message"), replying, bot.Lost, "cannot_reply_to_message", 0, sure},
		{"a thread cannot be gone for what is in none", refused("thread_not_found"), posting, bot.Never, "thread_not_found", 0, sure},
		{"no such channel", refused("channel_not_found"), posting, bot.Never, "channel_not_found", 0, sure},
		{"no such channel, editing", refused("channel_not_found"), editing, bot.Never, "channel_not_found", 0, sure},
		{"not in it", refused("not_in_channel"), posting, bot.Never, "not_in_channel", 0, sure},
		{"may not post in it", refused("no_permission"), posting, bot.Never, "no_permission", 0, sure},
		{"only some may post", refused("restricted_action"), posting, bot.Never, "restricted_action", 0, sure},
		{"archived", refused("is_archived"), posting, bot.Never, "is_archived", 0, sure},
		{"no such user", refused("user_not_found"), posting, bot.Never, "user_not_found", 0, sure},
		{"they left the channel", refused("user_not_in_channel"), posting, bot.Never, "user_not_in_channel", 0, sure},
		{"messages of this app are switched off", refused("messages_tab_disabled"), posting, bot.Never, "messages_tab_disabled", 0, sure},
		{"blocks refused", refused("invalid_blocks"), posting, bot.Never, "invalid_blocks", 0, sure},
		{"metadata refused", refused("metadata_too_large"), posting, bot.Never, "metadata_too_large", 0, sure},
		{"too long", refused("msg_too_long"), editing, bot.Never, "msg_too_long", 0, sure},
		{"a code nobody heard of", refused("brand_new_code"), posting, bot.Never, "brand_new_code", 0, sure},
	} {
		t.Run(c.name, func(t *testing.T) {
			chat, book := slackSays(t, c.answer)
			m := bot.Message{Conversation: "RH-1", Key: "n1", Card: conversation.Remark{ID: "RH-1", Text: policy.Say("hello")}, Channel: triage, Digest: "0123"}
			var err error
			switch c.of {
			case editing:
				m.TS = "1.2"
				_, err = chat.Show(t.Context(), m)
			case replying:
				m.ThreadTS = "1.2"
				_, err = chat.Show(t.Context(), m)
			case posting:
				_, err = chat.Show(t.Context(), m)
			case reading:
				_, _, err = chat.Find(t.Context(), m, time.Unix(1, 0))
			case asking:
				_, err = chat.api.GetUserInfoContext(t.Context(), alice)
				err = failure(err, asking)
			}
			f := failed(err)
			if f.Kind != c.kind || f.Code != c.code || f.After != c.after || f.Unsure != c.unsure {
				t.Fatalf("got %#v, want kind %d, code %s, after %s, unsure %v", err, c.kind, c.code, c.after, c.unsure)
			}
			for _, said := range []string{err.Error(), book.String()} {
				if strings.Contains(said, "very-secret") || strings.Contains(said, "secret text") || strings.Contains(said, "hello") {
					t.Errorf("it says too much: %s", said)
				}
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
	_, err := chat.send(t.Context(), triage, posting, quiet("x")...)
	if f := failed(err); f.Kind != bot.Again || f.Code != "timeout" {
		t.Errorf("got %#v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if f := failed(chat.Tell(ctx, conversation.Person{ID: alice}, bot.Message{Channel: triage, ThreadTS: "1.2"}, policy.Say("x"))); f.Code != "timeout" || f.Kind != bot.Again {
		t.Errorf("got %#v", f)
	}
}

func TestNothingIsSentTwiceByTheClient(t *testing.T) {
	var calls atomic.Int32
	chat, _ := slackSays(t, func(http.ResponseWriter, *http.Request) { calls.Add(1); panic(http.ErrAbortHandler) })
	_, _ = chat.send(t.Context(), triage, posting, quiet("x")...)
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
	check(t, chat.respond(t.Context(), chat.base.String()+"response/1", ephemeral(say("hello"))))
	if !reached.Load() {
		t.Error("not reached, or with our token")
	}
	secretly := "https://evil.example/response/very-secret"
	if err := chat.respond(t.Context(), secretly, ephemeral(say("hello"))); err == nil || strings.Contains(err.Error(), "very-secret") {
		t.Errorf("got %v", err)
	}
	chat, _ = slackSays(t, body(404, "", "used_url"))
	if err := chat.respond(t.Context(), chat.base.String()+"very-secret", ephemeral(say("hello"))); err == nil || strings.Contains(err.Error(), "very-secret") {
		t.Errorf("got %v", err)
	}
}
