package slackapp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rehome/bot"
	"rehome/bot/sandbox"
	"rehome/conversation"
	"rehome/policy"
	"rehome/store"
	"rehome/store/bolt"
)

// A world is a bot with a real store and the real client in a synctest bubble,
// with a workspace that can be hostile and a process that can be killed.
type world struct {
	*sandbox.Workspace
	t      *testing.T
	path   string
	pipe   *sandbox.Pipe
	set    func(*bot.Bot)
	log    *logbook
	bot    *bot.Bot
	chat   *Chat
	file   *bolt.Store
	store  *mortal
	stop   context.CancelFunc
	ended  chan error
	opened int
}

// A mortal store stops taking anything the moment its process dies: after so many
// more writes about deliveries, each of which may come right after a message was
// sent.
type mortal struct {
	store.Store
	doomed atomic.Bool
	left   atomic.Int64 // once doomed
}

func (m *mortal) dead() bool { return m.doomed.Load() && m.left.Add(-1) < 0 }

func (m *mortal) Begin(ctx context.Context, d store.Delivery, at time.Time) error {
	if m.dead() {
		return store.ErrUncertain
	}
	return m.Store.Begin(ctx, d, at)
}

func (m *mortal) Settle(ctx context.Context, all ...store.Settled) error {
	if m.dead() {
		return store.ErrUncertain
	}
	return m.Store.Settle(ctx, all...)
}

// inWorld runs a story with the bot up, among four people in three channels.
func inWorld(t *testing.T, fault func(method string, n int) sandbox.Fault, set func(*bot.Bot), story func(w *world)) {
	t.Helper()
	inWorkspace(t, sandbox.Config{
		Fault: fault,
		Users: []sandbox.User{
			{ID: alice, Name: "alice", Email: "alice@contoso.example", TZ: zones[alice]}, {ID: bob, Name: "bob", Email: "bob@contoso.example", TZ: zones[bob]},
			{ID: carol, Name: "carol", Email: "carol@contoso.example", TZ: zones[carol]}, {ID: dana, Name: "dana", Email: "dana@contoso.example", TZ: zones[dana]},
		},
		Channels: []sandbox.Channel{{ID: triage, Name: "triage", BotMember: true}, {ID: security, Name: "security", BotMember: true}, {ID: random, Name: "random", BotMember: true}},
	}, filepath.Join(t.TempDir(), "rehome.db"), set, story)
}

// inWorkspace runs a story with the bot up, in a workspace that is strict and
// keeps Slack's limits, on the store in a file.
func inWorkspace(t *testing.T, c sandbox.Config, file string, set func(*bot.Bot), story func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		<-time.After(time.Until(time.Date(2000, 1, 4, 10, 0, 0, 0, time.UTC))) // a Tuesday
		c.Strict, c.RateLimits = true, true
		c.App = sandbox.App{BotToken: "xoxb-test", Scopes: slices.Sorted(maps.Keys(Scopes))}
		ws, err := sandbox.New(c)
		check(t, err)
		w := &world{Workspace: ws, t: t, path: file, pipe: sandbox.NewPipe(), set: set, log: &logbook{}}
		srv := &http.Server{Handler: ws} //nolint:gosec // in memory
		go func() { _ = srv.Serve(w.pipe) }()
		w.boot()
		defer func() {
			w.down()
			ws.Close()
			_ = srv.Close()
		}()
		story(w)
	})
}

// boot starts a process on the file.
func (w *world) boot() {
	w.t.Helper()
	var err error
	w.file, err = bolt.Open(w.path, bolt.Options{})
	check(w.t, err)
	w.store = &mortal{Store: w.file}
	w.chat, err = NewChat(Options{BotToken: "xoxb-test", APIURL: "http://sandbox.invalid/api/", DialContext: w.pipe.DialContext, Log: w.log.logger()})
	check(w.t, err)
	b := bot.Bot{
		Policy: policy.Default(), Store: w.store, Chat: w.chat, People: w.chat, Log: w.log.logger(),
		SecurityChannel: security, Manners: bot.Manners{Quiet: bot.Quiet{Off: true}},
	}
	if w.set != nil {
		w.set(&b)
	}
	w.bot = bot.New(b)
	var ctx context.Context
	ctx, w.stop = context.WithCancel(w.t.Context())
	w.ended = make(chan error, 1)
	go func(b *bot.Bot, ended chan<- error) { ended <- b.Run(ctx) }(w.bot, w.ended)
}

