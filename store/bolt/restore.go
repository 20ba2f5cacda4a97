package bolt

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"rehome/store"
)

// Making a store of a backup. The world went on after the backup was made, and
// the store must not take its own past for the present:
//
//   - What waited to be said may have been said since. Each such delivery counts
//     as begun when the backup was made, so that it is looked for in Slack before
//     it is sent.
//   - What followed from that may have been said, too: the conversations of the
//     backup went on, and come to the same questions and replies again. So whatever
//     they show first from now on is looked for as well.
//   - Conversations that were opened since are lost, but people see their numbers.
//     New ones begin well above, so that a button of a lost RH-1050 never answers
//     for another RH-1050.
//   - The journal says that it was restored and of when, so that the gap can be
//     seen in it.

// skipped is how many numbers of conversations are left out at least.
const skipped = 10_000

// Restored is what became of a backup.
type Restored struct {
	Examined
	From string `json:"from"`
	Of   string `json:"of"`   // when the backup was made; "" when the file does not say
	Next string `json:"next"` // what the next conversation will be called
}

// Restore makes a store at path of a backup, or of a plain copy of a store that
// was closed. Nothing may be at path but the sentinel of the same store. The
// store is there whole, checked and with its sentinel, or not at all.
func Restore(backup, path string, at time.Time) (Restored, error) {
	r := Restored{From: backup}
	sentinel, err := mayRestore(backup, path)
	if err != nil {
		return r, err
	}
	made, err := NewDraft(path)
	if err != nil {
		return r, err
	}
	defer made.Discard()
	if err := errors.Join(copyFile(made.File, backup), made.Sync(), made.Close()); err != nil {
		return r, err
	}
	found, err := whole(made.Name(), path)
	if err != nil {
		return r, err
	}
	if len(sentinel) > 0 && !bytes.Equal(sentinel, found.id) {
		return r, fmt.Errorf("%s says that another store was here: %w; restore the right backup, or remove it", sentinelOf(path), ErrForeign)
	}
	if err := amend(made.Name(), func(t *tx) (err error) {
		r.Next, err = t.resume(found.BackupOf, at)
		return err
	}); err != nil {
		return r, err
	}
	if r.Examined, err = whole(made.Name(), path); err != nil {
		return r, err
	}
	r.Notes = slices.DeleteFunc(r.Notes, func(n Problem) bool { return n.Where == theSentinel }) // it is about to be written
	r.Swept = made.Swept
	if found.BackupOf != nil {
		r.Of = inUTC(*found.BackupOf)
	}
	return r, putInPlace(made.Name(), path, found.id)
}

