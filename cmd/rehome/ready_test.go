package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rehome/bot/slackapp"
	"rehome/policy"
)

// Over HTTP nothing but asking tells whether Slack is there and takes the token.
func TestReadyMeansThatSlackTakesTheToken(t *testing.T) {
	for name, tc := range map[string]struct {
		answer string // of auth.test; none when Slack is away
		status int
		want   string
	}{
		"ready":   {`{"ok": true, "team_id": "T1", "user_id": "U1", "bot_id": "B1"}`, http.StatusOK, "ready"},
		"refused": {`{"ok": false, "error": "invalid_auth"}`, http.StatusServiceUnavailable, "Slack refuses the bot token; check SLACK_BOT_TOKEN"},
		"away":    {"", http.StatusServiceUnavailable, "Slack cannot be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			slack := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprint(w, tc.answer)
			}))
			defer slack.Close()
			if tc.answer == "" {
				slack.Close()
			}
			log := slog.New(slog.DiscardHandler)
			a, err := assemble(parts{path: filepath.Join(t.TempDir(), "r.db"), policy: policy.Default(), signed: []string{signing}, log: log,
				slack: slackapp.Options{BotToken: botToken, APIURL: slack.URL, Log: log}})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = a.close() }()
			w := httptest.NewRecorder()
			a.ready(w, httptest.NewRequestWithContext(t.Context(), "GET", "/readyz", nil))
			if said := strings.TrimSpace(w.Body.String()); w.Code != tc.status || said != tc.want {
				t.Errorf("%d %s", w.Code, said)
			}
		})
	}
}

// Slack is not asked for each probe, an answer does not last for ever, and a
// Slack that is silent is not waited for long.
func TestHowSlackAnsweredIsRememberedForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reach
		asked := 0
		var answer error
		slack := func(context.Context) error { asked++; return answer }
		check := func(want error, times int) {
			t.Helper()
			if err := r.ask(slack); !errors.Is(err, want) || asked != times {
				t.Errorf("it says %v after asking %d times", err, asked)
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
		if err := r.ask(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }); err == nil || time.Since(began) > readyWithin {
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
	if code, said := get(t, url+"/readyz"); code != http.StatusServiceUnavailable || said != "Slack cannot be reached" {
		t.Errorf("readyz without Slack: %d %s", code, said)
	}
	if code, _ := get(t, url+"/healthz"); code != http.StatusOK {
		t.Errorf("healthz without Slack: %d", code)
	}
}
