//go:build unix

package main

import (
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
	lost, doubled, disordered, others int
	wrong                             []string // each in words
}

func (v *verdict) String() string {
	return fmt.Sprintf("seed %d: %d alerts, %d messages, %d kills, %d faults of Slack: %d lost, %d doubled, %d out of order, %d otherwise wrong",
		v.seed, v.alerts, v.messages, v.kills, v.faults, v.lost, v.doubled, v.disordered, v.others)
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
	if left, err := st.Outbox(ctx, true); err != nil || len(left) > 0 {
		v.note(&v.others, "%d deliveries wait or were given up (%v), the first %+v", len(left), err, left[:min(1, len(left))])
	}
	posted := c.posted(v)
	opened := map[string]string{}
	err = st.List(ctx, func(conv conversation.Conversation) bool {
		id := conv.Violation.ID
		if other := opened[id]; other != "" {
			v.note(&v.doubled, "%s opened %s and %s", id, other, conv.ID)
		}
		opened[id] = conv.ID
		p, ok := c.sent[id]
		if !ok {
			v.note(&v.others, "%s came of %s, which nobody was told is in", conv.ID, id)
			return true
		}
		c.compare(v, conv, p, posted[conv.ID])
		delete(posted, conv.ID)
		journal, err := st.Journal(ctx, conv.ID)
		if err != nil {
			v.note(&v.others, "%s: %v", conv.ID, err)
		}
		v.once(conv, journal)
		return true
	})
	if err != nil {
		v.note(&v.others, "listing: %v", err)
	}
	for id := range c.sent {
		if opened[id] == "" {
			v.note(&v.lost, "%s was answered with 202 and has no conversation", id)
		}
		if n := c.taken[id]; n > 1 {
			v.note(&v.doubled, "%s was said to be new %d times", id, n)
		}
	}
	for id, cards := range posted {
		v.note(&v.others, "Slack shows %d messages of %s, which the store does not know", len(cards), id)
	}
	return v
}

// posted reads what Slack shows: the messages of each conversation, in order.
func (c *crash) posted(v *verdict) map[string][]sandbox.Message {
	out := map[string][]sandbox.Message{}
	for _, channel := range crashChannels() {
		for _, m := range c.slack.w.Posted(channel.ID, 0) {
			k, ours := markOf(m)
			switch {
			case ours:
				v.messages++
				out[k.Conversation] = append(out[k.Conversation], m)
			case m.BotID != "":
				v.note(&v.others, "a message without a mark stands in %s: %q", m.Channel, m.Text)
			}
		}
	}
	return out
}

// compare judges one conversation's messages.
func (c *crash) compare(v *verdict, conv conversation.Conversation, p place, posted []sandbox.Message) {
	want := p.cards()
	var got []string
	for _, m := range posted {
		k, _ := markOf(m)
		if slices.Contains(got, k.Key) {
			v.note(&v.doubled, "%s %s was posted again", conv.ID, k.Key)
			continue
		}
		got = append(got, k.Key)
		if m.Channel != p.channel || k.Key != conversation.RootKey && m.ThreadTS != posted[0].TS {
			v.note(&v.others, "%s %s stands in %s/%s", conv.ID, k.Key, m.Channel, m.ThreadTS)
		}
		if len(conv.Threads) != 1 || conv.Threads[0].Shown[k.Key].TS != m.TS {
			v.note(&v.others, "the store takes another message than %s for %s %s", m.TS, conv.ID, k.Key)
		}
		if card, ok := conv.CardIn(0, k.Key, time.Now()); !ok || conversation.Digest(card) != k.Digest {
			v.note(&v.others, "%s %s does not show how things stand", conv.ID, k.Key)
		}
	}
	for _, key := range want {
		if !slices.Contains(got, key) {
			v.note(&v.lost, "%s %s was never posted", conv.ID, key)
		}
	}
	expected := slices.DeleteFunc(slices.Clone(want), func(k string) bool { return !slices.Contains(got, k) })
	if !slices.Equal(got, expected) {
		v.note(&v.disordered, "%s was posted as %v, not %v", conv.ID, got, expected)
	}
}

// once judges that each thing that happened is in the journal once.
func (v *verdict) once(conv conversation.Conversation, journal []store.Entry) {
	said := map[string]int{}
	for _, e := range journal {
		said[e.Text]++
	}
	for text, n := range said {
		if n > 1 {
			v.note(&v.doubled, "%s: %q happened %d times", conv.ID, text, n)
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
