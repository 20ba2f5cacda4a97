package sandbox

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	triggerLife  = 3 * time.Second
	maxViewBytes = 250_000 // view_too_large
	maxStack     = 3       // push_limit_reached
)

// trigger is a person's consent to show them something, now and once.
type trigger struct {
	user    string
	view    string // the modal it was pressed in; views.push needs one
	expires time.Time
	used    bool
}

// newTrigger makes a trigger_id in Slack's shape: three parts with dots.
func (w *Workspace) newTrigger(user, view string) string {
	maps.DeleteFunc(w.triggers, func(_ string, t *trigger) bool { return w.cfg.Now().Sub(t.expires) > time.Hour })
	id := w.serial("1") + "." + strings.TrimPrefix(w.cfg.TeamID, "T") + "." + token(8)
	w.triggers[id] = &trigger{user: user, view: view, expires: w.cfg.Now().Add(triggerLife)}
	return id
}

// exchange spends a trigger_id.
func (w *Workspace) exchange(id string) (*trigger, *apiError) {
	t, ok := w.triggers[id]
	switch {
	case !ok:
		return nil, refuse("invalid_trigger_id")
	case t.used:
		return nil, refuse("exchanged_trigger_id")
	case w.cfg.Now().After(t.expires):
		return nil, refuse("expired_trigger_id")
	}
	return t, nil
}

func (w *Workspace) viewsOpen(r *request) (reply, *apiError) {
	return w.show(r, func(t *trigger, v *View) *apiError {
		w.dismiss(t.user) // a new modal replaces whatever was open
		w.pushView(t.user, v, "open")
		return nil
	})
}

func (w *Workspace) viewsPush(r *request) (reply, *apiError) {
	return w.show(r, func(t *trigger, v *View) *apiError {
		stack := w.stacks[t.user]
		if len(stack) == 0 || t.view == "" {
			return refuse("no_view_found") // a push needs a trigger from a modal that is still open
		}
		if len(stack) >= maxStack {
			return refuse("push_limit_reached")
		}
		w.pushView(t.user, v, "push")
		return nil
	})
}

// show is what views.open and views.push have in common: read the view first, spend the trigger last.
func (w *Workspace) show(r *request, put func(*trigger, *View) *apiError) (reply, *apiError) {
	v, e := w.readView(r.args, "modal")
	if e != nil {
		return nil, e
	}
	id := r.args.str("trigger_id")
	if id == "" {
		id = r.args.str("interactivity_pointer")
	}
	t, e := w.exchange(id)
	if e != nil {
		return nil, e
	}
	if e := w.uniqueExternal(v, ""); e != nil {
		return nil, e
	}
	if e := put(t, v); e != nil {
		return nil, e
	}
	t.used = true
	return reply{"view": v}, nil
}

func (w *Workspace) viewsUpdate(r *request) (reply, *apiError) {
	v, e := w.readView(r.args, "")
	if e != nil {
		return nil, e
	}
	old := w.findView(r.args.str("view_id"), r.args.str("external_id"))
	switch {
	case old == nil:
		return nil, refuse("not_found")
	case r.args.str("hash") != "" && r.args.str("hash") != old.Hash:
		return nil, refuse("hash_conflict")
	case v.Type != old.Type:
		return nil, &apiError{code: "invalid_arguments", problems: []string{"view type can not be changed [json-pointer:/view/type]"}}
	}
	if e := w.uniqueExternal(v, old.ID); e != nil {
		return nil, e
	}
	return reply{"view": w.changeView(old, v)}, nil
}

func (w *Workspace) viewsPublish(r *request) (reply, *apiError) {
	v, e := w.readView(r.args, "home")
	if e != nil {
		return nil, e
	}
	user := r.args.str("user_id")
	if u, ok := w.people[user]; !ok || u.bot {
		return nil, &apiError{code: "invalid_arguments", problems: []string{"invalid user_id [json-pointer:/user_id]"}}
	}
	if w.app.HomeDisabled {
		return nil, refuse("not_enabled")
	}
	if old := w.homes[user]; old != nil {
		if h := r.args.str("hash"); h != "" && h != old.Hash {
			return nil, refuse("hash_conflict")
		}
		return reply{"view": w.changeView(old, v)}, nil
	}
	w.identify(user, v)
	w.homes[user] = v
	w.publishHome(v)
	return reply{"view": v}, nil
}

// readView checks the `view` argument. want is "modal", "home", or "" for either.
func (w *Workspace) readView(a args, want string) (*View, *apiError) {
	raw, err := a.json("view")
	o, ok := raw.(map[string]any)
	if err != nil || !ok {
		return nil, &apiError{code: "invalid_arguments", problems: []string{"must provide an object [json-pointer:/view]"}}
	}
	return w.buildView(o, want)
}

