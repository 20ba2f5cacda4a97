// Package store says what is remembered. A [Store] keeps conversations, the
// line of deliveries each of them waits on, the journal, and the keys of events
// that were already taken in.
//
// One method is one transaction:
//
//	Apply   seen before? → load → step → state, deliveries, journal, key: all or nothing
//	Due     the head of every line that may go out now
//	Begin   from here on a delivery may have been carried out
//	Settle  what became of deliveries, and what follows from it
//
// store/bolt keeps it in a file. Every implementation passes storetest.
package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"rehome/conversation"
	"rehome/policy"
)

// Store is safe for use by many goroutines. Its methods return after what they
// changed is durable. An error from one that writes does not prove that nothing
// was written (a failed sync can follow a durable write): whoever sees one must
// give the event the same key when trying again.
type Store interface {
	Apply(ctx context.Context, in Input) (Applied, error)
	// ApplyAll is Apply for a batch, in one transaction: all of it or nothing.
	// What it returns is in the order of the inputs, each of which sees what
	// those before it did. A batch is in memory as a whole: 1,000 is a good size.
	ApplyAll(ctx context.Context, b Batch) ([]Applied, error)

	// Due returns at most one delivery of every line, oldest first: the line's
	// oldest, when that is due at now. One that is put off holds up its line; one
	// that was abandoned does not. take, when not nil, is asked about each that is
	// due before it is read: urgent lines before others, otherwise channels and
	// purposes in no order, and what has both in common by when it fell due. It
	// must be quick and must not call the store. next is when the first of those
	// that are not due yet will be, what take left aside with its like; zero for
	// never.
	Due(ctx context.Context, now time.Time, take func(Waiting) Taking) (ready []Delivery, next time.Time, err error)
	// Line returns every delivery that waits in a line, oldest first.
	Line(ctx context.Context, line string) ([]Delivery, error)

	// Begin says durably that a delivery is about to be carried out, so that
	// after a crash it is known that it may have been: Delivery.MaybeSent. It
	// stays so until a Settle with Outcome.Unsent. A delivery that was settled
	// before is left alone.
	Begin(ctx context.Context, d Delivery, at time.Time) error
	// Settle ends deliveries or puts them off, one after the other and all in
	// one transaction. Step, when not nil, is applied to the delivery's own
	// conversation in it. A delivery that was settled before is left alone.
	Settle(ctx context.Context, all ...Settled) error

	// Recall returns what was remembered under keys that begin with prefix, by
	// the effect Remember or by Remember.
	Recall(ctx context.Context, prefix string) (map[string]string, error)
	// Remember keeps value under key, of at most 512 bytes; "" forgets it.
	Remember(ctx context.Context, key, value string) error

	// Quarantined returns what was kept aside, oldest first.
	Quarantined(ctx context.Context) ([]Quarantined, error)
	// Discard lets go of records that were kept aside, for good and unread, and
	// says so in the store's own journal. It returns those that were there.
	Discard(ctx context.Context, at time.Time, ids ...uint64) ([]Quarantined, error)
	// Forget forgets what is over since before then: conversations (OverSince) of
	// which nothing waits to be said, with all that belongs to them, and records
	// that were kept aside and last came before then. The store's own journal says
	// so. Entries of forgotten conversations leave the journal when they are older
	// than then and the oldest there. It works in small transactions, so that an
	// error can leave a part forgotten. A number is never given out again; a
	// finding that comes again opens a new conversation.
	Forget(ctx context.Context, then, at time.Time) (Forgotten, error)

	Get(ctx context.Context, id string) (conversation.Conversation, error) // ErrNotFound
	// Find returns the id of the conversation that has a thread whose root is
	// ts in channel, or ErrNotFound.
	Find(ctx context.Context, channel, ts string) (string, error)
	// About returns the ids of the newest conversations whose facts name an app
	// id, at most most of them, oldest first.
	About(ctx context.Context, appID string, most int) ([]string, error)
	// List calls yield with each conversation that was there when it began,
	// oldest first and as it is when its turn comes, until yield returns false.
	// No transaction is open meanwhile: yield may be slow and may call the store.
	List(ctx context.Context, yield func(conversation.Conversation) bool) error
	// Journal returns what happened in a conversation, oldest first, and for ""
	// what was done to the store itself: by Discard, Forget, or a restoration.
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
	// ErrFull: nothing was written for want of room; it may work later. A store
	// refuses what is new (an event without a conversation, a record to be kept
	// aside) while there is still room for what is under way.
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
	Urgent       bool // somebody waits for what follows: its deliveries are asked about before others, and so is what follows from those
	Again        Step // when the finding is known and the event is not: applied to its conversation
	// Repeat, when not nil, is asked about the conversation of a finding that is
	// known: true says that the event is no news, and it is treated as one that was
	// taken in before. It must be pure.
	Repeat func(conversation.Conversation) bool
	Known  bool // when opening: a finding that is not known opens nothing, and nothing is written
}

