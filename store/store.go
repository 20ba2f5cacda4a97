// Package store says what is remembered. A [Store] keeps conversations, the
// line of deliveries each of them waits on, the journal, and the keys of events
// that were already taken in.
//
// One method is one transaction:
//
//	Apply   seen before? → load → step → state, deliveries, journal, key: all or nothing
//	Due     the head of every line that may go out now
//	Settle  what became of a delivery, and what follows from it
//
// store/bolt keeps it in a file. Every implementation passes storetest.
package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"rehome/conversation"
)

// Store is safe for use by many goroutines. Its methods return after what they
// changed is durable. An error from Apply or Settle does not prove that nothing
// was written (a failed sync can follow a durable write): whoever sees one must
// give the event the same key when trying again.
type Store interface {
	Apply(ctx context.Context, in Input) (Applied, error)

	// Due returns at most one delivery of every line, oldest first: the line's
	// oldest, when that is due at now. One that is put off holds up its line; one
	// that was abandoned does not. next is when the earliest of the other lines'
	// oldest will be due; zero for never.
	Due(ctx context.Context, now time.Time) (ready []Delivery, next time.Time, err error)

	// Settle ends a delivery or puts it off. Step, when not nil, is applied to
	// the delivery's conversation in the same transaction. A delivery that was
	// settled before is left alone and nil is returned.
	Settle(ctx context.Context, d Delivery, o Outcome) error

	Get(ctx context.Context, id string) (conversation.Conversation, error) // ErrNotFound
	// Find returns the id of the conversation that has a thread whose root is
	// ts in channel, or ErrNotFound.
	Find(ctx context.Context, channel, ts string) (string, error)
	// List calls yield with each conversation that was there when it began,
	// oldest first and as it is when its turn comes, until yield returns false.
	// No transaction is open meanwhile: yield may be slow and may call the store.
	List(ctx context.Context, yield func(conversation.Conversation) bool) error
	// Journal returns what happened in a conversation, oldest first.
	Journal(ctx context.Context, id string) ([]Entry, error)
	// Outbox returns every delivery not yet settled, oldest first, and those
	// that were abandoned when failed is true.
	Outbox(ctx context.Context, failed bool) ([]Delivery, error)

	Close() error
}

// Errors that callers act on; they come wrapped.
var (
	// ErrNotFound: there is no such conversation.
	ErrNotFound = errors.New("no such conversation")
	// ErrClosed: the store was closed before the call.
	ErrClosed = errors.New("the store is closed")
	// ErrFull: nothing was written for want of room; it may work later.
	ErrFull = errors.New("the store is full")
	// ErrUncertain: what was asked may or may not be written, and the store
	// writes nothing more. Stop the process; the events' keys settle the rest
	// when they come again.
	ErrUncertain = errors.New("unknown whether it was written; restart to go on")
)

// A Step turns a conversation into what it becomes. It must be pure: a store
// may run it more than once for one event. A conversation without an ID is
// new; the store gives it one before the step sees it.
type Step func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect)

// Try runs the step. A panic in it is returned as an error, so that one event
// that cannot be worked does not take others down with it.
func (s Step) Try(c conversation.Conversation) (next conversation.Conversation, effects []conversation.Effect, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the step for conversation %s panicked: %v", c.ID, r)
		}
	}()
	next, effects = s(c)
	return next, effects, nil
}

// Input is one event for one conversation.
type Input struct {
	Event        string    // unique key of the event, never applied twice; required, at most 512 bytes
	Conversation string    // its id, or "" to open one
	Finding      string    // when opening: the violation's own key, at most 512 bytes; a conversation opened with it before is returned instead
	At           time.Time // when it happened, by the clock that Due is asked with
	Step         Step
}

// maxKey is the length of the longest event or finding key, in bytes.
const maxKey = 512

// Check returns what every store refuses about an input.
func (in Input) Check() error {
	switch {
	case in.Event == "":
		return errors.New("an event needs a key")
	case len(in.Event) > maxKey:
		return fmt.Errorf("the event's key is %d bytes long; at most %d are kept, so hash what is longer", len(in.Event), maxKey)
	case len(in.Finding) > maxKey:
		return fmt.Errorf("the finding's key is %d bytes long; at most %d are kept, so hash what is longer", len(in.Finding), maxKey)
	case in.Finding != "" && in.Conversation != "":
		return errors.New("a finding opens a conversation; it cannot be given for one that is open")
	case in.Step == nil:
		return errors.New("an event needs a step")
	}
	return nil
}

// Applied is what Apply did.
type Applied struct {
	Fresh        bool // false: the event or the finding was known, and nothing was changed
	Conversation conversation.Conversation
}

// A Delivery is an effect waiting to be carried out. Deliveries of one line go
// out one after the other; lines do not wait for each other.
type Delivery struct {
	ID           uint64              `json:"id"` // grows with time
	Conversation string              `json:"conversation"`
	Line         string              `json:"line"`
	Effect       conversation.Effect `json:"-"`
	Created      time.Time           `json:"created"`
	Due          time.Time           `json:"due"`
	Attempts     int                 `json:"attempts"`
	LastError    string              `json:"lastError,omitempty"`
	Abandoned    bool                `json:"abandoned,omitempty"`
}

// Outcome is what became of a delivery. The zero Outcome is "done".
type Outcome struct {
	At        time.Time
	RetryAt   time.Time // not zero: try again then
	Abandoned bool      // give up; it stays listed as failed
	Error     string    // why, for RetryAt and Abandoned; no secrets, no outside text beyond a code
	Step      Step      // applied to the conversation with the outcome, unless RetryAt is set
}

// Check returns what every store refuses about an outcome.
func (o Outcome) Check() error {
	if o.Abandoned && !o.RetryAt.IsZero() {
		return errors.New("a delivery is either put off or abandoned, not both")
	}
	return nil
}

// An Entry is one line of a conversation's journal.
type Entry struct {
	Seq          uint64    `json:"seq"`
	At           time.Time `json:"at"`
	Conversation string    `json:"conversation"`
	By           string    `json:"by,omitempty"` // a person's id
	Text         string    `json:"text"`
	Event        string    `json:"event"` // key of the event it came from, or EventOf a delivery
}

// EventOf returns the key that stands in the journal for the outcome of
// delivery id.
func EventOf(id uint64) string { return "delivery/" + strconv.FormatUint(id, 10) }

// LineOf returns the line a delivery of effect e waits in. Posts and edits of
// one thread are in order; a thread that is stuck does not hold up another, and
// an answer to one person waits for neither.
func LineOf(conversationID string, e conversation.Effect) string {
	switch e := e.(type) {
	case conversation.Show:
		return conversationID + "/" + strconv.Itoa(e.In)
	case conversation.Tell:
		return conversationID + "/tell/" + e.To.ID
	case conversation.Record:
		// unreachable: a record is written with the state and never delivered
	}
	return conversationID
}
