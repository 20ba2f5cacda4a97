package bolt

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"time"

	"go.etcd.io/bbolt"

	"rehome/policy"
	"rehome/store"
)

// Examining a file: everything that can be told without asking anybody. It
// changes nothing, and goes on after a problem, so that whoever must decide
// what to do sees all of it.

// Examined is what a file has and what is wrong with it.
type Examined struct {
	Path          string        `json:"path"`
	Size          int64         `json:"size"`      // bytes
	FreePages     int           `json:"freePages"` // that the file has and nothing is in; Compact gives them back
	Schema        uint64        `json:"schema"`
	BackupOf      *time.Time    `json:"backupOf"` // when it was made as a backup; null for a store
	Conversations int           `json:"conversations"`
	Deliveries    int           `json:"deliveries"` // that wait
	Abandoned     int           `json:"abandoned"`
	Quarantined   int           `json:"quarantined"`
	Journal       Journal       `json:"journal"`
	Did           []store.Entry `json:"did"` // what was done to the store itself, oldest first; the newest 20
	Problems      []Problem     `json:"problems"`
	Notes         []Problem     `json:"notes"` // that harm nothing yet

	Swept []string `json:"swept,omitempty"` // unfinished files that a process which was killed had left, and that are removed

	id []byte
}

// Journal says where a journal ends: two files whose last hashes are the same
// have had the same happen in them.
type Journal struct {
	Entries int        `json:"entries"`
	Last    uint64     `json:"last"` // number of the last entry; 0 for none
	At      *time.Time `json:"at"`   // of the last entry that is there
	Hash    string     `json:"hash"`
}

// Problem is something wrong with a file.
type Problem struct {
	Where string `json:"where"` // "conversation RH-7", "the file"
	What  string `json:"what"`
	Do    string `json:"do"` // what to do about it
}

// Where problems are that are of no one record.
const (
	theFile     = "the file"
	theJournal  = "the journal"
	theSentinel = "the sentinel"
)

// manyFreePages is from where on free pages slow each commit down noticeably: the
// list of them is written with each. A variable for tests.
var manyFreePages = 20_000

const (
	mostProblems = 100
	mostDid      = 20

	itIsDamaged = "it is damaged: "

	doRestore = "stop the bot, move the file away and restore the newest backup: rehome restore"
	doReport  = "restore the newest backup that checks clean, and please report this"
)

// Examine reads all of the file at path, a store or a backup: its structure,
// the checksum of every record, the journal's chain, whether the indexes agree
// with what they index, and its sentinel. What is wrong with it is in Problems;
// an error means that it could not be read at all, as when it is not there or
// another process holds it (ErrLocked).
func Examine(path string) (Examined, error) { return ExamineCopy(path, path) }

// ExamineCopy examines a copy of a store instead of the store itself, which
// another process holds, and the store's own sentinel.
func ExamineCopy(path, of string) (Examined, error) {
	x := examiner{found: Examined{Path: of, Did: []store.Entry{}, Problems: []Problem{}, Notes: []Problem{}}}
	stat, err := os.Stat(path)
	if err != nil {
		return x.found, err
	}
	x.found.Size = stat.Size()
	switch {
	case stat.IsDir():
		return x.found, folder(path)
	case stat.Size() == 0:
		x.problem(theFile, "it is empty", doRestore)
		return x.found, nil
	}
	o := ours
	o.readOnly = true
	db, err := openBolt(path, o)
	if errors.Is(err, ErrDamaged) {
		x.failed(err)
		return x.found, nil
	}
	if err != nil {
		return x.found, err
	}
	x.examine(db, path)
	if err := x.sentinel(of); err != nil {
		return x.found, errors.Join(err, db.Close())
	}
	return x.found, db.Close()
}

// An examiner gathers what the records say before they are compared.
type examiner struct {
	found Examined
	t     *bbolt.Tx

	conversations map[uint64]*examined
	last          map[uint64]uint64 // newest journal entry of each conversation that has one; 0 is the store itself
	cut           cut
	link          []byte          // hash of the journal's last entry read so far
	unread        map[uint64]bool // journal entries that are damaged
}

// examined is a conversation as far as others refer to it.
type examined struct {
	newest uint64
	roots  map[string]bool
	app    string
	unread bool // it is damaged
}

func (x *examiner) problem(where, what, do string) {
	switch n := len(x.found.Problems); {
	case n < mostProblems:
		x.found.Problems = append(x.found.Problems, Problem{where, what, do})
	case n == mostProblems:
		x.found.Problems = append(x.found.Problems, Problem{theFile, fmt.Sprintf("more than %d problems were found, and the rest is not listed", mostProblems), doRestore})
	}
}