// Batch is what ApplyAll takes.
type Batch struct {
	Inputs     []Input
	Quarantine []Quarantined // to be kept aside; ID is given by the store
	Release    []uint64      // ids of what was kept aside and is read now; unknown ones are left alone
}

// Quarantined is a record that could not be read and is kept until it can. The
// same body from the same source is kept once and counted.
type Quarantined struct {
	ID     uint64    `json:"id"`
	At     time.Time `json:"at"`     // when it first came
	Last   time.Time `json:"last"`   // when it last came; given by the store
	Count  int       `json:"count"`  // how often it came; given by the store
	Source string    `json:"source"` // where it came from: "http", "import alerts.csv:12"
	Why    string    `json:"why"`    // as of the last time
	Body   []byte    `json:"body"`   // as it came, less any key material
}

// Forgotten counts what Forget forgot.
type Forgotten struct {
	Conversations int
	Quarantined   int
	Entries       int // that left the journal
}

// Add adds what was forgotten besides.
func (f *Forgotten) Add(more Forgotten) {
	f.Conversations += more.Conversations
	f.Quarantined += more.Quarantined
	f.Entries += more.Entries
}

// OverSince returns when a conversation came to its end, and whether it did: it
// is closed, or its last reply left nothing to do here.
func OverSince(c conversation.Conversation) (time.Time, bool) {
	return c.Updated, c.Status == conversation.Closed || c.Status == conversation.Ended
}

// What stands in the store's own journal as the event.
const (
	EventDiscard = "store/discard"
	EventForget  = "store/forget"
	EventRestore = "store/restore"
)

// SayDiscarded is what the store's own journal says of a record that was
// discarded.
func SayDiscarded(q Quarantined) string {
	return fmt.Sprintf("quarantined record %d from %s was discarded, which came %d times: %s", q.ID, q.Source, q.Count, q.Why)
}

// SayExpired is what the store's own journal says of a record that was kept
// aside and is forgotten.
func SayExpired(q Quarantined) string {
	return fmt.Sprintf("quarantined record %d from %s was forgotten, which last came on %s: %s", q.ID, q.Source, q.Last.UTC().Format(time.DateOnly), q.Why)
}

// SayForgotten is what the store's own journal says of a conversation that is
// forgotten.
func SayForgotten(id string, since time.Time) string {
	return fmt.Sprintf("%s was forgotten, which was over since %s", id, since.UTC().Format(time.DateOnly))
}

// Check returns what every store refuses about a batch.
func (b Batch) Check() error {
	for i, in := range b.Inputs {
		if err := in.Check(); err != nil {
			return b.Failed(i, err)
		}
	}
	return nil
}

// Failed says which of a batch's inputs an error came from; nil is no error.
func (b Batch) Failed(i int, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("input %d of %d: %w", i+1, len(b.Inputs), err)
}

// maxKey is the length of the longest key of an event, a finding, an app or
// something remembered, in bytes.
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
	Fresh        bool                      // the event was not known, and a step was applied
	Again        bool                      // the event was not known but the finding was: Input.Again was applied, or nothing when that is nil
	Conversation conversation.Conversation // with only an ID when the event was known and the conversation is forgotten
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
	Attempts     int                 `json:"attempts"` // that failed
	LastError    string              `json:"lastError,omitempty"`
	MaybeSent    time.Time           `json:"maybeSent,omitzero"` // when it was last begun; zero when it certainly was not carried out
	Channel      string              `json:"channel,omitempty"`  // ChannelOf, when it was written down
	Urgent       bool                `json:"urgent,omitempty"`
	Abandoned    bool                `json:"abandoned,omitempty"`
}

