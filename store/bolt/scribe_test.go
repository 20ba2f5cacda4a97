package bolt_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"rehome/conversation"
	"rehome/store"
	"rehome/store/bolt"
)

// A scribe is a copy of this test program that writes to a store and says, for
// each thing it was told is durable, a line on its standard output. It is run
// under strace, which sees or breaks what it asks of the disk; what it said is
// then held against what is in the file.

var (
	everything = flag.Bool("all", false, "crash images and I/O errors: all of them, not a sample")
	seedFlag   = flag.Int64("seed", 0, "seed of what is drawn by lot; 0 draws one")
)

// seed returns the seed of this run, and has it stand in the test's output.
func seed(t *testing.T) int64 {
	t.Helper()
	s := *seedFlag
	if s == 0 {
		s = time.Now().UnixNano()
	}
	t.Logf("seed %d", s)
	return s
}

// The environment of a scribe.
const (
	scribeEnv = "REHOME_TEST_SCRIBE" // file to write to
	rashEnv   = "REHOME_TEST_RASH"   // not empty: nothing is synced
)

// A scribe has so many hands, which write at once, and each does so many things.
const (
	hands = 3
	deeds = 22
)

// smallMap makes the file grow often.
var smallMap = bolt.Options{MapSize: 32 << 10, LockTimeout: time.Second}

