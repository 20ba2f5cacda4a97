// Package bot carries a conversation's effects out: what happens comes in
// through [Bot.Open] and [Bot.Handle], what is to be said goes out in [Bot.Run].
//
//	door (slackapp, intake) ── event ──► Handle ── one transaction ──► acknowledged
//	                                                   │ deliveries
//	Slack ◄── Chat ◄──────────────── Run ◄─────────────┘
//	  └── outcome ──► Settle ── one transaction (an outcome is an event, too)
//
// Slack has no idempotency key for messages, so a message that is sent twice is
// there twice. A post is therefore written down as begun before it is sent, and
// only a plain refusal takes that back. When a post was begun and its outcome is
// not known (the process was killed, the connection broke), it is looked for in
// the channel once it has had time to appear. It is sent again only when it is not
// there. Two kinds cannot be looked for. What one person alone sees in a channel
// is sent again, since an answer twice is better than none. And where the bot may
// not read the history, [Bot.AtMostOnce] says whether to send again or to give up.
//
// An event is durable before its door acknowledges it. A delivery is carried
// out after the transaction that wrote it, and its outcome is an event like any
// other, so that after a stop at any point a restart goes on from there. Answers
// that belong to no conversation are not written down, see [Bot.Answer].
package bot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"rehome/conversation"
	"rehome/policy"
	"rehome/store"
)

// Chat is where people are talked to.
type Chat interface {
	// Show posts a card, or edits the message that shows it when m.TS is set.
	// It returns where the message is. Errors are *Failure.
	Show(ctx context.Context, m Message) (At, error)
	// Find looks for a message that may have been posted for m since a time, by the
	// marks that every message bears: m's Conversation and Key. Errors are *Failure;
	// one of kind Never says that the place may not be read.
	Find(ctx context.Context, m Message, since time.Time) (at At, found bool, err error)
	// Tell answers one person where they acted. In a channel they alone see the
	// answer, and it cannot be found again; in a direct message it is a message that
	// bears m's marks. Errors are *Failure.
	Tell(ctx context.Context, to conversation.Person, m Message, text policy.Text) error
}

// A Message is what is to be posted or edited: a card, or words for which there
// is no card. No other message has the same Conversation and Key.
type Message struct {
	Conversation string // RH-1042
	Key          string // the card's key, or that of a delivery: "d17"
	Card         conversation.Card
	Channel      string // a channel id, or a user id for a direct message
	ThreadTS     string // "" for a root that starts a thread
	TS           string // the message to edit; "" to post
	Digest       string // of the card; it goes into the message's marks

	Whispered bool // one person alone sees it, in a channel
	ByAddress bool // it goes to an address that Slack gave for an answer, which takes no token
}

// At is where a message is.
type At struct{ Channel, TS string }

// A Failure is why a call to Slack came to nothing, and what to do about it.
type Failure struct {
	Kind  FailureKind
	After time.Duration // Again: wait at least this long; 0 when Slack did not say
	Code  string        // Slack's error code or a word of ours; never a secret or a text

	// Unsure says that the message may have been posted all the same: the connection
	// broke after the request was sent, or Slack failed while it worked on it. It
	// must be looked for before it is sent again.
	Unsure bool

	Err error // for the log; may be nil
}

// FailureKind is what to do about a failure.
type FailureKind int

const (
	Again FailureKind = iota // may go through later
	Lost                     // the message to be edited, or the thread to post in, was deleted
	Never                    // will never go through: archived channel, unknown user, refused blocks
	Stop                     // nothing goes through until somebody mends the set-up: revoked token, missing scope
)

func (f *Failure) Error() string {
	if f.Err == nil {
		return f.Code
	}
	return f.Code + ": " + f.Err.Error()
}

func (f *Failure) Unwrap() error { return f.Err }

// ErrNotFound is what Handle and the store's readers return when there is no such
// conversation. It is the store's, named here for doors, which may not import the
// store.
var ErrNotFound = store.ErrNotFound

