package bolt_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"log/slog"
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
	return fileOf(t, 1)
}

// fileOf puts a file there as the rehome of a schema wrote it.
func fileOf(t *testing.T, schema int) (path string, whole []byte) {
	t.Helper()
	packed, err := os.Open(filepath.Join("testdata", fmt.Sprintf("schema-%d.db.gz", schema)))
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
	// Whoever goes back to it restores it: it is a backup as any other.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := bolt.Restore(copied, path, noon); err != nil {
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
		if err == nil || !errors.Is(err, bolt.ErrDamaged) || !strings.Contains(err.Error(), "conversation RH-1") || !strings.Contains(err.Error(), "left as it is") {
			t.Fatalf("Open = %v, want the record that is damaged", err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, broken) {
		t.Errorf("the file is not what was there, %v", err)
	}
	if left, err := filepath.Glob(path + "*"); err != nil || len(left) != 2 {
		t.Errorf("there are %v, %v; want the store and its sentinel: a backup of a damaged store is none", left, err)
	}
}

func TestWhatIsKeptBeforeAFileIsBroughtUpToDateIsCheckedAndSaid(t *testing.T) {
	for schema := 1; schema < 3; schema++ {
		path, _ := fileOf(t, schema)
		var log bytes.Buffer
		o := forTests
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
		for range 2 { // said once
			s, err := bolt.Open(path, o)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		kept := fmt.Sprintf("%s.schema-%d", path, schema)
		if said := log.String(); strings.Count(said, "\n") != 1 || !strings.Contains(said, "backup="+kept) || !strings.Contains(said, fmt.Sprintf("from=%d to=3", schema)) {
			t.Errorf("the log says %q, want one line with the backup", said)
		}
		for _, file := range []string{path, kept} {
			if found, err := bolt.Examine(file); err != nil || len(found.Problems) > 0 {
				t.Errorf("%s: %v, %v; want nothing wrong", file, found.Problems, err)
			}
		}
	}
}

func TestRecordsOfQuarantineThatAreTheSameBecomeOne(t *testing.T) {
	path, _ := fileOf(t, 2)
	s := openAt(t, path)
	all, err := s.Quarantined(t.Context())
	if err != nil || len(all) != 2 {
		t.Fatalf("kept aside: %+v, %v; want two", all, err)
	}
	noon := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	if one := all[0]; one.ID != 1 || one.Count != 3 || !one.At.Equal(noon) || !one.Last.Equal(noon.Add(3*time.Hour)) || one.Why != "no title 3" {
		t.Errorf("what came three times is %+v", one)
	}
	if other := all[1]; other.ID != 2 || other.Count != 1 || !other.Last.Equal(noon.Add(time.Hour)) {
		t.Errorf("what came once is %+v", other)
	}
}
