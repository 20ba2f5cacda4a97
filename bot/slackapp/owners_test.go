package slackapp

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slack-go/slack"

	"rehome/bot"
	"rehome/bot/sandbox"
	"rehome/conversation"
	"rehome/policy"
	"rehome/store"
)

const (
	carol    = "U0000000003"
	dana     = "U0000000004"
	guest    = "U0000000005"
	security = "C0000000003"
	ledger   = "3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a01"
)

// A shelf is a directory in which every app has the same owners.
type shelf []bot.OwnerEntry

func (s shelf) App(_ context.Context, q bot.AppQuery, _ bool) (bot.AppEntry, error) {
	return bot.AppEntry{Directory: "PME", ReadAt: may, AppID: q.AppID, DisplayName: "Contoso Ledger", Owners: s}, nil
}

func mailOf(name string) bot.OwnerEntry {
	return bot.OwnerEntry{Kind: bot.UserOwner, Mail: name + "@contoso.example"}
}

// owning is a desk whose directory has these owners of every app.
func owning(door string, owners ...bot.OwnerEntry) set {
	return set{
		door: door,
		config: func(c *sandbox.Config) {
			c.Users = append(c.Users,
				sandbox.User{ID: carol, Name: "carol", RealName: "Carol Lindqvist", Email: "carol@contoso.example", TZ: "Europe/Stockholm"},
				sandbox.User{ID: dana, Name: "dana", RealName: "Dana Petrov", Email: "dana@contoso.example"},
				sandbox.User{ID: guest, Name: "guest", RealName: "Guest", Email: "guest@contoso.example", Guest: true})
			c.Channels[0].Members = []string{alice, bob, carol, dana, guest}
			c.Channels = append(c.Channels, sandbox.Channel{ID: security, Name: "security", BotMember: true})
		},
		bot: func(b *bot.Bot) { b.Directory, b.SecurityChannel = shelf(owners), security },
	}
}

// hours pass for the bot when a test says so. It gathers for one before a digest.
type hours struct{ passed atomic.Int64 }

func (h *hours) gather(s set) set {
	change := s.bot
	s.bot = func(b *bot.Bot) {
		change(b)
		now := b.Now
		b.Now = func() time.Time { return now().Add(time.Duration(h.passed.Load()) * time.Hour) }
		b.Manners.Window = time.Hour
	}
	return s
}

// pass lets an hour pass as soon as all is said but n things, which are gathered
// for one person.
func (h *hours) pass(d *desk, to string, n int) {
	d.t.Helper()
	d.rest(func(left []store.Delivery) bool {
		lines := store.LinesFor(conversation.Person{ID: to})
		return len(left) == n && !slices.ContainsFunc(left, func(w store.Delivery) bool { return !slices.Contains(lines, w.Line) })
	})
	h.passed.Add(1)
	d.bot.Wake()
}

func everyDoorWith(t *testing.T, owners []bot.OwnerEntry, story func(t *testing.T, d *desk)) {
	for _, door := range []string{"socket", "http"} {
		t.Run(door, func(t *testing.T) { story(t, sit(t, owning(door, owners...))) })
	}
}

// alert is one coming in over the intake.
func (d *desk) alert(n int, change ...func(*policy.Violation)) string {
	d.t.Helper()
	v := policy.Violation{ID: fmt.Sprint("KAI-", n), Source: policy.ViolationFrom{System: "s360"}, Title: title, App: policy.App{AppID: ledger, DisplayName: "Contoso Ledger"}, Due: may.AddDate(0, 0, n)}
	for _, c := range change {
		c(&v)
	}
	done, err := d.bot.Open(d.t.Context(), "alert:"+v.ID, "s360/"+v.ID, conversation.Opened{Violation: v, Facts: d.bot.Policy.Infer(v), In: conversation.Place{Channel: triage}})
	check(d.t, err)
	return done.Conversation.ID
}

