package slackapp

import (
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rehome/bot"
	"rehome/bot/sandbox"
	"rehome/conversation"
)

// doors are the doors of the bot that runs.
func (w *world) doors() *Doors {
	w.t.Helper()
	d, err := New(Doors{Bot: w.bot, Chat: w.chat, Log: w.log.logger()})
	check(w.t, err)
	return d
}

// hears brings a message to the doors as Slack does, and waits for what follows
// its acknowledgement.
func (w *world) hears(d *Doors, user, channel, text string) {
	w.t.Helper()
	ts, err := w.Say(user, channel, "", text)
	check(w.t, err)
	kind := "app_mention"
	if strings.HasPrefix(channel, "D") {
		kind = "message"
	} else {
		text = "<@" + botUser + "> " + text
	}
	e := event{Type: "event_callback", Event: happening{Type: kind, User: user, Channel: channel, Text: text, TS: ts}, Auths: []authorized{{UserID: botUser, IsBot: true}}}
	a := d.take(w.t.Context(), e)
	check(w.t, a.err)
	d.finish(w.t.Context(), a)
}

// failing is a Slack in which the first calls of a method fail.
func failing(method string, f ...sandbox.Fault) func(string, int) sandbox.Fault {
	return func(m string, n int) sandbox.Fault {
		if m == method && n <= len(f) {
			return f[n-1]
		}
		return sandbox.Fault{}
	}
}

const whatIDo = "What I do"

// answers counts the calls for help that were answered.
func (w *world) answers(user string) (n int) {
	for _, m := range append(w.Ephemerals(user), w.AllMessages()...) {
		if strings.Contains(m.Text, whatIDo) {
			n++
		}
	}
	return n
}

// TestAnAnswerThatBelongsToNoConversationOutlivesFailures calls for help in a
// channel, where the answer cannot be looked for, and in a direct message, where
// it can.
func TestAnAnswerThatBelongsToNoConversationOutlivesFailures(t *testing.T) {
	limited, vague := sandbox.Fault{Kind: sandbox.RateLimited, Delay: 20 * time.Second}, sandbox.Fault{Kind: sandbox.RateLimited, Delay: -1}
	for name, c := range map[string]struct {
		faults  []sandbox.Fault
		after   time.Duration // by when it is there
		whisper int           // answers in a channel
		direct  int           // answers in a direct message
		code    string        // of what is given up in a channel
	}{
		"none":                          {nil, 0, 1, 1, ""},
		"too fast":                      {[]sandbox.Fault{limited}, 30 * time.Second, 1, 1, ""},
		"too fast, unsaid how long":     {[]sandbox.Fault{vague}, 40 * time.Second, 1, 1, ""},
		"too fast, three times":         {[]sandbox.Fault{limited, limited, limited}, 100 * time.Second, 1, 1, ""},
		"too fast for longer":           {[]sandbox.Fault{limited, limited, limited, limited, limited, limited, limited, limited}, 5 * time.Minute, 0, 0, bot.CodeLimited},
		"told to wait too long":         {[]sandbox.Fault{{Kind: sandbox.RateLimited, Delay: 10 * time.Minute}}, time.Hour, 0, 0, bot.CodeLimited},
		"it was not done":               {[]sandbox.Fault{{Kind: sandbox.FailBefore}}, 30 * time.Second, 1, 1, ""},
		"it was done":                   {[]sandbox.Fault{{Kind: sandbox.FailAfter}}, time.Minute, 2, 1, ""},
		"it broke before":               {[]sandbox.Fault{{Kind: sandbox.DropBefore}}, 30 * time.Second, 1, 1, ""},
		"it broke after it was done":    {[]sandbox.Fault{{Kind: sandbox.DropAfter}}, time.Minute, 2, 1, ""},
		"it broke twice":                {[]sandbox.Fault{{Kind: sandbox.DropAfter}, {Kind: sandbox.DropAfter}, {Kind: sandbox.DropAfter}}, time.Minute, 2, 1, "no_answer"},
		"too fast, and then it is done": {[]sandbox.Fault{limited, {Kind: sandbox.DropAfter}}, time.Minute, 2, 1, ""},
	} {
		for _, place := range []string{"channel", "direct message"} {
			t.Run(name+" in a "+place, func(t *testing.T) {
				method, want, code := "chat.postEphemeral", c.whisper, c.code
				if place != "channel" {
					if method, want = "chat.postMessage", c.direct; want == 1 {
						code = ""
					}
				}
				inWorld(t, failing(method, c.faults...), nil, func(w *world) {
					where := triage
					if place != "channel" {
						where = w.DM(alice)
					}
					w.hears(w.doors(), alice, where, "help")
					pass(c.after)
					if n := w.answers(alice); n != want {
						t.Errorf("%d answers after %s, want %d\n%s", n, c.after, want, w.log)
					}
					pass(time.Hour)
					if n := w.answers(alice); n != want {
						t.Errorf("%d answers in the end, want %d\n%s", n, want, w.log)
					}
					gaveUp := strings.Count(w.log.String(), "somebody could not be answered")
					if (code != "") != (gaveUp == 1) || code != "" && !strings.Contains(w.log.String(), "code="+code) {
						t.Errorf("given up %d times, want code %q:\n%s", gaveUp, code, w.log)
					}
					if strings.Contains(w.log.String(), whatIDo) {
						t.Error("the log has its words")
					}
				})
			})
		}
	}
}

