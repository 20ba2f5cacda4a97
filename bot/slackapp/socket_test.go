package slackapp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"rehome/bot"
	"rehome/conversation"
	"rehome/policy"
	"rehome/store"
)

// A wire is the far end of Socket Mode, frame by frame: it sends what a test
// tells it to and keeps what comes back. For what Slack's own end would not do.
type wire struct {
	t     *testing.T
	url   string
	conns chan *websocket.Conn // each connection made
	acks  chan frame
	pongs chan string
	gone  chan error  // how each connection ended
	said  chan string // what came to a response_url

	mu    sync.Mutex
	count map[string]int // calls by method
}

// calls is how often a method was called.
func (w *wire) calls(method string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count[method]
}

func newWire(t *testing.T) *wire {
	w := &wire{t: t, conns: make(chan *websocket.Conn, 10), acks: make(chan frame, 1000), pongs: make(chan string, 10), gone: make(chan error, 10), said: make(chan string, 10), count: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/api/apps.connections.open", func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer xapp-test" {
			_, _ = fmt.Fprint(rw, `{"ok":false,"error":"invalid_auth"}`)
			return
		}
		_, _ = fmt.Fprintf(rw, `{"ok":true,"url":"ws%s/socket"}`, strings.TrimPrefix(w.url, "http"))
	})
	mux.HandleFunc("/api/conversations.info", func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(rw, `{"ok":true,"channel":{"id":"C0000000001","is_member":true}}`)
	})
	mux.HandleFunc("/api/views.open", func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(rw, `{"ok":true,"view":{"id":"V1"}}`)
	})
	mux.HandleFunc("/respond", func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body) // a test looks at what there is
		w.said <- string(b)
	})
	mux.HandleFunc("/socket", w.serve)
	mux.HandleFunc("/api/auth.test", func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(rw, `{"ok":true,"user_id":"`+botUser+`","bot_id":"B0000000BOT"}`)
	})
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.count[path.Base(r.URL.Path)]++
		w.mu.Unlock()
		mux.ServeHTTP(rw, r)
	}))
	w.url = srv.URL
	t.Cleanup(srv.Close)
	return w
}

func (w *wire) serve(rw http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	conn, err := up.Upgrade(rw, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	conn.SetPongHandler(func(s string) error { w.pongs <- s; return nil })
	w.conns <- conn
	for {
		var e frame
		if err := conn.ReadJSON(&e); err != nil {
			w.gone <- err
			return
		}
		w.acks <- e
	}
}

// connect starts a bot that listens on the wire.
func (w *wire) connect(s store.Store) (*websocket.Conn, *Doors, *logbook) {
	w.t.Helper()
	d, book := w.doors(s)
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- d.RunSocket(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("RunSocket: %v", err)
		}
		d.Chat.Close()
	})
	return w.next(), d, book
}

func (w *wire) doors(s store.Store) (*Doors, *logbook) {
	w.t.Helper()
	book := &logbook{}
	chat, err := NewChat(Options{BotToken: "xoxb-test", AppToken: "xapp-test", APIURL: w.url + "/api/"})
	check(w.t, err)
	b := bot.New(bot.Bot{Policy: policy.Default(), Store: s, Chat: chat})
	d, err := New(Doors{Bot: b, Chat: chat, Log: book.logger()})
	check(w.t, err)
	d.patience = time.Minute // however slow the machine is that the test runs on
	return d, book
}

func (w *wire) next() *websocket.Conn {
	w.t.Helper()
	select {
	case c := <-w.conns:
		return c
	case <-time.After(10 * time.Second):
		w.t.Fatal("nobody connected")
		return nil
	}
}

func (w *wire) ack() frame {
	w.t.Helper()
	select {
	case a := <-w.acks:
		return a
	case <-time.After(10 * time.Second):
		w.t.Fatal("nothing was acknowledged")
		return frame{}
	}
}

func commandFrame(id, text string) map[string]any {
	return map[string]any{"envelope_id": id, "type": "slash_commands", "accepts_response_payload": true, "payload": map[string]any{
		"command": "/rehome", "text": text, "user_id": alice, "channel_id": triage, "trigger_id": id, "team_id": "T1",
	}}
}

var hello = map[string]any{"type": "hello", "num_connections": 1, "connection_info": map[string]any{"app_id": "A1"}}

