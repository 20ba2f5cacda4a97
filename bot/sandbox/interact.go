package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// What people do that the app must answer: commands, buttons and menus, modals, shortcuts. Each
// function returns when the app has answered, or says what the person is told instead.

// notThere is for people who act on something that is not, or no longer, there.
type notThere string

func (e notThere) Error() string { return string(e) }

func noSuch(format string, a ...any) error { return notThere(fmt.Sprintf(format, a...)) }

// ViewErrors is what is wrong with a submission's fields, by block id.
type ViewErrors map[string]string

func (e ViewErrors) Error() string {
	var lines []string
	for _, id := range slices.Sorted(maps.Keys(e)) {
		lines = append(lines, id+": "+e[id])
	}
	return "the form was not accepted: " + strings.Join(lines, "; ")
}

// interaction is what all interaction payloads have in common. Callers hold w.mu.
func (w *Workspace) interaction(kind, user string, more map[string]any) map[string]any {
	return merge(map[string]any{"type": kind, "token": verificationToken, "api_app_id": w.app.ID,
		"team": map[string]any{"id": w.cfg.TeamID, "domain": w.cfg.Domain}, "enterprise": nil, "is_enterprise_install": false,
		"user": map[string]any{"id": user, "username": w.people[user].Name, "name": w.people[user].Name, "team_id": w.cfg.TeamID}}, more)
}

func (w *Workspace) channelRef(c *channel) map[string]any {
	return map[string]any{"id": c.ID, "name": c.hookName()}
}

// hookName is a channel's name in commands and interactions; Slack hides that of private ones.
func (c *channel) hookName() string {
	switch c.kind() {
	case "im":
		return "directmessage"
	case "group":
		return "privategroup"
	}
	return c.Name
}

// member finds a channel a person may act in. Callers hold w.mu.
func (w *Workspace) member(user, id string) (*channel, error) {
	u, ok := w.people[user]
	if !ok || u.bot {
		return nil, noSuch("no user %s", user)
	}
	c, ok := w.channels[id]
	if !ok || !w.canSee(user, c) {
		return nil, noSuch("%s sees no channel %s", user, id)
	}
	if !c.members[user] {
		return nil, fmt.Errorf("%s is not in #%s; join it first", u.Name, c.Name)
	}
	return c, nil
}

// toast tells a person something that is not a message. Callers hold w.mu.
func (w *Workspace) toast(user, text string) {
	w.toasts[user] = append(w.toasts[user], text)
	w.publish(streamEvent{kind: "toast", user: user, data: mustJSON(map[string]any{"level": "error", "text": text})})
	w.touch()
}

func (w *Workspace) tellPerson(user string, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.toast(user, text)
}

// runCommand sends a slash command.
func (w *Workspace) runCommand(user, channelID, name, text string) error {
	w.mu.Lock()
	c, err := w.member(user, channelID)
	var known Command
	if i := slices.IndexFunc(w.app.Commands, func(k Command) bool { return k.Name == name }); i >= 0 {
		known = w.app.Commands[i]
	} else if err == nil {
		err = noSuch("%s is not a valid command", name)
	}
	if err != nil {
		w.mu.Unlock()
		return err
	}
	if known.ShouldEscape {
		text = w.typed(text, true)
	}
	u := w.newResponseURL(&responseURL{channel: c.ID, user: user})
	d := &delivery{kind: kindCommand, name: name, payload: mustJSON(map[string]string{
		"token": verificationToken, "team_id": w.cfg.TeamID, "team_domain": w.cfg.Domain,
		"channel_id": c.ID, "channel_name": c.hookName(), "user_id": user, "user_name": w.people[user].Name, "command": name, "text": text,
		"api_app_id": w.app.ID, "is_enterprise_install": "false", "response_url": w.responseAddress(u), "trigger_id": w.newTrigger(user, "")})}
	w.mu.Unlock()

	answer, err := w.ask(d)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		err = w.commandAnswer(u, c, name, text, answer)
	}
	if err != nil {
		w.toast(user, fmt.Sprintf("%s failed with the error %q: %s did not respond", name, err.Error(), w.app.Name))
		if !errors.Is(err, errNoAnswer) && !errors.Is(err, errNotDelivered) {
			w.toasts[user][len(w.toasts[user])-1] = fmt.Sprintf("%s failed with the error %q", name, err.Error())
		}
	}
	return err
}

