package bot

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"rehome/conversation"
	"rehome/policy"
	"rehome/store"
)

// People is where the people of the workspace are found and told.
type People interface {
	// Person finds somebody. Errors are *Failure; one of kind Never says that
	// there is no such person here.
	Person(ctx context.Context, who Identity) (Profile, error)
	// Digest tells one person of several conversations in as few messages as
	// fit. Errors are *Failure.
	Digest(ctx context.Context, to conversation.Person, list []Listed) error
	// Report says something in a channel, outside any thread. Errors are *Failure.
	Report(ctx context.Context, channel string, text policy.Text) error
}

// An Identity is what is known of somebody outside the workspace. The first of
// its fields that is set is used. It is personal data: it is neither kept nor
// logged.
type Identity struct {
	ID   string // a user id of the workspace
	Mail string
}

// A Profile is somebody in the workspace.
type Profile struct {
	conversation.Person
	Zone *time.Location // nil when unknown
	Skip string         // why they must not be told: "a guest", "left", "of another workspace", "an app"; "" when they may
}

// Listed is a conversation on a digest.
type Listed struct {
	ID      string
	Title   string // untrusted
	App     string // untrusted
	AppID   string
	Due     time.Time
	Overdue bool
	Thread  conversation.Place // where its first thread is
	RootTS  string
}

// Manners say when people are told, and how many things at once.
type Manners struct {
	Window time.Duration // how long what is for one person is gathered; 0: 10 s
	Alone  int           // up to so many are direct messages of their own, more are one digest; 0: 3
	Quiet  Quiet
	Urgent time.Duration // due within this, or overdue: told at once, in quiet hours too; 0: 48 h
	Digest int           // the hour of the day at which those who want one digest a day get it; 0: 9
}

// Quiet is when people are left alone, in their own time zone. The zero value
// is 20 to 8 o'clock and the weekend.
type Quiet struct {
	Off      bool  `yaml:"off"`
	From     int   `yaml:"from"` // hour; 0 with To 0: 20
	To       int   `yaml:"to"`   // hour; 0 with From 0: 8
	Weekends *bool `yaml:"weekends"`
}

func (m Manners) filled() Manners {
	if m.Window == 0 {
		m.Window = 10 * time.Second
	}
	if m.Alone == 0 {
		m.Alone = 3
	}
	if m.Urgent == 0 {
		m.Urgent = 48 * time.Hour
	}
	if m.Digest == 0 {
		m.Digest = 9
	}
	if m.Quiet.From == 0 && m.Quiet.To == 0 {
		m.Quiet.From, m.Quiet.To = 20, 8
	}
	return m
}

// until returns when somebody in a zone may be told, now at the earliest.
func (q Quiet) until(now time.Time, zone *time.Location) time.Time {
	if q.Off {
		return now
	}
	if zone == nil {
		zone = time.UTC
	}
	at := now.In(zone)
	for range 8 { // a weekend at most, and a night on either side
		next, quiet := q.ends(at)
		if !quiet {
			break
		}
		at = next
	}
	return at
}

// ends returns whether at is quiet, and when that ends or the next stretch begins.
func (q Quiet) ends(at time.Time) (time.Time, bool) {
	y, m, d := at.Date()
	day := func(plus, hour int) time.Time { return time.Date(y, m, d+plus, hour, 0, 0, 0, at.Location()) }
	if w := at.Weekday(); (q.Weekends == nil || *q.Weekends) && (w == time.Saturday || w == time.Sunday) {
		return day(1, 0), true
	}
	h := at.Hour()
	switch {
	case q.From > q.To && h >= q.From:
		return day(1, 0), true
	case q.From > q.To && h < q.To:
		return day(0, q.To), true
	case q.From < q.To && h >= q.From && h < q.To:
		return day(0, q.To), true
	}
	return at, false
}

// Preferences of a person, kept under "person/<id>/digest".
const (
	digestDaily = "daily"
	digestNow   = ""
)

// PreferDigest keeps whether a person wants one digest a day.
func (b *Bot) PreferDigest(ctx context.Context, p conversation.Person, daily bool) error {
	value := digestNow
	if daily {
		value = digestDaily
	}
	return b.Store.Remember(ctx, "person/"+p.ID+"/digest", value)
}