// shows waits until a message says something.
func (d *desk) shows(m sandbox.Message, words string) sandbox.Message {
	d.t.Helper()
	d.await("it shows "+words, func() bool {
		m, _ = d.Message(m.Channel, m.TS)
		return strings.Contains(m.Text, words)
	})
	return m
}

func labels(m sandbox.Message) string {
	var out []string
	for _, b := range m.Buttons() {
		out = append(out, b.Label)
	}
	for _, s := range m.Selects() {
		out = append(out, "["+s.Label+"]")
	}
	return strings.Join(out, " ")
}

func TestAnOwnerIsToldAndTheirAnswerShowsInBothPlaces(t *testing.T) {
	everyDoorWith(t, []bot.OwnerEntry{mailOf("carol"), {Kind: bot.PrincipalOwner}}, func(t *testing.T, d *desk) {
		id := d.alert(1)
		root := d.find(triage, "*"+id+" · ")
		root = d.shows(root, "<@"+carol+"> (told)")
		if !strings.Contains(root.Text, "owners of the application: 2: 1 can be told, 1 is a service principal") {
			t.Errorf("it does not say where it looked:\n%s", root.Text)
		}
		if got := labels(root); got != "I take it Join [Hand over…]" {
			t.Errorf("the channel's root has %s", got)
		}
		dm := d.DM(carol)
		own := d.find(dm, "*"+id+" · ")
		if !strings.Contains(own.Text, "You are told because you own the application in the directory.") || labels(own) != "I take it Not my app [Hand over…]" {
			t.Errorf("her root, with %s:\n%s", labels(own), own.Text)
		}
		q1 := d.find(triage, "*1. Is ")
		own1 := d.find(dm, "*1. Is ")
		if own1.ThreadTS != own.TS || q1.ThreadTS != root.TS {
			t.Error("the questions are not in the threads")
		}

		d.say(carol, dm, own.TS, "3p") // typed in the one place
		d.shows(q1, "answered by <@"+carol+">")
		d.shows(own1, "answered by <@"+carol+">")
		d.find(triage, "*2. ")
		own2 := d.find(dm, "*2. ")
		d.say(bob, triage, root.TS, "CME") // and in the other
		d.shows(own2, "answered by <@"+bob+">")
		q3 := d.find(triage, "*3. ")
		own3 := d.find(dm, "*3. ")
		check(t, d.Click(carol, dm, own3.TS, "Option A"))
		d.find(triage, "Prod + CME")
		d.find(dm, "Prod + CME")
		d.shows(q3, "answered by <@"+carol+">")
		d.settle()
		for _, c := range d.Calls() {
			if c.Method == "chat.postMessage" && c.Args["reply_broadcast"] != nil && c.Args["reply_broadcast"] != "false" {
				t.Errorf("a reply was broadcast: %+v", c)
			}
		}
		for _, m := range d.AllMessages() {
			if m.Subtype == "thread_broadcast" {
				t.Errorf("a reply was broadcast: %s", m.Text)
			}
		}
	})
}

