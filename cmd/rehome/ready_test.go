package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rehome/bot/sandbox"
	"rehome/bot/slackapp"
	"rehome/policy"
)

// What is amiss is said component by component, with what to do, and is 503 when
// there is no work without it.
func TestReadyTellsWhatIsAmissApart(t *testing.T) {
	everything := slices.Sorted(maps.Keys(slackapp.Scopes))
	without := func(scope string) []string {
		return slices.DeleteFunc(slices.Clone(everything), func(s string) bool { return s == scope })
	}
	for name, c := range map[string]struct {
		workspace func(*sandbox.App)
		channel   string
		security  string
		away      bool
		status    int
		want      string // of the component that is amiss: name and state
		says      string
	}{
		"nothing":                     {status: 200},
		"a revoked token":             {workspace: func(a *sandbox.App) { a.BotTokenError = "token_revoked" }, status: 503, want: "slack token_revoked", says: "install the app again"},
		"a wrong token":               {workspace: func(a *sandbox.App) { a.BotToken = "xoxb-other" }, status: 503, want: "slack invalid_auth", says: "SLACK_BOT_TOKEN"},
		"an app that was removed":     {workspace: func(a *sandbox.App) { a.BotTokenError = "account_inactive" }, status: 503, want: "slack account_inactive", says: "install the app again"},
		"no Slack":                    {away: true, status: 503, want: "slack no_answer", says: "firewall"},
		"no right to post":            {workspace: func(a *sandbox.App) { a.Scopes = without("chat:write") }, status: 503, want: "scopes missing_scope", says: "lacks chat:write"},
		"no right to read people":     {workspace: func(a *sandbox.App) { a.Scopes = without("users:read") }, status: 200, want: "scopes missing_scope", says: "lacks users:read"},
		"not in the triage channel":   {channel: general, status: 503, want: "channel " + general + " not_in_channel", says: "/invite @rehome in #general"},
		"no such triage channel":      {channel: "C0NOWHERE1", status: 503, want: "channel C0NOWHERE1 channel_not_found", says: "check the id"},
		"an archived triage channel":  {channel: "C0ARCHIVE1", status: 503, want: "channel C0ARCHIVE1 is_archived", says: "unarchive"},
		"not in the security channel": {security: general, status: 200, want: "channel " + general + " not_in_channel", says: "security"},
	} {
		t.Run(name, func(t *testing.T) {
			w, api := slackSide(t, false)
			if c.workspace != nil {
				w.Reinstall(c.workspace)
			}
			if c.away {
				nobody := httptest.NewServer(http.NotFoundHandler())
				nobody.Close()
				api = nobody.URL
			}
			var book lockedBuffer
			a := assembled(t, parts{signed: []string{signing}, log: slog.New(slog.NewTextHandler(&book, nil)), triage: cmp.Or(c.channel, triage),
				security: c.security, slack: slackapp.Options{BotToken: botToken, APIURL: api}})
			for range 3 {
				status, said := askReady(t, a)
				if status != c.status || (said.Status == "ready") != (status == 200) {
					t.Errorf("%d %+v", status, said)
				}
				amiss := slices.DeleteFunc(said.Components, component.ok)
				switch {
				case c.want == "" && len(amiss) == 0:
				case len(amiss) != 1 || amiss[0].Name+" "+amiss[0].State != c.want || !strings.Contains(amiss[0].What+amiss[0].Fix, c.says) || amiss[0].Fix == "":
					t.Errorf("amiss is %+v", amiss)
				}
			}
			if said := strings.Count(book.String(), "amiss"); said != len(strings.Fields(c.want))/2 && said != 1 || strings.Contains(book.String(), "canary") {
				t.Errorf("the log says:\n%s", book.String())
			}
		})
	}
}

// probed asks /readyz until Slack was heard of.
func probed(t *testing.T, url string) (code int, said string) {
	t.Helper()
	for code == 0 || strings.Contains(said, `"state":"`+stateAsking+`"`) {
		code, said = get(t, url+"/readyz")
	}
	return code, said
}

func askReady(t *testing.T, a *assembly) (int, answered) {
	t.Helper()
	return askReadyWithin(t, a, time.Minute)
}