func (w *Workspace) buildView(o map[string]any, want string) (*View, *apiError) {
	if problems := checkView(o, want, w.cfg.Strict); len(problems) > 0 {
		return nil, &apiError{code: "invalid_arguments", problems: problems}
	}
	if len(mustJSON(o)) > maxViewBytes {
		return nil, refuse("view_too_large")
	}
	blocks, _ := o["blocks"].([]any)
	o["blocks"] = w.nameBlocks(blocks)
	v := &View{}
	if err := json.Unmarshal(mustJSON(o), v); err != nil {
		return nil, &apiError{code: "invalid_arguments", problems: []string{err.Error() + " [json-pointer:/view]"}}
	}
	v.State = ViewState{Values: map[string]map[string]map[string]any{}} // an app can not send a state
	v.ID, v.Hash, v.RootViewID, v.PreviousViewID = "", "", "", nil
	return v, nil
}

func (w *Workspace) identify(user string, v *View) {
	v.ID, v.owner = w.serial("V"), user
	v.TeamID, v.InstalledTeam, v.AppID, v.BotID = w.cfg.TeamID, w.cfg.TeamID, w.app.ID, w.app.BotID
	v.RootViewID, v.Hash = v.ID, w.newHash()
	for _, field := range []*json.RawMessage{&v.Submit, &v.Close} {
		if len(*field) == 0 {
			*field = json.RawMessage("null")
		}
	}
}

// newHash is a view's version, as Slack writes it: time and a random part.
func (w *Workspace) newHash() string {
	w.lastTS = max(w.lastTS+1, w.cfg.Now().UnixMicro())
	return formatTS(w.lastTS)[:10] + "." + token(4)
}

// pushView puts a modal on top of a person's stack; op is "open" or "push".
func (w *Workspace) pushView(user string, v *View, op string) {
	w.identify(user, v)
	stack := w.stacks[user]
	if len(stack) > 0 {
		v.RootViewID = stack[0].ID
		previous := stack[len(stack)-1].ID
		v.PreviousViewID = &previous
	}
	w.stacks[user] = append(slices.Clone(stack), v)
	w.publishModal(op, v)
}

// changeView replaces a view's content, keeping its identity and what was typed into fields that stay.
func (w *Workspace) changeView(old, v *View) *View {
	w.identify(old.owner, v)
	v.ID, v.RootViewID, v.PreviousViewID = old.ID, old.RootViewID, old.PreviousViewID
	if old.Type == "home" {
		w.homes[old.owner] = v
		w.publishHome(v)
		return v
	}
	stack := slices.Clone(w.stacks[old.owner])
	if i := slices.IndexFunc(stack, func(s *View) bool { return s.ID == old.ID }); i >= 0 {
		stack[i] = v
		w.stacks[old.owner] = stack
	}
	w.publishModal("update", v)
	return v
}

func (w *Workspace) findView(id, external string) *View {
	match := func(v *View) bool {
		return id != "" && v.ID == id || id == "" && external != "" && v.ExternalID == external
	}
	for _, v := range w.homes {
		if match(v) {
			return v
		}
	}
	for _, stack := range w.stacks {
		if i := slices.IndexFunc(stack, match); i >= 0 {
			return stack[i]
		}
	}
	return nil
}

func (w *Workspace) uniqueExternal(v *View, self string) *apiError {
	if v.ExternalID == "" {
		return nil
	}
	if other := w.findView("", v.ExternalID); other != nil && other.ID != self {
		return refuse("duplicate_external_id")
	}
	return nil
}

// popView closes the top modal; what was below it shows again.
func (w *Workspace) popView(user string) {
	stack := w.stacks[user]
	if len(stack) == 0 {
		return
	}
	top := stack[len(stack)-1]
	w.stacks[user] = slices.Clone(stack[:len(stack)-1])
	w.publishModal("close", top)
	if rest := w.stacks[user]; len(rest) > 0 {
		w.publishModal("update", rest[len(rest)-1])
	}
}

// dismiss closes all of a person's modals.
func (w *Workspace) dismiss(user string) {
	if stack := w.stacks[user]; len(stack) > 0 {
		delete(w.stacks, user)
		for _, v := range slices.Backward(stack) {
			w.publishModal("close", v)
		}
	}
}

func (w *Workspace) publishModal(op string, v *View) {
	data := map[string]any{"op": op, "view": v, "user": v.owner}
	if len(v.Errors) > 0 {
		data["errors"] = v.Errors
	}
	w.publish(streamEvent{kind: "modal", user: v.owner, data: mustJSON(data)})
	w.touch()
}

func (w *Workspace) publishHome(v *View) {
	w.publish(streamEvent{kind: "home", user: v.owner, data: mustJSON(map[string]any{"app": w.app.ID, "view": v})})
	w.touch()
}
