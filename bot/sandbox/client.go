package sandbox

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// The browser's API: what the page shows and what people do in it. Loopback, no login: whoever
// opens the page may be anybody in the workspace. Posts from other origins are refused. Whatever
// needs the app's acknowledgement is answered at once; how it went comes on the stream (stream.go).

const maxClientBody = 256 << 10 // bytes

func (w *Workspace) routeClient(mux *http.ServeMux) {
	guard := http.NewCrossOriginProtection()
	get := func(path string, f func(*http.Request) (any, error)) {
		mux.HandleFunc("GET /client/"+path, func(rw http.ResponseWriter, r *http.Request) {
			out, err := f(r)
			writeClient(rw, out, err)
		})
	}
	get("state", w.clientState)
	get("messages", w.clientMessages)
	get("home", w.clientHome)
	mux.HandleFunc("GET /client/stream", w.serveStream)
	post := func(path string, f func(clientRequest) (any, error)) {
		mux.Handle("POST /client/"+path, guard.Handler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			var in clientRequest
			err := json.NewDecoder(http.MaxBytesReader(rw, r.Body, maxClientBody)).Decode(&in)
			if err != nil {
				err = errors.Join(errBadRequest, err)
			}
			var out any
			if err == nil {
				w.learnBase(hostOf(r))
				out, err = f(in)
			}
			writeClient(rw, out, err)
		})))
	}
	post("message", func(in clientRequest) (any, error) {
		ts, err := w.sayAs(in.User, in.Channel, in.ThreadTS, in.Text)
		return map[string]any{"ok": true, "ts": ts}, err
	})
	post("command", w.clientCommand)
	post("action", w.clientAction)
	post("submit", func(in clientRequest) (any, error) {
		return w.background(func() error { return w.submit(in.User, in.ViewID, in.State.Values) },
			func() error { return w.wantView(in.User, in.ViewID) })
	})
	post("close", func(in clientRequest) (any, error) { return nil, w.closeView(in.User, in.ViewID) })
	post("shortcut", func(in clientRequest) (any, error) {
		return w.background(func() error { return w.runShortcut(in.User, in.CallbackID, in.Channel, in.MessageTS) },
			func() error {
				w.mu.Lock()
				defer w.mu.Unlock()
				_, err := w.shortcutDelivery(in.User, in.CallbackID, in.Channel, in.MessageTS)
				return err
			})
	})
	post("open_home", func(in clientRequest) (any, error) { return nil, w.openHome(in.User) })
	post("open_dm", w.clientOpenDM)
	post("join", func(in clientRequest) (any, error) { return nil, w.Join(in.User, in.Channel) })
	post("read", w.clientRead)
	post("reaction", w.clientReaction)
}

// clientRequest is the body of every POST; each uses the fields it needs.
type clientRequest struct {
	User       string `json:"user"`
	Channel    string `json:"channel"`
	ThreadTS   string `json:"thread_ts"`
	Text       string `json:"text"`
	Command    string `json:"command"`
	ViewID     string `json:"view_id"`
	CallbackID string `json:"callback_id"`
	MessageTS  string `json:"message_ts"`
	TS         string `json:"ts"`
	Other      string `json:"other"`
	Name       string `json:"name"`
	Add        bool   `json:"add"`
	Container  struct {
		Type      string `json:"type"`
		Channel   string `json:"channel"`
		MessageTS string `json:"message_ts"`
		ViewID    string `json:"view_id"`
	} `json:"container"`
	Action map[string]any `json:"action"`
	State  struct {
		Values state `json:"values"`
	} `json:"state"`
}

var errBadRequest = errors.New("the request is not the JSON object it should be")

func writeClient(rw http.ResponseWriter, out any, err error) {
	rw.Header().Set("Content-Type", "application/json; charset=utf-8")
	rw.Header().Set("Cache-Control", "no-store")
	if err != nil {
		status, code := http.StatusUnprocessableEntity, "refused"
		switch {
		case errors.As(err, new(notThere)):
			status, code = http.StatusNotFound, "not_found"
		case errors.Is(err, errBadRequest):
			status, code = http.StatusBadRequest, "bad_request"
		}
		rw.WriteHeader(status)
		out = map[string]any{"ok": false, "error": code, "message": err.Error()}
	} else if out == nil {
		out = map[string]any{"ok": true}
	}
	_, _ = rw.Write(mustJSON(out)) // the browser has gone: nobody to tell
}

