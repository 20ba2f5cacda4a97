// Package bolt keeps a store in one bbolt file. It is the only package that
// knows bbolt. What is where:
//
//	meta           schema, id, …                  → what file this is, where its journal begins, whether it is a backup
//	conversations  number of RH-n                 → the conversation, number of its newest journal entry
//	findings       finding                        → number of the conversation it opened
//	threads        channel, ts of a root          → number of the conversation shown there
//	apps           app id, number of RH-n         → the same number: its facts name the app
//	remembered     key                            → value
//	journal        number, growing                → entry, number of the same conversation's entry before it, hash of the chain
//	deliveries     id, growing                    → a delivery that waits
//	abandoned      id                             → a delivery that was given up
//	quarantined    id, growing                    → a record that could not be read
//	quarantined-as digest of source and body      → id of the record that is the same
//	seen           event key                      → number of the conversation it went to
//	seen-by-age    age, number                    → event key
//
// Numbers and ages are 8 bytes, big-endian, so that what happens later stands
// later: appending to a B+tree costs a seventh of scattering over it. Every
// value carries a checksum (record.go).
//
// Writes go through one goroutine, which commits what has gathered while the
// commit before was under way (commit.go). Reads see the file as of the last
// commit and wait for nobody, except that [Store.Due] and [Store.Line] wait for a
// commit that is under way.
//
// Keep the file on a local disk. ext4 with fast_commit on a kernel before 5.15
// can lose what it was told to sync.
package bolt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"rehome/store"
)

// Names of the buckets.
const (
	inMeta          = "meta"
	inConversations = "conversations"
	inFindings      = "findings"
	inThreads       = "threads"
	inJournal       = "journal"
	inDeliveries    = "deliveries"
	inAbandoned     = "abandoned"
	inSeen          = "seen"
	inSeenByAge     = "seen-by-age"
	inApps          = "apps"
	inRemembered    = "remembered"
	inQuarantined   = "quarantined"
	inQuarantinedAs = "quarantined-as"
)

var buckets = slices.Concat(bucketsOf[1], bucketsOf[2], bucketsOf[3])

// Errors of [Open], and of reading; they come wrapped in a sentence that names
// the file or record and says what to do.
var (
	ErrLocked  = errors.New("the store is in use by another process")
	ErrDamaged = errors.New("the store is damaged")
	ErrForeign = errors.New("not the store that was here")
	ErrNewer   = errors.New("written by a newer rehome; use that version or newer")
	ErrBackup  = errors.New("a backup and no store")
	ErrExists  = errors.New("there already")
)

// Options say how a file is opened. The zero value is right for a bot.
type Options struct {
	// LockTimeout is how long to wait for another process to let go of the
	// file; 0 means 2 s.
	LockTimeout time.Duration
	// MaxSize is the size in bytes the file may grow to, in steps of 16 MiB; 0
	// means no limit. Above it writes fail with store.ErrFull.
	MaxSize int
	// Headroom is how many bytes are kept for what is under way: while less is
	// left, of MaxSize or on the disk, nothing new is taken in (store.ErrFull), so
	// that deliveries can be settled and old things dropped. 0 means 64 MiB, or a
	// quarter of MaxSize when that is less.
	Headroom int64
	// MapSize is how much address space, in bytes, is set aside for the file; 0
	// means 16 GiB. It costs no memory. A file that outgrows it makes a writer
	// wait for all readers each time it doubles.
	MapSize int
	// SeenFor is how long an event's key is remembered at least, counting the
	// time that the store is open; 0 means 48 h, and less than 24 h is refused:
	// Slack and Event Grid retry for up to a day.
	SeenFor time.Duration
	// Log hears what was done to a file when it was opened. Without one, nothing is
	// removed that a process which was killed has left beside it.
	Log *slog.Logger

	quiet bool // there is no Log

	openFile func(string, int, os.FileMode) (*os.File, error) // os.OpenFile, but for tests
	unsynced bool                                             // nothing waits for the disk; for a test that must see what comes of it
	readOnly bool                                             // nothing is changed, and others may read too
}

const (
	defaultLockTimeout = 2 * time.Second
	defaultMapSize     = 16 << 30
	defaultHeadroom    = 64 << 20
	defaultSeenFor     = 48 * time.Hour
	leastSeenFor       = 24 * time.Hour
)

func (o *Options) complete() error {
	if o.LockTimeout == 0 {
		o.LockTimeout = defaultLockTimeout
	}
	if o.MapSize == 0 {
		o.MapSize = defaultMapSize
	}
	if o.Headroom == 0 {
		o.Headroom = defaultHeadroom
		if o.MaxSize > 0 {
			o.Headroom = min(o.Headroom, int64(o.MaxSize)/4)
		}
	}
	if o.SeenFor == 0 {
		o.SeenFor = defaultSeenFor
	}
	if o.quiet = o.Log == nil; o.quiet {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.openFile == nil {
		o.openFile = os.OpenFile
	}
	switch {
	case o.LockTimeout < 0, o.MapSize < 0, o.MaxSize < 0, o.Headroom < 0:
		return errors.New("store options cannot be negative")
	case o.SeenFor < leastSeenFor:
		return fmt.Errorf("event keys must be remembered for at least %s, not %s: senders repeat events for that long", leastSeenFor, o.SeenFor)
	}
	return nil
}

// Store is a [store.Store] in a file. Open makes one.
type Store struct {
	path    string
	db      *bbolt.DB
	lines   *lines
	seenFor time.Duration
	ages    ages
	limit   int64 // bytes the file may use; 0 for no limit
	spare   int64 // bytes of them that are kept for what is under way
	past    past

	writes  chan *write
	closing chan struct{} // closed when Close is called
	closed  chan struct{} // closed when the committer has ended
	failed  atomic.Pointer[error]
	broken  chan struct{} // closed when failed is set
	once    sync.Once
	closeOf error
}

var _ store.Store = (*Store)(nil)

// Open opens the store in the file at path, creating it and its folder when
// neither it nor its sentinel is there. It refuses a file that is locked, not
// ours, damaged or newer, with an error that says what to do.
func Open(path string, o Options) (*Store, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	db, err := openFile(path, o)
	if err != nil {
		return nil, err
	}
	s := &Store{
		path: path, db: db, lines: newLines(), seenFor: o.SeenFor, limit: usable(int64(o.MaxSize)), spare: o.Headroom,
		writes: make(chan *write), closing: make(chan struct{}), closed: make(chan struct{}), broken: make(chan struct{}),
	}
	if s.ages, err = s.readAges(); err == nil {
		err = cmp.Or(s.readLines(), s.readPast())
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	go s.commitAll()
	return s, nil
}

// Watch waits until a write has failed so that nobody knows whether it was
// written, and returns that store.ErrUncertain: the process must end then, and
// start anew. When ctx ends first, or the store is closed, it returns nil.
func (s *Store) Watch(ctx context.Context) error {
	select {
	case <-s.broken:
		return *s.failed.Load()
	case <-s.closed:
	case <-ctx.Done():
	}
	return nil
}

// Err returns why nothing is written any more, nil while the store works. It
// wraps store.ErrUncertain: stop the process.
func (s *Store) Err() error {
	if failed := s.failed.Load(); failed != nil {
		return *failed
	}
	return nil
}

// Close waits for what is being committed, and closes the file. Calling it
// again does nothing more.
func (s *Store) Close() error {
	s.once.Do(func() {
		close(s.closing)
		<-s.closed
		s.closeOf = s.db.Close()
	})
	return s.closeOf
}
