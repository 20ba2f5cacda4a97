//go:build unix

package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"rehome/bot/sandbox"
	"rehome/conversation"
	"rehome/policy"
	"rehome/store"
	"rehome/store/bolt"
)

// A verdict is what a run comes to.
type verdict struct {
	seed                              uint64
	alerts, messages, kills, faults   int
	direct, lists, reports            int // of the messages
	lost, doubled, disordered, others int
	wrong                             []string // each in words
}

func (v *verdict) String() string {
	return fmt.Sprintf("seed %d: %d alerts, %d messages (%d of them in direct messages, %d lists and %d reports), %d kills, %d faults: %d lost, %d doubled, %d out of order, %d otherwise wrong",
		v.seed, v.alerts, v.messages, v.direct, v.lists, v.reports, v.kills, v.faults, v.lost, v.doubled, v.disordered, v.others)
}

func (v *verdict) note(count *int, format string, args ...any) {
	*count++
	v.wrong = append(v.wrong, fmt.Sprintf(format, args...))
}

// judge compares what was taken in with what Slack got and what the store holds:
//
//   - every alert that was answered with 202 has one conversation, and no
//     conversation came of anything else
//   - every message of it was posted once, in its place, one after the other, and
//     shows how things stand
//   - its owner was told once, and others only when they asked for it: see direct
//   - every answer counts once
//   - the store is whole, its journal is a chain, and nothing waits or was given up
func (c *crash) judge() *verdict {
	ctx := c.t.Context()
	v := &verdict{seed: c.seed, alerts: len(c.sent), kills: c.kills, faults: c.slack.hit()}
	st, err := bolt.Open(c.store, bolt.Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	if err := st.Verify(ctx); err != nil {
		v.note(&v.others, "the store: %v", err)
	}
	left, err := st.Outbox(ctx, true)
	left = slices.DeleteFunc(left, func(d store.Delivery) bool { return d.Effect == conversation.Lookup{Late: true} && !d.Abandoned })
	if err != nil || len(left) > 0 {
		v.note(&v.others, "%d deliveries wait or were given up (%v), the first %+v", len(left), err, left[:min(1, len(left))])
	}
	seen := c.sighted(v)
	opened, apps := map[string]string{}, map[string]string{}
	err = st.List(ctx, func(conv conversation.Conversation) bool {
		id := conv.Violation.ID
		if other := opened[id]; other != "" {
			v.note(&v.doubled, "%s opened %s and %s", id, other, conv.ID)
		}
		opened[id] = conv.ID
		apps[conv.ID] = cmp.Or(conv.Facts.Value(policy.AppID), conv.Violation.App.DisplayName)
		a, ok := c.sent[id]
		if !ok {
			v.note(&v.others, "%s came of %s, which nobody was told is in", conv.ID, id)
			return true
		}
		journal, err := st.Journal(ctx, conv.ID)
		if err != nil {
			v.note(&v.others, "%s: %v", conv.ID, err)
		}
		v.once(conv, journal)
		c.direct(v, conv, a, seen, journal)
		for in := range conv.Threads {
			c.compare(v, conv, in, a, seen)
		}
		return true
	})
	if err != nil {
		v.note(&v.others, "listing: %v", err)
	}
	for _, s := range seen.sheets {
		v.inOrder(s, apps)
	}
	// There may be more that lists speak of than were told so: when it was not known
	// for a while whether a list was sent, those it only counts are told by name later.
	for channel, n := range seen.more {
		if n < 0 {
			v.note(&v.lost, "%d are on no list in %s, and none speaks of them", -n, channel)
		}
	}
	for id := range c.sent {
		if opened[id] == "" {
			v.note(&v.lost, "%s was answered with 202 and has no conversation", id)
		}
		if n := c.taken[id]; n > 1 {
			v.note(&v.doubled, "%s was said to be new %d times", id, n)
		}
	}
	for at, cards := range seen.cards {
		v.note(&v.others, "%s shows %d messages of %s, which the store does not know", at.channel, len(cards), at.conversation)
	}
	return v
}

// sighted is what Slack shows.
type sighted struct {
	cards  map[shownIn][]sandbox.Message // in the order they came; compare takes out what it knows
	words  map[shownIn][]sandbox.Message // answers to one person, and reports
	sheets []sheet
	lists  map[shownIn]int // on how many of them a conversation stands
	more   map[string]int  // of how many more those in a channel speak, less those found out to be meant
}

// shownIn is a conversation in a channel.
type shownIn struct{ channel, conversation string }

// sighted reads what Slack shows.
func (c *crash) sighted(v *verdict) *sighted {
	seen := &sighted{cards: map[shownIn][]sandbox.Message{}, words: map[shownIn][]sandbox.Message{}, lists: map[shownIn]int{}, more: map[string]int{}}
	once := map[shownIn]bool{} // by a list's key, or that of an answer
	for _, m := range c.slack.w.AllMessages() {
		k, ours := markOf(m)
		if !ours {
			if m.BotID != "" && !isAside(m) {
				v.note(&v.others, "a message without a mark stands in %s: %q", m.Channel, m.Text)
			}
			continue
		}
		v.messages++
		if strings.HasPrefix(m.Channel, "D") {
			v.direct++
		}
		at := shownIn{m.Channel, k.Conversation}
		switch {
		case k.Conversation == listMark:
			v.lists++
			s := sheetOf(m)
			seen.sheets = append(seen.sheets, s)
			seen.more[m.Channel] += s.more
			for _, id := range s.ids {
				seen.lists[shownIn{m.Channel, id}]++
			}
		case k.Conversation == answerMark:
			continue // to a press that came too late, say: it is not written down, and may come after each restart
		case strings.HasPrefix(k.Key, "d"):
			seen.words[at] = append(seen.words[at], m)
		default:
			seen.cards[at] = append(seen.cards[at], m)
			continue // what is there twice is seen by compare
		}
		if is := (shownIn{m.Channel, k.Conversation + " " + k.Key}); once[is] {
			v.note(&v.doubled, "%s %s was said again in %s", k.Conversation, k.Key, m.Channel)
		} else {
			once[is] = true
		}
	}
	return seen
}

// compare judges a conversation's messages in one of its threads.
func (c *crash) compare(v *verdict, conv conversation.Conversation, in int, a alert, seen *sighted) {
	th := conv.Threads[in]
	at := shownIn{a.channel, conv.ID}
	if in > 0 {
		at.channel = c.slack.w.DM(th.For.ID)
	}
	posted, want := seen.cards[at], a.cards()
	delete(seen.cards, at)
	var got []string
	for _, m := range posted {
		k, _ := markOf(m)
		if slices.Contains(got, k.Key) {
			v.note(&v.doubled, "%s %s was posted again in %s", conv.ID, k.Key, at.channel)
			continue
		}
		got = append(got, k.Key)
		if k.Key != conversation.RootKey && m.ThreadTS != posted[0].TS {
			v.note(&v.others, "%s %s stands in %s/%s", conv.ID, k.Key, m.Channel, m.ThreadTS)
		}
		if th.Channel != at.channel || th.Shown[k.Key].TS != m.TS {
			v.note(&v.others, "the store takes another message than %s/%s for %s %s", m.Channel, m.TS, conv.ID, k.Key)
		}
		// A root that was shown when it was some time ago that the directory was read
		// says so.
		if !slices.ContainsFunc([]time.Time{conv.ReadAt, time.Now()}, func(now time.Time) bool {
			card, ok := conv.CardIn(in, k.Key, now)
			return ok && conversation.Digest(card) == k.Digest
		}) {
			v.note(&v.others, "%s %s in %s does not show how things stand", conv.ID, k.Key, at.channel)
		}
	}
	for _, key := range want {
		if !slices.Contains(got, key) {
			v.note(&v.lost, "%s %s was never posted in %s", conv.ID, key, at.channel)
		}
	}
	expected := slices.DeleteFunc(slices.Clone(want), func(k string) bool { return !slices.Contains(got, k) })
	if !slices.Equal(got, expected) {
		v.note(&v.disordered, "%s was posted in %s as %v, not %v", conv.ID, at.channel, got, expected)
	}
}

// once judges that each thing that happened is in the journal once.
func (v *verdict) once(conv conversation.Conversation, journal []store.Entry) {
	type deed struct{ by, text string }
	said := map[deed]int{}
	for _, e := range journal {
		said[deed{e.By, e.Text}]++
	}
	for d, n := range said {
		if n > 1 {
			v.note(&v.doubled, "%s: %q happened %d times, by %q", conv.ID, d.text, n, d.by)
		}
	}
	for i := range conv.Asked {
		answered := fmt.Sprintf("answered question %d, ", i+1)
		if !slices.ContainsFunc(journal, func(e store.Entry) bool { return strings.HasPrefix(e.Text, answered) }) {
			v.note(&v.lost, "%s: the journal does not have that somebody %s", conv.ID, answered)
		}
	}
}

// cards lists the cards of a conversation that the alert opens and in which each
// question is answered with its first choice, in the order they come up.
func (p place) cards() []string { return cardsOf[p] }

var cardsOf = func() map[place][]string {
	out := map[place][]string{}
	pol, now := policy.Default(), time.Now()
	for _, p := range places {
		v := policy.Violation{ID: "x", Title: p.title, App: policy.App{DisplayName: "x", Cloud: p.cloud, Party: p.party}}
		c, _ := conversation.Step(pol, conversation.Conversation{ID: "RH-1"}, conversation.Opened{
			Violation: v, Facts: pol.Infer(v), In: conversation.Place{Channel: p.channel},
		}, now)
		for n := c.OpenQuestion(); n > 0; n = c.OpenQuestion() {
			c, _ = conversation.Step(pol, c, conversation.Chosen{
				By: conversation.Person{ID: rivera}, Question: n, Value: c.Asked[n-1].Need.Choices[0].Value,
			}, now)
		}
		out[p] = c.Keys()
	}
	return out
}()