// ErrFull is what Open and TakeIn return when the store has no room for a new
// conversation. What is about known ones is still taken in.
var ErrFull = store.ErrFull

// The store's types that doors for alerts need, which may not import the store.
type (
	Batch       = store.Batch       // what goes into or out of quarantine with alerts
	Quarantined = store.Quarantined // a record that could not be read
	Applied     = store.Applied     // what became of an alert
)

// A Bot is safe for use by many goroutines. Policy, Store and Chat are required.
type Bot struct {
	Policy *policy.Policy
	Store  store.Store
	Chat   Chat
	Log    *slog.Logger     // nil: discard
	Now    func() time.Time // nil: time.Now

	// What follows is needed for telling owners, and may be left out.
	Directory       Directory // nil: owners come from the alert alone
	People          People    // nil: nobody is told in a direct message
	Ownership       Ownership
	Manners         Manners
	Unlimited       bool   // ignore Slack's rate limits: for a workspace that has none, such as the demo's
	SecurityChannel string // told of who and what could not be reached; "": only the journal says so
	AtMostOnce      bool   // a message that may have been sent, in a place that may not be read, is given up and not sent again

	// Settle is how long a message whose answer never came is given to appear
	// before it is looked for; 0: 20 s.
	Settle time.Duration

	out    *outward
	unsure *unsure
	wishes *sync.Mutex // held from reading a person's wish to writing it, see PreferDigest
	wake   chan struct{}

	changed chan struct{} // of Changes
	answers *answers
}

// outward is what this process has learnt of how Slack takes what we send.
type outward struct {
	pace    Pace
	directs directs
	halt    halt
	said    said
	refused struct { // the channel that last refused a message for coming too fast, and when
		mu sync.Mutex
		in string
		at time.Time
	}
}

// New returns a bot with its defaults filled in.
func New(b Bot) *Bot {
	if b.Log == nil {
		b.Log = slog.New(slog.DiscardHandler)
	}
	if b.Now == nil {
		b.Now = time.Now
	}
	if b.Settle == 0 {
		b.Settle = settle
	}
	b.Manners = b.Manners.filled()
	b.out = &outward{}
	b.unsure = &unsure{since: map[uint64]time.Time{}}
	b.wishes = new(sync.Mutex)
	b.wake = make(chan struct{}, 1)
	b.changed = make(chan struct{}, 1)
	b.answers = &answers{waiting: make(chan *answer, answersWaiting)}
	return &b
}

// Open starts a conversation, or returns the one that key or finding opened
// before. key names the event that asks for it, as in Handle. finding is the
// violation's own key in its source ("s360/KAI-1"), or "" when it has none.
func (b *Bot) Open(ctx context.Context, key, finding string, o conversation.Opened) (store.Applied, error) {
	done, err := b.TakeIn(ctx, store.Batch{}, Alert{Key: key, Finding: finding, Opened: o})
	if err != nil {
		return store.Applied{}, err
	}
	return done[0], nil
}

// An Alert is a conversation to be opened, or a finding that was seen again.
type Alert struct {
	Key     string // names the event: the same key again has no effect
	Finding string // the violation's own key in its source, or ""
	Opened  conversation.Opened
}

