//go:build unix

package main

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"rehome/bot/sandbox"
	"rehome/conversation"
	"rehome/store"
)

// direct judges who was told of a conversation besides its channel:
//
//   - each owner once: in a direct message, on one list, or as one of so many more
//     that a list speaks of
//   - in a thread of the direct message: an owner who was told there, and whoever
//     asked for it
//   - nobody else, and nobody on the list of another
//   - the security channel once, when nobody can be told
//   - whoever pressed something in their direct message had an answer to each
//     press: that it counts, or in words
func (c *crash) direct(v *verdict, conv conversation.Conversation, a alert, seen *sighted, journal []store.Entry) {
	told, nobody := map[string]string{}, 0
	for _, e := range journal {
		if e.Text == "no owner can be told" {
			nobody++
		}
		after, is := strings.CutPrefix(e.Text, "told ")
		if user, how, _ := strings.Cut(after, ", "); is && told[user] == "" {
			told[user] = how
		} else if is {
			v.note(&v.doubled, "%s: %s was told %s, and %s", conv.ID, user, told[user], how)
		}
	}
	if len(a.owners) == 0 && nobody == 0 {
		v.note(&v.lost, "%s: it was never found out that nobody can be told", conv.ID)
	}
	for _, u := range append(crashOwners(), sandbox.User{ID: rivera}) {
		switch owns := slices.Contains(a.owners, u.ID); {
		case owns && told[u.ID] == "":
			v.note(&v.lost, "%s: its owner %s was never told; looked for in %v", conv.ID, u.ID, conv.Hops)
		case !owns && told[u.ID] != "":
			v.note(&v.others, "%s is not of %s, who was told %s", conv.ID, u.ID, told[u.ID])
		}
		listed := told[u.ID] == "on a list of several"
		if n := seen.lists[shownIn{c.slack.w.DM(u.ID), conv.ID}]; listed && n == 0 {
			seen.more[c.slack.w.DM(u.ID)]-- // as one of more than are listed
		} else {
			v.as(conv.ID+" on lists of "+u.ID, n, listed)
		}
		threads := 0
		for _, th := range conv.Threads[1:] {
			if th.For.ID == u.ID {
				threads++
			}
		}
		v.as(conv.ID+" in threads for "+u.ID, threads, c.slack.joined[about{u.ID, conv.ID}] || told[u.ID] != "" && !listed)
		c.answered(v, conv, u.ID, seen, journal)
	}
	reports := len(seen.words[shownIn{crashSecurity, conv.ID}])
	v.reports += reports
	v.as(conv.ID+" in the security channel", reports, nobody > 0)
}

// as notes what should be there once, or not at all, and is not.
func (v *verdict) as(what string, n int, wanted bool) {
	switch {
	case n > 0 && !wanted:
		v.note(&v.others, "%s, where it should not be: %d times", what, n)
	case n == 0 && wanted:
		v.note(&v.lost, "%s is missing", what)
	case n > 1:
		v.note(&v.doubled, "%s is there %d times", what, n)
	}
}

// answered judges that everything somebody did in their direct message was
// answered. What rivera does in channels is answered there, for her eyes only.
func (c *crash) answered(v *verdict, conv conversation.Conversation, user string, seen *sighted, journal []store.Entry) {
	if user == rivera {
		return
	}
	n := len(seen.words[shownIn{c.slack.w.DM(user), conv.ID}])
	for _, e := range journal {
		if e.By == user && (strings.HasPrefix(e.Text, "answered question ") || e.Text == "takes it") {
			n++
		}
	}
	switch did := c.slack.acts[about{user, conv.ID}]; {
	case n < did.least:
		v.note(&v.lost, "%s: %s did %d things that were taken, and had %d answers", conv.ID, user, did.least, n)
	case n > did.most:
		v.note(&v.doubled, "%s: %s did at most %d things, and had %d answers", conv.ID, user, did.most, n)
	}
}

// isAside reports whether a message answers a press on a list, in words that are
// nowhere else. It is said to one person where they pressed, and not remembered:
// when Slack breaks off, it is said again in another way.
func isAside(m sandbox.Message) bool {
	return strings.HasPrefix(m.Channel, "D") && slices.ContainsFunc([]string{
		" comes up below, in a thread of its own.", " is in our direct message already: look for its thread.", "I could not find out just now whether ",
	}, func(words string) bool { return strings.Contains(m.Text, words) })
}

// A sheet is one list: its conversations, from top to bottom, and how many more
// there are that it does not name.
type sheet struct {
	channel string
	ids     []string
	more    int
}

var moreOnList = regexp.MustCompile(`(\d+) more: .*/rehome list mine`)

func sheetOf(m sandbox.Message) sheet {
	s := sheet{channel: m.Channel}
	for _, b := range opens(m) {
		s.ids = append(s.ids, conversationOf(b.BlockID))
	}
	if n := moreOnList.FindStringSubmatch(m.Text); n != nil {
		s.more, _ = strconv.Atoi(n[1]) // digits
	}
	return s
}

// inOrder judges that what stands on a list is in the order it was opened, but for
// what is about one app, which is together. apps are by conversation.
func (v *verdict) inOrder(s sheet, apps map[string]string) {
	older := func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b)) }
	first := map[string]string{} // of each app
	for _, id := range slices.SortedFunc(slices.Values(s.ids), older) {
		if first[apps[id]] == "" {
			first[apps[id]] = id
		}
	}
	want := slices.SortedFunc(slices.Values(s.ids), func(a, b string) int {
		return cmp.Or(older(first[apps[a]], first[apps[b]]), older(a, b))
	})
	if !slices.Equal(s.ids, want) {
		v.note(&v.disordered, "a list in %s has %v, not %v", s.channel, s.ids, want)
	}
}
