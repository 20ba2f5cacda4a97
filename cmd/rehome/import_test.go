package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rehome/store"
	"rehome/store/bolt"
)

const titleInCSV = "AAD Entra Apps cloud mismatches with Cert Cloud"

// export writes an S360 export of n rows, of which every hundredth is broken.
func export(t *testing.T, n int) (file string) {
	t.Helper()
	var b strings.Builder
	b.WriteString("KpiActionItemId,Title,AppId,AppDisplayName,ActionOwnerAlias\n")
	for i := range n {
		id := fmt.Sprintf("9c1a7e44-1d22-4b0f-8f6e-%012d", i)
		if i%100 == 99 {
			id = "nope"
		}
		fmt.Fprintf(&b, "KAI-%d,%s,%s,App %d,alias\n", i, titleInCSV, id, i)
	}
	file = filepath.Join(t.TempDir(), "export.csv")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Beside a running bot a file goes to that bot, in several batches, and what is
// said of it is what is said of a store that nobody holds.
func TestAFileGoesToTheBotThatHoldsTheStore(t *testing.T) {
	nothingLeft(t)
	file := export(t, 2500)
	alone := map[string]string{"REHOME_STORE": "bolt:" + filepath.Join(shortDir(t), "a.db"), "REHOME_CHANNEL": triage}
	code, want, errs := once(alone, "import", file)
	if code != done || !strings.Contains(want, "export.csv: 2500 records (S360 export): 2475 opened, 25 not understood") {
		t.Fatalf("%d: %s %s", code, want, errs)
	}

	nothing := filepath.Join(t.TempDir(), "none.ndjson")
	if err := os.WriteFile(nothing, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r, _, at := demoUp(t, nil, "--alerts", nothing)
	env := map[string]string{"REHOME_STORE": at}
	code, got, errs := once(env, "import", file)
	if code != done || got != want {
		t.Errorf("%d: beside the bot it says\n%s%s\ninstead of\n%s", code, got, errs, want)
	}
	if _, all, _ := once(env, "list"); !strings.Contains(all, "RH-2475 ") || !strings.Contains(all, "App 2498") {
		t.Errorf("the last of them is not there: %s", cutAt(all, 1000))
	}
	if code, got, _ := once(env, "import", file); code != done || !strings.Contains(got, "2475 known already") {
		t.Errorf("the same again: %d %s", code, got)
	}
	if code, got, errs := once(env, "import", "--dry-run", file); code != done || !strings.Contains(got, "export.csv: 2500 records (S360 export): 2475 known already, 25 not understood\n") {
		t.Errorf("beside the bot a dry run says, with %d: %s%s", code, cutAt(got, 1000), errs)
	}
	if code, got, errs := once(alone, "import", "--dry-run", file); code != done || !strings.Contains(got, "2475 known already") {
		t.Errorf("on a store that nobody holds a dry run says, with %d: %s%s", code, cutAt(got, 1000), errs)
	}
	if code, _, said := once(env, "import", file, "--map", "No such column=app.appId"); code != failed || !strings.Contains(said, "No such column") {
		t.Errorf("what the bot refuses is not said: %d %s", code, said)
	}
	if code := r.stop(); code != done {
		t.Error(r.err.String())
	}
}

// What is in quarantine and can be read now becomes a conversation and leaves.
func TestWhatCanBeReadNowLeavesQuarantine(t *testing.T) {
	path := filepath.Join(shortDir(t), "q.db")
	st, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = st.ApplyAll(t.Context(), store.Batch{Quarantine: []store.Quarantined{
		{At: time.Now(), Source: "http", Why: "an older version did not know it", Body: []byte(`{"id": "X-1", "source": {"system": "other"}, "title": "` + titleInCSV + `", "app": {"displayName": "a"}}`)},
		{At: time.Now(), Source: "http", Why: "it is broken", Body: []byte(`{"id": "X-2"`)},
	}})
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"REHOME_STORE": "bolt:" + path, "REHOME_CHANNEL": triage}
	code, said, errs := once(env, "import", "--quarantined")
	if code != done || !strings.Contains(said, "quarantine:1  opened RH-1\n") || !strings.Contains(said, "quarantine:2  not understood and kept in quarantine; ") {
		t.Errorf("%d: %s%s", code, said, errs)
	}
	if _, left, _ := once(env, "list", "--quarantined"); strings.Contains(left, "an older version") || !strings.Contains(left, "it is broken") {
		t.Errorf("in quarantine is now:\n%s", left)
	}
}

// A bar moves where somebody looks, and leaves nothing behind.
func TestABarShowsHowFarAnImportIs(t *testing.T) {
	screen, tty := openTerminal(t)
	env := map[string]string{"TERM": "xterm-256color", "REHOME_STORE": "bolt:" + filepath.Join(shortDir(t), "b.db"), "REHOME_CHANNEL": triage}
	code := run(t.Context(), []string{"import", export(t, 2500)}, func(name string) string { return env[name] }, stdio{strings.NewReader(""), tty, tty})
	if code != done {
		t.Errorf("it ended with %d", code)
	}
	screen.await("rehome import --quarantined")
	for _, words := range []string{"█░", "1000 records", "100%  2500 records\r\x1b[K"} {
		if !strings.Contains(screen.said(), words) {
			t.Errorf("the screen never shows %q: %q", words, screen.said())
		}
	}
}
