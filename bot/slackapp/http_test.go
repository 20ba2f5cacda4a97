package slackapp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slack-go/slack"

	"rehome/bot/sandbox"
)

// signed is a request as Slack makes it.
func signed(path, kind, content string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(content))
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	r.Header.Set("Content-Type", kind)
	r.Header.Set("X-Slack-Request-Timestamp", stamp)
	r.Header.Set("X-Slack-Signature", sandbox.Sign(secret, stamp, []byte(content)))
	return r
}

func (d *desk) ask(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	d.doors.Handler().ServeHTTP(w, r)
	return w
}

func form1(pairs ...string) string {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v.Encode()
}

var goodCommand = form1("command", "/rehome", "text", "help", "user_id", alice, "channel_id", triage, "trigger_id", "1.2.3", "team_id", "T0000000001")

func TestTheHTTPDoorTurnsAwayWhatIsNotSlacks(t *testing.T) {
	d := sit(t, set{door: "http"})
	const events, commands, interactions = "/slack/events", "/slack/commands", "/slack/interactions"
	with := func(r *http.Request, header, value string) *http.Request {
		if value == "" {
			r.Header.Del(header)
		} else {
			r.Header.Set(header, value)
		}
		return r
	}
	at := func(r *http.Request, when time.Time) *http.Request {
		b, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(b))
		stamp := strconv.FormatInt(when.Unix(), 10)
		r.Header.Set("X-Slack-Request-Timestamp", stamp)
		r.Header.Set("X-Slack-Signature", sandbox.Sign(secret, stamp, b))
		return r
	}
	huge := strings.Repeat("x", maxBody+1)
	for _, c := range []struct {
		name   string
		r      *http.Request
		status int
	}{
		{"a good command", signed(commands, typeForm, goodCommand), 200},
		{"a good command, with a charset", signed(commands, typeForm+"; charset=utf-8", goodCommand), 200},
		{"no signature", with(signed(commands, typeForm, goodCommand), "X-Slack-Signature", ""), 401},
		{"no timestamp", with(signed(commands, typeForm, goodCommand), "X-Slack-Request-Timestamp", ""), 401},
		{"somebody else's signature", with(signed(commands, typeForm, goodCommand), "X-Slack-Signature", "v0="+strings.Repeat("ab", 32)), 401},
		{"a signature of another version", with(signed(commands, typeForm, goodCommand), "X-Slack-Signature", "v1="+strings.Repeat("ab", 32)), 401},
		{"a short signature", with(signed(commands, typeForm, goodCommand), "X-Slack-Signature", "v0=ab"), 401},
		{"a signature that is not hex", with(signed(commands, typeForm, goodCommand), "X-Slack-Signature", "v0="+strings.Repeat("zz", 32)), 401},
		{"a timestamp that is none", with(signed(commands, typeForm, goodCommand), "X-Slack-Request-Timestamp", "yesterday"), 401},
		{"stale", at(signed(commands, typeForm, goodCommand), time.Now().Add(-6*time.Minute)), 401},
		{"from the future", at(signed(commands, typeForm, goodCommand), time.Now().Add(6*time.Minute)), 401},
		{"from the far future", with(signed(commands, typeForm, goodCommand), "X-Slack-Request-Timestamp", "9223372036854775807"), 401},
		{"nearly stale", at(signed(commands, typeForm, goodCommand), time.Now().Add(-4*time.Minute)), 200},
		{"huge", signed(commands, typeForm, huge), 413},
		{"huge and unsigned", httptest.NewRequest(http.MethodPost, events, strings.NewReader(huge)), 413},
		{"a command as JSON", signed(commands, typeJSON, `{"command":"/rehome"}`), 415},
		{"an event as a form", signed(events, typeForm, "a=b"), 415},
		{"no type", with(signed(events, typeJSON, `{}`), "Content-Type", ""), 415},
		{"a type that cannot be read", with(signed(events, typeJSON, `{}`), "Content-Type", ";;"), 415},
		{"wrong type and no signature", httptest.NewRequest(http.MethodPost, commands, strings.NewReader("{}")), 401},
		{"a garbage form", signed(commands, typeForm, "%zz=1"), 400},
		{"an empty form", signed(commands, typeForm, ""), 400},
		{"a command without a user", signed(commands, typeForm, form1("command", "/rehome", "channel_id", triage)), 400},
		{"a command from nowhere", signed(commands, typeForm, form1("command", "/rehome", "user_id", alice, "channel_id", "<!channel>")), 400},
		{"a certificate check", signed(commands, typeForm, "ssl_check=1&token=x"), 200},
		{"garbage JSON", signed(events, typeJSON, "{"), 400},
		{"JSON that is no object", signed(events, typeJSON, `[1,2]`), 400},
		{"an event of no type", signed(events, typeJSON, `{}`), 400},
		{"an event nobody knows", signed(events, typeJSON, `{"type":"event_callback","event":{"type":"brand_new"}}`), 200},
		{"fields of another type than ever", signed(events, typeJSON, `{"type":"event_callback","event":{"type":"message","channel":{"id":"C1"},"user":["U1"]}}`), 200},
		{"no payload", signed(interactions, typeForm, "a=b"), 400},
		{"a garbage payload", signed(interactions, typeForm, form1("payload", "{")), 400},
		{"a payload of nobody", signed(interactions, typeForm, form1("payload", `{"type":"block_actions"}`)), 400},
		{"a press on nothing", signed(interactions, typeForm, form1("payload", `{"type":"block_actions","user":{"id":"`+alice+`"}}`)), 200},
		{"an interaction nobody knows", signed(interactions, typeForm, form1("payload", `{"type":"brand_new","user":{"id":"`+alice+`"}}`)), 200},
		{"GET", httptest.NewRequest(http.MethodGet, events, nil), 405},
		{"another path", signed("/slack/other", typeJSON, "{}"), 404},
	} {
		t.Run(c.name, func(t *testing.T) {
			if w := d.ask(c.r); w.Code != c.status || strings.Count(strings.TrimSpace(w.Body.String()), "\n") > 0 && c.status != 200 {
				t.Errorf("%d, want %d: %s", w.Code, c.status, w.Body)
			}
		})
	}
	if n := d.count("RH-"); n != 0 {
		t.Errorf("something was posted: %s", d.Transcript())
	}
	if strings.Contains(d.log.String(), secret) || strings.Contains(d.log.String(), "level=ERROR") {
		t.Errorf("log:\n%s", d.log)
	}
}

