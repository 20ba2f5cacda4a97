package sandbox

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// response_url: a way to answer where a person acted, without scope or membership, five times in
// half an hour. https://docs.slack.dev/interactivity/handling-user-interaction#message_responses

const (
	responseLife = 30 * time.Minute
	responseUses = 5
)

type responseURL struct {
	token     string
	channel   string
	user      string
	source    string // ts of the message acted on; "" after a command
	ephemeral bool   // the source is one
	expires   time.Time
	uses      int
}

func (w *Workspace) newResponseURL(u *responseURL) *responseURL {
	maps.DeleteFunc(w.urls, func(_ string, u *responseURL) bool { return w.cfg.Now().Sub(u.expires) > time.Hour })
	u.token = token(16)
	u.expires = w.cfg.Now().Add(responseLife)
	w.urls[u.token] = u
	return u
}

func (w *Workspace) responseAddress(u *responseURL) string { return w.base + "/response/" + u.token }

func (w *Workspace) serveResponseURL(rw http.ResponseWriter, r *http.Request) {
	const name = "response_url"
	fault := w.faultFor(name)
	if !w.before(rw, r, fault) {
		w.record(Call{Method: name, Error: fault.Kind.String()})
		return
	}
	a, _, failed := readArgs(rw, r)
	if payload, ok := a["payload"].(string); ok && failed == nil { // webhooks may come as a form
		failed = a.addJSON(strings.NewReader(payload))
	}
	if failed == nil {
		failed = w.answerURL(r.PathValue("token"), a) //nolint:contextcheck // the events it causes outlive the request
	}
	c := Call{Method: name, Args: a.logged(), OK: failed == nil}
	if failed != nil {
		c.Error = failed.code
	}
	if fault.Kind.after() {
		c.Error = fault.Kind.String()
		w.record(c)
		w.after(rw, fault, encodeReply(nil, failed))
		return
	}
	w.record(c)
	rw.Header().Set("Content-Type", "application/json; charset=utf-8")
	if failed != nil {
		rw.WriteHeader(responseStatus(failed.code))
	}
	_, _ = rw.Write(encodeReply(nil, failed))
}

// responseStatus: unlike the Web API, a response_url says no with a status.
func responseStatus(code string) int {
	switch code {
	case "used_url", "expired_url", "no_such_url":
		return http.StatusNotFound
	}
	return http.StatusBadRequest
}

func (w *Workspace) answerURL(t string, a args) *apiError {
	w.mu.Lock()
	defer w.mu.Unlock()
	u, ok := w.urls[t]
	switch {
	case !ok:
		return refuse("no_such_url")
	case w.cfg.Now().After(u.expires):
		return refuse("expired_url")
	case u.uses >= responseUses:
		return refuse("used_url")
	}
	failed := w.respond(u, a)
	if failed == nil {
		u.uses++
	}
	return failed
}

// respond carries out a message response: delete or replace the original, or say something new, to
// one person unless response_type is in_channel.
func (w *Workspace) respond(u *responseURL, a args) *apiError {
	c, ok := w.channels[u.channel]
	if !ok {
		return refuse("channel_not_found")
	}
	if a.bool("delete_original") {
		w.withdraw(c, u)
		return nil
	}
	body, e := w.content(a)
	if e != nil {
		return e
	}
	if body.empty() {
		return refuse("no_text")
	}
	thread := a.str("thread_ts")
	if e := checkThread(c, thread); e != nil {
		return e
	}
	switch {
	case a.bool("replace_original") && w.replaceOriginal(c, u, body):
	case a.str("response_type") == "in_channel":
		m := w.botMessage(body)
		m.ThreadTS = thread
		w.post(c, m)
	default:
		w.whisper(c, u.user, thread, u.token, body)
	}
	return nil
}

// original finds the ephemeral a response_url stands for: the one acted on, or after a command the
// last one said through it.
func (c *channel) original(u *responseURL) int {
	for i, m := range slices.Backward(c.private) {
		if m.to == u.user && (u.ephemeral && m.TS == u.source || u.source == "" && m.url == u.token) {
			return i
		}
	}
	return -1
}

func (w *Workspace) replaceOriginal(c *channel, u *responseURL, body content) bool {
	if _, old := c.find(u.source); old != nil && !u.ephemeral {
		if old.BotID == w.app.BotID { // a person's message, reached by a shortcut, is not the app's to change
			w.edit(c, old, body)
			return true
		}
		return false
	}
	i := c.original(u)
	if i < 0 {
		return false
	}
	m := *c.private[i]
	m.Text, m.Blocks, m.Attachments, m.Mentions = body.text, body.blocks, body.attachments, mentionsIn(body.text, body.parsed)
	c.private = slices.Clone(c.private)
	c.private[i] = &m
	w.publish(streamEvent{kind: "message_changed", user: u.user, data: mustJSON(map[string]any{"channel": c.ID, "message": m})})
	w.touch()
	return true
}

func (w *Workspace) withdraw(c *channel, u *responseURL) {
	if _, old := c.find(u.source); old != nil && !u.ephemeral {
		if old.BotID == w.app.BotID {
			w.remove(c, old)
		}
		return
	}
	if i := c.original(u); i >= 0 {
		m := c.private[i]
		c.private = slices.Delete(slices.Clone(c.private), i, i+1)
		w.publish(streamEvent{kind: "message_deleted", user: u.user, data: mustJSON(map[string]any{"channel": c.ID, "ts": m.TS, "thread_ts": m.ThreadTS})})
		w.touch()
	}
}