func TestNotMyAppAsksWhoseItIsAndTellsThem(t *testing.T) {
	everyDoorWith(t, []bot.OwnerEntry{mailOf("carol")}, func(t *testing.T, d *desk) {
		id := d.alert(1)
		root := d.find(triage, "*"+id+" · ")
		own := d.find(d.DM(carol), "*"+id+" · ")
		check(t, d.Click(carol, d.DM(carol), own.TS, "Not my app"))
		own = d.shows(own, "Whose is it?")
		if got := labels(own); got != "It is mine after all [Whose is it?]" {
			t.Errorf("she has %s", got)
		}
		d.shows(root, "<@"+carol+"> (says it is not theirs)")
		d.find(security, id+": <@"+carol+"> says the app is not theirs, and nobody else is known")

		check(t, d.Click(carol, d.DM(carol), own.TS, "It is mine after all"))
		own = d.shows(own, "You are told because")
		check(t, d.Click(carol, d.DM(carol), own.TS, "Not my app"))
		own = d.shows(own, "Whose is it?")

		check(t, d.Select(carol, d.DM(carol), own.TS, actionName, guest))
		d.told(carol, "<@"+guest+"> is a guest here, so I don't tell them, and nothing changed")
		check(t, d.Select(carol, d.DM(carol), own.TS, actionName, dana))
		d.find(d.DM(carol), "Thank you. I tell <@"+dana+">, and remember it for this app.")
		own = d.shows(own, "this app is not yours, and <@"+dana+"> was named as its owner")
		if got := labels(own); got != "It is mine after all [Somebody else…]" {
			t.Errorf("once she named somebody she has %s", got)
		}
		hers := d.find(d.DM(dana), "*"+id+" · ")
		if !strings.Contains(hers.Text, "a colleague says that this app is yours") {
			t.Errorf("it does not say why:\n%s", hers.Text)
		}
		d.find(d.DM(dana), "*1. Is ")
		d.shows(root, "<@"+dana+"> (told)")
		d.settle()

		second := d.alert(2) // the correction is remembered
		d.find(d.DM(dana), "*"+second+" · ")
		d.settle()
		if n := d.countIn(d.DM(carol), "*"+second); n != 0 {
			t.Error("she is told again of an app that is not hers")
		}
		if len(d.Messages(d.DM(guest))) != 0 {
			t.Error("the guest was told")
		}
	})
}

func (d *desk) countIn(channel, words string) (n int) {
	for _, m := range d.AllMessages() {
		if m.Channel == channel && strings.Contains(m.Text, words) {
			n++
		}
	}
	return n
}

// TestAListSaysWhatIsLateAndLeadsThere: what is overdue comes with the latest
// first, says who has it, and has an address that is Slack's own.
func TestAListSaysWhatIsLateAndLeadsThere(t *testing.T) {
	d := sit(t, owning("http"))
	ids := []string{}
	for _, days := range []int{-3, -9, 400000, -6} {
		n := len(ids) + 1
		ids = append(ids, d.alert(n, func(v *policy.Violation) { v.Due = may.AddDate(0, 0, days) }))
	}
	first := d.shows(d.find(triage, "*"+ids[0]+" · "), "owners of the application: none")
	d.settle()
	check(t, d.Click(alice, triage, first.TS, "I take it"))
	d.shows(first, "*Taken* by")
	check(t, d.Command(bob, triage, "/rehome", "list overdue"))
	e := d.Ephemerals(bob)
	got := e[len(e)-1].Text
	at := func(id string) int { return strings.Index(got, "*"+id+"*") }
	if !strings.HasPrefix(got, "*Open and overdue: 3*") || at(ids[2]) >= 0 || at(ids[1]) < 0 || at(ids[1]) > at(ids[3]) || at(ids[3]) > at(ids[0]) {
		t.Errorf("the latest is not first:\n%s", got)
	}
	if !strings.Contains(got, "taken by <@"+alice+"> · ") {
		t.Errorf("it does not say who has it:\n%s", got)
	}
	link, err := d.chat.api.GetPermalinkContext(t.Context(), &slack.PermalinkParameters{Channel: triage, Ts: first.TS})
	check(t, err)
	if !strings.Contains(got, "<"+link+"|its thread>") {
		t.Errorf("it does not lead to %s:\n%s", link, got)
	}
}