func askReadyWithin(t *testing.T, a *assembly, within time.Duration) (int, answered) {
	t.Helper()
	w := httptest.NewRecorder()
	a.ready(within)(w, httptest.NewRequestWithContext(t.Context(), "GET", "/readyz", nil))
	var out answered
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return w.Code, out
}

// assembled is a bot with a store of its own that connects nothing.
func assembled(t *testing.T, p parts) *assembly {
	t.Helper()
	p.path, p.policy = filepath.Join(shortDir(t), "r.db"), policy.Default()
	p.slack.Log = p.log
	a, err := assemble(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.close() })
	return a
}

// A trouble that comes and goes is logged when it comes and when it goes, whether
// anybody asks or not.
func TestEachChangeIsLoggedOnce(t *testing.T) {
	w, api := slackSide(t, false)
	var book lockedBuffer
	a := assembled(t, parts{signed: []string{signing}, log: slog.New(slog.NewTextHandler(&book, nil)), triage: triage,
		slack: slackapp.Options{BotToken: botToken, APIURL: api}})
	for _, code := range []string{"", "token_revoked", "token_revoked", "account_inactive", "", ""} {
		w.Reinstall(func(app *sandbox.App) { app.BotTokenError = code })
		for range 3 {
			a.reached.until = time.Time{} // as after a while
			a.look(t.Context())
		}
	}
	log := book.String()
	if strings.Count(log, "amiss") != 2 || strings.Count(log, "token_revoked") != 1 || strings.Count(log, "account_inactive") != 1 || strings.Count(log, "well again") != 1 {
		t.Errorf("the log says:\n%s", log)
	}
}

// Slack is not asked for each probe, an answer does not last for ever, and a
// Slack that is silent is not waited for long.
func TestHowSlackAnsweredIsRememberedForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r asked[int]
		under := newInquiries()
		defer under.end()
		times := 0
		var fails error
		slack := func(context.Context) (int, error) { times++; return times, fails }
		check := func(want error, after int) {
			t.Helper()
			if said := r.ask(t.Context(), under, slack, reachedFor, unreachedFor); !errors.Is(said.err, want) || times != after || said.is != after {
				t.Errorf("it says %+v after asking %d times", said, times)
			}
		}
		check(nil, 1)
		fails = errors.New("away")
		check(nil, 1)
		time.Sleep(reachedFor)
		check(fails, 2)
		check(fails, 2)
		fails = nil
		time.Sleep(unreachedFor)
		check(nil, 3)

		time.Sleep(reachedFor)
		began := time.Now()
		silent := func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }
		hurried := func() answer[int] {
			ctx, cancel := context.WithTimeout(t.Context(), probeWithin)
			defer cancel()
			return r.ask(ctx, under, silent, reachedFor, unreachedFor)
		}
		if said := hurried(); said.err != nil || said.is != 3 || said.age() != "10s" || time.Since(began) != probeWithin {
			t.Errorf("while Slack is silent it says %+v of %s ago, after %s", said, said.age(), time.Since(began))
		}
		said := r.ask(t.Context(), under, slack, reachedFor, unreachedFor) // the silence is heard out by all
		if !errors.Is(said.err, context.DeadlineExceeded) || time.Since(began) != askWithin || times != 3 {
			t.Errorf("silence is %+v after %s, and Slack was asked %d times", said, time.Since(began), times)
		}
		time.Sleep(unreachedFor)
		if said := hurried(); !errors.Is(said.err, context.DeadlineExceeded) || said.age() != "1s" {
			t.Errorf("when Slack is silent again it says %+v of %s ago", said, said.age())
		}
		under.end() // breaks off what is under way
		if since := time.Since(began); since != askWithin+unreachedFor+probeWithin {
			t.Errorf("it ended after %s", since)
		}
		if said := r.ask(t.Context(), under, slack, reachedFor, unreachedFor); times != 3 || said.err == nil {
			t.Errorf("after the end it says %+v, and has asked %d times", said, times)
		}
	})
}

