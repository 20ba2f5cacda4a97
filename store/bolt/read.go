package bolt

import (
	"bytes"
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
func (s *Store) Due(ctx context.Context, now time.Time, take func(store.Waiting) store.Taking) (ready []store.Delivery, next time.Time, err error) {
	ready, err = s.waiting(ctx, func(l *lines) (ids []uint64) {
		ids, next = l.due(now, take)
		return ids
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	return ready, next, nil
}

// Line implements [store.Store].
func (s *Store) Line(ctx context.Context, line string) ([]store.Delivery, error) {
	return s.waiting(ctx, func(l *lines) []uint64 { return l.waitingIn(line) })
}

// waiting returns the deliveries that which picks.
func (s *Store) waiting(ctx context.Context, which func(*lines) []uint64) (picked []store.Delivery, err error) {
	defer s.recovered(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ids, t, err := s.pick(which)
	if err != nil {
		return nil, closed(err)
	}
	defer func() { _ = t.Rollback() }()
	for _, id := range ids {
		d, err := getDelivery(t, inDeliveries, number(id))
		if err != nil {
			return nil, err
		}
		picked = append(picked, d)
	}
	return picked, nil
}

// pick begins a transaction that sees the deliveries as lines does: under the
// lock.
func (s *Store) pick(which func(*lines) []uint64) ([]uint64, *bbolt.Tx, error) {
	s.lines.mu.Lock()
	defer s.lines.mu.Unlock()
	ids := which(s.lines)
	t, err := s.db.Begin(false)
	return ids, t, err
}

// Recall implements [store.Store].
func (s *Store) Recall(ctx context.Context, prefix string) (map[string]string, error) {
	out := map[string]string{}
	err := s.under(ctx, inRemembered, []byte(prefix), func(key, body []byte) error {
		out[string(key)] = string(body)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Quarantined implements [store.Store].
func (s *Store) Quarantined(ctx context.Context) ([]store.Quarantined, error) {
	var all []store.Quarantined
	err := s.under(ctx, inQuarantined, nil, func(key, body []byte) error {
		q, err := readQuarantined(key, body)
		all = append(all, q)
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// About implements [store.Store].
func (s *Store) About(ctx context.Context, appID string, most int) ([]string, error) {
	var ids []string
	prefix := appKey(appID)
	err := s.view(ctx, func(t *bbolt.Tx) error {
		c := t.Bucket([]byte(inApps)).Cursor()
		// The newest come last: begin behind all keys with the prefix and go back.
		var key, record []byte
		if behind, _ := c.Seek(append(bytes.Clone(prefix), bytes.Repeat([]byte{0xff}, 9)...)); behind == nil {
			key, record = c.Last()
		} else {
			key, record = c.Prev()
		}
		for ; bytes.HasPrefix(key, prefix) && key != nil && len(ids) < most; key, record = c.Prev() {
			n, err := readNumber(inApps, key, record)
			if err != nil {
				return err
			}
			ids = append(ids, idOf(n))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.Reverse(ids)
	return ids, nil
}

// under calls yield with every record whose key begins with prefix, by key.
func (s *Store) under(ctx context.Context, bucket string, prefix []byte, yield func(key, body []byte) error) error {
	return s.view(ctx, func(t *bbolt.Tx) error {
		c := t.Bucket([]byte(bucket)).Cursor()
		for key, record := c.Seek(prefix); bytes.HasPrefix(key, prefix) && key != nil; key, record = c.Next() {
			body, err := unseal(bucket, key, record)
			if err != nil {
				return err
			}
			if err := yield(key, body); err != nil {
				return err
			}
		}
		return nil
	})
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
	for from, end := number(0), number(last); from != nil && bytes.Compare(from, end) <= 0; {
		var some []held
		from, err = s.chunkOf(ctx, inConversations, from, func(key, body []byte) error {
			if n, err := numberIn(inConversations, key); err != nil || n > last {
				return err
			}
			h, err := readHeld(key, body)
			some = append(some, h)
			return err
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

// eachOf calls yield with every record of a bucket, in short transactions: what
// is written meanwhile may be among them. Key and body are good until it returns.
func (s *Store) eachOf(ctx context.Context, bucket string, yield func(key, body []byte) error) (err error) {
	for from := []byte{}; from != nil; {
		if from, err = s.chunkOf(ctx, bucket, from, yield); err != nil {
			return err
		}
	}
	return nil
}

// chunkOf calls yield with the first records of a bucket from a key on, and
// returns the key to go on at, nil when there is none.
func (s *Store) chunkOf(ctx context.Context, bucket string, from []byte, yield func(key, body []byte) error) (next []byte, err error) {
	err = s.view(ctx, func(t *bbolt.Tx) error {
		c := t.Bucket([]byte(bucket)).Cursor()
		key, record := c.Seek(from)
		for read := 0; key != nil; key, record = c.Next() {
			if read++; read > chunk {
				next = bytes.Clone(key)
				return nil
			}
			body, err := unseal(bucket, key, record)
			if err != nil {
				return err
			}
			if err := yield(key, body); err != nil {
				return err
			}
		}
		return nil
	})
	return next, err
}

// numberIn returns the number that a key is.
func numberIn(bucket string, key []byte) (uint64, error) {
	if len(key) != 8 {
		return 0, damaged(bucket, key, "its key is no number")
	}
	return binary.BigEndian.Uint64(key), nil
}

// Journal implements [store.Store].
func (s *Store) Journal(ctx context.Context, id string) ([]store.Entry, error) {
	var entries []store.Entry
	err := s.view(ctx, func(t *bbolt.Tx) error {
		newest, cut, err := newestOf(t, id)
		if err != nil {
			return err
		}
		for seq := newest; seq > cut; {
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

// newestOf returns the number of a conversation's newest journal entry, or for
// "" of the store's own, and that of the last entry that has left the journal.
func newestOf(t *bbolt.Tx, id string) (newest, cut uint64, err error) {
	if id != "" {
		h, err := getHeld(t, numberOf(id))
		return h.newest, 0, err
	}
	if newest, err = getNumber(t, inMeta, keyNewest); err != nil {
		return 0, 0, err
	}
	c, err := getCut(t)
	return newest, c.seq, err
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
			s.lines.set(d.Line, d.waiting(binary.BigEndian.Uint64(key)))
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

// readNumber returns the number that a record holds.
func readNumber(bucket string, key, record []byte) (uint64, error) {
	body, err := unseal(bucket, key, record)
	if err != nil {
		return 0, err
	}
	return numberAs(bucket, key, body)
}

// numberAs returns the number that is the body of a record.
func numberAs(bucket string, key, body []byte) (uint64, error) {
	if len(body) != 8 {
		return 0, damaged(bucket, key, "it is no number")
	}
	return binary.BigEndian.Uint64(body), nil
}

// getNumber returns the number under key, or 0.
func getNumber(t *bbolt.Tx, bucket string, key []byte) (uint64, error) {
	record := t.Bucket([]byte(bucket)).Get(key)
	if record == nil {
		return 0, nil
	}
	return readNumber(bucket, key, record)
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
