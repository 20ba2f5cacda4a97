package slackapp

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rehome/bot"
	"rehome/bot/sandbox"
	"rehome/conversation"
	"rehome/policy"
)

// directoryOf answers auth.test, and everything else with one person.
func directoryOf(user string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/auth.test") {
			_, _ = io.WriteString(w, `{"ok":true,"team_id":"T1","user_id":"`+botUser+`","bot_id":"B1"}`)
			return
		}
		_, _ = io.WriteString(w, user)
	}
}

func TestWhoMayBeTold(t *testing.T) {
	for _, c := range []struct{ name, user, skip, zone string }{
		{"a colleague", `"team_id":"T1","tz":"Europe/Stockholm","tz_offset":7200`, "", "Europe/Stockholm"},
		{"a zone nobody knows", `"team_id":"T1","tz":"Mars/Olympus","tz_offset":3600`, "", "3600"},
		{"a zone that is a path", `"team_id":"T1","tz":"../../etc/passwd","tz_offset":0`, "", "0"},
		{"no zone", `"team_id":"T1"`, "", "none"},
		{"who left", `"team_id":"T1","deleted":true`, "left", "none"},
		{"a guest", `"team_id":"T1","is_restricted":true`, "is a guest here", "none"},
		{"a guest of one channel", `"team_id":"T1","is_ultra_restricted":true`, "is a guest here", "none"},
		{"a stranger", `"team_id":"T1","is_stranger":true`, "is of another workspace", "none"},
		{"another team", `"team_id":"T2"`, "is of another workspace", "none"},
		{"another workspace of one organisation, and ours", `"team_id":"T2","enterprise_user":{"id":"W1","teams":["T2","T1"]}`, "", "none"},
		{"another workspace of one organisation", `"team_id":"T2","enterprise_user":{"id":"W1","teams":["T2"]}`, "is of another workspace", "none"},
		{"an app", `"team_id":"T1","is_bot":true,"deleted":true`, "is an app", "none"},
		{"a workflow", `"team_id":"T1","is_workflow_bot":true`, "is an app", "none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			chat, book := slackSays(t, directoryOf(`{"ok":true,"user":{"id":"U7","profile":{"email":"carol@contoso.example"},`+c.user+`}}`))
			for _, who := range []bot.Identity{{ID: "U7"}, {Mail: "carol@contoso.example"}} {
				p, err := chat.Person(t.Context(), who)
				check(t, err)
				zone := "none"
				if p.Zone != nil {
					if zone = p.Zone.String(); zone == "" {
						_, offset := may.In(p.Zone).Zone()
						zone = fmt.Sprint(offset)
					}
				}
				if p.ID != "U7" || p.Skip != c.skip || zone != c.zone {
					t.Errorf("got %+v, zone %s", p, zone)
				}
			}
			nothingKept(t, chat, book)
		})
	}
}

// nothingKept checks that Carol's mail address is nowhere.
func nothingKept(t *testing.T, chat *Chat, book *logbook) {
	t.Helper()
	if kept := fmt.Sprintf("%+v", chat.people.people); strings.Contains(kept, "carol") || strings.Contains(book.String(), "carol") {
		t.Errorf("her address is kept:\n%s\n%s", kept, book)
	}
}

func TestNobodyIsNotTheSameAsNoAnswer(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer string
		kind   bot.FailureKind
		code   string
	}{
		{"no such address", `{"ok":false,"error":"users_not_found"}`, bot.Never, "users_not_found"},
		{"no such id", `{"ok":false,"error":"user_not_found"}`, bot.Never, "user_not_found"},
		{"not to be seen from here", `{"ok":false,"error":"user_not_visible"}`, bot.Never, "user_not_visible"},
		{"a scope is missing", `{"ok":false,"error":"missing_scope","needed":"users:read.email"}`, bot.Again, "missing_scope"},
		{"too fast", `{"ok":false,"error":"ratelimited"}`, bot.Again, "ratelimited"},
		{"nothing", `{}`, bot.Again, "empty_answer"},
		{"nobody, but fine", `{"ok":true,"user":{}}`, bot.Again, "empty_answer"},
		{"a page", `<html>`, bot.Again, "unreadable_answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			chat, book := slackSays(t, directoryOf(c.answer))
			_, err := chat.Person(t.Context(), bot.Identity{Mail: "carol@contoso.example"})
			if f := failed(err); f.Kind != c.kind || f.Code != c.code {
				t.Errorf("got %v", err)
			}
			if strings.Contains(err.Error(), "carol") {
				t.Errorf("the error names her: %v", err)
			}
			if c.code == "missing_scope" && !strings.Contains(book.String(), "users:read.email") {
				t.Errorf("the operator is not told what to do: %s", book)
			}
			nothingKept(t, chat, book)
		})
	}
	chat, _ := slackSays(t, directoryOf(`{"ok":true,"user":{"id":"U7"}}`))
	for _, who := range []bot.Identity{{}, {ID: "<!channel>"}, {ID: "C0000000001"}} {
		if _, err := chat.Person(t.Context(), who); failed(err).Kind != bot.Never {
			t.Errorf("%+v: %v", who, err)
		}
	}
}