// commandAnswer shows what the app said in its acknowledgement: to one person, or to the channel
// after the command itself.
func (w *Workspace) commandAnswer(u *responseURL, c *channel, name, text string, answer json.RawMessage) error {
	a, err := answerArgs(answer)
	if err != nil || len(a) == 0 {
		return err
	}
	if a.str("response_type") == "in_channel" {
		w.insertEcho(c, u.user, strings.TrimSpace(name+" "+text))
	}
	if a.str("text") == "" && !a.has("blocks") && !a.has("attachments") {
		return nil
	}
	if failed := w.respond(u, a); failed != nil {
		return errors.New(failed.code)
	}
	return nil
}

// insertEcho shows the command in the channel; Slack tells no app about it.
func (w *Workspace) insertEcho(c *channel, user, text string) {
	m := &Message{Type: "message", Subtype: "slash_command", TS: w.nextTS(), User: user, Text: escape(text), Team: w.cfg.TeamID}
	c.messages = append(c.messages, m)
	w.publish(streamEvent{kind: "message", channel: c.ID, data: mustJSON(map[string]any{"channel": c.ID, "message": m})})
	w.touch()
}

func answerArgs(answer json.RawMessage) (args, error) {
	if len(answer) == 0 || string(answer) == "null" {
		return nil, nil
	}
	v, err := decodeJSON(answer)
	if err != nil {
		return nil, errors.New("invalid_command_response")
	}
	switch v := v.(type) {
	case map[string]any:
		return v, nil
	case string:
		return args{"text": v}, nil
	}
	return nil, errors.New("invalid_command_response")
}

// press is a person using an element of a message: a button, or a menu with what was chosen in given.
// m may be older than what the channel shows now; then it is a click on something stale.
func (w *Workspace) press(user string, m Message, blockID, actionID string, given map[string]any, typed state) error {
	w.mu.Lock()
	c, err := w.member(user, m.Channel)
	if err != nil {
		w.mu.Unlock()
		return err
	}
	blocks := parseBlocks(m.Blocks)
	block, element := findElement(blocks, blockID, actionID)
	if element == nil {
		w.mu.Unlock()
		return noSuch("the message has no %s %s", blockID, actionID)
	}
	container := map[string]any{"type": "message", "message_ts": m.TS, "channel_id": c.ID, "is_ephemeral": m.IsEphemeral}
	if m.ThreadTS != "" {
		container["thread_ts"] = m.ThreadTS
	}
	u := w.newResponseURL(&responseURL{channel: c.ID, user: user, source: m.TS, ephemeral: m.IsEphemeral})
	payload := w.interaction("block_actions", user, map[string]any{
		"container": container, "channel": w.channelRef(c), "trigger_id": w.newTrigger(user, ""),
		"response_url": w.responseAddress(u), "state": readState(blocks, typed, block, element, given),
		"actions": []any{w.action(block, element, given)}})
	if !m.IsEphemeral { // Slack leaves an ephemeral message out
		shown := m
		shown.Channel = ""
		payload["message"] = w.forApp(&shown)
	}
	d := &delivery{kind: kindInteraction, name: "block_actions", payload: mustJSON(payload)}
	w.mu.Unlock()

	_, err = w.ask(d)
	if err != nil {
		w.tellPerson(user, interactionTrouble(w.app.Name, err))
	}
	return err
}

func interactionTrouble(app string, err error) string {
	if errors.Is(err, errNoAnswer) {
		return fmt.Sprintf("%s did not respond: operation_timeout. Apps need to respond within 3 seconds.", app)
	}
	return fmt.Sprintf("%s did not respond: %s", app, err)
}

// pressView is a person using an element of a modal or of the Home tab.
func (w *Workspace) pressView(user, viewID, blockID, actionID string, given map[string]any, typed state) error {
	w.mu.Lock()
	v := w.findView(viewID, "")
	if v == nil || v.owner != user {
		w.mu.Unlock()
		return noSuch("%s has no view %s open", user, viewID)
	}
	blocks := parseBlocks(v.Blocks)
	block, element := findElement(blocks, blockID, actionID)
	if element == nil {
		w.mu.Unlock()
		return noSuch("the view has no %s %s", blockID, actionID)
	}
	v = w.keepState(v, readState(blocks, typed, block, element, given))
	modal := ""
	if v.Type == "modal" {
		modal = v.ID
	}
	d := &delivery{kind: kindInteraction, name: "block_actions", payload: mustJSON(w.interaction("block_actions", user, map[string]any{
		"container": map[string]any{"type": "view", "view_id": v.ID}, "trigger_id": w.newTrigger(user, modal), "view": v,
		"actions": []any{w.action(block, element, given)}}))}
	w.mu.Unlock()

	_, err := w.ask(d)
	if err != nil {
		w.tellPerson(user, interactionTrouble(w.app.Name, err))
	}
	return err
}

