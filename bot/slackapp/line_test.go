package slackapp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"rehome/bot"
	"rehome/bot/sandbox"
	"rehome/policy"
	"rehome/store"
)

// A bubble is a bot behind Socket Mode and a workspace, on virtual time.
type bubble struct {
	*sandbox.Workspace
	t     *testing.T
	doors *Doors
	store *store.Mem
	log   *logbook
	opens *times // of apps.connections.open
	ended chan error
	stop  func()
}

// times are when something happened.
type times struct {
	mu  sync.Mutex
	all []time.Time
}

func (c *times) note() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, time.Now())
}

func (c *times) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.all)
}

// inABubble must be called in a synctest bubble, and its stop before that ends.
func inABubble(t *testing.T, count int, change func(*sandbox.Config)) *bubble {
	t.Helper()
	b := &bubble{t: t, store: store.NewMem(), log: &logbook{}, opens: &times{}, ended: make(chan error, 1)}
	cfg := sandbox.Config{
		Users:    []sandbox.User{{ID: alice, Name: "alice"}},
		Channels: []sandbox.Channel{{ID: triage, Name: "triage", BotMember: true}},
		App: sandbox.App{Name: "rehome", BotToken: "xoxb-test", AppToken: "xapp-test", SocketMode: true, Events: Events,
			Commands: []sandbox.Command{{Name: CommandName}}, Scopes: []string{"commands", "chat:write", "channels:read", "app_mentions:read", "channels:history"}},
	}
	if change != nil {
		change(&cfg)
	}
	fault := cfg.Fault
	cfg.Fault = func(method string, n int) sandbox.Fault {
		if method == "apps.connections.open" {
			b.opens.note()
		}
		if fault == nil {
			return sandbox.Fault{}
		}
		return fault(method, n)
	}
	var err error
	b.Workspace, err = sandbox.New(cfg)
	check(t, err)
	pipe := sandbox.NewPipe()
	srv := &http.Server{Handler: b.Workspace}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := srv.Serve(pipe); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}()
	chat, err := NewChat(Options{BotToken: "xoxb-test", AppToken: "xapp-test", APIURL: "http://sandbox.invalid/api/", DialContext: pipe.DialContext})
	check(t, err)
	works := bot.New(bot.Bot{Policy: policy.Default(), Store: b.store, Chat: chat})
	b.doors, err = New(Doors{Bot: works, Chat: chat, Sockets: count, Log: b.log.logger()})
	check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { b.ended <- b.doors.RunSocket(ctx) }()
	b.stop = func() {
		cancel()
		if err := <-b.ended; err != nil {
			t.Errorf("RunSocket: %v", err)
		}
		chat.Close()
		b.Close()
		_ = srv.Close()
		_ = pipe.Close()
		<-served
	}
	return b
}

// The second connection is opened some time after the first, and stays at a
// distance when both were lost at once, so that Slack does not end both together.
func TestTwoSocketsAreOpenedApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := inABubble(t, 2, nil)
		defer b.stop()
		sockets := func(want int) {
			t.Helper()
			synctest.Wait()
			if got := b.Sockets(); got != want || b.doors.SocketState().Up != want {
				t.Errorf("%d sockets are open, and the bot knows of %d; want %d", got, b.doors.SocketState().Up, want)
			}
		}
		time.Sleep(time.Second)
		sockets(1)
		time.Sleep(apart - 2*time.Second)
		sockets(1)
		time.Sleep(2 * time.Second)
		sockets(2)
		time.Sleep(time.Hour)
		sockets(2)
		b.Disconnect("") // both break off
		sockets(0)
		time.Sleep(10 * time.Second)
		sockets(1)
		time.Sleep(apart)
		sockets(2)
	})
}

// Slack ends every connection every twenty minutes, and somebody types a command
// every seven seconds for two hours: not one goes unanswered, although commands
// are not delivered again. It holds for one connection as well, since the old one
// is read until it ends.
func TestAConnectionThatIsRefreshedLosesNothing(t *testing.T) {
	for _, count := range []int{1, 2} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := inABubble(t, count, func(c *sandbox.Config) { c.RefreshEvery = 20 * time.Minute })
				defer b.stop()
				time.Sleep(time.Second)
				for began := time.Now(); time.Since(began) < 2*time.Hour; time.Sleep(7 * time.Second) {
					if err := b.Command(alice, triage, CommandName, "help"); err != nil {
						t.Errorf("after %s: %v", time.Since(began), err)
					}
				}
				if n := b.opens.count(); n < 6*count || n > 7*count {
					t.Errorf("%d connections were opened in two hours", n)
				}
				if log := b.log.String(); strings.Contains(log, "WARN") {
					t.Errorf("what is usual is a warning:\n%s", log)
				}
			})
		})
	}
}