// kill ends the process as kill -9 does, after so many more writes or else after
// a while: what it had under way goes on without it, and nothing of it is written
// down.
func (w *world) kill(writes int) {
	w.t.Helper()
	w.store.left.Store(int64(writes))
	w.store.doomed.Store(true)
	select {
	case err := <-w.ended:
		w.ended <- err
	case <-time.After(time.Minute):
		w.store.left.Store(0)
	}
	w.down()
}

func (w *world) down() {
	w.t.Helper()
	w.stop()
	if err := <-w.ended; err != nil && !errors.Is(err, store.ErrUncertain) {
		w.t.Errorf("Run: %v", err)
	}
	w.chat.Close()
	check(w.t, w.file.Close())
}

// alert opens a conversation as the intake does.
func (w *world) alert(channel, app string, change ...func(*policy.Violation)) string {
	w.t.Helper()
	w.opened++
	v := policy.Violation{ID: fmt.Sprint("KAI-", w.opened), Source: policy.ViolationFrom{System: "s360"}, Title: title, App: policy.App{AppID: app, DisplayName: "Contoso Ledger"}}
	for _, c := range change {
		c(&v)
	}
	done, err := w.bot.Open(w.t.Context(), "alert:"+v.ID, "s360/"+v.ID, conversation.Opened{Violation: v, Facts: w.bot.Policy.Infer(v), In: conversation.Place{Channel: channel}})
	check(w.t, err)
	return done.Conversation.ID
}

func (w *world) says(id string, e conversation.Event) {
	w.t.Helper()
	w.opened++
	_, err := w.bot.Handle(w.t.Context(), fmt.Sprint("press:", w.opened), id, e)
	check(w.t, err)
}

// drain lets time pass until nothing waits.
func (w *world) drain(most time.Duration) {
	w.t.Helper()
	for began := time.Now(); ; pass(max(5*time.Second, most/500)) {
		waiting, err := w.file.Outbox(w.t.Context(), false)
		check(w.t, err)
		if len(waiting) == 0 {
			return
		}
		if time.Since(began) > most {
			w.t.Fatalf("after %s there still waits %+v\n%s", most, waiting[0], w.log)
		}
	}
}

func pass(d time.Duration) { <-time.After(d) }

// marksOf counts what each message says it is.
func (w *world) marksOf() map[string]int {
	out := map[string]int{}
	for _, m := range w.AllMessages() {
		if mark, ok := markOf(m); ok {
			out[m.Channel+" "+mark.Conversation+" "+mark.Key]++
		}
	}
	return out
}

// markOf reads what a message says it is.
func markOf(m sandbox.Message) (mark struct{ Conversation, Key string }, ok bool) {
	if m.Metadata == nil {
		return mark, false
	}
	return mark, json.Unmarshal(m.Metadata.EventPayload, &mark) == nil
}

// once fails when any message is there twice.
func (w *world) once() {
	w.t.Helper()
	for mark, n := range w.marksOf() {
		if n != 1 {
			w.t.Errorf("%s is there %d times", mark, n)
		}
	}
}