// keepState replaces a view by a copy with what is typed and chosen in it now.
func (w *Workspace) keepState(v *View, s ViewState) *View {
	changed := *v
	changed.State = s
	if v.Type == "home" {
		w.homes[v.owner] = &changed
		return &changed
	}
	stack := slices.Clone(w.stacks[v.owner])
	for i := range stack {
		if stack[i].ID == v.ID {
			stack[i] = &changed
		}
	}
	w.stacks[v.owner] = stack
	return &changed
}

// submit sends a modal's fields and does what the app answers: close, clear, update, push, errors.
func (w *Workspace) submit(user, viewID string, typed state) error {
	w.mu.Lock()
	stack := w.stacks[user]
	if len(stack) == 0 || stack[len(stack)-1].ID != viewID {
		w.mu.Unlock()
		return noSuch("%s has no modal %s on top", user, viewID)
	}
	v := stack[len(stack)-1]
	blocks := parseBlocks(v.Blocks)
	v = w.keepState(v, readState(blocks, typed, nil, nil, nil))
	if missing := incomplete(blocks, v.State); len(missing) > 0 { // Slack's client does not even send it
		w.showErrors(v, missing)
		w.mu.Unlock()
		return missing
	}
	d := &delivery{kind: kindInteraction, name: "view_submission", payload: mustJSON(w.interaction("view_submission", user, map[string]any{
		"trigger_id": w.newTrigger(user, v.ID), "view": v, "response_urls": []any{}}))}
	w.mu.Unlock()

	answer, err := w.ask(d)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		err = w.submitted(v, answer)
	}
	if e := (ViewErrors)(nil); err != nil && !errors.As(err, &e) {
		w.toast(user, "We had some trouble connecting. Try again? "+interactionTrouble(w.app.Name, err))
	}
	return err
}

func (w *Workspace) submitted(v *View, answer json.RawMessage) error {
	if now := w.findView(v.ID, ""); now == nil {
		return nil // the app closed it meanwhile
	}
	a, err := answerArgs(answer)
	if err != nil {
		return errors.New("invalid_view_response")
	}
	switch action := a.str("response_action"); action {
	case "":
		w.popView(v.owner)
	case "clear":
		w.dismiss(v.owner)
	case "errors":
		problems := ViewErrors{}
		given, _ := a["errors"].(map[string]any)
		for id, text := range given {
			problems[id] = str(text)
		}
		for id := range problems {
			if !slices.ContainsFunc(inputs(parseBlocks(v.Blocks)), func(in Input) bool { return in.BlockID == id }) {
				return fmt.Errorf("invalid_view_response: errors name the block %q, which is no input of the view", id)
			}
		}
		if len(problems) == 0 {
			return errors.New("invalid_view_response: errors are empty")
		}
		w.showErrors(v, problems)
		return problems
	case "update", "push":
		o, _ := a["view"].(map[string]any)
		next, failed := w.buildView(o, "modal")
		switch {
		case failed != nil:
			return fmt.Errorf("invalid_view_response: %s", strings.Join(failed.problems, "; "))
		case action == "update":
			w.changeView(v, next)
		case len(w.stacks[v.owner]) >= maxStack:
			return errors.New("push_limit_reached")
		default:
			w.pushView(v.owner, next, "push")
		}
	default:
		return fmt.Errorf("invalid_view_response: unknown response_action %q", action)
	}
	return nil
}

func (w *Workspace) showErrors(v *View, problems ViewErrors) {
	marked := *w.keepState(v, v.State)
	marked.Errors = problems
	stack := slices.Clone(w.stacks[v.owner])
	for i := range stack {
		if stack[i].ID == v.ID {
			stack[i] = &marked
		}
	}
	w.stacks[v.owner] = stack
	w.publishModal("update", &marked)
}

// closeView is the cross or the cancel button: the view goes, and those above it. An app that asked
// to be notified is told, and nobody waits for its answer.
func (w *Workspace) closeView(user, viewID string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	stack := w.stacks[user]
	i := slices.IndexFunc(stack, func(v *View) bool { return v.ID == viewID })
	if i < 0 {
		return noSuch("%s has no modal %s open", user, viewID)
	}
	cleared := stack[i].ClearOnClose
	if cleared {
		i = 0
	}
	gone := slices.Clone(stack[i:])
	w.stacks[user] = slices.Clone(stack[:i])
	for _, v := range slices.Backward(gone) {
		w.publishModal("close", v)
		if !v.NotifyOnClose {
			continue
		}
		payload := w.interaction("view_closed", user, map[string]any{"view": v, "is_cleared": cleared})
		d := &delivery{kind: kindInteraction, name: "view_closed", payload: mustJSON(payload)}
		w.spawn(func() { _, _ = w.ask(d) })
	}
	if rest := w.stacks[user]; len(rest) > 0 {
		w.publishModal("update", rest[len(rest)-1])
	}
	return nil
}

