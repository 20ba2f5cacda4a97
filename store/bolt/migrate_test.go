package bolt_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rehome/conversation"
	"rehome/policy"
	"rehome/store"
	"rehome/store/bolt"
)

// olderFile puts a file there as the rehome of schema 1 wrote it: five
// conversations, all but the fourth about app …0 and …1 in turns; of their
// deliveries the first is put off for an hour, the second was given up and the
// third is done.
func olderFile(t *testing.T) (path string, whole []byte) {
	t.Helper()
	packed, err := os.Open(filepath.Join("testdata", "schema-1.db.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = packed.Close() }()
	unpacked, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	if whole, err = io.ReadAll(unpacked); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "rehome.db")
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, whole
}

func TestAnOlderFileIsBroughtUpToDateAndACopyKept(t *testing.T) {
	path, whole := olderFile(t)
	noon := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	for range 2 { // the second time it is of this version
		s := openAt(t, path)
		if err := s.Verify(t.Context()); err != nil {
			t.Fatal(err)
		}
		for app, want := range map[string][]string{
			"00000000-0000-4000-8000-000000000000": {"RH-1", "RH-3", "RH-5"},
			"00000000-0000-4000-8000-000000000001": {"RH-2"},
		} {
			if got, err := s.About(t.Context(), app, 100); err != nil || !slices.Equal(got, want) {
				t.Errorf("About(%s) = %v, %v; want %v", app, got, err, want)
			}
		}
		all, err := s.Outbox(t.Context(), true)
		if err != nil || len(all) != 9 {
			t.Fatalf("%d deliveries are there, %v; want 9", len(all), err)
		}
		first, second := all[0], all[1]
		if !first.Created.Equal(noon) || !first.Due.Equal(noon.Add(time.Hour)) || !first.MaybeSent.IsZero() || first.LastError != "ratelimited" {
			t.Errorf("the first delivery is read as %+v", first)
		}
		if tell, ok := second.Effect.(conversation.Tell); !ok || !second.Abandoned || tell.To.ID != "U0000000001" || tell.Text.String() != policy.Say("already answered").String() {
			t.Errorf("the second delivery is read as %+v", second)
		}
		if entries, err := s.Journal(t.Context(), "RH-3"); err != nil || len(entries) != 1 || !entries[0].At.Equal(noon.Add(2*time.Minute)) {
			t.Errorf("the journal is read as %+v, %v", entries, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}

	copied := path + ".schema-1"
	if stat, err := os.Stat(copied); err != nil || stat.Mode().Perm() != 0o600 {
		t.Fatalf("the copy: %v, %v; want one for its owner alone", stat, err)
	}
	left, err := filepath.Glob(path + "*")
	if err != nil || len(left) != 3 {
		t.Errorf("there are %v, %v; want the store, its sentinel and the copy", left, err)
	}
	if err := os.Rename(copied, path); err != nil { // as somebody goes back to it
		t.Fatal(err)
	}
	again := openAt(t, path)
	if got, err := again.Apply(t.Context(), store.Input{Event: "e2", Step: func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) { return c, nil }}); err != nil || got.Fresh || got.Conversation.ID != "RH-3" {
		t.Errorf("an event from before = fresh %v, %s, %v; want it known", got.Fresh, got.Conversation.ID, err)
	}
	if bytes.Contains(whole, []byte("quarantined")) {
		t.Error("the file of schema 1 has what schema 2 brought")
	}
}

func TestAnOlderFileIsLeftAsItIsWhenNoCopyCanBeKept(t *testing.T) {
	path, whole := olderFile(t)
	if err := os.MkdirAll(filepath.Join(path+".schema-1", "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := bolt.Open(path, forTests)
		if err == nil || !strings.Contains(err.Error(), path+" is of an older rehome") || !strings.Contains(err.Error(), "left as it is") {
			t.Fatalf("Open = %v, want an error that names the file and says that it was left as it is", err)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, whole) {
			t.Fatalf("the file has changed, %v", err)
		}
	}
	if err := os.RemoveAll(path + ".schema-1"); err != nil {
		t.Fatal(err)
	}
	openAt(t, path)
}

func TestAnOlderFileThatIsDamagedIsNotBroughtUpToDate(t *testing.T) {
	path, whole := olderFile(t)
	broken := bytes.ReplaceAll(whole, []byte(`"status":"asking"`), []byte(`"status":"askinG"`))
	if bytes.Equal(whole, broken) {
		t.Fatal("no conversation is in the file")
	}
	if err := os.WriteFile(path, broken, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := bolt.Open(path, forTests)
		if err == nil || !strings.Contains(err.Error(), "in conversations") || !strings.Contains(err.Error(), "from schema 1 to 2") {
			t.Fatalf("Open = %v, want the record that is damaged", err)
		}
	}
	if got, err := os.ReadFile(path + ".schema-1"); err != nil || !bytes.Contains(got, []byte("askinG")) {
		t.Errorf("the copy is not what was there, %v", err)
	}
}