// TakeIn takes alerts in, together with a batch's changes to the quarantine, in
// one transaction. It returns what became of each alert, in order. A finding that
// is known opens no second conversation: its own takes what the feed says now, as
// Seen, and is not Fresh when that is nothing new. A finding that is over and was
// never heard of opens nothing, and its Applied has no conversation.
func (b *Bot) TakeIn(ctx context.Context, with store.Batch, alerts ...Alert) ([]store.Applied, error) {
	now := b.Now()
	for _, a := range alerts {
		o := a.Opened
		appID := o.Facts.Value(policy.AppID)
		var err error
		if o.Related, err = b.related(ctx, appID); err != nil {
			return nil, err
		}
		// Owners are looked for also when an alert names neither app, owner nor service:
		// people have to be told that nobody answers for it.
		o.Lookup = b.People != nil && (o.By.ID == "" || appID != "" || o.Violation.Owner != policy.Owner{} || o.Violation.Service != policy.Service{})
		in := store.Input{Event: a.Key, Finding: a.Finding, At: now, Step: b.step(o, now)}
		in.Known = o.Violation.Over()
		in.Urgent = o.By.ID != "" || b.pressing(o.Violation.Due, now)
		if a.Finding != "" {
			in.Again = b.step(conversation.Seen{Violation: o.Violation, Facts: o.Facts}, now)
			in.Repeat = func(c conversation.Conversation) bool { return c.HasHeard(o.Violation) }
		}
		with.Inputs = append(with.Inputs, in)
	}
	done, err := b.Store.ApplyAll(ctx, with)
	if err != nil {
		return nil, fmt.Errorf("taking in %d alerts: %w", len(alerts), err)
	}
	b.link(ctx, done, now)
	b.Wake()
	return done, nil
}

// pressing reports whether something is due so soon, or overdue, that it must not
// wait.
func (b *Bot) pressing(due, now time.Time) bool {
	return !due.IsZero() && due.Sub(now) <= b.Manners.Urgent
}

// relatedShown is how many other conversations about its app a new one names.
const relatedShown = 5

func (b *Bot) related(ctx context.Context, appID string) ([]string, error) {
	if appID == "" {
		return nil, nil
	}
	return b.Store.About(ctx, appID, relatedShown)
}

// link tells older conversations about the same app of the new ones. When that
// fails their cards lack a line, which is not worth refusing the alerts.
func (b *Bot) link(ctx context.Context, opened []store.Applied, now time.Time) {
	var links store.Batch
	for _, o := range opened {
		if !o.Fresh || o.Again {
			continue
		}
		for _, id := range o.Conversation.Related {
			links.Inputs = append(links.Inputs, store.Input{
				Event: "link:" + o.Conversation.ID + ":" + id, Conversation: id, At: now, Step: b.step(conversation.Linked{ID: o.Conversation.ID}, now),
			})
		}
	}
	if len(links.Inputs) == 0 {
		return
	}
	if _, err := b.Store.ApplyAll(ctx, links); err != nil {
		b.Log.Warn("older conversations do not name the new ones", "err", err)
	}
}

// Handle takes an event of a conversation in. key names the event: the same key
// again, however much later, has no effect. It returns ErrNotFound for a
// conversation that does not exist.
func (b *Bot) Handle(ctx context.Context, key, id string, e conversation.Event) (store.Applied, error) {
	if id == "" {
		return store.Applied{}, store.ErrNotFound
	}
	return b.apply(ctx, store.Input{Event: key, Conversation: id}, e)
}

func (b *Bot) apply(ctx context.Context, in store.Input, e conversation.Event) (store.Applied, error) {
	in.At = b.Now()
	in.Urgent = true // somebody waits for what comes of it
	in.Step = b.step(e, in.At)
	done, err := b.Store.Apply(ctx, in)
	if err != nil {
		if errors.Is(err, store.ErrNotFound) {
			return done, err
		}
		return done, fmt.Errorf("taking in %s: %w", in.Event, err)
	}
	b.Wake()
	return done, nil
}

func (b *Bot) step(e conversation.Event, at time.Time) store.Step {
	return func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
		return conversation.Step(b.Policy, c, e, at)
	}
}

// Wake makes Run look for deliveries now.
func (b *Bot) Wake() {
	ring(b.wake)
	ring(b.changed)
}

// Changes tells one listener that conversations may have changed since it last
// heard so: many changes may be one word, and a word may be about none. What
// changed is in the store by then.
func (b *Bot) Changes() <-chan struct{} { return b.changed }

// ring leaves word for whoever listens, unless there is some already.
func ring(bell chan<- struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}
