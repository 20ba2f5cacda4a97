package bot

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"rehome/conversation"
	"rehome/store"
)

// This file is about when people may be told: the operator's manners, quiet hours
// in each person's time zone, and what people wish for themselves.

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

// until returns when somebody in a time zone may be told, now at the earliest. A
// nil zone is UTC.
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

// ends reports whether at is in quiet hours, and returns when those end or go over
// into the next ones.
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

// A person's wish is remembered under "person/<id>/digest", as words: how they want
// to be told, and the keys of the last commands that said so, newest first.
const (
	digestDaily = "daily"
	digestNow   = "now"

	keptWishes = 4
)

// PreferDigest remembers whether a person wants one digest a day. key names the
// command: when Slack delivers it again after the person has said something else,
// it has no effect.
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

// tellAt returns when a person may be told of what is not urgent, now or later. d
// is the oldest of it.
func (b *Bot) tellAt(ctx context.Context, d store.Delivery, to conversation.Person, now time.Time) time.Time {
	how, _, err := b.wish(ctx, to)
	daily := err == nil && how == digestDaily
	if b.Manners.Quiet.Off && !daily {
		return now // whatever hour it is where they are
	}
	at := now
	var zone *time.Location
	p, err := b.People.Person(ctx, Identity{ID: to.ID})
	var f *Failure
	switch {
	case err == nil:
		zone = p.Zone
	case !errors.As(err, &f) || f.Kind != Never:
		return now.Add(time.Minute) // their time zone cannot be found out now
	}
	if zone == nil {
		zone = time.UTC
	}
	if daily {
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