func scribe(path string) int {
	o := smallMap
	if os.Getenv(rashEnv) != "" {
		o = bolt.Unsynced(o)
	}
	s, err := bolt.Open(path, o)
	if err != nil {
		fmt.Println("cannot open:", err)
		return 1
	}
	var all sync.WaitGroup
	errs := make([]error, hands)
	for i := range hands {
		h := &hand{store: s, name: string(rune('a' + i)), left: map[string]string{}}
		all.Go(func() {
			errs[i] = h.write()
			if errs[i] == nil {
				return
			}
			// The store has failed. It may not go on as if nothing were.
			for n := range 3 {
				if err := h.open("late" + strconv.Itoa(n)); !errors.Is(err, store.ErrUncertain) {
					errs[i] = fmt.Errorf("after %w it went on: %w", errs[i], err)
				}
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		fmt.Println("stopped:", strings.ReplaceAll(err.Error(), "\n", " AND "))
		return 1
	}
	if err := s.Close(); err != nil {
		fmt.Println("cannot close:", err)
		return 1
	}
	return 0
}

// A hand writes one thing after the other.
type hand struct {
	store *bolt.Store
	name  string
	last  string            // conversation it opened last
	left  map[string]string // what is to be settled: its mark → conversation
	marks []string          // of left, oldest first
}

func (h *hand) write() error {
	for n := range deeds {
		mark := h.name + strconv.Itoa(n)
		deed := []func(string) error{h.open, h.batch, h.goOn, h.settle, h.keep, h.putOff, h.giveUp, h.settle}[n%8]
		if err := deed(mark); err != nil {
			return err
		}
	}
	return nil
}

// say says at once that things are durable.
func say(lines ...string) { fmt.Println(strings.Join(lines, "\n")) }

// did is a step that leaves one mark of each kind.
func did(mark string) store.Step {
	return func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
		c.Related = append(c.Related, mark)
		return c, []conversation.Effect{
			conversation.Tell{To: conversation.Person{ID: mark}}, conversation.Record{Text: "did " + mark},
		}
	}
}

func (h *hand) open(mark string) error {
	return h.apply(store.Input{Event: mark, At: time.Now(), Step: did(mark)})
}

func (h *hand) goOn(mark string) error {
	return h.apply(store.Input{Event: mark, Conversation: h.last, At: time.Now(), Step: did(mark)})
}

func (h *hand) apply(in store.Input) error {
	got, err := h.store.Apply(context.Background(), in)
	if err != nil {
		return err
	}
	h.leave(in.Event, got)
	say("did " + in.Event)
	return nil
}

func (h *hand) leave(mark string, got store.Applied) {
	h.last = got.Conversation.ID
	h.left[mark] = h.last
	h.marks = append(h.marks, mark)
}

// inBatch is how many alerts a batch holds.
const inBatch = 4

func batchOf(mark string) (b store.Batch) {
	for i := range inBatch {
		m := mark + "." + strconv.Itoa(i)
		b.Inputs = append(b.Inputs, store.Input{Event: m, Finding: "finding " + m, At: time.Now(), Step: did(m)})
	}
	b.Quarantine = []store.Quarantined{{Source: mark, Why: "it is no violation", Body: []byte("{}")}}
	return b
}

func (h *hand) batch(mark string) error {
	b := batchOf(mark)
	got, err := h.store.ApplyAll(context.Background(), b)
	if err != nil {
		return err
	}
	lines := []string{"aside " + mark}
	for i, in := range b.Inputs {
		h.leave(in.Event, got[i])
		lines = append(lines, "did "+in.Event)
	}
	say(lines...)
	return nil
}

func (h *hand) keep(mark string) error {
	if err := h.store.Remember(context.Background(), mark, "kept"); err != nil {
		return err
	}
	say("kept " + mark)
	return nil
}

func (h *hand) settle(string) error {
	mark := h.marks[0]
	return h.end("settled ", true, store.Outcome{At: time.Now(), Step: func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
		c.Related = append(c.Related, "settled "+mark)
		return c, []conversation.Effect{conversation.Record{Text: "settled " + mark}}
	}})
}

func (h *hand) putOff(string) error {
	return h.end("put off ", false, store.Outcome{At: time.Now(), RetryAt: time.Now().Add(time.Hour), Error: "ratelimited"})
}

func (h *hand) giveUp(string) error {
	return h.end("gave up ", true, store.Outcome{At: time.Now(), Abandoned: true, Error: "is_archived"})
}

// end settles what is oldest of what this hand has left to settle.
func (h *hand) end(what string, gone bool, o store.Outcome) error {
	ctx, mark := context.Background(), h.marks[0]
	waits, err := h.store.Line(ctx, h.left[mark]+"/tell/"+mark)
	if err != nil {
		return err
	}
	if len(waits) != 1 {
		return fmt.Errorf("%d deliveries of %s wait, not one", len(waits), mark)
	}
	if err := h.store.Begin(ctx, waits[0], time.Now()); err != nil {
		return err
	}
	if err := h.store.Settle(ctx, store.Settled{Delivery: waits[0], Outcome: o}); err != nil {
		return err
	}
	if gone {
		h.marks = h.marks[1:]
	}
	say(what + mark)
	return nil
}

// A found is what is in a store of a scribe's.
type found struct {
	entries, marks, waiting, gone, late, aside map[string]int
	kept                                       map[string]string
}

// audit opens a store that a scribe wrote, as a restart does, and returns what
// is wrong with it: damage, what was said to be durable and is not there, what is
// there in part or twice. It sends every event again; with sendAll also those
// that were never said to be there. bbolt's own check of its pages comes on top
// with pages: of a file that was never synced it may not come to an end.
func audit(ctx context.Context, path string, said map[string]bool, sendAll, pages bool) (err error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && len(said) > 0 {
		return fmt.Errorf("%d things were said to be durable, and there is no file", len(said))
	} else if err == nil && pages {
		if err := whole(path); err != nil {
			return fmt.Errorf("bbolt's own check: %w", err)
		}
	}
	s, err := bolt.Open(path, smallMap)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.Verify(ctx); err != nil {
		return err
	}
	f, err := find(ctx, s)
	if err != nil {
		return err
	}
	if err := errors.Join(f.holds(said), f.once()); err != nil {
		return err
	}
	if err := f.sendAgain(ctx, s, said, sendAll); err != nil {
		return err
	}
	if !sendAll {
		return nil
	}
	if f, err = find(ctx, s); err != nil {
		return err
	}
	return errors.Join(f.holds(said), f.once(), s.Verify(ctx))
}

// whole runs bbolt's check of pages.
func whole(path string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panicked: %v", r)
		}
	}()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, ReadOnly: true})
	if err != nil {
		return err
	}
	err = db.View(func(t *bbolt.Tx) (all error) {
		for err := range t.Check() {
			all = errors.Join(all, err)
		}
		return all
	})
	return errors.Join(err, db.Close())
}

func find(ctx context.Context, s *bolt.Store) (f found, err error) {
	f = found{map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}, nil}
	err = s.List(ctx, func(c conversation.Conversation) bool {
		for _, mark := range c.Related {
			f.marks[mark]++
		}
		entries, err := s.Journal(ctx, c.ID)
		if err != nil {
			f.entries[err.Error()] = -1
		}
		for _, e := range entries {
			f.entries[e.Text]++
		}
		return true
	})
	if err != nil {
		return f, err
	}
	deliveries, err := s.Outbox(ctx, true)
	if err != nil {
		return f, err
	}
	for _, d := range deliveries {
		mark := d.Effect.(conversation.Tell).To.ID
		if d.Abandoned {
			f.gone[mark]++
		} else {
			f.waiting[mark]++
			f.late[mark] += d.Attempts
		}
	}
	aside, err := s.Quarantined(ctx)
	if err != nil {
		return f, err
	}
	for _, q := range aside {
		f.aside[q.Source]++
	}
	f.kept, err = s.Recall(ctx, "")
	return f, err
}

