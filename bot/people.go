package bot

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	// Fit returns how many of a list, from its front, one message holds: one at
	// least. It asks nobody.
	Fit(list []Listed) int
	// Digest tells one person of several conversations in one message that bears
	// m's marks. Errors are *Failure.
	Digest(ctx context.Context, m Message, page Digest) error
	// Report says something in m's channel, outside any thread, in a message that
	// bears m's marks. Errors are *Failure.
	Report(ctx context.Context, m Message, text policy.Text) error
}

// A Digest is one message of what came together for a person.
type Digest struct {
	List   []Listed // as many as Fit said
	Follow int      // so many follow in messages of their own
	Left   int      // so many are told of by their number alone
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

// SameApp reports whether two conversations are about one app.
func (l Listed) SameApp(o Listed) bool { return l.app() == o.app() }

// app tells apps apart: by id, else by name.
func (l Listed) app() string {
	if l.AppID != "" {
		return "id:" + strings.ToLower(l.AppID)
	}
	return "name:" + l.App
}

// Manners say when people are told, and how many things at once.
type Manners struct {
	Window time.Duration // how long what is for one person is gathered; 0: 10 s
	Alone  int           // up to so many are direct messages of their own, more are one digest; 0: 3, negative: none
	Quiet  Quiet
	Urgent time.Duration // due within this, or overdue: told at once, in quiet hours too; 0: 48 h, negative: only what is overdue
	Digest int           // the hour of the day at which those who want one digest a day get it; 0: 9, 24: midnight
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
	m.Alone = max(m.Alone, 0)
	if m.Urgent == 0 {
		m.Urgent = 48 * time.Hour
	}
	m.Urgent = max(m.Urgent, 0)
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

// A person's wish is kept under "person/<id>/digest": how, and the keys of the
// commands that said so last, the newest first.
const (
	digestDaily = "daily"
	digestNow   = "now"

	keptWishes = 4
)

// PreferDigest keeps whether a person wants one digest a day. key is the
// command's: one that comes again after the person has changed their mind since
// has no effect.
func (b *Bot) PreferDigest(ctx context.Context, key string, p conversation.Person, daily bool) error {
	b.wishes.Lock()
	defer b.wishes.Unlock()
	_, keys, err := b.wish(ctx, p)
	if err != nil || slices.Contains(keys, key) {
		return err
	}
	how := digestNow
	if daily {
		how = digestDaily
	}
	keys = append([]string{key}, keys...)
	return b.Store.Remember(ctx, wishOf(p), strings.Join(append([]string{how}, keys[:min(len(keys), keptWishes)]...), " "))
}

// wish returns how a person wants to be told, "" when they did not say, and the
// keys of the commands that said so.
func (b *Bot) wish(ctx context.Context, p conversation.Person) (how string, keys []string, err error) {
	kept, err := b.Store.Recall(ctx, wishOf(p))
	if words := strings.Fields(kept[wishOf(p)]); len(words) > 0 {
		how, keys = words[0], words[1:]
	}
	return how, keys, err
}

func wishOf(p conversation.Person) string { return "person/" + p.ID + "/digest" }

// gather tells an owner what has come together for them: a few conversations
// in direct messages of their own, more on lists. d is the oldest of them.
//
// A list is one message and one delivery carried out: it begins exactly what
// stands on it, its marks name exactly that, and what came meanwhile is on the
// next. So each message is found, or sent again, for itself.
func (b *Bot) gather(ctx context.Context, d store.Delivery, to conversation.Person) ([]store.Settled, error) {
	if b.People == nil {
		return []store.Settled{{Delivery: d}}, nil // nobody is told in a direct message
	}
	var waiting []store.Delivery
	for _, line := range store.LinesFor(to) {
		more, err := b.Store.Line(ctx, line)
		if err != nil {
			return nil, err
		}
		waiting = append(waiting, more...)
	}
	if begun := maybeSent(waiting); len(begun) > 0 {
		return b.findList(ctx, d, to, begun), nil
	}
	now := b.Now()
	fresh, done, err := b.toBeTold(ctx, waiting, to, now)
	if err != nil || len(fresh) == 0 {
		return done, err
	}
	// Only the head is put off: the others wait behind it.
	if at := d.Created.Add(b.Manners.Window); at.After(now) {
		return append(done, store.Settled{Delivery: d, Outcome: store.Outcome{RetryAt: at, Held: true, Error: "gathering"}}), nil
	}
	if at := b.tellAt(ctx, d, to, now); at.After(now) {
		fresh, at = b.pressingOf(fresh, now, at)
		if !slices.ContainsFunc(fresh, func(g gathered) bool { return g.delivery.ID == d.ID }) {
			done = append(done, store.Settled{Delivery: d, Outcome: store.Outcome{RetryAt: at, Held: true, Error: "gathering"}})
		}
	}
	switch {
	case len(fresh) == 0:
		return done, nil
	case len(fresh) > b.Manners.Alone:
		settled, err := b.list(ctx, d, to, fresh)
		return append(done, settled...), err
	}
	return append(done, b.told(to, fresh, false)...), nil
}

// pressingOf returns what of fresh is told at any hour, and when the first of the
// rest becomes so, or at.
func (b *Bot) pressingOf(fresh []gathered, now, at time.Time) ([]gathered, time.Time) {
	var urgent []gathered
	for _, g := range fresh {
		due := g.listed.Due
		if b.pressing(due, now) {
			urgent = append(urgent, g)
		} else if then := due.Add(-b.Manners.Urgent); !due.IsZero() && then.Before(at) {
			at = then
		}
	}
	return urgent, at
}

// A gathered conversation is one that an owner is to be told of.
type gathered struct {
	delivery store.Delivery
	listed   Listed
}

// toBeTold returns what an owner is to be told of, and the rest settled.
func (b *Bot) toBeTold(ctx context.Context, waiting []store.Delivery, to conversation.Person, now time.Time) (fresh []gathered, done []store.Settled, err error) {
	seen := map[string]bool{}
	for _, w := range waiting {
		c, err := b.Store.Get(ctx, w.Conversation)
		switch {
		case ctx.Err() != nil, errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrUncertain):
			return nil, nil, cmp.Or(err, ctx.Err())
		case err != nil:
			b.Log.Error("a conversation cannot be read; nobody is told of it", "conversation", w.Conversation, "err", err)
			done = append(done, store.Settled{Delivery: w, Outcome: store.Outcome{Abandoned: true, Error: "unreadable"}})
			continue
		}
		if seen[c.ID] || c.Status == conversation.Closed || !c.ToBeTold(to) {
			done = append(done, store.Settled{Delivery: w})
			continue
		}
		seen[c.ID] = true
		fresh = append(fresh, gathered{w, listed(c, now)})
	}
	return fresh, done, nil
}

// told settles what an owner is told of now.
func (b *Bot) told(to conversation.Person, all []gathered, digest bool) []store.Settled {
	settled := make([]store.Settled, len(all))
	for i, g := range all {
		settled[i] = store.Settled{Delivery: g.delivery, Outcome: store.Outcome{Step: b.step(conversation.Told{To: to, Digest: digest}, b.Now())}}
	}
	return settled
}

// listedAtOnce is how many conversations are listed for a person at once. Who
// has more needs to look through them, and not messages.
const listedAtOnce = 60

// list sends one message of a list: of what is due soonest, and what else there
// is about the same apps.
func (b *Bot) list(ctx context.Context, d store.Delivery, to conversation.Person, fresh []gathered) ([]store.Settled, error) {
	slices.SortStableFunc(fresh, func(a, b gathered) int { return soonestDue(a.listed, b.listed) })
	fresh = byApp(fresh)
	most := fresh[:min(len(fresh), listedAtOnce)]
	list := make([]Listed, len(most))
	for i, g := range most {
		list[i] = g.listed
	}
	n := min(max(1, b.People.Fit(list)), len(list))
	page := Digest{List: list[:n], Follow: len(most) - n, Left: len(fresh) - len(most)}
	on := deliveriesOf(most[:n])
	m := listMessage(to, on)

	if err := b.turn(ctx, m); err != nil {
		return nil, err
	}
	if o := b.begin(ctx, on...); o != nil {
		return []store.Settled{{Delivery: d, Outcome: *o}}, nil
	}
	err := b.People.Digest(ctx, m, page)
	if b.answered(m, err); err == nil {
		return b.told(to, append(slices.Clone(most[:n]), fresh[len(most):]...), true), nil
	}
	o := b.failed(ctx, d, m, err)
	switch {
	case o.Abandoned: // the next one would fare no better
		return b.unreached(ctx, to, deliveriesOf(fresh), o), nil
	case o.Unsent:
		return putOff(d, on, o), nil
	}
	return []store.Settled{{Delivery: d, Outcome: o}}, nil
}

// findList looks for a list that may have been sent: begun is what stood on it.
func (b *Bot) findList(ctx context.Context, d store.Delivery, to conversation.Person, begun []store.Delivery) []store.Settled {
	last := d
	for _, one := range begun {
		last.MaybeSent = later(last.MaybeSent, one.MaybeSent)
	}
	if o := b.unsettled(last); o != nil {
		return []store.Settled{{Delivery: d, Outcome: *o}}
	}
	_, found, o := b.find(ctx, last, listMessage(to, begun))
	switch {
	case o != nil && o.Abandoned:
		return b.unreached(ctx, to, begun, *o)
	case o != nil:
		return []store.Settled{{Delivery: d, Outcome: *o}}
	case found:
		var all []gathered
		for _, one := range begun {
			all = append(all, gathered{delivery: one})
		}
		return b.told(to, all, true)
	}
	return putOff(d, begun, store.Outcome{RetryAt: b.Now(), Unsent: true, Error: "was not sent"})
}

// maybeSent returns what of a line may have been sent: one message, since a line
// has one under way at a time.
func maybeSent(waiting []store.Delivery) (begun []store.Delivery) {
	for _, w := range waiting {
		if !w.MaybeSent.IsZero() {
			begun = append(begun, w)
		}
	}
	return begun
}

// listMessage is the message that tells a person of what deliveries are about. It
// can be found by exactly these.
func listMessage(to conversation.Person, on []store.Delivery) Message {
	ids := make([]uint64, len(on))
	for i, d := range on {
		ids[i] = d.ID
	}
	slices.Sort(ids)
	sum := sha256.Sum256(fmt.Append(nil, to.ID, ids))
	return Message{Conversation: "list", Key: hex.EncodeToString(sum[:8]), Channel: to.ID}
}

func deliveriesOf(all []gathered) []store.Delivery {
	out := make([]store.Delivery, len(all))
	for i, g := range all {
		out[i] = g.delivery
	}
	return out
}

// putOff puts off what stood on a list that was certainly not sent, and the head
// of its line, on which the line waits.
func putOff(head store.Delivery, all []store.Delivery, o store.Outcome) []store.Settled {
	settled := []store.Settled{{Delivery: head, Outcome: o}}
	for _, d := range all {
		if d.ID != head.ID {
			settled = append(settled, store.Settled{Delivery: d, Outcome: o})
		}
	}
	return settled
}

// unreached settles what a person could not be told of for good. The first
// speaks for all of them.
func (b *Bot) unreached(ctx context.Context, to conversation.Person, all []store.Delivery, o store.Outcome) []store.Settled {
	key := undelivered(to.ID, o.Error)
	report := b.worthSaying(ctx, key)
	settled := make([]store.Settled, len(all))
	for i, d := range all {
		e := conversation.Unreached{To: to, Why: o.Error}
		if i == 0 {
			e.Report, e.Also = report, len(all)-1
		}
		o.Step = b.saying(key, e)
		settled[i] = store.Settled{Delivery: d, Outcome: o}
	}
	return settled
}

// byApp puts what is about one app together, where the first of it stands.
func byApp(all []gathered) []gathered {
	var apps []string
	of := map[string][]gathered{}
	for _, g := range all {
		app := g.listed.app()
		if of[app] == nil {
			apps = append(apps, app)
		}
		of[app] = append(of[app], g)
	}
	out := make([]gathered, 0, len(all))
	for _, app := range apps {
		out = append(out, of[app]...)
	}
	return out
}

// tellAt returns when a person may be told what d is the oldest of, where it is
// not urgent: now or later.
func (b *Bot) tellAt(ctx context.Context, d store.Delivery, to conversation.Person, now time.Time) time.Time {
	at := now
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
	if how, _, err := b.wish(ctx, to); err == nil && how == digestDaily {
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

// soonestDue sorts by due date, what has none last, and by age.
func soonestDue(a, b Listed) int {
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
