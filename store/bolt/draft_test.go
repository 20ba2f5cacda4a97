package bolt_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"rehome/store/bolt"
)

// draftEnv names the file that a copy of this test program writes a backup to
// without coming to an end.
const draftEnv = "REHOME_TEST_DRAFT"

func draftForEver(path string) {
	_, err := bolt.Backup(path, noon, func(w io.Writer) error {
		_, err := w.Write(make([]byte, 4096))
		fmt.Println("writing")
		_, _ = os.Stdin.Read(make([]byte, 1))
		return errors.Join(err, errors.New("nobody asked for it any more"))
	})
	fmt.Println(err)
}

// underWay starts a process that is at work on a backup until it is killed.
func underWay(t *testing.T, path string) (kill func()) {
	t.Helper()
	other, release := another(t, draftEnv+"="+path, "writing")
	kill = sync.OnceFunc(func() {
		_ = other.Process.Kill()
		_ = other.Wait() // it was killed
		_ = release.Close()
	})
	t.Cleanup(kill)
	return kill
}

func drafts(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*"+bolt.Unfinished+"*"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// What a killed backup leaves is removed by the next one, under another time as
// well, and said; what a process is at work on is not, whoever asks.
func TestWhatAKilledBackupLeavesIsRemovedByTheNext(t *testing.T) {
	locksFolders(t)
	dir := t.TempDir()
	path := filepath.Join(t.TempDir(), "rehome.db")
	lively(t, path)
	s := openAt(t, path)
	kill := underWay(t, filepath.Join(dir, "rehome-20261120T030000Z.backup"))
	next := func(name string) bolt.Examined {
		t.Helper()
		found, err := backUp(t, s, filepath.Join(dir, name), noon)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	found := next("rehome-20261121T030000Z.backup")
	left := drafts(t, dir)
	if len(left) != 1 || len(found.Swept) != 0 {
		t.Fatalf("while another process is at work on it, %v is there and %v was removed", left, found.Swept)
	}
	kill()
	if found := next("another.backup"); len(found.Swept) != 0 || len(drafts(t, dir)) != 1 {
		t.Errorf("a backup of another name removed %v", found.Swept)
	}
	if found := next("rehome-20261122T030000Z.backup"); fmt.Sprint(found.Swept) != fmt.Sprint(left) || len(drafts(t, dir)) != 0 {
		t.Errorf("the next backup removed %v and left %v, want %v gone", found.Swept, drafts(t, dir), left)
	}
}

// Whoever next makes something of the store removes what was left beside it, and
// nothing else.
func TestWhatWasLeftBesideAStoreIsRemoved(t *testing.T) {
	locksFolders(t)
	var book strings.Builder
	for name, next := range map[string]func(t *testing.T, path string) []string{
		"open": func(t *testing.T, path string) []string {
			o := forTests
			o.Log = slog.New(slog.NewTextHandler(&book, nil))
			s, err := bolt.Open(path, o)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(book.String(), path+".unfinished-123") {
				t.Errorf("the log says %s", book.String())
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return nil
		},
		"compact": func(t *testing.T, path string) []string {
			c, err := bolt.Compact(path)
			if err != nil {
				t.Fatal(err)
			}
			return c.Swept
		},
		"restore": func(t *testing.T, path string) []string {
			away := filepath.Join(t.TempDir(), "moved away")
			if err := os.Rename(path, away); err != nil {
				t.Fatal(err)
			}
			r, err := bolt.Restore(away, path, noon)
			if err != nil {
				t.Fatal(err)
			}
			return r.Swept
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "rehome.db")
			lively(t, path)
			ours := []string{"rehome.db.id.unfinished-7", "rehome.db.schema-2.unfinished-4294967295", "rehome.db.unfinished-123"}
			others := []string{"rehome.db.unfinished-", "rehome.db.unfinished-1.gz", "rehome.db.unfinished-old", "rehome2.db.unfinished-1", "rehomeXdb.unfinished-1"}
			for _, file := range append(ours, others...) {
				if err := os.WriteFile(filepath.Join(dir, file), []byte("left"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Mkdir(path+".unfinished-5", 0o700); err != nil {
				t.Fatal(err)
			}
			swept := next(t, path)
			if name != "open" && len(swept) != len(ours) {
				t.Errorf("it says that it removed %v", swept)
			}
			only(t, dir, "rehome.db", "rehome.db.id", others[0], others[1], "rehome.db.unfinished-5", others[2], others[3], others[4])
		})
	}
}

// A folder that somebody else has locked, as flock(1) in a timer does, is no
// hindrance; only nothing is removed there.
func TestAFolderThatSomebodyHasLockedIsNoHindrance(t *testing.T) {
	locksFolders(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "rehome.db")
	lively(t, path)
	t.Cleanup(bolt.LockFolder(t, dir))
	if err := os.WriteFile(path+".unfinished-1", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if found, err := backUp(t, openAt(t, path), filepath.Join(dir, "to.backup"), noon); err != nil || len(found.Swept) != 0 {
		t.Errorf("it made %+v, %v", found, err)
	}
	only(t, dir, "rehome.db", "rehome.db.id", "rehome.db.unfinished-1", "to.backup")
}

func locksFolders(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		t.Skip("folders are not locked on " + runtime.GOOS + ", and nothing is removed there")
	}
}