// learnBase remembers an address until the app's own calls say better.
func (w *Workspace) learnBase(host string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.base == "" {
		w.base = host
	}
}

// background does what a person asked for while they go on; how it went comes on the stream. What
// can be refused at once is refused by check.
func (w *Workspace) background(do, check func() error) (any, error) {
	if err := check(); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spawn(func() { _ = do() }) // the person has been told on the stream
	return nil, nil
}

func (w *Workspace) clientCommand(in clientRequest) (any, error) {
	if in.ThreadTS != "" {
		return nil, errors.New(in.Command + " is not supported in threads. Sorry!")
	}
	return w.background(func() error { return w.runCommand(in.User, in.Channel, in.Command, in.Text) }, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		_, err := w.member(in.User, in.Channel)
		if err == nil && !slices.ContainsFunc(w.app.Commands, func(c Command) bool { return c.Name == in.Command }) {
			err = noSuch("%s is not a valid command", in.Command)
		}
		return err
	})
}

func (w *Workspace) wantView(user, id string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if v := w.findView(id, ""); v == nil || v.owner != user {
		return noSuch("that view is closed")
	}
	return nil
}

func (w *Workspace) clientAction(in clientRequest) (any, error) {
	block, action := str(in.Action["block_id"]), str(in.Action["action_id"])
	if in.Container.Type == "view" {
		return w.background(func() error {
			return w.pressView(in.User, in.Container.ViewID, block, action, in.Action, in.State.Values)
		}, func() error { return w.wantView(in.User, in.Container.ViewID) })
	}
	m, ok := w.message(in.User, in.Container.Channel, in.Container.MessageTS)
	if !ok {
		return nil, noSuch("that message is gone")
	}
	return w.background(func() error { return w.press(in.User, m, block, action, in.Action, in.State.Values) }, func() error {
		if _, e := findElement(parseBlocks(m.Blocks), block, action); e == nil {
			return noSuch("that message has changed; look again")
		}
		return nil
	})
}

// message finds a message as a person sees it, ephemerals included.
func (w *Workspace) message(user, channelID, ts string) (Message, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, ok := w.channels[channelID]
	if !ok || !w.canSee(user, c) {
		return Message{}, false
	}
	_, m := c.find(ts)
	for _, p := range c.private {
		if p.TS == ts && p.to == user {
			m = p
		}
	}
	if m == nil {
		return Message{}, false
	}
	out := *m
	out.Channel = channelID
	return out, true
}

func (w *Workspace) clientOpenDM(in clientRequest) (any, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, me := w.people[in.User]
	_, other := w.people[in.Other]
	if !me || !other {
		return nil, noSuch("no user %s or %s", in.User, in.Other)
	}
	return map[string]any{"ok": true, "channel": w.directMessage(in.User, in.Other).ID}, nil
}

func (w *Workspace) clientRead(in clientRequest) (any, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, err := w.member(in.User, in.Channel)
	if err != nil {
		return nil, err
	}
	if !validTS(in.TS) {
		return nil, errBadRequest
	}
	if compareTS(in.TS, c.read[in.User]) > 0 {
		c.read[in.User] = in.TS
		w.publishChannel(c, in.User)
	}
	return nil, nil
}

func (w *Workspace) clientReaction(in clientRequest) (any, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, err := w.member(in.User, in.Channel)
	if err != nil {
		return nil, err
	}
	if e := w.setReaction(c, in.TS, in.User, in.Name, in.Add); e != nil {
		return nil, errors.New(e.code)
	}
	return nil, nil
}