// failed notes an error about a record or the file.
func (x *examiner) failed(err error) {
	var d *damage
	var file *damagedAs
	switch {
	case err == nil:
	case errors.As(err, &file):
		x.problem(theFile, itIsDamaged+file.why, doRestore)
	case errors.As(err, &d):
		x.problem(nameOf(d.bucket, d.key), d.what, doRestore)
	case errors.Is(err, ErrNewer):
		x.problem(theFile, err.Error(), "use the rehome that wrote it, or a newer one")
	case errors.Is(err, ErrForeign):
		x.problem(theFile, err.Error(), "name the store's own file")
	default:
		x.problem(theFile, err.Error(), doReport)
	}
}

// nameOf names a record for people.
func nameOf(bucket string, key []byte) string {
	if len(key) == 8 {
		n := binary.BigEndian.Uint64(key)
		switch bucket {
		case inConversations:
			return "conversation " + idOf(n)
		case inJournal:
			return "journal entry " + strconv.FormatUint(n, 10)
		case inDeliveries:
			return "delivery " + strconv.FormatUint(n, 10)
		case inAbandoned:
			return "abandoned delivery " + strconv.FormatUint(n, 10)
		case inQuarantined:
			return "quarantined record " + strconv.FormatUint(n, 10)
		}
	}
	return fmt.Sprintf("record %x in %s", key, bucket)
}

// examine sees that the pages can be read, and reads the records. bbolt's own
// check comes after, in a goroutine of its own in which a read of what is not
// mapped ends the process: by then all that it visits has been read.
func (x *examiner) examine(db *bbolt.DB, path string) {
	err := guarded(path, func() error {
		return db.View(func(t *bbolt.Tx) error {
			if err := uncut(t, path, x.found.Size); err != nil {
				return err
			}
			err := checkTree(t, path)
			if err != nil {
				return err
			}
			if x.found.id, x.found.Schema, err = identify(t, path); err != nil {
				return err
			}
			x.t = t
			return x.records()
		})
	})
	if err != nil {
		x.failed(err)
		return
	}
	err = guarded(path, func() error {
		return db.View(func(t *bbolt.Tx) error {
			for err := range t.Check() {
				x.problem(theFile, "its structure is broken: "+err.Error(), doRestore)
			}
			return nil
		})
	})
	x.failed(err)
	if x.found.FreePages = db.Stats().FreePageN; x.found.FreePages > manyFreePages {
		x.found.Notes = append(x.found.Notes, Problem{theFile, fmt.Sprintf("%d pages of it are free, which makes every commit slower", x.found.FreePages), "stop the bot and run: rehome compact"})
	}
	if x.found.Schema < schema {
		x.found.Notes = append(x.found.Notes, Problem{theFile, fmt.Sprintf("an older rehome wrote it (schema %d, now %d)", x.found.Schema, schema), "nothing: it is brought up to date when the bot starts, and a backup is kept"})
	}
}

// records reads every record, and compares those that must agree.
func (x *examiner) records() error {
	at, err := backupOf(x.t)
	if x.failed(err); !at.IsZero() {
		x.found.BackupOf = &at
	}
	x.cut, err = getCut(x.t)
	x.failed(err)
	x.conversations, x.last, x.unread = map[uint64]*examined{}, map[uint64]uint64{}, map[uint64]bool{}
	// In this order: what is referred to comes before what refers to it.
	for _, one := range []struct {
		bucket string
		read   func(key, body []byte) error
	}{
		{inMeta, nil},
		{inConversations, x.conversation},
		{inThreads, x.thread},
		{inApps, x.app},
		{inFindings, x.refers},
		{inSeen, x.event},
		{inSeenByAge, x.age},
		{inRemembered, nil},
		{inDeliveries, x.delivery(inDeliveries, &x.found.Deliveries)},
		{inAbandoned, x.delivery(inAbandoned, &x.found.Abandoned)},
		{inQuarantined, x.quarantined},
		{inQuarantinedAs, x.quarantinedAs},
	} {
		if err := x.each(one.bucket, one.read); err != nil {
			return err
		}
	}
	if err := x.journal(); err != nil {
		return err
	}
	return x.agree()
}

