package bolt

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"rehome/conversation"
	"rehome/store"
)

// Apply implements [store.Store]. When ctx ends while the commit is under way,
// its error is returned and the event may be applied nevertheless.
func (s *Store) Apply(ctx context.Context, in store.Input) (store.Applied, error) {
	if err := in.Check(); err != nil {
		return store.Applied{}, err
	}
	var applied store.Applied
	err := s.write(ctx, func(t *tx) (err error) {
		applied, err = t.apply(in)
		return err
	})
	if err != nil {
		return store.Applied{}, err // applied may still be written to
	}
	return applied, nil
}

// Settle implements [store.Store]. When ctx ends while the commit is under way,
// its error is returned and the outcome may be kept nevertheless.
func (s *Store) Settle(ctx context.Context, d store.Delivery, o store.Outcome) error {
	if err := o.Check(); err != nil {
		return err
	}
	return s.write(ctx, func(t *tx) error { return t.settle(d.ID, o) })
}

func (t *tx) apply(in store.Input) (store.Applied, error) {
	n, err := t.known(in)
	if err != nil {
		return store.Applied{}, err
	}
	if n != 0 {
		was, err := t.held(n)
		return store.Applied{Conversation: was.is}, err
	}
	var was held
	if in.Conversation == "" {
		n = t.Bucket([]byte(inConversations)).Sequence() + 1
		was.is.ID = idOf(n)
	} else {
		n = numberOf(in.Conversation)
		if was, err = t.held(n); err != nil {
			return store.Applied{}, err
		}
	}
	is, err := t.advance(n, was, in.Step, in.At, in.Event)
	if err != nil {
		return store.Applied{}, err
	}
	if in.Finding != "" {
		if err := t.put(inFindings, []byte(in.Finding), number(n)); err != nil {
			return store.Applied{}, err
		}
	}
	return store.Applied{Fresh: true, Conversation: is}, t.remember(in.Event, n)
}

// known returns the conversation that the event went to, or the finding opened;
// 0 when both are new.
func (t *tx) known(in store.Input) (uint64, error) {
	n, err := getNumber(t.Tx, inSeen, []byte(in.Event))
	if n != 0 || err != nil || in.Finding == "" {
		return n, err
	}
	return getNumber(t.Tx, inFindings, []byte(in.Finding))
}

func (t *tx) settle(id uint64, o store.Outcome) error {
	key := number(id)
	body, err := get(t.Tx, inDeliveries, key)
	if err != nil || body == nil {
		return err
	}
	d, err := readDelivery(inDeliveries, key, body)
	if err != nil {
		return err
	}
	if !o.RetryAt.IsZero() || o.Abandoned {
		d.Attempts++
		d.LastError = o.Error
	}
	if !o.RetryAt.IsZero() {
		d.Due = o.RetryAt
		return t.putDelivery(inDeliveries, id, d)
	}
	if o.Step != nil {
		was, err := t.held(d.Conversation)
		if err != nil {
			return err
		}
		if _, err := t.advance(d.Conversation, was, o.Step, o.At, store.EventOf(id)); err != nil {
			return err
		}
	}
	if err := t.delete(inDeliveries, key); err != nil {
		return err
	}
	t.changes = append(t.changes, change{line: d.Line, waiting: waiting{id: id}, gone: true})
	if !o.Abandoned {
		return nil
	}
	d.Abandoned = true
	return t.putDelivery(inAbandoned, id, d)
}

// advance applies a step to a conversation and puts all that came of it. What
// can be wrong with the step's results is found before anything is put.
func (t *tx) advance(n uint64, was held, step store.Step, at time.Time, event string) (conversation.Conversation, error) {
	id := was.is.ID
	next, effects, err := step.Try(was.is)
	if err != nil {
		return next, err
	}
	next.ID = id
	deliveries, records, err := sort(n, effects, at)
	if err != nil {
		return next, err
	}
	entries, newest, err := t.entries(n, was.newest, records, at, event)
	if err != nil {
		return next, err
	}
	body, err := held{newest: newest, is: next}.body()
	if err != nil {
		return next, err
	}
	moved, err := moves(was.is, next)
	if err != nil {
		return next, err
	}

	if err := t.putHeld(n, body); err != nil {
		return next, err
	}
	if err := t.move(n, moved); err != nil {
		return next, err
	}
	for _, text := range entries {
		if err := t.append(text); err != nil {
			return next, err
		}
	}
	for _, d := range deliveries {
		id, err := t.next(inDeliveries)
		if err != nil {
			return next, err
		}
		if err := t.putDelivery(inDeliveries, id, d); err != nil {
			return next, err
		}
	}
	return next, nil
}

// sort parts effects into what is delivered and what goes into the journal.
func sort(n uint64, effects []conversation.Effect, at time.Time) (deliveries []delivery, records []conversation.Record, err error) {
	for _, e := range effects {
		if r, ok := e.(conversation.Record); ok {
			records = append(records, r)
			continue
		}
		d, err := newDelivery(n, e, at)
		if err != nil {
			return nil, nil, err
		}
		deliveries = append(deliveries, d)
	}
	return deliveries, records, nil
}

