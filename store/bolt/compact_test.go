package bolt_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"rehome/conversation"
	"rehome/store"
	"rehome/store/bolt"
)

// bulky puts a store at path of which most was forgotten.
func bulky(t *testing.T, path string) {
	t.Helper()
	lively(t, path)
	s, err := bolt.Open(path, forTests)
	if err != nil {
		t.Fatal(err)
	}
	var many store.Batch
	for n := range 300 {
		in := opened(1000 + n)
		in.Step = func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
			c.Status, c.Updated, c.Over = conversation.Closed, noon, strings.Repeat("resolved in s360; ", 200)
			return c, nil
		}
		many.Inputs = append(many.Inputs, in)
	}
	if _, err := s.ApplyAll(t.Context(), many); err != nil {
		t.Fatal(err)
	}
	f, err := s.Forget(t.Context(), noon.AddDate(1, 0, 0), noon.AddDate(2, 0, 0))
	if err != nil || f.Conversations != 300 {
		t.Fatal(f, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestACompactedFileIsSmallerAndHasTheSameInIt(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "rehome.db")
	bulky(t, path)
	t.Cleanup(bolt.FewFreePages(100))
	before := examined(t, path)
	if len(before.Notes) != 1 || !strings.Contains(before.Notes[0].What, "pages of it are free") || !strings.Contains(before.Notes[0].Do, "rehome compact") {
		t.Errorf("many free pages are noted as %+v", before.Notes)
	}
	c, err := bolt.Compact(path)
	if err != nil {
		t.Fatal(err)
	}
	after := examined(t, path)
	if c.Before != before.Size || c.After != after.Size || c.After*2 > c.Before || c.FreePages != before.FreePages || c.FreePages < 200 || after.FreePages > 10 {
		t.Errorf("compacted %+v; before %+v, after %+v", c, before, after)
	}
	if len(after.Problems)+len(after.Notes) > 0 || after.Journal.Hash != before.Journal.Hash || after.Conversations != before.Conversations {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if stat, err := os.Stat(path); err != nil || stat.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", stat, err)
	}
	only(t, dir, "rehome.db", "rehome.db.id")
	if got, err := openAt(t, path).Apply(t.Context(), opened(1)); err != nil || got.Fresh || got.Conversation.ID != "RH-1" {
		t.Errorf("an event from before: %+v, %v; want it known", got, err)
	}
	if got, err := openAgain(t, path).Apply(t.Context(), opened(5000)); err != nil || got.Conversation.ID != "RH-310" {
		t.Errorf("the next conversation: %+v, %v; want RH-310", got, err)
	}
}

// openAgain opens a store that an earlier openAt of the test holds.
func openAgain(t *testing.T, path string) *bolt.Store {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "copied.db")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return openAt(t, copied)
}

func TestWhatCannotBeCompactedIsLeftAsItIs(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "rehome.db")
	if _, err := bolt.Compact(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	bulky(t, path)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, broken := range map[string][]byte{
		"flipped": bytes.ReplaceAll(whole, []byte("opened 4"), []byte("opened 3")),
		"cut":     whole[:10*os.Getpagesize()],
	} {
		if err := os.WriteFile(path, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time shows that the first let go of the file
			if _, err := bolt.Compact(path); !errors.Is(err, bolt.ErrDamaged) {
				t.Errorf("%s: %v, want ErrDamaged", name, err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, broken) {
			t.Errorf("%s: the file has changed, %v", name, err)
		}
		only(t, dir, "rehome.db", "rehome.db.id")
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	openAt(t, path)
	if _, err := bolt.Compact(path); !errors.Is(err, bolt.ErrLocked) {
		t.Errorf("a store that is held: %v, want ErrLocked", err)
	}
}

// A bot that waits for the lock while the file is compacted must get the new
// file: what it wrote to the old one would be lost.
func TestWhoeverWaitedWhileAFileWasCompactedGetsTheNewOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rehome.db")
	bulky(t, path)
	var once sync.Once
	s, err := bolt.Open(path, bolt.Opening(forTests, func(name string, flag int, mode os.FileMode) (*os.File, error) {
		f, err := os.OpenFile(name, flag, mode)
		once.Do(func() { // it has the old file and not yet the lock
			if _, err := bolt.Compact(path); err != nil {
				t.Error(err)
			}
		})
		return f, err
	}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(t.Context(), opened(5000)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if found := examined(t, path); found.Conversations != 7 {
		t.Errorf("the file has %d conversations, want 7: what was written went elsewhere", found.Conversations)
	}
}

func TestAFileThatIsMovedAwayWhileItIsOpenedIsNotMadeAnew(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "rehome.db")
	lively(t, path)
	_, err := bolt.Open(path, bolt.Opening(forTests, func(name string, flag int, mode os.FileMode) (*os.File, error) {
		f, err := os.OpenFile(name, flag, mode)
		return f, errors.Join(err, os.Rename(name, name+".moved"))
	}))
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open = %v, want that the file is not there", err)
	}
	only(t, dir, "rehome.db.id", "rehome.db.moved")
	if found := examined(t, path+".moved"); len(found.Problems) > 0 {
		t.Errorf("found %+v", found.Problems)
	}
}