// each calls read with every record of a bucket whose checksum is right; what it
// returns is noted, and the next record read.
func (x *examiner) each(bucket string, read func(key, body []byte) error) error {
	b := x.t.Bucket([]byte(bucket))
	if b == nil {
		return nil // of an older file: identify has seen to it that it has its own
	}
	return b.ForEach(func(key, record []byte) error {
		body, err := unseal(bucket, key, record)
		switch {
		case err != nil:
			x.unreadable(bucket, key, record)
		case read != nil:
			err = read(key, body)
		}
		x.failed(err)
		return nil
	})
}

// unreadable lets what refers to a damaged record be: one problem is enough.
func (x *examiner) unreadable(bucket string, key, record []byte) {
	if len(key) != 8 {
		return
	}
	switch n := binary.BigEndian.Uint64(key); bucket {
	case inConversations:
		x.found.Conversations++
		x.conversations[n] = &examined{unread: true}
	case inJournal:
		x.unread[n] = true
		if len(record) >= recordHeader+hashSize {
			x.link = bytes.Clone(record[recordHeader : recordHeader+hashSize])
		}
	}
}

func (x *examiner) conversation(key, body []byte) error {
	x.found.Conversations++
	h, err := readHeld(key, body)
	if err != nil {
		return err
	}
	n, err := numberIn(inConversations, key)
	if err != nil {
		return err
	}
	x.conversations[n] = &examined{newest: h.newest, roots: roots(h.is), app: h.is.Facts.Value(policy.AppID)}
	if h.is.ID != idOf(n) {
		return damaged(inConversations, key, "it calls itself "+h.is.ID)
	}
	return x.given(inConversations, key)
}

// given notes a number that was not given out yet, and would be given out twice.
func (x *examiner) given(bucket string, key []byte) error {
	from := bucket
	if bucket == inAbandoned {
		from = inDeliveries
	}
	if last := x.t.Bucket([]byte(from)).Sequence(); binary.BigEndian.Uint64(key) > last {
		return damaged(bucket, key, fmt.Sprintf("its number was not given out yet: the last is %d", last))
	}
	return nil
}

func (x *examiner) thread(key, body []byte) error {
	c, n := x.of(body)
	if c == nil || !c.unread && !c.roots[string(key)] {
		return damaged(inThreads, key, "it names "+idOf(n)+", which has no such thread")
	}
	return nil
}

func (x *examiner) app(key, body []byte) error {
	c, n := x.of(body)
	if c == nil || !c.unread && !bytes.Equal(key, appKey(c.app, n)) {
		return damaged(inApps, key, "it names "+idOf(n)+", which is not about that app")
	}
	return nil
}

func (x *examiner) refers(key, body []byte) error {
	if c, n := x.of(body); c == nil {
		return damaged(inFindings, key, "it names "+idOf(n)+", which is not there")
	}
	return nil
}

// of returns the conversation whose number a body is, or nil.
func (x *examiner) of(body []byte) (*examined, uint64) {
	if len(body) != 8 {
		return nil, 0
	}
	n := binary.BigEndian.Uint64(body)
	return x.conversations[n], n
}

// event checks an event's key. The conversation that it went to may be forgotten.
func (x *examiner) event(key, body []byte) error {
	if _, n := x.of(body); n == 0 || n > x.t.Bucket([]byte(inConversations)).Sequence() {
		return damaged(inSeen, key, "it names "+idOf(n)+", which never was")
	}
	return nil
}

func (x *examiner) age(key, body []byte) error {
	if len(key) != 16 {
		return damaged(inSeenByAge, key, "its key is no time and number")
	}
	if x.t.Bucket([]byte(inSeen)).Get(body) == nil {
		return damaged(inSeenByAge, key, "the event key that it names is not known")
	}
	return nil
}

func (x *examiner) delivery(bucket string, count *int) func(key, body []byte) error {
	return func(key, body []byte) error {
		*count++
		d, err := readDelivery(bucket, key, body)
		if err != nil {
			return err
		}
		if _, err := numberIn(bucket, key); err != nil {
			return err
		}
		if _, err := d.passed(bucket, key); err != nil {
			return err
		}
		if x.conversations[d.Conversation] == nil {
			return damaged(bucket, key, "it is of "+idOf(d.Conversation)+", which is not there")
		}
		return x.given(bucket, key)
	}
}

func (x *examiner) quarantined(key, body []byte) error {
	x.found.Quarantined++
	q, err := readQuarantined(key, body)
	if err != nil || x.t.Bucket([]byte(inQuarantinedAs)) == nil {
		return err
	}
	n, err := getNumber(x.t, inQuarantinedAs, sameAs(q.Source, q.Body))
	if err == nil && n != q.ID {
		err = damaged(inQuarantined, key, "it would not be known when it comes again")
	}
	return err
}

