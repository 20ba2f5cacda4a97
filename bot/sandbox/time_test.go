package sandbox_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/slack-go/slack"

	"rehome/bot/sandbox"
)

// Hours pass here in milliseconds: the workspace, its clients and their network are in a bubble
// whose clock moves on when all of them wait.

// bubble is a workspace in a bubble, and the network to reach it.
type bubble struct {
	*sandbox.Workspace
	api  *slack.Client
	http *http.Client
	pipe *sandbox.Pipe
}

const pipeURL = "http://sandbox.invalid"

func inBubble(t *testing.T, cfg sandbox.Config, story func(t *testing.T, b *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{pipe: sandbox.NewPipe()}
		w, err := sandbox.New(cfg)
		check(t, err)
		b.Workspace = w
		srv := &http.Server{Handler: w}
		go func() { _ = srv.Serve(b.pipe) }()
		transport := &http.Transport{DialContext: b.pipe.DialContext}
		b.http = &http.Client{Transport: transport}
		b.api = slack.New(botToken, slack.OptionAPIURL(pipeURL+"/api/"), slack.OptionHTTPClient(b.http), slack.OptionAppLevelToken(appToken))
		defer func() {
			w.Close()
			_ = srv.Close()
			transport.CloseIdleConnections()
		}()
		story(t, b)
	})
}

// post sends JSON and returns status and body.
func (b *bubble) post(t *testing.T, url, body string) (int, string) {
	t.Helper()
	res, err := b.http.Post(url, "application/json", strings.NewReader(body))
	check(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	check(t, err)
	return res.StatusCode, string(text)
}

// socket is a Socket Mode client that does nothing by itself.
type socket struct {
	*websocket.Conn
	pings chan time.Time
}

func (b *bubble) dial(t *testing.T, more string) *socket {
	t.Helper()
	_, url, err := b.api.StartSocketModeContext(t.Context())
	check(t, err)
	d := websocket.Dialer{NetDialContext: b.pipe.DialContext}
	conn, _, err := d.Dial(url+more, nil)
	check(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	s := &socket{Conn: conn, pings: make(chan time.Time, 100)}
	answer := conn.PingHandler()
	conn.SetPingHandler(func(data string) error {
		select {
		case s.pings <- time.Now():
		default: // an hour of them, and nobody is counting
		}
		return answer(data)
	})
	if hello := s.read(t); hello["type"] != "hello" {
		t.Fatalf("the first frame is %v", hello)
	}
	return s
}

func (s *socket) read(t *testing.T) map[string]any {
	t.Helper()
	var frame map[string]any
	if err := s.ReadJSON(&frame); err != nil {
		t.Fatalf("reading the socket: %v", err)
	}
	return frame
}

func (s *socket) ack(t *testing.T, envelope map[string]any, payload any) {
	t.Helper()
	a := map[string]any{"envelope_id": envelope["envelope_id"]}
	if payload != nil {
		a["payload"] = payload
	}
	check(t, s.WriteJSON(a))
}

// trigger types a command and hands out what came with it.
func (b *bubble) trigger(t *testing.T, s *socket) (triggerID, responseURL string) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- b.Command(ann, ops, "/help", "") }()
	e := s.read(t)
	s.ack(t, e, nil)
	check(t, <-done)
	p := e["payload"].(map[string]any)
	return p["trigger_id"].(string), p["response_url"].(string)
}

func TestATriggerLivesThreeSecondsAndOnce(t *testing.T) {
	inBubble(t, office(), func(t *testing.T, b *bubble) {
		s := b.dial(t, "")
		id, _ := b.trigger(t, s)
		time.Sleep(3 * time.Second)
		_, err := b.api.OpenView(id, form())
		check(t, err)
		if _, err := b.api.OpenView(id, form()); err == nil || err.Error() != "exchanged_trigger_id" {
			t.Errorf("the second use was answered %v", err)
		}
		id, _ = b.trigger(t, s)
		time.Sleep(3*time.Second + time.Millisecond)
		if _, err := b.api.OpenView(id, form()); err == nil || err.Error() != "expired_trigger_id" {
			t.Errorf("after three seconds it was answered %v", err)
		}
	})
}