func TestWhatSlackGoCannotReadIsAcknowledgedAllTheSame(t *testing.T) {
	w := newWire(t)
	mem := store.NewMem()
	aside := &shelved{mem, make(chan string, 10)}
	conn, _, book := w.connect(aside)
	for id, frame := range map[string]string{
		"e1": `{"envelope_id":"e1","type":"events_api","payload":{"type":"event_callback","event":{"type":"brand_new_event","text":"hunter2"}}}`,
		"e2": `{"envelope_id":"e2","type":"brand_new_type","payload":{"text":"hunter2"}}`,
		"e3": `{"envelope_id":"e3","type":"events_api","payload":"hunter2"}`,
		"e4": `{"envelope_id":"e4","type":"interactive","payload":{"type":"block_actions","user":{"id":"nobody"},"message":{"text":"hunter2"}}}`,
		"e5": `{"envelope_id":"e5","type":"events_api","payload":{"type":"event_callback","event":{"type":"message","channel":"C1","user":"U1","ts":"1.1","text":"hunter2","blocks":[{"type":"actions","elements":[{"type":"brand_new_element"}]}]}}}`,
	} {
		check(t, conn.WriteMessage(websocket.TextMessage, []byte(frame)))
		if a := w.ack(); a.ID != id {
			t.Errorf("%s: acknowledged %q", frame, a.ID)
		}
	}
	check(t, conn.WriteMessage(websocket.TextMessage, []byte(`{"no":"envelope"}`)))
	check(t, conn.WriteJSON(commandFrame("e6", "help")))
	if a := w.ack(); a.ID != "e6" || !strings.Contains(string(a.Payload), "What I do") {
		t.Errorf("acknowledged %q %s", a.ID, a.Payload)
	}
	if strings.Contains(book.String(), "hunter2") {
		t.Errorf("the log quotes a message:\n%s", book)
	}
	var from []string // in any order: one worker may be quicker than another
	for range 4 {
		select {
		case source := <-aside.kept:
			from = append(from, source)
		case <-time.After(10 * time.Second):
			t.Fatalf("only %q is kept aside", from)
		}
	}
	slices.Sort(from)
	if diff := cmp.Diff([]string{"slack socket brand_new_type", "slack socket events_api", "slack socket frame", "slack socket interactive"}, from); diff != "" {
		t.Errorf("kept aside (-want +got):\n%s", diff)
	}
}

// shelved is a store that says what it has kept aside.
type shelved struct {
	store.Store
	kept chan string
}

func (s *shelved) ApplyAll(ctx context.Context, b store.Batch) ([]store.Applied, error) {
	got, err := s.Store.ApplyAll(ctx, b)
	if err == nil {
		for _, q := range b.Quarantine {
			s.kept <- q.Source
		}
	}
	return got, err
}

func TestWhatIsKeptAsideOpensNoDoors(t *testing.T) {
	mem := store.NewMem()
	d, book := newWire(t).doors(mem)
	defer d.Chat.Close()
	raw := []byte(`{"type":"brand_new","token":"canary1","response_url":"https://hooks.slack.com/actions/canary2","nested":[{"trigger_id":"canary3",
		"text":"see https://hooks.slack.com/actions/canary2 password: canary4, and xoxb-canary5-1234567 -----BEGIN RSA PRIVATE KEY-----\ncanary6\n-----END RSA PRIVATE KEY----- the end",
		"clientSecret":"canary7","jwt":"eyJhbGciOiJSUzI1.canary8.x"}],"what":"a new kind"}`)
	for range 3 { // however often it is delivered
		check(t, d.keepAside(t.Context(), "socket", "interactive", raw))
	}
	check(t, d.keepAside(t.Context(), "socket", "frame", []byte("no JSON, private_key=canary9 and more")))
	kept, err := mem.Quarantined(t.Context())
	check(t, err)
	if len(kept) != 2 {
		t.Fatalf("%d are kept, want each once: 2", len(kept))
	}
	all := string(kept[0].Body) + string(kept[1].Body) + book.String()
	if strings.Contains(all, "canary") {
		t.Errorf("what must not be kept is: %s", all)
	}
	for _, want := range []string{"a new kind", "the end", "no JSON", "and more"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is lost: %s", want, all)
		}
	}
}

