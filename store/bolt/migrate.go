package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"rehome/conversation"
	"rehome/store"
)

// Files that an older rehome wrote are brought up to date when they are opened,
// one version after the other and all in one transaction. Before, a backup of
// what was there is written beside it as FILE.schema-N, and checked: an older
// rehome refuses the new file.

// bucketsOf are the buckets that each version of the layout brought.
var bucketsOf = map[uint64][]string{
	1: {inMeta, inConversations, inFindings, inThreads, inJournal, inDeliveries, inAbandoned, inSeen, inSeenByAge},
	2: {inApps, inRemembered, inQuarantined},
	3: {inQuarantinedAs}, // and what only meta has: where the journal begins, the store's own entries
}

// fills are what a version needs besides its buckets.
var fills = map[uint64]func(*tx) error{2: fillApps, 3: fillQuarantinedAs}

// migrate brings a file of version has up to date.
func migrate(db *bbolt.DB, path string, has uint64, log *slog.Logger) error {
	if has == schema {
		return nil
	}
	kept := path + ".schema-" + strconv.FormatUint(has, 10)
	if err := keepBefore(db, kept); err != nil {
		return fmt.Errorf("%s is of an older rehome and no backup of it can be kept, so it was left as it is: %w", path, err)
	}
	err := guarded(path, func() error { return bringUpToDate(db, has) })
	if errors.Is(err, bolterrors.ErrMaxSizeReached) {
		err = store.ErrFull
	}
	if err != nil {
		return fmt.Errorf("%s cannot be brought from schema %d to %d: %w", path, has, schema, err)
	}
	log.Info("the store was brought up to date; a backup of what it was is kept", "store", path, "from", has, "to", schema, "backup", kept)
	return nil
}

// keepBefore keeps a backup of what is to be changed. One that is there is of an
// attempt before, or of what somebody went back to, and is replaced.
func keepBefore(db *bbolt.DB, to string) error {
	_, err := keep(to, time.Now(), os.Rename, func(f *os.File) error { return copyOf(db, f) })
	return err
}

// bringUpToDate changes the file, in one transaction.
func bringUpToDate(db *bbolt.DB, has uint64) error {
	return db.Update(func(inner *bbolt.Tx) error {
		t := &tx{Tx: inner}
		for version := has + 1; version <= schema; version++ {
			if err := t.bring(version); err != nil {
				return err
			}
		}
		return t.put(inMeta, keySchema, number(schema))
	})
}

// bring makes what a version of the layout brought.
func (t *tx) bring(version uint64) error {
	for _, name := range bucketsOf[version] {
		if _, err := t.CreateBucket([]byte(name)); err != nil {
			return err
		}
	}
	if fill := fills[version]; fill != nil {
		return fill(t)
	}
	return nil
}

// fillApps indexes the conversations that are there by the app they name.
func fillApps(t *tx) error {
	c := t.Bucket([]byte(inConversations)).Cursor()
	for key, record := c.First(); key != nil; key, record = c.Next() {
		body, err := unseal(inConversations, key, record)
		if err != nil {
			return err
		}
		h, err := readHeld(key, body)
		if err != nil {
			return err
		}
		m, err := moves(conversation.Conversation{}, h.is)
		if err != nil {
			return err
		}
		if err := t.move(binary.BigEndian.Uint64(key), moved{tookApp: m.tookApp}); err != nil {
			return err
		}
	}
	return nil
}
