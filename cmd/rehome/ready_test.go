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
	"path/filepath"
	"slices"
	"strings"
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

func askReady(t *testing.T, a *assembly) (int, answered) {
	t.Helper()
	w := httptest.NewRecorder()
	a.ready(w, httptest.NewRequestWithContext(t.Context(), "GET", "/readyz", nil))
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
		times := 0
		var answer error
		slack := func(context.Context) (int, error) { times++; return times, answer }
		check := func(want error, after int) {
			t.Helper()
			if v, err := r.ask(slack, reachedFor, unreachedFor); !errors.Is(err, want) || times != after || v != after {
				t.Errorf("it says %d, %v after asking %d times", v, err, times)
			}
		}
		check(nil, 1)
		answer = errors.New("away")
		check(nil, 1)
		time.Sleep(reachedFor)
		check(answer, 2)
		check(answer, 2)
		answer = nil
		time.Sleep(unreachedFor)
		check(nil, 3)

		time.Sleep(reachedFor)
		began := time.Now()
		silent := func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }
		if _, err := r.ask(silent, reachedFor, unreachedFor); err == nil || time.Since(began) > readyWithin {
			t.Errorf("silence is %v after %s", err, time.Since(began))
		}
	})
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
	if code, said := get(t, url+"/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(said, "Slack cannot be reached") {
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
