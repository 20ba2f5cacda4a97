package bolt

import (
	"container/heap"
	"slices"
	"sync"
	"time"

	"rehome/store"
)

// lines knows, of every delivery that waits, its line, when it is due, which
// channel it goes to and whether it is urgent, so that asking what is due costs
// what is taken and how many channels wait, and not what waits. It is made from the file when that is opened
// and follows each commit; about 120 bytes for each delivery that waits.
type lines struct {
	// mu is held while a transaction that changes deliveries commits and is
	// followed, so that whoever holds it sees the same here and in the file.
	mu     sync.Mutex
	byName map[string]*line
	heads  map[queue]*headHeap // none is empty
}

// A queue is what lines have in common whose heads are asked about in order.
type queue struct {
	purpose store.Purpose
	channel string
	urgent  bool
}

// A line is never empty while it is known.
type line struct {
	name    string
	waiting []waiting // oldest first; the head is the first
	urgents int       // how many of them are urgent
	in      queue     // whose heap of heads it is in
	at      int       // place there
}

// queue is the one a line belongs in.
func (in *line) queue() queue {
	return queue{store.PurposeOf(in.name), in.waiting[0].channel, in.urgents > 0}
}

// count follows a delivery that came to wait, by 1, or went, by -1.
func (in *line) count(w waiting, by int) {
	if w.urgent {
		in.urgents += by
	}
}

type waiting struct {
	id      uint64
	due     time.Time
	channel string
	urgent  bool
}

// A change is what a transaction does to one waiting delivery: it waits until
// due, or is gone.
type change struct {
	line string
	waiting
	gone bool
}

func newLines() *lines { return &lines{byName: map[string]*line{}, heads: map[queue]*headHeap{}} }

// follow takes over what a committed transaction changed. l.mu is held.
func (l *lines) follow(changes []change) {
	for _, c := range changes {
		if c.gone {
			l.remove(c.line, c.id)
		} else {
			l.set(c.line, c.waiting)
		}
	}
}

func (l *lines) set(name string, w waiting) {
	in := l.byName[name]
	if in == nil {
		in = &line{name: name, waiting: []waiting{w}}
		in.count(w, 1)
		l.byName[name] = in
		l.push(in)
		return
	}
	i, known := in.find(w.id)
	if known {
		in.count(in.waiting[i], -1)
		in.waiting[i] = w
	} else {
		in.waiting = slices.Insert(in.waiting, i, w)
	}
	in.count(w, 1)
	if i == 0 || w.urgent {
		l.fix(in)
	}
}

func (l *lines) remove(name string, id uint64) {
	in := l.byName[name]
	if in == nil {
		return
	}
	i, known := in.find(id)
	switch {
	case !known:
		return
	case len(in.waiting) == 1:
		l.pull(in)
		delete(l.byName, name)
		return
	}
	in.count(in.waiting[i], -1)
	if i > 0 {
		in.waiting = slices.Delete(in.waiting, i, i+1)
	} else {
		in.waiting[0] = waiting{}
		in.waiting = in.waiting[1:] // moves nothing, however long the line is
	}
	l.fix(in)
}

// push puts a line among the heads of its queue.
func (l *lines) push(in *line) {
	in.in = in.queue()
	heads := l.heads[in.in]
	if heads == nil {
		heads = new(headHeap)
		l.heads[in.in] = heads
	}
	heap.Push(heads, in)
}

// pull takes a line out from among the heads.
func (l *lines) pull(in *line) {
	heads := l.heads[in.in]
	heap.Remove(heads, in.at)
	if len(*heads) == 0 {
		delete(l.heads, in.in)
	}
}

// fix puts a line where it belongs after its head or its urgency has changed.
func (l *lines) fix(in *line) {
	if in.in == in.queue() {
		heap.Fix(l.heads[in.in], in.at)
		return
	}
	l.pull(in)
	l.push(in)
}

func (in *line) find(id uint64) (int, bool) {
	return slices.BinarySearchFunc(in.waiting, id, func(w waiting, id uint64) int {
		switch {
		case w.id < id:
			return -1
		case w.id > id:
			return 1
		}
		return 0
	})
}

// due returns the ids of the heads that are due at now and taken, oldest first,
// and when the first that is not due will be. l.mu is held.
func (l *lines) due(now time.Time, take func(store.Waiting) store.Taking) (ids []uint64, next time.Time) {
	for _, urgent := range []bool{true, false} {
		for of, heads := range l.heads {
			if of.urgent == urgent {
				ids, next = heads.due(of, now, take, ids, next)
			}
		}
	}
	slices.Sort(ids)
	return ids, next
}

// due adds to ids and next what due returns for one queue.
func (h headHeap) due(of queue, now time.Time, take func(store.Waiting) store.Taking, ids []uint64, next time.Time) ([]uint64, time.Time) {
	for head := range h.soonestFirst {
		w := head.waiting[0]
		if w.due.After(now) {
			if next.IsZero() || w.due.Before(next) {
				next = w.due
			}
			break
		}
		asked := store.Take
		if take != nil {
			asked = take(store.Waiting{Line: head.name, Channel: of.channel, Urgent: of.urgent})
		}
		if asked == store.LeaveChannel {
			break
		}
		if asked == store.Take {
			ids = append(ids, w.id)
		}
	}
	return ids, next
}

// waitingIn returns the ids of a line, oldest first. l.mu is held.
func (l *lines) waitingIn(name string) (ids []uint64) {
	if in := l.byName[name]; in != nil {
		for _, w := range in.waiting {
			ids = append(ids, w.id)
		}
	}
	return ids
}

// headHeap is lines by when their heads are due, and by age where that is equal.
type headHeap []*line

// soonestFirst yields the lines in order. In a heap those under one come after
// it, so that only the first few are ever compared when only they are wanted.
func (h headHeap) soonestFirst(yield func(*line) bool) {
	seen := &places{in: h}
	for at := 0; yield(h[at]); at = heap.Pop(seen).(int) {
		for under := 2*at + 1; under <= 2*at+2 && under < len(h); under++ {
			heap.Push(seen, under)
		}
		if seen.Len() == 0 {
			return
		}
	}
}

// places are places in a heap of heads whose lines come next.
type places struct {
	in headHeap
	at []int
}

func (p *places) Len() int           { return len(p.at) }
func (p *places) Less(i, j int) bool { return p.in.Less(p.at[i], p.at[j]) }
func (p *places) Swap(i, j int)      { p.at[i], p.at[j] = p.at[j], p.at[i] }
func (p *places) Push(x any)         { p.at = append(p.at, x.(int)) }

func (p *places) Pop() any {
	last := p.at[len(p.at)-1]
	p.at = p.at[:len(p.at)-1]
	return last
}

func (h headHeap) Len() int { return len(h) }
func (h headHeap) Less(i, j int) bool {
	a, b := h[i].waiting[0], h[j].waiting[0]
	if !a.due.Equal(b.due) {
		return a.due.Before(b.due)
	}
	return a.id < b.id
}
func (h headHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

func (h *headHeap) Push(x any) {
	in := x.(*line)
	in.at = len(*h)
	*h = append(*h, in)
}

func (h *headHeap) Pop() any {
	old := *h
	in := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return in
}
