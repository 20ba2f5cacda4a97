package bot

import (
	"context"
	"fmt"
	"sync"
	"time"

	"rehome/store"
)

// How many deliveries are under way at most, by what they are for. Each is one
// line's head, so that order within a line never depends on it. A delivery whose
// turn under Slack's limits is more than a few seconds off (patience) does not
// hold a place; a few places are kept free for what somebody waits for.
const (
	postsAtOnce     = 24 // in threads
	postsForUrgent  = 8  // of them
	rootsAtOnce     = 4
	answersAtOnce   = 8
	lookupsAtOnce   = 32
	gatheringAtOnce = 16
	reportsAtOnce   = 1

	// atOnce is all of them together, and so the number of goroutines Run has.
	atOnce = postsAtOnce + rootsAtOnce + answersAtOnce + lookupsAtOnce + gatheringAtOnce + reportsAtOnce

	// atOnceInChannel keeps a channel with much to say from taking all places.
	atOnceInChannel = 2
)

// placesFor is how many of them a purpose has.
func placesFor(p store.Purpose) int {
	switch p {
	case store.InThread:
		return postsAtOnce
	case store.RootEdits:
		return rootsAtOnce
	case store.Answers:
		return answersAtOnce
	case store.Lookups:
		return lookupsAtOnce
	case store.Gathering:
		return gatheringAtOnce
	case store.Reporting:
		return reportsAtOnce
	}
	return 1
}

// A round is the state of one Run.
type round struct {
	bot    *Bot
	wait   sync.WaitGroup
	busy   map[string]place // lines whose head is being delivered, by store.Together
	under  map[store.Purpose]int
	in     map[string]int     // how many posts are under way in each channel
	later  map[string]*notYet // lines whose head has its turn later; dropped when it is tried again
	served map[turns]map[string]bool
	done   chan ended
	failed chan error
}

// A place is what a delivery that is under way takes up.
type place struct {
	purpose store.Purpose
	channel string
}

// turns are what lines take turns in.
type turns struct {
	channel string
	urgent  bool
}

// ended says that a line's head was carried out, or why not yet.
type ended struct {
	line string
	wait *notYet
}

func newRound(b *Bot) *round {
	return &round{
		bot: b, busy: map[string]place{}, under: map[store.Purpose]int{}, in: map[string]int{}, later: map[string]*notYet{},
		served: map[turns]map[string]bool{}, done: make(chan ended, atOnce), failed: make(chan error, 1),
	}
}

// start begins every delivery that may go out now and returns when to look again.
func (r *round) start(ctx context.Context) (time.Time, error) {
	for {
		p := r.look()
		if p.off {
			return p.next, nil // one that ends makes Run look again
		}
		ready, next, err := r.bot.Store.Due(ctx, p.now, p.take)
		if err != nil {
			return next, fmt.Errorf("reading what is due: %w", err)
		}
		for _, d := range ready {
			r.begin(ctx, d)
		}
		if p.newTurns() {
			continue // those that were passed over have their turn again
		}
		return soonest(next, p.next), nil
	}
}

// begin delivers d beside everything else.
func (r *round) begin(ctx context.Context, d store.Delivery) {
	delete(r.later, d.Line)
	r.wait.Go(func() {
		e := ended{line: d.Line}
		err := r.bot.deliver(ctx, d)
		if wait, later := err.(*notYet); later { //nolint:errorlint // deliver returns it bare
			e.wait = wait
		} else if err != nil {
			select {
			case r.failed <- err:
			default:
			}
		}
		select {
		case r.done <- e:
		case <-ctx.Done():
		}
	})
}

// end notes that a line's head is under way no longer.
func (r *round) end(e ended) {
	at := r.busy[store.Together(e.line)]
	delete(r.busy, store.Together(e.line))
	r.under[at.purpose]--
	if at.purpose == store.InThread {
		if r.in[at.channel]--; r.in[at.channel] <= 0 {
			delete(r.in, at.channel)
		}
	}
	if e.wait != nil {
		r.later[e.line] = e.wait
	}
}

// drain takes the other lines that ended meanwhile.
func (r *round) drain() {
	for {
		select {
		case e := <-r.done:
			r.end(e)
		default:
			return
		}
	}
}

// A look is one look at what is due.
type look struct {
	*round
	now    time.Time // by the bot's clock, which what is due goes by
	tick   time.Time // by the clock that nobody sets, which the pace goes by
	off    bool      // nothing may go out at all
	probe  bool      // one delivery may, to see whether anything does
	next   time.Time
	passed map[turns]bool // where lines were passed over that had their turn
	taken  map[turns]bool
}

