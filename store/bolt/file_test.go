package bolt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"rehome/conversation"
	"rehome/store"
	"rehome/store/bolt"
)

// holdEnv names the file that a copy of this test program opens and holds until
// its standard input ends.
const holdEnv = "REHOME_TEST_HOLD"

func TestMain(m *testing.M) {
	if path := os.Getenv(holdEnv); path != "" {
		hold(path)
		return
	}
	if path := os.Getenv(draftEnv); path != "" {
		draftForEver(path)
		return
	}
	if path := os.Getenv(scribeEnv); path != "" {
		os.Exit(scribe(path))
	}
	goleak.VerifyTestMain(m)
}

func hold(path string) {
	s, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("holding")
	_, _ = os.Stdin.Read(make([]byte, 1))
	_ = s.Close()
}

// another starts a copy of this test program with a variable, and waits until it
// says a word. It goes on until its standard input is closed.
func another(t *testing.T, env, word string) (other *exec.Cmd, release io.Closer) {
	t.Helper()
	other = exec.Command(os.Args[0])
	other.Env = append(os.Environ(), env)
	release, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, len(word))
	if _, err := io.ReadFull(said, line); err != nil || string(line) != word {
		t.Fatalf("the other process said %q, %v", line, err)
	}
	return other, release
}

func TestAFileHeldByAnotherProcessIsRefusedAndThenOpened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rehome.db")
	other, release := another(t, holdEnv+"="+path, "holding")
	_, err := bolt.Open(path, forTests)
	if !errors.Is(err, bolt.ErrLocked) {
		t.Fatalf("Open = %v, want ErrLocked", err)
	}
	for _, part := range []string{path, "another rehome", "rehome serve", "stop it"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	if err := errors.Join(release.Close(), other.Wait()); err != nil {
		t.Fatal(err)
	}
	openAt(t, path)
}

func TestTheStoreIsForItsOwnerAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "var", "rehome")
	path := filepath.Join(dir, "rehome.db")
	if err := openAt(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil { // as cp leaves a backup put back
		t.Fatal(err)
	}
	openAt(t, path)
	for name, want := range map[string]os.FileMode{dir: 0o700, path: 0o600, path + ".id": 0o600} {
		stat, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := stat.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", name, got, want)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 2 {
		t.Errorf("%d files are there, %v; want the store and its sentinel", len(files), err)
	}
}

