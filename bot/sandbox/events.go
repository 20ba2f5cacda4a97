package sandbox

import "slices"

// What happens in the workspace, told to the app: only events it subscribed to, has the scope for,
// and of channels its bot is in.

// emit tells the app about an event. c is the channel it happened in, nil for none. Callers hold w.mu.
func (w *Workspace) emit(kind, scope string, c *channel, fields map[string]any) {
	if c != nil && !c.members[w.app.BotUserID] {
		return
	}
	w.emitAs(kind, kind, scope, merge(fields, map[string]any{"event_ts": w.nextTS()}))
}

// emitAs tells an event whose subscription has another name than its type ("message.im").
func (w *Workspace) emitAs(subscription, kind, scope string, event map[string]any) {
	if !slices.Contains(w.app.Events, subscription) || scope != "" && w.needScope(scope) != nil {
		return
	}
	event["type"] = kind
	w.tell(&delivery{kind: kindEvent, name: kind, payload: mustJSON(map[string]any{
		"token": verificationToken, "team_id": w.cfg.TeamID, "context_team_id": w.cfg.TeamID, "context_enterprise_id": nil, "api_app_id": w.app.ID,
		"event": event, "type": "event_callback", "event_id": w.serial("Ev"), "event_time": w.cfg.Now().Unix(),
		"authorizations": []any{map[string]any{"enterprise_id": nil, "team_id": w.cfg.TeamID, "user_id": w.app.BotUserID, "is_bot": true,
			"is_enterprise_install": false}},
		"is_ext_shared_channel": false, "event_context": token(12),
	})})
}

// emitMessage tells a new message, and the mention of the bot in it if there is one.
func (w *Workspace) emitMessage(c *channel, m *Message) {
	if !c.members[w.app.BotUserID] {
		return
	}
	event := merge(w.forApp(m), map[string]any{"channel": c.ID, "channel_type": c.kind(), "event_ts": m.TS})
	delete(event, "metadata")
	w.emitMessageEvent(c, event)
	if m.BotID != "" || m.Subtype != "" || c.im || !slices.Contains(m.Mentions, w.app.BotUserID) {
		return
	}
	mention := map[string]any{"channel": c.ID, "event_ts": m.TS}
	for _, k := range []string{"user", "text", "ts", "thread_ts", "parent_user_id", "team", "blocks", "client_msg_id"} {
		if v, ok := event[k]; ok {
			mention[k] = v
		}
	}
	w.emitAs("app_mention", "app_mention", "app_mentions:read", mention)
}

// emitChange tells an edit (message_changed) or a deletion (message_deleted; then m is nil).
func (w *Workspace) emitChange(c *channel, subtype string, old, m *Message) {
	if !c.members[w.app.BotUserID] {
		return
	}
	ts := w.nextTS()
	event := map[string]any{"subtype": subtype, "hidden": true, "channel": c.ID, "channel_type": c.kind(), "ts": ts, "event_ts": ts,
		"previous_message": w.forApp(old)}
	if m != nil {
		event["message"] = w.forApp(m)
	} else {
		event["deleted_ts"] = old.TS
	}
	w.emitMessageEvent(c, event)
}

func (w *Workspace) emitMessageEvent(c *channel, event map[string]any) {
	name := map[string]string{"channel": "channels", "group": "groups", "im": "im"}[c.kind()]
	w.emitAs("message."+name, "message", name+":history", event)
}
