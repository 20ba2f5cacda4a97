package sandbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The workspace as tests use it: what people do, and what they see.

// Command types a slash command into a channel's composer. It returns when the app has acknowledged
// it and its answer is shown; the error is what the person is told instead (dispatch_failed: nobody
// there; operation_timeout: not within three seconds).
func (w *Workspace) Command(user, channel, command, text string) error {
	return w.runCommand(user, channel, command, text)
}

// Say types a message into a channel, or into a thread of it, and returns its timestamp. @name and
// #channel become mentions, everything else is literal, as in Slack's composer. The app hears of it
// by events, which nobody waits for.
func (w *Workspace) Say(user, channel, threadTS, text string) (ts string, err error) {
	return w.sayAs(user, channel, threadTS, text)
}

// PostAs is another integration posting into a channel: a message no person wrote and no app of this
// workspace. blocks may be nil. Shortcuts can be used on it.
func (w *Workspace) PostAs(name, channel, text string, blocks []any) (ts string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, ok := w.channels[channel]
	if !ok {
		return "", noSuch("no channel %s", channel)
	}
	a := args{"text": text}
	if blocks != nil {
		a["blocks"] = blocks
	}
	body, failed := w.content(a)
	if failed != nil {
		return "", fmt.Errorf("%s: %s", failed.code, strings.Join(failed.problems, "; "))
	}
	m := w.post(c, &Message{Subtype: "bot_message", BotID: w.serial("B9"), Username: name, Text: body.text, Blocks: body.blocks,
		Mentions: mentionsIn(body.text, body.parsed)})
	return m.TS, nil
}

// Join makes a person a member of a public channel.
func (w *Workspace) Join(user, channel string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, ok := w.channels[channel]
	if _, known := w.people[user]; !ok || !known || !w.canSee(user, c) || c.im {
		return noSuch("%s sees no channel %s", user, channel)
	}
	w.join(c, user, "")
	return nil
}

// Invite is a person adding the app's bot to a channel they are in.
func (w *Workspace) Invite(user, channel string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, err := w.member(user, channel)
	if err != nil {
		return err
	}
	w.join(c, w.app.BotUserID, user)
	return nil
}

// Click presses a button of a message. which is its action id, its value, its label, or the
// beginning of its label if that fits only one. It returns when the app has acknowledged.
func (w *Workspace) Click(user, channel, ts, which string) error {
	m, ok := w.message(user, channel, ts)
	if !ok {
		return noSuch("%s sees no message %s in %s", user, ts, channel)
	}
	return w.ClickOn(user, m, which)
}

// ClickOn presses a button of a message as it was when m was read: on a message that has changed
// since, that is a stale click, as Slack lets happen.
func (w *Workspace) ClickOn(user string, m Message, which string) error {
	b, err := pickButton(m.Buttons(), which)
	if err != nil {
		return err
	}
	return w.press(user, m, b.BlockID, b.ActionID, nil, nil)
}

// Select chooses in a menu of a message. which is its action id, placeholder or label; options are
// labels (or their beginnings) or values. Menus of people and channels take ids.
func (w *Workspace) Select(user, channel, ts, which string, options ...string) error {
	m, ok := w.message(user, channel, ts)
	if !ok {
		return noSuch("%s sees no message %s in %s", user, ts, channel)
	}
	return w.SelectOn(user, m, which, options...)
}

// SelectOn chooses in a menu of a message as it was when m was read.
func (w *Workspace) SelectOn(user string, m Message, which string, options ...string) error {
	s, given, err := pickSelect(m.Selects(), which, options)
	if err != nil {
		return err
	}
	return w.press(user, m, s.BlockID, s.ActionID, given, nil)
}

// ClickView presses a button in the modal a person has on top.
func (w *Workspace) ClickView(user, which string) error {
	v, ok := w.Modal(user)
	if !ok {
		return noSuch("%s has no modal open", user)
	}
	return w.clickIn(user, v, which)
}

