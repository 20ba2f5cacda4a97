package bolt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

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
	err := s.write(ctx, 1, func(t *tx) (err error) {
		applied, err = t.apply(in)
		return err
	})
	if err != nil {
		return store.Applied{}, err // applied may still be written to
	}
	return applied, nil
}

// ApplyAll implements [store.Store]. When ctx ends while the commit is under
// way, its error is returned and the batch, which is still read then, may be
// applied nevertheless.
func (s *Store) ApplyAll(ctx context.Context, b store.Batch) ([]store.Applied, error) {
	if err := b.Check(); err != nil {
		return nil, err
	}
	var applied []store.Applied
	err := s.write(ctx, max(1, len(b.Inputs)), func(t *tx) (err error) {
		applied, err = t.applyAll(b)
		return err
	})
	if err != nil {
		return nil, err // applied may still be written to
	}
	return applied, nil
}

// Begin implements [store.Store].
func (s *Store) Begin(ctx context.Context, d store.Delivery, at time.Time) error {
	return s.write(ctx, 1, func(t *tx) error { return t.begin(d.ID, at) })
}

// Settle implements [store.Store]. When ctx ends while the commit is under way,
// its error is returned and the outcomes may be kept nevertheless.
func (s *Store) Settle(ctx context.Context, all ...store.Settled) error {
	for _, one := range all {
		if err := one.Outcome.Check(); err != nil {
			return err
		}
	}
	return s.write(ctx, max(1, len(all)), func(t *tx) error {
		for _, one := range all {
			if err := t.settle(one.Delivery.ID, one.Outcome); err != nil {
				return err
			}
		}
		return nil
	})
}

// Remember implements [store.Store].
func (s *Store) Remember(ctx context.Context, key, value string) error {
	if err := store.CheckMemory(key); err != nil {
		return err
	}
	return s.write(ctx, 1, func(t *tx) error { return t.remember(key, value) })
}

func (t *tx) applyAll(b store.Batch) ([]store.Applied, error) {
	applied := make([]store.Applied, len(b.Inputs))
	for i, in := range b.Inputs {
		var err error
		if applied[i], err = t.apply(in); err != nil {
			return nil, b.Failed(i, err)
		}
	}
	for _, q := range b.Quarantine {
		if err := t.room(); err != nil {
			return nil, err
		}
		if err := t.quarantine(q); err != nil {
			return nil, err
		}
	}
	for _, id := range b.Release {
		if _, _, err := t.release(id); err != nil {
			return nil, err
		}
	}
	return applied, nil
}

func (t *tx) apply(in store.Input) (store.Applied, error) {
	n, err := getNumber(t.Tx, inSeen, []byte(in.Event))
	if err != nil {
		return store.Applied{}, err
	}
	if n != 0 {
		was, err := t.held(n)
		if errors.Is(err, store.ErrNotFound) {
			was.is.ID, err = idOf(n), nil
		}
		return store.Applied{Conversation: was.is}, err
	}
	n, was, again, err := t.target(in)
	if err != nil || in.Known && !again {
		return store.Applied{}, err
	}
	if again && in.Repeat != nil && in.Repeat(was.is) {
		return store.Applied{Conversation: was.is}, nil
	}
	if in.Conversation == "" { // from a feed, or opening one: its sender comes again
		if err := t.room(); err != nil {
			return store.Applied{}, err
		}
	}
	step := in.Step
	if again {
		step = in.Again
	}
	if step == nil {
		return store.Applied{Again: true, Conversation: was.is}, nil
	}
	is, err := t.advance(n, was, step, in.At, in.Event, in.Urgent)
	if err != nil {
		return store.Applied{}, err
	}
	if in.Finding != "" && !again {
		if err := t.put(inFindings, []byte(in.Finding), number(n)); err != nil {
			return store.Applied{}, err
		}
	}
	return store.Applied{Fresh: true, Again: again, Conversation: is}, t.see(in.Event, n)
}

// target returns the conversation that a new event is for, with only an id when
// it opens one. again says that the event's finding opened it before.
func (t *tx) target(in store.Input) (n uint64, was held, again bool, err error) {
	if in.Conversation != "" {
		n = numberOf(in.Conversation)
		was, err = t.held(n)
		return n, was, false, err
	}
	if in.Finding != "" {
		if n, err = getNumber(t.Tx, inFindings, []byte(in.Finding)); err != nil {
			return 0, was, false, err
		}
	}
	if n != 0 {
		if was, err = t.held(n); !errors.Is(err, store.ErrNotFound) {
			return n, was, true, err
		}
	}
	n = t.Bucket([]byte(inConversations)).Sequence() + 1
	was.is.ID = idOf(n)
	return n, was, false, nil
}