// holds returns what was said to be durable and is not there.
func (f found) holds(said map[string]bool) error {
	for line := range said {
		at := strings.LastIndexByte(line, ' ')
		what, mark := line[:at], line[at+1:]
		var there bool
		switch what {
		case "did", "settled":
			there = f.entries[line] == 1
		case "gave up":
			there = f.gone[mark] == 1
		case "put off":
			there = f.late[mark] > 0 || f.gone[mark]+f.entries["settled "+mark] > 0
		case "kept":
			there = f.kept[mark] == "kept"
		case "aside":
			there = f.aside[mark] == 1
		}
		if !there {
			return fmt.Errorf("%q was said to be durable, and is not there", line)
		}
	}
	return nil
}

// once returns what is there in part or more than once.
func (f found) once() error {
	for text, n := range f.entries {
		mark, opened := strings.CutPrefix(text, "did ")
		if !opened {
			mark = text
		}
		if n != 1 || f.marks[mark] != 1 {
			return fmt.Errorf("%q stands in the journal %d times, in the conversation %d times", text, n, f.marks[mark])
		}
		if opened && f.waiting[mark]+f.gone[mark]+f.entries["settled "+mark] != 1 {
			return fmt.Errorf("of %s %d deliveries wait, %d were given up, %d settled; want one in all", mark, f.waiting[mark], f.gone[mark], f.entries["settled "+mark])
		}
		if of, _, batch := strings.Cut(mark, "."); opened && batch {
			for i := range inBatch {
				if f.entries["did "+of+"."+strconv.Itoa(i)] != 1 || f.aside[of] != 1 {
					return fmt.Errorf("batch %s is there in part", of)
				}
			}
		}
	}
	if len(f.marks) != len(f.entries) {
		return fmt.Errorf("conversations hold %d marks, the journal %d", len(f.marks), len(f.entries))
	}
	return nil
}

// sendAgain sends what is there, which must have no effect, and with all the
// rest of what any scribe may have sent, which must have its effect now.
func (f found) sendAgain(ctx context.Context, s *bolt.Store, said map[string]bool, all bool) error {
	marks := map[string]bool{}
	for text := range maps.Keys(f.entries) {
		if mark, ok := strings.CutPrefix(text, "did "); ok {
			marks[mark] = true
		}
	}
	if all {
		for i := range hands {
			for n := range deeds {
				switch mark := string(rune('a'+i)) + strconv.Itoa(n); n % 8 {
				case 0, 2:
					marks[mark] = true
				case 1:
					if marks[mark+".0"] {
						continue
					}
					if got, err := s.ApplyAll(ctx, batchOf(mark)); err != nil || !got[inBatch-1].Fresh {
						return fmt.Errorf("batch %s, sent again: %w", mark, err)
					}
				}
			}
		}
	}
	for _, mark := range slices.Sorted(maps.Keys(marks)) {
		got, err := s.Apply(ctx, store.Input{Event: mark, At: time.Now(), Step: did(mark)})
		if err != nil {
			return fmt.Errorf("%s, sent again: %w", mark, err)
		}
		if known := f.entries["did "+mark] > 0; got.Fresh == known {
			return fmt.Errorf("%s, sent again, had an effect: %v; it was there: %v", mark, got.Fresh, known)
		}
	}
	return nil
}

// tracer returns a command that runs a scribe on path under strace, or skips
// the test where that cannot be.
func tracer(t *testing.T, path string, strace ...string) *exec.Cmd {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("strace is not installed, so nobody sees or breaks what the store asks of the disk: apt-get install strace")
	}
	if out, err := exec.Command("strace", "-qq", "-e", "trace=none", "true").CombinedOutput(); err != nil {
		t.Skipf("strace may not trace here: %v: %s", err, out)
	}
	c := exec.Command("strace", append(append([]string{"-f", "-qq", "-e", "signal=none"}, strace...), os.Args[0])...)
	c.Env = append(os.Environ(), scribeEnv+"="+path)
	return c
}