// ClickHome presses a button on the Home tab.
func (w *Workspace) ClickHome(user, which string) error {
	v, ok := w.Home(user)
	if !ok {
		return noSuch("%s has no Home tab", user)
	}
	return w.clickIn(user, v, which)
}

func (w *Workspace) clickIn(user string, v View, which string) error {
	b, err := pickButton(v.Buttons(), which)
	if err != nil {
		return err
	}
	return w.pressView(user, v.ID, b.BlockID, b.ActionID, nil, v.State.Values)
}

// SelectView chooses in a menu of the modal on top, where that is an action of its own (a menu in a
// section or actions block, or an input that dispatches).
func (w *Workspace) SelectView(user, which string, options ...string) error {
	v, ok := w.Modal(user)
	if !ok {
		return noSuch("%s has no modal open", user)
	}
	s, given, err := pickSelect(v.Selects(), which, options)
	if err != nil {
		return err
	}
	return w.pressView(user, v.ID, s.BlockID, s.ActionID, given, v.State.Values)
}

// SubmitView fills the modal on top and submits it. Fields are named by block id, action id or
// label; values are text, a date or time, an id, or an option's label or value (several with
// commas). [ViewErrors] is the app's, or the client's, refusal.
func (w *Workspace) SubmitView(user string, fields map[string]string) error {
	v, ok := w.Modal(user)
	if !ok {
		return noSuch("%s has no modal open", user)
	}
	typed, err := fill(v, fields)
	if err != nil {
		return err
	}
	return w.submit(user, v.ID, typed)
}

// CloseView closes the modal on top without submitting it.
func (w *Workspace) CloseView(user string) error {
	v, ok := w.Modal(user)
	if !ok {
		return noSuch("%s has no modal open", user)
	}
	return w.closeView(user, v.ID)
}

// Shortcut uses a message shortcut; with an empty channel and ts a global one.
func (w *Workspace) Shortcut(user, callbackID, channel, ts string) error {
	return w.runShortcut(user, callbackID, channel, ts)
}

// OpenHome opens the app's Home tab, which the app hears of as app_home_opened.
func (w *Workspace) OpenHome(user string) error { return w.openHome(user) }

// React puts an emoji (its name, without colons) on a message.
func (w *Workspace) React(user, channel, ts, name string) error {
	_, err := w.clientReaction(clientRequest{User: user, Channel: channel, TS: ts, Name: name, Add: true})
	return err
}

// DM is the channel id of a person's direct messages with the app; opened if need be.
func (w *Workspace) DM(user string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.directMessage(w.app.BotUserID, user).ID
}

// DeleteMessage is somebody (an admin, the author) deleting a message.
func (w *Workspace) DeleteMessage(channel, ts string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c, ok := w.channels[channel]; ok {
		if _, m := c.find(ts); m != nil {
			w.remove(c, m)
			return nil
		}
	}
	return noSuch("no message %s in %s", ts, channel)
}

// Messages lists a channel's messages outside threads, oldest first, without ephemerals.
func (w *Workspace) Messages(channel string) []Message { return w.view(channel, "") }

// Thread lists a thread: its root, then the replies.
func (w *Workspace) Thread(channel, ts string) []Message { return w.view(channel, ts) }

func (w *Workspace) view(channel, thread string) []Message {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, ok := w.channels[channel]
	if !ok {
		return nil
	}
	return w.shown(c, "", thread)
}

// Posted lists what stands in a channel as it was posted, replies among the rest, without its first
// from messages: for whoever has those already.
func (w *Workspace) Posted(channel string, from int) []Message {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, ok := w.channels[channel]
	if !ok || from >= len(c.messages) {
		return nil
	}
	var out []Message
	for _, m := range c.messages[from:] {
		copied := *m
		copied.Channel = channel
		out = append(out, copied)
	}
	return out
}

