package sandbox

import (
	"encoding/base64"
	"maps"
	"slices"
	"strings"
)

// conversation is a channel in Slack's shape, as one person (or the bot) sees it.
func (w *Workspace) conversation(c *channel, viewer string) map[string]any {
	out := map[string]any{"id": c.ID, "created": 1700000000, "is_archived": c.Archived, "is_im": c.im, "is_mpim": false,
		"is_org_shared": false, "updated": 1700000000000}
	if c.im {
		out["user"], out["is_user_deleted"], out["priority"] = c.other(viewer), false, 0
		return out
	}
	return merge(out, map[string]any{"name": c.Name, "name_normalized": c.Name, "is_channel": !c.Private, "is_group": c.Private, "is_private": c.Private,
		"is_general": c.Name == "general", "is_member": c.members[viewer], "is_shared": false, "is_ext_shared": false, "creator": "USLACKBOT",
		"context_team_id": w.cfg.TeamID, "num_members": len(c.members), "topic": map[string]any{"value": c.Topic, "creator": "", "last_set": 0},
		"purpose": map[string]any{"value": "", "creator": "", "last_set": 0}, "previous_names": []any{}})
}

// other is the other party of a direct message.
func (c *channel) other(user string) string {
	for id := range c.members {
		if id != user {
			return id
		}
	}
	return user
}

func merge(a, b map[string]any) map[string]any {
	maps.Copy(a, b)
	return a
}

func (w *Workspace) conversationsOpen(r *request) (reply, *apiError) {
	if id := r.args.str("channel"); id != "" {
		c, ok := w.channels[id]
		if !ok || !c.im || !c.members[w.app.BotUserID] {
			return nil, refuse("channel_not_found")
		}
		return reply{"channel": map[string]any{"id": c.ID}}, nil
	}
	users := r.args.list("users")
	switch {
	case len(users) == 0:
		return nil, refuse("users_list_not_supplied")
	case len(users) > 8:
		return nil, refuse("too_many_users")
	case len(users) > 1:
		return nil, refuse("not_supported") // group direct messages are not part of this workspace
	}
	if u, ok := w.people[users[0]]; !ok || u.bot {
		return nil, refuse("user_not_found")
	}
	c := w.directMessage(w.app.BotUserID, users[0])
	out := map[string]any{"id": c.ID}
	if r.args.bool("return_im") {
		out = w.conversation(c, w.app.BotUserID)
	}
	return reply{"channel": out}, nil
}

// seen finds a channel the bot may look at, with the scope for it.
func (w *Workspace) seen(r *request, what string) (*channel, *apiError) {
	c, ok := w.channels[r.args.str("channel")]
	if !ok || c.Private && !c.members[w.app.BotUserID] {
		return nil, refuse("channel_not_found")
	}
	return c, w.needChannelScope(c, what)
}

func (w *Workspace) conversationsInfo(r *request) (reply, *apiError) {
	c, e := w.seen(r, "read")
	if e != nil {
		return nil, e
	}
	return reply{"channel": w.conversation(c, w.app.BotUserID)}, nil
}

func (w *Workspace) conversationsList(r *request) (reply, *apiError) {
	types := r.args.list("types")
	if len(types) == 0 {
		types = []string{"public_channel"}
	}
	for _, kind := range types {
		scope := map[string]string{"public_channel": "channels:read", "private_channel": "groups:read", "im": "im:read", "mpim": "mpim:read"}[kind]
		if scope == "" {
			return nil, refuse("invalid_types")
		}
		if e := w.needScope(scope); e != nil {
			return nil, e
		}
	}
	var all []*channel
	for _, id := range w.order {
		c := w.channels[id]
		kind := map[string]string{"channel": "public_channel", "group": "private_channel", "im": "im"}[c.kind()]
		hidden := c.Private && !c.members[w.app.BotUserID] || c.Archived && r.args.bool("exclude_archived")
		if slices.Contains(types, kind) && !hidden {
			all = append(all, c)
		}
	}
	part, next, e := page(all, r.args, 1000)
	if e != nil {
		return nil, e
	}
	out := make([]any, 0, len(part))
	for _, c := range part {
		out = append(out, w.conversation(c, w.app.BotUserID))
	}
	return reply{"channels": out, "response_metadata": map[string]any{"next_cursor": next}}, nil
}

func (w *Workspace) conversationsMembers(r *request) (reply, *apiError) {
	c, e := w.seen(r, "read")
	if e != nil {
		return nil, e
	}
	part, next, e := page(slices.Sorted(maps.Keys(c.members)), r.args, 1000)
	if e != nil {
		return nil, e
	}
	return reply{"members": part, "response_metadata": map[string]any{"next_cursor": next}}, nil
}