// mayRestore refuses to restore over what is there, or from what is no file; it
// makes the folder of path, and returns the id in the sentinel that is there.
func mayRestore(backup, path string) (sentinel []byte, err error) {
	if err := absent(path); err != nil {
		return nil, err
	}
	if stat, err := os.Stat(backup); err != nil {
		return nil, err
	} else if stat.IsDir() {
		return nil, fmt.Errorf("%s is a folder; name one of the backups in it", backup)
	}
	if sentinel, err = os.ReadFile(sentinelOf(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return bytes.TrimSpace(sentinel), makeDir(filepath.Dir(path))
}

// putInPlace moves a restored file to its path and writes the sentinel, both for
// whoever has the folder. The file comes first: without a sentinel it is a store,
// without a file a sentinel says that one was lost.
func putInPlace(made, path string, id []byte) error {
	dir := filepath.Dir(path)
	if err := ownedAs(made, dir); err != nil {
		return err
	}
	if err := unlessThere(made, path); err != nil {
		return err
	}
	if err := errors.Join(syncDir(dir), writeSentinel(path, id)); err != nil {
		return err
	}
	return ownedAs(sentinelOf(path), dir)
}

func copyFile(to *os.File, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	_, err = io.Copy(to, f)
	return err
}

// resume makes a store of a backup that was made then; nil is a copy that does
// not say when. It returns what the next conversation will be called.
func (t *tx) resume(then *time.Time, at time.Time) (next string, err error) {
	waiting, err := t.doubt(then, at)
	if err != nil {
		return "", err
	}
	b := t.Bucket([]byte(inConversations))
	if err := t.putPast(then, b.Sequence(), at); err != nil {
		return "", err
	}
	last := (b.Sequence()/skipped + 1 + 1) * skipped
	if err := b.SetSequence(last); err != nil {
		return "", err
	}
	next = idOf(last + 1)
	of := "a copy of unknown age"
	if then != nil {
		of = "the backup of " + inUTC(*then)
	}
	text := fmt.Sprintf("restored from %s: what happened after it is lost; deliveries that may have been made since: %d; conversations go on at %s", of, waiting, next)
	if err := t.say(at, store.EventRestore, text); err != nil {
		return "", err
	}
	return next, t.delete(inMeta, keyBackup)
}

// doubt has every delivery that waits count as begun, and returns how many do.
// One that was not begun was not before the copy was made, nor before it was
// written down.
func (t *tx) doubt(then *time.Time, at time.Time) (int, error) {
	var ids []uint64
	for c, key := first(t.Bucket([]byte(inDeliveries))); key != nil; key, _ = c.Next() {
		ids = append(ids, binary.BigEndian.Uint64(key))
	}
	for _, id := range ids {
		d, _, err := t.waits(id)
		if err != nil {
			return 0, err
		}
		if d.MaybeSent != 0 {
			continue
		}
		if d.MaybeSent = cmp.Or(d.Created, stampOf(at)); then != nil {
			d.MaybeSent = stampOf(*then)
		}
		t.texts.Reset()
		if err := t.putDelivery(inDeliveries, id, d); err != nil {
			return 0, err
		}
	}
	return len(ids), nil
}

// keyRestored of meta → from when on something may have been said that the store
// does not know, and the last conversation that it may have been said in.
var keyRestored = []byte("restored")

// past is what a restored store does not know of its own past.
type past struct {
	since stamp
	upTo  uint64
}

// unknownTo reports whether conversation n may have shown a card that it does
// not know of.
func (p past) unknownTo(n uint64, d delivery) bool { return n <= p.upTo && d.Kind == kindShow }

func getPast(t *bbolt.Tx) (past, error) {
	body, err := get(t, inMeta, keyRestored)
	if err != nil || body == nil {
		return past{}, err
	}
	if len(body) != 16 {
		return past{}, damaged(inMeta, keyRestored, "it is cut short")
	}
	return past{stamp(binary.BigEndian.Uint64(body)), binary.BigEndian.Uint64(body[8:])}, nil //nolint:gosec // written the same way
}

// putPast notes that conversations up to a number went on after then; nil is
// after the last entry of the journal. Of two restorations the older counts: what
// was said after it is in no later backup.
func (t *tx) putPast(then *time.Time, upTo uint64, at time.Time) error {
	p, err := getPast(t.Tx)
	if err != nil {
		return err
	}
	since := stampOf(at)
	if then != nil {
		since = stampOf(*then)
	} else if key, record := t.Bucket([]byte(inJournal)).Cursor().Last(); key != nil {
		body, err := unseal(inJournal, key, record)
		if err != nil {
			return err
		}
		e, err := readEntry(key, body)
		if err != nil {
			return err
		}
		since = cmp.Or(e.At, since)
	}
	if p.since == 0 || since < p.since {
		p.since = since
	}
	return t.put(inMeta, keyRestored, number(uint64(p.since)), number(upTo)) //nolint:gosec // read back the same way
}

// readPast reads what the store does not know of its own past.
func (s *Store) readPast() error {
	return s.view(context.Background(), func(t *bbolt.Tx) (err error) {
		s.past, err = getPast(t)
		return err
	})
}
