package bolt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"rehome/store"
)

// Records that could not be read are kept once for each source and body: a feed
// that sends the same broken record every day fills neither the file nor the
// list.

// Discard implements [store.Store].
func (s *Store) Discard(ctx context.Context, at time.Time, ids ...uint64) ([]store.Quarantined, error) {
	var gone []store.Quarantined
	err := s.write(ctx, max(1, len(ids)), func(t *tx) error {
		gone = nil // it may be run again
		for _, id := range ids {
			q, was, err := t.release(id)
			if err != nil {
				return err
			}
			if !was {
				continue
			}
			if err := t.say(at, store.EventDiscard, store.SayDiscarded(q)); err != nil {
				return err
			}
			gone = append(gone, q)
		}
		return nil
	})
	if err != nil {
		return nil, err // gone may still be written to
	}
	return gone, nil
}

// sameAs is the key by which a record is known when it comes again.
func sameAs(source string, body []byte) []byte {
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(source))))
	h.Write([]byte(source))
	h.Write(body)
	return h.Sum(nil)
}

// quarantine keeps a record aside, or counts it.
func (t *tx) quarantine(q store.Quarantined) error {
	as := sameAs(q.Source, q.Body)
	id, err := getNumber(t.Tx, inQuarantinedAs, as)
	if err != nil {
		return err
	}
	if id == 0 {
		if id, err = t.next(inQuarantined); err != nil {
			return err
		}
		if err := t.put(inQuarantinedAs, as, number(id)); err != nil {
			return err
		}
		q.Last, q.Count = q.At, 1
		return t.putQuarantined(id, q)
	}
	have, was, err := t.quarantined(id)
	if err != nil {
		return err
	}
	if !was {
		return damaged(inQuarantined, number(id), "it is missing")
	}
	have.Last, have.Why = q.At, q.Why
	have.Count++
	return t.putQuarantined(id, have)
}

func (t *tx) putQuarantined(id uint64, q store.Quarantined) error {
	text, err := t.encode(&quarantined{At: stampOf(q.At), Last: stampOf(q.Last), Count: q.Count, Source: q.Source, Why: q.Why, Body: q.Body})
	if err != nil {
		return fmt.Errorf("a record from %s cannot be kept aside: %w", q.Source, err)
	}
	return t.put(inQuarantined, number(id), text)
}

// quarantined returns record id, when it is there.
func (t *tx) quarantined(id uint64) (q store.Quarantined, was bool, err error) {
	body, err := get(t.Tx, inQuarantined, number(id))
	if err != nil || body == nil {
		return q, false, err
	}
	q, err = readQuarantined(number(id), body)
	return q, err == nil, err
}

// release lets go of record id and returns it, when it was there.
func (t *tx) release(id uint64) (q store.Quarantined, was bool, err error) {
	if q, was, err = t.quarantined(id); err != nil || !was {
		return q, was, err
	}
	if err := t.delete(inQuarantinedAs, sameAs(q.Source, q.Body)); err != nil {
		return q, was, err
	}
	return q, was, t.delete(inQuarantined, number(id))
}

// fillQuarantinedAs makes one of records that are the same: the oldest, which
// takes over the count and the last reason.
func fillQuarantinedAs(t *tx) error {
	var ids []uint64
	for c, key := first(t.Bucket([]byte(inQuarantined))); key != nil; key, _ = c.Next() {
		ids = append(ids, binary.BigEndian.Uint64(key))
	}
	for _, id := range ids {
		q, _, err := t.quarantined(id)
		if err != nil {
			return err
		}
		as := sameAs(q.Source, q.Body)
		one, err := getNumber(t.Tx, inQuarantinedAs, as)
		if err != nil {
			return err
		}
		if one == 0 {
			if err := t.put(inQuarantinedAs, as, number(id)); err != nil {
				return err
			}
			continue
		}
		q.Body = bytes.Clone(q.Body)
		if err := t.delete(inQuarantined, number(id)); err != nil {
			return err
		}
		if err := t.quarantine(q); err != nil {
			return err
		}
	}
	return nil
}