func TestTakingHandingOverAndJoining(t *testing.T) {
	everyDoorWith(t, nil, func(t *testing.T, d *desk) {
		id := d.alert(1)
		root := d.find(triage, "*"+id+" · ")
		d.find(security, id+": no owner can be told")
		root = d.shows(root, "owners of the application: none")
		stale := root
		check(t, d.Click(alice, triage, root.TS, "I take it"))
		root = d.shows(root, "*Taken* by <@"+alice+">")
		if got := labels(root); got != "Join Let go [Hand over…]" {
			t.Errorf("once taken it has %s", got)
		}
		check(t, d.ClickOn(bob, stale, "I take it"))
		d.told(bob, "<@"+alice+"> took it before you")

		for who, why := range map[string]string{guest: "is a guest here", botUser: "is an app", "U0000000099": "I don't find"} {
			check(t, d.Select(alice, triage, root.TS, actionHand, who))
			d.told(alice, why)
			if e := d.Ephemerals(alice); !strings.Contains(e[len(e)-1].Text, "nothing changed") {
				t.Errorf("%s: %s", who, e[len(e)-1].Text)
			}
		}
		check(t, d.Select(alice, triage, root.TS, actionHand, dana))
		root = d.shows(root, "*Taken* by <@"+dana+">")
		hers := d.find(d.DM(dana), "*"+id+" · ")
		if !strings.Contains(hers.Text, "it was handed over to you") {
			t.Errorf("it does not say why:\n%s", hers.Text)
		}

		check(t, d.Click(bob, triage, root.TS, "Join"))
		his := d.find(d.DM(bob), "*"+id+" · ")
		if got := labels(his); got != "[Hand over…]" {
			t.Errorf("who joined has %s", got)
		}
		d.find(d.DM(bob), "*1. Is ")
		check(t, d.Click(bob, triage, root.TS, "Let go"))
		d.told(bob, "Only <@"+dana+"> can let go of it")
		mine := d.shows(hers, "*Taken* by <@"+dana+">")
		if got := labels(mine); got != "Not my app Let go [Hand over…]" {
			t.Errorf("who has it has %s", got)
		}
		check(t, d.Click(dana, mine.Channel, mine.TS, "Let go"))
		root = d.shows(root, "*Taken* by nobody: <@"+dana+"> let go of it")
		hers = d.shows(hers, "by nobody")
		if got := labels(root) + " / " + labels(hers); got != "I take it Join [Hand over…] / I take it [Hand over…]" {
			t.Errorf("once nobody has it there are %s", got)
		}
		d.find(security, id+": <@"+dana+"> let go of it, and no owner is known")
		check(t, d.ClickOn(dana, mine, "Let go"))
		d.find(d.DM(dana), "You let go of it already")
		check(t, d.Select(bob, triage, root.TS, actionHand, dana))
		root = d.shows(root, "*Taken* by <@"+dana+">")
		check(t, d.Click(bob, triage, root.TS, "Join"))
		d.told(bob, "in our direct message already")
		check(t, d.Click(guest, triage, root.TS, "Join"))
		d.told(guest, "your account is a guest here, so nothing changed")
		d.settle()
		if len(d.Messages(d.DM(guest))) != 0 {
			t.Error("the guest was told")
		}

		for _, c := range []struct{ user, list, want string }{
			{dana, "list", "*" + id + "*"}, {bob, "list mine", "*" + id + "*"}, {carol, "list", "none"}, {carol, "list team", "Open in this channel: 1"}, {carol, "list overdue", "none"},
		} {
			check(t, d.Command(c.user, triage, "/rehome", c.list))
			if e := d.Ephemerals(c.user); !strings.Contains(e[len(e)-1].Text, c.want) {
				t.Errorf("%s: %s", c.list, e[len(e)-1].Text)
			}
		}
		check(t, d.Command(carol, random, "/rehome", "list team"))
		d.told(carol, "Open in this channel: none")
		check(t, d.Command(carol, d.DM(carol), "/rehome", "list team"))
		d.told(carol, "*Open: 1*")

		_, err := d.bot.Open(t.Context(), "resolved", "s360/KAI-1", conversation.Opened{
			Violation: policy.Violation{ID: "KAI-1", Title: title, Status: "resolved", Source: policy.ViolationFrom{System: "s360"}}, In: conversation.Place{Channel: triage}})
		check(t, err)
		for _, m := range []sandbox.Message{root, hers, his} {
			if m := d.shows(m, "Closed: resolved in s360"); labels(m) != "" {
				t.Errorf("closed, and it still has %s", labels(m))
			}
		}
		check(t, d.ClickOn(bob, stale, "I take it"))
		d.told(bob, "*"+id+"* is closed: resolved in s360. Nothing changed.")
	})
}

