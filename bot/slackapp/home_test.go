package slackapp

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rehome/bot"
	"rehome/bot/sandbox"
	"rehome/conversation"
	"rehome/policy"
	"rehome/store"
)

// inHomes runs a story in which the Home tabs are kept up to date. stop ends that
// as the end of the process does.
func inHomes(t *testing.T, fault func(string, int) sandbox.Fault, story func(w *world, d *Doors, stop func())) {
	t.Helper()
	inWorld(t, fault, nil, func(w *world) {
		d, stop := w.homes()
		defer func() { stop() }()
		story(w, d, stop)
	})
}

// homes starts keeping Home tabs up to date.
func (w *world) homes() (*Doors, func()) {
	w.t.Helper()
	d := w.doors()
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); d.RunHomes(ctx) }()
	return d, func() { cancel(); <-ended }
}

// visits opens somebody's Home tab.
func (w *world) visits(d *Doors, user string) {
	w.t.Helper()
	check(w.t, d.take(w.t.Context(), event{Type: "event_callback", Event: happening{Type: "app_home_opened", User: user, Tab: "home"}}).err)
}

// reported opens a conversation that concerns somebody.
func (w *world) reported(by string) string {
	w.t.Helper()
	w.opened++
	facts, _ := w.bot.Policy.Read(title, "typed")
	done, err := w.bot.Open(w.t.Context(), fmt.Sprint("cmd:", w.opened), "", conversation.Opened{
		By: conversation.Person{ID: by}, Violation: policy.Violation{Title: title}, Facts: facts, In: conversation.Place{Channel: triage},
	})
	check(w.t, err)
	return done.Conversation.ID
}

// home is what somebody's Home tab says, "" when it is empty.
func (w *world) home(user string) string {
	v, ok := w.Home(user)
	if !ok {
		return ""
	}
	return strings.Join(v.BlockTexts(), "\n")
}

// published counts the calls that were for somebody's tab, "" for anybody's.
func (w *world) published(user string) (n int) {
	for _, c := range w.Calls() {
		if b, _ := json.Marshal(c.Args); c.Method == "views.publish" && strings.Contains(string(b), user) {
			n++
		}
	}
	return n
}

func (w *world) shows(user string, want ...string) {
	w.t.Helper()
	for _, s := range want {
		if !strings.Contains(w.home(user), s) {
			w.t.Errorf("%s's tab does not say %q:\n%s\n%s", user, s, w.home(user), w.log)
		}
	}
}

func TestTheHomeTabFollowsWhatHappens(t *testing.T) {
	inHomes(t, nil, func(w *world, d *Doors, _ func()) {
		w.visits(d, alice)
		pass(time.Second)
		w.shows(alice, "Open and yours: 0", "Nothing is waiting")
		id := w.reported(alice)
		pass(10 * time.Second)
		w.shows(alice, "Open and yours: 1", id)
		before := w.home(alice)
		w.says(id, conversation.Chosen{By: conversation.Person{ID: alice}, Question: 1, Value: "3P"})
		pass(10 * time.Second)
		if w.home(alice) == before {
			t.Errorf("an answer changed nothing:\n%s", before)
		}
		w.says(id, conversation.Seen{Violation: policy.Violation{Title: title, Status: "resolved"}})
		pass(10 * time.Second)
		w.shows(alice, "Open and yours: 0", "Nothing is waiting")

		n := w.published("")
		other := w.reported(bob) // who never opened a tab, and of whom alice need not hear
		pass(3 * time.Hour)
		if w.home(bob) != "" || w.published("") != n || strings.Contains(w.home(alice), other) {
			t.Errorf("%d calls for what concerns nobody who looks", w.published("")-n)
		}
	})
}

// nothingPosted is a Slack that takes no messages for long.
func nothingPosted(method string, _ int) sandbox.Fault {
	if method == "chat.postMessage" {
		return sandbox.Fault{Kind: sandbox.RateLimited, Delay: time.Hour}
	}
	return sandbox.Fault{}
}

// TestManyChangesPublishOnce is told without what is posted, each of which adds a
// link.
func TestManyChangesPublishOnce(t *testing.T) {
	inHomes(t, nothingPosted, func(w *world, d *Doors, _ func()) {
		w.visits(d, alice)
		w.visits(d, bob)
		pass(time.Minute)
		if a, b := w.published(alice), w.published(bob); a != 1 || b != 1 {
			t.Fatalf("%d and %d calls to show two tabs", a, b)
		}
		for range 20 {
			w.reported(alice)
			pass(50 * time.Millisecond)
		}
		pass(10 * time.Minute)
		w.shows(alice, "Open and yours: 20")
		if a, b := w.published(alice), w.published(bob); a != 2 || b != 1 {
			t.Errorf("%d and %d calls for twenty changes of one tab, want one more than before for it alone", a, b)
		}
		w.reported(alice)
		pass(time.Minute)
		w.shows(alice, "Open and yours: 21", "The newest 20 are shown.")
	})
}

// TestOneReadingServesAllTabs counts how often all conversations are read.
func TestOneReadingServesAllTabs(t *testing.T) {
	var lists atomic.Int32
	inWorld(t, nil, func(b *bot.Bot) { b.Store = &counting{b.Store, &lists} }, func(w *world) {
		d, stop := w.homes()
		defer stop()
		everybody := []string{alice, bob, carol, dana}
		for _, user := range everybody {
			w.visits(d, user)
		}
		pass(time.Minute)
		before := lists.Load()
		for _, user := range everybody {
			w.reported(user)
		}
		pass(homePause + time.Second)
		for _, user := range everybody {
			w.shows(user, "Open and yours: 1")
		}
		if n := lists.Load() - before; n != 1 {
			t.Errorf("all conversations were read %d times for four tabs", n)
		}
	})
}

