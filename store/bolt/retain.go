package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"rehome/conversation"
	"rehome/store"
)

// Forgetting what is long over. What is to go is found in small read
// transactions, and goes in small write transactions between everybody else's:
// one large deletion would hold up the bot, and leave a freelist that makes
// every later commit slower.
//
// The journal's hashes form a chain, so it is only ever cut at its old end: meta
// keeps the number and hash of the last entry that left, and the chain is
// checked from there on. One old conversation that is still open therefore keeps
// all entries after its first.

// Keys of meta that the journal needs.
var (
	keyNewest = []byte("newest-entry") // → number of the newest of the store's own journal entries
	keyCut    = []byte("journal-cut")  // → number of the last entry that left the journal, its hash
)

// forgetAtOnce is how many conversations, and forgetSmall how many small
// records, go in one transaction.
const (
	forgetAtOnce = 16
	forgetSmall  = 256
)

// Forget implements [store.Store].
func (s *Store) Forget(ctx context.Context, then, at time.Time) (f store.Forgotten, err error) {
	for _, forget := range []func(context.Context, time.Time, time.Time) (store.Forgotten, error){s.forgetConversations, s.forgetQuarantined, s.cutJournal} {
		some, err := forget(ctx, then, at)
		f.Add(some)
		if err != nil {
			return f, err
		}
	}
	return f, nil
}

// leaving is a conversation that may go, and what is kept of it where it is not
// known by its number.
type leaving struct {
	n         uint64
	findings  [][]byte
	abandoned []uint64
}

func (s *Store) forgetConversations(ctx context.Context, then, at time.Time) (f store.Forgotten, err error) {
	all, next, err := s.leaving(ctx, then)
	if err != nil {
		return f, err
	}
	f.Conversations, err = forgetSome(ctx, s, all, func(t *tx, some []*leaving) (gone int, err error) {
		busy, err := conversationsOf(t.Tx, next)
		if err != nil {
			return 0, err
		}
		for _, l := range some {
			if busy[l.n] {
				continue
			}
			did, err := t.forgetConversation(l, then, at)
			if err != nil {
				return 0, err
			}
			if did {
				gone++
			}
		}
		return gone, nil
	})
	return f, err
}

// forgetSome lets go of what is in a list, forgetAtOnce in a transaction, and
// returns how many went. Forget may be run again with the same ones; it returns
// how many of them went.
func forgetSome[T any](ctx context.Context, s *Store, all []T, forget func(t *tx, some []T) (int, error)) (gone int, err error) {
	for some := range slices.Chunk(all, forgetAtOnce) {
		went := 0
		err := s.write(ctx, len(some), func(t *tx) (err error) {
			went, err = forget(t, some)
			return err
		})
		if err != nil {
			return gone, err
		}
		gone += went
	}
	return gone, nil
}

