package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"rehome/conversation"
	"rehome/store"
)

// chunk is how many records one read transaction takes at most when a caller
// wants all: an open one keeps the file from reusing pages.
const chunk = 256

// Due implements [store.Store].
func (s *Store) Due(ctx context.Context, now time.Time) (ready []store.Delivery, next time.Time, err error) {
	defer s.recovered(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	if err := ctx.Err(); err != nil {
		return nil, next, err
	}
	// Begun under the lock, the transaction sees the deliveries as lines does.
	s.lines.mu.Lock()
	ids, next := s.lines.due(now)
	t, err := s.db.Begin(false)
	s.lines.mu.Unlock()
	if err != nil {
		return nil, time.Time{}, closed(err)
	}
	defer func() { _ = t.Rollback() }()
	for _, id := range ids {
		d, err := getDelivery(t, inDeliveries, number(id))
		if err != nil {
			return nil, time.Time{}, err
		}
		ready = append(ready, d)
	}
	return ready, next, nil
}

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, id string) (conversation.Conversation, error) {
	var h held
	err := s.view(ctx, func(t *bbolt.Tx) (err error) {
		h, err = getHeld(t, numberOf(id))
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("%s: %w", id, store.ErrNotFound)
	}
	return h.is, err
}

// Find implements [store.Store].
func (s *Store) Find(ctx context.Context, channel, ts string) (string, error) {
	var n uint64
	err := s.view(ctx, func(t *bbolt.Tx) (err error) {
		n, err = getNumber(t, inThreads, threadKey(channel, ts))
		return err
	})
	if err != nil {
		return "", err
	}
	if n == 0 {
		return "", fmt.Errorf("thread %s in %s: %w", ts, channel, store.ErrNotFound)
	}
	return idOf(n), nil
}

// List implements [store.Store].
func (s *Store) List(ctx context.Context, yield func(conversation.Conversation) bool) error {
	var last uint64
	err := s.view(ctx, func(t *bbolt.Tx) error {
		last = t.Bucket([]byte(inConversations)).Sequence()
		return nil
	})
	if err != nil {
		return err
	}
	for from := uint64(1); from <= last; from += chunk {
		var some []held
		err := s.view(ctx, func(t *bbolt.Tx) error {
			for n := from; n <= min(last, from+chunk-1); n++ {
				h, err := getHeld(t, n)
				if err != nil {
					return err
				}
				some = append(some, h)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, h := range some {
			if !yield(h.is) {
				return nil
			}
		}
	}
	return nil
}

// Journal implements [store.Store].
func (s *Store) Journal(ctx context.Context, id string) ([]store.Entry, error) {
	var entries []store.Entry
	err := s.view(ctx, func(t *bbolt.Tx) error {
		h, err := getHeld(t, numberOf(id))
		if err != nil {
			return err
		}
		for seq := h.newest; seq != 0; {
			key := number(seq)
			body, err := get(t, inJournal, key)
			if err != nil {
				return err
			}
			if body == nil {
				return damaged(inJournal, key, "it is missing")
			}
			e, err := readEntry(key, body)
			if err != nil {
				return err
			}
			entries = append(entries, e.passed(seq))
			seq = e.Before
		}
		return nil
	})
	slices.Reverse(entries)
	return entries, err
}

// Outbox implements [store.Store].
func (s *Store) Outbox(ctx context.Context, failed bool) ([]store.Delivery, error) {
	from := []string{inDeliveries}
	if failed {
		from = append(from, inAbandoned)
	}
	var out []store.Delivery
	err := s.view(ctx, func(t *bbolt.Tx) error {
		for _, bucket := range from {
			err := t.Bucket([]byte(bucket)).ForEach(func(key, record []byte) error {
				d, err := passedDelivery(bucket, key, record)
				out = append(out, d)
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b store.Delivery) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return out, nil
}

// readLines makes lines from the file.
func (s *Store) readLines() error {
	return s.view(context.Background(), func(t *bbolt.Tx) error {
		return t.Bucket([]byte(inDeliveries)).ForEach(func(key, record []byte) error {
			body, err := unseal(inDeliveries, key, record)
			if err != nil {
				return err
			}
			d, err := readDelivery(inDeliveries, key, body)
			if err != nil {
				return err
			}
			s.lines.set(d.Line, waiting{binary.BigEndian.Uint64(key), d.Due})
			return nil
		})
	})
}

// view runs fn in a read transaction. Nothing of the file may be kept after it.
func (s *Store) view(ctx context.Context, fn func(*bbolt.Tx) error) (err error) {
	defer s.recovered(&err)
	// Reading past the end of a file that was cut short is a fault, not a panic.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	if err := ctx.Err(); err != nil {
		return err
	}
	return closed(s.db.View(fn))
}

func (s *Store) recovered(err *error) {
	if r := recover(); r != nil {
		*err = damagedFile(s.path, r)
	}
}

func closed(err error) error {
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return store.ErrClosed
	}
	return err
}

// get returns the body under key, or nil. It is gone when t ends.
func get(t *bbolt.Tx, bucket string, key []byte) ([]byte, error) {
	record := t.Bucket([]byte(bucket)).Get(key)
	if record == nil {
		return nil, nil
	}
	return unseal(bucket, key, record)
}

// getNumber returns the number under key, or 0.
func getNumber(t *bbolt.Tx, bucket string, key []byte) (uint64, error) {
	body, err := get(t, bucket, key)
	if err != nil || body == nil {
		return 0, err
	}
	if len(body) != 8 {
		return 0, damaged(bucket, key, "it is no number")
	}
	return binary.BigEndian.Uint64(body), nil
}

func getHeld(t *bbolt.Tx, n uint64) (held, error) {
	key := number(n)
	body, err := get(t, inConversations, key)
	if err != nil {
		return held{}, err
	}
	if body == nil {
		return held{}, fmt.Errorf("%s: %w", idOf(n), store.ErrNotFound)
	}
	return readHeld(key, body)
}

func getDelivery(t *bbolt.Tx, bucket string, key []byte) (store.Delivery, error) {
	record := t.Bucket([]byte(bucket)).Get(key)
	if record == nil {
		return store.Delivery{}, damaged(bucket, key, "it is missing")
	}
	return passedDelivery(bucket, key, record)
}

func passedDelivery(bucket string, key, record []byte) (store.Delivery, error) {
	body, err := unseal(bucket, key, record)
	if err != nil {
		return store.Delivery{}, err
	}
	d, err := readDelivery(bucket, key, body)
	if err != nil {
		return store.Delivery{}, err
	}
	return d.passed(bucket, key)
}
