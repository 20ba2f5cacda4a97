package bolt

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/bbolt"
)

// A backup is a copy of the store's file that says of itself that it is one, and
// of when: a key in meta. [Open] refuses it, since what waited to be said then
// may have been said since; [Restore] makes a store of it.
//
// Copying holds a read transaction, and while one is open the file cannot reuse
// pages: with a slow reader it grows without bounds. So the copy is made on the
// local disk first, and passed on afterwards.

// keyBackup of meta → when the backup was made.
var keyBackup = []byte("backup-of")

// Snapshot returns a copy of the store as it is now, rewound. It is beside the
// store's file without having a name there, and gone when it is closed.
func (s *Store) Snapshot(ctx context.Context) (*os.File, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	made, err := NewDraft(s.path)
	if err != nil {
		return nil, err
	}
	// The file stays as long as it is open: whatever becomes of this process,
	// nothing is left.
	made.Discard()
	err = copyOf(s.db, made.File)
	if err == nil {
		_, err = made.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(closed(err), made.Close())
	}
	return made.File, nil
}

// leaves is the room in bytes that a copy leaves on the disk: more than the store
// keeps for what is under way (room.go), so that it goes on taking in what is new.
const leaves = 96 << 20

// roomOn is freeOn, but for tests.
var roomOn = freeOn

// copyOf writes the file as it is now to another on a local disk.
func copyOf(db *bbolt.DB, to *os.File) error {
	return db.View(func(t *bbolt.Tx) error {
		if free := roomOn(filepath.Dir(to.Name())); free < t.Size()+leaves {
			return fmt.Errorf("the disk of %s has %d MiB left, and a copy of the store needs %d; make room there", filepath.Dir(to.Name()), free>>20, (t.Size()+leaves)>>20)
		}
		_, err := t.WriteTo(to)
		return err
	})
}

// Backup writes a backup to path, which must not exist: whole, checked, for its
// owner alone, or not at all. Copy writes a store's file as it was at the time
// at or later, as [Store.Snapshot] has it; later is safe, since restoring looks
// for what was said from then on.
func Backup(path string, at time.Time, copy func(io.Writer) error) (Examined, error) {
	if err := absent(path); err != nil {
		return Examined{}, err
	}
	return keep(path, at, unlessThere, func(f *os.File) error { return copy(f) })
}

// absent refuses a path at which something is.
func absent(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s is %w, and nothing is overwritten; name another file", path, ErrExists)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// unlessThere moves a file to a path at which nothing is. A link, unlike a
// rename, leaves alone what has just been put there; not every disk has them.
func unlessThere(from, to string) error {
	switch err := os.Link(from, to); {
	case err == nil:
		return os.Remove(from)
	case errors.Is(err, fs.ErrExist):
		return cmp.Or(absent(to), err)
	}
	if err := absent(to); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// keep makes a backup of what copy writes and moves it to path.
func keep(path string, at time.Time, move func(from, to string) error, copy func(*os.File) error) (Examined, error) {
	made, err := NewDraft(path)
	if err != nil {
		return Examined{}, err
	}
	defer made.Discard()
	if err := errors.Join(copy(made.File), made.Sync(), made.Close()); err != nil {
		return Examined{}, err
	}
	if stat, err := os.Stat(made.Name()); err != nil || stat.Size() == 0 { // for bbolt an empty file is a new one
		return Examined{}, cmp.Or(err, damagedFile(path, "it would be empty"))
	}
	err = amend(made.Name(), func(t *tx) error {
		return t.put(inMeta, keyBackup, number(uint64(at.UnixNano()))) //nolint:gosec // read back the same way
	})
	if err != nil && !errors.Is(err, ErrDamaged) {
		return Examined{}, err
	}
	found, worse := whole(made.Name(), path) // says better what is damaged
	found.Swept = made.Swept
	if err := cmp.Or(worse, err); err != nil {
		return found, err
	}
	if err := move(made.Name(), path); err != nil {
		return found, err
	}
	return found, syncDir(filepath.Dir(path))
}

// amend changes a file of our own in one transaction. It is synced then.
func amend(path string, do func(*tx) error) error {
	db, err := openBolt(path, ours)
	if err != nil {
		return err
	}
	err = guarded(path, func() error {
		return db.Update(func(t *bbolt.Tx) error {
			if _, _, err := identify(t, path); err != nil {
				return err
			}
			return do(&tx{Tx: t})
		})
	})
	return errors.Join(err, db.Close())
}

// ours are the options for a file that nobody else knows, or that is held for a
// moment.
var ours = Options{LockTimeout: time.Second, openFile: os.OpenFile}

// whole examines a file that is to be called something else, and refuses it with
// the first of its problems; [Examine] of where it came from says them all.
func whole(path, called string) (Examined, error) {
	found, err := Examine(path)
	found.Path = called
	if err == nil && len(found.Problems) > 0 {
		p := found.Problems[0]
		where := p.Where + ": "
		if p.Where == theFile {
			where = ""
		}
		err = fmt.Errorf("%w: %s%s", ErrDamaged, where, strings.TrimPrefix(p.What, itIsDamaged))
	}
	return found, err
}

// backupOf returns when a file was made as a backup, or the zero time.
func backupOf(t *bbolt.Tx) (time.Time, error) {
	body, err := get(t, inMeta, keyBackup)
	if err != nil || body == nil {
		return time.Time{}, err
	}
	if len(body) != 8 {
		return time.Time{}, damaged(inMeta, keyBackup, "it is no time")
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(body))).UTC(), nil //nolint:gosec // written the same way
}

func inUTC(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
