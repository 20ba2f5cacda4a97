package bolt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// Compacted is what became of a file that was compacted.
type Compacted struct {
	Path      string `json:"path"`
	Before    int64  `json:"before"` // bytes
	After     int64  `json:"after"`  // bytes
	FreePages int    `json:"freePages"`

	Swept []string `json:"swept,omitempty"` // as in Examined
}

// compactAtOnce is how many bytes of records one transaction of the new file
// has. They are synced together at the end.
const compactAtOnce = 4 << 20

// Compact writes the store at path anew without its free pages. A bbolt file
// never shrinks by itself, and a long list of free pages slows down every commit.
// Nobody else may have the file open (ErrLocked). The new file is checked before
// it takes the old one's place; until then nothing has changed.
func Compact(path string) (Compacted, error) {
	out := Compacted{Path: path}
	stat, err := os.Stat(path)
	if err != nil {
		return out, err
	}
	if stat.IsDir() {
		return out, folder(path)
	}
	if stat.Size() == 0 {
		return out, fmt.Errorf("%s is empty: %w; restore it from a backup", path, ErrDamaged)
	}
	db, err := openBolt(path, ours)
	if err != nil {
		return out, err
	}
	if err := guarded(path, func() error { return out.replace(db, stat.Size()) }); err != nil {
		return out, errors.Join(err, db.Close())
	}
	return out, db.Close()
}

// replace puts a compacted file in the place of the one that is open.
func (c *Compacted) replace(db *bbolt.DB, size int64) error {
	had, err := recordsOf(db, c.Path, size)
	if err != nil {
		return err
	}
	c.Before, c.FreePages = size, db.Stats().FreePageN
	made, err := NewDraft(c.Path) // what was left behind makes room
	if err != nil {
		return err
	}
	defer made.Discard()
	c.Swept = made.Swept
	dir := filepath.Dir(c.Path)
	if free := roomOn(dir); free < size+leaves {
		return fmt.Errorf("the disk of %s has %d MiB left, and compacting needs up to %d; make room there", dir, free>>20, (size+leaves)>>20)
	}
	if err := errors.Join(made.Close(), compactTo(made.Name(), db)); err != nil {
		return err
	}
	found, err := whole(made.Name(), c.Path)
	if err != nil {
		return err
	}
	has, err := recordsIn(made.Name())
	if err != nil {
		return err
	}
	if had != has {
		return fmt.Errorf("the compacted file has other records than %s, which was left as it is; please report this", c.Path)
	}
	if err := ownedAs(made.Name(), c.Path); err != nil {
		return err
	}
	if err := os.Rename(made.Name(), c.Path); err != nil {
		return err
	}
	c.After = found.Size
	return syncDir(dir)
}

func compactTo(path string, from *bbolt.DB) error {
	to, err := bbolt.Open(path, 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType, NoSync: true, Timeout: ours.LockTimeout})
	if err != nil {
		return err
	}
	err = bbolt.Compact(to, from, compactAtOnce)
	if err == nil {
		err = to.Sync()
	}
	return errors.Join(err, to.Close())
}

// records sums up what a file has: two with the same have the same in them.
type records struct {
	count int
	sum   uint64 // of every record's checksum, weighted by its place
}

func recordsIn(path string) (records, error) {
	stat, err := os.Stat(path)
	if err != nil {
		return records{}, err
	}
	db, err := openBolt(path, ours)
	if err != nil {
		return records{}, err
	}
	r, err := recordsOf(db, path, stat.Size())
	return r, errors.Join(err, db.Close())
}

func recordsOf(db *bbolt.DB, path string, size int64) (r records, err error) {
	err = db.View(func(t *bbolt.Tx) error {
		if err := uncut(t, path, size); err != nil {
			return err
		}
		if _, _, err := identify(t, path); err != nil {
			return err
		}
		return t.ForEach(func(name []byte, b *bbolt.Bucket) error {
			r.add(uint64(checksum(string(name), name, make([]byte, recordHeader))))
			r.add(b.Sequence())
			return b.ForEach(func(key, record []byte) error {
				if len(record) < recordHeader {
					return damaged(string(name), key, "the record is cut short")
				}
				r.count++
				r.add(uint64(checksum(string(name), key, record)))
				return nil
			})
		})
	})
	return r, err
}

func (r *records) add(n uint64) { r.sum = r.sum*1_099_511_628_211 ^ n }