func (w *Workspace) clientState(r *http.Request) (any, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	me := r.URL.Query().Get("user")
	if u, ok := w.people[me]; !ok || u.bot {
		if len(w.cfg.Users) == 0 {
			return nil, noSuch("nobody is in this workspace")
		}
		me = w.cfg.Users[0].ID
	}
	users, commands, shortcuts, channels := []any{}, []any{}, []any{}, []any{}
	for _, id := range slices.Sorted(maps.Keys(w.people)) {
		u := w.people[id]
		users = append(users, map[string]any{"id": u.ID, "name": u.Name, "real_name": u.RealName, "display_name": u.Name, "title": u.Title,
			"tz": u.TZ, "is_bot": u.bot, "color": colour(u.ID), "presence": "active", "is_guest": u.Guest})
	}
	for _, c := range w.app.Commands {
		commands = append(commands, map[string]any{"command": c.Name, "usage_hint": c.UsageHint, "description": c.Description})
	}
	for _, s := range w.app.Shortcuts {
		shortcuts = append(shortcuts, map[string]any{"callback_id": s.CallbackID, "name": s.Name, "type": s.Type})
	}
	for _, id := range w.order {
		if c := w.channels[id]; w.canSee(me, c) {
			channels = append(channels, w.channelFor(c, me))
		}
	}
	return map[string]any{
		"workspace": map[string]any{"id": w.cfg.TeamID, "name": w.cfg.Name, "icon_text": initials(w.cfg.Name)}, "me": me, "users": users,
		"apps": []any{map[string]any{"id": w.app.ID, "bot_user_id": w.app.BotUserID, "name": w.app.Name, "description": w.app.Description,
			"home_enabled": !w.app.HomeDisabled, "connected": w.connected(), "via": w.via()}},
		"modal": top(w.stacks[me]), "commands": commands, "shortcuts": shortcuts, "channels": channels, "seq": w.seq,
	}, nil
}

// top is the modal a page has to show again after a reload; nil for none.
func top(stack []*View) *View {
	if len(stack) == 0 {
		return nil
	}
	return stack[len(stack)-1]
}

func initials(name string) string {
	out := ""
	for word := range strings.FieldsSeq(name) {
		if r := []rune(word); len(out) < 2 {
			out += string(r[:1])
		}
	}
	return strings.ToUpper(out)
}

// channelFor is a channel as one person's sidebar shows it.
func (w *Workspace) channelFor(c *channel, user string) map[string]any {
	out := map[string]any{"id": c.ID, "name": c.Name, "topic": c.Topic, "is_im": c.im, "is_private": c.Private && !c.im, "is_archived": c.Archived,
		"is_member": c.members[user], "bot_is_member": c.members[w.app.BotUserID], "unread": w.unread(c, user), "last_ts": ""}
	if n := len(c.messages); n > 0 {
		out["last_ts"] = c.messages[n-1].TS
	}
	if c.im {
		other := c.other(user)
		out["im_user"], out["name"] = other, w.people[other].Name
	}
	return out
}

func (w *Workspace) unread(c *channel, user string) int {
	n := 0
	for _, m := range slices.Backward(c.messages) {
		if compareTS(m.TS, c.read[user]) <= 0 {
			break
		}
		if m.User != user && (m.ThreadTS == "" || m.ThreadTS == m.TS) {
			n++
		}
	}
	return n
}

func (w *Workspace) clientMessages(r *http.Request) (any, error) {
	q := r.URL.Query()
	w.mu.Lock()
	defer w.mu.Unlock()
	c, ok := w.channels[q.Get("channel")]
	if !ok || !w.canSee(q.Get("user"), c) {
		return nil, noSuch("no such channel")
	}
	list := w.shown(c, q.Get("user"), q.Get("thread_ts"))
	if list == nil {
		list = []Message{}
	}
	return map[string]any{"messages": list}, nil
}

// shown lists what a person sees in a channel (its roots) or in a thread, ephemerals in their place.
// Without a user it is what everybody sees.
func (w *Workspace) shown(c *channel, user, thread string) []Message {
	var out []Message
	for _, list := range [][]*Message{c.messages, c.private} {
		for _, m := range list {
			if m.IsEphemeral && m.to != user {
				continue
			}
			root := m.ThreadTS == "" || m.ThreadTS == m.TS
			if thread == "" && root || thread != "" && (m.TS == thread || m.ThreadTS == thread) {
				copied := *m
				copied.Channel = c.ID
				out = append(out, copied)
			}
		}
	}
	slices.SortFunc(out, func(a, b Message) int { return compareTS(a.TS, b.TS) })
	return out
}

func (w *Workspace) clientHome(r *http.Request) (any, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return map[string]any{"view": w.homes[r.URL.Query().Get("user")]}, nil
}
