package bolt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rehome/conversation"
	"rehome/store"
	"rehome/store/bolt"
)

// backUp makes a backup of an open store.
func backUp(t *testing.T, s *bolt.Store, to string, at time.Time) (bolt.Examined, error) {
	t.Helper()
	return bolt.Backup(to, at, func(w io.Writer) error {
		f, err := s.Snapshot(t.Context())
		if err != nil {
			return err
		}
		_, err = io.Copy(w, f)
		return errors.Join(err, f.Close())
	})
}

// only fails the test when other files than these are in a folder.
func only(t *testing.T, dir string, names ...string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, f := range files {
		have = append(have, f.Name())
	}
	if fmt.Sprint(have) != fmt.Sprint(names) {
		t.Errorf("the folder has %v, want %v", have, names)
	}
}

func opened(n int) store.Input {
	return store.Input{Event: fmt.Sprint("e", n), At: noon, Step: func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
		c.Status = conversation.Asking
		return c, []conversation.Effect{conversation.Show{Card: "root"}, conversation.Record{Text: "opened"}}
	}}
}

// While events come in without a pause, each backup is the store as it was at
// one moment: as many conversations as deliveries, entries and keys.
func TestABackupWhileWritesGoOnIsOfOneMoment(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, filepath.Join(dir, "rehome.db"))
	var many store.Batch // so that copying takes a while
	for n := range 1000 {
		in := opened(-1 - n)
		in.Step = func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
			c.Over = strings.Repeat("resolved in s360; ", 400)
			return c, []conversation.Effect{conversation.Show{Card: "root"}, conversation.Record{Text: "opened"}}
		}
		many.Inputs = append(many.Inputs, in)
	}
	if _, err := s.ApplyAll(t.Context(), many); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				if _, err := s.Apply(context.WithoutCancel(ctx), opened(w*1_000_000+n)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	last := 0
	for i := 0; i < 5 || last == 0; i++ {
		path := filepath.Join(dir, fmt.Sprint("backup ", i))
		found, err := backUp(t, s, path, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if n := found.Conversations; n < last || found.Deliveries != n || found.Journal.Entries != n || int(found.Journal.Last) != n || len(found.Problems) > 0 {
			t.Errorf("backup %d has %+v, and the one before %d conversations", i, found, last)
		}
		last = found.Conversations
	}
	stop()
	writers.Wait()
}

func TestABackupIsForItsOwnerAloneAndOverwritesNothing(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) }) // after the store is closed
	dir := t.TempDir()
	lively(t, filepath.Join(dir, "rehome.db"))
	s := openAt(t, filepath.Join(dir, "rehome.db"))
	to := filepath.Join(dir, "to.backup")
	found, err := backUp(t, s, to, noon)
	if err != nil {
		t.Fatal(err)
	}
	stat, err := os.Stat(to)
	if err != nil || stat.Mode().Perm() != 0o600 || stat.Size() != found.Size || found.Path != to {
		t.Errorf("the backup is %v, %v; found %+v", stat, err, found)
	}
	if found.BackupOf == nil || !found.BackupOf.Equal(noon) || found.Conversations != 6 || found.Journal.Last != 13 {
		t.Errorf("the backup says %+v", found)
	}
	before, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := backUp(t, s, to, noon); !errors.Is(err, bolt.ErrExists) || !strings.Contains(err.Error(), "name another file") {
		t.Errorf("over a file that is there: %v, want ErrExists and what to do", err)
	}
	if after, err := os.ReadFile(to); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file that was there has changed, %v", err)
	}
	if _, err := backUp(t, s, filepath.Join(dir, "no", "such", "folder"), noon); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("into no folder: %v", err)
	}
	only(t, dir, "rehome.db", "rehome.db.id", "to.backup")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Snapshot(t.Context()); !errors.Is(err, store.ErrClosed) {
		t.Errorf("of a closed store: %v, want ErrClosed", err)
	}
	only(t, dir, "rehome.db", "rehome.db.id", "to.backup")
}

