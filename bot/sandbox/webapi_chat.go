package sandbox

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	maxPostText   = 40_000 // chat.postMessage cuts longer text, and says nothing
	maxUpdateText = 4_000  // chat.update refuses it: msg_too_long
	maxBlockText  = 13_200 // all text of a message's blocks: msg_blocks_too_long. Not published; seen near this by others
	maxMetadata   = 8 << 10
	// maxMetadata is in bytes of JSON. Slack has metadata_too_large but publishes no number.
	maxAttachments = 100
)

// content is what a message says, checked.
type content struct {
	text        string
	blocks      json.RawMessage
	parsed      []map[string]any
	attachments json.RawMessage
	metadata    *Metadata
}

func (c content) empty() bool { return c.text == "" && c.blocks == nil && c.attachments == nil }

// content reads text, blocks, attachments and metadata from a call's arguments and checks them all.
func (w *Workspace) content(a args) (content, *apiError) {
	c := content{text: a.str("text")}
	markdown := a.str("markdown_text")
	if markdown != "" && (c.text != "" || a.has("blocks")) {
		return c, refuse("markdown_text_conflict")
	}
	if markdown != "" {
		if utf8.RuneCountInString(markdown) > maxMarkdown {
			return c, refuse("msg_too_long")
		}
		c.text = markdown
	}
	if e := w.readBlocks(a, &c); e != nil {
		return c, e
	}
	list, err := a.json("attachments")
	if err != nil {
		return c, refuse("invalid_attachments")
	}
	if list, ok := list.([]any); ok && len(list) > 0 {
		if len(list) > maxAttachments {
			return c, refuse("too_many_attachments")
		}
		c.attachments = mustJSON(list)
	}
	var e *apiError
	c.metadata, e = readMetadata(a)
	return c, e
}

func (w *Workspace) readBlocks(a args, c *content) *apiError {
	v, err := a.json("blocks")
	if err != nil {
		return refuse("invalid_blocks_format")
	}
	if v == nil {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		return refuse("invalid_blocks_format")
	}
	if problems := checkBlocks(list, onMessage, w.cfg.Strict); len(problems) > 0 {
		return &apiError{code: "invalid_blocks", problems: problems}
	}
	if len(list) == 0 {
		return nil
	}
	if textLength(list) > maxBlockText {
		return refuse("msg_blocks_too_long")
	}
	c.blocks = w.nameBlocks(list)
	c.parsed = parseBlocks(c.blocks)
	if c.text == "" {
		c.text = fallbackText(c.parsed)
	}
	return nil
}

// nameBlocks gives every block and element without an id one, as Slack does on receipt.
func (w *Workspace) nameBlocks(blocks []any) json.RawMessage {
	named := objects(blocks)
	for _, b := range named {
		if str(b["block_id"]) == "" {
			b["block_id"] = w.serial("b")
		}
	}
	eachElement(named, func(_, e map[string]any) {
		if str(e["action_id"]) == "" && e["type"] != "image" {
			e["action_id"] = w.serial("a")
		}
	})
	return mustJSON(named)
}

// readMetadata reads event metadata. slack-go sends {"event_type":""} when there is none.
func readMetadata(a args) (*Metadata, *apiError) {
	v, err := a.json("metadata")
	if err != nil {
		return nil, refuse("invalid_metadata_format")
	}
	if v == nil {
		return nil, nil
	}
	o, ok := v.(map[string]any)
	if !ok {
		return nil, refuse("invalid_metadata_format")
	}
	kind, ok := o["event_type"].(string)
	if !ok {
		return nil, refuse("invalid_metadata_format")
	}
	if kind == "" && o["event_payload"] == nil {
		return nil, nil
	}
	payload, ok := o["event_payload"].(map[string]any)
	if kind == "" || !ok {
		return nil, refuse("invalid_metadata_format")
	}
	for _, x := range payload {
		if !metadataValue(x, 1) {
			return nil, refuse("invalid_metadata_schema")
		}
	}
	raw := mustJSON(payload)
	if len(raw) > maxMetadata {
		return nil, refuse("metadata_too_large")
	}
	return &Metadata{EventType: kind, EventPayload: raw}, nil
}