func (x *examiner) quarantinedAs(key, body []byte) error {
	if len(body) != 8 || x.t.Bucket([]byte(inQuarantined)).Get(body) == nil {
		return damaged(inQuarantinedAs, key, "the record that it names is not there")
	}
	return nil
}

// journal follows the chain from where the journal begins.
func (x *examiner) journal() error {
	x.link = x.cut.hash
	seq := x.cut.seq
	broken := false
	err := x.each(inJournal, func(key, body []byte) error {
		x.found.Journal.Entries++
		e, err := readEntry(key, body)
		if err != nil || len(key) != 8 {
			return cmp.Or(err, damaged(inJournal, key, "its key is no number"))
		}
		if err := follows(&x.link, key, body); err != nil {
			if x.link = bytes.Clone(body[:hashSize]); !broken { // the first break says it all
				x.failed(err)
			}
			broken = true
		}
		seq = binary.BigEndian.Uint64(key)
		x.entry(seq, e)
		if before := x.last[e.Conversation]; e.Before != before && (before != 0 || e.Before > x.cut.seq) && !x.unread[e.Before] {
			err = damaged(inJournal, key, fmt.Sprintf("it names entry %d as the one before it, which is %d", e.Before, before))
		}
		x.last[e.Conversation] = seq
		return err
	})
	x.found.Journal.Last, x.found.Journal.Hash = seq, hex.EncodeToString(x.link)
	if given := x.t.Bucket([]byte(inJournal)).Sequence(); err == nil && !broken && given != seq {
		x.problem(theJournal, fmt.Sprintf("it ends with entry %d, and %d were written", seq, given), doRestore)
	}
	return err
}

func (x *examiner) entry(seq uint64, e entry) {
	if at := e.At.time(); !at.IsZero() {
		x.found.Journal.At = &at
	}
	if e.Conversation != 0 {
		return
	}
	x.found.Did = append(x.found.Did, e.passed(seq))
	if len(x.found.Did) > 2*mostDid {
		x.found.Did = slices.Delete(x.found.Did, 0, mostDid)
	}
}

// agree compares the conversations with the indexes that lead to them.
func (x *examiner) agree() error {
	x.found.Did = x.found.Did[max(0, len(x.found.Did)-mostDid):]
	for _, n := range slices.Sorted(maps.Keys(x.conversations)) {
		c, key := x.conversations[n], number(n)
		if c.unread {
			continue
		}
		if c.newest != x.last[n] && !x.unread[c.newest] {
			x.failed(damaged(inConversations, key, fmt.Sprintf("its newest journal entry is %d and not %d", x.last[n], c.newest)))
		}
		for root := range c.roots {
			if x.t.Bucket([]byte(inThreads)).Get([]byte(root)) == nil {
				x.failed(damaged(inConversations, key, "one of its threads does not lead to it"))
			}
		}
		if b := x.t.Bucket([]byte(inApps)); c.app != "" && b != nil && b.Get(appKey(c.app, n)) == nil {
			x.failed(damaged(inConversations, key, "its app does not lead to it"))
		}
	}
	newest, err := getNumber(x.t, inMeta, keyNewest)
	if x.failed(err); err == nil && newest > x.cut.seq && newest != x.last[0] && !x.unread[newest] {
		x.problem(theJournal, fmt.Sprintf("the store's own newest entry is %d and not %d", x.last[0], newest), doReport)
	}
	seen, byAge := x.t.Bucket([]byte(inSeen)).Stats().KeyN, x.t.Bucket([]byte(inSeenByAge)).Stats().KeyN
	if seen != byAge {
		x.problem("the event keys", fmt.Sprintf("%d are known, and %d by their age", seen, byAge), doReport)
	}
	return nil
}

// sentinel compares the file with the sentinel beside it. A backup has none.
func (x *examiner) sentinel(path string) error {
	if x.found.BackupOf != nil || x.found.id == nil {
		return nil
	}
	switch id, err := os.ReadFile(sentinelOf(path)); {
	case errors.Is(err, fs.ErrNotExist):
		x.found.Notes = append(x.found.Notes, Problem{theSentinel, sentinelOf(path) + " is not there", "nothing: the bot writes it when it starts"})
	case err != nil:
		return err
	case !bytes.Equal(bytes.TrimSpace(id), x.found.id):
		x.problem(theSentinel, sentinelOf(path)+" names another store", "put the right file back, or remove "+sentinelOf(path)+" to go on with this one")
	}
	return nil
}
