package slackapp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/slack-go/slack"

	"rehome/bot"
	"rehome/conversation"
)

// Digest implements [bot.People]: conversations grouped by app, each with its
// own buttons, in as few direct messages as Slack's limits allow. When it fails
// half-way and is asked again, the messages that went out are not sent twice,
// and one that may have is looked for. A restart in between forgets them.
func (c *Chat) Digest(ctx context.Context, to conversation.Person, list []bot.Listed) error {
	if len(list) == 0 {
		return nil
	}
	pages := digestPages(to, list, c.linksTo(ctx, list))
	for _, p := range pages {
		if err := c.sendPage(ctx, to, p); err != nil {
			return err
		}
	}
	for _, p := range pages {
		c.digests.forget(p.key) // it is whole: the same list may be due again one day
	}
	return nil
}

// sendPage sends a message of a digest that did not go out before.
func (c *Chat) sendPage(ctx context.Context, to conversation.Person, p *digestPage) error {
	went, begun := c.digests.know(p.key)
	if went {
		return nil
	}
	if !begun.IsZero() {
		is := func(m slack.Message) bool {
			return len(m.Blocks.BlockSet) > 0 && m.Blocks.BlockSet[0].ID() == p.mark()
		}
		_, found, err := c.findMessage(ctx, to.ID, "", begun.Add(-time.Minute), is)
		var f *bot.Failure
		if err != nil && (!errors.As(err, &f) || f.Kind != bot.Never) { // where we may not read, rather twice than not at all
			return err
		}
		if found {
			c.digests.note(p.key, true)
			return nil
		}
	}
	_, err := c.send(ctx, to.ID, false, quiet(p.words(), p.blocks...)...)
	var f *bot.Failure
	switch {
	case err == nil:
		c.digests.note(p.key, true)
	case errors.As(err, &f) && f.Unsure:
		c.digests.note(p.key, false)
		f.After = max(f.After, appearsWithin)
	}
	return err
}

// appearsWithin is how long a message is given to appear before it is looked for.
const appearsWithin = 20 * time.Second

// linksTo asks for the addresses of the threads in channels, as far as Slack
// says them in good time; the channel is named in any case.
func (c *Chat) linksTo(ctx context.Context, list []bot.Listed) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, linksWithin)
	defer cancel()
	out := map[string]string{}
	for _, l := range list[:min(len(list), digestLength)] {
		if l.RootTS == "" || !channelID.MatchString(l.Thread.Channel) || l.Thread.IsDirect() {
			continue
		}
		link, err := c.api.GetPermalinkContext(ctx, &slack.PermalinkParameters{Channel: l.Thread.Channel, Ts: l.RootTS})
		if err != nil {
			c.log.Info("a digest has fewer links: Slack does not say a message's address", "conversation", l.ID, "code", failure(err, false).Code)
			if failure(err, false).Kind != bot.Never {
				return out // it would not say the next one either
			}
			continue
		}
		out[l.ID] = link
	}
	return out
}

const (
	linksWithin  = 5 * time.Second
	digestLength = 60            // conversations on a digest; who has more needs a list, not messages
	digestText   = 3500          // characters of one message's words, of maxTopLevel; the rest is its head and foot
	digestBlocks = maxBlocks - 5 // likewise
)

// A digestPage is one message of a digest.
type digestPage struct {
	page
	key string // the same for the same message
}

// mark is the block_id of its first block.
func (p *digestPage) mark() string { return "digest:" + p.key[:8] }

// digestPages is pure; the same list gives the same bytes.
func digestPages(to conversation.Person, list []bot.Listed, links map[string]string) []*digestPage {
	shown := list[:min(len(list), digestLength)]
	parts := digestParts(byApp(shown), links)
	pages := make([]*digestPage, len(parts))
	for n, part := range parts {
		heading := "1 finding for you"
		if len(list) != 1 {
			heading = fmt.Sprintf("%d findings for you", len(list))
		}
		if len(parts) > 1 {
			heading += fmt.Sprintf(", part %d of %d", n+1, len(parts))
		}
		p := digestOf(to, heading, part, links)
		if n == len(parts)-1 {
			if left := len(list) - len(shown); left > 0 {
				p.note(words(fmt.Sprintf("%d more:", left)), " ", code("/rehome list mine"), " shows them.")
			}
			p.note("“Open here” brings one into a thread of its own, with its questions. ", code("/rehome digest daily"), " gathers all there is into one message a day.")
		}
		p.stamp(p.mark())
		pages[n] = p
	}
	return pages
}