// metadataValue allows scalars, flat objects, and arrays of flat objects (not arrays of strings), as @slack/types has it.
func metadataValue(v any, depth int) bool {
	switch v := v.(type) {
	case map[string]any:
		for _, x := range v {
			if depth == 0 || !metadataValue(x, 0) {
				return false
			}
		}
		return depth > 0
	case []any:
		for _, x := range v {
			if _, object := x.(map[string]any); !object || depth == 0 || !metadataValue(x, 1) {
				return false
			}
		}
		return depth > 0
	}
	return true
}

// target finds where to post: a channel id, #name, a D… id, or a user id, whose DM is opened.
func (w *Workspace) target(id string) (*channel, *apiError) {
	if c, ok := w.channels[id]; ok {
		if c.Private && !c.members[w.app.BotUserID] {
			return nil, refuse("channel_not_found")
		}
		return c, nil
	}
	if u, ok := w.people[id]; ok && !u.bot {
		return w.directMessage(w.app.BotUserID, id), nil
	}
	name := strings.TrimPrefix(id, "#")
	for _, c := range w.channels {
		if name != "" && c.Name == name && (!c.Private || c.members[w.app.BotUserID]) {
			return c, nil
		}
	}
	return nil, refuse("channel_not_found")
}

// oneName is the one id that a channel's limit goes by: a direct message is the same by its own id and
// by its person's.
func (w *Workspace) oneName(id string) string {
	if c := w.channels[id]; c != nil && c.im {
		for member := range c.members {
			if member != w.app.BotUserID {
				return member
			}
		}
	}
	return id
}

func (w *Workspace) postMessage(r *request) (reply, *apiError) {
	c, e := w.target(r.args.str("channel"))
	if e != nil {
		return nil, e
	}
	if c.Archived {
		return nil, refuse("is_archived")
	}
	if !c.members[w.app.BotUserID] && !slices.Contains(w.app.Scopes, "chat:write.public") {
		return nil, refuse("not_in_channel")
	}
	body, e := w.content(r.args)
	if e != nil {
		return nil, e
	}
	if body.empty() {
		return nil, refuse("no_text")
	}
	thread := r.args.str("thread_ts")
	if e := checkThread(c, thread); e != nil {
		return nil, e
	}
	m := w.botMessage(body)
	m.ThreadTS = thread
	if slices.Contains(w.app.Scopes, "chat:write.customize") {
		m.Username = r.args.str("username")
	}
	if r.late > 0 {
		m.visibleAfter = w.cfg.Now().Add(r.late).UnixMicro()
	}
	m = w.post(c, m)
	return reply{"channel": c.ID, "ts": m.TS, "message": w.forApp(m)}, nil
}

func checkThread(c *channel, thread string) *apiError {
	if thread == "" {
		return nil
	}
	if !validTS(thread) {
		return refuse("invalid_thread_ts")
	}
	if _, root := c.find(thread); root == nil || root.ThreadTS != "" && root.ThreadTS != root.TS {
		return refuse("thread_not_found")
	}
	return nil
}

func (w *Workspace) botMessage(body content) *Message {
	return &Message{User: w.app.BotUserID, BotID: w.app.BotID, AppID: w.app.ID, Text: cutRunes(body.text, maxPostText),
		Blocks: body.blocks, Attachments: body.attachments, Metadata: body.metadata, Mentions: mentionsIn(body.text, body.parsed)}
}

func cutRunes(s string, most int) string {
	if len(s) <= most {
		return s
	}
	n := 0
	for i := range s {
		if n == most {
			return s[:i]
		}
		n++
	}
	return s
}

// post puts a new message into a channel, keeps its thread's counts, and tells people and the app.
func (w *Workspace) post(c *channel, m *Message) *Message {
	m.Type, m.TS, m.Team = "message", w.nextTS(), w.cfg.TeamID
	if _, root := c.find(m.ThreadTS); root != nil {
		m.ParentUser = root.User
		c.messages = append(c.messages, m)
		w.recount(c, root.TS)
	} else {
		m.ThreadTS = ""
		c.messages = append(c.messages, m)
	}
	if m.User != "" {
		c.read[m.User] = m.TS
	}
	w.publish(streamEvent{kind: "message", channel: c.ID, data: mustJSON(map[string]any{"channel": c.ID, "message": m})})
	if m.ThreadTS == "" {
		w.publishUnread(c)
	}
	w.emitMessage(c, m)
	w.touch()
	return m
}