// One of two sockets breaks off without a word, again and again; what was on its
// way over it comes again over the other, and has one effect.
func TestAnEventWhoseSocketIsLostComesOverTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := inABubble(t, 2, nil)
		defer b.stop()
		time.Sleep(2 * apart)
		for i := range 20 {
			if _, err := b.Say(alice, triage, "", "@rehome "+title+" "+fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
			if i%3 == 0 {
				b.Disconnect("")
			}
			time.Sleep(10 * time.Minute)
		}
		if _, err := b.store.Get(t.Context(), "RH-20"); err != nil {
			t.Errorf("a mention is lost: %v", err)
		}
		if _, err := b.store.Get(t.Context(), "RH-21"); err == nil {
			t.Error("a mention has two effects")
		}
	})
}

// A Slack that ends each connection as soon as it is made is not stormed, its
// reason is said once, and it is well again when Slack is.
func TestAFlappingSlackIsNotStormed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		flapping := true
		b := inABubble(t, 2, func(c *sandbox.Config) {
			c.Fault = func(method string, _ int) sandbox.Fault {
				mu.Lock()
				defer mu.Unlock()
				if method == "socket.connect" && flapping {
					return sandbox.Fault{Kind: sandbox.Flap}
				}
				return sandbox.Fault{}
			}
		})
		defer b.stop()
		time.Sleep(time.Minute)
		if n := b.opens.count(); n < 4 || n > 10 {
			t.Errorf("apps.connections.open was called %d times in the first minute", n)
		}
		time.Sleep(time.Hour)
		if n := b.opens.count(); n > 200 {
			t.Errorf("apps.connections.open was called %d times in an hour", n)
		}
		gaps := map[time.Duration]bool{}
		b.opens.mu.Lock()
		for i, at := range b.opens.all[1:] {
			gaps[at.Sub(b.opens.all[i])] = true
		}
		b.opens.mu.Unlock()
		if len(gaps) < 10 {
			t.Errorf("attempts come like clockwork, so that all bots would come at once: %v", gaps)
		}
		if got := b.doors.SocketState(); got.Code != "link_disabled" || !strings.Contains(SocketFix(got), "switch it on") {
			t.Errorf("the state is %+v: %s", got, SocketFix(got))
		}
		if log := b.log.String(); strings.Count(log, "link_disabled") != 1 || strings.Count(log, "level=INFO") > 2 {
			t.Errorf("it is said more than once:\n%s", log)
		}
		mu.Lock()
		flapping = false
		mu.Unlock()
		time.Sleep(2*pauseMost + steady)
		if got := b.doors.SocketState(); got.Code != "" || got.Up == 0 {
			t.Errorf("Socket Mode is on again and the state is %+v", got)
		}
		if log := b.log.String(); strings.Count(log, "connected to Slack by Socket Mode again") != 1 {
			t.Errorf("that is not said:\n%s", log)
		}
	})
}

// Slack's silence is taken for a broken connection.
func TestASocketWithoutPingsIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first sync.Once
		b := inABubble(t, 1, func(c *sandbox.Config) {
			c.Fault = func(method string, _ int) (f sandbox.Fault) {
				if method == "socket.connect" {
					first.Do(func() { f.Kind = sandbox.NoPing })
				}
				return f
			}
		})
		defer b.stop()
		time.Sleep(silence - time.Second)
		if n := b.opens.count(); n != 1 {
			t.Errorf("%d connections were opened while the first was fresh", n)
		}
		time.Sleep(10 * time.Second)
		if n := b.opens.count(); n != 2 || b.doors.SocketState().Up == 0 {
			t.Errorf("%d connections were opened after a silence", n)
		}
		time.Sleep(10 * time.Minute)
		if n := b.opens.count(); n != 2 {
			t.Errorf("%d connections were opened, although the second has pings", n)
		}
	})
}