// runShortcut uses a message shortcut (on a message) or a global one.
func (w *Workspace) runShortcut(user, callbackID, channelID, ts string) error {
	w.mu.Lock()
	d, err := w.shortcutDelivery(user, callbackID, channelID, ts)
	w.mu.Unlock()
	if err != nil {
		return err
	}
	if _, err = w.ask(d); err != nil {
		w.tellPerson(user, interactionTrouble(w.app.Name, err))
	}
	return err
}

func (w *Workspace) shortcutDelivery(user, callbackID, channelID, ts string) (*delivery, error) {
	i := slices.IndexFunc(w.app.Shortcuts, func(s Shortcut) bool { return s.CallbackID == callbackID })
	if i < 0 {
		return nil, noSuch("no shortcut %s", callbackID)
	}
	more := map[string]any{"callback_id": callbackID, "trigger_id": w.newTrigger(user, ""), "action_ts": w.nextTS()}
	if w.app.Shortcuts[i].Type != "message" {
		if _, ok := w.people[user]; !ok {
			return nil, noSuch("no user %s", user)
		}
		return &delivery{kind: kindInteraction, name: "shortcut", payload: mustJSON(w.interaction("shortcut", user, more))}, nil
	}
	c, err := w.member(user, channelID)
	if err != nil {
		return nil, err
	}
	_, m := c.find(ts)
	if m == nil {
		return nil, noSuch("no message %s in %s", ts, channelID)
	}
	u := w.newResponseURL(&responseURL{channel: c.ID, user: user, source: ts})
	maps.Copy(more, map[string]any{"message_ts": ts, "channel": w.channelRef(c), "message": w.forApp(m), "response_url": w.responseAddress(u)})
	return &delivery{kind: kindInteraction, name: "message_action", payload: mustJSON(w.interaction("message_action", user, more))}, nil
}

// openHome is a person looking at the app's Home tab (or its messages, if it has none).
func (w *Workspace) openHome(user string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if u, ok := w.people[user]; !ok || u.bot {
		return noSuch("no user %s", user)
	}
	tab := "home"
	if w.app.HomeDisabled {
		tab = "messages"
	}
	event := map[string]any{"user": user, "channel": w.directMessage(w.app.BotUserID, user).ID, "tab": tab, "event_ts": w.nextTS()}
	if v := w.homes[user]; v != nil {
		event["view"] = v
	}
	w.emitAs("app_home_opened", "app_home_opened", "", event)
	return nil
}

// action is the `actions[0]` of a block_actions payload: the element, and what was chosen in it.
func (w *Workspace) action(block, element, given map[string]any) map[string]any {
	out := map[string]any{"action_ts": w.nextTS(), "block_id": block["block_id"]}
	for _, k := range []string{"type", "action_id", "text", "value", "style", "url", "placeholder", "confirm", "accessibility_label",
		"initial_option", "initial_options", "initial_date", "initial_time", "initial_user", "initial_channel", "initial_conversation"} {
		if v, ok := element[k]; ok {
			out[k] = v
		}
	}
	if k := valueKey(str(element["type"])); k != "" {
		out[k] = chosen(element, k, given[k])
	}
	return out
}

func findElement(blocks []map[string]any, blockID, actionID string) (block, element map[string]any) {
	eachElement(blocks, func(b, e map[string]any) {
		if element == nil && str(e["action_id"]) == actionID && (blockID == "" || str(b["block_id"]) == blockID) {
			block, element = b, e
		}
	})
	return block, element
}

// sayAs posts what a person typed.
func (w *Workspace) sayAs(user, channelID, thread, text string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, err := w.member(user, channelID)
	if err != nil {
		return "", err
	}
	if strings.TrimSpace(text) == "" {
		return "", errors.New("there is nothing to say")
	}
	if c.Archived {
		return "", fmt.Errorf("#%s is archived", c.Name)
	}
	if checkThread(c, thread) != nil {
		return "", noSuch("no thread %s in %s", thread, channelID)
	}
	text = cutRunes(w.typed(text, false), maxPostText)
	m := w.post(c, &Message{User: user, Text: text, ThreadTS: thread, ClientMsgID: uuid(), Mentions: mentionsIn(text, nil)})
	return m.TS, nil
}