// TestTheConfirmationOfAFormOutlivesALimit sends a form that was opened in a
// channel, where the answer is the only word of what came of it.
func TestTheConfirmationOfAFormOutlivesALimit(t *testing.T) {
	inWorld(t, failing("chat.postEphemeral", sandbox.Fault{Kind: sandbox.RateLimited, Delay: 5 * time.Second}), nil, func(w *world) {
		d := w.doors()
		meta, err := json.Marshal(form{Place: conversation.Place{Channel: triage}})
		check(w.t, err)
		i := interaction{Type: typeSubmission, User: idOnly{alice}, View: view{ID: "V1", CallbackID: formCallback, Private: string(meta)}}
		var chosen field
		chosen.Selected.Value = title
		i.View.State.Values = map[string]map[string]field{formViolation: {formAction: chosen}}
		d.finish(w.t.Context(), d.take(w.t.Context(), i))
		pass(30 * time.Second)
		if e := w.Ephemerals(alice); len(e) != 1 || !strings.Contains(e[0].Text, "*RH-1* is open in this channel") {
			t.Errorf("%+v\n%s", e, w.log)
		}
	})
}

// TestManyAnswersKeepSlacksLimits: more people call for help at once than Slack
// takes answers in a minute.
func TestManyAnswersKeepSlacksLimits(t *testing.T) {
	const many = 130
	inWorld(t, nil, nil, func(w *world) {
		d := w.doors()
		for range many {
			w.hears(d, bob, triage, "help")
		}
		pass(10 * time.Minute)
		sent := 0
		for _, c := range w.Calls() {
			if c.Method == "chat.postEphemeral" {
				if sent++; !c.OK {
					t.Errorf("sent away: %s", c.Error)
				}
			}
		}
		if n := w.answers(bob); sent != many || n != many {
			t.Errorf("%d answers in %d calls, want %d:\n%s", n, sent, many, w.log)
		}
	})
}

// TestAnswersThatWaitAreBounded: while Slack wants nothing, as many wait as there
// is room for, and the others are given up at once.
func TestAnswersThatWaitAreBounded(t *testing.T) {
	on := sandbox.Fault{Kind: sandbox.RateLimited, Delay: time.Minute}
	inWorld(t, failing("chat.postEphemeral", on), nil, func(w *world) {
		d := w.doors()
		for range 300 {
			w.hears(d, bob, triage, "help")
		}
		if n := strings.Count(w.log.String(), "code=too_many_wait"); n != 300-256 {
			t.Errorf("%d did not have to wait, want %d", n, 300-256)
		}
	})
}

// TestAnAnswerThatWaitsAtTheEndIsGivenUp, and Run ends all the same.
func TestAnAnswerThatWaitsAtTheEndIsGivenUp(t *testing.T) {
	inWorld(t, failing("chat.postEphemeral", sandbox.Fault{Kind: sandbox.RateLimited, Delay: time.Minute}), nil, func(w *world) {
		d := w.doors()
		w.hears(d, bob, triage, "help")
		pass(time.Second)
		began := time.Now()
		w.stop()
		if err := <-w.ended; err != nil || time.Since(began) > time.Second {
			t.Errorf("Run took %s and says %v", time.Since(began), err)
		}
		w.ended <- nil
		w.hears(d, bob, triage, "help") // too late for Run to take it up
		if n := strings.Count(w.log.String(), "code=stopping"); n != 2 {
			t.Errorf("%d were given up, want both:\n%s", n, w.log)
		}
	})
}

// TestAPressThatChangesNothingIsAnsweredByAnotherWay presses a button of a
// conversation that is forgotten, with an address that is used up. Where one way is
// plainly refused the other is tried at once, and one that may have worked is tried
// once more itself.
func TestAPressThatChangesNothingIsAnsweredByAnotherWay(t *testing.T) {
	const by = "chat.postEphemeral"
	for name, c := range map[string]struct {
		fault    func(string, int) sandbox.Fault
		told     int
		responds int32 // tries of the address
	}{
		"nothing fails":                {failing(by), 1, 0},
		"too fast":                     {failing(by, sandbox.Fault{Kind: sandbox.RateLimited}), 1, 1},
		"it may have been said":        {failing(by, sandbox.Fault{Kind: sandbox.DropAfter}), 2, 0},
		"it may have been, and is not": {failing(by, sandbox.Fault{Kind: sandbox.DropBefore}), 1, 0},
		"both are refused for a while": {both, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var responded atomic.Int32
			count := func(method string, n int) sandbox.Fault {
				if method == "response_url" {
					responded.Add(1)
				}
				return c.fault(method, n)
			}
			inWorld(t, count, nil, func(w *world) {
				d := w.doors()
				ts, err := w.Say(alice, triage, "", "a card, once")
				check(w.t, err)
				i := interaction{
					Type: typePress, User: idOnly{alice}, Channel: idOnly{triage}, Trigger: "t1", ResponseURL: "http://sandbox.invalid/response/none",
					Container: container{MessageTS: ts}, Actions: []action{{ActionID: actionChoose + ":0", BlockID: "ask:RH-77:q1:00000000", Value: "3P"}},
				}
				d.finish(w.t.Context(), d.take(w.t.Context(), i))
				pass(5 * time.Minute)
				told := 0
				for _, m := range w.Ephemerals(alice) {
					if strings.Contains(m.Text, "RH-77") {
						told++
					}
				}
				if told != c.told || responded.Load() != c.responds {
					t.Errorf("told %d times, %d tries of the address; want %d and %d\n%s", told, responded.Load(), c.told, c.responds, w.log)
				}
			})
		})
	}
}

// both refuses each way once.
func both(method string, n int) sandbox.Fault {
	if n == 1 && (method == "chat.postEphemeral" || method == "response_url") {
		return sandbox.Fault{Kind: sandbox.RateLimited, Delay: 5 * time.Second}
	}
	return sandbox.Fault{}
}