func (w *Workspace) conversationsJoin(r *request) (reply, *apiError) {
	c, ok := w.channels[r.args.str("channel")]
	switch {
	case !ok || c.Private && !c.im:
		return nil, refuse("channel_not_found")
	case c.im:
		return nil, refuse("method_not_supported_for_channel_type")
	case c.Archived:
		return nil, refuse("is_archived")
	case c.members[w.app.BotUserID]:
		return reply{"channel": w.conversation(c, w.app.BotUserID), "warning": "already_in_channel",
			"response_metadata": map[string]any{"warnings": []string{"already_in_channel"}}}, nil
	}
	w.join(c, w.app.BotUserID, "")
	return reply{"channel": w.conversation(c, w.app.BotUserID)}, nil
}

// join makes somebody a member, with the line Slack writes about it.
func (w *Workspace) join(c *channel, user, inviter string) {
	if c.members[user] {
		return
	}
	c.members[user] = true
	m := &Message{Subtype: "channel_join", User: user, Text: "<@" + user + "> has joined the channel"}
	w.post(c, m)
	joined := map[string]any{"user": user, "channel": c.ID, "channel_type": strings.ToUpper(c.kind()[:1]), "team": w.cfg.TeamID}
	if inviter != "" {
		joined["inviter"] = inviter
	}
	w.emit("member_joined_channel", map[bool]string{true: "groups:read", false: "channels:read"}[c.Private], c, joined)
	for id := range w.people {
		if w.canSee(id, c) {
			w.publishChannel(c, id)
		}
	}
}

func (w *Workspace) conversationsHistory(r *request) (reply, *apiError) {
	c, e := w.readable(r)
	if e != nil {
		return nil, e
	}
	roots := w.window(c, r.args, func(m *Message) bool {
		return m.ThreadTS == "" || m.ThreadTS == m.TS || m.Subtype == "thread_broadcast"
	})
	slices.Reverse(roots) // newest first
	return w.messagePage(roots, r.args, true)
}

func (w *Workspace) conversationsReplies(r *request) (reply, *apiError) {
	c, e := w.readable(r)
	if e != nil {
		return nil, e
	}
	ts := r.args.str("ts")
	_, m := c.find(ts)
	if m == nil || m.visibleAfter > w.cfg.Now().UnixMicro() {
		return nil, refuse("thread_not_found")
	}
	if m.ThreadTS != "" {
		ts = m.ThreadTS
	}
	// Slack always gives the root, whatever the window.
	replies := w.window(c, r.args, func(m *Message) bool { return m.ThreadTS == ts && m.TS != ts })
	if _, root := c.find(ts); root != nil {
		replies = append([]*Message{root}, replies...)
	}
	return w.messagePage(replies, r.args, false)
}

// readable finds a channel whose messages the bot may read.
func (w *Workspace) readable(r *request) (*channel, *apiError) {
	c, e := w.seen(r, "history")
	if e != nil {
		return nil, e
	}
	if !c.members[w.app.BotUserID] {
		return nil, refuse("not_in_channel")
	}
	for _, bound := range []string{"oldest", "latest"} {
		if ts := r.args.str(bound); ts != "" && !validTS(ts) {
			return nil, refuse("invalid_ts_" + bound)
		}
	}
	return c, nil
}

// window picks a channel's messages between oldest and latest, both exclusive unless `inclusive`.
func (w *Workspace) window(c *channel, a args, want func(*Message) bool) []*Message {
	oldest, latest, inclusive := a.str("oldest"), a.str("latest"), a.bool("inclusive")
	now := w.cfg.Now().UnixMicro()
	var out []*Message
	for _, m := range c.messages {
		low, high := 1, -1
		if oldest != "" && oldest != "0" {
			low = compareTS(m.TS, oldest)
		}
		if latest != "" {
			high = compareTS(m.TS, latest)
		}
		if low < 0 || high > 0 || !inclusive && (low == 0 || high == 0) {
			continue
		}
		if want(m) && m.visibleAfter <= now {
			out = append(out, m)
		}
	}
	return out
}

// messagePage cuts one page out of messages in the order they are given. Its cursor is the last
// timestamp of the page before, so messages that arrive between two calls shift nothing.
func (w *Workspace) messagePage(all []*Message, a args, newestFirst bool) (reply, *apiError) {
	if c := a.str("cursor"); c != "" {
		raw, err := base64.StdEncoding.DecodeString(c)
		last, ok := strings.CutPrefix(string(raw), "next_ts:")
		if err != nil || !ok || !validTS(last) {
			return nil, refuse("invalid_cursor")
		}
		all = slices.DeleteFunc(all, func(m *Message) bool {
			order := compareTS(m.TS, last)
			return newestFirst && order >= 0 || !newestFirst && order <= 0
		})
		a = maps.Clone(a)
		delete(a, "cursor")
	}
	part, next, e := page(all, a, 1000)
	if e != nil {
		return nil, e
	}
	out := make([]any, 0, len(part))
	for _, m := range part {
		o := w.forApp(m)
		if !a.bool("include_all_metadata") {
			delete(o, "metadata")
		}
		out = append(out, o)
	}
	done := reply{"messages": out, "has_more": next != "", "pin_count": 0}
	if next != "" {
		cursor := base64.StdEncoding.EncodeToString([]byte("next_ts:" + part[len(part)-1].TS))
		done["response_metadata"] = map[string]any{"next_cursor": cursor}
	}
	return done, nil
}
