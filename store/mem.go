package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"rehome/conversation"
)

// Mem is a Store that forgets everything when the process ends: for tests, and
// to say in the plainest way what a store does. It never forgets an event's key.
type Mem struct {
	mu            sync.Mutex
	closed        bool
	conversations [][]byte // JSON, so that nobody shares memory with what is kept; RH-n at n-1
	journal       []Entry
	deliveries    []Delivery // waiting and abandoned, oldest first
	lastDelivery  uint64
	seen          map[string]string // event key → conversation id
	findings      map[string]string // finding → conversation id
	threads       map[place]string  // root of a thread → conversation id
}

var _ Store = (*Mem)(nil)

// place is where a thread's root stands.
type place struct{ channel, ts string }

// NewMem returns an empty store.
func NewMem() *Mem {
	return &Mem{seen: map[string]string{}, findings: map[string]string{}, threads: map[place]string{}}
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

// Apply implements [Store].
func (m *Mem) Apply(ctx context.Context, in Input) (Applied, error) {
	if err := in.Check(); err != nil {
		return Applied{}, err
	}
	if err := m.enter(ctx); err != nil {
		return Applied{}, err
	}
	defer m.mu.Unlock()
	for _, known := range []string{m.seen[in.Event], m.findings[in.Finding]} {
		if known != "" {
			c, err := m.get(known)
			return Applied{Conversation: c}, err
		}
	}
	old := conversation.Conversation{ID: "RH-" + strconv.Itoa(len(m.conversations)+1)}
	if in.Conversation != "" {
		var err error
		if old, err = m.get(in.Conversation); err != nil {
			return Applied{}, err
		}
	}
	next, err := m.advance(old, in.Step, in.At, in.Event)
	if err != nil {
		return Applied{}, err
	}
	m.seen[in.Event] = next.ID
	if in.Finding != "" {
		m.findings[in.Finding] = next.ID
	}
	return Applied{Fresh: true, Conversation: next}, nil
}

// Settle implements [Store].
func (m *Mem) Settle(ctx context.Context, d Delivery, o Outcome) error {
	if err := o.Check(); err != nil {
		return err
	}
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.deliveries, func(have Delivery) bool { return have.ID == d.ID && !have.Abandoned })
	if i < 0 {
		return nil
	}
	if o.Step != nil && o.RetryAt.IsZero() {
		c, err := m.get(m.deliveries[i].Conversation)
		if err != nil {
			return err
		}
		if _, err := m.advance(c, o.Step, o.At, EventOf(d.ID)); err != nil {
			return err
		}
	}
	if o.RetryAt.IsZero() && !o.Abandoned {
		m.deliveries = slices.Delete(m.deliveries, i, i+1)
		return nil
	}
	have := &m.deliveries[i]
	have.Attempts++
	have.LastError = o.Error
	have.Abandoned = o.Abandoned
	if !o.Abandoned {
		have.Due = o.RetryAt
	}
	return nil
}

// advance applies a step to old and keeps all that came of it, or nothing.
func (m *Mem) advance(old conversation.Conversation, step Step, at time.Time, event string) (conversation.Conversation, error) {
	next, effects, err := step.Try(old)
	if err != nil {
		return next, err
	}
	next.ID = old.ID
	kept, err := json.Marshal(next)
	if err != nil {
		return next, fmt.Errorf("conversation %s cannot be kept: %w", next.ID, err)
	}
	if n := number(next.ID); n > len(m.conversations) {
		m.conversations = append(m.conversations, kept)
	} else {
		m.conversations[n-1] = kept
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
		if r, ok := e.(conversation.Record); ok {
			m.journal = append(m.journal, Entry{Seq: uint64(len(m.journal)) + 1, At: at, Conversation: next.ID, By: r.By.ID, Text: r.Text, Event: event})
			continue
		}
		m.lastDelivery++
		m.deliveries = append(m.deliveries, Delivery{ID: m.lastDelivery, Conversation: next.ID, Line: LineOf(next.ID, e), Effect: e, Created: at, Due: at})
	}
	return next, nil
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
func (m *Mem) Due(ctx context.Context, now time.Time) (ready []Delivery, next time.Time, err error) {
	if err := m.enter(ctx); err != nil {
		return nil, time.Time{}, err
	}
	defer m.mu.Unlock()
	passed := map[string]bool{}
	for _, d := range m.deliveries {
		if d.Abandoned || passed[d.Line] {
			continue
		}
		passed[d.Line] = true
		if !d.Due.After(now) {
			ready = append(ready, d)
		} else if next.IsZero() || d.Due.Before(next) {
			next = d.Due
		}
	}
	return ready, next, nil
}

// Get implements [Store].
func (m *Mem) Get(ctx context.Context, id string) (conversation.Conversation, error) {
	if err := m.enter(ctx); err != nil {
		return conversation.Conversation{}, err
	}
	defer m.mu.Unlock()
	return m.get(id)
}

func (m *Mem) get(id string) (c conversation.Conversation, err error) {
	n := number(id)
	if n < 1 || n > len(m.conversations) {
		return c, fmt.Errorf("%s: %w", id, ErrNotFound)
	}
	return c, json.Unmarshal(m.conversations[n-1], &c)
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

// List implements [Store].
func (m *Mem) List(ctx context.Context, yield func(conversation.Conversation) bool) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	count := len(m.conversations)
	m.mu.Unlock()
	for n := 1; n <= count; n++ {
		c, err := m.Get(ctx, "RH-"+strconv.Itoa(n))
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
	if _, err := m.get(id); err != nil {
		return nil, err
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
