package bot

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rehome/conversation"
	"rehome/policy"
	"rehome/store"
)

// strict is a chat that keeps Slack's limits as the sandbox does, and counts
// what it had to send away.
type strict struct {
	room
	tooFast int
	sent    int // posts that were taken
	full    map[string]time.Time
	posts   []time.Time
	edits   []time.Time
}

func (s *strict) Show(ctx context.Context, m Message) (At, error) {
	s.mu.Lock()
	now := time.Now()
	over := false
	if m.TS != "" {
		over = !within(&s.edits, now, 50)
	} else {
		full := s.full[m.Channel]
		if full.Before(now) {
			full = now
		}
		over = full.Sub(now) > 3*time.Second || !within(&s.posts, now, 300)
		s.full[m.Channel] = full.Add(time.Second)
		if !over {
			s.sent++
		}
	}
	if over {
		s.tooFast++
	}
	s.mu.Unlock()
	if over {
		return At{}, &Failure{Kind: Again, After: 30 * time.Second, Code: "ratelimited"}
	}
	return s.room.Show(ctx, m)
}

// within counts a call and reports whether it is among the most of a minute.
func within(calls *[]time.Time, now time.Time, most int) bool {
	c := *calls
	for len(c) > 0 && !c[0].After(now.Add(-time.Minute)) {
		c = c[1:]
	}
	*calls = append(c, now)
	return len(c) < most
}

// TestAThousandAlertsAreToldAsFastAsSlackAllows sends a thousand alerts of 300
// owners' apps to 40 channels at once.
func TestAThousandAlertsAreToldAsFastAsSlackAllows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const alerts, owners, channels = 1000, 300, 40
		people := &crowd{people: map[string]Profile{}}
		dir := directoryOf(func(q AppQuery) AppEntry {
			return AppEntry{ReadAt: time.Now(), AppID: q.AppID, Owners: []OwnerEntry{user(q.AppID[len(q.AppID)-3:] + "@contoso.example")}}
		})
		for i := range owners {
			id := fmt.Sprintf("U%03d", i)
			people.people[fmt.Sprintf("%03d@contoso.example", i)] = somebody(id)
			people.people[id] = somebody(id)
		}
		chat := &strict{full: map[string]time.Time{}}
		ctx, stop := context.WithCancel(t.Context())
		b := New(Bot{Policy: policy.Default(), Store: store.NewMem(), Chat: chat, Directory: dir, People: people, Manners: Manners{Quiet: Quiet{Off: true}}})
		ended := make(chan error, 1)
		go func() { ended <- b.Run(ctx) }()
		var batch []Alert
		for i := range alerts {
			v := policy.Violation{ID: fmt.Sprint(i), Title: tenantTitle, App: policy.App{AppID: fmt.Sprintf("3f6b2a10-8c4d-4e21-9a7b-%09d%03d", i, i%owners)}}
			batch = append(batch, Alert{Key: v.ID, Opened: conversation.Opened{Violation: v, Facts: b.Policy.Infer(v), In: conversation.Place{Channel: fmt.Sprintf("C%02d", i%channels)}}})
		}
		if _, err := b.TakeIn(ctx, store.Batch{}, batch...); err != nil {
			t.Fatal(err)
		}
		told := func() (roots, owners int) {
			chat.mu.Lock()
			defer chat.mu.Unlock()
			people.mu.Lock()
			defer people.mu.Unlock()
			seen := map[string]bool{}
			for _, l := range chat.lines {
				if strings.Contains(l, "post root in C") {
					roots++
				} else if _, who, dm := strings.Cut(l, "post root in U"); dm {
					seen[who] = true
				}
			}
			return roots, len(seen) + len(people.digests)
		}
		var took time.Duration
		for roots, people := told(); roots < alerts || people < owners; roots, people = told() {
			if took += 10 * time.Second; took > time.Hour {
				t.Fatalf("after an hour %d of %d roots are there and %d of %d owners told", roots, alerts, people, owners)
			}
			pass(10 * time.Second)
		}
		stop()
		<-ended
		// 300 messages a minute in all is the limit that binds here; a channel has
		// but 50 of them.
		least := time.Duration(chat.sent) * time.Minute / 300
		t.Logf("%d messages in %v; the limits allow %v", chat.sent, took, least)
		if took > least*12/10 {
			t.Errorf("%d messages took %v, more than 1.2 times the %v that Slack's limits allow", chat.sent, took, least)
		}
		if chat.tooFast > 0 {
			t.Errorf("%d requests were sent away for coming too fast", chat.tooFast)
		}
	})
}

type directoryOf func(AppQuery) AppEntry

func (d directoryOf) App(_ context.Context, q AppQuery, _ bool) (AppEntry, error) { return d(q), nil }
