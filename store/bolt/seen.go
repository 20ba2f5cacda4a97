package bolt

import (
	"context"
	"encoding/binary"
	"time"

	"go.etcd.io/bbolt"
)

// The keys of events that were taken in, and how long they are kept. Senders
// repeat an event for up to a day, so that a key which is dropped too soon makes
// two of one. The clock on the wall cannot say how old a key is: it is set a day
// ahead by mistake, and back. So a key is stamped with the age of the store,
// which grows only while the store is open, by the clock that nobody sets, and
// goes on after a restart from the newest key there is. It may lag behind the
// time of day, and then keys live longer.

// An age is that of a store, in nanoseconds; where it began does not matter.
type age uint64

// ages tells a store's age.
type ages struct {
	was  age       // when the store was opened
	then time.Time // when that was; Since does not heed the clock on the wall
}

func (a ages) now() age { return a.was + age(time.Since(a.then)) }

// readAges returns the ages that go on from the newest key in the file.
func (s *Store) readAges() (ages, error) {
	a := ages{was: age(time.Now().UnixNano()), then: time.Now()}
	err := s.view(context.Background(), func(t *bbolt.Tx) error {
		key, _ := t.Bucket([]byte(inSeenByAge)).Cursor().Last()
		switch {
		case key == nil: // any age will do for the first
		case len(key) != 16:
			return damaged(inSeenByAge, key, "it is no age and number")
		default:
			a.was = age(binary.BigEndian.Uint64(key))
		}
		return nil
	})
	return a, err
}

// see keeps an event's key.
func (t *tx) see(event string, n uint64) error {
	if err := t.put(inSeen, []byte(event), number(n)); err != nil {
		return err
	}
	seq, err := t.next(inSeenByAge)
	if err != nil {
		return err
	}
	return t.put(inSeenByAge, append(number(uint64(t.age)), number(seq)...), []byte(event))
}

// forget drops at most limit of the event keys that were taken in before then:
// a little with each transaction, so that none is ever large for it.
func (t *tx) forget(then age, limit int) error {
	var old [][]byte
	for c, key := first(t.Bucket([]byte(inSeenByAge))); key != nil && len(old) < limit; key, _ = c.Next() {
		if age(binary.BigEndian.Uint64(key)) >= then {
			break
		}
		old = append(old, key)
	}
	for _, key := range old {
		event, err := get(t.Tx, inSeenByAge, key)
		if err != nil {
			return err
		}
		if err := t.delete(inSeen, event); err != nil {
			return err
		}
		if err := t.delete(inSeenByAge, key); err != nil {
			return err
		}
	}
	return nil
}

func first(b *bbolt.Bucket) (*bbolt.Cursor, []byte) {
	c := b.Cursor()
	key, _ := c.First()
	return c, key
}