func TestSlackVerifiesTheEventsAddress(t *testing.T) {
	d := sit(t, set{door: "http"})
	check(t, d.VerifyURL())
	w := d.ask(signed("/slack/events", typeJSON, `{"type":"url_verification","challenge":"<script>"}`))
	if w.Body.String() != "<script>" || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") || w.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%v %s", w.Header(), w.Body)
	}
}

func TestTwoSigningSecretsWhileOneReplacesTheOther(t *testing.T) {
	d := sit(t, set{door: "http", doors: func(d *Doors) { d.SigningSecrets = []string{"the-next-one", secret} }})
	if w := d.ask(signed("/slack/commands", typeForm, goodCommand)); w.Code != 200 {
		t.Errorf("the old one: %d", w.Code)
	}
	r := signed("/slack/commands", typeForm, goodCommand)
	r.Header.Set("X-Slack-Signature", sandbox.Sign("the-next-one", r.Header.Get("X-Slack-Request-Timestamp"), []byte(goodCommand)))
	if w := d.ask(r); w.Code != 200 {
		t.Errorf("the new one: %d", w.Code)
	}
	d.doors.SigningSecrets = nil
	if w := d.ask(signed("/slack/commands", typeForm, goodCommand)); w.Code != 401 {
		t.Errorf("without a secret anybody comes in: %d", w.Code)
	}
}

