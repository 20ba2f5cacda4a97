package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"rehome/conversation"
)

// Mem is a Store that forgets everything when the process ends: for tests, and
// to say in the plainest way what a store does. It never forgets an event's key.
type Mem struct {
	mu     sync.Mutex
	closed bool
	memory
}

var _ Store = (*Mem)(nil)

// memory is all that a Mem remembers.
type memory struct {
	conversations   [][]byte // JSON, so that nobody shares memory with what is kept; RH-n at n-1, nil when forgotten
	apps            []string // app id that a conversation's facts name; RH-n's at n-1
	journal         []Entry
	cut             int        // how many entries have left the journal
	deliveries      []Delivery // waiting and abandoned, oldest first
	lastDelivery    uint64
	seen            map[string]string // event key → conversation id
	findings        map[string]string // finding → conversation id
	threads         map[place]string  // root of a thread → conversation id
	remembered      map[string]string
	quarantined     []Quarantined // oldest first
	lastQuarantined uint64
}

// place is where a thread's root stands.
type place struct{ channel, ts string }

// NewMem returns an empty store.
func NewMem() *Mem {
	return &Mem{memory: memory{
		seen: map[string]string{}, findings: map[string]string{}, threads: map[place]string{}, remembered: map[string]string{},
	}}
}

// enter locks the store for one call.
func (m *Mem) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return ErrClosed
	}
	return nil
}

