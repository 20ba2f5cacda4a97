package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"rehome/policy"
)

// uncommented is a setting, or a line of one, that is commented out in the
// example: prose is not indented, and has no colon behind its first word.
var uncommented = regexp.MustCompile(`(?m)^( *)# ( +.*|[a-zA-Z]+:(?: .*)?)$`)

// The commented example loads, says something about every setting there is,
// and names every one in its text.
func TestTheExampleLoads(t *testing.T) {
	const file = "../../deploy/rehome.example.yaml"
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// A setting that is commented out there must load, too.
	all := uncommented.ReplaceAllString(string(content), "$1$2")
	for name, text := range map[string]string{"as it is": string(content), "with everything switched on": all} {
		s, err := parseSettings(file, []byte(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if s.Listen == "" || s.Store == "" || s.Log.Format == "" || s.Log.Level == "" {
			t.Errorf("%s: %+v", name, s)
		}
		if name == "as it is" {
			// Whoever starts with it must not have our made-up tenants and people.
			if len(s.tenants)+len(s.Directories)+len(s.Routes)+len(s.Owners.Services) > 0 || s.Owners.MailDomain != "" || s.Channel != "" {
				t.Errorf("something fictional is in force: %+v", s)
			}
			continue
		}
		if got := s.tenants["a0000000-0000-4000-8000-0000000000f0"]; got != (policy.TenantEntry{Name: "Corp", Cloud: policy.Public, NonProd: true}) {
			t.Errorf("Corp is %+v", got)
		}
		if s.Owners.MailDomain == "" || len(s.Owners.Services) != 1 || len(s.Directories) != 3 || len(s.Routes) != 3 || s.Intake.Entra == nil || s.SecurityChannel == "" || s.Channel == "" {
			t.Errorf("something is still commented out: %+v", s)
		}
	}
	for name := range strings.SplitSeq(settingNames, ", ") {
		if _, last, nested := strings.Cut(name, "."); nested {
			name = last
		}
		if !strings.Contains(all, name+":") {
			t.Errorf("the example does not mention %s", name)
		}
	}
}

// Whatever is wrong with rehome.yaml is said on one line, with file, line and
// the way out.
func TestAWrongSettingIsSaidWithItsLine(t *testing.T) {
	for name, tc := range map[string]struct{ yaml, want string }{
		"unknown":           {"listen: :8080\nstroe: bolt:x\n", `rehome.yaml:2: unknown field "stroe"; the settings are ` + settingNames + `; deploy/rehome.example.yaml shows every setting`},
		"unknown, nested":   {"log:\n  format: text\n  colour: red\n", `rehome.yaml:3: unknown field "colour"; the settings are ` + settingNames + `; deploy/rehome.example.yaml shows every setting`},
		"twice":             {"store: bolt:a\nstore: bolt:b\n", `rehome.yaml:2: mapping key "store" already defined at [1:1]; deploy/rehome.example.yaml shows every setting`},
		"no YAML":           {"listen: [\n", "rehome.yaml:1: sequence end token ']' not found; deploy/rehome.example.yaml shows every setting"},
		"no mapping":        {"- a\n- b\n", "rehome.yaml:1: sequence was used where mapping is expected; deploy/rehome.example.yaml shows every setting"},
		"listen":            {"\n\nlisten: 8080\n", `rehome.yaml:3: listen "8080" is not an address; write host:port, such as 127.0.0.1:8080`},
		"store":             {"store: /var/lib/rehome.db\n", `rehome.yaml:1: store "/var/lib/rehome.db" is not a store; write bolt:PATH, such as bolt:rehome.db`},
		"keep":              {"keep: 2w\n", `rehome.yaml:1: keep "2w" is not a number of days, 30 to 36500; write it as 400d, or leave it out to keep everything`},
		"keep, too short":   {"keep: 29d\n", `rehome.yaml:1: keep "29d" is not a number of days, 30 to 36500; write it as 400d, or leave it out to keep everything`},
		"sockets":           {"sockets: two\n", `rehome.yaml:1: a text is written here where a number is wanted; deploy/rehome.example.yaml shows every setting`},
		"alert links":       {"alertLinks: {a: b}\n", `rehome.yaml:1: mapping was used where sequence is expected; deploy/rehome.example.yaml shows every setting`},
		"unlimited":         {"slack:\n  unlimited: often\n", `rehome.yaml:2: a text is written here where true or false is wanted; deploy/rehome.example.yaml shows every setting`},
		"room":              {"room:\n  maxMiB: 32\n", `rehome.yaml:2: room.maxMiB is 32; write how many MiB the store's file may grow to, 64 to 1048576, or leave it out for no limit`},
		"room, spare":       {"room: {spareMiB: -1}\n", `rehome.yaml:1: room.spareMiB is -1; write how many MiB are kept for what is under way, 8 to 65536`},
		"room, all spare":   {"room:\n  maxMiB: 100\n  spareMiB: 64\n", `rehome.yaml:3: room.spareMiB is 64, more than half of room.maxMiB; write 50 or less`},
		"channel":           {"channel: \"#triage\"\n", `rehome.yaml:1: channel "#triage" is not a channel id; take it from the channel's details in Slack (C…), not its name`},
		"log format":        {"log:\n  format: xml\n", `rehome.yaml:2: log.format "xml" is not known; write text or json`},
		"log level":         {"log: {level: loud}\n", `rehome.yaml:1: log.level "loud" is not known; write debug, info, warn or error`},
		"slack, timeout":    {"slack: {timeout: 10}\n", `rehome.yaml:1: slack.timeout "10" is not a length of time from 100ms to 1m0s; write it as 10s`},
		"slack, settle":     {"slack:\n  timeout: 15s\n", `rehome.yaml:1: slack.settle is 20s, which is too short for a timeout of 15s: a message may come late that we had no answer about; write at least 30s`},
		"security channel":  {"securityChannel: security\n", `rehome.yaml:1: securityChannel "security" is not a channel id; take it from the channel's details in Slack (C…), not its name`},
		"alert channel":     {"alertChannels:\n  - C0123456789\n  - alerts\n", `rehome.yaml:3: alertChannels[2] "alerts" is not a channel id; take it from the channel's details in Slack (C…), not its name`},
		"alert link":        {"alertLinks: [contoso.example]\n", `rehome.yaml:1: alertLinks[1] "contoso.example" is not an https address; write the one that findings are at or below, such as https://contoso.example/findings`},
		"route, everything": {"routes:\n  - {team: a, channel: C0123456789}\n  - {channel: C0123456789}\n", `rehome.yaml:3: routes[2] it asks for nothing and would take every violation; make its channel the default one`},
		"route, unknown":    {"routes:\n  - {tenat: PME, channel: C0123456789}\n", `rehome.yaml:2: unknown field "tenat"; the settings are ` + settingNames + `; deploy/rehome.example.yaml shows every setting`},
		"intake size":       {"intake:\n  maxMiB: -1\n", `rehome.yaml:2: intake.maxMiB is -1; write how many MiB a request may have, 1 to 1024`},
		"intake, no caller": {"intake:\n  entra:\n    tenant: a0000000-0000-4000-8000-0000000000a1\n    audiences: [x]\n", `rehome.yaml:2: intake.entra is not complete: intake tokens need callers; give the app ids of who may send alerts`},
		"directory, tenant": {"directories:\n  - name: PME\n    tenant: PME\n", `rehome.yaml:3: directories[1].tenant "PME" is not a tenant id; write it as 00000000-0000-0000-0000-000000000000`},
		"directory, cloud":  {"directories:\n  - tenant: a0000000-0000-4000-8000-0000000000a1\n    cloud: Moon\n", `rehome.yaml:3: directories[1].cloud is wrong: there is no cloud "Moon"; write Public, USGov (or Fairfax), DoD or China (or Mooncake)`},
		"directory, kind":   {"directories:\n  - tenant: a0000000-0000-4000-8000-0000000000a1\n", `rehome.yaml:2: directories[1].credential.kind "" is not known; write workload-identity, managed-identity, managed-federation, client-certificate, azure-cli or, if it must be, client-secret`},
		"service":           {"owners:\n  services:\n    Ledger: rivera\n", `rehome.yaml:3: owners.services.Ledger is answered for by "rivera", which is neither a mail address nor a user id (U…)`},
		"mail domain":       {"owners: {mailDomain: '@contoso.example'}\n", `rehome.yaml:1: owners.mailDomain "@contoso.example" is not a domain; write what stands behind the @, such as contoso.example`},
		"gather":            {"telling:\n  gather: soon\n", `rehome.yaml:2: telling.gather "soon" is not a length of time up to 1h0m0s; write it as 10s, 5m or 48h`},
		"unreadable":        {"listen: :8080\nunreadableHistory: exactly-once\n", `rehome.yaml:2: unreadableHistory "exactly-once" is not known; write at-least-once or at-most-once`},
		"digest":            {"telling:\n  digest: 24\n", `rehome.yaml:2: telling.digest is 24; write the hour of the day, 0 to 23`},
		"quiet":             {"telling:\n  quiet: {from: 25}\n", `rehome.yaml:2: telling.quiet is from 25 to 0; write hours of the day, 0 to 23`},
		"tenant, no id":     {"tenants:\n  AME: {name: AME, cloud: Public}\n", `rehome.yaml:2: "ame" is not a tenant id; write it as 00000000-0000-0000-0000-000000000000`},
		"tenant, bad cloud": {"tenants:\n  a0000000-0000-4000-8000-0000000000a1: {name: AME, cloud: Public}\n  a0000000-0000-4000-8000-0000000000a2: {name: PME, cloud: Fairfax}\n", `rehome.yaml:3: tenant a0000000-0000-4000-8000-0000000000a2: PME is in Public (3p.csv:6), not in Fairfax; correct the name or the cloud`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseSettings("rehome.yaml", []byte(tc.yaml))
			if err == nil {
				t.Fatal("it was taken")
			}
			if got := oneLine(err.Error()); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestTheEnvironmentWinsOverTheFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "rehome.yaml")
	if err := os.WriteFile(file, []byte("listen: 127.0.0.1:1\nstore: bolt:file.db\nchannel: C0000FILE\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"REHOME_CONFIG": file, "REHOME_LISTEN": "127.0.0.1:2", "REHOME_STORE": "bolt:env.db"}
	p := &program{env: func(name string) string { return env[name] }}
	s, err := p.settings()
	if err != nil {
		t.Fatal(err)
	}
	if s.Listen != "127.0.0.1:2" || s.Store != "bolt:env.db" || s.Channel != "C0000FILE" {
		t.Errorf("%+v", s)
	}
	env["REHOME_LISTEN"] = "nonsense"
	if _, err := p.settings(); err == nil || !strings.HasPrefix(err.Error(), `listen "nonsense" is not an address`) {
		t.Error(err)
	}
}

// There is no way to print a secret by accident.
func TestASecretShowsAsStars(t *testing.T) {
	const canary = "xoxb-canary"
	s := secret{canary}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "token", s, "group", slog.GroupValue(slog.Any("token", s)))
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "token", s, "all", []secret{s})
	asJSON, _ := json.Marshal(map[string]any{"token": s, "list": []secret{s}})
	asYAML, err := yaml.Marshal(map[string]any{"token": s})
	if err != nil {
		t.Error(err)
	}
	for _, out := range []string{
		log.String(), string(asJSON), string(asYAML), s.String(), s.GoString(),
		fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q %x %d", s, s, s, s, s, s, s), fmt.Sprintf("%v %+v", struct{ S secret }{s}, &struct{ S secret }{s}),
	} {
		if strings.Contains(out, canary) || strings.Contains(out, fmt.Sprintf("%x", canary)) || !strings.Contains(out, hidden) {
			t.Errorf("it shows: %q", out)
		}
	}
	if s.reveal() != canary {
		t.Error("it is lost")
	}
}

func TestASecretComesFromAVariableOrItsFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good", "xoxb-from-file\n")
	for name, tc := range map[string]struct {
		env  map[string]string
		want string
		err  string
	}{
		"unset":     {nil, "", ""},
		"variable":  {map[string]string{"T": " xoxb-1\n"}, "xoxb-1", ""},
		"file":      {map[string]string{"T_FILE": good}, "xoxb-from-file", ""},
		"both":      {map[string]string{"T": "xoxb-1", "T_FILE": good}, "", "both T and T_FILE are set; unset one of them"},
		"no file":   {map[string]string{"T_FILE": dir + "/none"}, "", "no such file or directory; write the secret there, or unset the variable"},
		"a folder":  {map[string]string{"T_FILE": dir}, "", "is not a file with one secret in it; check the path"},
		"empty":     {map[string]string{"T_FILE": write("empty", " \n")}, "", "must hold the secret alone, on one line"},
		"two lines": {map[string]string{"T_FILE": write("two", "a\nb\n")}, "", "must hold the secret alone, on one line"},
		"huge":      {map[string]string{"T_FILE": write("huge", strings.Repeat("x", maxSecret+1))}, "", "is not a file with one secret in it; check the path"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &program{env: func(name string) string { return tc.env[name] }}
			got, err := p.secret("T")
			if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.HasSuffix(err.Error(), tc.err)) {
				t.Errorf("error is %v, want %q", err, tc.err)
			}
			if got.reveal() != tc.want {
				t.Errorf("got %q", got.reveal())
			}
		})
	}
}

// What somebody wrote is not taken for what nobody said.
func TestNoughtIsAnAnswerToHowPeopleAreTold(t *testing.T) {
	none, midnight := 0, 0
	said := tellingSettings{Alone: &none, Digest: &midnight, Urgent: "0s"}
	if err := said.check(); err != nil {
		t.Fatal(err)
	}
	got := said.manners()
	if got.Alone >= 0 || got.Digest != 24 || got.Urgent >= 0 {
		t.Errorf("%+v", got)
	}
	unsaid := tellingSettings{}
	if got := unsaid.manners(); got.Alone != 0 || got.Digest != 0 || got.Urgent != 0 {
		t.Errorf("nothing was said, and it became %+v", got)
	}
}
