package slackapp

import (
	"context"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"rehome/bot"
	"rehome/conversation"
	"rehome/policy"
)

// posted handles a message that another app put into a channel. One that reads
// like an alert is worked in its own thread, without being asked. Edits,
// replies, and what we post ourselves are none.
func (d *Doors) posted(ctx context.Context, e event) answer {
	h := e.Event
	if !slices.Contains(d.AlertChannels, h.Channel) || h.TS == "" || h.ThreadTS != "" && h.ThreadTS != h.TS {
		return answer{}
	}
	m, err := readMessage(h.raw)
	if err != nil || m.ours != "" {
		return answer{}
	}
	self, err := d.Chat.Identify(ctx)
	if err != nil {
		return answer{err: err} // it may be our own: Slack delivers it again
	}
	if h.User == self.UserID || h.BotID == self.BotID && self.BotID != "" {
		return answer{}
	}
	facts, _ := d.Bot.Policy.Read(m.text, "read in the message")
	link := d.alertLink(m.text)
	if facts.Value(policy.Violated) == "" && link == "" {
		return answer{}
	}
	if _, err := d.Bot.Store.Find(ctx, h.Channel, h.TS); !errors.Is(err, bot.ErrNotFound) {
		return answer{err: err} // nil: somebody used the shortcut on it already
	}
	facts = asAlert(facts)
	v := violationOf(facts)
	v.Source.URL = link
	_, err = d.Bot.Open(ctx, e.key(), messageFinding(h.Channel, h.TS), conversation.Opened{
		Violation: v, Facts: facts, Exposed: m.secrets, In: conversation.Place{Channel: h.Channel, Anchor: h.TS},
	})
	return answer{err: err}
}

// messageFinding is what a message is known by, however it came to be worked.
func messageFinding(channel, ts string) string { return "slack/" + channel + "/" + brief(ts) }

// alertLink returns the first address in a text that an alert would have, or "".
func (d *Doors) alertLink(text string) string {
	if len(d.AlertLinks) == 0 {
		return ""
	}
	for _, found := range addresses.FindAllString(text, 50) {
		if u, err := url.Parse(found); err == nil && slices.ContainsFunc(d.AlertLinks, func(known string) bool { return leadsTo(u, known) }) {
			return found
		}
	}
	return ""
}

var addresses = regexp.MustCompile(`https://[^\s<>"|]+`)

// leadsTo reports whether an address is on the host of a known one and at its
// path or below.
func leadsTo(u *url.URL, known string) bool {
	k, err := url.Parse(known)
	if err != nil || k.Host == "" || u.User != nil || u.Scheme != k.Scheme || !strings.EqualFold(u.Host, k.Host) {
		return false
	}
	below, ok := strings.CutPrefix(u.EscapedPath(), strings.TrimSuffix(k.EscapedPath(), "/"))
	return ok && (below == "" || below[0] == '/')
}