// TestPeopleAreRememberedForAWhile: a thousand alerts for one owner ask once, and
// not for ever.
func TestPeopleAreRememberedForAWhile(t *testing.T) {
	var asked atomic.Int32
	var answer atomic.Value
	answer.Store(`{"ok":true,"user":{"id":"U7","team_id":"T1"}}`)
	synctest.Test(t, func(t *testing.T) {
		chat, err := NewChat(Options{BotToken: "xoxb-test", APIURL: "https://slack.example/api"})
		check(t, err)
		chat.http.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			text := answer.Load().(string)
			if strings.HasSuffix(r.URL.Path, "/auth.test") {
				text = `{"ok":true,"team_id":"T1","user_id":"` + botUser + `"}`
			} else {
				asked.Add(1)
			}
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
		})
		ask := func(mail string, want int32) {
			t.Helper()
			for range 50 {
				_, _ = chat.Person(t.Context(), bot.Identity{Mail: mail})
			}
			if n := asked.Load(); n != want {
				t.Errorf("%s: asked %d times in all, want %d", mail, n, want)
			}
		}
		ask("Carol@contoso.example", 1)
		ask("carol@CONTOSO.example", 1)
		pause(personFor + time.Second)
		ask("carol@contoso.example", 2)
		answer.Store(`{"ok":false,"error":"users_not_found"}`)
		ask("nobody@contoso.example", 3)
		pause(nobodyFor + time.Second)
		ask("nobody@contoso.example", 4)
		answer.Store(`{"ok":false,"error":"internal_error"}`)
		ask("dana@contoso.example", 54) // no answer is not remembered
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// pause lets virtual time pass.
func pause(d time.Duration) { <-time.After(d) }

func TestASlowSlackDoesNotHoldUpAPress(t *testing.T) {
	s := owning("http")
	s.doors = func(d *Doors) { d.patience = 0 } // as in production
	var slow atomic.Bool
	s.config = withFault(s.config, func(method string, _ int) sandbox.Fault {
		if method == "users.info" && slow.Load() {
			return sandbox.Fault{Kind: sandbox.Hang}
		}
		return sandbox.Fault{}
	})
	d := sit(t, s)
	id := d.alert(1)
	root := d.shows(d.find(triage, "*"+id+" · "), "Looked for owners in")
	slow.Store(true)
	check(t, d.Select(alice, triage, root.TS, actionHand, dana)) // within three seconds
	d.told(alice, "I could not find out just now whether <@"+dana+"> may be told, so nothing changed")
	c, err := d.store.Get(t.Context(), id)
	check(t, err)
	if c.Taken.ID != "" {
		t.Error("it was handed over to somebody nobody knows")
	}
}

func TestWhoCannotGetADirectMessageIsReported(t *testing.T) {
	for _, code := range []string{"cannot_dm_bot", "user_disabled", "messages_tab_disabled", "user_not_found", "channel_not_found", "not_in_channel", "is_archived", "as_user_not_supported", "restricted_action"} {
		t.Run(code, func(t *testing.T) {
			chat, _ := slackSays(t, refused(code))
			_, err := chat.Show(t.Context(), bot.Message{Conversation: "RH-1", Key: "root", Card: conversation.Root{ID: "RH-1"}, Channel: "U7", Digest: "0123"})
			if f := failed(err); f.Kind != bot.Never || f.Code != code {
				t.Errorf("a root: %v", err)
			}
			err = chat.Digest(t.Context(), bot.Message{Channel: "U7"}, bot.Digest{List: []bot.Listed{{ID: "RH-1"}}})
			if f := failed(err); f.Kind != bot.Never || f.Code != code {
				t.Errorf("a digest: %v", err)
			}
		})
	}
}

func TestOwnersWhoAreUnreachableAreSaidInTheSecurityChannel(t *testing.T) {
	s := owning("http", mailOf("carol"))
	d := sit(t, s)
	d.refuse(carol, "messages_tab_disabled")
	id := d.alert(1)
	d.find(security, id+": I could not tell <@"+carol+"> (messages_tab_disabled). Somebody else has to.")
	d.shows(d.find(triage, "*"+id+" · "), "<@"+carol+"> (not reached: messages from this app are switched off)")
}

// refuse makes Slack refuse what goes to somebody.
func (d *desk) refuse(user, code string) {
	next := d.chat.http.Transport
	d.chat.http.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		if strings.HasSuffix(r.URL.Path, "/chat.postMessage") {
			raw, err := io.ReadAll(r.Body)
			if err != nil {
				return nil, err
			}
			if strings.Contains(string(raw), "channel="+user) {
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"ok":false,"error":"` + code + `"}`)), Request: r}, nil
			}
			r = r.Clone(context.WithoutCancel(r.Context()))
			r.Body = io.NopCloser(strings.NewReader(string(raw)))
		}
		return next.RoundTrip(r)
	})
}

// listOf is a digest's list: n conversations about three apps.
func listOf(n int) []bot.Listed {
	var out []bot.Listed
	for i := range n {
		app := i % 3
		out = append(out, bot.Listed{
			ID: fmt.Sprint("RH-", i+1), Title: title, App: fmt.Sprint("contoso-", app), AppID: fmt.Sprintf("1111111%d-2222-4333-8444-555555555555", app),
			Due: may.AddDate(0, 0, i-2), Overdue: i < 2, Thread: conversation.Place{Channel: triage}, RootTS: fmt.Sprint("1.", i+1),
		})
	}
	return out
}

func TestDigestsLookAsTheyShould(t *testing.T) {
	d := sit(t, set{door: "http"})
	links := map[string]string{}
	for _, l := range listOf(200) {
		links[l.ID] = "https://contoso.example/archives/" + triage + "/p" + l.RootTS
	}
	bad := listOf(4)
	for i := range bad {
		bad[i].Title, bad[i].App, bad[i].AppID = nasty, nasty, ""
		bad[i].Thread.Channel = nasty
	}
	bad[2].App, bad[3].AppID = "", nasty
	m := bot.Message{Conversation: "list", Key: "0123456789abcdef", Channel: alice}
	for name, page := range map[string]bot.Digest{
		"one": {List: listOf(1)}, "five": {List: listOf(5)}, "nasty": {List: bad}, "first": {List: listOf(3), Follow: 12, Left: 40},
		"bare": {List: []bot.Listed{{ID: "RH-1"}, {ID: "RH-2", Thread: conversation.Place{Channel: alice}}}},
	} {
		p := digestPage(m, page, links)
		p.stamp(markerOf(m).String())
		golden(t, "digest-"+name, p.words(), p.blocks)
	}
	worst := listOf(100)
	for i := range worst {
		worst[i].Title, worst[i].App, worst[i].AppID = strings.Repeat("&<>", 2000), strings.Repeat("&<>", 2000), fmt.Sprint("app ", i)
	}
	var short []bot.Listed
	for i := range 50 {
		short = append(short, bot.Listed{ID: fmt.Sprint("RH-", i+1), App: fmt.Sprint("app", i)})
	}
	for name, list := range map[string][]bot.Listed{"five": listOf(5), "fifteen": listOf(15), "a hundred": listOf(100), "the worst": worst, "nasty": bad, "short": short} {
		messages := 0
		for rest := list; len(rest) > 0; messages++ {
			n := d.chat.Fit(rest)
			if n < 1 || n > len(rest) {
				t.Fatalf("%s: %d of %d fit", name, n, len(rest))
			}
			p := digestPage(m, bot.Digest{List: rest[:n], Follow: len(rest) - n, Left: 7}, links)
			p.stamp(markerOf(m).String())
			if p.full || strings.Contains(p.words(), string(voiceCut)) || strings.Count(p.words(), "*RH-") != n {
				t.Errorf("%s: a page of %d is cut", name, n)
			}
			again := digestPage(m, bot.Digest{List: rest[:n], Follow: len(rest) - n, Left: 7}, links)
			again.stamp(markerOf(m).String())
			before, _ := json.Marshal(p.blocks)
			after, _ := json.Marshal(again.blocks)
			if string(before) != string(after) {
				t.Errorf("%s: a page differs from itself", name)
			}
			d.accepts(t, p.blocks, p.words())
			rest = rest[n:]
		}
		if messages > (len(list)+2)/3 {
			t.Errorf("%s: %d messages", name, messages)
		}
	}
}

// TestADigestIsFoundByExactlyWhatIsOnIt loses the answer to one page of a list.
func TestADigestIsFoundByExactlyWhatIsOnIt(t *testing.T) {
	for name, tc := range map[string]struct {
		fault sandbox.FaultKind
		there bool
	}{
		"not taken": {sandbox.FailBefore, false}, "taken, and not said": {sandbox.FailAfter, true}, "the line broke": {sandbox.DropAfter, true},
	} {
		t.Run(name, func(t *testing.T) {
			var broken atomic.Bool
			d := sit(t, set{door: "http", config: func(c *sandbox.Config) {
				c.Fault = func(method string, _ int) sandbox.Fault {
					if method == "chat.postMessage" && broken.Load() {
						return sandbox.Fault{Kind: tc.fault}
					}
					return sandbox.Fault{}
				}
			}})
			page := func(key string) bot.Message {
				return bot.Message{Conversation: "list", Key: key, Channel: alice}
			}
			check(t, d.chat.Digest(t.Context(), page("aa"), bot.Digest{List: listOf(4)}))
			begun := time.Now()
			broken.Store(true)
			if f := failed(d.chat.Digest(t.Context(), page("bb"), bot.Digest{List: listOf(4)})); f.Kind != bot.Again || !f.Unsure {
				t.Fatalf("got %+v", f)
			}
			broken.Store(false)
			for key, there := range map[string]bool{"aa": true, "bb": tc.there, "b": false} {
				if _, found, err := d.chat.Find(t.Context(), page(key), begun.Add(-time.Minute)); err != nil || found != there {
					t.Errorf("page %s: found %v, %v; want %v", key, found, err, there)
				}
			}
		})
	}
}

func TestAReportIsAMessageInItsChannel(t *testing.T) {
	d := sit(t, set{door: "http"})
	m := bot.Message{Conversation: "RH-1", Key: "d7", Channel: triage}
	check(t, d.chat.Report(t.Context(), m, policy.Text{{Text: "RH-1: I could not tell "}, {Kind: policy.Who, Text: bob}, {Text: " (" + nasty + ")."}}))
	for _, who := range d.find(triage, "RH-1: I could not tell <@"+bob+">").Mentions {
		if who != bob {
			t.Errorf("it mentions %s", who)
		}
	}
	if _, found, err := d.chat.Find(t.Context(), m, time.Now().Add(-time.Minute)); err != nil || !found {
		t.Errorf("it is not found again: %v, %v", found, err)
	}
	m.Channel = "C9999999999"
	if err := d.chat.Report(t.Context(), m, policy.Say("x")); failed(err).Kind != bot.Never {
		t.Errorf("got %v", err)
	}
}

func TestOneDigestADayIsKept(t *testing.T) {
	d := sit(t, owning("http", mailOf("carol")))
	check(t, d.Command(carol, triage, "/rehome", "digest daily"))
	d.told(carol, "once a day")
	kept := func() string {
		t.Helper()
		all, err := d.store.Recall(t.Context(), "person/"+carol+"/")
		check(t, err)
		how, _, _ := strings.Cut(all["person/"+carol+"/digest"], " ") // the commands' keys follow
		return how
	}
	if kept() != "daily" {
		t.Errorf("kept %q", kept())
	}
	check(t, d.Command(carol, triage, "/rehome", "digest now"))
	d.told(carol, "as things come")
	if kept() != "now" {
		t.Errorf("kept %q", kept())
	}
}