// hostile is a Slack in which a third of what is posted or edited goes wrong.
func hostile(seed uint64, on *atomic.Bool) func(string, int) sandbox.Fault {
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // a test's dice
	return func(method string, _ int) sandbox.Fault {
		if !on.Load() || !strings.HasPrefix(method, "chat.") && !strings.HasPrefix(method, "conversations.") {
			return sandbox.Fault{}
		}
		mu.Lock()
		defer mu.Unlock()
		switch n := r.IntN(100); {
		case n < 6:
			return sandbox.Fault{Kind: sandbox.RateLimited, Delay: time.Duration(r.IntN(20)) * time.Second}
		case n < 10:
			return sandbox.Fault{Kind: sandbox.FailBefore}
		case n < 14:
			return sandbox.Fault{Kind: sandbox.FailAfter}
		case n < 17:
			return sandbox.Fault{Kind: sandbox.DropBefore}
		case n < 21:
			return sandbox.Fault{Kind: sandbox.DropAfter}
		case n < 24:
			return sandbox.Fault{Kind: sandbox.Truncate}
		case n < 26:
			return sandbox.Fault{Kind: sandbox.Hang}
		case n < 28:
			return sandbox.Fault{Kind: sandbox.Slow, Delay: time.Duration(1+r.IntN(15)) * time.Second}
		case n < 33:
			return sandbox.Fault{Kind: sandbox.LateVisible, Delay: 5 * time.Second}
		}
		return sandbox.Fault{}
	}
}

// TestEverythingIsSaidOnceThroughAHostileSlackAndKills tells four owners of many
// alerts, on lists of several pages, while people join, answers are given in
// direct messages, owners cannot be told, and the process is killed.
func TestEverythingIsSaidOnceThroughAHostileSlackAndKills(t *testing.T) {
	const seed = 20260511
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test's dice
	var on atomic.Bool
	on.Store(true)
	names := []string{"alice", "bob", "carol", "dana"}
	owners := func(q bot.AppQuery) []bot.OwnerEntry {
		n := int(q.AppID[len(q.AppID)-1] - '0')
		if n >= len(names) {
			return []bot.OwnerEntry{{Kind: bot.PrincipalOwner}} // nobody can be told, which is reported
		}
		return []bot.OwnerEntry{mailOf(names[n])}
	}
	inWorld(t, hostile(seed, &on), func(b *bot.Bot) { b.Directory = answering(owners) }, func(w *world) {
		app := func(n int) string { return ledger[:len(ledger)-1] + fmt.Sprint(n) }
		var ids []string
		kills := 0
		for batch := range 6 {
			for i := range 16 {
				ids = append(ids, w.alert([]string{triage, random}[i%2], app(i%5)))
			}
			if batch == 2 || batch == 4 {
				for range 45 { // more than fit one message
					ids = append(ids, w.alert(triage, app(2)))
				}
			}
			for range 8 {
				pass(time.Duration(r.IntN(20)) * time.Second)
				w.kill(r.IntN(12))
				kills++
				w.boot()
			}
			// Somebody wants one in a direct message of their own, and answers there.
			id := ids[r.IntN(len(ids))]
			w.says(id, conversation.Joined{By: conversation.Person{ID: dana}})
			w.says(id, conversation.Chosen{By: conversation.Person{ID: dana}, In: batch % 2, Question: 1, Value: "3P"})
			w.says(id, conversation.Chosen{By: conversation.Person{ID: dana}, In: 0, Question: 1, Value: "3P"})
		}
		w.drain(6 * time.Hour)
		on.Store(false)
		w.once()

		roots, listed, lists, reports := map[string]int{}, map[string]int{}, 0, 0
		for _, m := range w.AllMessages() {
			mark, ok := markOf(m)
			switch {
			case !ok:
			case mark.Key == conversation.RootKey && strings.HasPrefix(m.Channel, "C"):
				roots[mark.Conversation]++
			case mark.Conversation == "list":
				lists++
				for _, id := range ids {
					if strings.Contains(m.Text, "*"+id+"* ") {
						listed[id]++
					}
				}
			case m.Channel == security:
				reports++
			}
		}
		for _, id := range ids {
			if roots[id] != 1 {
				t.Errorf("%s has %d roots in its channel", id, roots[id])
			}
			if listed[id] > 1 {
				t.Errorf("%s is listed %d times", id, listed[id])
			}
			c, err := w.file.Get(w.t.Context(), id)
			check(t, err)
			for _, o := range c.Owners {
				if o.State != conversation.ToldAlone && o.State != conversation.ToldInOne {
					t.Errorf("%s: %s is %s (%s)", id, o.ID, o.State, o.Why)
				}
			}
		}
		if reports != 6*3 { // in each batch the alerts 4, 9 and 14 are about an app without owners
			t.Errorf("%d reports, want %d", reports, 6*3)
		}
		if len(listed) < 60 || lists < 5 {
			t.Errorf("only %d conversations on %d lists: the story does not tell what it should", len(listed), lists)
		}
		failed, err := w.file.Outbox(w.t.Context(), true)
		check(t, err)
		for _, d := range failed {
			t.Errorf("given up: %+v", d)
		}
		t.Logf("%d messages, %d calls, %d conversations on %d lists, %d kills, in %s", len(w.marksOf()), len(w.Calls()), len(listed), lists, kills, time.Since(time.Date(2000, 1, 4, 10, 0, 0, 0, time.UTC)))
	})
}

