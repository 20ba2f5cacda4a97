package bolt_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rehome/conversation"
	"rehome/store"
	"rehome/store/bolt"
)

// ballast is an alert that takes up room.
func ballast(event string, size int) store.Input {
	return store.Input{Event: event, Finding: "finding " + event, At: time.Now(), Step: func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
		c.Violation.Title = strings.Repeat("x", size)
		return did(event)(c)
	}}
}

// fill takes alerts in until there is no more room, and returns those it took.
func fill(t *testing.T, s *bolt.Store, name string, size int) (took []store.Applied) {
	t.Helper()
	for n := range 1000 {
		got, err := s.Apply(t.Context(), ballast(fmt.Sprint(name, n), size))
		if errors.Is(err, store.ErrFull) {
			return took
		}
		if err != nil {
			t.Fatal(err)
		}
		took = append(took, got)
	}
	t.Fatal("there is always room")
	return nil
}

// goesOn shows that all but what is new still works in a store without room.
func goesOn(t *testing.T, s *bolt.Store, took []store.Applied) {
	t.Helper()
	if err := s.Room(); !errors.Is(err, store.ErrFull) || !strings.Contains(err.Error(), "under way") {
		t.Errorf("Room = %v, want ErrFull and what to do", err)
	}
	if err := s.Remember(t.Context(), "somebody's choice", "daily"); err != nil {
		t.Errorf("Remember = %v", err)
	}
	if _, err := s.ApplyAll(t.Context(), store.Batch{Quarantine: []store.Quarantined{{Source: "http", Body: []byte("{}")}}}); !errors.Is(err, store.ErrFull) {
		t.Errorf("a record to be kept aside = %v, want ErrFull", err)
	}
	for i, was := range took {
		id := was.Conversation.ID
		mark := was.Conversation.Related[0]
		if got, err := s.Apply(t.Context(), ballast(mark, 10)); err != nil || got.Fresh || got.Conversation.ID != id {
			t.Errorf("%s sent again: fresh %v, %s, %v; want what it opened", mark, got.Fresh, got.Conversation.ID, err)
		}
		if _, err := s.Apply(t.Context(), store.Input{Event: fmt.Sprint("answer ", mark), Conversation: id, At: time.Now(), Step: func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
			return c, []conversation.Effect{conversation.Record{Text: "answered"}}
		}}); err != nil {
			t.Errorf("an answer in %s, the %d. of %d: %v", id, i+1, len(took), err)
		}
		waits, err := s.Line(t.Context(), id+"/tell/"+mark)
		if err != nil || len(waits) != 1 {
			t.Fatalf("%d deliveries of %s wait, %v", len(waits), id, err)
		}
		if err := errors.Join(s.Begin(t.Context(), waits[0], time.Now()), s.Settle(t.Context(), store.Settled{Delivery: waits[0]})); err != nil {
			t.Errorf("a delivery of %s, the %d. of %d: %v", id, i+1, len(took), err)
		}
	}
}

