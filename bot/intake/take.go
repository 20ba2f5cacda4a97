package intake

import (
	"context"
	"crypto/rand"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rehome/bot"
	"rehome/conversation"
	"rehome/policy"
)

// An Intake makes conversations of records. All of its fields but Now are
// required; Infer and Route are called by several goroutines at once.
type Intake struct {
	Bot   Taker
	Infer func(policy.Violation) policy.Facts                     // what follows from a violation
	Route func(policy.Violation, policy.Facts) conversation.Place // where its conversation is held
	Now   func() time.Time                                        // nil: time.Now
}

// Taker is the part of [bot.Bot] that an Intake needs.
type Taker interface {
	TakeIn(ctx context.Context, with bot.Batch, alerts ...bot.Alert) ([]bot.Applied, error)
}

// A Piece is a record, or the error there is instead of one, as [Records] and
// [File.Records] yield them.
type Piece struct {
	Record
	Err error
}

// Became says what became of a record.
type Became struct {
	Index, Line   int      // the record's
	Opened        int      // conversations it opened
	Updated       int      // findings that were known and hear something new
	Known         int      // findings that were known as they are, or events that came before
	Ignored       int      // what is no violation, or over and was never heard of
	Quarantined   bool     // all of it or a part could not be read, and is kept
	Conversations []string // RH-1 …, each once
	Faults        []Fault  // what could not be read, and key material and other things that were left out
	Notes         []Fault  // what was read in a way worth knowing
}

// Take takes records in, in one transaction: when it returns, what it says is
// durable, and after an error nothing of it can be relied on, so that all of it
// must be sent again. source says where a record came from, for whoever looks
// at what is in quarantine.
func (in *Intake) Take(ctx context.Context, source func(Record) string, pieces []Piece) ([]Became, error) {
	t := taking{in: in, now: in.now()}
	for i, w := range t.workUp(len(pieces), func(i int) Reading { return pieces[i].reading() }) {
		t.add(Became{Index: pieces[i].Index, Line: pieces[i].Line}, w)
		if len(w.Faults) > 0 {
			t.batch.Quarantine = append(t.batch.Quarantine, bot.Quarantined{
				At: t.now, Source: source(pieces[i].Record), Why: why(w.Faults), Body: w.Clean,
			})
		}
	}
	return t.commit(ctx)
}

// Reread reads again what is in quarantine, as after an update or a correction.
// What can be read now is taken in and let go in the same transaction; the rest
// stays. Became.Index is the place in kept.
func (in *Intake) Reread(ctx context.Context, kept []bot.Quarantined) ([]Became, error) {
	t := taking{in: in, now: in.now()}
	for i, w := range t.workUp(len(kept), func(i int) Reading { return again(kept[i].Body) }) {
		t.add(Became{Index: i}, w)
		if len(w.Faults) == 0 {
			t.batch.Release = append(t.batch.Release, kept[i].ID)
		}
	}
	return t.commit(ctx)
}

// again reads what was kept: a record, or a row under the names of its columns.
func again(kept []byte) Reading {
	if row, is := rowIn(kept); is {
		return row.reading()
	}
	return Read(kept)
}

func (in *Intake) now() time.Time {
	if in.Now == nil {
		return time.Now()
	}
	return in.Now()
}

// reading reads a piece.
func (p Piece) reading() Reading {
	if p.Err == nil {
		return Read(p.Raw).inColumns(p.columns)
	}
	return Reading{Faults: Faults(p.Err), Clean: kept(p.Raw, len(p.Raw) == maxKept)}
}

// inColumns names fields by the columns of the file they came from.
func (r Reading) inColumns(columns map[string]string) Reading {
	for _, said := range [][]Fault{r.Faults, r.LeftOut, r.Notes, r.Ignored} {
		for i := range said {
			if column := columns[said[i].Field]; column != "" {
				said[i].Field = column
			}
		}
	}
	return r
}

// why says all that is wrong with a record in one line, of a length that can be
// listed.
func why(faults []Fault) string { return cut((&Malformed{Faults: faults}).Error(), maxText) }

// taking is what one call of Take or Reread gathers.
type taking struct {
	in     *Intake
	now    time.Time
	batch  bot.Batch
	became []Became
	alerts []bot.Alert
	of     []int // alerts[i] is of became[of[i]]
}