// TestAnAnswerThatOvertookItsThreadIsSaidOnce presses a button of a root in a direct
// message of which it is not known yet that it is there: the answer stands outside
// the thread then, and is looked for when there is one.
func TestAnAnswerThatOvertookItsThreadIsSaidOnce(t *testing.T) {
	var breaks atomic.Bool
	lost := func(method string, _ int) sandbox.Fault {
		if breaks.Load() && method == "chat.postMessage" {
			return sandbox.Fault{Kind: sandbox.FailAfter}
		}
		return sandbox.Fault{}
	}
	dana := conversation.Person{ID: dana}
	inWorld(t, lost, nil, func(w *world) {
		id := w.alert(triage, ledger)
		w.drain(time.Minute)
		breaks.Store(true)
		w.says(id, conversation.Joined{By: dana})
		check(t, w.Await(w.t.Context(), func() bool { return len(w.Messages(w.DM(dana.ID))) == 1 }))
		pass(5 * time.Second)
		for range 2 {
			w.says(id, conversation.Took{By: dana, To: dana, In: 1})
		}
		check(t, w.Await(w.t.Context(), func() bool { return len(w.Messages(w.DM(dana.ID))) == 2 }))
		breaks.Store(false)
		w.drain(5 * time.Minute)
		w.once()
		if dm := w.Messages(w.DM(dana.ID)); len(dm) != 2 || !strings.Contains(dm[1].Text, "has it already") {
			t.Errorf("the direct message is\n%s", w.Transcript())
		}
	})
}

// answering is a directory that answers each query.
type answering func(bot.AppQuery) []bot.OwnerEntry

func (a answering) App(_ context.Context, q bot.AppQuery, _ bool) (bot.AppEntry, error) {
	return bot.AppEntry{Directory: "PME", ReadAt: time.Now(), AppID: q.AppID, DisplayName: "Contoso Ledger", Owners: a(q)}, nil
}

