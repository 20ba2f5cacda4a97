package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"rehome/conversation"
	"rehome/policy"
	"rehome/store"
)

// placed returns a step that leaves the conversation with one thread and naming
// an app, and has effects.
func placed(channel, ts, app string, effects ...conversation.Effect) store.Step {
	return func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
		c, _ = at(channel, ts)(c)
		c, _ = naming(app)(c)
		return c, effects
	}
}

// naming returns a step that leaves the conversation's facts naming an app, or
// none when it is "".
func naming(app string) store.Step {
	return func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
		c.Facts = policy.Facts{{Name: policy.PartyFact, Value: "3P"}}
		if app != "" {
			c.Facts = append(c.Facts, policy.Fact{Name: policy.AppID, Value: app, From: policy.FromAlert})
		}
		return c, nil
	}
}

func recalls(t *testing.T, s store.Store, prefix string, want map[string]string) {
	t.Helper()
	got, err := s.Recall(t.Context(), prefix)
	if err != nil {
		t.Fatalf("Recall(%q): %v", prefix, err)
	}
	differ(t, "what is recalled of "+prefix, want, got)
}

func recalling(t *testing.T, s store.Store) {
	remember := func(key, value string) {
		t.Helper()
		if err := s.Remember(t.Context(), key, value); err != nil {
			t.Fatalf("Remember(%q): %v", key, err)
		}
	}
	recalls(t, s, "", nil)
	remember("app/1/owner", "U1")
	remember("app/1/not/U2", "yes")
	remember("app/10/owner", "U3")
	remember("app/\xff", "last")
	recalls(t, s, "app/1/", map[string]string{"app/1/owner": "U1", "app/1/not/U2": "yes"})
	recalls(t, s, "app/1/owner", map[string]string{"app/1/owner": "U1"})
	recalls(t, s, "app/2", nil)
	recalls(t, s, "b", nil)
	recalls(t, s, "app/\xff", map[string]string{"app/\xff": "last"})

	id := opens(t, s, "a", remembers("app/1/owner", "U4"), remembers("app/1/not/U2", ""), remembers("app/10/owner", ""), remembers("app/10/owner", "U5"))
	recalls(t, s, "", map[string]string{"app/1/owner": "U4", "app/10/owner": "U5", "app/\xff": "last"})
	if waits := outbox(t, s, true); len(waits) != 0 {
		t.Errorf("%q waits: what is remembered is no delivery", cards(waits))
	}
	d := outboxOf(t, s, id)
	settles(t, s, d, store.Outcome{Step: does(conversation.Asking, remembers("person/U1/digest", strings.Repeat("daily ", 1000)))})
	recalls(t, s, "person/", map[string]string{"person/U1/digest": strings.Repeat("daily ", 1000)})

	remember("app/1/owner", "")
	remember("never known", "")
	remember("app/10/owner", "U5") // as it is
	longest := strings.Repeat("k", 512)
	remember(longest, "v")
	recalls(t, s, "app/1", map[string]string{"app/10/owner": "U5"})
	recalls(t, s, "k", map[string]string{longest: "v"})
	before := remembered(t, s)
	for what, key := range map[string]string{"no key": "", "a long key": longest + "k"} {
		if err := s.Remember(t.Context(), key, "v"); err == nil {
			t.Errorf("a value with %s was remembered", what)
		}
		in := store.Input{Event: "bad", Conversation: id, At: noon, Step: does(conversation.Ended, show(0, "root"), remembers("good", "v"), remembers(key, "v"))}
		if _, err := s.Apply(t.Context(), in); err == nil {
			t.Errorf("an effect with %s was applied", what)
		}
		differ(t, "after "+what, before, remembered(t, s))
	}
}

func about(t *testing.T, s store.Store) {
	finds := func(app string, want ...string) {
		t.Helper()
		got, err := s.About(t.Context(), app, 100)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("About(%q) = %v, %v; want %v", app, got, err, want)
		}
	}
	n := 0
	names := func(id, app string) {
		t.Helper()
		n++
		applies(t, s, store.Input{Event: fmt.Sprint("names ", n), Conversation: id, At: noon, Step: naming(app)})
	}
	var many store.Batch
	for i := range 300 {
		many.Inputs = append(many.Inputs, store.Input{Event: fmt.Sprint(i), At: noon, Step: does(conversation.Asking)})
	}
	appliesAll(t, s, many)
	finds("app")
	finds("")
	names("RH-2", "app")
	names("RH-300", "app")
	names("RH-10", "app")
	names("RH-1", "ap")
	names("RH-3", "app2")
	names("RH-4", "")
	finds("app", "RH-2", "RH-10", "RH-300")
	for _, app := range []string{"app", "app2"} { // in the middle of all, and the last of all
		if got, err := s.About(t.Context(), app, 1); err != nil || len(got) != 1 || got[0] != map[string]string{"app": "RH-300", "app2": "RH-3"}[app] {
			t.Errorf("the newest about %s: %v, %v", app, got, err)
		}
	}
	finds("ap", "RH-1")
	finds("app2", "RH-3")
	finds("a")
	finds("")

	names("RH-2", "app") // as before
	names("RH-10", "app2")
	names("RH-300", "")
	finds("app", "RH-2")
	finds("app2", "RH-3", "RH-10")
	settles(t, s, outboxOf(t, s, "RH-2"), store.Outcome{Step: naming("ap")})
	finds("app")
	finds("ap", "RH-1", "RH-2")

	longest := strings.Repeat("a", 512)
	names("RH-5", longest)
	finds(longest, "RH-5")
	if _, err := s.Apply(t.Context(), store.Input{Event: "too long", Conversation: "RH-5", Step: naming(longest + "a")}); err == nil {
		t.Error("an app id of 513 bytes was kept")
	}
	finds(longest, "RH-5")
}
