package bolt

import (
	"fmt"
	"math"
	"path/filepath"
	"sync"

	"go.etcd.io/bbolt"

	"rehome/store"
)

// Room. A file or disk that is full to the last page lets nothing be settled,
// dropped or written to the journal any more, and a disk that refuses a write
// stops the store. So what is new is refused early, while there is room for all
// that is under way, and taken in again as soon as there is room.

// Room returns nil while the store takes in what is new, and otherwise a
// store.ErrFull that says what to do.
func (s *Store) Room() error {
	var used int64
	err := s.db.View(func(t *bbolt.Tx) error {
		used = t.Size()
		return nil
	})
	if err != nil {
		return closed(err)
	}
	return s.roomAfter(used)
}

// roomFor returns Room as it is for one transaction, which asks once at most.
func (s *Store) roomFor(t *bbolt.Tx) func() error {
	return sync.OnceValue(func() error { return s.roomAfter(t.Size()) })
}

// roomAfter returns whether there is room when the file's pages, including those
// that are free to be used again, take up so many bytes.
func (s *Store) roomAfter(used int64) error { return roomIn(s.db, used, s.limit, s.spare) }

func roomIn(db *bbolt.DB, used, limit, spare int64) error {
	stats := db.Stats()
	again := int64(stats.FreePageN+stats.PendingPageN) * int64(db.Info().PageSize)
	folder := filepath.Dir(db.Path())
	if left := freeOn(folder) + again; left < spare {
		return fmt.Errorf("%w: its disk has room for %d MiB and %d are kept for what is under way; free some of it (%s)", store.ErrFull, left>>20, spare>>20, folder)
	}
	if limit == 0 {
		return nil
	}
	if left := limit - used + again; left < spare {
		return fmt.Errorf("%w: of the size it may have %d MiB are left and %d are kept for what is under way; raise the limit or drop what is old", store.ErrFull, max(0, left)>>20, spare>>20)
	}
	return nil
}

// usable returns how much of a limit bbolt uses: it asks for room ahead, the
// next power of two up to 16 MiB, and 16 MiB more than it needs from there on.
func usable(limit int64) int64 {
	const step = 16 << 20
	switch {
	case limit >= 2*step:
		return limit - step
	case limit >= 2:
		return 1 << int(math.Log2(float64(min(limit, step))))
	}
	return limit
}