// TestSurfacesThatSomebodyDeletedComeBack deletes everything that is edited in
// place, and the messages that threads hang on.
func TestSurfacesThatSomebodyDeletedComeBack(t *testing.T) {
	owner := answering(func(bot.AppQuery) []bot.OwnerEntry { return []bot.OwnerEntry{mailOf("dana")} })
	person := conversation.Person{ID: dana}
	// there returns the one message of a card in a channel, outside threads whose
	// root was deleted.
	there := func(w *world, channel, id, key string) sandbox.Message {
		w.t.Helper()
		var found []sandbox.Message
		for _, m := range w.AllMessages() {
			under, _ := w.Message(channel, m.ThreadTS)
			if mark, ok := markOf(m); ok && under.Subtype == "" && m.Channel == channel && mark.Conversation == id && mark.Key == key {
				found = append(found, m)
			}
		}
		if len(found) != 1 {
			w.t.Fatalf("%s of %s is in %s %d times:\n%s", key, id, channel, len(found), w.Transcript())
		}
		return found[0]
	}
	for name, tc := range map[string]struct {
		where func(w *world) string
		key   string
		in    int
	}{
		"the root in the channel":  {func(*world) string { return triage }, "root", 0},
		"the root in the DM":       {func(w *world) string { return w.DM(dana) }, "root", 1},
		"a question in the thread": {func(*world) string { return triage }, "q1", 0},
		"a question in the DM":     {func(w *world) string { return w.DM(dana) }, "q1", 1},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, nil, func(b *bot.Bot) { b.Directory = owner }, func(w *world) {
				id := w.alert(triage, ledger)
				pass(30 * time.Second)
				w.drain(time.Minute)
				before := there(w, tc.where(w), id, tc.key)
				check(t, w.DeleteMessage(before.Channel, before.TS))
				w.says(id, conversation.Took{By: person, To: person, In: tc.in})
				w.says(id, conversation.Chosen{By: person, In: tc.in, Question: 1, Value: "3P"})
				pass(30 * time.Second)
				w.drain(time.Minute)
				for _, channel := range []string{triage, w.DM(dana)} {
					root := there(w, channel, id, "root")
					if !strings.Contains(root.Text, "is working on it") && !strings.Contains(root.Text, dana) {
						t.Errorf("the root in %s does not show who took it: %s", channel, root.Text)
					}
					for _, key := range []string{"q1", "q2"} {
						if m := there(w, channel, id, key); key == "q2" && m.ThreadTS != root.TS {
							t.Errorf("%s in %s hangs on %s, the root is %s", key, channel, m.ThreadTS, root.TS)
						}
					}
				}
				if tc.key == "root" && there(w, tc.where(w), id, "root").TS == before.TS {
					t.Error("it did not come back")
				}
			})
		})
	}
	t.Run("somebody's message that a thread hangs on", func(t *testing.T) {
		inWorld(t, nil, nil, func(w *world) {
			anchor, err := w.Say(alice, triage, "", "what about this one?")
			check(t, err)
			v := policy.Violation{Title: title}
			done, err := w.bot.Open(w.t.Context(), "mention", "", conversation.Opened{By: conversation.Person{ID: alice}, Violation: v, Facts: w.bot.Policy.Infer(v), In: conversation.Place{Channel: triage, Anchor: anchor}})
			check(t, err)
			check(t, w.DeleteMessage(triage, anchor))
			pass(30 * time.Second)
			w.drain(time.Minute)
			root := there(w, triage, done.Conversation.ID, "root")
			if q := there(w, triage, done.Conversation.ID, "q1"); root.ThreadTS != "" && root.ThreadTS != root.TS || q.ThreadTS != root.TS {
				t.Errorf("the root is in %q, the question in %q; want a thread of their own, %s", root.ThreadTS, q.ThreadTS, root.TS)
			}
		})
	})
	t.Run("a root without replies, while a reply is on its way", func(t *testing.T) {
		inWorld(t, nil, nil, func(w *world) {
			v := policy.Violation{Title: title}
			done, err := w.bot.Open(w.t.Context(), "k", "", conversation.Opened{Violation: v, Facts: w.bot.Policy.Infer(v), In: conversation.Place{Channel: triage}})
			check(t, err)
			check(t, w.Await(w.t.Context(), func() bool { return len(w.Messages(triage)) > 0 }))
			check(t, w.DeleteMessage(triage, w.Messages(triage)[0].TS))
			pass(time.Minute)
			w.drain(time.Minute)
			root := there(w, triage, done.Conversation.ID, "root")
			if q := there(w, triage, done.Conversation.ID, "q1"); q.ThreadTS != root.TS {
				t.Errorf("the question hangs on %s, the root is %s", q.ThreadTS, root.TS)
			}
		})
	})
}

// A gauge counts the requests that are under way.
type gauge struct {
	next      http.RoundTripper
	now, most atomic.Int64
}

func (g *gauge) RoundTrip(r *http.Request) (*http.Response, error) {
	n := g.now.Add(1)
	defer g.now.Add(-1)
	for most := g.most.Load(); n > most && !g.most.CompareAndSwap(most, n); most = g.most.Load() {
	}
	return g.next.RoundTrip(r)
}

