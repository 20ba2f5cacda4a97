package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rehome/bot/sandbox"
	"rehome/bot/slackapp"
)

const (
	botToken = "xoxb-canary-1"
	appToken = "xapp-canary-2"
	signing  = "canary-3"
)

// slackSide is a workspace that a bot can be pointed at.
func slackSide(t *testing.T, socket bool) (*sandbox.Workspace, string) {
	t.Helper()
	return slackSideWith(t, socket, nil)
}

// slackSideWith is one in which things go wrong.
func slackSideWith(t *testing.T, socket bool, fault func(method string, n int) sandbox.Fault) (*sandbox.Workspace, string) {
	t.Helper()
	w, err := sandbox.New(sandbox.Config{
		Fault:    fault,
		Strict:   true,
		Users:    []sandbox.User{{ID: rivera, Name: "rivera", RealName: "Robin Rivera", Email: "rivera@contoso.example"}},
		Channels: []sandbox.Channel{{ID: triage, Name: "triage", BotMember: true}, {ID: general, Name: "general"}, {ID: "C0ARCHIVE1", Name: "old", BotMember: true, Archived: true}},
		App: sandbox.App{
			Name: "rehome", BotToken: botToken, AppToken: appToken, SigningSecret: signing, SocketMode: socket,
			Commands: []sandbox.Command{{Name: slackapp.CommandName}}, Events: slackapp.Events, Scopes: slices.Sorted(maps.Keys(slackapp.Scopes)),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(w)
	w.SetBaseURL(server.URL)
	t.Cleanup(func() {
		w.Close()
		server.Close()
	})
	return w, server.URL + "/api/"
}

// serveUp starts serve with the environment and waits until it listens.
func serveUp(t *testing.T, env map[string]string) (r *running, url string) {
	t.Helper()
	env["REHOME_LISTEN"] = "127.0.0.1:0"
	r = start(t, env, nil, "serve")
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, after, ok := strings.Cut(r.err.String(), "listen=127.0.0.1:"); ok {
			if port, _, whole := strings.Cut(after, " "); whole {
				return r, "http://127.0.0.1:" + port
			}
		}
		select {
		case <-tick.C:
		case code := <-r.code:
			t.Fatalf("serve ended with %d: %s", code, r.err.String())
		case <-deadline:
			t.Fatalf("serve does not come up: %s", r.err.String())
		}
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(body))
}

// The same story through either door: a command is typed, a question answered,
// the steps are there; the process stops in order, and no secret was said.
func TestServeWorksAViolationThroughEitherDoor(t *testing.T) {
	for _, door := range []string{"socket", "http"} {
		t.Run(door, func(t *testing.T) {
			nothingLeft(t)
			w, api := slackSide(t, door == "socket")
			store := "bolt:" + filepath.Join(shortDir(t), "s.db")
			env := map[string]string{"SLACK_BOT_TOKEN": botToken, "SLACK_API_URL": api, "REHOME_STORE": store}
			if door == "socket" {
				env["SLACK_APP_TOKEN"] = appToken
			} else {
				env["SLACK_SIGNING_SECRET"] = signing
			}
			r, url := serveUp(t, env)
			w.SetRequestURLs(url+"/slack/events", url+"/slack/commands", url+"/slack/interactions")
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if door == "socket" {
				connected(ctx, t, w, url)
			}

			if err := w.Command(rivera, triage, "/rehome", "tenant-mismatch 3P PME"); err != nil {
				t.Fatal(err)
			}
			root := awaitText(ctx, t, w, "", "RH-1")
			question := awaitText(ctx, t, w, root.TS, "Option A")
			if err := w.Click(rivera, triage, question.TS, "Option A"); err != nil {
				t.Fatal(err)
			}
			awaitText(ctx, t, w, root.TS, "Prod + PME")

			if code, said := get(t, url+"/healthz"); code != http.StatusOK || said != "ok" {
				t.Errorf("healthz: %d %s", code, said)
			}
			if code, said := probed(t, url); code != http.StatusOK || !strings.Contains(said, `"status": "ready"`) {
				t.Errorf("readyz: %d %s", code, said)
			}
			if code, out, _ := once(env, "list"); code != done || !strings.Contains(out, "RH-1  advised") {
				t.Errorf("list beside it: %d %s", code, out)
			}
			if code := r.stop(); code != done {
				t.Errorf("it stops with %d", code)
			}
			log := r.err.String()
			if strings.Contains(log, "canary") || !strings.Contains(log, "rehome has stopped") {
				t.Errorf("the log says: %s", log)
			}
		})
	}
}

// An alert that serve takes in opens a conversation in the channel that the
// rules say, and its owner, whom the alert names by mail, has it as a direct
// message. A token that is being replaced still works.
func TestServeTakesAlertsIn(t *testing.T) {
	nothingLeft(t)
	w, api := slackSide(t, true)
	dir := shortDir(t)
	config := filepath.Join(dir, "rehome.yaml")
	if err := os.WriteFile(config, []byte("routes:\n  - {cloud: Fairfax, channel: "+triage+"}\ntelling: {gather: 1ms, quiet: {off: true}}\nsecurityChannel: C0ELSEWHERE\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, url := serveUp(t, map[string]string{"SLACK_BOT_TOKEN": botToken, "SLACK_APP_TOKEN": appToken, "SLACK_API_URL": api, "REHOME_CONFIG": config,
		"REHOME_STORE": "bolt:" + filepath.Join(dir, "s.db"), "REHOME_INTAKE_TOKEN": "old-canary new-canary"})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	connected(ctx, t, w, url)

	const alert = `{"id": "X-1", "source": {"system": "other"}, "title": "AAD Entra Apps cloud mismatches with Cert Cloud", "owner": {"email": "rivera@contoso.example"}, "app": {"cloud": "Fairfax", "displayName": "Contoso Relay"}}`
	for i, token := range []string{"old-canary", "new-canary"} {
		status, said := postAlert(t, url+"/v1/violations", "Bearer "+token, "application/json", alert)
		if want := fmt.Sprintf(`"accepted":%d,"duplicates":%d`, 1-i, i); status != http.StatusAccepted || !strings.Contains(said, want) {
			t.Errorf("with the token %d: %d %s", i+1, status, said)
		}
	}
	if status, said := postAlert(t, url+"/v1/violations", "Bearer canary", "application/json", alert); status != http.StatusUnauthorized {
		t.Errorf("with no token of ours: %d %s", status, said)
	}
	awaitText(ctx, t, w, "", "RH-1")
	if err := w.Await(ctx, func() bool {
		return slices.ContainsFunc(w.Messages(w.DM(rivera)), func(m sandbox.Message) bool { return strings.Contains(m.Text, "RH-1") })
	}); err != nil {
		t.Errorf("the owner is not told: %v; %s", err, r.err.String())
	}
	if code, said := probed(t, url); code != http.StatusOK {
		t.Errorf("readyz: %d %s", code, said)
	}
	if code := r.stop(); code != done {
		t.Errorf("it stops with %d", code)
	}
	log := r.err.String()
	if strings.Contains(log, "canary") || strings.Count(log, "owners come from the alert alone") != 1 {
		t.Errorf("the log says: %s", log)
	}
}

// Somebody puts a tenant on the map and starts serve again: what was asked for
// need not be answered any more, and people see that.
func TestServeStartedWithAnotherTenantMapAsksAnew(t *testing.T) {
	nothingLeft(t)
	w, api := slackSide(t, true)
	dir := shortDir(t)
	env := map[string]string{"SLACK_BOT_TOKEN": botToken, "SLACK_APP_TOKEN": appToken, "SLACK_API_URL": api, "REHOME_CHANNEL": triage,
		"REHOME_STORE": "bolt:" + filepath.Join(dir, "s.db"), "REHOME_INTAKE_TOKEN": "canary"}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	r, url := serveUp(t, maps.Clone(env))
	connected(ctx, t, w, url)
	const alert = `{"id": "X-1", "source": {"system": "other"}, "title": "AAD Entra Apps in Prod Tenants using certificates in Non-Prod Tenant",
		"app": {"displayName": "Contoso Relay", "party": "3P", "tenantId": "a0000000-0000-4000-8000-0000000000a2"}}`
	if status, said := postAlert(t, url+"/v1/violations", "Bearer canary", "application/json", alert); status != http.StatusAccepted {
		t.Fatalf("%d %s", status, said)
	}
	root := awaitText(ctx, t, w, "", "RH-1")
	awaitText(ctx, t, w, root.TS, "1. Which tenant is the app registered in?")
	if code := r.stop(); code != done {
		t.Fatalf("it stops with %d: %s", code, r.err.String())
	}

	env["REHOME_TENANTS"] = filepath.Join(dir, "tenants.json")
	if err := os.WriteFile(env["REHOME_TENANTS"], []byte(`{"a0000000-0000-4000-8000-0000000000a2": {"name": "PME", "cloud": "Public"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	r, url = serveUp(t, env)
	connected(ctx, t, w, url)
	awaitText(ctx, t, w, root.TS, "this need not be asked any more")
	awaitText(ctx, t, w, root.TS, "2. Which way out?")
	if code := r.stop(); code != done {
		t.Errorf("it stops with %d: %s", code, r.err.String())
	}
}

// Without a token nobody may send, and is told to come again rather than lose
// the alert.
func TestServeWithoutATokenTakesNoAlerts(t *testing.T) {
	_, api := slackSide(t, false)
	_, url := serveUp(t, map[string]string{"SLACK_BOT_TOKEN": botToken, "SLACK_SIGNING_SECRET": signing, "SLACK_API_URL": api,
		"REHOME_STORE": "bolt:" + filepath.Join(shortDir(t), "s.db")})
	if status, said := postAlert(t, url+"/v1/violations", "Bearer x", "application/json", "{}"); status != http.StatusServiceUnavailable || !strings.Contains(said, "REHOME_INTAKE_TOKEN") {
		t.Errorf("%d %s", status, said)
	}
}

// connected waits until serve's socket is open and serve knows it.
func connected(ctx context.Context, t *testing.T, w *sandbox.Workspace, url string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		code, said := probed(t, url)
		if code == http.StatusOK {
			return
		}
		if code != http.StatusServiceUnavailable || !strings.Contains(said, `"component":"socket","state":"connecting"`) {
			t.Fatalf("readyz before the socket is up: %d %s", code, said)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the socket never opens")
		}
	}
}

func awaitText(ctx context.Context, t *testing.T, w *sandbox.Workspace, thread, text string) (found sandbox.Message) {
	t.Helper()
	look := func() bool {
		messages := w.Messages(triage)
		if thread != "" {
			messages = w.Thread(triage, thread)
		}
		for _, m := range messages {
			if strings.Contains(m.Text, text) {
				found = m
				return true
			}
		}
		return false
	}
	if err := w.Await(ctx, look); err != nil {
		t.Fatalf("nobody says %q: %v", text, err)
	}
	return found
}

// What is not signed by Slack has no effect and gets no help.
func TestServeTurnsAwayWhatIsNotSigned(t *testing.T) {
	w, api := slackSide(t, false)
	_, url := serveUp(t, map[string]string{"SLACK_BOT_TOKEN": botToken, "SLACK_SIGNING_SECRET": signing, "SLACK_API_URL": api,
		"REHOME_STORE": "bolt:" + filepath.Join(shortDir(t), "s.db")})
	req, err := http.NewRequestWithContext(t.Context(), "POST", url+"/slack/commands", strings.NewReader("command=/rehome&text=1P"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("X-Slack-Request-Timestamp", fmt.Sprint(time.Now().Unix()))
	req.Header.Set("X-Slack-Signature", "v0="+strings.Repeat("0", 64))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized || len(w.Messages(triage)) != 0 {
		t.Errorf("%s, and %d messages", resp.Status, len(w.Messages(triage)))
	}
	if code, _ := get(t, url+"/slack/nothing"); code != http.StatusMethodNotAllowed && code != http.StatusNotFound {
		t.Errorf("an unknown path is answered with %d", code)
	}
}

// A token that Slack refuses ends serve with a line that says which.
func TestServeSaysThatATokenIsWrong(t *testing.T) {
	_, api := slackSide(t, true)
	env := map[string]string{"SLACK_BOT_TOKEN": botToken, "SLACK_APP_TOKEN": "xapp-another-canary", "SLACK_API_URL": api,
		"REHOME_LISTEN": "127.0.0.1:0", "REHOME_STORE": "bolt:" + filepath.Join(shortDir(t), "s.db")}
	code, _, said := once(env, "serve")
	if code != failed || !strings.Contains(said, "check SLACK_APP_TOKEN") || strings.Contains(said, "canary") {
		t.Errorf("%d: %s", code, said)
	}
}