// A copy that breaks off, or is of a damaged store, is no backup.
func TestWhatIsNotWholeDoesNotBecomeABackup(t *testing.T) {
	dir := t.TempDir()
	from := filepath.Join(dir, "rehome.db")
	lively(t, from)
	whole, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the pipe broke")
	for name, test := range map[string]struct {
		copy func(w io.Writer) error
		want error
	}{
		"an error": {func(w io.Writer) error { _, _ = w.Write(whole[:5000]); return broken }, broken},
		"nothing":  {func(io.Writer) error { return nil }, bolt.ErrDamaged},
		"a part":   {func(w io.Writer) error { _, err := w.Write(whole[:3*os.Getpagesize()]); return err }, bolt.ErrDamaged},
		"a wrong byte": {func(w io.Writer) error {
			_, err := w.Write(bytes.ReplaceAll(whole, []byte("opened 4"), []byte("opened 3")))
			return err
		}, bolt.ErrDamaged},
	} {
		if _, err := bolt.Backup(filepath.Join(dir, "to.backup"), noon, test.copy); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
		only(t, dir, "rehome.db", "rehome.db.id")
	}
}

func TestABackupIsNotOpenedAsAStore(t *testing.T) {
	dir := t.TempDir()
	lively(t, filepath.Join(dir, "rehome.db"))
	to := filepath.Join(dir, "to.backup")
	if _, err := backUp(t, openAt(t, filepath.Join(dir, "rehome.db")), to, noon); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := bolt.Open(to, forTests); !errors.Is(err, bolt.ErrBackup) || !strings.Contains(err.Error(), "2026-05-04 12:00:00Z") || !strings.Contains(err.Error(), "rehome restore") {
			t.Errorf("Open = %v, want ErrBackup, of when, and what to do", err)
		}
	}
	only(t, dir, "rehome.db", "rehome.db.id", "to.backup")
}