// TestASlackThatStallsForAnHour takes alerts and answers in all the while, with
// a bounded number of requests and goroutines, and catches up at Slack's pace.
func TestASlackThatStallsForAnHour(t *testing.T) {
	var stalled atomic.Bool
	hang := func(method string, _ int) sandbox.Fault {
		if stalled.Load() && !strings.HasPrefix(method, "users.") { // who cannot be looked up is looked up hours later
			return sandbox.Fault{Kind: sandbox.Hang}
		}
		return sandbox.Fault{}
	}
	inWorld(t, hang, func(b *bot.Bot) {
		b.Directory = answering(func(q bot.AppQuery) []bot.OwnerEntry { return []bot.OwnerEntry{mailOf("dana")} })
	}, func(w *world) {
		g := &gauge{next: w.chat.http.Transport}
		w.chat.http.Transport = g
		channels := []string{triage, security, random}
		var ids []string
		for i := range 20 {
			ids = append(ids, w.alert(channels[i%3], ledger))
		}
		w.drain(10 * time.Minute)
		idle := runtime.NumGoroutine()
		stalled.Store(true)
		most := 0
		for minute := range 60 {
			for i := range 3 {
				ids = append(ids, w.alert(channels[i%3], fmt.Sprintf("3f6b2a10-8c4d-4e21-9a7b-%012d", len(ids))))
			}
			if minute < 20 {
				w.says(ids[minute], conversation.Chosen{By: conversation.Person{ID: alice}, Question: 1, Value: "3P"})
			}
			pass(time.Minute)
			most = max(most, runtime.NumGoroutine()-idle)
		}
		// A request that hangs has about ten goroutines here: ours, two of net/http's
		// client, the server's and the pipe's.
		if g.most.Load() > 100 || most > 1000 {
			t.Errorf("%d requests and %d goroutines at once; they must not grow with what waits", g.most.Load(), most)
		}
		calls := len(w.Calls())
		stalled.Store(false)
		began := time.Now()
		w.drain(3 * time.Hour)
		took := time.Since(began)
		w.once()
		said := 0
		for _, c := range w.Calls()[calls:] {
			if c.Method == "chat.postMessage" && c.OK {
				said++
			}
			if c.Error == "ratelimited" {
				t.Errorf("%s was sent away for coming too fast", c.Method)
			}
		}
		// One message a second in each of three channels is what binds here.
		if least := time.Duration(said/3) * time.Second; took > 2*least+10*time.Minute {
			t.Errorf("%d messages took %s after the stall; the limits allow about %s", said, took, least)
		}
		w.inOrder(ids)
		t.Logf("at most %d requests and %d goroutines; %d messages in %s afterwards", g.most.Load(), most, said, took)
	})
}

// inOrder fails when a thread does not have its root, and questions and replies
// behind each other as they came up.
func (w *world) inOrder(ids []string) {
	w.t.Helper()
	last := map[string]int{} // by channel and conversation
	for _, m := range w.AllMessages() {
		mark, ok := markOf(m)
		if !ok || !slices.Contains(ids, mark.Conversation) {
			continue
		}
		at := m.Channel + " " + mark.Conversation
		var n int
		if _, err := fmt.Sscanf(mark.Key, "q%d", &n); mark.Key == "root" || err != nil {
			n = last[at]
			if mark.Key == "root" {
				n = 0
				if _, had := last[at]; had {
					w.t.Errorf("%s: its root came late", at)
				}
			}
		}
		if had, begun := last[at]; begun && n < had || !begun && mark.Key != "root" && !strings.HasPrefix(mark.Key, "d") {
			w.t.Errorf("%s: %s came after q%d", at, mark.Key, had)
		}
		last[at] = n
	}
}

