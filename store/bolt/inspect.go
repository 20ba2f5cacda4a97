package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Inspected is what can be said of a store without reading all of it.
type Inspected struct {
	Size   int64  // bytes
	Schema uint64 // version of its layout
	Newest uint64 // version that this rehome writes; a lesser one is brought up to date when it is opened
	Room   error  // as Store.Room says it: nil while there is room for what is new
}

// Inspect looks at the store in the file at path and changes nothing: it creates
// none, brings none up to date and writes no sentinel. Errors are those of Open,
// and fs.ErrNotExist when neither the file nor its sentinel is there. Of the
// options only those about room count.
func Inspect(path string, o Options) (i Inspected, err error) {
	if err := o.complete(); err != nil {
		return i, err
	}
	sentinel, err := os.ReadFile(sentinelOf(path))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return i, err
	}
	sentinel = bytes.TrimSpace(sentinel)
	stat, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) && len(sentinel) == 0 {
		return i, err
	}
	if err != nil || stat.Size() == 0 || stat.IsDir() {
		return i, present(path, sentinel, false)
	}
	defer func() {
		if r := recover(); r != nil {
			err = damagedFile(path, r)
		}
	}()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, PreLoadFreelist: true, Timeout: 200 * time.Millisecond})
	var system *fs.PathError
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return i, fmt.Errorf("%s: %w", path, ErrLocked)
	case errors.As(err, &system):
		return i, err
	case err != nil:
		return i, damagedFile(path, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	id, has, err := check(db, path)
	if err != nil {
		return i, err
	}
	if len(sentinel) > 0 && !bytes.Equal(sentinel, id) {
		return i, anotherStore(path)
	}
	var used int64
	if err := db.View(func(t *bbolt.Tx) error { used = t.Size(); return nil }); err != nil {
		return i, err
	}
	return Inspected{Size: stat.Size(), Schema: has, Newest: schema, Room: roomIn(db, used, usable(int64(o.MaxSize)), o.Headroom)}, nil
}