func TestAResponseURLLivesHalfAnHourAndFiveTimes(t *testing.T) {
	inBubble(t, office(), func(t *testing.T, b *bubble) {
		s := b.dial(t, "")
		_, url := b.trigger(t, s)
		for i := range 5 {
			if status, body := b.post(t, url, fmt.Sprintf(`{"text":"%d"}`, i)); status != 200 {
				t.Fatalf("use %d: %d %s", i, status, body)
			}
		}
		if status, body := b.post(t, url, `{"text":"6"}`); status != 404 || !strings.Contains(body, "used_url") {
			t.Errorf("the sixth use: %d %s", status, body)
		}
		if n := len(b.Ephemerals(ann)); n != 5 {
			t.Errorf("%d ephemerals", n)
		}
		_, url = b.trigger(t, s)
		time.Sleep(30 * time.Minute)
		if status, body := b.post(t, url, `{"text":"late"}`); status != 200 {
			t.Errorf("after half an hour: %d %s", status, body)
		}
		time.Sleep(time.Millisecond)
		if status, body := b.post(t, url, `{"text":"too late"}`); status != 404 || !strings.Contains(body, "expired_url") {
			t.Errorf("after more: %d %s", status, body)
		}
	})
}

func TestAResponseReplacesDeletesOrAddsAsAsked(t *testing.T) {
	inBubble(t, office(), func(t *testing.T, b *bubble) {
		s := b.dial(t, "")
		_, url := b.trigger(t, s)
		say := func(body string) {
			if status, answer := b.post(t, url, body); status != 200 {
				t.Errorf("%s: %d %s", body, status, answer)
			}
		}
		// What slack-go sends along must not matter.
		say(`{"text":"one","metadata":{"event_type":"","event_payload":null},"blocks":null,"replace_original":false,"delete_original":false}`)
		say(`{"text":"two","replace_original":true}`)
		if e := b.Ephemerals(ann); len(e) != 1 || e[0].Text != "two" {
			t.Errorf("after replacing: %+v", e)
		}
		say(`{"text":"for all","response_type":"in_channel"}`)
		say(`{"delete_original":true}`)
		if e := b.Ephemerals(ann); len(e) != 0 || len(b.Messages(ops)) != 1 {
			t.Errorf("after deleting: %s", b.Transcript())
		}
		if status, _ := b.post(t, url, `{"blocks":[{"type":"nonsense"}]}`); status != 400 {
			t.Errorf("invalid blocks: %d", status)
		}
	})
}

func TestRatesAreSlacksTiers(t *testing.T) {
	cfg := office()
	cfg.RateLimits = true
	inBubble(t, cfg, func(t *testing.T, b *bubble) {
		post := func(channel string) error {
			_, _, err := b.api.PostMessage(channel, slack.MsgOptionText("x", false))
			return err
		}
		var limited *slack.RateLimitedError
		for i := range 4 {
			if err := post(ops); err != nil {
				t.Fatalf("message %d of a burst: %v", i, err)
			}
		}
		if err := post(ops); !errors.As(err, &limited) || limited.RetryAfter != time.Second {
			t.Errorf("the fifth message at once: %v", err)
		}
		check(t, post(secops)) // another channel has its own bucket
		time.Sleep(limited.RetryAfter)
		check(t, post(ops))
		for i, channel := range []string{ann, ann, b.DM(ann), b.DM(ann)} {
			if err := post(channel); err != nil {
				t.Fatalf("message %d of a burst in a direct message: %v", i, err)
			}
		}
		for _, channel := range []string{ann, b.DM(ann)} { // one place by either name
			if err := post(channel); !errors.As(err, &limited) {
				t.Errorf("the fifth message at once in %s: %v", channel, err)
			}
		}

		for range 50 {
			_, err := b.api.GetConversationHistory(&slack.GetConversationHistoryParameters{ChannelID: ops})
			check(t, err)
		}
		time.Sleep(20 * time.Second)
		if _, err := b.api.GetConversationHistory(&slack.GetConversationHistoryParameters{ChannelID: ops}); !errors.As(err, &limited) || limited.RetryAfter != 40*time.Second {
			t.Errorf("the 51st call of a tier 3 method: %v", err)
		}
		time.Sleep(limited.RetryAfter)
		_, err := b.api.GetConversationHistory(&slack.GetConversationHistoryParameters{ChannelID: ops})
		check(t, err)
	})
}