func TestAShortcutOnAMessageWithBlocksNobodyKnowsStillWorks(t *testing.T) {
	w := newWire(t)
	mem := store.NewMem()
	conn, _, _ := w.connect(mem)
	check(t, conn.WriteJSON(map[string]any{"envelope_id": "e1", "type": "interactive", "payload": map[string]any{
		"type": "message_action", "callback_id": MessageShortcut, "trigger_id": "1", "user": map[string]any{"id": alice}, "channel": map[string]any{"id": triage},
		"message": map[string]any{"ts": "1.1", "text": "", "blocks": []any{
			map[string]any{"type": "actions", "elements": []any{map[string]any{"type": "brand_new_element"}}},
			map[string]any{"type": "brand_new_block", "text": map[string]any{"type": "mrkdwn", "text": title}},
		}},
	}}))
	if a := w.ack(); a.ID != "e1" {
		t.Errorf("acknowledged %+v", a)
	}
	c, err := mem.Get(t.Context(), "RH-1")
	if err != nil || c.Facts.Value(policy.Violated) != title {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestHelloIsNotAcknowledged(t *testing.T) {
	w := newWire(t)
	conn, d, _ := w.connect(store.NewMem())
	check(t, conn.WriteJSON(hello))
	check(t, conn.WriteJSON(commandFrame("e1", "help")))
	if a := w.ack(); a.ID != "e1" {
		t.Errorf("acknowledged %+v first", a)
	}
	if d.SocketState().Up == 0 {
		t.Error("it does not know that it is connected")
	}
}

// A slow store holds every command until it is let go.
type slow struct {
	store.Store
	gate chan struct{}
}

func (s *slow) Apply(ctx context.Context, in store.Input) (store.Applied, error) {
	select {
	case <-s.gate:
	case <-ctx.Done():
	}
	return s.Store.Apply(ctx, in)
}

func (s *slow) ApplyAll(ctx context.Context, b store.Batch) ([]store.Applied, error) {
	select {
	case <-s.gate:
	case <-ctx.Done():
	}
	return s.Store.ApplyAll(ctx, b)
}

func TestTheSocketIsReadWhileTheStoreIsSlow(t *testing.T) {
	w := newWire(t)
	s := &slow{store.NewMem(), make(chan struct{})}
	conn, _, _ := w.connect(s)
	const many = 200 // more than slack-go's own queue (50) and our workers together
	for i := range many {
		check(t, conn.WriteJSON(commandFrame(fmt.Sprint("e", i), title)))
	}
	check(t, conn.WriteControl(websocket.PingMessage, []byte("alive?"), time.Now().Add(time.Second)))
	select {
	case <-w.pongs:
	case <-time.After(10 * time.Second):
		t.Fatal("the reader is stuck: pings go unanswered, and Slack would give the connection up")
	}
	close(s.gate)
	for range many {
		w.ack()
	}
}

func TestAHugeFrameEndsTheConnectionAndNotTheBot(t *testing.T) {
	w := newWire(t)
	conn, _, _ := w.connect(store.NewMem())
	_ = conn.WriteMessage(websocket.TextMessage, []byte(`{"envelope_id":"e1","type":"events_api","payload":{"x":"`+strings.Repeat("x", 2*maxBody)+`"}}`))
	conn = w.next()
	check(t, conn.WriteJSON(commandFrame("e2", "help")))
	if a := w.ack(); a.ID != "e2" {
		t.Errorf("acknowledged %+v", a)
	}
}

func TestLargeAcknowledgementsAreMadeToFit(t *testing.T) {
	var p page
	for range 45 {
		p.say(words(strings.Repeat("0123456789 ", 90)))
	}
	for name, a := range map[string]ack{"many blocks": ephemeral(&p), "a long text": {ResponseType: "ephemeral", Text: strings.Repeat("界", 30<<10)}} {
		b, err := json.Marshal(small(a))
		check(t, err)
		if len(b) > maxAck || len(b) < 2000 {
			t.Errorf("%s: %d bytes", name, len(b))
		}
	}
	if a := small(ephemeral(say("hello"))).(ack); a.Blocks == nil {
		t.Error("a small one loses its blocks")
	}
}

func TestALongListComesThroughTheSocket(t *testing.T) {
	w := newWire(t)
	mem := store.NewMem()
	conn, d, _ := w.connect(mem)
	for i := range listLength {
		_, err := d.Bot.Open(t.Context(), fmt.Sprint("k", i), "", conversation.Opened{
			By: conversation.Person{ID: alice}, In: conversation.Place{Channel: triage}, Violation: policy.Violation{Title: strings.Repeat("&", 300), App: policy.App{DisplayName: strings.Repeat("<", 300)}}})
		check(t, err)
	}
	check(t, conn.WriteJSON(commandFrame("e1", "list")))
	if a := w.ack(); a.ID != "e1" || !strings.Contains(string(a.Payload), "RH-15") {
		t.Errorf("acknowledged %+v", a)
	}
}

func TestAWrongAppTokenEndsTheSocketAndSaysWhatToDo(t *testing.T) {
	w := newWire(t)
	d, _ := w.doors(store.NewMem())
	d.Chat.appToken = "xapp-wrong"
	err := d.RunSocket(t.Context())
	if err == nil || !strings.Contains(err.Error(), "SLACK_APP_TOKEN") || !strings.Contains(err.Error(), "invalid_auth") || strings.Contains(err.Error(), "xapp-wrong") {
		t.Errorf("got %v", err)
	}
	d.Chat.appToken = ""
	if err := d.RunSocket(t.Context()); err == nil || !strings.Contains(err.Error(), "SLACK_APP_TOKEN") {
		t.Errorf("got %v", err)
	}
	d.Chat.Close()
}

// brokenStore fails as it is told to.
type brokenStore struct {
	store.Store
	apply func() error
}

func (b *brokenStore) Apply(ctx context.Context, in store.Input) (store.Applied, error) {
	if err := b.apply(); err != nil {
		return store.Applied{}, err
	}
	return b.Store.Apply(ctx, in)
}

func (b *brokenStore) ApplyAll(ctx context.Context, all store.Batch) ([]store.Applied, error) {
	if err := b.apply(); err != nil {
		return nil, err
	}
	return b.Store.ApplyAll(ctx, all)
}

func TestAStoreThatCannotJustNow(t *testing.T) {
	for _, c := range []struct {
		name string
		fail func() error
	}{{"says so", func() error { return errors.New("disk full") }}, {"panics", func() error { panic("a bug") }}} {
		t.Run(c.name, func(t *testing.T) {
			for _, door := range []string{"socket", "http"} {
				t.Run(door, func(t *testing.T) {
					var mu sync.Mutex
					failing := true
					d := sit(t, set{door: door, store: func(s store.Store) store.Store {
						return &brokenStore{s, func() error {
							mu.Lock()
							defer mu.Unlock()
							if failing {
								return c.fail()
							}
							return nil
						}}
					}})
					check(t, d.Command(alice, triage, "/rehome", title))
					d.told(alice, "I can't promise that it was written down")
					check(t, d.Command(alice, triage, "/rehome", ""))
					if err := d.SubmitView(alice, map[string]string{"Violation": title}); err == nil || !strings.Contains(err.Error(), "Please send it again") {
						t.Errorf("got %v", err)
					}
					mu.Lock()
					failing = false
					mu.Unlock()
					check(t, d.SubmitView(alice, map[string]string{"Violation": title}))
					d.find(triage, "*RH-1 · ")
					d.settle()
				})
			}
		})
	}
}

func TestAnEventThatWasNotWrittenDownIsNotAcknowledged(t *testing.T) {
	w := newWire(t)
	var mu sync.Mutex
	failing := true
	conn, _, _ := w.connect(&brokenStore{store.NewMem(), func() error {
		mu.Lock()
		defer mu.Unlock()
		if failing {
			return errors.New("disk full")
		}
		return nil
	}})
	mention := func(id string) map[string]any {
		return map[string]any{"envelope_id": id, "type": "events_api", "payload": map[string]any{"type": "event_callback", "event_id": "Ev1",
			"authorizations": []any{map[string]any{"user_id": botUser, "is_bot": true}},
			"event":          map[string]any{"type": "app_mention", "user": alice, "channel": triage, "ts": "1.1", "text": "<@" + botUser + "> " + title}}}
	}
	check(t, conn.WriteJSON(mention("e1")))
	check(t, conn.WriteJSON(commandFrame("e2", title))) // is answered after it: the first was given up by then
	if a := w.ack(); a.ID != "e2" {
		t.Fatalf("acknowledged %+v", a)
	}
	mu.Lock()
	failing = false
	mu.Unlock()
	for _, id := range []string{"e3", "e4", "e5"} { // time enough for e1 to be acknowledged after all
		check(t, conn.WriteJSON(mention(id)))
		if a := w.ack(); a.ID != id {
			t.Errorf("acknowledged %+v", a)
		}
	}

	d := sit(t, set{door: "http", store: func(s store.Store) store.Store {
		return &brokenStore{s, func() error { return errors.New("disk full") }}
	}})
	b, err := json.Marshal(mention("")["payload"])
	check(t, err)
	if r := d.ask(signed("/slack/events", typeJSON, string(b))); r.Code != 503 || r.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v", r.Code, r.Header())
	}
}

func TestABotThatTakesTooLongSaysSoInTime(t *testing.T) {
	d := sit(t, set{door: "socket", store: func(s store.Store) store.Store { return &slow{s, make(chan struct{})} }, doors: func(d *Doors) { d.patience = 20 * time.Millisecond }})
	check(t, d.Command(alice, triage, "/rehome", title))
	d.told(alice, "I can't promise that it was written down")
}