// gather tells an owner what has come together for them: a few conversations
// in direct messages of their own, more on one list. d is the oldest of them.
func (b *Bot) gather(ctx context.Context, d store.Delivery, to conversation.Person) ([]store.Settled, error) {
	if b.People == nil {
		return []store.Settled{{Delivery: d}}, nil // nobody is told in a direct message
	}
	now := b.Now()
	waiting, err := b.Store.Line(ctx, d.Line)
	if err != nil {
		return nil, err
	}
	var fresh []store.Settled // to be told now
	var list []Listed
	var done []store.Settled
	var urgent bool
	for _, w := range waiting {
		c, err := b.Store.Get(ctx, w.Conversation)
		switch {
		case ctx.Err() != nil, errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrUncertain):
			return nil, cmp.Or(err, ctx.Err())
		case err != nil:
			b.Log.Error("a conversation cannot be read; nobody is told of it", "conversation", w.Conversation, "err", err)
			done = append(done, store.Settled{Delivery: w, Outcome: store.Outcome{Abandoned: true, Error: "unreadable"}})
			continue
		}
		if c.Status == conversation.Closed || !c.ToBeTold(to) {
			done = append(done, store.Settled{Delivery: w})
			continue
		}
		urgent = urgent || (!c.Violation.Due.IsZero() && c.Violation.Due.Sub(now) <= b.Manners.Urgent)
		fresh = append(fresh, store.Settled{Delivery: w})
		list = append(list, listed(c, now))
	}
	if len(fresh) == 0 {
		return done, nil
	}
	if at := b.tellAt(ctx, d, to, now, urgent); at.After(now) {
		// Only the head is put off: the others wait behind it.
		return append(done, store.Settled{Delivery: d, Outcome: store.Outcome{At: now, RetryAt: at, Held: true, Error: "gathering"}}), nil
	}
	digest := len(fresh) > b.Manners.Alone
	if digest {
		slices.SortStableFunc(list, soonest)
		dm := Message{Channel: to.ID}
		if err := b.turn(ctx, dm); err != nil {
			return nil, err
		}
		if err := b.People.Digest(ctx, to, list); err != nil {
			b.correct(dm, err)
			o := b.failed(d, nil, err)
			if !o.Abandoned {
				return append(done, store.Settled{Delivery: d, Outcome: o}), nil
			}
			for i := range fresh {
				fresh[i].Outcome = store.Outcome{At: now, Abandoned: true, Error: o.Error, Step: b.step(conversation.Unreached{To: to, Why: o.Error}, now)}
			}
			return append(done, fresh...), nil
		}
	}
	for i := range fresh {
		fresh[i].Outcome = store.Outcome{At: now, Step: b.step(conversation.Told{To: to, Digest: digest}, now)}
	}
	return append(done, fresh...), nil
}

// tellAt returns when a person may be told what d is the oldest of.
func (b *Bot) tellAt(ctx context.Context, d store.Delivery, to conversation.Person, now time.Time, urgent bool) time.Time {
	at := d.Created.Add(b.Manners.Window)
	if at.Before(now) {
		at = now
	}
	if urgent {
		return at
	}
	var zone *time.Location
	p, err := b.People.Person(ctx, Identity{ID: to.ID})
	var f *Failure
	switch {
	case err == nil:
		zone = p.Zone
	case !errors.As(err, &f) || f.Kind != Never:
		return now.Add(time.Minute) // when they may be told is not known now
	}
	if zone == nil {
		zone = time.UTC
	}
	if kept, err := b.Store.Recall(ctx, "person/"+to.ID+"/digest"); err == nil && kept["person/"+to.ID+"/digest"] == digestDaily {
		at = nextHour(d.Created, at, b.Manners.Digest, zone)
	}
	return b.Manners.Quiet.until(at, zone)
}

// nextHour returns the first time at or after at that is hour o'clock in zone,
// or at itself when that hour has passed since created.
func nextHour(created, at time.Time, hour int, zone *time.Location) time.Time {
	y, m, d := created.In(zone).Date()
	first := time.Date(y, m, d, hour, 0, 0, 0, zone)
	if first.Before(created) {
		first = time.Date(y, m, d+1, hour, 0, 0, 0, zone)
	}
	if first.Before(at) {
		return at
	}
	return first
}

// soonest sorts by due date, what has none last, and by age.
func soonest(a, b Listed) int {
	switch {
	case a.Due.IsZero() != b.Due.IsZero():
		if a.Due.IsZero() {
			return 1
		}
		return -1
	case !a.Due.Equal(b.Due):
		return a.Due.Compare(b.Due)
	}
	return cmp.Or(cmp.Compare(len(a.ID), len(b.ID)), cmp.Compare(a.ID, b.ID))
}

func listed(c conversation.Conversation, now time.Time) Listed {
	l := Listed{
		ID: c.ID, Title: c.Facts.Value(policy.Violated), App: c.Facts.Value(policy.AppName), AppID: c.Facts.Value(policy.AppID),
		Due: c.Violation.Due, Overdue: !c.Violation.Due.IsZero() && c.Violation.Due.Before(now),
	}
	if len(c.Threads) > 0 {
		l.Thread, l.RootTS = c.Threads[0].Place, c.Threads[0].RootTS()
	}
	return l
}