// waits returns delivery id while it waits.
func (t *tx) waits(id uint64) (d delivery, does bool, err error) {
	key := number(id)
	body, err := get(t.Tx, inDeliveries, key)
	if err != nil || body == nil {
		return d, false, err
	}
	d, err = readDelivery(inDeliveries, key, body)
	return d, err == nil, err
}

func (t *tx) begin(id uint64, at time.Time) error {
	d, waits, err := t.waits(id)
	if err != nil || !waits {
		return err
	}
	d.MaybeSent = stampOf(at)
	return t.putDelivery(inDeliveries, id, d)
}

func (t *tx) settle(id uint64, o store.Outcome) error {
	d, waits, err := t.waits(id)
	if err != nil || !waits {
		return err
	}
	if !o.RetryAt.IsZero() || o.Abandoned {
		if !o.Held {
			d.Attempts++
		}
		d.LastError = o.Error
	}
	if o.Unsent {
		d.MaybeSent = 0
	}
	if !o.RetryAt.IsZero() {
		d.Due = stampOf(o.RetryAt)
		return t.putDelivery(inDeliveries, id, d)
	}
	if o.Step != nil {
		was, err := t.held(d.Conversation)
		if err != nil {
			return err
		}
		if _, err := t.advance(d.Conversation, was, o.Step, o.At, store.EventOf(id), d.Urgent); err != nil {
			return err
		}
	}
	if err := t.delete(inDeliveries, number(id)); err != nil {
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
func (t *tx) advance(n uint64, was held, step store.Step, at time.Time, event string, urgent bool) (conversation.Conversation, error) {
	id := was.is.ID
	next, effects, err := step.Try(was.is)
	if err != nil {
		return next, err
	}
	next.ID = id
	did, err := sort(n, next, effects, at, urgent)
	if err != nil {
		return next, err
	}
	entries, newest, err := t.entries(n, was.newest, did.records, at, event)
	if err != nil {
		return next, err
	}
	text, err := t.encode(&next)
	if err != nil {
		return next, fmt.Errorf("conversation %s cannot be kept: %w", id, err)
	}
	moved, err := moves(was.is, next)
	if err != nil {
		return next, err
	}

	if err := t.putHeld(n, newest, text); err != nil {
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
	for _, r := range did.memories {
		if err := t.remember(r.Key, r.Value); err != nil {
			return next, err
		}
	}
	for _, d := range did.deliveries {
		id, err := t.next(inDeliveries)
		if err != nil {
			return next, err
		}
		if t.past.unknownTo(n, d) {
			d.MaybeSent = t.past.since
		}
		if err := t.putDelivery(inDeliveries, id, d); err != nil {
			return next, err
		}
	}
	return next, nil
}

// sorted are effects by what becomes of them.
type sorted struct {
	deliveries []delivery
	records    []conversation.Record   // for the journal
	memories   []conversation.Remember // kept at once
}

// sort sorts the effects that conversation n had, which is now c.
func sort(n uint64, c conversation.Conversation, effects []conversation.Effect, at time.Time, urgent bool) (sorted, error) {
	var s sorted
	for _, e := range effects {
		switch e := e.(type) {
		case conversation.Record:
			s.records = append(s.records, e)
		case conversation.Remember:
			if err := store.CheckMemory(e.Key); err != nil {
				return s, err
			}
			s.memories = append(s.memories, e)
		default:
			d, err := newDelivery(n, c, e, at)
			if err != nil {
				return s, err
			}
			d.Urgent = urgent
			s.deliveries = append(s.deliveries, d)
		}
	}
	return s, nil
}

// entries returns records as the text of the entries that are to be appended
// to the journal next, and the number of the last, or before when there is none.
func (t *tx) entries(n, before uint64, records []conversation.Record, at time.Time, event string) (texts [][]byte, newest uint64, err error) {
	seq := t.Bucket([]byte(inJournal)).Sequence()
	for _, r := range records {
		text, err := t.encode(&entry{Conversation: n, Before: before, At: stampOf(at), By: r.By.ID, Text: r.Text, Event: event})
		if err != nil {
			return nil, 0, fmt.Errorf("the journal of %s cannot be kept: %w", idOf(n), err)
		}
		texts = append(texts, text)
		seq++
		before = seq
	}
	return texts, before, nil
}

// moved is what a conversation left and took, as keys: in threads the roots its
// threads hang on, in apps the app its facts name.
type moved struct {
	left, taken      [][]byte
	leftApp, tookApp string // "" for none
}

// maxThreadKey bounds channel and ts together, in bytes. Slack's have about 30.
const maxThreadKey = 1024

// moves returns what a conversation left and took.
func moves(was, is conversation.Conversation) (moved, error) {
	had, has := roots(was), roots(is) // nil is none
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
	from, err := store.AppOf(was)
	if err != nil {
		return m, err
	}
	to, err := store.AppOf(is)
	if err != nil {
		return m, err
	}
	if from != to {
		m.leftApp, m.tookApp = from, to
	}
	return m, nil
}

func roots(c conversation.Conversation) map[string]bool {
	var at map[string]bool
	for _, t := range c.Threads {
		if ts := t.RootTS(); ts != "" {
			if at == nil {
				at = map[string]bool{}
			}
			at[string(threadKey(t.Channel, ts))] = true
		}
	}
	return at
}

// move brings the indexes of threads and apps up to date. A root that two
// conversations claim is the later one's.
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
	if m.leftApp != "" {
		if err := t.delete(inApps, appKey(m.leftApp, n)); err != nil {
			return err
		}
	}
	if m.tookApp != "" {
		return t.put(inApps, appKey(m.tookApp, n), number(n))
	}
	return nil
}

// remember keeps a value, or forgets it when it is "".
func (t *tx) remember(key, value string) error {
	have, err := get(t.Tx, inRemembered, []byte(key))
	switch {
	case err != nil:
		return err
	case string(have) == value:
		return nil // nothing to write, whether it is there or neither is
	case value == "":
		return t.delete(inRemembered, []byte(key))
	}
	return t.put(inRemembered, []byte(key), []byte(value))
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
	if t.link == nil {
		if t.link, err = t.linkOf(seq - 1); err != nil {
			return err
		}
	}
	t.link = chain(t.link, seq, text)
	return t.put(inJournal, number(seq), t.link, text)
}

// linkOf returns the hash of journal entry seq; of none, 0, it is nothing.
func (t *tx) linkOf(seq uint64) ([]byte, error) {
	if seq == 0 {
		return make([]byte, hashSize), nil
	}
	body, err := get(t.Tx, inJournal, number(seq))
	if err != nil {
		return nil, err
	}
	if body == nil {
		if cut, err := getCut(t.Tx); err != nil || cut.seq == seq {
			return cut.hash, err
		}
	}
	if len(body) < hashSize {
		return nil, damaged(inJournal, number(seq), "it is missing or cut short")
	}
	return body[:hashSize], nil
}

// held returns conversation n, or store.ErrNotFound.
func (t *tx) held(n uint64) (held, error) { return getHeld(t.Tx, n) }

// putHeld puts a conversation, whose newest journal entry has that number.
func (t *tx) putHeld(n, newest uint64, text []byte) error {
	if b := t.Bucket([]byte(inConversations)); n > b.Sequence() {
		t.touched = true
		if err := b.SetSequence(n); err != nil {
			return err
		}
	}
	return t.put(inConversations, number(n), number(newest), text)
}

func (t *tx) putDelivery(bucket string, id uint64, d delivery) error {
	if bucket == inDeliveries {
		t.changes = append(t.changes, change{line: d.Line, waiting: d.waiting(id)})
	}
	text, err := t.encode(&d)
	if err != nil {
		return fmt.Errorf("a delivery (%s) of %s cannot be kept: %w", d.Kind, idOf(d.Conversation), err)
	}
	return t.put(bucket, number(id), text)
}

// encode returns v as JSON. The text lasts as long as the write that is
// running: its record is a copy.
func (t *tx) encode(v any) ([]byte, error) {
	start := t.texts.Len()
	if err := json.NewEncoder(&t.texts).Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(t.texts.Bytes()[start:], []byte("\n")), nil
}

// next returns a bucket's next number.
func (t *tx) next(bucket string) (uint64, error) {
	t.touched = true
	return t.Bucket([]byte(bucket)).NextSequence()
}

// fill is how full bbolt leaves a page that it splits: nearly, where keys only
// grow, since nothing is ever put in between.
const fill = .9

func (t *tx) put(bucket string, key []byte, body ...[]byte) error {
	t.touched = true
	b := t.Bucket([]byte(bucket))
	switch bucket {
	case inConversations, inJournal, inDeliveries, inSeenByAge, inQuarantined:
		b.FillPercent = fill
	}
	return b.Put(key, seal(bucket, key, body...))
}

func (t *tx) delete(bucket string, key []byte) error {
	t.touched = true
	return t.Bucket([]byte(bucket)).Delete(key)
}