// Message finds one message of a channel, in or out of threads.
func (w *Workspace) Message(channel, ts string) (Message, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c, ok := w.channels[channel]; ok {
		if _, m := c.find(ts); m != nil {
			out := *m
			out.Channel = channel
			return out, true
		}
	}
	return Message{}, false
}

// AllMessages lists every message of every channel, replies included, oldest first, without
// ephemerals.
func (w *Workspace) AllMessages() []Message {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []Message
	for _, id := range w.order {
		for _, m := range w.channels[id].messages {
			copied := *m
			copied.Channel = id
			out = append(out, copied)
		}
	}
	slices.SortStableFunc(out, func(a, b Message) int { return compareTS(a.TS, b.TS) })
	return out
}

// Ephemerals lists what only this person was shown, in any channel, oldest first.
func (w *Workspace) Ephemerals(user string) []Message {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []Message
	for _, id := range w.order {
		for _, m := range w.channels[id].private {
			if m.to == user {
				out = append(out, *m)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Message) int { return compareTS(a.TS, b.TS) })
	return out
}

// Modal is the modal a person has on top.
func (w *Workspace) Modal(user string) (View, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	stack := w.stacks[user]
	if len(stack) == 0 {
		return View{}, false
	}
	return *stack[len(stack)-1], true
}

// Home is a person's Home tab, once the app has published one.
func (w *Workspace) Home(user string) (View, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.homes[user]
	if v == nil {
		return View{}, false
	}
	return *v, true
}

// Toasts lists what a person was told outside messages: that the app did not respond.
func (w *Workspace) Toasts(user string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.toasts[user])
}

// Calls lists the app's API calls, oldest first; response_url posts among them.
func (w *Workspace) Calls() []Call {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls)
}

// Changed is closed at the next change of anything. Take it before looking, wait for it after.
func (w *Workspace) Changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

// Await returns when condition holds. It looks again after every change, never by the clock. If ctx
// ends first, the error shows what the workspace looks like.
func (w *Workspace) Await(ctx context.Context, condition func() bool) error {
	for {
		changed := w.Changed()
		if condition() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("what was waited for did not happen: %w; the workspace shows:\n%s", context.Cause(ctx), w.Transcript())
		}
	}
}

// Transcript is the workspace as text, for failing tests: every channel with its messages, replies
// indented, then what single people see.
func (w *Workspace) Transcript() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out strings.Builder
	for _, id := range w.order {
		c := w.channels[id]
		if len(c.messages)+len(c.private) == 0 {
			continue
		}
		_, _ = fmt.Fprintf(&out, "#%s (%s)\n", c.Name, id)
		for _, list := range [][]*Message{c.messages, c.private} {
			for _, m := range list {
				w.transcribe(&out, m)
			}
		}
	}
	for user, stack := range w.stacks {
		for _, v := range stack {
			_, _ = fmt.Fprintf(&out, "modal of %s: %s %v\n", w.people[user].Name, v.TitleText(), v.BlockTexts())
		}
	}
	for user, toasts := range w.toasts {
		_, _ = fmt.Fprintf(&out, "%s was told: %s\n", w.people[user].Name, strings.Join(toasts, " | "))
	}
	return out.String()
}

func (w *Workspace) transcribe(out *strings.Builder, m *Message) {
	who := w.people[m.User].Name
	if m.Username != "" {
		who = m.Username
	}
	indent := "  "
	if m.ThreadTS != "" && m.ThreadTS != m.TS {
		indent = "    > "
	}
	note := ""
	if m.IsEphemeral {
		note = " (only " + w.people[m.to].Name + ")"
	}
	_, _ = fmt.Fprintf(out, "%s%s%s: %s", indent, who, note, strings.ReplaceAll(m.Text, "\n", "\n"+indent+"  "))
	for _, b := range m.Buttons() {
		_, _ = fmt.Fprintf(out, " [%s]", b.Label)
	}
	out.WriteString("\n")
}

// Now is the workspace's clock.
func (w *Workspace) Now() time.Time { return w.cfg.Now() }