// counting is a store that counts how often all of it is read.
type counting struct {
	store.Store
	lists *atomic.Int32
}

func (c *counting) List(ctx context.Context, yield func(conversation.Conversation) bool) error {
	c.lists.Add(1)
	return c.Store.List(ctx, yield)
}

// TestTheHomeTabOutlivesFailures, of which none leaves it empty or behind.
func TestTheHomeTabOutlivesFailures(t *testing.T) {
	for name, f := range map[string]sandbox.Fault{
		"too fast":                  {Kind: sandbox.RateLimited, Delay: 30 * time.Second},
		"too fast, unsaid how long": {Kind: sandbox.RateLimited, Delay: -1},
		"a 500":                     {Kind: sandbox.FailBefore},
		"a 500 after it was done":   {Kind: sandbox.FailAfter},
		"a broken connection":       {Kind: sandbox.DropBefore},
		"no answer":                 {Kind: sandbox.Hang},
		"half an answer":            {Kind: sandbox.Truncate},
	} {
		t.Run(name, func(t *testing.T) {
			var on atomic.Bool
			on.Store(true)
			fault := func(method string, _ int) sandbox.Fault {
				if method != "views.publish" || !on.Load() {
					return sandbox.Fault{}
				}
				return f
			}
			inHomes(t, fault, func(w *world, d *Doors, _ func()) {
				w.visits(d, alice)
				pass(10 * time.Second)
				on.Store(false)
				pass(2 * time.Minute)
				w.shows(alice, "Open and yours: 0")
				on.Store(true)
				id := w.reported(alice)
				pass(time.Hour)
				if n := w.published(""); n > 50 {
					t.Errorf("%d calls in an hour in which none worked", n)
				}
				on.Store(false)
				pass(6 * time.Minute)
				w.shows(alice, "Open and yours: 1", id)
			})
		})
	}
}

// TestATabThatSlackWillNotTakeIsLeftAlone until it is opened again.
func TestATabThatSlackWillNotTakeIsLeftAlone(t *testing.T) {
	inHomes(t, nil, func(w *world, d *Doors, _ func()) {
		const nobody = "U0000000404"
		w.visits(d, nobody)
		pass(time.Minute)
		for range 5 {
			w.reported(nobody)
			pass(time.Minute)
		}
		if n := w.published(nobody); n != 1 {
			t.Errorf("%d calls for somebody who is not there", n)
		}
		kept, err := w.file.Recall(w.t.Context(), homesKey)
		check(w.t, err)
		if len(kept) != 0 {
			t.Errorf("still remembered: %v", kept)
		}
	})
}

// TestWhoOpenedTheHomeTabIsRememberedInBounds, past the end of the process.
func TestWhoOpenedTheHomeTabIsRememberedInBounds(t *testing.T) {
	inHomes(t, nil, func(w *world, d *Doors, stop func()) {
		w.visits(d, alice)
		pass(time.Minute)
		stop()
		w.down()
		w.boot()
		d, stop = w.homes()
		id := w.reported(alice)
		pass(time.Minute)
		w.shows(alice, id)

		tabs := &tabs{Doors: d}
		var many []string
		for n := range homesKept + 10 {
			many = append(many, fmt.Sprintf("U%010d", 1000+n))
		}
		tabs.open(w.t.Context(), many)
		tabs.open(w.t.Context(), []string{many[100], many[3]})
		kept, err := w.file.Recall(w.t.Context(), homesKey)
		check(w.t, err)
		if users := strings.Fields(kept[homesKey]); len(users) != homesKept || users[homesKept-1] != many[3] || users[0] != many[11] {
			t.Errorf("%d are kept, from %s to %s", len(users), users[0], users[len(users)-1])
		}
		stop()
	})
}

// TestHomeTabsKeepSlacksLimit publishes as many at once as 300 people's tabs.
func TestHomeTabsKeepSlacksLimit(t *testing.T) {
	inHomes(t, nil, func(w *world, d *Doors, _ func()) {
		var all sync.WaitGroup
		for range 300 {
			all.Go(func() {
				for w.chat.publish(w.t.Context(), alice, d.homeView(&homeList{})) != nil {
					pass(time.Second) // its turn is more than a minute off
				}
			})
		}
		all.Wait()
		if n := w.published(""); n != 300 {
			t.Errorf("%d calls for 300 tabs: some came too fast", n)
		}
	})
}

// TestAnOlderHomeTabIsNotOvertaken: what may still be done is given time to be
// done before the next, which would otherwise come first and be undone.
func TestAnOlderHomeTabIsNotOvertaken(t *testing.T) {
	inHomes(t, failing("views.publish", sandbox.Fault{Kind: sandbox.Hang}), func(w *world, d *Doors, _ func()) {
		w.visits(d, alice)
		const timeout, settles = 10 * time.Second, 20 * time.Second
		pass(timeout + settles - time.Second)
		if n := w.published(""); n != 1 {
			t.Errorf("%d calls while one may still be under way", n)
		}
		pass(2 * time.Second)
		w.shows(alice, "Open and yours: 0")
	})
}

// TestTheHomeTabWaitsForNoMessages: it follows also while nothing can be posted.
func TestTheHomeTabWaitsForNoMessages(t *testing.T) {
	inHomes(t, nothingPosted, func(w *world, d *Doors, _ func()) {
		w.visits(d, alice)
		w.reported(alice)
		pass(time.Minute)
		w.shows(alice, "Open and yours: 1")
		w.reported(alice)
		pass(time.Minute)
		w.shows(alice, "Open and yours: 2")
	})
}
