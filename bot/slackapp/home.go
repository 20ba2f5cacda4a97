package slackapp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/slack-go/slack"

	"rehome/bot"
	"rehome/conversation"
)

const (
	homeStart  = "home:start"
	homeLength = 20 // conversations shown
)

// How Home tabs follow what happens.
const (
	homesKept   = 250             // people whose tab is kept up to date; whoever opened it last counts
	homePause   = 3 * time.Second // from a change until it shows, and so between two changes of a tab
	homeShare   = 20              // reading all conversations takes at most one part in this of the time
	homeAnew    = time.Hour       // what is due becomes overdue by itself
	homeBackoff = 5 * time.Minute // the longest pause after failures
	homesKey    = "homes"         // they are remembered under it, whoever opened it last at the end
)

// homes are the openings of Home tabs that RunHomes has yet to see.
type homes struct {
	bell chan struct{}

	mu     sync.Mutex
	opened []string // user ids, the last one last
}

// open notes that somebody opened theirs.
func (h *homes) open(user string) {
	h.mu.Lock()
	h.opened = append(without(h.opened, user), user)
	h.opened = h.opened[max(0, len(h.opened)-homesKept):]
	h.mu.Unlock()
	select {
	case h.bell <- struct{}{}:
	default:
	}
}

func without(users []string, user string) []string {
	return slices.DeleteFunc(users, func(u string) bool { return u == user })
}

// since returns who opened theirs since it was last asked.
func (h *homes) since() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	opened := h.opened
	h.opened = nil
	return opened
}

func (h *homes) waiting() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.opened) > 0
}

// RunHomes shows people their Home tab when they open it, and keeps it up to date
// from then on, until ctx ends. A tab shows the newest state a few seconds after
// it came to be, whatever happened in between, and is published when it differs
// from what Slack took last. One reading of all conversations serves every tab
// that is to be looked at.
func (d *Doors) RunHomes(ctx context.Context) {
	t := &tabs{Doors: d}
	t.recall(ctx)
	for ctx.Err() == nil {
		timer := time.NewTimer(t.untilDue(time.Now()))
		select {
		case <-ctx.Done():
		case <-d.homes.bell:
			t.open(ctx, d.homes.since())
		case <-d.Bot.Changes():
			t.change(time.Now())
		case <-timer.C:
			t.round(ctx)
		}
		timer.Stop()
	}
}

// tabs are the Home tabs that are kept up to date. RunHomes alone knows them.
type tabs struct {
	*Doors
	all  []*tab    // whoever opened theirs last is last
	next time.Time // when all conversations may be read again for tabs that nobody opened just now
}

// A tab is somebody's Home tab.
type tab struct {
	user  string
	due   time.Time // when to look at it again
	open  bool      // somebody looks at it now
	shown string    // digest of what Slack took last; "" when that is not known
	at    time.Time // when it took that
	tries int       // that failed since
}

// recall brings back who opened theirs before this process began.
func (t *tabs) recall(ctx context.Context) {
	kept, err := t.Bot.Store.Recall(ctx, homesKey)
	if err != nil {
		t.Log.Warn("who opened the Home tab is not remembered; each is shown when it is opened again", "err", err)
	}
	for user := range strings.FieldsSeq(kept[homesKey]) {
		t.all = append(t.all, &tab{user: user, due: time.Now().Add(homePause)})
	}
}

// open makes the tabs that were opened due at once.
func (t *tabs) open(ctx context.Context, users []string) {
	now, anew := time.Now(), false
	for _, user := range users {
		at := slices.IndexFunc(t.all, func(tab *tab) bool { return tab.user == user })
		if at < 0 {
			anew = true
			t.all = append(t.all, &tab{user: user, due: now, open: true})
			continue
		}
		one := t.all[at]
		t.all = append(slices.Delete(t.all, at, at+1), one)
		if now.Sub(one.at) >= homePause {
			one.due, one.open, one.shown = now, true, "" // whatever Slack still has of it
		}
	}
	t.all = t.all[max(0, len(t.all)-homesKept):]
	if anew {
		t.remember(ctx)
	}
}

func (t *tabs) remember(ctx context.Context) {
	var users []string
	for _, tab := range t.all {
		users = append(users, tab.user)
	}
	if err := t.Bot.Store.Remember(ctx, homesKey, strings.Join(users, " ")); err != nil && ctx.Err() == nil {
		t.Log.Warn("who opened the Home tab is not remembered beyond a restart", "err", err)
	}
}

// change makes every tab due in a while.
func (t *tabs) change(now time.Time) {
	for _, tab := range t.all {
		if soon := now.Add(homePause); tab.tries == 0 && tab.due.After(soon) {
			tab.due = soon
		}
	}
}

// untilDue is how long it is until a tab is to be looked at. That all conversations
// are read for it is put off when that was done just now, unless somebody waits.
func (t *tabs) untilDue(now time.Time) time.Duration {
	wait := homeAnew
	for _, tab := range t.all {
		left := tab.due.Sub(now)
		if !tab.open {
			left = max(left, t.next.Sub(now))
		}
		wait = min(wait, left)
	}
	return max(0, wait)
}