// A probe is answered while Slack hangs: first that Slack was never heard of, and
// later with what Slack said last, and how long ago.
func TestAProbeDoesNotWaitForASlackThatHangs(t *testing.T) {
	_, api := slackSide(t, false)
	behind, err := url.Parse(api)
	if err != nil {
		t.Fatal(err)
	}
	var hangs atomic.Pointer[chan struct{}]
	hang := func() (goOn func()) {
		held := make(chan struct{})
		hangs.Store(&held)
		return sync.OnceFunc(func() { hangs.Store(nil); close(held) })
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: behind.Scheme, Host: behind.Host})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if held := hangs.Load(); held != nil {
			select {
			case <-*held:
			case <-r.Context().Done():
				return
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	defer slow.Close()
	goOn := hang()
	defer goOn()
	a := assembled(t, parts{signed: []string{signing}, log: slog.New(slog.DiscardHandler), triage: triage,
		slack: slackapp.Options{BotToken: botToken, APIURL: slow.URL + behind.Path}})
	slackOf := func(said answered) component {
		return said.Components[slices.IndexFunc(said.Components, func(c component) bool { return c.Name == "slack" })]
	}
	status, said := askReadyWithin(t, a, time.Millisecond)
	if c := slackOf(said); status != http.StatusServiceUnavailable || c.State != stateAsking || c.Age != "" || c.Fix == "" {
		t.Errorf("while Slack hangs it is %d %+v", status, said)
	}
	goOn()
	for slackOf(said).State != stateOK { // what was asked may have failed meanwhile, and is asked again then
		status, said = askReady(t, a)
	}
	if c := slackOf(said); status != http.StatusOK || c.Age == "" || !slices.ContainsFunc(said.Components, func(c component) bool { return c.Name == "channel "+triage && c.ok() && c.Age != "" }) {
		t.Errorf("when Slack answers it is %d %+v", status, said)
	}
	goOn = hang()
	defer goOn()
	a.reached.mu.Lock()
	a.reached.until, a.reached.last.at = time.Time{}, time.Now().Add(-90*time.Second) // as after a while
	a.reached.mu.Unlock()
	status, said = askReadyWithin(t, a, time.Millisecond)
	if c := slackOf(said); status != http.StatusOK || !c.ok() || !strings.Contains(c.Age, "m") {
		t.Errorf("while Slack hangs again it is %d %+v", status, said)
	}
}

// A token that Slack refuses ends serve at once, and a Slack that is away does
// not: it may come back.
func TestServeAsksSlackWhoItIsAtTheStart(t *testing.T) {
	_, api := slackSide(t, false)
	env := map[string]string{"SLACK_BOT_TOKEN": "xoxb-another-canary", "SLACK_SIGNING_SECRET": signing, "SLACK_API_URL": api,
		"REHOME_LISTEN": "127.0.0.1:0", "REHOME_STORE": "bolt:" + filepath.Join(shortDir(t), "s.db")}
	r := start(t, env, nil, "serve")
	if code := r.wait(); code != failed || !strings.Contains(r.err.String(), "rehome: the bot token is refused (invalid_auth)") || strings.Contains(r.err.String(), "canary") {
		t.Errorf("%d: %s", code, r.err.String())
	}

	nobody := httptest.NewServer(http.NotFoundHandler())
	nobody.Close()
	env["SLACK_BOT_TOKEN"], env["SLACK_API_URL"] = botToken, nobody.URL+"/api/"
	_, url := serveUp(t, env)
	if code, said := probed(t, url); code != http.StatusServiceUnavailable || !strings.Contains(said, "Slack cannot be reached") {
		t.Errorf("readyz without Slack: %d %s", code, said)
	}
	if code, _ := get(t, url+"/healthz"); code != http.StatusOK {
		t.Errorf("healthz without Slack: %d", code)
	}
}

// Slack may know the token and take no message all the same.
func TestReadyTellsThatNothingIsTaken(t *testing.T) {
	if c := sendingState("", time.Time{}); !c.ok() {
		t.Errorf("all goes well, and it says %+v", c)
	}
	c := sendingState("ekm_access_denied", time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC))
	if c.ok() || !c.Needed || c.State != "ekm_access_denied" || !strings.Contains(c.What, "2026-05-04 03:02Z") || c.Fix == "" {
		t.Errorf("it says %+v", c)
	}
	_, api := slackSide(t, false)
	a := assembled(t, parts{signed: []string{signing}, log: slog.New(slog.DiscardHandler), triage: triage, slack: slackapp.Options{BotToken: botToken, APIURL: api}})
	if _, said := askReady(t, a); !slices.ContainsFunc(said.Components, func(c component) bool { return c.Name == "sending" && c.ok() }) {
		t.Errorf("sending is not among %+v", said.Components)
	}
}