func TestAnEventNobodyAcknowledgesIsRetriedThreeTimes(t *testing.T) {
	inBubble(t, office(), func(t *testing.T, b *bubble) {
		s := b.dial(t, "")
		start := time.Now()
		_, err := b.Say(ann, ops, "", "hello")
		check(t, err)
		var when []string
		var ids []string
		for range 4 {
			e := s.read(t)
			when = append(when, fmt.Sprint(time.Since(start), " ", e["retry_attempt"], " ", e["retry_reason"]))
			ids = append(ids, e["payload"].(map[string]any)["event_id"].(string))
		}
		want := []string{"0s 0 ", "3s 1 timeout", "1m6s 2 timeout", "6m9s 3 timeout"}
		if !slices.Equal(when, want) || len(slices.Compact(ids)) != 1 {
			t.Errorf("attempts %q of %v", when, ids)
		}
	})
}

func TestAnEventWaitsForASocket(t *testing.T) {
	inBubble(t, office(), func(t *testing.T, b *bubble) {
		_, err := b.Say(ann, ops, "", "hello")
		check(t, err)
		time.Sleep(30 * time.Second)
		s := b.dial(t, "")
		e := s.read(t)
		if e["retry_attempt"] != 2.0 || e["retry_reason"] != "connection_failed" {
			t.Errorf("envelope %v", e)
		}
		s.ack(t, e, nil)
		time.Sleep(time.Hour)
		if d := b.Deliveries(); len(d) != 3 || d[2].Failure != "" {
			t.Errorf("deliveries %+v", d)
		}
	})
}

func TestAPersonIsToldWhenNobodyAnswers(t *testing.T) {
	inBubble(t, office(), func(t *testing.T, b *bubble) {
		if err := b.Command(ann, ops, "/help", ""); err == nil || err.Error() != "dispatch_failed" {
			t.Errorf("without a socket: %v", err)
		}
		s := b.dial(t, "")
		start := time.Now()
		if err := b.Command(ann, ops, "/help", ""); err == nil || err.Error() != "operation_timeout" || time.Since(start) != 3*time.Second {
			t.Errorf("without an answer: %v after %v", err, time.Since(start))
		}
		late := s.read(t)
		s.ack(t, late, map[string]any{"text": "too late"})
		synctest.Wait()
		if len(b.Ephemerals(ann)) != 0 {
			t.Error("a late acknowledgement was shown")
		}
		want := []string{`/help failed with the error "dispatch_failed": helper did not respond`, `/help failed with the error "operation_timeout": helper did not respond`}
		if got := b.Toasts(ann); !slices.Equal(got, want) {
			t.Errorf("toasts %q", got)
		}
	})
}

func TestTheServerPingsAtOnceAndEveryFifteenSeconds(t *testing.T) {
	inBubble(t, office(), func(t *testing.T, b *bubble) {
		start := time.Now()
		s := b.dial(t, "")
		go func() { _, _, _ = s.ReadMessage() }()
		for _, want := range []time.Duration{0, 15 * time.Second, 30 * time.Second} {
			if at := (<-s.pings).Sub(start); at != want {
				t.Errorf("a ping after %v, want %v", at, want)
			}
		}
	})
}