// The bot goes on after a restoration: what waited may have been said, numbers
// that people have seen are not given out again, and the journal tells.
func TestABackupIsRestoredAndTheBotGoesOn(t *testing.T) {
	dir := t.TempDir()
	from := filepath.Join(dir, "rehome.db")
	lively(t, from)
	s := openAt(t, from)
	waiting, err := s.Outbox(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Begin(t.Context(), waiting[1], noon.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	made := noon.Add(time.Hour)
	to := filepath.Join(dir, "to.backup")
	was, err := backUp(t, s, to, made)
	if err != nil {
		t.Fatal(err)
	}
	// The world goes on: something is said, something opened.
	if err := s.Settle(t.Context(), store.Settled{Delivery: waiting[0], Outcome: store.Outcome{At: made}}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Apply(t.Context(), opened(10)); err != nil || got.Conversation.ID != "RH-10" {
		t.Fatal(got, err)
	}
	backup, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}

	again := filepath.Join(dir, "again", "rehome.db")
	r, err := bolt.Restore(to, again, made.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if r.Next != "RH-20001" || r.From != to || r.Of != "2026-05-04 13:00:00Z" || r.Path != again || r.BackupOf != nil || r.Deliveries != 5 || r.Conversations != 6 || len(r.Problems)+len(r.Notes) > 0 {
		t.Errorf("restored %+v", r)
	}
	if r.Journal.Last != was.Journal.Last+1 {
		t.Errorf("the journal ends with %d, want one more than the backup's %d", r.Journal.Last, was.Journal.Last)
	}
	only(t, filepath.Dir(again), "rehome.db", "rehome.db.id")
	for _, name := range []string{again, again + ".id"} {
		if stat, err := os.Stat(name); err != nil || stat.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, stat, err)
		}
	}
	if after, err := os.ReadFile(to); err != nil || !bytes.Equal(backup, after) {
		t.Errorf("the backup has changed, %v", err)
	}

	restored := openAt(t, again)
	all, err := restored.Outbox(t.Context(), true)
	if err != nil || len(all) != 6 {
		t.Fatalf("%d deliveries are there, %v; want 6", len(all), err)
	}
	for _, d := range all {
		want := made // whoever looks for it looks from there on
		switch {
		case d.Abandoned:
			want = time.Time{}
		case d.ID == waiting[1].ID:
			want = noon.Add(time.Minute)
		}
		if !d.MaybeSent.Equal(want) {
			t.Errorf("delivery %d may have been made since %s, want %s", d.ID, d.MaybeSent, want)
		}
	}
	if got, err := restored.Apply(t.Context(), opened(10)); err != nil || !got.Fresh || got.Conversation.ID != "RH-20001" {
		t.Errorf("what came after the backup, again: %+v, %v; want it new as RH-20001", got, err)
	}
	if got, err := restored.Apply(t.Context(), opened(9)); err != nil || got.Fresh || got.Conversation.ID != "RH-9" {
		t.Errorf("what came before the backup, again: %+v, %v; want it known", got, err)
	}
	var ids []string
	if err := restored.List(t.Context(), func(c conversation.Conversation) bool { ids = append(ids, c.ID); return true }); err != nil || fmt.Sprint(ids) != "[RH-4 RH-5 RH-6 RH-7 RH-8 RH-9 RH-20001]" {
		t.Errorf("there are %v, %v", ids, err)
	}
	// What conversations of the backup show from now on may have been shown since.
	for id, want := range map[string]time.Time{"RH-9": made, "RH-20001": {}} {
		in := opened(0)
		in.Event, in.Conversation = "more of "+id, id
		if _, err := restored.Apply(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		if all, err = restored.Outbox(t.Context(), false); err != nil || !all[len(all)-1].MaybeSent.Equal(want) {
			t.Errorf("what %s shows then may have been shown since %s, %v; want %s", id, all[len(all)-1].MaybeSent, err, want)
		}
	}
	lines, err := restored.Journal(t.Context(), "")
	if err != nil || len(lines) != 5 || lines[4].Event != store.EventRestore || !strings.Contains(lines[4].Text, "the backup of 2026-05-04 13:00:00Z") || !strings.Contains(lines[4].Text, "since: 5;") || !strings.Contains(lines[4].Text, "RH-20001") {
		t.Errorf("the store's own journal is %+v, %v", lines, err)
	}
	if err := restored.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

// A copy that was made by hand does not say when: what waited may have been said
// since it was written down.
func TestAPlainCopyIsRestoredToo(t *testing.T) {
	dir := t.TempDir()
	from := filepath.Join(dir, "rehome.db")
	lively(t, from)
	again := filepath.Join(dir, "again.db")
	r, err := bolt.Restore(from, again, noon.AddDate(1, 0, 0))
	if err != nil || r.Of != "" || r.Next != "RH-20001" {
		t.Fatalf("restored %+v, %v", r, err)
	}
	s := openAt(t, again)
	all, err := s.Outbox(t.Context(), false)
	if err != nil || len(all) != 5 {
		t.Fatal(all, err)
	}
	for _, d := range all {
		if !d.MaybeSent.Equal(noon) {
			t.Errorf("delivery %d may have been made since %s, want since it was created", d.ID, d.MaybeSent)
		}
	}
}

func TestARestorationIsRefusedWhereItCouldDoHarm(t *testing.T) {
	dir := t.TempDir()
	from := filepath.Join(dir, "rehome.db")
	lively(t, from)
	to := filepath.Join(dir, "to.backup")
	if _, err := backUp(t, openAt(t, from), to, noon); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(dir, "new", "rehome.db")
	refused := func(name, path string, want error, say string) {
		t.Helper()
		if _, err := bolt.Restore(to, path, noon); !errors.Is(err, want) || !strings.Contains(err.Error(), say) {
			t.Errorf("%s: %v, want %v saying %q", name, err, want, say)
		}
	}
	refused("over a store", from, bolt.ErrExists, "nothing is overwritten")
	for name, broken := range map[string][]byte{
		"cut": whole[:len(whole)-os.Getpagesize()], "emptied": nil, "flipped": bytes.ReplaceAll(whole, []byte("opened 4"), []byte("opened 3")),
	} {
		if err := os.WriteFile(to, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		refused(name, at, bolt.ErrDamaged, "the store is damaged: ")
		only(t, filepath.Dir(at))
	}
	if err := os.WriteFile(to, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at+".id", []byte("another\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("where another store was", at, bolt.ErrForeign, "another store was here")
	only(t, filepath.Dir(at), "rehome.db.id")
	id, err := os.ReadFile(from + ".id")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at+".id", id, 0o600); err != nil { // the file is lost, its sentinel is not
		t.Fatal(err)
	}
	if _, err := bolt.Restore(to, at, noon); err != nil {
		t.Error(err)
	}
	openAt(t, at)
}

// A store that finds no room must stop, so that nothing takes the last of it.
func TestACopyLeavesRoomOnTheDisk(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "rehome.db")
	lively(t, path)
	s := openAt(t, path)
	t.Cleanup(bolt.NoRoom())
	if _, err := backUp(t, s, filepath.Join(dir, "to.backup"), noon); err == nil || !strings.Contains(err.Error(), "3 MiB left") || !strings.Contains(err.Error(), "make room there") {
		t.Errorf("a backup where there is no room: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := bolt.Compact(path); err == nil || !strings.Contains(err.Error(), "3 MiB left") {
		t.Errorf("compacting where there is no room: %v", err)
	}
	only(t, dir, "rehome.db", "rehome.db.id")
}
