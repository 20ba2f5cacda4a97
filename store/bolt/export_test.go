package bolt

import (
	"errors"
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