// replace puts a changed copy in a message's place.
func (w *Workspace) replace(c *channel, m *Message) {
	if i, old := c.find(m.TS); old != nil {
		c.messages = slices.Clone(c.messages)
		c.messages[i] = m
		w.publish(streamEvent{kind: "message_changed", channel: c.ID, data: mustJSON(map[string]any{"channel": c.ID, "message": m})})
		w.touch()
	}
}

// recount brings a thread root's reply counts up to date.
func (w *Workspace) recount(c *channel, ts string) {
	_, old := c.find(ts)
	if old == nil {
		return
	}
	root := *old
	root.ReplyCount, root.ReplyUsers, root.LatestReply, root.ThreadTS = 0, nil, "", ""
	for _, m := range c.messages {
		if m.ThreadTS != ts || m.TS == ts {
			continue
		}
		root.ReplyCount++
		root.LatestReply, root.ThreadTS = m.TS, ts
		if !slices.Contains(root.ReplyUsers, m.User) {
			root.ReplyUsers = append(root.ReplyUsers, m.User)
		}
	}
	root.ReplyUsersCount = len(root.ReplyUsers)
	w.replace(c, &root)
}

// own finds a message of the app's for update and delete.
func (w *Workspace) own(r *request, denied string) (*channel, *Message, *apiError) {
	c, ok := w.channels[r.args.str("channel")]
	if !ok || c.Private && !c.members[w.app.BotUserID] {
		return nil, nil, refuse("channel_not_found")
	}
	_, m := c.find(r.args.str("ts"))
	if m == nil || m.Subtype == "tombstone" {
		return nil, nil, refuse("message_not_found")
	}
	if m.BotID != w.app.BotID {
		return nil, nil, refuse(denied)
	}
	return c, m, nil
}

func (w *Workspace) updateMessage(r *request) (reply, *apiError) {
	c, old, e := w.own(r, "cant_update_message")
	if e != nil {
		return nil, e
	}
	if c.Archived {
		return nil, refuse("is_inactive")
	}
	if utf8.RuneCountInString(r.args.str("text")) > maxUpdateText {
		return nil, refuse("msg_too_long")
	}
	body, e := w.content(r.args)
	if e != nil {
		return nil, e
	}
	if body.empty() {
		return nil, refuse("no_text")
	}
	if body.metadata == nil {
		body.metadata = old.Metadata
	}
	m := w.edit(c, old, body)
	return reply{"channel": c.ID, "ts": m.TS, "text": m.Text, "message": w.forApp(m)}, nil
}

// edit replaces what a message says. Text without blocks takes the blocks away.
func (w *Workspace) edit(c *channel, old *Message, body content) *Message {
	m := *old
	m.Text, m.Blocks, m.Attachments, m.Metadata = body.text, body.blocks, body.attachments, body.metadata
	m.Mentions = mentionsIn(body.text, body.parsed)
	m.Edited = &Edited{User: w.app.BotUserID, TS: w.stamp()}
	w.replace(c, &m)
	w.emitChange(c, "message_changed", old, &m)
	return &m
}

// stamp is the time of an edit: like a timestamp, but no message's own.
func (w *Workspace) stamp() string { return formatTS(w.cfg.Now().Truncate(time.Second).UnixMicro()) }

func (w *Workspace) deleteMessage(r *request) (reply, *apiError) {
	c, m, e := w.own(r, "cant_delete_message")
	if e != nil {
		return nil, e
	}
	w.remove(c, m)
	return reply{"channel": c.ID, "ts": m.TS}, nil
}