// A filled store, as the bytes of its file, for tests that damage it.
func filled(t *testing.T) (path string, whole []byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "rehome.db")
	s := openAt(t, path)
	for i := range 40 {
		_, err := s.Apply(t.Context(), store.Input{Event: fmt.Sprint("e", i), At: time.Now(), Step: func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
			c.Status = conversation.Asking
			c.Notes = []conversation.Note{{}}
			return c, []conversation.Effect{conversation.Show{Card: "root"}, conversation.Record{Text: "opened from a telegram"}}
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, whole
}

func TestWhatIsNoWholeStoreIsRefused(t *testing.T) {
	page := os.Getpagesize()
	for name, test := range map[string]struct {
		damage func(path string, whole []byte) error
		want   error
		say    string
	}{
		"emptied":       {func(path string, _ []byte) error { return os.Truncate(path, 0) }, bolt.ErrDamaged, "restore it from a backup, or remove it and"},
		"gone":          {func(path string, _ []byte) error { return os.Remove(path) }, bolt.ErrForeign, ".id to start empty"},
		"one page":      {func(path string, _ []byte) error { return os.Truncate(path, int64(page)) }, bolt.ErrDamaged, "restore from a backup"},
		"two pages":     {func(path string, _ []byte) error { return os.Truncate(path, int64(2*page)) }, bolt.ErrDamaged, "restore from a backup"},
		"cut in a page": {func(path string, _ []byte) error { return os.Truncate(path, int64(5*page+100)) }, bolt.ErrDamaged, "restore from a backup"},
		"garbage": {func(path string, whole []byte) error {
			return os.WriteFile(path, bytes.Repeat([]byte("no store at all "), len(whole)/16), 0o600)
		}, bolt.ErrDamaged, "restore from a backup"},
		"a line of text": {func(path string, _ []byte) error { return os.WriteFile(path, []byte("hello\n"), 0o600) }, bolt.ErrDamaged, "restore from a backup"},
		"both metas": {func(path string, whole []byte) error {
			for _, meta := range []int{0, page} {
				copy(whole[meta+20:], "damaged by a test")
			}
			return os.WriteFile(path, whole, 0o600)
		}, bolt.ErrDamaged, "restore from a backup"},
		"data pages zeroed": {func(path string, whole []byte) error {
			clear(whole[2*page:])
			return os.WriteFile(path, whole, 0o600)
		}, bolt.ErrDamaged, "restore from a backup"},
		"data pages overwritten": {func(path string, whole []byte) error {
			copy(whole[2*page:], bytes.Repeat([]byte{0xff}, len(whole)))
			return os.WriteFile(path, whole, 0o600)
		}, bolt.ErrDamaged, "restore from a backup"},
		"a page that leads back to itself": {func(path string, whole []byte) error {
			back := 0
			for at := 2 * page; at < len(whole); at += page {
				if whole[at+8] == 1 { // a branch: the page its first key leads to becomes itself
					copy(whole[at+24:at+32], whole[at:at+8])
					back++
				}
			}
			if back == 0 {
				return errors.New("the store is too small to have a branch page")
			}
			return os.WriteFile(path, whole, 0o600)
		}, bolt.ErrDamaged, "restore from a backup"},
		"another program's file": {func(path string, _ []byte) error {
			return errors.Join(os.Remove(path), makeBolt(path, func(t *bbolt.Tx) error {
				_, err := t.CreateBucket([]byte("theirs"))
				return err
			}))
		}, bolt.ErrForeign, "name another file"},
		"another store": {func(path string, _ []byte) error {
			other := path + "-other"
			s, err := bolt.Open(other, forTests)
			if err != nil {
				return err
			}
			return errors.Join(s.Close(), os.Rename(other, path))
		}, bolt.ErrForeign, "put the right file back"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Cleanup(func() { goleak.VerifyNone(t) }) // after the store is closed
			path, whole := filled(t)
			if err := test.damage(path, bytes.Clone(whole)); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second time shows that the first let go of the file
				s, err := bolt.Open(path, forTests)
				if err == nil {
					_ = s.Close()
				}
				if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.say) || !strings.Contains(err.Error(), path) {
					t.Fatalf("Open = %v\nwant %v, naming the file and saying %q", err, test.want, test.say)
				}
			}
			_ = os.Remove(path)
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
			s := openAt(t, path) // the backup put back
			if err := s.Verify(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// usedPages is how many pages of the file bbolt has ever used; the rest is room
// to grow.
func usedPages(t *testing.T, path string) int {
	t.Helper()
	pages := 0
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	err = db.View(func(t *bbolt.Tx) error {
		pages = int(t.Size()) / os.Getpagesize()
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return pages
}

func TestAFileCutAtAnyPageIsRefused(t *testing.T) {
	path, whole := filled(t)
	pages := usedPages(t, path)
	for keep := range pages {
		if err := os.WriteFile(path, whole[:keep*os.Getpagesize()], 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := bolt.Open(path, forTests); !errors.Is(err, bolt.ErrDamaged) {
			if err == nil {
				_ = s.Close()
			}
			t.Errorf("Open of %d of %d pages = %v, want ErrDamaged", keep, pages, err)
		}
	}
}

func TestAPageThatIsZeroedIsFoundAtOnceUnlessNothingUsesIt(t *testing.T) {
	path, whole := filled(t)
	page := os.Getpagesize()
	refused := 0
	for n := 2; n < usedPages(t, path); n++ {
		zeroed := bytes.Clone(whole)
		clear(zeroed[n*page : (n+1)*page])
		if err := os.WriteFile(path, zeroed, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := bolt.Open(path, forTests)
		if err != nil {
			refused++
			if !errors.Is(err, bolt.ErrDamaged) {
				t.Errorf("page %d: Open = %v, want ErrDamaged", n, err)
			}
		} else {
			if err := s.Verify(t.Context()); err != nil {
				t.Errorf("page %d was opened and is damaged: %v", n, err)
			}
			if seen := bolt.SeenKeys(s); seen != 40 {
				t.Errorf("page %d was opened with %d of 40 event keys", n, seen)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if refused < 9 {
		t.Errorf("%d zeroed pages were found, want at least one for each bucket", refused)
	}
}

func TestAnEmptyFileIsNeverTakenForANewStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rehome.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := bolt.Open(path, forTests); !errors.Is(err, bolt.ErrForeign) || !strings.Contains(err.Error(), "remove it to start a new store") {
		t.Errorf("Open of an empty file = %v, want ErrForeign and what to do", err)
	}
}

func TestAStoreWithoutItsSentinelGetsItBack(t *testing.T) {
	path, _ := filled(t)
	before, err := os.ReadFile(path + ".id")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path + ".id"); err != nil {
		t.Fatal(err)
	}
	openAt(t, path)
	if after, err := os.ReadFile(path + ".id"); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the sentinel is %q, %v; want %q", after, err, before)
	}
}

func TestOneMetaPageIsEnough(t *testing.T) {
	for _, meta := range []int{0, 1} {
		path, whole := filled(t)
		copy(whole[meta*os.Getpagesize()+20:], "damaged by a test")
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		openAt(t, path)
	}
}

func TestAFlippedByteIsNeverReadAsTruth(t *testing.T) {
	for bucket, mark := range map[string]string{
		"conversations": `"status":"asking"`, "journal": "opened from a telegram", "deliveries": `"kind":"show"`,
	} {
		t.Run(bucket, func(t *testing.T) {
			path, whole := filled(t)
			// bbolt leaves old pages lying about: each copy is flipped.
			flipped := bytes.ReplaceAll(whole, []byte(mark), append([]byte(mark[:len(mark)-2]), mark[len(mark)-2]^1, mark[len(mark)-1]))
			if bytes.Equal(whole, flipped) {
				t.Fatalf("%q is not in the file", mark)
			}
			if err := os.WriteFile(path, flipped, 0o600); err != nil {
				t.Fatal(err)
			}
			err := readAll(t, path)
			if !errors.Is(err, bolt.ErrDamaged) || !strings.Contains(err.Error(), "in "+bucket) || !strings.Contains(err.Error(), "0000000000000001") {
				t.Errorf("reading it all = %v, want ErrDamaged naming bucket %s and key 1", err, bucket)
			}
		})
	}
}

// readAll opens a store and reads everything, until the first error.
func readAll(t *testing.T, path string) error {
	s, err := bolt.Open(path, forTests)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if err := s.Verify(t.Context()); err == nil {
		t.Error("Verify found nothing")
	}
	if err := s.List(t.Context(), func(conversation.Conversation) bool { return true }); err != nil {
		return err
	}
	_, err = s.Journal(t.Context(), "RH-1")
	return err
}

func TestANewerSchemaIsRefused(t *testing.T) {
	path, _ := filled(t)
	if err := bolt.SetSchema(path, 4); err != nil {
		t.Fatal(err)
	}
	_, err := bolt.Open(path, forTests)
	if !errors.Is(err, bolt.ErrNewer) || !strings.Contains(err.Error(), "schema 4") || !strings.Contains(err.Error(), path) {
		t.Errorf("Open = %v, want ErrNewer naming the file and the schema", err)
	}
}

func makeBolt(path string, fill func(*bbolt.Tx) error) error {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		return err
	}
	return errors.Join(db.Update(fill), db.Close())
}

func TestBadOptionsAndPathsAreRefused(t *testing.T) {
	dir := t.TempDir()
	for what, o := range map[string]bolt.Options{
		"forgetting too soon": {SeenFor: 23 * time.Hour}, "a negative size": {MaxSize: -1}, "a negative wait": {LockTimeout: -1},
	} {
		if _, err := bolt.Open(filepath.Join(dir, "rehome.db"), o); err == nil {
			t.Errorf("a store was opened with %s", what)
		}
	}
	if _, err := bolt.Open(dir, forTests); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Errorf("Open of a folder = %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("refused openings left %v", left)
	}
}

func TestEventKeysAreRememberedForTwoDaysAndThenForgottenLittleByLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "rehome.db")
		s := openAt(t, path)
		apply := func(event string) bool {
			got, err := s.Apply(context.Background(), store.Input{Event: event, At: time.Now(), Step: func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) { return c, nil }})
			if err != nil {
				t.Fatal(err)
			}
			return got.Fresh
		}
		const old = 20
		for i := range old {
			apply(fmt.Sprint("old ", i))
		}
		time.Sleep(47 * time.Hour) // virtual
		for i := range old {
			if apply(fmt.Sprint("old ", i)) {
				t.Fatalf("old %d was forgotten after 47 h", i)
			}
		}
		if n := bolt.SeenKeys(s); n != old {
			t.Fatalf("%d keys are kept, want %d", n, old)
		}
		time.Sleep(2 * time.Hour) // virtual
		for i := range 3 {
			before := bolt.SeenKeys(s)
			apply(fmt.Sprint("new ", i))
			if gone := before + 1 - bolt.SeenKeys(s); gone < 1 || gone > 2 {
				t.Errorf("one event had %d old keys forgotten, want 1 or 2", gone)
			}
		}
		for i := range old {
			apply(fmt.Sprint("newer ", i))
		}
		if n := bolt.SeenKeys(s); n != 3+old {
			t.Errorf("%d keys are kept, want the %d of today", n, 3+old)
		}
		if !apply("old 0") {
			t.Error("old 0 is remembered after 49 h")
		}
		if apply("new 0") {
			t.Error("new 0 was forgotten the same day")
		}

		time.Sleep(49 * time.Hour) // virtual
		var batch store.Batch
		for i := range 10 {
			batch.Inputs = append(batch.Inputs, store.Input{Event: fmt.Sprint("of a batch ", i), At: time.Now(), Step: func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) { return c, nil }})
		}
		if _, err := s.ApplyAll(context.Background(), batch); err != nil {
			t.Fatal(err)
		}
		if n := bolt.SeenKeys(s); n != 3+old+1+10-20 {
			t.Errorf("after a batch of 10, %d keys are kept, want 20 of the %d old ones forgotten", n, 3+old+1)
		}
	})
}