// leaving returns the conversations that are over since before then and wait for
// nothing, and the id of the first delivery that came too late to be seen here.
func (s *Store) leaving(ctx context.Context, then time.Time) (all []*leaving, next uint64, err error) {
	byNumber := map[uint64]*leaving{}
	err = s.eachOf(ctx, inConversations, func(key, body []byte) error {
		if over, err := overBefore(key, body, then); err != nil || !over {
			return err
		}
		n, err := numberIn(inConversations, key)
		l := &leaving{n: n}
		byNumber[n], all = l, append(all, l)
		return err
	})
	if err != nil || len(all) == 0 {
		return nil, 0, err
	}
	busy := map[uint64]bool{}
	err = s.view(ctx, func(t *bbolt.Tx) error {
		next = t.Bucket([]byte(inDeliveries)).Sequence() + 1
		busy, err = conversationsOf(t, 0)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	for n := range busy {
		delete(byNumber, n)
	}
	if err := s.findOut(ctx, byNumber); err != nil {
		return nil, 0, err
	}
	free := all[:0]
	for _, l := range all {
		if byNumber[l.n] != nil {
			free = append(free, l)
		}
	}
	return free, next, nil
}

// overBefore reports whether a conversation is over since before then. Most are
// not, so that only what decides it is read.
func overBefore(key, body []byte, then time.Time) (bool, error) {
	if len(body) < 8 {
		return false, damaged(inConversations, key, "it is cut short")
	}
	var c struct {
		Status  conversation.Status `json:"status"`
		Updated time.Time           `json:"updated"`
	}
	if err := json.Unmarshal(body[8:], &c); err != nil {
		return false, damaged(inConversations, key, err.Error())
	}
	since, over := store.OverSince(conversation.Conversation{Status: c.Status, Updated: c.Updated})
	return over && since.Before(then), nil
}

// conversationsOf returns the conversations that deliveries with that id or a
// later one wait for.
func conversationsOf(t *bbolt.Tx, from uint64) (map[uint64]bool, error) {
	of := map[uint64]bool{}
	c := t.Bucket([]byte(inDeliveries)).Cursor()
	for key, record := c.Seek(number(from)); key != nil; key, record = c.Next() {
		n, err := conversationOf(inDeliveries, key, record)
		if err != nil {
			return nil, err
		}
		of[n] = true
	}
	return of, nil
}

// conversationOf returns the conversation that a delivery is of.
func conversationOf(bucket string, key, record []byte) (uint64, error) {
	body, err := unseal(bucket, key, record)
	if err != nil {
		return 0, err
	}
	var d struct {
		Conversation uint64 `json:"conversation"`
	}
	if err := json.Unmarshal(body, &d); err != nil {
		return 0, damaged(bucket, key, err.Error())
	}
	return d.Conversation, nil
}

// findOut finds the findings and the deliveries given up of what leaves.
func (s *Store) findOut(ctx context.Context, leaving map[uint64]*leaving) error {
	err := s.eachOf(ctx, inFindings, func(key, body []byte) error {
		n, err := numberAs(inFindings, key, body)
		if l := leaving[n]; err == nil && l != nil {
			l.findings = append(l.findings, bytes.Clone(key))
		}
		return err
	})
	if err != nil {
		return err
	}
	return s.view(ctx, func(t *bbolt.Tx) error {
		return t.Bucket([]byte(inAbandoned)).ForEach(func(key, record []byte) error {
			n, err := conversationOf(inAbandoned, key, record)
			if l := leaving[n]; err == nil && l != nil {
				l.abandoned = append(l.abandoned, binary.BigEndian.Uint64(key))
			}
			return err
		})
	})
}

// forgetConversation forgets a conversation, unless it has come to life again.
func (t *tx) forgetConversation(l *leaving, then, at time.Time) (bool, error) {
	h, err := t.held(l.n)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	since, over := store.OverSince(h.is)
	if !over || !since.Before(then) {
		return false, nil
	}
	m, err := moves(h.is, conversation.Conversation{})
	if err != nil {
		return false, err
	}
	if err := t.move(l.n, m); err != nil {
		return false, err
	}
	for _, finding := range l.findings {
		if err := t.delete(inFindings, finding); err != nil {
			return false, err
		}
	}
	for _, id := range l.abandoned {
		if err := t.delete(inAbandoned, number(id)); err != nil {
			return false, err
		}
	}
	if err := t.delete(inConversations, number(l.n)); err != nil {
		return false, err
	}
	return true, t.say(at, store.EventForget, store.SayForgotten(idOf(l.n), since))
}

func (s *Store) forgetQuarantined(ctx context.Context, then, at time.Time) (f store.Forgotten, err error) {
	all, err := s.Quarantined(ctx)
	if err != nil {
		return f, err
	}
	var old []uint64
	for _, q := range all {
		if q.Last.Before(then) {
			old = append(old, q.ID)
		}
	}
	f.Quarantined, err = forgetSome(ctx, s, old, func(t *tx, some []uint64) (gone int, err error) {
		for _, id := range some {
			q, was, err := t.quarantined(id)
			if err != nil {
				return 0, err
			}
			if !was || !q.Last.Before(then) { // it came again meanwhile
				continue
			}
			if _, _, err := t.release(id); err != nil {
				return 0, err
			}
			if err := t.say(at, store.EventForget, store.SayExpired(q)); err != nil {
				return 0, err
			}
			gone++
		}
		return gone, nil
	})
	return f, err
}

// cutJournal lets the oldest entries go while they are older than then and of
// nothing that is still there.
func (s *Store) cutJournal(ctx context.Context, then, _ time.Time) (f store.Forgotten, err error) {
	for {
		gone := 0
		err := s.write(ctx, 1, func(t *tx) (err error) {
			gone, err = t.cutJournal(then)
			return err
		})
		if err != nil {
			return f, err
		}
		if f.Entries += gone; gone < forgetSmall {
			return f, nil
		}
	}
}

func (t *tx) cutJournal(then time.Time) (gone int, err error) {
	var old [][]byte
	var last []byte // hash of the last of them
	c := t.Bucket([]byte(inJournal)).Cursor()
	for key, record := c.First(); key != nil && len(old) < forgetSmall; key, record = c.Next() {
		body, err := unseal(inJournal, key, record)
		if err != nil {
			return 0, err
		}
		e, err := readEntry(key, body)
		if err != nil {
			return 0, err
		}
		if !e.At.time().Before(then) || e.Conversation != 0 && t.Bucket([]byte(inConversations)).Get(number(e.Conversation)) != nil {
			break
		}
		old = append(old, bytes.Clone(key))
		last = bytes.Clone(body[:hashSize])
	}
	if len(old) == 0 {
		return 0, nil
	}
	for _, key := range old {
		if err := t.delete(inJournal, key); err != nil {
			return 0, err
		}
	}
	return len(old), t.put(inMeta, keyCut, old[len(old)-1], last)
}

// cut is where the journal begins: behind an entry with that number and hash.
type cut struct {
	seq  uint64
	hash []byte
}

// getCut returns where the journal was cut; at 0, with the hash of nothing, when
// it never was.
func getCut(t *bbolt.Tx) (cut, error) {
	body, err := get(t, inMeta, keyCut)
	switch {
	case err != nil:
		return cut{}, err
	case body == nil:
		return cut{hash: make([]byte, hashSize)}, nil
	case len(body) != 8+hashSize:
		return cut{}, damaged(inMeta, keyCut, "it is cut short")
	}
	return cut{binary.BigEndian.Uint64(body), bytes.Clone(body[8:])}, nil
}

// say puts a line into the store's own journal.
func (t *tx) say(at time.Time, event, text string) error {
	before, err := getNumber(t.Tx, inMeta, keyNewest)
	if err != nil {
		return err
	}
	texts, newest, err := t.entries(0, before, []conversation.Record{{Text: text}}, at, event)
	if err != nil {
		return err
	}
	for _, text := range texts {
		if err := t.append(text); err != nil {
			return err
		}
	}
	return t.put(inMeta, keyNewest, number(newest))
}