func TestAStoreNearItsLimitRefusesWhatIsNewAndGoesOnWithTheRest(t *testing.T) {
	for name, limit := range map[string]int{"small": 4 << 20, "grown in steps": 48 << 20} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "rehome.db")
			s, err := bolt.Open(path, bolt.Options{MaxSize: limit, MapSize: limit})
			if err != nil {
				t.Fatal(err)
			}
			took := fill(t, s, "e", limit/200)
			if len(took) < 20 {
				t.Fatalf("only %d alerts of %d bytes fitted into %d", len(took), limit/200, limit)
			}
			goesOn(t, s, took)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if stat, err := os.Stat(path); err != nil || stat.Size() > int64(limit) {
				t.Errorf("the file has %d bytes, %v; it may have %d", stat.Size(), err, limit)
			}
			s, err = bolt.Open(path, bolt.Options{MaxSize: 2 * limit, MapSize: limit})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			if got, err := s.Apply(t.Context(), ballast("more", 10)); err != nil || !got.Fresh {
				t.Errorf("with twice the limit: fresh %v, %v", got.Fresh, err)
			}
			if err := s.Verify(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRoomThatIsMadeIsUsedAtOnce(t *testing.T) {
	s, err := bolt.Open(filepath.Join(t.TempDir(), "rehome.db"), bolt.Options{MaxSize: 4 << 20, MapSize: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for n := 0; s.Room() == nil; n++ {
		body := []byte(strings.Repeat("x", 50_000))
		if _, err := s.ApplyAll(t.Context(), store.Batch{Quarantine: []store.Quarantined{{Source: fmt.Sprint(n), Body: body}}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Apply(t.Context(), ballast("e", 10)); !errors.Is(err, store.ErrFull) {
		t.Fatalf("Apply = %v, want ErrFull", err)
	}
	kept, err := s.Quarantined(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range kept {
		if _, err := s.ApplyAll(t.Context(), store.Batch{Release: []uint64{q.ID}}); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.Apply(t.Context(), ballast("e", 10)); err != nil || !got.Fresh {
		t.Errorf("after %d records were let go: fresh %v, %v", len(kept), got.Fresh, err)
	}
}

// smallDisk returns a folder on a disk of that many bytes, or skips the test.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	at := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprint("size=", size), "rehome-test", at).CombinedOutput(); err != nil {
		t.Skipf("no small disk can be mounted here, which takes root (refused writes are tried with strace all the same): %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", at).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return at
}

// press fills a disk with another file until so many bytes are left.
func press(t *testing.T, disk string, leave int64) {
	t.Helper()
	f, err := os.Create(filepath.Join(disk, "other"))
	if err != nil {
		t.Fatal(err)
	}
	for bolt.FreeOn(disk) > leave {
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestADiskThatSomebodyElseFillsUpIsOutlived(t *testing.T) {
	disk := smallDisk(t, 16<<20)
	path := filepath.Join(disk, "rehome.db")
	// The file does not grow in large steps where its map is small.
	o := bolt.Options{Headroom: 4 << 20, MapSize: 2 << 20, LockTimeout: time.Second}
	s, err := bolt.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	took := fill(t, s, "e", 100_000)
	goesOn(t, s, took)
	if err := errors.Join(s.Close(), os.WriteFile(filepath.Join(disk, "reserve"), make([]byte, 1<<20), 0o600)); err != nil {
		t.Fatal(err)
	}

	// Now to the last page. What is written still may or may not find a place; if
	// it does not, the store stops, and starts again.
	press(t, disk, 0)
	if s, err = bolt.Open(path, o); err != nil {
		t.Fatalf("Open on a full disk = %v", err)
	}
	if _, err := s.Apply(t.Context(), ballast("new", 10)); !errors.Is(err, store.ErrFull) {
		t.Errorf("something new on a full disk = %v, want ErrFull", err)
	}
	var last error
	answers := 0
	for ; last == nil && answers < 10_000; answers++ {
		_, last = s.Apply(t.Context(), store.Input{Event: fmt.Sprint("answer to all ", answers), Conversation: took[0].Conversation.ID, At: time.Now(), Step: func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
			return c, []conversation.Effect{conversation.Record{Text: strings.Repeat("a", 10_000)}}
		}})
	}
	if !errors.Is(last, store.ErrUncertain) {
		t.Fatalf("the %d. answer on a full disk = %v, want ErrUncertain", answers, last)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	if err := os.Remove(filepath.Join(disk, "other")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(disk, "reserve")); err != nil {
		t.Fatal(err)
	}
	if err := whole(path); err != nil {
		t.Error(err)
	}
	if s, err = bolt.Open(path, o); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	journal, err := s.Journal(t.Context(), took[0].Conversation.ID)
	if err != nil || len(journal) < answers-1 || len(journal) > answers+2 {
		t.Errorf("%d entries, %v; %d answers were acknowledged", len(journal), err, answers-1)
	}
	if err := s.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestADiskWithRoomAgainIsUsedWithoutARestart(t *testing.T) {
	disk := smallDisk(t, 16<<20)
	s, err := bolt.Open(filepath.Join(disk, "rehome.db"), bolt.Options{Headroom: 4 << 20, MapSize: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for n := range 3 {
		press(t, disk, 3<<20)
		if _, err := s.Apply(t.Context(), ballast(fmt.Sprint(n), 10)); !errors.Is(err, store.ErrFull) || !strings.Contains(err.Error(), "3 MiB") || !strings.Contains(err.Error(), disk) {
			t.Errorf("Apply with 3 MiB left = %v, want ErrFull, how much is left and where", err)
		}
		if err := os.Remove(filepath.Join(disk, "other")); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Apply(t.Context(), ballast(fmt.Sprint(n), 10)); err != nil || !got.Fresh {
			t.Errorf("Apply with room again: fresh %v, %v", got.Fresh, err)
		}
	}
}
