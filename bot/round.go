package bot

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"rehome/store"
)

// How many deliveries may be under way at once, by what they are for. Each is the
// head of its line, so that the order within a line never depends on it. A
// delivery takes one of these places only when its turn under Slack's limits is a
// few seconds off at most (patience), and some places are kept free for deliveries
// that somebody waits for.
const (
	postsAtOnce     = 24 // in threads
	postsForUrgent  = 8  // of these, for urgent ones only
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

// placesFor returns how many places a purpose has.
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

// A round is the state of one Run. Run's goroutine alone uses it, but for the two
// channels.
type round struct {
	bot    *Bot
	wait   sync.WaitGroup
	busy   map[string]place          // lines whose head is under way, by store.Together
	under  map[store.Purpose]int     // how many deliveries are under way, by purpose
	in     map[string]int            // how many posts are under way, by channel
	later  map[string]*notYet        // lines whose head was put off for the pace; dropped when it is started again
	served map[turns]map[string]bool // lines that have had their turn, see inTurn
	done   chan ended                // has room for all that is under way, so that none waits to end
	failed chan error                // the first error that ends Run
}

// A place is what a delivery that is under way takes up.
type place struct {
	purpose store.Purpose
	channel string
}

// turns names a group of lines that take turns: the threads in a channel, the
// urgent ones among themselves.
type turns struct {
	channel string
	urgent  bool
}

// ended says that a delivery is under way no longer.
type ended struct {
	line string
	wait *notYet // its turn is far off, and nothing was done; nil when it was carried out
}

func newRound(b *Bot) *round {
	return &round{
		bot: b, busy: map[string]place{}, under: map[store.Purpose]int{}, in: map[string]int{}, later: map[string]*notYet{},
		served: map[turns]map[string]bool{}, done: make(chan ended, atOnce), failed: make(chan error, 1),
	}
}

// start begins every delivery that may go out now and returns when to look again,
// unless one ends before that.
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
			continue // the lines that were passed over may be served now
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
		switch {
		case errors.As(err, &e.wait):
		case err != nil:
			select {
			case r.failed <- err:
			default: // Run ends already
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

// drain takes note of all that has ended meanwhile, so that one look serves them.
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
	now    time.Time      // by the bot's clock: due dates go by it
	tick   time.Time      // by the monotonic clock: the pace goes by it
	off    bool           // nothing may go out at all
	probe  bool           // Slack takes nothing: one delivery may go out, to see whether it does again
	next   time.Time      // when to look again for the sake of the pace; zero for no such time
	passed map[turns]bool // groups with lines that were passed over, since they have had their turn
	taken  map[turns]bool // groups with lines that were served in this look
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

// take decides about a line whose head is due: to start it, in which case it has
// taken a place for it, or to leave it, or to leave all lines of its channel.
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
		return store.LeaveChannel // the others of the channel would wait for the same
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

// full reports whether there is no place left for a delivery.
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

// wait returns how long it is until a line's head may be started under Slack's
// limits, as far as its line tells what it will send: 0 when it may be now.
func (p *look) wait(w store.Waiting, purpose store.Purpose) time.Duration {
	wait := p.later[w.Line]
	switch {
	case p.bot.Unlimited:
		return 0
	case purpose == store.RootEdits:
		return p.opens(allEdits, edits, p.under[purpose], patience)
	case purpose == store.Answers && wait == nil: // one in a direct message is a post, as it turns out
		return p.opens(allTells, tells, p.under[purpose], patience)
	case wait != nil && wait.edit:
		// Cards that people have acted on are edited before roots are, so this may be
		// started earlier and wait longer.
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

// opens returns how long it is until a delivery may be started that has to wait
// for its turn in a bucket no longer than most. underway others are assumed to come
// before it; some of them have had their turn, so this may be a little long.
func (p *look) opens(name string, r Rate, underway int, most time.Duration) time.Duration {
	wait := p.bot.out.pace.until(name, r, p.tick) + time.Duration(underway)*r.Every
	if wait <= most {
		return 0
	}
	return max(wait-most, r.Every)
}

// maxTurns bounds how many lines of a group are remembered as served, and how many
// groups.
const maxTurns = 1024

// inTurn decides whether a thread may post in its channel now. Threads take turns:
// one that was served waits until every other has been, so that a conversation
// with much to say does not keep others waiting.
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
	if !p.bot.Unlimited && p.later[w.Line] == nil { // one that was put off may be about to edit and not to post
		if wait := p.opens(channelOf+p.bot.out.directs.name(w.Channel), postsInChannel, 0, patience); wait > 0 {
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

// newTurns forgets who was served in each group in which every waiting line has
// been, and reports whether there is such a group.
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

// soonest returns the earlier of two times, of which zero means never.
func soonest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