func TestASocketIsRefreshedWithAWarning(t *testing.T) {
	for name, c := range map[string]struct {
		every time.Duration
		query string
		warn  time.Duration
	}{"configured": {time.Hour, "", time.Hour - 10*time.Second}, "debug_reconnects": {0, "&debug_reconnects=true", 350 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			cfg := office()
			cfg.RefreshEvery = c.every
			inBubble(t, cfg, func(t *testing.T, b *bubble) {
				start := time.Now()
				s := b.dial(t, c.query)
				if e := s.read(t); e["reason"] != "warning" || time.Since(start) != c.warn {
					t.Errorf("%v after %v", e, time.Since(start))
				}
				if e := s.read(t); e["reason"] != "refresh_requested" || time.Since(start) != c.warn+10*time.Second {
					t.Errorf("%v after %v", e, time.Since(start))
				}
				if _, _, err := s.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
					t.Errorf("then: %v", err)
				}
			})
		})
	}
}

func TestAMessageIsFoundLateWhenAskedFor(t *testing.T) {
	cfg := office()
	cfg.Fault = func(method string, _ int) sandbox.Fault {
		if method == "chat.postMessage" {
			return sandbox.Fault{Kind: sandbox.LateVisible, Delay: 5 * time.Second}
		}
		return sandbox.Fault{}
	}
	inBubble(t, cfg, func(t *testing.T, b *bubble) {
		_, _, err := b.api.PostMessage(ops, slack.MsgOptionText("x", false))
		check(t, err)
		for _, want := range []int{0, 1} {
			h, err := b.api.GetConversationHistory(&slack.GetConversationHistoryParameters{ChannelID: ops})
			check(t, err)
			if len(h.Messages) != want {
				t.Errorf("history shows %d messages, want %d", len(h.Messages), want)
			}
			time.Sleep(5 * time.Second)
		}
	})
}

// openDoor is an app's HTTP side in the bubble.
func openDoor(t *testing.T, cfg *sandbox.Config, answer http.HandlerFunc) {
	t.Helper()
	p := sandbox.NewPipe()
	srv := &http.Server{Handler: answer}
	go func() { _ = srv.Serve(p) }()
	t.Cleanup(func() { _ = srv.Close() })
	cfg.App.SocketMode = false
	cfg.App.EventsURL, cfg.App.CommandsURL, cfg.App.InteractionsURL = "http://app.invalid/e", "http://app.invalid/c", "http://app.invalid/i"
	cfg.Transport = &http.Transport{DialContext: p.DialContext}
}

func TestAnHTTPEventIsSignedAndRetriedOnSlacksSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := office()
		start := time.Now()
		seen := make(chan string, 10)
		var redirects atomic.Int32
		openDoor(t, &cfg, func(rw http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			v, err := slack.NewSecretsVerifier(r.Header, secret)
			if err == nil {
				_, _ = v.Write(body)
				err = v.Ensure()
			}
			if err != nil {
				t.Error(err)
			}
			seen <- fmt.Sprint(time.Since(start), " ", r.Header.Get("X-Slack-Retry-Num"), " ", r.Header.Get("X-Slack-Retry-Reason"))
			switch r.Header.Get("X-Slack-Retry-Num") {
			case "":
				rw.WriteHeader(http.StatusInternalServerError)
			case "1":
				select { // longer than three seconds
				case <-r.Context().Done():
				case <-time.After(time.Minute):
				}
			case "2":
				redirects.Add(1)
				http.Redirect(rw, r, "/e", http.StatusTemporaryRedirect)
			}
		})
		w, err := sandbox.New(cfg)
		check(t, err)
		defer w.Close()
		_, err = w.Say(ann, ops, "", "hello")
		check(t, err)
		for _, want := range []string{"0s  ", "0s 1 http_error", "1m3s 2 http_timeout"} {
			if got := <-seen; got != want {
				t.Errorf("attempt %q, want %q", got, want)
			}
		}
		_ = w.Await(t.Context(), func() bool { return len(w.Deliveries()) == 4 })
		var failures []string
		for _, d := range w.Deliveries() {
			failures = append(failures, d.Failure)
		}
		if want := []string{"http_error", "http_timeout", "too_many_redirects", ""}; !slices.Equal(failures, want) {
			t.Errorf("failures %q after %v", failures, time.Since(start))
		}
		if n := redirects.Load(); n != 3 {
			t.Errorf("%d requests were answered with a redirect, want the first and two more", n)
		}
	})
}

func TestAnAppMayRefuseRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := office()
		openDoor(t, &cfg, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("X-Slack-No-Retry", "1")
			rw.WriteHeader(http.StatusInternalServerError)
		})
		w, err := sandbox.New(cfg)
		check(t, err)
		defer w.Close()
		_, err = w.Say(ann, ops, "", "hello")
		check(t, err)
		time.Sleep(time.Hour)
		if d := w.Deliveries(); len(d) != 1 {
			t.Errorf("%d attempts", len(d))
		}
	})
}

func TestHTTPCommandsAndInteractionsAreNotRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := office()
		var calls atomic.Int32
		openDoor(t, &cfg, func(rw http.ResponseWriter, r *http.Request) {
			switch calls.Add(1) {
			case 1:
				c, err := slack.SlashCommandParse(r)
				if err != nil || c.Command != "/help" || c.Text != "a&b=c" || c.UserName != "ann" {
					t.Errorf("command %+v, %v", c, err)
				}
				_, _ = io.WriteString(rw, "plain words")
			case 2:
				rw.WriteHeader(http.StatusBadGateway)
			case 3:
				select {
				case <-r.Context().Done():
				case <-time.After(time.Minute):
				}
			}
		})
		w, err := sandbox.New(cfg)
		check(t, err)
		defer w.Close()
		check(t, w.Command(ann, ops, "/help", "a&b=c"))
		if e := w.Ephemerals(ann); len(e) != 1 || e[0].Text != "plain words" {
			t.Errorf("ephemerals %+v", e)
		}
		if err := w.Command(ann, ops, "/help", ""); err == nil || err.Error() != "dispatch_failed" {
			t.Errorf("an HTTP 502: %v", err)
		}
		if err := w.Shortcut(ann, "start", "", ""); err == nil || err.Error() != "operation_timeout" {
			t.Errorf("no answer: %v", err)
		}
		time.Sleep(time.Hour)
		if calls.Load() != 3 || len(w.Toasts(ann)) != 2 {
			t.Errorf("%d calls, toasts %q", calls.Load(), w.Toasts(ann))
		}
	})
}

func TestTheSignatureIsSlacks(t *testing.T) {
	// The vector of Slack's documentation, "Verifying requests from Slack".
	body := "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
	if got := sandbox.Sign(secret, "1531420618", []byte(body)); got != "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503" {
		t.Error(got)
	}
}

func TestTheEventsURLEchoesItsChallenge(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(challenge string) string
		fine   bool
	}{
		"json":  {func(s string) string { return `{"challenge":"` + s + `"}` }, true},
		"text":  {func(s string) string { return s }, true},
		"wrong": {func(string) string { return "ok" }, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			cfg := office()
			openDoor(t, &cfg, func(rw http.ResponseWriter, r *http.Request) {
				var in struct{ Type, Challenge string }
				if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.Type != "url_verification" {
					t.Errorf("%+v %v", in, err)
				}
				_, _ = io.WriteString(rw, c.answer(in.Challenge))
			})
			w, err := sandbox.New(cfg)
			check(t, err)
			defer w.Close()
			if err := w.VerifyURL(); (err == nil) != c.fine {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}
