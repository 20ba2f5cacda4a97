package sandbox_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/slack-go/slack"

	"rehome/bot/sandbox"
)

// first is a fault that hits the first call of one method.
func first(method string, f sandbox.Fault) func(string, int) sandbox.Fault {
	return func(m string, n int) sandbox.Fault {
		if m == method && n == 1 {
			return f
		}
		return sandbox.Fault{}
	}
}

func TestAFaultSpoilsTheAnswerBeforeOrAfterTheWork(t *testing.T) {
	for _, c := range []struct {
		kind   sandbox.FaultKind
		posted int
		says   string
	}{
		{sandbox.RateLimited, 0, "rate limit exceeded"},
		{sandbox.FailBefore, 0, "500"},
		{sandbox.FailAfter, 1, "500"},
		{sandbox.DropBefore, 0, "EOF"},
		{sandbox.DropAfter, 1, "EOF"},
		{sandbox.Truncate, 1, "unexpected EOF"},
		{sandbox.Slow, 1, ""},
		{sandbox.LateVisible, 1, ""},
	} {
		t.Run(c.kind.String(), func(t *testing.T) {
			cfg := office()
			cfg.Fault = first("chat.postMessage", sandbox.Fault{Kind: c.kind, Delay: 7 * time.Second})
			inBubble(t, cfg, func(t *testing.T, b *bubble) {
				start := time.Now()
				_, _, err := b.api.PostMessage(ops, slack.MsgOptionText("x", false))
				if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
					t.Errorf("the client is told %v", err)
				}
				if limited := new(slack.RateLimitedError); errors.As(err, &limited) && limited.RetryAfter != 7*time.Second {
					t.Errorf("to be retried after %v", limited.RetryAfter)
				}
				if got := time.Since(start); c.kind == sandbox.Slow && got != 7*time.Second {
					t.Errorf("slow took %v", got)
				}
				if n := len(b.Messages(ops)); n != c.posted {
					t.Errorf("%d messages were posted, want %d", n, c.posted)
				}
				synctest.Wait() // a call is noted when its handler has ended, which may be after the client heard
				_, _, err = b.api.PostMessage(ops, slack.MsgOptionText("y", false))
				check(t, err)
				synctest.Wait()
				if calls := b.Calls(); len(calls) != 2 || c.says != "" && calls[0].Error != c.kind.String() {
					t.Errorf("calls %+v", calls)
				}
			})
		})
	}
}

func TestSlackNeedNotSayHowLongToWait(t *testing.T) {
	cfg := office()
	cfg.Fault = first("chat.postMessage", sandbox.Fault{Kind: sandbox.RateLimited, Delay: -1})
	inBubble(t, cfg, func(t *testing.T, b *bubble) {
		_, _, err := b.api.PostMessage(ops, slack.MsgOptionText("x", false))
		var status slack.StatusCodeError
		if !errors.As(err, &status) || status.Code != 429 {
			t.Errorf("the client is told %v", err)
		}
	})
}

func TestEverythingPostedIsListedInOrder(t *testing.T) {
	w, _, _ := open(t, office())
	root := must(w.Say(ann, ops, "", "first"))
	must(w.Say(ann, ops, "", "second"))
	must(w.Say(bob, ops, root, "a reply"))
	var said []string
	for _, m := range w.Posted(ops, 1) {
		said = append(said, m.Text)
	}
	if got := strings.Join(said, ", "); got != "second, a reply" {
		t.Errorf("after the first: %s", got)
	}
	if more := w.Posted(ops, 3); more != nil {
		t.Errorf("after the last: %v", more)
	}
}

func TestAHangingCallEndsWhenTheClientGivesUp(t *testing.T) {
	cfg := office()
	cfg.Fault = first("chat.postMessage", sandbox.Fault{Kind: sandbox.Hang})
	inBubble(t, cfg, func(t *testing.T, b *bubble) {
		b.http.Timeout = 10 * time.Second
		if _, _, err := b.api.PostMessage(ops, slack.MsgOptionText("x", false)); err == nil || len(b.Messages(ops)) != 0 {
			t.Errorf("told %v, posted %d", err, len(b.Messages(ops)))
		}
	})
}