// worked is a reading and what is to be opened for its alerts.
type worked struct {
	Reading
	open []bot.Alert
}

// workUp reads n records, on all cores when they are many: it is more than half
// of the work of taking them in, and the rest waits for one transaction.
func (t *taking) workUp(n int, read func(i int) Reading) []worked {
	all := make([]worked, n)
	one := func(i int) { all[i] = t.work(read(i)) }
	workers := min(runtime.GOMAXPROCS(0), n/16)
	if workers < 2 {
		for i := range n {
			one(i)
		}
		return all
	}
	var next atomic.Int64
	var done sync.WaitGroup
	for range workers {
		done.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				one(i)
			}
		})
	}
	done.Wait()
	return all
}

func (t *taking) work(got Reading) worked {
	w := worked{Reading: got}
	for _, a := range got.Alerts {
		facts := t.in.Infer(a.Violation)
		for _, f := range facts {
			if f.Doubt != "" {
				w.Notes = append(w.Notes, Fault{"", "the " + f.Name.Words() + "'s address is " + f.Doubt})
			}
		}
		w.open = append(w.open, bot.Alert{Key: a.keyNow(t.now), Finding: a.Finding(), Opened: conversation.Opened{
			Violation: a.Violation, Facts: facts, In: t.in.Route(a.Violation, facts),
		}})
	}
	return w
}

// add takes up what was read.
func (t *taking) add(b Became, got worked) {
	b.Quarantined = len(got.Faults) > 0
	b.Faults = slices.Concat(got.Faults, got.LeftOut)
	b.Notes = slices.Concat(got.Notes, got.Ignored)
	b.Ignored = len(got.Ignored)
	for _, a := range got.open {
		t.alerts = append(t.alerts, a)
		t.of = append(t.of, len(t.became))
	}
	t.became = append(t.became, b)
}

// keyNow is the alert's key for one coming of it. A record that says neither
// when it was observed nor which event it is cannot be told from one that came
// before by its words: a finding that was resolved and is found again is told in
// the same words as the first time. So it has no key of its own, and the
// conversation says whether it hears anything new: a repeat changes nothing. What
// comes later has a later key: the store writes those to one place.
func (a Alert) keyNow(now time.Time) string {
	if a.Event != "" || !a.Violation.Observed.IsZero() {
		return a.Key()
	}
	return "now:" + fmt.Sprintf("%016x", now.UnixNano()) + "-" + rand.Text() + "/" + a.Finding()
}

// commit takes in what was gathered and counts.
func (t *taking) commit(ctx context.Context) ([]Became, error) {
	if len(t.alerts)+len(t.batch.Quarantine)+len(t.batch.Release) == 0 {
		return t.became, nil
	}
	applied, err := t.in.Bot.TakeIn(ctx, t.batch, t.alerts...)
	if err != nil {
		return nil, err
	}
	for i, a := range applied {
		b := &t.became[t.of[i]]
		switch {
		case a.Conversation.ID == "":
			b.Ignored++
			b.Notes = append(b.Notes, Fault{"", "it is " + t.alerts[i].Opened.Violation.Status + " and no conversation is about it"})
			continue
		case a.Fresh && !a.Again:
			b.Opened++
		case a.Fresh:
			b.Updated++
		default:
			b.Known++
		}
		if id := a.Conversation.ID; !slices.Contains(b.Conversations, id) {
			b.Conversations = append(b.Conversations, id)
		}
	}
	return t.became, nil
}

// String is one line for people: "RH-1 opened", "not understood: title is missing; add it".
func (b Became) String() string {
	var said []string
	on := strings.Join(b.Conversations, ", ")
	switch {
	case b.Opened > 0:
		said = append(said, on+" opened")
	case b.Updated > 0:
		said = append(said, on+" brought up to date")
	case b.Known > 0:
		said = append(said, on+" knows it")
	case b.Ignored > 0 && !b.Quarantined:
		said = append(said, "nothing to do")
	}
	if b.Quarantined {
		said = append(said, "not understood, kept in quarantine")
	}
	for _, f := range slices.Concat(b.Faults, b.Notes) {
		said = append(said, f.String())
	}
	return strings.Join(said, "; ")
}