func TestWithoutPeopleNobodyIsToldAndNothingBreaks(t *testing.T) {
	s := owning("http")
	s.bot = func(b *bot.Bot) { b.People = nil }
	d := sit(t, s)
	id := d.alert(1)
	root := d.find(triage, "*"+id+" · ")
	check(t, d.Select(alice, triage, root.TS, actionHand, dana))
	d.shows(root, "*Taken* by <@"+dana+">")
	d.settle()
	if n := len(d.Messages(d.DM(dana))); n != 0 {
		t.Errorf("%d messages", n)
	}
}

func TestWhatTheDirectorySaidIsDatedWhenItIsOld(t *testing.T) {
	for _, c := range []struct {
		age   time.Duration
		dated bool
	}{{0, false}, {8 * time.Minute, false}, {14 * time.Minute, true}} {
		t.Run(c.age.String(), func(t *testing.T) {
			s := owning("http", mailOf("carol"))
			change := s.bot
			s.bot = func(b *bot.Bot) {
				change(b)
				b.Directory = cached{shelf{mailOf("carol")}, c.age}
			}
			d := sit(t, s)
			root := d.shows(d.find(triage, "*"+d.alert(1)+" · "), "Looked for owners in")
			if dated := strings.Contains(root.Text, "As of <!date^"); dated != c.dated {
				t.Errorf("dated: %v, want %v:\n%s", dated, c.dated, root.Text)
			}
		})
	}
}

// A cached directory answers with what it read some time ago.
type cached struct {
	bot.Directory
	age time.Duration
}

func (c cached) App(ctx context.Context, q bot.AppQuery, fresh bool) (bot.AppEntry, error) {
	e, err := c.Directory.App(ctx, q, fresh)
	e.ReadAt = e.ReadAt.Add(-c.age)
	return e, err
}

func TestWhoMustNotBeToldIsNot(t *testing.T) {
	d := sit(t, owning("http", mailOf("guest"), mailOf("nobody"), bot.OwnerEntry{Kind: bot.UserOwner, Disabled: true}, bot.OwnerEntry{Kind: bot.UserOwner, Hidden: "User.Read.All"}))
	id := d.alert(1)
	d.find(security, id+": no owner can be told")
	root := d.shows(d.find(triage, "*"+id+" · "), "Looked for owners in")
	for _, why := range []string{"1 is a guest here", "1 not in this workspace", "1 left", "1 mail hidden: needs User.Read.All"} {
		if !strings.Contains(root.Text, why) {
			t.Errorf("it does not say %s:\n%s", why, root.Text)
		}
	}
	d.settle()
	if len(d.Messages(d.DM(guest))) != 0 {
		t.Error("the guest was told")
	}
	if strings.Contains(d.log.String(), "@contoso") || strings.Contains(d.Transcript(), "@contoso") {
		t.Errorf("a mail address was written down:\n%s", d.log)
	}
}

func TestManyAtOnceAreOneDigest(t *testing.T) {
	for _, door := range []string{"socket", "http"} {
		t.Run(door, func(t *testing.T) {
			h := &hours{}
			theDigest(t, sit(t, h.gather(owning(door, mailOf("carol")))), h)
		})
	}
}