func (r *round) look() *look {
	p := &look{round: r, now: r.bot.Now(), tick: time.Now(), passed: map[turns]bool{}, taken: map[turns]bool{}}
	until, halted := r.bot.out.halt.probing()
	switch {
	case halted && p.tick.Before(until):
		p.off = true
		p.again(until.Sub(p.tick))
	case halted:
		p.probe, p.off = true, len(r.busy) > 0
	}
	return p
}

// take says what to do about a line's head that is due, and takes a place for it.
func (p *look) take(w store.Waiting) store.Taking {
	purpose := store.PurposeOf(w.Line)
	if p.full(purpose, w.Urgent) {
		return store.LeaveChannel // one that ends makes Run look again
	}
	if _, busy := p.busy[store.Together(w.Line)]; busy {
		return store.Leave
	}
	if wait := p.wait(w, purpose); wait > 0 {
		p.again(wait)
		if p.later[w.Line] != nil {
			return store.Leave
		}
		return store.LeaveChannel // all of them wait for the same
	}
	if purpose == store.InThread {
		if t := p.inTurn(w); t != store.Take {
			return t
		}
		p.in[w.Channel]++
	}
	p.under[purpose]++
	p.busy[store.Together(w.Line)] = place{purpose, w.Channel}
	return store.Take
}

// full reports whether there is no place for a purpose.
func (p *look) full(purpose store.Purpose, urgent bool) bool {
	if p.probe {
		// Only what sends something shows whether anything goes through.
		return len(p.busy) > 0 || purpose == store.Lookups || purpose == store.Gathering
	}
	places := placesFor(purpose)
	if purpose == store.InThread && !urgent {
		places -= postsForUrgent
	}
	return p.under[purpose] >= places
}

// again makes Run look again after a while.
func (p *look) again(after time.Duration) { p.next = soonest(p.next, p.now.Add(after)) }

// wait returns how long it is until a line's head may be given a place, as far as
// is known what it needs.
func (p *look) wait(w store.Waiting, purpose store.Purpose) time.Duration {
	wait := p.later[w.Line]
	switch {
	case p.bot.Unlimited:
		return 0
	case purpose == store.RootEdits:
		return p.opens(allEdits, edits, p.under[purpose], patience)
	case purpose == store.Answers:
		return p.opens(allTells, tells, p.under[purpose], patience)
	case wait != nil && wait.edit:
		// What people do is edited before roots are: it may wait longer in its place.
		return p.opens(allEdits, edits, p.under[store.RootEdits], 2*patience)
	case wait != nil && wait.until.After(p.tick):
		return wait.until.Sub(p.tick)
	case purpose == store.InThread || wait != nil:
		most := patience
		if w.Urgent {
			most *= 2
		}
		return p.opens(allPosts, postsInAll, p.under[store.InThread]+p.under[store.Gathering]+p.under[store.Reporting], most)
	}
	return 0
}

// opens returns how long it is until one more than those under way may be let in,
// so that it waits for its turn no longer than most. Some of those under way have
// taken their turn already, so this is on the safe side.
func (p *look) opens(name string, r Rate, underway int, most time.Duration) time.Duration {
	wait := p.bot.out.pace.until(name, r, p.tick) + time.Duration(underway)*r.Every
	if wait <= most {
		return 0
	}
	return max(wait-most, r.Every)
}

// maxTurns bounds how many lines take turns in a channel.
const maxTurns = 1024

// inTurn says whether a thread may say something in its channel. Threads take
// turns: one that was served waits until every other had its turn, so that a
// conversation with much to say does not keep others waiting.
func (p *look) inTurn(w store.Waiting) store.Taking {
	if w.Channel == "" {
		return store.Take
	}
	most := atOnceInChannel
	if w.Urgent {
		most++
	}
	if p.in[w.Channel] >= most {
		return store.LeaveChannel // one that ends makes Run look again
	}
	if !p.bot.Unlimited && p.later[w.Line] == nil { // else it may wait for something other than to post
		if wait := p.opens(channelOf+w.Channel, postsInChannel, 0, patience); wait > 0 {
			p.again(wait)
			return store.LeaveChannel
		}
	}
	of := turns{w.Channel, w.Urgent}
	if p.served[of][w.Line] {
		p.passed[of] = true
		return store.Leave
	}
	if p.served[of] == nil || len(p.served[of]) >= maxTurns {
		p.served[of] = map[string]bool{}
	}
	p.served[of][w.Line] = true
	p.taken[of] = true
	return store.Take
}

// newTurns begins turns anew where every line that waits has had its own, and
// reports whether there is such a place.
func (p *look) newTurns() bool {
	var anew bool
	for of := range p.passed {
		if !p.taken[of] {
			delete(p.served, of)
			anew = true
		}
	}
	if len(p.served) > maxTurns {
		clear(p.served)
	}
	return anew
}

func soonest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