// entries returns records as the text of the entries that are to be appended
// to the journal next, and the number of the last, or before when there is none.
func (t *tx) entries(n, before uint64, records []conversation.Record, at time.Time, event string) (texts [][]byte, newest uint64, err error) {
	seq := t.Bucket([]byte(inJournal)).Sequence()
	for _, r := range records {
		text, err := json.Marshal(entry{Conversation: n, Before: before, At: at, By: r.By.ID, Text: r.Text, Event: event})
		if err != nil {
			return nil, 0, fmt.Errorf("the journal of %s cannot be kept: %w", idOf(n), err)
		}
		texts = append(texts, text)
		seq++
		before = seq
	}
	return texts, before, nil
}

// moved are the roots, as keys, that a conversation's threads left and took.
type moved struct{ left, taken [][]byte }

// maxThreadKey bounds channel and ts together, in bytes. Slack's have about 30.
const maxThreadKey = 1024

// moves returns the roots that a conversation left and took.
func moves(was, is conversation.Conversation) (moved, error) {
	had, has := roots(was), roots(is)
	var m moved
	for key := range had {
		if !has[key] {
			m.left = append(m.left, []byte(key))
		}
	}
	for key := range has {
		if len(key) > maxThreadKey {
			return m, fmt.Errorf("conversation %s is in a thread whose channel and ts have %d bytes; at most %d are kept", is.ID, len(key), maxThreadKey)
		}
		if !had[key] {
			m.taken = append(m.taken, []byte(key))
		}
	}
	return m, nil
}

func roots(c conversation.Conversation) map[string]bool {
	at := map[string]bool{}
	for _, t := range c.Threads {
		if ts := t.RootTS(); ts != "" {
			at[string(threadKey(t.Channel, ts))] = true
		}
	}
	return at
}

// move brings the index of threads up to date. A root that two conversations
// claim is the later one's.
func (t *tx) move(n uint64, m moved) error {
	for _, key := range m.left {
		owner, err := getNumber(t.Tx, inThreads, key)
		if err != nil {
			return err
		}
		if owner != n {
			continue
		}
		if err := t.delete(inThreads, key); err != nil {
			return err
		}
	}
	for _, key := range m.taken {
		if err := t.put(inThreads, key, number(n)); err != nil {
			return err
		}
	}
	return nil
}

// hashSize is the length of the hash that chains a journal entry to the one
// before it.
const hashSize = sha256.Size

// chain returns the hash of entry seq: of the hash before it, its number and
// its text. A journal of which something was taken out or changed does not add
// up any more.
func chain(before []byte, seq uint64, text []byte) []byte {
	h := sha256.New()
	h.Write(before)
	h.Write(number(seq))
	h.Write(text)
	return h.Sum(nil)
}

// append puts an entry's text at the end of the journal.
func (t *tx) append(text []byte) error {
	seq, err := t.next(inJournal)
	if err != nil {
		return err
	}
	before := make([]byte, hashSize) // of the first: nothing
	if seq > 1 {
		last := number(seq - 1)
		body, err := get(t.Tx, inJournal, last)
		if err != nil {
			return err
		}
		if len(body) < hashSize {
			return damaged(inJournal, last, "it is missing or cut short")
		}
		before = body[:hashSize]
	}
	return t.put(inJournal, number(seq), append(chain(before, seq, text), text...))
}

// remember keeps an event's key.
func (t *tx) remember(event string, n uint64) error {
	if err := t.put(inSeen, []byte(event), number(n)); err != nil {
		return err
	}
	seq, err := t.next(inSeenByAge)
	if err != nil {
		return err
	}
	return t.put(inSeenByAge, append(number(uint64(time.Now().UnixNano())), number(seq)...), []byte(event))
}

// forget drops at most limit of the event keys that were taken in before then:
// a little with each transaction, so that none is ever large for it.
func (t *tx) forget(then time.Time, limit int) error {
	var old [][]byte
	for c, key := first(t.Bucket([]byte(inSeenByAge))); key != nil && len(old) < limit; key, _ = c.Next() {
		if binary.BigEndian.Uint64(key) >= uint64(then.UnixNano()) {
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

// held returns conversation n, or store.ErrNotFound.
func (t *tx) held(n uint64) (held, error) { return getHeld(t.Tx, n) }

func (t *tx) putHeld(n uint64, body []byte) error {
	if b := t.Bucket([]byte(inConversations)); n > b.Sequence() {
		t.touched = true
		if err := b.SetSequence(n); err != nil {
			return err
		}
	}
	return t.put(inConversations, number(n), body)
}

func (t *tx) putDelivery(bucket string, id uint64, d delivery) error {
	if bucket == inDeliveries {
		t.changes = append(t.changes, change{line: d.Line, waiting: waiting{id: id, due: d.Due}})
	}
	text, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return t.put(bucket, number(id), text)
}

// next returns a bucket's next number.
func (t *tx) next(bucket string) (uint64, error) {
	t.touched = true
	return t.Bucket([]byte(bucket)).NextSequence()
}

// fill is how full bbolt leaves a page that it splits: nearly, where keys only
// grow, since nothing is ever put in between.
const fill = .9

func (t *tx) put(bucket string, key, body []byte) error {
	t.touched = true
	b := t.Bucket([]byte(bucket))
	switch bucket {
	case inConversations, inJournal, inDeliveries, inSeenByAge:
		b.FillPercent = fill
	}
	return b.Put(key, seal(bucket, key, body))
}

func (t *tx) delete(bucket string, key []byte) error {
	t.touched = true
	return t.Bucket([]byte(bucket)).Delete(key)
}