// all runs n changes, each of which is all or nothing by itself, so that they
// are all or nothing together.
func (m *Mem) all(n int, change func(i int) error) error {
	var before memory
	if n > 1 {
		before = m.clone()
	}
	for i := range n {
		err := change(i)
		if err != nil && n > 1 {
			m.memory = before
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (m memory) clone() memory {
	m.conversations, m.apps, m.journal = slices.Clone(m.conversations), slices.Clone(m.apps), slices.Clone(m.journal)
	m.deliveries, m.quarantined = slices.Clone(m.deliveries), slices.Clone(m.quarantined)
	m.seen, m.findings, m.threads, m.remembered = maps.Clone(m.seen), maps.Clone(m.findings), maps.Clone(m.threads), maps.Clone(m.remembered)
	return m
}

// Apply implements [Store].
func (m *Mem) Apply(ctx context.Context, in Input) (Applied, error) {
	if err := in.Check(); err != nil {
		return Applied{}, err
	}
	if err := m.enter(ctx); err != nil {
		return Applied{}, err
	}
	defer m.mu.Unlock()
	return m.apply(in)
}

// ApplyAll implements [Store].
func (m *Mem) ApplyAll(ctx context.Context, b Batch) ([]Applied, error) {
	if err := b.Check(); err != nil {
		return nil, err
	}
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	applied := make([]Applied, len(b.Inputs))
	err := m.all(len(b.Inputs), func(i int) (err error) {
		applied[i], err = m.apply(b.Inputs[i])
		return b.Failed(i, err)
	})
	if err != nil {
		return nil, err
	}
	for _, q := range b.Quarantine {
		m.quarantine(q)
	}
	m.release(b.Release)
	return applied, nil
}

// quarantine keeps a record aside, or counts it.
func (m *memory) quarantine(q Quarantined) {
	i := slices.IndexFunc(m.quarantined, func(have Quarantined) bool {
		return have.Source == q.Source && bytes.Equal(have.Body, q.Body)
	})
	if i >= 0 {
		have := &m.quarantined[i]
		have.Last, have.Why = q.At, q.Why
		have.Count++
		return
	}
	m.lastQuarantined++
	q.ID, q.Last, q.Count, q.Body = m.lastQuarantined, q.At, 1, bytes.Clone(q.Body)
	m.quarantined = append(m.quarantined, q)
}

// release takes records out from among those kept aside and returns them.
func (m *memory) release(ids []uint64) (out []Quarantined) {
	m.quarantined = slices.DeleteFunc(slices.Clone(m.quarantined), func(q Quarantined) bool {
		was := slices.Contains(ids, q.ID)
		if was {
			out = append(out, q)
		}
		return was
	})
	return out
}

// Discard implements [Store].
func (m *Mem) Discard(ctx context.Context, at time.Time, ids ...uint64) ([]Quarantined, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	gone := m.release(ids)
	for _, q := range gone {
		m.record(Entry{At: at, Text: SayDiscarded(q), Event: EventDiscard})
	}
	return gone, nil
}

// Forget implements [Store].
func (m *Mem) Forget(ctx context.Context, then, at time.Time) (Forgotten, error) {
	if err := m.enter(ctx); err != nil {
		return Forgotten{}, err
	}
	defer m.mu.Unlock()
	var f Forgotten
	for i, kept := range m.conversations {
		if kept == nil {
			continue
		}
		c, err := m.get("RH-" + strconv.Itoa(i+1))
		if err != nil {
			return f, err
		}
		since, over := OverSince(c)
		if over && since.Before(then) && !m.awaited(c.ID) {
			m.forget(c, i)
			m.record(Entry{At: at, Text: SayForgotten(c.ID, since), Event: EventForget})
			f.Conversations++
		}
	}
	for _, q := range slices.Clone(m.quarantined) {
		if q.Last.Before(then) {
			m.release([]uint64{q.ID})
			m.record(Entry{At: at, Text: SayExpired(q), Event: EventForget})
			f.Quarantined++
		}
	}
	for len(m.journal) > 0 && m.journal[0].At.Before(then) && !m.keeps(m.journal[0].Conversation) {
		m.journal = m.journal[1:]
		m.cut++
		f.Entries++
	}
	return f, nil
}

// awaited reports whether something waits to be said of a conversation.
func (m *memory) awaited(id string) bool {
	return slices.ContainsFunc(m.deliveries, func(d Delivery) bool { return d.Conversation == id && !d.Abandoned })
}

// keeps reports whether a conversation is there.
func (m *memory) keeps(id string) bool {
	n := number(id)
	return n > 0 && n <= len(m.conversations) && m.conversations[n-1] != nil
}

// forget forgets the conversation at place i. Events and findings that name it
// are known by its being gone.
func (m *memory) forget(c conversation.Conversation, i int) {
	m.conversations[i], m.apps[i] = nil, ""
	for at := range roots(c) {
		if m.threads[at] == c.ID {
			delete(m.threads, at)
		}
	}
	m.deliveries = slices.DeleteFunc(m.deliveries, func(d Delivery) bool { return d.Conversation == c.ID })
	maps.DeleteFunc(m.findings, func(_, id string) bool { return id == c.ID })
}

// record adds an entry to the journal.
func (m *memory) record(e Entry) {
	e.Seq = uint64(m.cut + len(m.journal) + 1) //nolint:gosec // counted from 0
	m.journal = append(m.journal, e)
}

// apply applies one input, or nothing.
func (m *memory) apply(in Input) (Applied, error) {
	if known := m.seen[in.Event]; known != "" {
		if !m.keeps(known) {
			return Applied{Conversation: conversation.Conversation{ID: known}}, nil
		}
		c, err := m.get(known)
		return Applied{Conversation: c}, err
	}
	var err error
	old, step := conversation.Conversation{ID: "RH-" + strconv.Itoa(len(m.conversations)+1)}, in.Step
	again := in.Finding != "" && m.findings[in.Finding] != ""
	switch {
	case again:
		old, err = m.get(m.findings[in.Finding])
		step = in.Again
	case in.Conversation != "":
		old, err = m.get(in.Conversation)
	}
	if err != nil || in.Known && !again {
		return Applied{}, err
	}
	if again && in.Repeat != nil && in.Repeat(old) {
		return Applied{Conversation: old}, nil
	}
	if step == nil {
		return Applied{Again: true, Conversation: old}, nil
	}
	next, err := m.advance(old, step, in.At, in.Event, in.Urgent)
	if err != nil {
		return Applied{}, err
	}
	m.seen[in.Event] = next.ID
	if in.Finding != "" {
		m.findings[in.Finding] = next.ID
	}
	return Applied{Fresh: true, Again: again, Conversation: next}, nil
}

// Begin implements [Store].
func (m *Mem) Begin(ctx context.Context, d Delivery, at time.Time) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	if i := m.waits(d.ID); i >= 0 {
		m.deliveries[i].MaybeSent = at
	}
	return nil
}

// Settle implements [Store].
func (m *Mem) Settle(ctx context.Context, all ...Settled) error {
	for _, s := range all {
		if err := s.Outcome.Check(); err != nil {
			return err
		}
	}
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	return m.all(len(all), func(i int) error { return m.settle(all[i].Delivery.ID, all[i].Outcome) })
}

// settle settles one delivery, or does nothing.
func (m *memory) settle(id uint64, o Outcome) error {
	i := m.waits(id)
	if i < 0 {
		return nil
	}
	if o.Step != nil && o.RetryAt.IsZero() {
		c, err := m.get(m.deliveries[i].Conversation)
		if err != nil {
			return err
		}
		if _, err := m.advance(c, o.Step, o.At, EventOf(id), m.deliveries[i].Urgent); err != nil {
			return err
		}
	}
	if o.RetryAt.IsZero() && !o.Abandoned {
		m.deliveries = slices.Delete(m.deliveries, i, i+1)
		return nil
	}
	have := &m.deliveries[i]
	if !o.Held {
		have.Attempts++
	}
	have.LastError = o.Error
	have.Abandoned = o.Abandoned
	if o.Unsent {
		have.MaybeSent = time.Time{}
	}
	if !o.Abandoned {
		have.Due = o.RetryAt
	}
	return nil
}

// waits returns where a delivery that waits is, or -1.
func (m *memory) waits(id uint64) int {
	return slices.IndexFunc(m.deliveries, func(have Delivery) bool { return have.ID == id && !have.Abandoned })
}

// advance applies a step to old and keeps all that came of it, or nothing.
func (m *memory) advance(old conversation.Conversation, step Step, at time.Time, event string, urgent bool) (conversation.Conversation, error) {
	next, effects, err := step.Try(old)
	if err != nil {
		return next, err
	}
	next.ID = old.ID
	app, err := AppOf(next)
	if err != nil {
		return next, err
	}
	for _, e := range effects {
		if r, ok := e.(conversation.Remember); ok {
			if err := CheckMemory(r.Key); err != nil {
				return next, err
			}
		}
	}
	kept, err := json.Marshal(next)
	if err != nil {
		return next, fmt.Errorf("conversation %s cannot be kept: %w", next.ID, err)
	}
	if n := number(next.ID); n > len(m.conversations) {
		m.conversations, m.apps = append(m.conversations, kept), append(m.apps, app)
	} else {
		m.conversations[n-1], m.apps[n-1] = kept, app
	}
	had, has := roots(old), roots(next)
	for at := range had {
		if !has[at] && m.threads[at] == next.ID {
			delete(m.threads, at)
		}
	}
	for at := range has {
		if !had[at] {
			m.threads[at] = next.ID
		}
	}
	for _, e := range effects {
		switch e := e.(type) {
		case conversation.Record:
			m.record(Entry{At: at, Conversation: next.ID, By: e.By.ID, Text: e.Text, Event: event})
		case conversation.Remember:
			m.remember(e.Key, e.Value)
		default:
			m.lastDelivery++
			m.deliveries = append(m.deliveries, Delivery{
				ID: m.lastDelivery, Conversation: next.ID, Line: LineOf(next, e), Channel: ChannelOf(next, e), Urgent: urgent, Effect: e, Created: at, Due: at,
			})
		}
	}
	return next, nil
}

func (m *memory) remember(key, value string) {
	if value == "" {
		delete(m.remembered, key)
		return
	}
	m.remembered[key] = value
}

// roots returns where the conversation's threads hang.
func roots(c conversation.Conversation) map[place]bool {
	at := map[place]bool{}
	for _, t := range c.Threads {
		if t.RootTS() != "" {
			at[place{t.Channel, t.RootTS()}] = true
		}
	}
	return at
}

// Due implements [Store].
func (m *Mem) Due(ctx context.Context, now time.Time, take func(Waiting) Taking) (ready []Delivery, next time.Time, err error) {
	if err := m.enter(ctx); err != nil {
		return nil, time.Time{}, err
	}
	defer m.mu.Unlock()
	type like struct {
		purpose Purpose
		Waiting
	}
	left := map[like]bool{}
	heads, urgent := m.heads()
	for _, d := range heads {
		of := like{PurposeOf(d.Line), Waiting{Channel: d.Channel, Urgent: urgent[d.Line]}}
		if left[of] {
			continue
		}
		if d.Due.After(now) {
			if next.IsZero() || d.Due.Before(next) {
				next = d.Due
			}
			continue
		}
		asked := Take
		if take != nil {
			asked = take(Waiting{Line: d.Line, Channel: d.Channel, Urgent: urgent[d.Line]})
		}
		switch asked {
		case Take:
			ready = append(ready, d)
		case LeaveChannel:
			left[of] = true
		case Leave:
		}
	}
	slices.SortFunc(ready, func(a, b Delivery) int { return cmp.Compare(a.ID, b.ID) })
	return ready, next, nil
}

// heads returns the oldest delivery of each line, those of urgent lines first
// and then the soonest due, and which lines are urgent. m.mu is held.
func (m *Mem) heads() (heads []Delivery, urgent map[string]bool) {
	passed, urgent := map[string]bool{}, map[string]bool{}
	for _, d := range m.deliveries {
		if d.Abandoned {
			continue
		}
		if !passed[d.Line] {
			passed[d.Line] = true
			heads = append(heads, d)
		}
		urgent[d.Line] = urgent[d.Line] || d.Urgent
	}
	slices.SortStableFunc(heads, func(a, b Delivery) int {
		switch u := urgent[a.Line]; {
		case u == urgent[b.Line]:
			return a.Due.Compare(b.Due)
		case u:
			return -1
		}
		return 1
	})
	return heads, urgent
}

// Line implements [Store].
func (m *Mem) Line(ctx context.Context, line string) ([]Delivery, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	var out []Delivery
	for _, d := range m.deliveries {
		if d.Line == line && !d.Abandoned {
			out = append(out, d)
		}
	}
	return out, nil
}

// Recall implements [Store].
func (m *Mem) Recall(ctx context.Context, prefix string) (map[string]string, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	out := map[string]string{}
	for key, value := range m.remembered {
		if strings.HasPrefix(key, prefix) {
			out[key] = value
		}
	}
	return out, nil
}

// Remember implements [Store].
func (m *Mem) Remember(ctx context.Context, key, value string) error {
	if err := CheckMemory(key); err != nil {
		return err
	}
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	m.remember(key, value)
	return nil
}

// Quarantined implements [Store].
func (m *Mem) Quarantined(ctx context.Context) ([]Quarantined, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	out := slices.Clone(m.quarantined)
	for i := range out {
		out[i].Body = bytes.Clone(out[i].Body)
	}
	return out, nil
}

// Get implements [Store].
func (m *Mem) Get(ctx context.Context, id string) (conversation.Conversation, error) {
	if err := m.enter(ctx); err != nil {
		return conversation.Conversation{}, err
	}
	defer m.mu.Unlock()
	return m.get(id)
}

func (m *memory) get(id string) (c conversation.Conversation, err error) {
	if !m.keeps(id) {
		return c, fmt.Errorf("%s: %w", id, ErrNotFound)
	}
	return c, json.Unmarshal(m.conversations[number(id)-1], &c)
}

// number returns n for RH-n, or 0.
func number(id string) int {
	var n int
	if _, err := fmt.Sscanf(id, "RH-%d", &n); err != nil || id != "RH-"+strconv.Itoa(n) {
		return 0
	}
	return n
}

// Find implements [Store].
func (m *Mem) Find(ctx context.Context, channel, ts string) (string, error) {
	if err := m.enter(ctx); err != nil {
		return "", err
	}
	defer m.mu.Unlock()
	if id := m.threads[place{channel, ts}]; id != "" {
		return id, nil
	}
	return "", fmt.Errorf("thread %s in %s: %w", ts, channel, ErrNotFound)
}

// About implements [Store].
func (m *Mem) About(ctx context.Context, appID string, most int) ([]string, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	var ids []string
	for i, app := range m.apps {
		if app == appID && app != "" {
			ids = append(ids, "RH-"+strconv.Itoa(i+1))
		}
	}
	if len(ids) > most {
		ids = ids[len(ids)-most:]
	}
	return ids, nil
}

// List implements [Store].
func (m *Mem) List(ctx context.Context, yield func(conversation.Conversation) bool) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	count := len(m.conversations)
	m.mu.Unlock()
	for n := 1; n <= count; n++ {
		c, err := m.Get(ctx, "RH-"+strconv.Itoa(n))
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if !yield(c) {
			return nil
		}
	}
	return nil
}

// Journal implements [Store].
func (m *Mem) Journal(ctx context.Context, id string) ([]Entry, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	if id != "" && !m.keeps(id) {
		return nil, fmt.Errorf("%s: %w", id, ErrNotFound)
	}
	var of []Entry
	for _, e := range m.journal {
		if e.Conversation == id {
			of = append(of, e)
		}
	}
	return of, nil
}

// Outbox implements [Store].
func (m *Mem) Outbox(ctx context.Context, failed bool) ([]Delivery, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	var out []Delivery
	for _, d := range m.deliveries {
		if failed || !d.Abandoned {
			out = append(out, d)
		}
	}
	return out, nil
}

// Close implements [Store].
func (m *Mem) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}
