package slackapp

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"rehome/bot"
	"rehome/bot/intake"
	"rehome/bot/sandbox"
	"rehome/conversation"
	"rehome/policy"
)

// This file is about many alerts at once, through every part there is but the
// network: how fast they are told, and that Slack never has to say "slower".

// A storm is many alerts at once. The service an alert is about has the number
// of its channel, and the app's id ends in the number of its owner.
type storm struct {
	owners, channels int
	owner            []int // of each alert
}

// TestAThousandAlertsAreToldAsFastAsSlackAllows takes in, in one batch, a
// thousand alerts for 300 owners in 40 channels, and tells everybody at the pace
// that a workspace with Slack's limits sets, without once being told to slow
// down. Most owners have a few alerts and are told of each; twenty have many, and
// get lists.
func TestAThousandAlertsAreToldAsFastAsSlackAllows(t *testing.T) {
	s := storm{owners: 300, channels: 40}
	for i := range 600 {
		s.owner = append(s.owner, i%300)
	}
	for i := range 400 {
		s.owner = append(s.owner, i%20)
	}
	inWorkspace(t, s.workspace(), filepath.Join(memory(t), "rehome.db"), func(b *bot.Bot) {
		b.Directory, b.Manners = answering(s.ownerOf), bot.Manners{} // with quiet hours, for which people's time zones are asked for
	}, func(w *world) {
		began := time.Now()
		ids := s.takeIn(w)
		w.drain(3 * time.Hour)
		w.once()
		s.everybodyKnows(w, ids)
		w.inTime(began)
	})
}

// TestADirectMessageHasOneLimit: it goes by its person's name until it has begun,
// and by its own from then on.
func TestADirectMessageHasOneLimit(t *testing.T) {
	inWorld(t, nil, func(b *bot.Bot) {
		b.Directory = answering(func(bot.AppQuery) []bot.OwnerEntry { return []bot.OwnerEntry{mailOf("dana")} })
	}, func(w *world) {
		for _, channel := range []string{triage, security, random} {
			w.alert(channel, ledger)
		}
		w.drain(5 * time.Minute)
		said := 0
		for _, m := range w.AllMessages() {
			if m.Channel == w.DM(dana) {
				said++
			}
		}
		if said != 6 {
			t.Errorf("dana was told %d things, want 3 roots and 3 questions", said)
		}
		for _, c := range w.Calls() {
			if c.Error != "" {
				t.Errorf("%s in %v: %s", c.Method, c.Args["channel"], c.Error)
			}
		}
	})
}

// workspace has everybody in it: owner 7 is U00000007, and owner-7@contoso.example.
func (s storm) workspace() (c sandbox.Config) {
	for i := range s.owners {
		c.Users = append(c.Users, sandbox.User{ID: fmt.Sprintf("U%08d", i), Name: fmt.Sprint("owner-", i), Email: fmt.Sprintf("owner-%d@contoso.example", i)})
	}
	for i := range s.channels {
		c.Channels = append(c.Channels, sandbox.Channel{ID: fmt.Sprintf("C%08d", i), Name: fmt.Sprint("triage-", i), BotMember: true})
	}
	return c
}

// ownerOf is what the directory says of an app.
func (s storm) ownerOf(q bot.AppQuery) []bot.OwnerEntry {
	n, err := strconv.Atoi(q.AppID[len(q.AppID)-3:])
	if err != nil {
		return nil
	}
	return []bot.OwnerEntry{mailOf(fmt.Sprint("owner-", n))}
}

// takeIn lets the alerts come and returns their conversations.
func (s storm) takeIn(w *world) (ids []string) {
	w.t.Helper()
	in := intake.Intake{Bot: w.bot, Infer: w.bot.Policy.Infer, Route: func(v policy.Violation, _ policy.Facts) conversation.Place {
		return conversation.Place{Channel: "C" + v.Service.ID}
	}}
	var alerts []intake.Piece
	for i, owner := range s.owner {
		raw, err := json.Marshal(map[string]any{
			"id": fmt.Sprint("KAI-", i), "source": map[string]any{"system": "s360"}, "title": title,
			"app":     map[string]any{"appId": fmt.Sprintf("3f6b2a10-8c4d-4e21-9a7b-%09d%03d", i, owner)},
			"service": map[string]any{"id": fmt.Sprintf("%08d", i%s.channels)},
		})
		check(w.t, err)
		alerts = append(alerts, intake.Piece{Record: intake.Record{Index: i, Line: i + 1, Raw: raw}})
	}
	became, err := in.Take(w.t.Context(), func(intake.Record) string { return "storm" }, alerts)
	check(w.t, err)
	for _, b := range became {
		if b.Opened != 1 || len(b.Conversations) != 1 {
			w.t.Fatalf("alert %d: %s", b.Index, b)
		}
		ids = append(ids, b.Conversations[0])
	}
	return ids
}

