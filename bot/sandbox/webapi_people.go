package sandbox

import (
	"cmp"
	"encoding/base64"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

func (w *Workspace) apiTest(r *request) (reply, *apiError) {
	if code := r.args.str("error"); code != "" {
		return nil, refuse(code)
	}
	return reply{"args": r.args.logged()}, nil
}

func (w *Workspace) authTest(r *request) (reply, *apiError) {
	return reply{"url": r.host + "/", "team": w.cfg.Name, "user": w.people[w.app.BotUserID].Name, "team_id": w.cfg.TeamID,
		"user_id": w.app.BotUserID, "bot_id": w.app.BotID, "is_enterprise_install": false}, nil
}

func (w *Workspace) botsInfo(r *request) (reply, *apiError) {
	if id := r.args.str("bot"); id != "" && id != w.app.BotID {
		return nil, refuse("bot_not_found")
	}
	return reply{"bot": map[string]any{"id": w.app.BotID, "deleted": false, "name": w.app.Name, "updated": 1700000000,
		"app_id": w.app.ID, "user_id": w.app.BotUserID, "icons": map[string]any{}}}, nil
}

func (w *Workspace) teamInfo(*request) (reply, *apiError) {
	return reply{"team": map[string]any{"id": w.cfg.TeamID, "name": w.cfg.Name, "domain": w.cfg.Domain,
		"email_domain": "", "icon": map[string]any{}}}, nil
}

// user is a person in Slack's shape. The e-mail address is there with its own scope only.
func (w *Workspace) user(u User) map[string]any {
	tz, offset := cmp.Or(u.TZ, "Etc/UTC"), 0
	if loc, err := time.LoadLocation(tz); err == nil {
		_, offset = w.cfg.Now().In(loc).Zone()
	}
	first, last, _ := strings.Cut(u.RealName, " ")
	profile := map[string]any{"real_name": u.RealName, "real_name_normalized": u.RealName, "display_name": u.Name, "display_name_normalized": u.Name,
		"first_name": first, "last_name": last, "title": u.Title, "team": w.cfg.TeamID, "status_text": "", "status_emoji": ""}
	if u.bot {
		profile["bot_id"], profile["api_app_id"] = w.app.BotID, w.app.ID
	} else if w.needScope("users:read.email") == nil && u.Email != "" {
		profile["email"] = u.Email
	}
	return map[string]any{"id": u.ID, "team_id": w.cfg.TeamID, "name": u.Name, "deleted": false, "color": colour(u.ID), "real_name": u.RealName,
		"tz": tz, "tz_label": tz, "tz_offset": offset, "profile": profile, "is_admin": false, "is_owner": false, "is_primary_owner": false,
		"is_restricted": u.Guest, "is_ultra_restricted": u.Guest, "is_bot": u.bot, "is_app_user": false, "updated": 1700000000}
}

// colour gives each person one of Slack's avatar hues, always the same.
func colour(id string) string {
	hues := []string{"9f69e7", "4bbe2e", "e7392d", "3c989f", "674b1b", "e96699", "e0a729", "684b6c", "5b89d5", "2b6836"}
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // a hash never fails
	return hues[h.Sum32()%uint32(len(hues))]
}

func (w *Workspace) usersInfo(r *request) (reply, *apiError) {
	u, ok := w.people[r.args.str("user")]
	if !ok {
		return nil, refuse("user_not_found")
	}
	return reply{"user": w.user(u)}, nil
}

func (w *Workspace) usersList(r *request) (reply, *apiError) {
	ids := slices.Sorted(maps.Keys(w.people))
	ids, next, e := page(ids, r.args, 1000)
	if e != nil {
		return nil, e
	}
	members := make([]any, 0, len(ids))
	for _, id := range ids {
		members = append(members, w.user(w.people[id]))
	}
	return reply{"members": members, "cache_ts": w.cfg.Now().Unix(), "response_metadata": map[string]any{"next_cursor": next}}, nil
}

func (w *Workspace) usersLookupByEmail(r *request) (reply, *apiError) {
	for _, u := range w.people {
		if u.Email != "" && strings.EqualFold(u.Email, r.args.str("email")) {
			return reply{"user": w.user(u)}, nil
		}
	}
	return nil, refuse("users_not_found")
}

func (w *Workspace) usersProfileGet(r *request) (reply, *apiError) {
	u, ok := w.people[cmp.Or(r.args.str("user"), w.app.BotUserID)]
	if !ok {
		return nil, refuse("user_not_found")
	}
	return reply{"profile": w.user(u)["profile"]}, nil
}

// page cuts one page out of a list: `limit` and an opaque `cursor`, as all of Slack's lists.
func page[T any](all []T, a args, most int) (part []T, next string, failed *apiError) {
	start := 0
	if c := a.str("cursor"); c != "" {
		raw, err := base64.StdEncoding.DecodeString(c)
		text, ok := strings.CutPrefix(string(raw), "next:")
		n, convErr := strconv.Atoi(text)
		if err != nil || !ok || convErr != nil || n < 0 || n > len(all) {
			return nil, "", refuse("invalid_cursor")
		}
		start = n
	}
	limit := 100
	if a.has("limit") && a.str("limit") != "" {
		n, err := strconv.Atoi(a.str("limit"))
		if err != nil || n < 0 || n > most {
			return nil, "", refuse("invalid_limit")
		}
		if n > 0 {
			limit = n
		}
	}
	end := min(start+limit, len(all))
	if end < len(all) {
		next = base64.StdEncoding.EncodeToString([]byte("next:" + strconv.Itoa(end)))
	}
	return all[start:end], next, nil
}

func (w *Workspace) reactionsAdd(r *request) (reply, *apiError) {
	return w.react(r, true)
}

func (w *Workspace) reactionsRemove(r *request) (reply, *apiError) {
	return w.react(r, false)
}

func (w *Workspace) react(r *request, add bool) (reply, *apiError) {
	c, e := w.target(r.args.str("channel"))
	if e != nil {
		return nil, e
	}
	ts, name := r.args.str("timestamp"), r.args.str("name")
	if !validTS(ts) {
		return nil, refuse("bad_timestamp")
	}
	if name == "" {
		return nil, refuse("invalid_name")
	}
	return nil, w.setReaction(c, ts, w.app.BotUserID, name, add)
}

// setReaction puts a person's emoji on a message or takes it off.
func (w *Workspace) setReaction(c *channel, ts, user, name string, add bool) *apiError {
	_, old := c.find(ts)
	if old == nil {
		return refuse("message_not_found")
	}
	m := *old
	m.Reactions = nil
	had := false
	for _, r := range old.Reactions {
		if r.Name == name {
			had = slices.Contains(r.Users, user)
			r.Users = slices.DeleteFunc(slices.Clone(r.Users), func(u string) bool { return u == user })
			if add {
				r.Users = append(r.Users, user)
			}
		}
		if r.Count = len(r.Users); r.Count > 0 {
			m.Reactions = append(m.Reactions, r)
		}
	}
	switch {
	case add && had:
		return refuse("already_reacted")
	case !add && !had:
		return refuse("no_reaction")
	case add && !slices.ContainsFunc(old.Reactions, func(r Reaction) bool { return r.Name == name }):
		m.Reactions = append(m.Reactions, Reaction{Name: name, Users: []string{user}, Count: 1})
	}
	w.replace(c, &m)
	kind := "reaction_added"
	if !add {
		kind = "reaction_removed"
	}
	w.emit(kind, "reactions:read", c, map[string]any{"user": user, "reaction": name, "item_user": m.User,
		"item": map[string]any{"type": "message", "channel": c.ID, "ts": ts}})
	return nil
}
