package bolt

import (
	"errors"
	"os"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// SetSchema makes the file say that it has another schema.
func SetSchema(path string, version uint64) error {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		return err
	}
	err = db.Update(func(t *bbolt.Tx) error {
		return t.Bucket([]byte(inMeta)).Put(keySchema, seal(inMeta, keySchema, number(version)))
	})
	return errors.Join(err, db.Close())
}

// SeenKeys counts the event keys that are remembered, or returns -1 when they
// do not match those by age.
func SeenKeys(s *Store) (n int) {
	_ = s.db.View(func(t *bbolt.Tx) error {
		n = t.Bucket([]byte(inSeen)).Stats().KeyN
		if t.Bucket([]byte(inSeenByAge)).Stats().KeyN != n {
			n = -1
		}
		return nil
	})
	return n
}

// Unsynced returns options with which nothing is synced.
func Unsynced(o Options) Options {
	o.unsynced = true
	return o
}

// FreeOn returns how many bytes may be written to the disk that a folder is on.
func FreeOn(folder string) int64 { return freeOn(folder) }

// Meddle changes a file behind the store's back, with checksums that are right.
func Meddle(path string, do func(put func(bucket string, key []byte, body ...[]byte), del func(bucket string, key []byte))) error {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		return err
	}
	err = db.Update(func(inner *bbolt.Tx) error {
		t := &tx{Tx: inner}
		var errs []error
		do(func(bucket string, key []byte, body ...[]byte) { errs = append(errs, t.put(bucket, key, body...)) },
			func(bucket string, key []byte) { errs = append(errs, t.delete(bucket, key)) })
		return errors.Join(errs...)
	})
	return errors.Join(err, db.Close())
}

// What Meddle needs to know of the file.
var (
	Number    = number
	ThreadKey = threadKey
	AppKey    = appKey
	SameAs    = sameAs
)

// Opening returns options with which a file is opened through open.
func Opening(o Options, open func(string, int, os.FileMode) (*os.File, error)) Options {
	o.openFile = open
	return o
}

// FewFreePages has as few as n free pages noted until it is undone.
func FewFreePages(n int) (undo func()) {
	was := manyFreePages
	manyFreePages = n
	return func() { manyFreePages = was }
}

// NoRoom has every disk be full to a few MiB until it is undone.
func NoRoom() (undo func()) {
	was := roomOn
	roomOn = func(string) int64 { return 3 << 20 }
	return func() { roomOn = was }
}

// LockFolder locks a folder as another program may, until it is undone.
func LockFolder(t *testing.T, dir string) (undo func()) {
	t.Helper()
	folder, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !lockAlone(folder) {
		t.Fatalf("%s is locked already", dir)
	}
	return func() { _ = folder.Close() }
}
