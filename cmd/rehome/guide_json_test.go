package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The JSON of guide for one decision of each outcome. Prose is ours to improve
// and is left out of the goldens; names, values, lists and order are not.
func TestTheJSONOfEachOutcome(t *testing.T) {
	for name, args := range map[string][]string{
		"steps":         {"--title", "cloud-mismatch", "--party", "1P", "--sg-owner", "Torus", "--cloud", "Fairfax", "--option", "2", "--vault-uri", "https://contoso-kv.vault.azure.net", "--app-name", "Contoso <b>Ledger</b>"},
		"steps-b":       {"--title", "tenant-mismatch", "--party", "3P", "--option", "B"},
		"ask":           {"--title", "tenant-mismatch", "--party", "3P"},
		"conflict":      {"--title", "tenant-mismatch", "--party", "3P", "--app-tenant", "USME", "--cloud", "Public"},
		"no-policy-row": {"--title", "tenant-mismatch", "--party", "1P", "--sg-owner", "MPA", "--cloud", "Fairfax", "--option", "A"},
		"redirect":      {"--title", "cloud-mismatch", "--option", "3", "--plane", "data-flow"},
		"refused":       {"--title", "cloud-mismatch", "--option", "3", "--plane", "control-plane"},
		"out-of-scope":  {"--title", "Printer out of paper"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			p := &program{
				env:   func(string) string { return "" },
				now:   func() time.Time { return time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC) },
				stdio: stdio{strings.NewReader(""), &out, &errs},
			}
			if code := p.run(t.Context(), append([]string{"guide", "--format", "json"}, args...)); code != done && code != missing {
				t.Fatalf("%d: %s", code, errs.String())
			}
			golden(t, filepath.Join("guide", name+".json"), withoutProse(t, out.String()))
		})
	}
}

var (
	prose  = regexp.MustCompile(`("(?:text|why|prompt|markdown)": )".+"`)
	digest = regexp.MustCompile(`"sha256:[0-9a-f]{64}"`)
	said   = regexp.MustCompile(`(?s)("(?:reasons|warnings|requirements)": \[\n)(.*?)(\n  \])`)
)

// withoutProse replaces sentences by …, keeping how many there are.
func withoutProse(t *testing.T, s string) string {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal([]byte(s), &all); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"facts", "reasons", "steps", "warnings", "requirements", "links"} {
		if _, ok := all[name].([]any); !ok {
			t.Errorf("%s is %v, not a list", name, all[name])
		}
	}
	if m, _ := all["markdown"].(string); m == "" {
		t.Error("there is no markdown")
	}
	s = prose.ReplaceAllString(s, `$1"…"`)
	s = digest.ReplaceAllString(s, `"sha256:…"`)
	return said.ReplaceAllString(s, `$1    "…"$3`)
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); if the new one is right, run with -update\n%s", path, diff)
	}
}

// The names stand in the order the contract gives them.
func TestTheJSONHasTheContractsOrder(t *testing.T) {
	code, out, errs := once(nil, "guide", "--title", "cloud-mismatch", "--party", "1P", "--sg-owner", "AME", "--cloud", "Public", "--option", "1", "--format", "json")
	if code != done {
		t.Fatal(errs)
	}
	at := -1
	for _, name := range []string{"outcome", "scenario", "option", "onecert", "redirect", "ask", "facts", "reasons", "steps", "warnings", "requirements", "links", "policy", "markdown"} {
		i := strings.Index(out, "\n  \""+name+"\":")
		if i <= at {
			t.Errorf("%s is out of order or missing", name)
		}
		at = i
	}
	if strings.Contains(out, `\u003c`) {
		t.Error("angle brackets are escaped, as if for a page")
	}
}
