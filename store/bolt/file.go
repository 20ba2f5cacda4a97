package bolt

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// A store is two files: FILE, and the sentinel FILE.id, which holds the id that
// also stands in FILE. bbolt takes an empty file for an empty database; the
// sentinel is what tells "new" from "lost".
//
//	FILE     FILE.id
//	none     none      created
//	ours     none      opened, sentinel written (a backup that was put back)
//	ours     same id   opened
//	none     there     ErrForeign: lost or moved
//	empty    any       ErrDamaged or ErrForeign
//	another  there     ErrForeign
//	backup   any       ErrBackup: Restore makes a store of it

// schema is the version of the layout. A file with a greater one is refused,
// one with a smaller one is brought up to date when it is opened (migrate.go).
const schema = 3

var (
	keySchema = []byte("schema")
	keyID     = []byte("id")
)

func sentinelOf(path string) string { return path + ".id" }

// openFile opens, checks and, when there is none, creates the file.
func openFile(path string, o Options) (*bbolt.DB, error) {
	sentinel, err := os.ReadFile(sentinelOf(path))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	sentinel = bytes.TrimSpace(sentinel)
	if err := present(path, sentinel, o.unsynced); err != nil {
		return nil, err
	}
	db, err := openBolt(path, o)
	if err != nil {
		return nil, err
	}
	id, has, err := check(db, path)
	if err == nil {
		err = settleSentinel(path, sentinel, id)
	}
	if err == nil {
		err = migrate(db, path, has, o.Log)
	}
	if err != nil {
		// What was left beside it may be all that there is of a store.
		return nil, errors.Join(err, db.Close())
	}
	if !o.quiet {
		tidy(path, o.Log)
	}
	return db, nil
}

// present sees to it that there is a file to open: it creates one where there
// never was one, and refuses what bbolt would take for a new one.
func present(path string, sentinel []byte, unsynced bool) error {
	stat, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && len(sentinel) > 0:
		return fmt.Errorf("%s is gone, but %s says a store was there: %w; restore it from a backup, or remove %[2]s to start empty", path, sentinelOf(path), ErrForeign)
	case errors.Is(err, fs.ErrNotExist):
		return create(path, unsynced)
	case err != nil:
		return err
	case stat.IsDir():
		return folder(path)
	case stat.Size() == 0 && len(sentinel) > 0:
		return fmt.Errorf("%s is empty: %w; restore it from a backup, or remove it and %s to start empty", path, ErrDamaged, sentinelOf(path))
	case stat.Size() == 0:
		return fmt.Errorf("%s is empty: %w; remove it to start a new store there", path, ErrForeign)
	case stat.Mode().Perm()&0o077 != 0:
		return os.Chmod(path, 0o600) // a backup put back by hand
	}
	return nil
}

func folder(path string) error {
	return fmt.Errorf("%s is a folder; name a file in it, such as %s", path, filepath.Join(path, "rehome.db"))
}

// create makes an empty store beside path and moves it there when it is whole
// on disk: a crash half-way leaves no file that looks like a store.
func create(path string, unsynced bool) error {
	dir := filepath.Dir(path)
	if err := makeDir(dir); err != nil {
		return err
	}
	made, err := NewDraft(path)
	if err != nil {
		return err
	}
	defer made.Discard()
	if err := made.Close(); err != nil {
		return err
	}
	db, err := bbolt.Open(made.Name(), 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType, NoSync: unsynced})
	if err != nil {
		return err
	}
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	err = db.Update(func(t *bbolt.Tx) error {
		for _, name := range buckets {
			if _, err := t.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		meta := t.Bucket([]byte(inMeta))
		return errors.Join(
			meta.Put(keySchema, seal(inMeta, keySchema, number(schema))),
			meta.Put(keyID, seal(inMeta, keyID, []byte(hex.EncodeToString(id)))))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	// Another process may just have put one there; the lock then decides which of
	// the two has it.
	if err := unlessThere(made.Name(), path); err != nil && !errors.Is(err, ErrExists) {
		return err
	}
	return syncDir(dir)
}

// openBolt opens the file with bbolt. What is damaged can make bbolt panic, or
// read where nothing is mapped, and then it leaves the file locked.
func openBolt(path string, o Options) (db *bbolt.DB, err error) {
	var file *os.File
	defer func() {
		if r := recover(); r != nil {
			unlock(file)
			_ = file.Close()
			db, err = nil, damagedFile(path, r)
		}
	}()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:         o.LockTimeout,
		FreelistType:    bbolt.FreelistMapType,
		InitialMmapSize: o.MapSize,
		MaxSize:         o.MaxSize,
		NoSync:          o.unsynced,
		ReadOnly:        o.readOnly,
		OpenFile: func(path string, flag int, mode os.FileMode) (_ *os.File, err error) {
			file, err = o.openFile(path, flag, mode)
			return file, err
		},
	})
	var system syscall.Errno
	switch {
	case err == nil:
		// Another process may have put a file of its own there while this one
		// waited for the lock (Compact); what is written to the old one is lost.
		still, err := stillAt(path, file)
		if still && err == nil {
			return db, nil
		}
		if err := errors.Join(err, db.Close()); err != nil {
			return nil, err
		}
		return openBolt(path, o)
	case errors.As(err, &system):
		return nil, err
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("another rehome (is \"rehome serve\" running?) holds %s; stop it or choose another file with REHOME_STORE: %w", path, ErrLocked)
	}
	return nil, damagedFile(path, err)
}