// Over a connection that is told to go, what still comes is taken in and
// acknowledged, beside the connection that came in its place.
func TestAConnectionIsReadAfterItsWarning(t *testing.T) {
	w := newWire(t)
	conn, _, _ := w.connect(store.NewMem())
	check(t, conn.WriteJSON(hello))
	check(t, conn.WriteJSON(map[string]any{"type": "disconnect", "reason": "warning"}))
	next := w.next()
	check(t, next.WriteJSON(hello))
	for i, over := range []*websocket.Conn{conn, next, conn} {
		id := fmt.Sprint("e", i)
		check(t, over.WriteJSON(commandFrame(id, "help")))
		if a := w.ack(); a.ID != id {
			t.Errorf("acknowledged %+v, want only %s: neither hello nor disconnect is a delivery", a, id)
		}
	}
}

// What was read before the end is taken in and acknowledged, and then the
// connection is closed as it should be.
func TestTheEndTakesInWhatWasReadAndSaysGoodbye(t *testing.T) {
	w := newWire(t)
	s := &slow{store.NewMem(), make(chan struct{})}
	d, _ := w.doors(s)
	defer d.Chat.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.RunSocket(ctx) }()
	conn := w.next()
	check(t, conn.WriteJSON(commandFrame("e1", title)))
	check(t, conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second)))
	<-w.pongs // e1 was read
	cancel()
	close(s.gate)
	if a := w.ack(); a.ID != "e1" || !strings.Contains(string(a.Payload), "RH-1") {
		t.Errorf("acknowledged %+v", a)
	}
	check(t, <-ended)
	if err := <-w.gone; !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		t.Errorf("it is closed with %v", err)
	}
}

// An acknowledgement for which there is no connection any more does not wait, and
// whoever typed the command is answered all the same.
func TestACommandWhoseConnectionBreaksIsAnsweredAllTheSame(t *testing.T) {
	w := newWire(t)
	s := &slow{store.NewMem(), make(chan struct{})}
	conn, _, _ := w.connect(s)
	f := commandFrame("e1", title)
	f["payload"].(map[string]any)["response_url"] = w.url + "/respond"
	check(t, conn.WriteJSON(f))
	check(t, conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second)))
	<-w.pongs
	check(t, conn.NetConn().Close())
	w.next() // it noticed
	close(s.gate)
	select {
	case said := <-w.said:
		if !strings.Contains(said, "RH-1") {
			t.Errorf("it says %s", said)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nobody is answered")
	}
}

// A token that is refused from the start ends the socket; one that was good is
// tried again, and what is wrong shows meanwhile.
func TestATokenThatIsRevokedLaterDoesNotEndTheBot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := inABubble(t, 1, nil)
		defer b.stop()
		time.Sleep(time.Minute)
		b.Reinstall(func(a *sandbox.App) { a.AppTokenError = "token_revoked" })
		b.Disconnect("refresh_requested")
		time.Sleep(time.Hour)
		got := b.doors.SocketState()
		if got.Up != 0 || got.Code != "token_revoked" || !strings.Contains(SocketFix(got), "SLACK_APP_TOKEN") {
			t.Errorf("the state is %+v", got)
		}
		if n := b.opens.count(); n < 10 || n > 70 {
			t.Errorf("it was tried %d times in an hour", n)
		}
		if log := b.log.String(); strings.Count(log, "token_revoked") != 1 {
			t.Errorf("it is said more than once:\n%s", log)
		}
		b.Reinstall(func(a *sandbox.App) { a.AppTokenError = "" })
		time.Sleep(2 * misconfigured)
		if got := b.doors.SocketState(); got.Up != 1 || got.Code != "" {
			t.Errorf("the token is good again and the state is %+v", got)
		}
	})
}

func TestPausesGrowAndDiffer(t *testing.T) {
	for failures, least := range map[int]time.Duration{1: 750 * time.Millisecond, 4: 6 * time.Second, 60: pauseMost * 3 / 4} {
		var seen []time.Duration
		for range 50 {
			p := pauseAfter(failures)
			if p < least || p > least*5/3 {
				t.Errorf("after %d failures: %s", failures, p)
			}
			seen = append(seen, p)
		}
		slices.Sort(seen)
		if len(slices.Compact(seen)) < 10 {
			t.Errorf("after %d failures all pauses are alike", failures)
		}
	}
}