// digestParts cuts a list so that each part fits a message.
func digestParts(list []bot.Listed, links map[string]string) [][]bot.Listed {
	var parts [][]bot.Listed
	from, blocks, size := 0, 0, 0
	for i, l := range list {
		n, length := 2, lengthOf(digestLine(l, links[l.ID]))
		if i == from || appOf(list[i-1]) != appOf(l) {
			n, length = n+1, length+lengthOf(digestApp(l))
		}
		if i > from && (blocks+n > digestBlocks || size+length > digestText) {
			parts = append(parts, list[from:i])
			from, blocks, size = i, 0, 0
			n, length = 3, length+lengthOf(digestApp(l)) // its app is named anew
		}
		blocks, size = blocks+n, size+length
	}
	return append(parts, list[from:])
}

// digestOf writes one message.
func digestOf(to conversation.Person, heading string, part []bot.Listed, links map[string]string) *digestPage {
	p := &digestPage{}
	p.header(heading)
	known := []string{to.ID, heading}
	for _, l := range part {
		known = append(known, l.ID, l.Title, l.App, fmt.Sprint(l.Due.Unix(), l.Overdue))
	}
	p.key = digest(known...)
	for i, l := range part {
		if i == 0 || appOf(part[i-1]) != appOf(l) {
			p.say(digestApp(l)...)
		}
		p.say(digestLine(l, links[l.ID])...)
		m := marker{conversation: l.ID, key: keyList, digest: p.key}
		p.controls(m.control(verbOwn), nil, ownButton(actionJoin, "Open here"), ownButton(actionNotMine, "Not my app"))
	}
	return p
}

// byApp puts what is about one app together, where the first of it stands.
func byApp(list []bot.Listed) []bot.Listed {
	var out []bot.Listed
	seen := map[string]bool{}
	for _, first := range list {
		app := appOf(first)
		if seen[app] {
			continue
		}
		seen[app] = true
		for _, l := range list {
			if appOf(l) == app {
				out = append(out, l)
			}
		}
	}
	return out
}

// appOf tells apps apart: by id, else by name.
func appOf(l bot.Listed) string {
	if l.AppID != "" {
		return "id:" + strings.ToLower(l.AppID)
	}
	return "name:" + l.App
}

func digestApp(l bot.Listed) []markup {
	switch {
	case l.App != "" && l.AppID != "":
		return []markup{bold("App"), " ", code(cut(l.App, 60)), " · ", code(cut(l.AppID, 60))}
	case l.App+l.AppID != "":
		return []markup{bold("App"), " ", code(cut(l.App+l.AppID, 60))}
	}
	return []markup{bold("App not known yet")}
}

func digestLine(l bot.Listed, address string) []markup {
	out := []markup{bold(words(l.ID)), " ", words(cut(orElse(l.Title, "title not known yet"), 100))}
	if !l.Due.IsZero() {
		out = append(out, " · due ", day(l.Due))
	}
	if l.Overdue {
		out = append(out, " · ", bold("overdue"))
	}
	switch {
	case address != "":
		out = append(out, " · ", link("its thread", address))
	case channelID.MatchString(l.Thread.Channel) && !l.Thread.IsDirect():
		out = append(out, " · in ", channelMention(l.Thread.Channel))
	}
	return out
}

// lengthOf is how many characters a line takes at most.
func lengthOf(m []markup) int {
	n := 1
	for _, s := range m {
		n += len(s)
	}
	return n
}

// sent remembers for a while which messages of an unfinished digest went out,
// or may have.
type sent struct {
	mu   sync.Mutex
	seen map[string]attempt
}

type attempt struct {
	at   time.Time
	went bool // else it may have
}

// sentFor is longer than a failed digest waits to be tried again.
const sentFor = 15 * time.Minute

func (s *sent) know(key string) (went bool, begun time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.seen[key]
	if !ok || time.Since(a.at) > sentFor {
		return false, time.Time{}
	}
	return a.went, a.at
}

func (s *sent) note(key string, went bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil || len(s.seen) >= maxKnown {
		s.seen = map[string]attempt{}
	}
	s.seen[key] = attempt{at: time.Now(), went: went}
}

func (s *sent) forget(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.seen, key)
}
