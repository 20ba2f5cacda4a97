package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rehome/bot/sandbox"
	"rehome/bot/slackapp"
	"rehome/store"
	"rehome/store/bolt"
)

// doctored runs doctor against a workspace, and returns its findings.
func doctored(t *testing.T, env map[string]string, args ...string) (code int, found []finding) {
	t.Helper()
	code, out, errs := once(env, append([]string{"doctor", "--format", "json"}, args...)...)
	var all struct {
		OK       bool
		Findings []finding
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil || all.OK != (code == done) || errs != "" {
		t.Fatalf("%d, %v: %s%s", code, err, out, errs)
	}
	if strings.Contains(out, "canary") {
		t.Errorf("a secret is said: %s", out)
	}
	return code, all.Findings
}

// setUp is a set-up in which all is well, but for directories.
func setUp(t *testing.T) (*sandbox.Workspace, map[string]string) {
	t.Helper()
	w, api := slackSide(t, true)
	return w, map[string]string{"SLACK_BOT_TOKEN": botToken, "SLACK_APP_TOKEN": appToken, "SLACK_API_URL": api, "REHOME_CHANNEL": triage,
		"REHOME_STORE": "bolt:" + filepath.Join(shortDir(t), "s.db"), "REHOME_LISTEN": "127.0.0.1:0", "REHOME_INTAKE_TOKEN": "canary-that-is-long-enough"}
}

// Each thing that can be wrong has a line of its own, which says what to do, and
// nothing else is wrong by it.
func TestDoctorNamesEachFault(t *testing.T) {
	scopes := func(but string) func(*sandbox.App) {
		return func(a *sandbox.App) {
			a.Scopes = slices.DeleteFunc(slices.Sorted(maps.Keys(slackapp.Scopes)), func(s string) bool { return s == but })
		}
	}
	file := func(name, content string) func(*testing.T, map[string]string) {
		return func(t *testing.T, env map[string]string) {
			path := filepath.Join(shortDir(t), name)
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			env["REHOME_CONFIG"] = path
		}
	}
	set := func(pairs ...string) func(*testing.T, map[string]string) {
		return func(_ *testing.T, env map[string]string) {
			for p := range slices.Chunk(pairs, 2) {
				env[p[0]] = p[1]
			}
		}
	}
	for name, c := range map[string]struct {
		workspace func(*sandbox.App)
		change    func(*testing.T, map[string]string)
		want      string // state, area, what
		fix       string
	}{
		"a setting that is none":       {nil, file("rehome.yaml", "channel: "+triage+"\nlisten: here\n"), `fail settings rehome.yaml:2: listen "here" is not an address`, "write host:port"},
		"an address that is taken":     {nil, func(t *testing.T, env map[string]string) { env["REHOME_LISTEN"] = busy(t) }, "fail listen is in use by another program", "stop that one"},
		"a policy that is none":        {nil, set("REHOME_POLICY", "/nowhere"), "fail policy no such file", "name a folder"},
		"no bot token":                 {nil, set("SLACK_BOT_TOKEN", ""), "fail slack SLACK_BOT_TOKEN is not set", "OAuth & Permissions"},
		"a user's token":               {nil, set("SLACK_BOT_TOKEN", "xoxp-canary"), "fail slack SLACK_BOT_TOKEN holds a user token", "Bot User OAuth Token"},
		"the app's token as the bot's": {nil, set("SLACK_BOT_TOKEN", appToken), "fail slack SLACK_BOT_TOKEN holds an app-level token", "xoxb-"},
		"the bot's token as the app's": {nil, set("SLACK_APP_TOKEN", botToken), "fail slack SLACK_APP_TOKEN holds a bot token", "xapp-"},
		"no way in":                    {nil, set("SLACK_APP_TOKEN", ""), "fail slack there is no way in from Slack", "Socket Mode"},
		"a token in two places":        {nil, set("SLACK_BOT_TOKEN_FILE", "/nowhere"), "fail slack both SLACK_BOT_TOKEN and SLACK_BOT_TOKEN_FILE are set", "unset one"},
		"an odd signing secret":        {nil, set("SLACK_SIGNING_SECRET", "canary"), "warn slack SLACK_SIGNING_SECRET is not 32", "verification token"},
		"a wrong bot token":            {nil, set("SLACK_BOT_TOKEN", "xoxb-canary-9"), "fail slack Slack refuses the bot token: invalid_auth", "copy it again"},
		"a revoked bot token":          {func(a *sandbox.App) { a.BotTokenError = "token_revoked" }, nil, "fail slack Slack refuses the bot token: token_revoked", "install the app again"},
		"a bot that was removed":       {func(a *sandbox.App) { a.BotTokenError = "account_inactive" }, nil, "fail slack Slack refuses the bot token: account_inactive", "install the app again"},
		"no Slack":                     {nil, set("SLACK_API_URL", "http://127.0.0.1:1/api/"), "fail slack Slack cannot be reached: no_answer", "127.0.0.1:1"},
		"a scope too few":              {scopes("users:read.email"), nil, "fail slack the bot token lacks users:read.email, to find the owners", "install the app again"},
		"a wrong app token":            {nil, set("SLACK_APP_TOKEN", "xapp-canary-9"), "fail slack Socket Mode cannot be opened: invalid_auth", "connections:write"},
		"Socket Mode off":              {func(a *sandbox.App) { a.SocketMode = false }, nil, "fail slack Socket Mode cannot be opened: socket_mode_disabled", "switch it on"},
		"no channel":                   {nil, set("REHOME_CHANNEL", ""), "fail intake alerts have no channel", "REHOME_CHANNEL"},
		"a channel that is not there":  {nil, set("REHOME_CHANNEL", "C0NOWHERE1"), "fail channels the triage channel C0NOWHERE1: channel_not_found", "check the id"},
		"a channel without us":         {nil, set("REHOME_CHANNEL", general), "fail channels the triage channel " + general + ": not_in_channel", "/invite @rehome in #general"},
		"an archived channel":          {nil, set("REHOME_CHANNEL", "C0ARCHIVE1"), "fail channels the triage channel C0ARCHIVE1: is_archived", "unarchive"},
		"a route to nowhere":           {nil, file("rehome.yaml", "routes: [{cloud: Fairfax, channel: "+general+"}]\n"), "fail channels the route channel " + general + ": not_in_channel", "/invite"},
		"history that is shut":         {scopes("channels:history"), nil, "warn channels cannot be read (missing_scope channels:history): a message whose fate is unknown would be sent again", "install the app again"},
		"no token for alerts":          {nil, set("REHOME_INTAKE_TOKEN", ""), "warn intake nobody may send alerts", "REHOME_INTAKE_TOKEN"},
		"a short token for alerts":     {nil, set("REHOME_INTAKE_TOKEN", "canary"), "warn intake a token for sending alerts has 6 characters", "openssl rand"},
		"a directory that is none":     {nil, set("AZURE_TENANT_ID", "contoso"), `fail directory directory 1 (contoso): the tenant id "contoso" is not a GUID`, ""},
		"a directory that is away": {nil, file("rehome.yaml", `directories: [{name: PME, tenant: a0000000-0000-4000-8000-0000000000a2, authority: "https://127.0.0.1:1", instanceDiscovery: false,
  credential: {kind: client-secret, allowSecret: true, client: b0000000-0000-4000-8000-000000000001, secretFile: `+"SECRET"+`}}]`), "fail directory PME cannot be asked", "sign-in"},
		"a store that is a letter": {nil, func(t *testing.T, env map[string]string) {
			path := strings.TrimPrefix(env["REHOME_STORE"], "bolt:")
			if err := os.WriteFile(path, []byte("Dear Sir or Madam"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "fail store the store is damaged", "restore from a backup"},
		"a store that somebody holds": {nil, func(t *testing.T, env map[string]string) {
			st, err := bolt.Open(strings.TrimPrefix(env["REHOME_STORE"], "bolt:"), bolt.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = st.Close() })
		}, "warn store is in use by a process that does not answer", "stop it"},
		"a store where a file is": {nil, set("REHOME_STORE", "bolt:/dev/null/s.db"), "fail store", "local disk"},
	} {
		t.Run(name, func(t *testing.T) {
			w, env := setUp(t)
			if c.workspace != nil {
				w.Reinstall(c.workspace)
			}
			if c.change != nil {
				c.change(t, env)
			}
			if name == "a directory that is away" {
				content, err := os.ReadFile(env["REHOME_CONFIG"])
				if err != nil {
					t.Fatal(err)
				}
				hidden := filepath.Join(shortDir(t), "secret")
				if err := os.WriteFile(hidden, []byte("canary"), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(env["REHOME_CONFIG"], []byte(strings.ReplaceAll(string(content), "SECRET", hidden)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			code, found := doctored(t, env)
			state, rest, _ := strings.Cut(c.want, " ")
			area, what, _ := strings.Cut(rest, " ")
			hit := slices.ContainsFunc(found, func(f finding) bool {
				return f.State == state && f.Area == area && strings.Contains(f.What, what) && strings.Contains(f.Fix, c.fix) && f.Fix != ""
			})
			if !hit || (code == done) != (state == warned && !strings.Contains(c.want, "missing_scope")) {
				t.Errorf("%d; want %s → %s in\n%+v", code, c.want, c.fix, found)
			}
			for _, f := range found {
				if f.State == broken && (state != broken || f.Area != area) && !strings.Contains(c.want, "missing_scope") {
					t.Errorf("something else is wrong: %+v", f)
				}
				if (f.Fix == "") != (f.State == fine) {
					t.Errorf("it does not say what to do: %+v", f)
				}
			}
		})
	}
}

func busy(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// Where all is well nothing is posted, opened or made, and whatever is not
// configured is not asked for.
func TestDoctorOnlyLooks(t *testing.T) {
	w, env := setUp(t)
	code, found := doctored(t, env)
	if code != done {
		t.Errorf("it finds %+v", found)
	}
	var called []string
	for _, c := range w.Calls() {
		called = append(called, c.Method)
	}
	slices.Sort(called)
	if want := "apps.connections.open auth.test conversations.history conversations.info"; strings.Join(slices.Compact(called), " ") != want {
		t.Errorf("it called %v", called)
	}
	if _, err := os.Stat(strings.TrimPrefix(env["REHOME_STORE"], "bolt:")); err == nil {
		t.Error("it made a store")
	}
	if w.Sockets() != 0 {
		t.Error("it opened a socket")
	}

	code, found = doctored(t, map[string]string{"REHOME_LISTEN": "127.0.0.1:0", "REHOME_STORE": env["REHOME_STORE"]})
	if code != failed || !slices.ContainsFunc(found, func(f finding) bool { return f.What == "SLACK_BOT_TOKEN is not set" }) {
		t.Errorf("%d with nothing configured: %+v", code, found)
	}
}

// Slack's Date tells how far this machine's clock is off.
func TestDoctorComparesTheClockWithSlacks(t *testing.T) {
	for off, want := range map[time.Duration]string{0: "ok agrees", 2 * time.Minute: "warn ahead of Slack's", -10 * time.Minute: "fail behind Slack's: signed requests are refused"} {
		_, env := setUp(t)
		to, err := url.Parse(strings.TrimSuffix(env["SLACK_API_URL"], "/api/"))
		if err != nil {
			t.Fatal(err)
		}
		late := httptest.NewServer(shifted(to, off))
		t.Cleanup(late.Close)
		env["SLACK_API_URL"] = late.URL + "/api/"
		_, found := doctored(t, env)
		state, what, _ := strings.Cut(want, " ")
		if !slices.ContainsFunc(found, func(f finding) bool { return f.Area == areaClock && f.State == state && strings.Contains(f.What, what) }) {
			t.Errorf("with a clock that is off by %s: %+v", off, found)
		}
	}
}

// A running rehome holds its store and its address, and neither is a fault.
func TestDoctorWorksBesideARunningBot(t *testing.T) {
	w, env := setUp(t)
	r, url := serveUp(t, env)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	connected(ctx, t, w, url)
	env["REHOME_LISTEN"] = strings.TrimPrefix(url, "http://")
	code, found := doctored(t, env)
	if !slices.Contains(found, finding{areaRunning, fine, "the rehome that runs says that it is ready", ""}) {
		t.Errorf("%+v", found)
	}
	if code != done || !slices.ContainsFunc(found, func(f finding) bool { return f.Area == areaStore && strings.HasPrefix(f.What, "a rehome is running") }) {
		t.Errorf("%d: %+v", code, found)
	}
	if code := r.stop(); code != done {
		t.Errorf("the bot stops with %d", code)
	}
}

// A running rehome may have other variables than whoever asks, and says itself
// what is amiss with it.
func TestDoctorAsksARunningBotHowItIs(t *testing.T) {
	_, env := setUp(t)
	theirs := maps.Clone(env)
	theirs["REHOME_CHANNEL"] = general
	r, _ := serveUp(t, theirs)
	code, found := doctored(t, env)
	if code != failed || !slices.Contains(found, finding{areaRunning, broken, "the rehome that runs says of channel " + general + ": the triage channel cannot be used (not_in_channel)", "type /invite @rehome in #general"}) {
		t.Errorf("%d: %+v", code, found)
	}
	if code := r.stop(); code != done {
		t.Errorf("the bot stops with %d", code)
	}

	env["REHOME_STORE"] = "bolt:" + held(t)
	code, found = doctored(t, env)
	if code != done || !slices.ContainsFunc(found, func(f finding) bool { return f.Area == areaRunning && strings.Contains(f.What, "older version") }) {
		t.Errorf("%d: %+v", code, found)
	}
}

// A store that has grown to the limit in rehome.yaml takes no new alerts: doctor
// says so before the start, and /readyz after it.
func TestDoctorSeesAStoreWithoutRoom(t *testing.T) {
	_, env := setUp(t)
	env["REHOME_CONFIG"] = filepath.Join(shortDir(t), "rehome.yaml")
	if err := os.WriteFile(env["REHOME_CONFIG"], []byte("room: {maxMiB: 64, spareMiB: 32}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	st, err := bolt.Open(strings.TrimPrefix(env["REHOME_STORE"], "bolt:"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = st.ApplyAll(t.Context(), store.Batch{Quarantine: []store.Quarantined{{At: time.Now(), Source: "http", Why: "large", Body: bytes.Repeat([]byte("x"), 20<<20)}}})
	if err := errors.Join(err, st.Close()); err != nil {
		t.Fatal(err)
	}
	code, found := doctored(t, env)
	if code != failed || !slices.ContainsFunc(found, func(f finding) bool {
		return f.Area == areaStore && f.State == broken && strings.HasPrefix(f.What, "no new alerts would be taken in: the store is full") && strings.HasPrefix(f.Fix, "raise the limit")
	}) {
		t.Errorf("%d: %+v", code, found)
	}
	r, url := serveUp(t, env)
	if status, said := get(t, url+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(said, `"state":"full"`) {
		t.Errorf("%d %s", status, said)
	}
	if code := r.stop(); code != done {
		t.Errorf("the bot stops with %d", code)
	}
}

func held(t *testing.T) string {
	t.Helper()
	path, _ := heldStore(t, func(d direct) remembered { return d })
	return path
}

// Piped, each finding is a line that grep can find.
func TestDoctorPipedIsALineForEachFinding(t *testing.T) {
	_, env := setUp(t)
	env["REHOME_CHANNEL"] = general
	code, out, errs := once(env, "doctor")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != failed || errs != "" || strings.Contains(out, "\x1b") || !strings.HasPrefix(lines[len(lines)-1], "1 thing to mend") {
		t.Errorf("%d: %s%s", code, out, errs)
	}
	if !slices.Contains(lines, "fail  channels   the triage channel "+general+": not_in_channel → type /invite @rehome in #general") {
		t.Errorf("it says\n%s", out)
	}
}

// shifted is a Slack whose clock is behind ours by off.
func shifted(to *url.URL, off time.Duration) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) },
		ModifyResponse: func(r *http.Response) error {
			r.Header.Set("Date", time.Now().Add(-off).UTC().Format(http.TimeFormat))
			return nil
		},
	}
}
