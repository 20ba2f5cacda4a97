package slackapp

import (
	"context"
	"flag"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rehome/bot"
	"rehome/bot/sandbox"
	"rehome/conversation"
	"rehome/policy"
	"rehome/store"
)

var update = flag.Bool("update", false, "write testdata/*.golden anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// People and places of the workspace all tests happen in.
const (
	alice   = "U0000000001"
	bob     = "U0000000002"
	triage  = "C0000000001" // the bot is in it
	random  = "C0000000002" // the bot is not
	secret  = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
	title   = "AAD Entra Apps in Prod Tenants using certificates in Non-Prod Tenant"
	botUser = "U0000000BOT"
)

// A desk is a bot at work in a workspace: the sandbox on one side, an in-memory
// store on the other, and our real doors and chat between them.
type desk struct {
	*sandbox.Workspace
	t     *testing.T
	doors *Doors
	chat  *Chat
	bot   *bot.Bot
	store *watched
	log   *logbook
	door  string
	url   string // of our HTTP door
}

// A set changes a desk before it opens.
type set struct {
	door   string // socket or http
	config func(*sandbox.Config)
	store  func(store.Store) store.Store
	doors  func(*Doors)
	bot    func(*bot.Bot)
}

func sit(t *testing.T, s set) *desk {
	t.Helper()
	cfg := sandbox.Config{
		Strict:   true,
		Users:    []sandbox.User{{ID: alice, Name: "alice", RealName: "Alice Rivera", Email: "alice@contoso.example"}, {ID: bob, Name: "bob", RealName: "Bob Okafor", Email: "bob@contoso.example"}},
		Channels: []sandbox.Channel{{ID: triage, Name: "triage", BotMember: true}, {ID: random, Name: "random"}},
		App: sandbox.App{
			Name: "rehome", BotToken: "xoxb-test", AppToken: "xapp-test", SigningSecret: secret, SocketMode: s.door != "http",
			Commands: []sandbox.Command{{Name: CommandName, ShouldEscape: true}}, Events: Events, Scopes: slices.Sorted(maps.Keys(Scopes)),
			Shortcuts: []sandbox.Shortcut{{CallbackID: MessageShortcut, Name: "Triage with Rehome", Type: "message"}, {CallbackID: GlobalShortcut, Name: "Start a rehoming", Type: "global"}},
		},
	}
	if s.config != nil {
		s.config(&cfg)
	}
	w, err := sandbox.New(cfg)
	check(t, err)
	slackSide := httptest.NewServer(w)
	w.SetBaseURL(slackSide.URL)
	var mem store.Store = store.NewMem()
	if s.store != nil {
		mem = s.store(mem)
	}
	d := &desk{Workspace: w, t: t, log: &logbook{}, store: watch(mem), door: s.door}
	log := d.log.logger()
	d.chat, err = NewChat(Options{BotToken: "xoxb-test", AppToken: "xapp-test", APIURL: slackSide.URL + "/api", Unlimited: true, Log: log})
	check(t, err)
	began := time.Now() // the bot lives in May 2026, when its policy was fresh
	works := bot.Bot{Policy: policy.Default(), Store: d.store, Chat: d.chat, People: d.chat, Log: log, Unlimited: true,
		Now: func() time.Time { return may.Add(time.Since(began)) }, Manners: bot.Manners{Window: time.Millisecond, Quiet: bot.Quiet{Off: true}}}
	if s.bot != nil {
		s.bot(&works)
	}
	d.bot = bot.New(works)
	doors := Doors{Bot: d.bot, Chat: d.chat, SigningSecrets: []string{secret}, Log: log,
		patience: time.Minute} // however slow the machine is that the test runs on
	if s.doors != nil {
		s.doors(&doors)
	}
	d.doors, err = New(doors)
	check(t, err)

	ours := httptest.NewServer(d.doors.Handler())
	d.url = ours.URL
	w.SetRequestURLs(ours.URL+"/slack/events", ours.URL+"/slack/commands", ours.URL+"/slack/interactions")
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := d.bot.Run(ctx); err != nil {
			t.Errorf("bot.Run: %v", err)
		}
	})
	running.Go(func() { d.doors.RunHomes(ctx) })
	if s.door == "socket" {
		running.Go(func() {
			if err := d.doors.RunSocket(ctx); err != nil {
				t.Errorf("RunSocket: %v", err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		running.Wait()
		ours.Close()
		w.Close()
		slackSide.Close()
		d.chat.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	if s.door == "socket" {
		d.await("the socket connects", func() bool { return d.Sockets() > 0 })
	}
	return d
}

// everyDoor runs a story through each door.
func everyDoor(t *testing.T, story func(t *testing.T, d *desk)) {
	for _, door := range []string{"socket", "http"} {
		t.Run(door, func(t *testing.T) { story(t, sit(t, set{door: door})) })
	}
}

// await waits until something is to be seen in the workspace.
func (d *desk) await(what string, condition func() bool) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 10*time.Second)
	defer cancel()
	if err := d.Await(ctx, condition); err != nil {
		d.t.Fatalf("%s: %v\nlog:\n%s", what, err, d.log)
	}
}

// find waits for a message in a channel, in or out of threads, whose text holds words.
func (d *desk) find(channel, words string) sandbox.Message {
	d.t.Helper()
	var found sandbox.Message
	d.await("a message with "+words, func() bool {
		for _, m := range d.AllMessages() {
			if m.Channel == channel && strings.Contains(m.Text, words) {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// told waits for an ephemeral message to somebody.
func (d *desk) told(user, words string) sandbox.Message {
	d.t.Helper()
	var found sandbox.Message
	d.await("an ephemeral message with "+words, func() bool {
		for _, m := range d.Ephemerals(user) {
			if strings.Contains(m.Text, words) {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// settle waits until nothing more is to be delivered.
func (d *desk) settle() {
	d.t.Helper()
	d.rest(func(left []store.Delivery) bool { return len(left) == 0 })
}

// rest waits until what is left to be delivered is as it should be. What is
// looked up again hours later does not count.
func (d *desk) rest(ok func(left []store.Delivery) bool) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 10*time.Second)
	defer cancel()
	for {
		changed := d.store.changed()
		left, err := d.store.Outbox(ctx, false)
		check(d.t, err)
		left = slices.DeleteFunc(left, func(w store.Delivery) bool { return w.Effect == conversation.Lookup{Late: true} })
		if ok(left) {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			d.t.Fatalf("still to be delivered: %+v\n%s", left, d.log)
		}
	}
}

// watched is a store that says when a delivery was settled.
type watched struct {
	store.Store
	mu   sync.Mutex
	next chan struct{}
}

func watch(s store.Store) *watched { return &watched{Store: s, next: make(chan struct{})} }

// changed is closed when the next delivery is settled.
func (w *watched) changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.next
}

func (w *watched) Settle(ctx context.Context, all ...store.Settled) error {
	err := w.Store.Settle(ctx, all...)
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.next)
	w.next = make(chan struct{})
	return err
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (l *logbook) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// A logbook keeps what was logged.
type logbook struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
