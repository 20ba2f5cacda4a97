package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"rehome/conversation"
	"rehome/store"
)

// Files that an older rehome wrote are brought up to date when they are opened,
// one version after the other and all in one transaction. What was there is
// kept beside it as FILE.schema-N: an older rehome refuses the new file.

// bucketsOf are the buckets that each version of the layout brought.
var bucketsOf = map[uint64][]string{
	1: {inMeta, inConversations, inFindings, inThreads, inJournal, inDeliveries, inAbandoned, inSeen, inSeenByAge},
	2: {inApps, inRemembered, inQuarantined},
}

// fills are what a version needs besides its buckets.
var fills = map[uint64]func(*tx) error{2: fillApps}

// migrate brings a file of version has up to date.
func migrate(db *bbolt.DB, path string, has uint64) (err error) {
	if has == schema {
		return nil
	}
	defer func() {
		if r := recover(); r != nil {
			err = damagedFile(path, r)
		}
	}()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	if err := keep(db, path+".schema-"+strconv.FormatUint(has, 10)); err != nil {
		return fmt.Errorf("%s is of an older rehome and no copy of it can be kept, so it was left as it is: %w", path, err)
	}
	err = db.Update(func(inner *bbolt.Tx) error {
		t := &tx{Tx: inner}
		for version := has + 1; version <= schema; version++ {
			if err := t.bring(version); err != nil {
				return err
			}
		}
		return t.put(inMeta, keySchema, number(schema))
	})
	if errors.Is(err, bolterrors.ErrMaxSizeReached) {
		err = store.ErrFull
	}
	if err != nil {
		return fmt.Errorf("%s cannot be brought from schema %d to %d: %w", path, has, schema, err)
	}
	return nil
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

// keep copies the file to another, whole or not at all.
func keep(db *bbolt.DB, to string) error {
	made, err := os.CreateTemp(filepath.Dir(to), filepath.Base(to)+".new-*") // 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(made.Name()) }()
	err = db.View(func(t *bbolt.Tx) error {
		_, err := t.WriteTo(made)
		return err
	})
	if err := errors.Join(err, made.Sync(), made.Close()); err != nil {
		return err
	}
	if err := os.Rename(made.Name(), to); err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}