// round looks at the tabs that are due. It breaks off for one that is opened
// meanwhile: whoever does that is waiting.
func (t *tabs) round(ctx context.Context) {
	t.open(ctx, t.homes.since())
	began := time.Now()
	var due []*tab
	var users []string
	for _, tab := range slices.Backward(t.all) {
		if !tab.due.After(began) {
			due, users = append(due, tab), append(users, tab.user)
		}
	}
	if len(due) == 0 {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			t.Log.Error("the Home tabs panicked; please report this", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			t.putOff(due, homeBackoff)
		}
	}()
	lists, err := t.homeLists(ctx, users)
	if err != nil {
		if ctx.Err() == nil {
			t.Log.Error("the Home tabs could not be made", "err", err)
			t.putOff(due, homeBackoff)
		}
		return
	}
	now := time.Now()
	t.next = now.Add((homeShare - 1) * now.Sub(began))
	for _, tab := range due {
		if ctx.Err() != nil || !tab.open && t.homes.waiting() {
			return // whoever opens theirs goes before those who do not look
		}
		t.show(ctx, tab, t.homeView(lists[tab.user]))
	}
}

func (t *tabs) putOff(all []*tab, by time.Duration) {
	for _, tab := range all {
		tab.due = time.Now().Add(by)
	}
}

// show publishes a tab that differs from what is shown.
func (t *tabs) show(ctx context.Context, one *tab, view slack.HomeTabViewRequest) {
	body, _ := json.Marshal(view) // texts
	want := digest(string(body))
	one.due, one.open = time.Now().Add(homeAnew), false
	if one.shown == want {
		return
	}
	err := t.Chat.publish(ctx, one.user, view)
	now := time.Now()
	var f *bot.Failure
	switch {
	case err == nil:
		*one = tab{user: one.user, due: now.Add(homeAnew), shown: want, at: now}
	case ctx.Err() != nil:
	case errors.As(err, &f) && f.Kind == bot.Never:
		t.Log.Warn("a Home tab is not kept up to date until it is opened again: Slack does not take it", "code", f.Code)
		t.all = slices.DeleteFunc(t.all, func(other *tab) bool { return other == one })
		t.remember(ctx)
	default:
		one.tries++
		wait := min(time.Second<<min(one.tries, 10), homeBackoff)
		if f != nil {
			wait = max(wait, f.After)
			if f.Unsure {
				wait = max(wait, t.Bot.Settle) // or the older state may come after the newer one
			}
			if one.tries == 1 {
				t.Log.Info("a Home tab is put off", "code", f.Code, "after", wait)
			}
		}
		one.shown, one.due = "", now.Add(wait)
	}
}

// publish shows somebody a Home tab, in its turn under views.publish's limit
// (tier 4). Doing it twice does no harm. Errors are *bot.Failure.
func (c *Chat) publish(ctx context.Context, user string, view slack.HomeTabViewRequest) error {
	const method = "views.publish"
	if err := c.turn(ctx, method, bot.Tier4); err != nil {
		return err
	}
	resp, err := c.api.PublishViewContext(ctx, slack.PublishViewContextRequest{UserID: user, View: view})
	if err == nil && resp.ID == "" {
		err = errNoTS
	}
	if err != nil {
		f := failure(err, asking)
		c.hold(method, bot.Tier4, f)
		return f
	}
	return nil
}

// A homeList is what is open and somebody's.
type homeList struct {
	count  int
	newest []listing // at most homeLength, the newest last
}

// homeLists reads all conversations once, for everybody in users.
func (d *Doors) homeLists(ctx context.Context, users []string) (map[string]*homeList, error) {
	lists := map[string]*homeList{}
	for _, user := range users {
		lists[user] = &homeList{}
	}
	now := d.Bot.Now()
	err := d.Bot.Store.List(ctx, func(c conversation.Conversation) bool {
		if over(c) {
			return true
		}
		root := sync.OnceValue(func() conversation.Root { // nearly all are nobody's who looks
			card, _ := c.Card(conversation.RootKey, now)
			root, _ := card.(conversation.Root)
			return root
		})
		for user, mine := range lists {
			if !concerns(c, user) {
				continue
			}
			mine.count++
			if mine.newest = append(mine.newest, listing{Root: root(), at: threadFor(c, user)}); len(mine.newest) > homeLength {
				mine.newest = mine.newest[1:]
			}
		}
		return true
	})
	for _, mine := range lists {
		d.linkTo(ctx, mine.newest)
	}
	return lists, err
}

func (d *Doors) homeView(mine *homeList) slack.HomeTabViewRequest {
	var p page
	p.header("Rehome")
	p.say("I help with violations of Entra apps' credentials: a certificate in the wrong tenant or cloud, secrets where a certificate belongs, a credential due for rotation. I ask what I cannot infer, and give you the steps.")
	start := slack.NewButtonBlockElement("start", "start", plainText("Start", maxLabel))
	start.Style = slack.StylePrimary
	p.controls(homeStart, nil, start)
	p.rule()
	p.header(fmt.Sprintf("Open and yours: %d", mine.count))
	if mine.count == 0 {
		p.say("Nothing is waiting for you.")
	}
	for _, r := range slices.Backward(mine.newest) {
		p.say(line(r)...)
	}
	if mine.count > len(mine.newest) {
		p.note(words(fmt.Sprintf("The newest %d are shown.", len(mine.newest))))
	}
	p.note(d.version()...)
	p.stamp("home")
	return slack.HomeTabViewRequest{Type: slack.VTHomeTab, CallbackID: "rehome_home", Blocks: slack.Blocks{BlockSet: p.blocks}}
}