// TestThreeDaysOfTimersFireOnce lets three days go by and the weekend after them:
// quiet hours in each owner's zone, one list a day for one of them, urgent alerts,
// retries with growing waits, and messages that are looked for after the settle
// time; without and with a restart in the middle.
func TestThreeDaysOfTimersFireOnce(t *testing.T) {
	for name, restarts := range map[string]bool{"in one run": false, "killed in the middle": true} {
		t.Run(name, func(t *testing.T) {
			const seed = 72
			t.Logf("seed %d", seed)
			var on atomic.Bool
			on.Store(true)
			owners := []string{"alice", "bob", "carol", "dana"}
			ids := map[string]string{"alice": alice, "bob": bob, "carol": carol, "dana": dana}
			manners := func(b *bot.Bot) {
				b.Manners = bot.Manners{}
				b.Directory = answering(func(q bot.AppQuery) []bot.OwnerEntry {
					return []bot.OwnerEntry{mailOf(owners[int(q.AppID[len(q.AppID)-1]-'0')%len(owners)])}
				})
			}
			r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test's dice
			inWorld(t, hostile(seed, &on), manners, func(w *world) {
				check(t, w.bot.PreferDigest(w.t.Context(), "k", conversation.Person{ID: bob}, true))
				told := map[string]string{} // conversation → whose it is
				urgent := map[string]bool{}
				for hour := range 72 {
					for k := range 1 + hour%2 {
						n := (hour + k) % len(owners)
						hurry := hour%7 == 3
						id := w.alert([]string{triage, random}[hour%2], ledger[:len(ledger)-1]+fmt.Sprint(n), func(v *policy.Violation) {
							if hurry {
								v.Due = time.Now().Add(24 * time.Hour)
							}
						})
						told[id], urgent[id] = owners[n], hurry
					}
					if restarts && hour%12 == 6 {
						w.kill(r.IntN(4))
						w.boot()
					}
					pass(time.Hour)
				}
				w.drain(5 * 24 * time.Hour)
				on.Store(false)
				w.once()
				for id, name := range told {
					entries, err := w.file.Journal(w.t.Context(), id)
					check(t, err)
					var at []time.Time
					for _, e := range entries {
						if strings.HasPrefix(e.Text, "told "+ids[name]+",") {
							at = append(at, e.At)
						}
					}
					if len(at) != 1 {
						t.Errorf("%s was told of %s %d times: %v", name, id, len(at), at)
						continue
					}
					zone, err := time.LoadLocation(zones[ids[name]])
					check(t, err)
					local := at[0].In(zone)
					quiet := local.Hour() < 8 || local.Hour() >= 20 || local.Weekday() == time.Saturday || local.Weekday() == time.Sunday
					c, err := w.file.Get(w.t.Context(), id)
					check(t, err)
					switch {
					case urgent[id] && at[0].Sub(c.Opened) > 10*time.Minute:
						t.Errorf("%s is urgent and was told after %s", id, at[0].Sub(c.Opened))
					case !urgent[id] && quiet:
						t.Errorf("%s was told of %s at %s", name, id, local.Format("Mon 15:04"))
					}
				}
				roots, listed := w.toldOf(told, ids)
				for id := range told {
					if roots[id]+listed[id] != 1 {
						t.Errorf("%s is in %d direct messages of its own and on %d lists", id, roots[id], listed[id])
					}
				}
				failed, err := w.file.Outbox(w.t.Context(), true)
				check(t, err)
				for _, d := range failed {
					t.Errorf("given up: %+v", d)
				}
				t.Logf("%d conversations, %d messages, %d calls, over %s", len(told), len(w.marksOf()), len(w.Calls()), time.Since(time.Date(2000, 1, 4, 10, 0, 0, 0, time.UTC)).Round(time.Hour))
			})
		})
	}
}

// zones are where the people of a world are.
var zones = map[string]string{alice: "Europe/Stockholm", bob: "America/New_York", carol: "Asia/Tokyo", dana: "Etc/UTC"}

// toldOf counts in how many direct messages and lists each conversation is before
// its owner.
func (w *world) toldOf(told, ids map[string]string) (roots, listed map[string]int) {
	roots, listed = map[string]int{}, map[string]int{}
	for _, m := range w.AllMessages() {
		mark, ok := markOf(m)
		if !ok || !strings.HasPrefix(m.Channel, "D") {
			continue
		}
		if mark.Key == conversation.RootKey && m.Channel == w.DM(ids[told[mark.Conversation]]) {
			roots[mark.Conversation]++
		}
		for id := range told {
			if mark.Conversation == "list" && strings.Contains(m.Text, "*"+id+"* ") {
				listed[id]++
			}
		}
	}
	return roots, listed
}