func (w *Workspace) remove(c *channel, m *Message) {
	i, found := c.find(m.TS)
	if found == nil {
		return
	}
	if m.ReplyCount > 0 { // a thread outlives its root
		w.replace(c, &Message{Type: m.Type, Subtype: "tombstone", TS: m.TS, User: "USLACKBOT", Team: m.Team, Text: "This message was deleted.",
			ThreadTS: m.ThreadTS, ReplyCount: m.ReplyCount, ReplyUsers: m.ReplyUsers, ReplyUsersCount: m.ReplyUsersCount, LatestReply: m.LatestReply})
		w.emitChange(c, "message_deleted", m, nil)
		return
	}
	c.messages = slices.Delete(slices.Clone(c.messages), i, i+1)
	w.publish(streamEvent{kind: "message_deleted", channel: c.ID, data: mustJSON(map[string]any{"channel": c.ID, "ts": m.TS, "thread_ts": m.ThreadTS})})
	if m.ThreadTS != "" && m.ThreadTS != m.TS {
		w.recount(c, m.ThreadTS)
	}
	w.emitChange(c, "message_deleted", m, nil)
	w.touch()
}

func (w *Workspace) postEphemeral(r *request) (reply, *apiError) {
	c, ok := w.channels[r.args.str("channel")]
	if !ok || c.Private && !c.members[w.app.BotUserID] {
		return nil, refuse("channel_not_found")
	}
	user := r.args.str("user")
	switch {
	case c.Archived:
		return nil, refuse("is_archived")
	case !c.members[w.app.BotUserID]:
		return nil, refuse("not_in_channel")
	case !c.members[user]:
		return nil, refuse("user_not_in_channel")
	}
	body, e := w.content(r.args)
	if e != nil {
		return nil, e
	}
	if body.empty() {
		return nil, refuse("no_text")
	}
	thread := r.args.str("thread_ts")
	if e := checkThread(c, thread); e != nil {
		return nil, e
	}
	m := w.whisper(c, user, thread, "", body)
	return reply{"message_ts": m.TS}, nil
}

// whisper shows a message to one person only. It is never in history, and metadata is ignored.
func (w *Workspace) whisper(c *channel, user, thread, url string, body content) *Message {
	m := w.botMessage(body)
	m.Metadata = nil
	m.Type, m.TS, m.Team, m.Channel, m.ThreadTS = "message", w.nextTS(), w.cfg.TeamID, c.ID, thread
	m.IsEphemeral, m.to, m.url = true, user, url
	c.private = append(c.private, m)
	w.publish(streamEvent{kind: "ephemeral", user: user, data: mustJSON(map[string]any{"channel": c.ID, "message": m})})
	w.touch()
	return m
}

func (w *Workspace) getPermalink(r *request) (reply, *apiError) {
	c, e := w.target(r.args.str("channel"))
	if e != nil {
		return nil, e
	}
	_, m := c.find(r.args.str("message_ts"))
	if m == nil {
		return nil, refuse("message_not_found")
	}
	return reply{"channel": c.ID, "permalink": permalink(r.host, c, m)}, nil
}

// permalink has Slack's shape on our own host: /archives/C…/p1700000000000001.
func permalink(host string, c *channel, m *Message) string {
	link := host + "/archives/" + c.ID + "/p" + strings.Replace(m.TS, ".", "", 1)
	if m.ThreadTS != "" && m.ThreadTS != m.TS {
		link += "?thread_ts=" + m.ThreadTS + "&cid=" + c.ID
	}
	return link
}

// forApp is a message as API answers and events show it: a bot has a profile, and what a person
// typed has rich text, as Slack's own composer makes.
func (w *Workspace) forApp(m *Message) map[string]any {
	out := map[string]any{}
	_ = json.Unmarshal(mustJSON(m), &out) // our own JSON
	if m.BotID == w.app.BotID {
		out["bot_profile"] = map[string]any{"id": m.BotID, "app_id": m.AppID, "name": w.app.Name, "deleted": false,
			"updated": 1700000000, "team_id": w.cfg.TeamID, "icons": map[string]any{}}
	} else if m.BotID == "" && m.Subtype == "" && m.Blocks == nil && m.Text != "" {
		out["blocks"] = []any{richText("rt"+m.TS, m.Text)}
	}
	return out
}