func TestAFlappingSocketSaysHelloAndGoodbye(t *testing.T) {
	cfg := office()
	cfg.Fault = first("socket.connect", sandbox.Fault{Kind: sandbox.Flap})
	inBubble(t, cfg, func(t *testing.T, b *bubble) {
		s := b.dial(t, "")
		if e := s.read(t); e["type"] != "disconnect" || e["reason"] != "link_disabled" {
			t.Errorf("then: %v", e)
		}
		if _, _, err := s.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) || b.Sockets() != 0 {
			t.Errorf("then: %v", err)
		}
	})
}

func TestAResponseURLCanFailToo(t *testing.T) {
	cfg := office()
	cfg.Fault = first("response_url", sandbox.Fault{Kind: sandbox.FailAfter})
	inBubble(t, cfg, func(t *testing.T, b *bubble) {
		_, address := b.trigger(t, b.dial(t, ""))
		if status, _ := b.post(t, address, `{"text":"x"}`); status != 500 || len(b.Ephemerals(ann)) != 1 {
			t.Errorf("status %d, %d shown", status, len(b.Ephemerals(ann)))
		}
	})
}

// FuzzForms throws arguments at every method; each must be answered in Slack's shape.
func FuzzForms(f *testing.F) {
	cfg := office()
	cfg.App.Scopes = append(cfg.App.Scopes, "chat:write.public")
	w, err := sandbox.New(cfg)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(w.Close)
	methods := []string{"api.test", "auth.test", "apps.connections.open", "bots.info", "team.info", "chat.postMessage", "chat.update", "chat.delete", "chat.postEphemeral",
		"chat.getPermalink", "conversations.open", "conversations.info", "conversations.list", "conversations.members", "conversations.join", "conversations.history",
		"conversations.replies", "users.info", "users.list", "users.lookupByEmail", "users.profile.get", "views.open", "views.push", "views.update", "views.publish",
		"reactions.add", "reactions.remove"}
	f.Add(uint8(5), "application/x-www-form-urlencoded", "channel=C1&text=%3C!here%3E&blocks=[]&metadata={}")
	f.Add(uint8(5), "application/json", `{"channel":"U1","text":7,"blocks":[{"type":"section","text":{"type":"mrkdwn","text":"x"}}]}`)
	f.Add(uint8(15), "application/x-www-form-urlencoded", "channel=C1&limit=1&cursor=bmV4dF90czox&oldest=0&inclusive=true")
	f.Add(uint8(24), "application/json", `{"user_id":"U1","view":{"type":"home","blocks":[{"type":"divider"}]}}`)
	f.Add(uint8(6), "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"ts\"\r\n\r\n1.2\r\n--x--")
	f.Add(uint8(10), "application/x-www-form-urlencoded", "users=U1,U2&;=&%zz")
	f.Fuzz(func(t *testing.T, n uint8, kind, body string) {
		method := methods[int(n)%len(methods)]
		req, err := http.NewRequest("POST", "http://sandbox.invalid/api/"+method, strings.NewReader(body))
		if err != nil {
			t.Skip("no request can be made of it")
		}
		req.Header["Content-Type"] = []string{kind}
		req.Header.Set("Authorization", "Bearer "+botToken)
		var rec recorder
		w.ServeHTTP(&rec, req)
		if rec.status != 200 && rec.status != 429 || !strings.Contains(rec.body.String(), `"ok":`) || strings.Contains(rec.body.String(), `"error":""`) {
			t.Errorf("%s answered %d %s", method, rec.status, rec.body.String())
		}
	})
}

// recorder is the smallest ResponseWriter: a response without a connection.
type recorder struct {
	header http.Header
	status int
	body   strings.Builder
}

func (r *recorder) Header() http.Header {
	if r.header == nil {
		r.header = http.Header{}
	}
	return r.header
}

func (r *recorder) WriteHeader(status int) { r.status = status }

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = 200
	}
	return r.body.Write(b)
}
