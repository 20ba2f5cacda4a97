package slackapp

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"rehome/store"
	"rehome/store/bolt"
)

// atOnce sends the same request a thousand times at once, through the door over
// the real store, and returns the answers.
func (d *desk) atOnce(path, kind, content string) (answers []*httptest.ResponseRecorder) {
	d.t.Helper()
	answers = make([]*httptest.ResponseRecorder, 1000)
	begin := make(chan struct{})
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			<-begin
			answers[i] = d.ask(signed(path, kind, content))
		})
	}
	close(begin)
	all.Wait()
	for i, w := range answers {
		if w.Code != http.StatusOK {
			d.t.Fatalf("%s: delivery %d was answered %d %s", path, i, w.Code, w.Body)
		}
	}
	return answers
}

func TestADeliveryAThousandTimesAtOnceHasOneEffectAndAllAreAnswered(t *testing.T) {
	d := sit(t, set{door: "http", store: func(store.Store) store.Store {
		s, err := bolt.Open(filepath.Join(t.TempDir(), "rehome.db"), bolt.Options{})
		check(t, err)
		t.Cleanup(func() { check(t, s.Close()) })
		return s
	}})
	for i, w := range d.atOnce("/slack/commands", typeForm, form1("command", "/rehome", "text", title, "user_id", alice, "channel_id", triage, "trigger_id", "1.2.3")) {
		var a ack
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || !strings.Contains(a.Text, "*RH-1* is open") {
			t.Fatalf("command %d was answered %s, %v", i, w.Body, err)
		}
	}
	root := d.find(triage, "*RH-1")
	q1 := d.find(triage, "*1. Is ")
	d.settle()
	if n, roots := d.count("*RH-2"), d.count("*RH-1"); n != 0 || roots != 1 {
		t.Errorf("%d roots of RH-1 and %d of RH-2:\n%s", roots, n, d.Transcript())
	}

	before, err := d.store.Journal(t.Context(), "RH-1")
	check(t, err)
	press, err := json.Marshal(map[string]any{
		"type": "block_actions", "user": map[string]any{"id": bob}, "channel": map[string]any{"id": triage}, "trigger_id": "4.5.6",
		"container": map[string]any{"type": "message", "channel_id": triage, "message_ts": q1.TS, "thread_ts": root.TS},
		"message":   map[string]any{"ts": q1.TS},
		"actions":   []any{map[string]any{"block_id": "ask:RH-1:q1:x", "action_id": "choose:0", "value": "3P", "action_ts": "7.8"}},
	})
	check(t, err)
	d.atOnce("/slack/interactions", typeForm, form1("payload", string(press)))
	d.find(triage, "*2. ")
	d.settle()
	after, err := d.store.Journal(t.Context(), "RH-1")
	check(t, err)
	pressed := 0
	for _, e := range after[len(before):] {
		if e.By == bob {
			pressed++
		}
	}
	if pressed != 1 || d.count("*2. ") != 1 {
		t.Errorf("the press stands in the journal %d times, the next question in the thread %d times", pressed, d.count("*2. "))
	}
	if n := len(d.Ephemerals(bob)); n != 0 {
		t.Errorf("%d answers say that somebody else was quicker: %+v", n, d.Ephemerals(bob)[0])
	}

	d.atOnce("/slack/events", typeJSON, `{"type":"event_callback","event_id":"Ev1","authorizations":[{"user_id":"`+botUser+`","is_bot":true}],
		"event":{"type":"app_mention","user":"`+alice+`","channel":"`+triage+`","ts":"1.1","text":"<@`+botUser+`> help"}}`)
	if n := len(d.Ephemerals(alice)); n != 1 {
		t.Errorf("%d answers to one mention", n)
	}
}
