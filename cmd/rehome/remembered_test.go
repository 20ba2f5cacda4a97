package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"rehome/conversation"
	"rehome/policy"
	"rehome/store"
	"rehome/store/bolt"
)

// However long the names are, a line of the worklist has room on a screen, and
// what has no title shows that; JSON has all of it.
func TestTheWorklistHasRoomOnAScreen(t *testing.T) {
	app, title := strings.Repeat("Ünïted ", 30)+"end", strings.Repeat("mismatch ", 30)+"end"
	path := filepath.Join(shortDir(t), "l.db")
	st, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range []policy.Violation{{Title: title, App: policy.App{DisplayName: app}}, {App: policy.App{DisplayName: "Contoso Relay"}}} {
		if _, err := st.Apply(t.Context(), store.Input{Event: fmt.Sprint("e", i), At: time.Now(), Step: func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
			c.Violation = v
			return c, nil
		}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"REHOME_STORE": "bolt:" + path}
	_, table, _ := once(env, "list")
	lines := strings.Split(strings.TrimSpace(table), "\n")
	if len(lines) != 3 {
		t.Fatal(table)
	}
	for _, line := range lines {
		if n := utf8.RuneCountInString(line); n > 120 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if strings.Count(lines[1], "…") != 2 || !strings.HasSuffix(lines[2], "-") || !strings.Contains(lines[2], "Contoso Relay") {
		t.Error(table)
	}
	if _, all, _ := once(env, "list", "--format", "json"); !strings.Contains(all, app) || !strings.Contains(all, title) {
		t.Errorf("JSON does not have all: %s", all)
	}
}