// stillAt reports whether an open file is the one at path.
func stillAt(path string, file *os.File) (bool, error) {
	open, err := file.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(open, there), err
}

// guarded runs what reads a file that may be damaged: bbolt panics then, or
// reads where nothing is mapped.
func guarded(path string, read func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = damagedFile(path, r)
		}
	}()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	return read()
}

// wholeBelow is the size in bytes up to which every page is walked at start.
const wholeBelow = 64 << 20

// check sees that the file is a whole store of a version we know, and returns
// its id and which version it has.
func check(db *bbolt.DB, path string) (id []byte, has uint64, err error) {
	stat, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	view := func(t *bbolt.Tx) error {
		if err := uncut(t, path, stat.Size()); err != nil {
			return err
		}
		if stat.Size() <= wholeBelow {
			if err := checkTree(t, path); err != nil {
				return err
			}
		}
		if id, has, err = identify(t, path); err != nil {
			return err
		}
		if of, err := backupOf(t); err != nil || !of.IsZero() {
			return cmp.Or(err, fmt.Errorf("%s is a backup of %s: %w; move it elsewhere and make a store of it with: rehome restore", path, inUTC(of), ErrBackup))
		}
		if stat.Size() > wholeBelow {
			return nil
		}
		return walk(t)
	}
	err = guarded(path, func() error { return db.View(view) })
	return id, has, err
}

// uncut refuses a file that is shorter than it says.
func uncut(t *bbolt.Tx, path string, size int64) error {
	if t.Size() > size {
		return damagedFile(path, fmt.Sprintf("it has %d of %d bytes", size, t.Size()))
	}
	return nil
}

func identify(t *bbolt.Tx, path string) (id []byte, has uint64, err error) {
	if t.Bucket([]byte(inMeta)) == nil {
		return nil, 0, fmt.Errorf("%s is a bbolt file that rehome did not make: %w; name another file with REHOME_STORE", path, ErrForeign)
	}
	has, err = getNumber(t, inMeta, keySchema)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", path, err)
	}
	if has == 0 {
		return nil, 0, fmt.Errorf("%s is a bbolt file that rehome did not make: %w; name another file with REHOME_STORE", path, ErrForeign)
	}
	if has > schema {
		return nil, 0, fmt.Errorf("%s has schema %d, this rehome knows %d: %w", path, has, schema, ErrNewer)
	}
	for version := uint64(1); version <= has; version++ {
		for _, name := range bucketsOf[version] {
			if t.Bucket([]byte(name)) == nil {
				return nil, 0, damagedFile(path, "bucket "+name+" is missing")
			}
		}
	}
	body, err := get(t, inMeta, keyID)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", path, err)
	}
	return bytes.Clone(body), has, nil
}

// walk visits every page that holds records.
func walk(t *bbolt.Tx) error {
	return t.ForEach(func(_ []byte, b *bbolt.Bucket) error {
		return b.ForEach(func(_, _ []byte) error { return nil })
	})
}

// settleSentinel compares the sentinel with the id in the file, and writes it
// where there is none.
func settleSentinel(path string, sentinel, id []byte) error {
	if bytes.Equal(sentinel, id) {
		return nil
	}
	if len(sentinel) > 0 {
		return anotherStore(path)
	}
	return writeSentinel(path, id)
}

func anotherStore(path string) error {
	return fmt.Errorf("%s is another store than the one %s names: %w; put the right file back, or remove %[2]s to go on with this one", path, sentinelOf(path), ErrForeign)
}

func writeSentinel(path string, id []byte) error {
	at := sentinelOf(path)
	made, err := NewDraft(at)
	if err != nil {
		return err
	}
	defer made.Discard()
	_, err = made.Write(append(bytes.Clone(id), '\n'))
	if err := errors.Join(err, made.Sync(), made.Close()); err != nil {
		return err
	}
	if err := os.Rename(made.Name(), at); err != nil {
		return err
	}
	return syncDir(filepath.Dir(at))
}

// makeDir makes a folder and those it is in, each of them durably: one that a
// loss of power takes away takes the store with it.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := makeDir(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