func theDigest(t *testing.T, d *desk, h *hours) {
	d.digested(5)
	h.pass(d, carol, 5)
	list := d.find(d.DM(carol), "5 findings for you")
	for n := 1; n <= 5; n++ {
		if !strings.Contains(list.Text, fmt.Sprintf("*RH-%d*", n)) {
			t.Errorf("RH-%d is not on it:\n%s", n, list.Text)
		}
	}
	if strings.Count(list.Text, "/archives/"+triage+"/p") != 5 || strings.Count(list.Text, "*App*") != 1 {
		t.Errorf("links or apps are missing:\n%s", list.Text)
	}
	d.settle()
	if n := len(d.Messages(d.DM(carol))); n != 1 {
		t.Errorf("she has %d messages:\n%s", n, d.Transcript())
	}
	d.shows(d.find(triage, "*RH-2 · "), "<@"+carol+"> (told, in a digest)")

	press := func(id, label string) {
		t.Helper()
		i := slices.IndexFunc(list.Buttons(), func(b sandbox.Button) bool { return b.Label == label && strings.Contains(b.BlockID, ":"+id+":") })
		if i < 0 {
			t.Fatalf("no %s for %s", label, id)
		}
		check(t, d.press(carol, list, list.Buttons()[i]))
	}
	press("RH-2", "Open here")
	d.told(carol, "*RH-2* comes up below")
	own := d.find(d.DM(carol), "*RH-2 · ")
	d.find(d.DM(carol), "*1. Is ")
	d.settle()
	press("RH-2", "Open here")
	d.told(carol, "*RH-2* is in our direct message already")
	if labels(own) != "I take it Not my app [Hand over…]" {
		t.Errorf("it has %s", labels(own))
	}

	press("RH-3", "Not my app")
	asked := d.told(carol, "Noted: *RH-3*.")
	d.shows(d.find(triage, "*RH-3 · "), "<@"+carol+"> (says it is not theirs)")
	check(t, d.SelectOn(carol, asked, actionName, dana))
	d.told(carol, "Thank you. I tell <@"+dana+"> of *RH-3*")
	h.pass(d, dana, 5)
	d.find(d.DM(dana), "5 findings for you") // the others are about the same app
	d.shows(d.find(triage, "*RH-5 · "), "<@"+carol+"> (says it is not theirs), <@"+dana+">")
	own = d.find(d.DM(carol), "You said that this app is not yours")
	for _, again := range []string{"RH-3", "RH-4"} {
		press(again, "Not my app")
		d.told(carol, "Noted already: *"+again+"*'s app is not yours, and <@"+dana+"> was named for it.")
	}
	check(t, d.SelectOn(carol, own, actionName, dana))
	d.find(d.DM(carol), "Noted already: this app is <@"+dana+">'s.")
	d.settle()
	if n := strings.Count(d.Transcript(), "I tell <@"+dana+">"); n != 1 {
		t.Errorf("she was thanked %d times:\n%s", n, d.Transcript())
	}
}

// digested takes n alerts in at once, so that they come together for one owner.
func (d *desk) digested(n int) {
	d.t.Helper()
	var alerts []bot.Alert
	for i := range n {
		v := policy.Violation{ID: fmt.Sprint("KAI-", i), Source: policy.ViolationFrom{System: "s360"}, Title: title, App: policy.App{AppID: ledger, DisplayName: "Contoso Ledger"}, Due: may.AddDate(0, 0, i-1)}
		alerts = append(alerts, bot.Alert{Key: v.ID, Finding: v.ID, Opened: conversation.Opened{Violation: v, Facts: d.bot.Policy.Infer(v), In: conversation.Place{Channel: triage}}})
	}
	_, err := d.bot.TakeIn(d.t.Context(), store.Batch{}, alerts...)
	check(d.t, err)
}

// press is a click on one of several buttons with the same label.
func (d *desk) press(user string, m sandbox.Message, b sandbox.Button) error {
	var only []any
	for _, block := range blocksOf(d.t, m) {
		if block["block_id"] == b.BlockID {
			only = append(only, block)
		}
	}
	raw, err := json.Marshal(only)
	check(d.t, err)
	m.Blocks = raw
	return d.ClickOn(user, m, b.ActionID)
}

func blocksOf(t *testing.T, m sandbox.Message) []map[string]any {
	t.Helper()
	var out []map[string]any
	check(t, json.Unmarshal(m.Blocks, &out))
	return out
}