// Outcome is what became of a delivery. The zero Outcome is "done".
type Outcome struct {
	At        time.Time
	RetryAt   time.Time // not zero: try again then
	Abandoned bool      // give up; it stays listed as failed
	Unsent    bool      // with RetryAt or Abandoned: it certainly was not carried out
	Held      bool      // with RetryAt: it was not tried, so that this is no attempt
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

// Settled is a delivery and what became of it.
type Settled struct {
	Delivery Delivery // its ID says which
	Outcome  Outcome
}

// Waiting is what is known of a line's oldest delivery without reading it. A
// line is urgent when any delivery in it is: what is behind must not wait longer
// for what is before it.
type Waiting struct {
	Line, Channel string
	Urgent        bool
}

// Taking is what to do about a delivery that is due.
type Taking int

const (
	Leave        Taking = iota // it is left where it is
	Take                       // it is read
	LeaveChannel               // it is left, and so is all else of its channel, purpose and urgency
)

// ChannelOf returns where a delivery of effect e of conversation c goes: the
// channel of the thread that it shows or says something in, "" when there is no
// such thread. It is a hint for keeping a channel's pace; the thread may move.
func ChannelOf(c conversation.Conversation, e conversation.Effect) string {
	in := -1
	switch e := e.(type) {
	case conversation.Show:
		in = e.In
	case conversation.Tell:
		in = e.In
	case conversation.Lookup, conversation.Spread, conversation.Gather, conversation.Report, conversation.Record, conversation.Remember:
		// not in a thread
	}
	if in < 0 || in >= len(c.Threads) {
		return ""
	}
	return c.Threads[in].Channel
}

// CheckMemory returns what every store refuses about the key of what is to be
// remembered.
func CheckMemory(key string) error {
	switch {
	case key == "":
		return errors.New("what is to be remembered needs a key")
	case len(key) > maxKey:
		return fmt.Errorf("the key of what is to be remembered is %d bytes long; at most %d are kept, so hash what is longer", len(key), maxKey)
	}
	return nil
}

// AppOf returns the app id that a conversation's facts name, "" when they name
// none, and refuses one that is too long to be looked for.
func AppOf(c conversation.Conversation) (string, error) {
	id := c.Facts.Value(policy.AppID)
	if len(id) > maxKey {
		return "", fmt.Errorf("conversation %s names an app id of %d bytes; at most %d are kept", c.ID, len(id), maxKey)
	}
	return id, nil
}

// An Entry is one line of a conversation's journal.
type Entry struct {
	Seq          uint64    `json:"seq"`
	At           time.Time `json:"at"`
	Conversation string    `json:"conversation"` // "" in the store's own journal
	By           string    `json:"by,omitempty"` // a person's id
	Text         string    `json:"text"`
	Event        string    `json:"event"` // key of the event it came from, or EventOf a delivery
}

// EventOf returns the key that stands in the journal for the outcome of
// delivery id.
func EventOf(id uint64) string { return "delivery/" + strconv.FormatUint(id, 10) }

// LineOf returns the line a delivery of effect e of conversation c waits in,
// where c is as the effect's own step left it. Posts and edits of one thread are
// in order; a thread that is stuck does not hold up another, and an answer to one
// person waits for neither. Edits of a root that is there are in no order with
// what is said under it: when many roots change at once, nothing waits for that.
func LineOf(c conversation.Conversation, e conversation.Effect) string {
	switch e := e.(type) {
	case conversation.Show:
		line := c.ID + "/" + strconv.Itoa(e.In)
		if e.Card == conversation.RootKey && e.In >= 0 && e.In < len(c.Threads) && c.Threads[e.In].Shown[conversation.RootKey].TS != "" {
			line += "/" + conversation.RootKey
		}
		return line
	case conversation.Tell:
		return c.ID + "/tell/" + e.To.ID
	case conversation.Lookup:
		if e.Late {
			return c.ID + "/lookup/late" // it waits for hours and holds nothing up
		}
		return c.ID + "/lookup"
	case conversation.Spread:
		return c.ID + "/spread"
	case conversation.Gather:
		line := "gather/" + e.To.ID // what is for one person comes together, whatever it is about
		if e.Urgent {
			line += urgentLine // and not behind what waits for the morning
		}
		return line
	case conversation.Report:
		return "report"
	case conversation.Record, conversation.Remember:
		// unreachable: they are written with the state and never delivered
	}
	return c.ID
}

// LinesFor returns the lines in which what comes together for a person waits.
func LinesFor(to conversation.Person) []string {
	line := "gather/" + to.ID
	return []string{line, line + urgentLine}
}

const urgentLine = "/urgent"

// Together returns what a line has in common with those that must not be worked
// on at the same time: the line itself, or the first of a person's.
func Together(line string) string {
	if PurposeOf(line) == Gathering {
		return strings.TrimSuffix(line, urgentLine)
	}
	return line
}

// Purpose is what the deliveries of a line are for.
type Purpose int

const (
	InThread  Purpose = iota // posts and edits in a thread, its root's posting among them
	RootEdits                // edits of a root that is there
	Answers                  // words for one person where they acted
	Lookups                  // questions to the directory, and what is told to other conversations
	Gathering                // what comes together for one person
	Reporting                // words for the security channel
)

// PurposeOf returns what the deliveries of a line are for.
func PurposeOf(line string) Purpose {
	switch {
	case line == "report":
		return Reporting
	case strings.HasPrefix(line, "gather/"):
		return Gathering
	case strings.Contains(line, "/lookup"), strings.HasSuffix(line, "/spread"):
		return Lookups
	case strings.Contains(line, "/tell/"):
		return Answers
	case strings.HasSuffix(line, "/"+conversation.RootKey):
		return RootEdits
	}
	return InThread
}