// FuzzSignaturesAreJudgedAsSlackGoDoes holds our verifier against slack-go's.
func FuzzSignaturesAreJudgedAsSlackGoDoes(f *testing.F) {
	now := time.Now().Unix()
	good := sandbox.Sign(secret, strconv.FormatInt(now, 10), []byte("body"))
	f.Add(good, int64(0), "", []byte("body"))
	f.Add(good, int64(0), " ", []byte("body"))
	f.Add(strings.ToUpper(good), int64(0), "", []byte("body"))
	f.Add("v0="+strings.ToUpper(good[3:]), int64(0), "", []byte("body"))
	f.Add(good, int64(-301), "", []byte("body"))
	f.Add("v0=", int64(5), "x", []byte{})
	f.Add(good[:20], int64(0), "", []byte("body"))
	f.Fuzz(func(t *testing.T, signature string, off int64, suffix string, content []byte) {
		if off > -310 && off < -290 || off > 290 && off < 310 {
			return // the two look at the clock one after the other
		}
		now := time.Now()
		stamp := strconv.FormatInt(now.Unix()+off%1000, 10) + suffix
		for _, s := range []string{signature, sandbox.Sign(secret, stamp, content)} {
			h := http.Header{}
			h.Set("X-Slack-Signature", s)
			h.Set("X-Slack-Request-Timestamp", stamp)
			ours := verify(h, content, []string{secret}, now)
			theirs := func() error {
				v, err := slack.NewSecretsVerifier(h, secret)
				if err != nil {
					return err
				}
				_, _ = v.Write(content)
				return v.Ensure()
			}()
			if (ours == nil) != (theirs == nil) {
				t.Errorf("signature %q, timestamp %q: ours %v, slack-go's %v", s, stamp, ours, theirs)
			}
		}
	})
}

func TestTheSignatureInSlacksDocumentation(t *testing.T) {
	content := "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
	h := http.Header{}
	h.Set("X-Slack-Signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503")
	h.Set("X-Slack-Request-Timestamp", "1531420618")
	if err := verify(h, []byte(content), []string{"8f742231b10e8888abcd99yyyzzz85a5"}, time.Unix(1531420618, 0)); err != nil {
		t.Error(err)
	}
}

func TestTheSameDeliveryTwiceHasOneEffectAndBothAreAnswered(t *testing.T) {
	d := sit(t, set{door: "http"})
	content := form1("command", "/rehome", "text", title, "user_id", alice, "channel_id", triage, "trigger_id", "1.2.3")
	for range 3 {
		w := d.ask(signed("/slack/commands", typeForm, content))
		var a ack
		check(t, json.Unmarshal(w.Body.Bytes(), &a))
		if a.ResponseType != "ephemeral" || !strings.Contains(a.Text, "*RH-1* is open") {
			t.Errorf("answered %s", w.Body)
		}
	}
	d.find(triage, "*RH-1")
	d.settle()
	if n := d.count("*RH-2"); n != 0 {
		t.Error("it was opened twice")
	}
	// Without a trigger id the delivery's own content names it.
	content = form1("command", "/rehome", "text", title, "user_id", alice, "channel_id", triage)
	for range 2 {
		if w := d.ask(signed("/slack/commands", typeForm, content)); !strings.Contains(w.Body.String(), "RH-2") {
			t.Errorf("answered %s", w.Body)
		}
	}
}

func TestAnotherWorkspaceIsTurnedAway(t *testing.T) {
	d := sit(t, set{door: "http", doors: func(d *Doors) { d.TeamID, d.AppID = "T0000000001", "A1" }})
	command := func(team, app string) string {
		return form1("command", "/rehome", "text", title, "user_id", alice, "channel_id", triage, "trigger_id", "1", "team_id", team, "api_app_id", app)
	}
	for _, c := range []struct{ team, app, want string }{{"T0000000001", "A1", "RH-1"}, {"T2", "A1", "another workspace"}, {"T0000000001", "A2", "another workspace"}} {
		if w := d.ask(signed("/slack/commands", typeForm, command(c.team, c.app))); w.Code != 200 || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%+v: %d %s", c, w.Code, w.Body)
		}
	}
	w := d.ask(signed("/slack/events", typeJSON, fmt.Sprintf(`{"type":"event_callback","team_id":"T2","event":{"type":"app_mention","user":%q,"channel":%q,"ts":"1.1","text":%q}}`, alice, triage, title)))
	if w.Code != 200 || d.count("RH-2") != 0 {
		t.Errorf("%d\n%s", w.Code, d.Transcript())
	}
	w = d.ask(signed("/slack/interactions", typeForm, form1("payload", fmt.Sprintf(`{"type":"block_actions","team":{"id":"T2"},"user":{"id":%q},"channel":{"id":%q}}`, bob, triage))))
	if w.Code != 200 {
		t.Errorf("%d", w.Code)
	}
	d.told(bob, "another workspace")
}
