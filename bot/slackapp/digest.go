package slackapp

import (
	"context"
	"fmt"
	"time"

	"github.com/slack-go/slack"

	"rehome/bot"
)

// Digest implements [bot.People]: conversations grouped by app, each with its
// own buttons, in one direct message.
func (c *Chat) Digest(ctx context.Context, m bot.Message, d bot.Digest) error {
	p := digestPage(m, d, c.linksTo(ctx, d.List))
	_, err := c.post(ctx, m, p)
	return err
}

// linksTo returns the addresses of the threads in channels, by conversation, as far
// as Slack tells them in good time. A line without one names the channel.
func (c *Chat) linksTo(ctx context.Context, list []bot.Listed) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, linksWithin)
	defer cancel()
	out := map[string]string{}
	for _, l := range list {
		if l.RootTS == "" || !channelID.MatchString(l.Thread.Channel) || l.Thread.IsDirect() {
			continue
		}
		if c.turn(ctx, "chat.getPermalink", permalinks) != nil {
			return out
		}
		link, err := c.api.GetPermalinkContext(ctx, &slack.PermalinkParameters{Channel: l.Thread.Channel, Ts: l.RootTS})
		if err != nil {
			c.log.Info("a digest has fewer links: Slack does not say a message's address", "conversation", l.ID, "code", failure(err, asking).Code)
			if failure(err, asking).Kind != bot.Never {
				return out // it would not say the next one either
			}
			continue
		}
		out[l.ID] = link
	}
	return out
}

// permalinks: Slack allows hundreds a minute.
var permalinks = bot.Rate{Every: 225 * time.Millisecond, Burst: 30}

const (
	linksWithin  = 5 * time.Second
	digestText   = 3500          // characters of one message's words, of maxTopLevel; the rest is its head and foot
	digestBlocks = maxBlocks - 5 // likewise
	digestLink   = 140           // characters kept for a thread's address and its brackets; a longer one is left out
)

// Fit implements [bot.People].
func (c *Chat) Fit(list []bot.Listed) int {
	blocks, size := 0, 0
	for i, l := range list {
		n, length := 2, lengthOf(digestLine(l, ""))+digestLink
		if i == 0 || !list[i-1].SameApp(l) {
			n, length = n+1, length+lengthOf(digestApp(l))
		}
		if blocks, size = blocks+n, size+length; i > 0 && (blocks > digestBlocks || size > digestText) {
			return i
		}
	}
	return len(list)
}

// digestPage lays a digest out. It is pure: the same digest gives the same bytes.
func digestPage(m bot.Message, d bot.Digest, links map[string]string) *page {
	p := &page{}
	all := len(d.List) + d.Follow + d.Left
	switch here := len(d.List); {
	case here < all:
		p.header(fmt.Sprintf("%d of %d findings for you", here, all))
	case all == 1:
		p.header("1 finding for you")
	default:
		p.header(fmt.Sprintf("%d findings for you", all))
	}
	for i, l := range d.List {
		if i == 0 || !d.List[i-1].SameApp(l) {
			p.say(digestApp(l)...)
		}
		p.say(digestLine(l, links[l.ID])...)
		to := marker{conversation: l.ID, key: keyList, digest: m.Key}
		p.controls(to.control(verbOwn), nil, ownButton(actionJoin, "Open here"), ownButton(actionNotMine, "Not my app"))
	}
	if d.Follow > 0 {
		p.note(words(fmt.Sprintf("%d more follow.", d.Follow)))
	}
	if d.Left > 0 {
		p.note(words(fmt.Sprintf("%d more:", d.Left)), " ", code("/rehome list mine"), " shows them.")
	}
	if d.Follow == 0 {
		p.note("“Open here” brings one into a thread of its own, with its questions. ", code("/rehome digest daily"), " gathers all there is into one message a day.")
	}
	return p
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
	case address != "" && len(address) < digestLink-20:
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
