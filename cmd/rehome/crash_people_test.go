//go:build unix

package main

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"time"

	"rehome/bot/sandbox"
	"rehome/conversation"
)

// A person reads one channel, or their direct messages, and does what the messages
// there are for: answers questions with the first of the choices, pressed or
// typed, takes work on, opens what stands on a list. Sometimes late, sometimes
// twice, and again when nothing comes of it.
type person struct {
	h       *hostile
	id      string
	channel string
	r       *rand.Rand
	wishes  map[string]*wish
	seen    map[mark]bool
}

// A wish is something that somebody is at until it is to be seen that it worked.
type wish struct {
	next time.Time                   // when they try again
	try  func() (fulfilled, ok bool) // ok: it was taken, as far as they know
}

func (p *person) sit(ctx context.Context) {
	defer func() { p.h.wishes.Add(-int64(len(p.wishes))) }()
	for read := 0; ctx.Err() == nil; wait(ctx, 20*time.Millisecond) {
		fresh := p.h.w.Posted(p.channel, read)
		read += len(fresh)
		for _, m := range fresh {
			if k, ours := markOf(m); ours {
				p.read(k, m)
			}
		}
		for of, w := range p.wishes {
			if time.Now().Before(w.next) || p.r.IntN(3) > 0 {
				continue
			}
			switch fulfilled, ok := w.try(); {
			case fulfilled:
				delete(p.wishes, of)
				p.h.wishes.Add(-1)
			case ok:
				w.next = time.Now().Add(3 * time.Second) // for it to be seen
			}
		}
	}
}

func (p *person) direct() bool { return strings.HasPrefix(p.channel, "D") }

// read takes in a message that has come.
func (p *person) read(k mark, m sandbox.Message) {
	p.h.posted.Add(1)
	k.Digest = ""
	p.note(k)
	switch {
	case k.Conversation == listMark:
		for _, b := range opens(m) {
			id := conversationOf(b.BlockID)
			p.note(mark{Conversation: id, Key: listMark})
			if p.r.IntN(4) == 0 {
				p.wishToJoin(m, b)
			}
		}
	case k.Key == conversation.RootKey:
		if p.direct() {
			p.h.has(p.id, k.Conversation)
		} else if b, ok := m.Button("join"); ok && p.r.IntN(16) == 0 {
			p.wishToJoin(m, b)
		}
		if p.r.IntN(4) == 0 {
			p.wish(m.TS, func() (bool, bool) { return p.take(m.TS) })
		}
	case strings.HasPrefix(k.Key, "q"):
		p.wish(m.TS, func() (bool, bool) { return p.reply(m.TS) })
	}
}

// note sees what is there a second time.
func (p *person) note(k mark) {
	if p.seen[k] {
		p.h.doubled.Add(1)
		if p.direct() {
			p.h.doubledDirect.Add(1)
		}
	}
	p.seen[k] = true
}

func (p *person) wish(of string, try func() (fulfilled, ok bool)) {
	if p.wishes[of] == nil {
		p.wishes[of] = &wish{try: try}
		p.h.wishes.Add(1)
	}
}

// reply answers a question while it is one.
func (p *person) reply(ts string) (fulfilled, ok bool) {
	m, _ := p.h.w.Message(p.channel, ts)
	choose, label := func() error { return nil }, ""
	for _, b := range m.Buttons() {
		if strings.HasPrefix(b.BlockID, "ask:") {
			choose, label = func() error { return p.h.w.ClickOn(p.id, m, b.ActionID) }, b.Label
			break
		}
	}
	for _, s := range m.Selects() {
		if strings.HasPrefix(s.BlockID, "ask:") {
			choose, label = func() error { return p.h.w.SelectOn(p.id, m, s.BlockID, s.Options[0].Value) }, s.Options[0].Label
		}
	}
	switch {
	case label == "":
		return true, true
	case p.r.IntN(6) == 0:
		_, err := p.h.w.Say(p.id, m.Channel, m.ThreadTS, label) // said again when nothing comes of it
		p.acted(m, owed{0, 2})                                  // it may be two facts at once that are known already
		return false, err == nil
	}
	return false, p.press(m, choose)
}

// take takes a conversation on while nobody has.
func (p *person) take(ts string) (fulfilled, ok bool) {
	m, _ := p.h.w.Message(p.channel, ts)
	if _, free := m.Button("take"); !free {
		return true, true
	}
	return false, p.press(m, func() error { return p.h.w.ClickOn(p.id, m, "take") })
}

// press presses, sometimes twice, and reports whether that was acknowledged.
func (p *person) press(m sandbox.Message, button func() error) bool {
	once := func() bool {
		if err := button(); err != nil {
			p.acted(m, owed{0, 1})
			return false
		}
		p.acted(m, owed{1, 1})
		return true
	}
	ok := once()
	if p.r.IntN(8) == 0 {
		once()
	}
	return ok
}

// acted notes how many answers something done in a direct message is owed.
func (p *person) acted(m sandbox.Message, n owed) {
	k, ours := markOf(m)
	if !ours || !p.direct() {
		return
	}
	p.h.mu.Lock()
	defer p.h.mu.Unlock()
	of := about{p.id, k.Conversation}
	had := p.h.acts[of]
	p.h.acts[of] = owed{had.least + n.least, had.most + n.most}
}

// wishToJoin is for having a conversation in a direct message of its own. Such a
// press is acknowledged also when it is refused, as it is while it cannot be found
// out who somebody is.
func (p *person) wishToJoin(m sandbox.Message, b sandbox.Button) {
	of := about{p.id, conversationOf(b.BlockID)}
	only := alone(m, b.BlockID)
	p.wish("join "+of.conversation, func() (fulfilled, ok bool) {
		p.h.mu.Lock()
		there := p.h.there[of]
		p.h.joined[of] = p.h.joined[of] || !there
		p.h.mu.Unlock()
		if there {
			return true, true
		}
		return false, p.h.w.ClickOn(p.id, only, b.ActionID) == nil
	})
}

// has notes that somebody has a conversation in a direct message of its own.
func (h *hostile) has(user, id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.there[about{user, id}] = true
}

// answerMark is the Conversation of the mark of what belongs to none.
const answerMark = "answer"

// listMark is the Conversation of a list's mark, and the Key of what stands on it.
const listMark = "list"

// opens are the buttons of a list that open what stands on it, one for each.
func opens(m sandbox.Message) (out []sandbox.Button) {
	for _, b := range m.Buttons() {
		if b.ActionID == "join" {
			out = append(out, b)
		}
	}
	return out
}

// conversationOf reads the id of a block with buttons, as own:RH-7:list:1f00ba12.
func conversationOf(blockID string) string {
	_, after, _ := strings.Cut(blockID, ":")
	id, _, _ := strings.Cut(after, ":")
	return id
}

// alone is a message with one of its blocks: of buttons that are called the same,
// one is meant.
func alone(m sandbox.Message, blockID string) sandbox.Message {
	var all, only []json.RawMessage
	_ = json.Unmarshal(m.Blocks, &all) // else there is nothing to press
	for _, raw := range all {
		var b struct {
			ID string `json:"block_id"`
		}
		if json.Unmarshal(raw, &b) == nil && b.ID == blockID {
			only = append(only, raw)
		}
	}
	m.Blocks, _ = json.Marshal(only) // of JSON
	return m
}