// everybodyKnows fails unless each alert is in its channel, with a question in
// its thread, and was brought before its owner once, and before nobody else.
func (s storm) everybodyKnows(w *world, ids []string) {
	w.t.Helper()
	type told struct{ roots, questions, alone, listed, elsewhere int }
	of := map[string]*told{}
	channel, dm := map[string]string{}, map[string]string{}
	for i, id := range ids {
		of[id], channel[id], dm[id] = &told{}, fmt.Sprintf("C%08d", i%s.channels), w.DM(fmt.Sprintf("U%08d", s.owner[i]))
	}
	rootOf := map[string]string{} // by conversation and channel
	lists := 0
	for _, m := range w.AllMessages() {
		mark, _ := markOf(m)
		if mark.Conversation == "list" {
			lists++
			for _, id := range ids {
				switch {
				case !strings.Contains(m.Text, "*"+id+"* "):
				case m.Channel == dm[id]:
					of[id].listed++
				default:
					of[id].elsewhere++
				}
			}
			continue
		}
		at, id := mark.Conversation+" "+m.Channel, mark.Conversation
		switch {
		case of[id] == nil:
			w.t.Errorf("nobody expects %q in %s", m.Text, m.Channel)
		case mark.Key == conversation.RootKey && m.Channel == channel[id]:
			of[id].roots++
			rootOf[at] = m.TS
		case mark.Key == conversation.RootKey && m.Channel == dm[id]:
			of[id].alone++
			rootOf[at] = m.TS
		case mark.Key == "q1" && m.ThreadTS == rootOf[at]:
			of[id].questions++
		default:
			of[id].elsewhere++
		}
	}
	for id, got := range of {
		// Who is told alone is asked in the direct message, too.
		if (*got != told{roots: 1, questions: 2, alone: 1} && *got != told{roots: 1, questions: 1, listed: 1}) {
			w.t.Errorf("%s of %s: %+v", id, dm[id], *got)
		}
	}
	if lists < 20 {
		w.t.Errorf("only %d lists: the story does not tell what it should", lists)
	}
	given, err := w.file.Outbox(w.t.Context(), true)
	check(w.t, err)
	for _, d := range given {
		w.t.Errorf("given up: %+v", d)
	}
}

// inTime fails when a call was sent away, or when telling everybody took more
// than 1.2 times what the workspace's limits allow.
func (w *world) inTime(began time.Time) {
	w.t.Helper()
	made, last := map[string]int{}, map[string]time.Duration{} // by method
	tooFast := 0
	for _, c := range w.Calls() {
		made[c.Method]++
		last[c.Method] = c.At.Sub(began)
		switch {
		case c.Error == "ratelimited":
			tooFast++
			w.t.Errorf("%s in %v came too fast after %s", c.Method, c.Args["channel"], last[c.Method])
		case !c.OK:
			w.t.Errorf("%s: %s", c.Method, c.Error)
		}
	}
	// A minute's calls may be made at once, but then none for a minute: what a limit
	// allows is its rate.
	least := func(method string) time.Duration {
		allowed := time.Duration(made[method]) * time.Minute / time.Duration(sandbox.PerMinute(method))
		w.t.Logf("%d calls of %s, the last after %s; its limit allows %s", made[method], method, last[method], allowed)
		return allowed
	}
	inTime := func(what string, took, allowed time.Duration) {
		w.t.Helper()
		w.t.Logf("%s after %s, %.2f times the %s that the limits allow", what, took, took.Seconds()/allowed.Seconds(), allowed)
		if took > allowed*12/10 {
			w.t.Errorf("%s after %s, more than 1.2 times the %s that the limits allow", what, took, allowed)
		}
	}
	// Nobody is told before they were looked up, so what takes longest binds.
	allowed := w.busiest()
	for _, method := range []string{"chat.postMessage", "users.lookupByEmail", "users.info", "chat.getPermalink"} {
		allowed = max(allowed, least(method))
	}
	w.t.Logf("%d calls came too fast", tooFast)
	inTime("everybody was told", last["chat.postMessage"], allowed)
	// Then the roots in the channels say who was told, with one edit of each.
	inTime("every root was up to date", last["chat.update"], max(allowed, least("chat.update")))
}

// busiest is how long the channel with the most messages takes at one a second.
func (w *world) busiest() time.Duration {
	in := map[string]int{}
	most := 0
	for _, m := range w.AllMessages() {
		in[m.Channel]++
		most = max(most, in[m.Channel])
	}
	return time.Duration(most) * time.Second
}

// memory is a folder that no disk is behind, where there is such: ten thousand
// writes one after the other take a disk longer than the story may.
func memory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "rehome-storm-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
