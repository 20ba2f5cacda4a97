package bolt

import (
	"container/heap"
	"slices"
	"sync"
	"time"

	"rehome/store"
)

// lines knows, of every delivery that waits, its line, when it is due and which
// channel it goes to, so that asking what is due costs what is due and taken and
// not what waits. It is made from the file when that is opened and follows each
// commit; about 120 bytes for each delivery that waits.
type lines struct {
	// mu is held while a transaction that changes deliveries commits and is
	// followed, so that whoever holds it sees the same here and in the file.
	mu     sync.Mutex
	byName map[string]*line
	heads  headHeap
}

// A line is never empty while it is known.
type line struct {
	name    string
	waiting []waiting // oldest first; the head is the first
	at      int       // place in the heap of heads
}

type waiting struct {
	id      uint64
	due     time.Time
	channel string
}

// A change is what a transaction does to one waiting delivery: it waits until
// due, or is gone.
type change struct {
	line string
	waiting
	gone bool
}

func newLines() *lines { return &lines{byName: map[string]*line{}} }

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
		l.byName[name] = in
		heap.Push(&l.heads, in)
		return
	}
	i, known := in.find(w.id)
	if known {
		in.waiting[i] = w
	} else {
		in.waiting = slices.Insert(in.waiting, i, w)
	}
	if i == 0 {
		heap.Fix(&l.heads, in.at)
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
		heap.Remove(&l.heads, in.at)
		delete(l.byName, name)
		return
	}
	if i > 0 {
		in.waiting = slices.Delete(in.waiting, i, i+1)
		return
	}
	in.waiting[0] = waiting{}
	in.waiting = in.waiting[1:] // moves nothing, however long the line is
	heap.Fix(&l.heads, in.at)
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
func (l *lines) due(now time.Time, take func(store.Waiting) bool) (ids []uint64, next time.Time) {
	// In a heap everything under a head that is not due is due later still.
	for look := []int{0}; len(look) > 0; {
		i := look[len(look)-1]
		look = look[:len(look)-1]
		if i >= len(l.heads) {
			continue
		}
		head := l.heads[i].waiting[0]
		if head.due.After(now) {
			if next.IsZero() || head.due.Before(next) {
				next = head.due
			}
			continue
		}
		if take == nil || take(store.Waiting{Line: l.heads[i].name, Channel: head.channel}) {
			ids = append(ids, head.id)
		}
		look = append(look, 2*i+1, 2*i+2)
	}
	slices.Sort(ids)
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

// headHeap is lines by when their heads are due.
type headHeap []*line

func (h headHeap) Len() int           { return len(h) }
func (h headHeap) Less(i, j int) bool { return h[i].waiting[0].due.Before(h[j].waiting[0].due) }
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
