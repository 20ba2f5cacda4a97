package bot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rehome/conversation"
	"rehome/policy"
	"rehome/store"
)

const tenantTitle = "AAD Entra Apps in Prod Tenants using certificates in Non-Prod Tenant"

// pass lets virtual time go by.
func pass(d time.Duration) { <-time.After(d) }

// A room is a chat that writes down what it is asked to do and can be told to
// fail.
type room struct {
	mu     sync.Mutex
	ts     int
	lines  []string
	at     []time.Time
	refuse func(m Message) error
	breaks func(m Message) error // after the message was taken
	posted map[string]At         // by conversation, key and channel
	looked int
	slow   func(m Message) time.Duration
}

func (r *room) Show(ctx context.Context, m Message) (At, error) {
	if r.slow != nil {
		select {
		case <-time.After(r.slow(m)):
		case <-ctx.Done():
			return At{}, &Failure{Kind: Again, Code: "timeout", Err: ctx.Err()}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse != nil {
		if err := r.refuse(m); err != nil {
			r.lines = append(r.lines, "refused "+m.Key)
			r.at = append(r.at, time.Now())
			return At{}, err
		}
	}
	verb := "edit"
	if m.TS == "" {
		r.ts++
		m.TS = fmt.Sprint(r.ts)
		verb = "post"
	}
	r.lines = append(r.lines, fmt.Sprintf("%s %s %s in %s/%s", m.Conversation, verb, m.Key, m.Channel, m.ThreadTS))
	r.at = append(r.at, time.Now())
	at := At{Channel: strings.Replace(m.Channel, "U", "D", 1), TS: m.TS}
	if r.posted == nil {
		r.posted = map[string]At{}
	}
	r.posted[m.Conversation+" "+m.Key+" "+at.Channel] = at
	if r.breaks != nil {
		if err := r.breaks(m); err != nil {
			return At{}, err
		}
	}
	return at, nil
}

func (r *room) Find(_ context.Context, m Message, _ time.Time) (At, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looked++
	at, found := r.posted[m.Conversation+" "+m.Key+" "+strings.Replace(m.Channel, "U", "D", 1)]
	return at, found, nil
}

func (r *room) Tell(_ context.Context, to conversation.Person, m Message, text policy.Text) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, "tell "+to.ID+" in "+m.Channel+"/"+m.ThreadTS+": "+text.String())
	r.at = append(r.at, time.Now())
	return nil
}

func (r *room) heard() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "\n")
}

// inBubble runs story with a bot at work, on virtual time.
func inBubble(t *testing.T, chat *room, story func(ctx context.Context, b *Bot)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		b := New(Bot{Policy: policy.Default(), Store: store.NewMem(), Chat: chat})
		ended := make(chan error, 1)
		go func() { ended <- b.Run(ctx) }()
		story(ctx, b)
		synctest.Wait()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func open(t *testing.T, ctx context.Context, b *Bot, key, channel string) string {
	t.Helper()
	facts, _ := b.Policy.Read(tenantTitle, "typed")
	done, err := b.Open(ctx, key, "", conversation.Opened{
		By: conversation.Person{ID: "U1"}, Facts: facts, In: conversation.Place{Channel: channel},
		Violation: policy.Violation{Title: tenantTitle},
	})
	if err != nil {
		t.Fatal(err)
	}
	return done.Conversation.ID
}

func want(t *testing.T, chat *room, lines ...string) {
	t.Helper()
	if got, want := chat.heard(), strings.Join(lines, "\n"); got != want {
		t.Errorf("the chat heard\n%s\nwant\n%s", got, want)
	}
}

func TestARootIsPostedBeforeItsQuestion(t *testing.T) {
	chat := &room{}
	inBubble(t, chat, func(ctx context.Context, b *Bot) {
		id := open(t, ctx, b, "k1", "C1")
		synctest.Wait()
		if _, err := b.Handle(ctx, "k2", id, conversation.Chosen{By: conversation.Person{ID: "U1"}, Question: 1, Value: "3P"}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		// The root's edits are in a line of their own, and come whenever they do.
		const edit = "RH-1 edit root in C1/"
		if n := strings.Count(chat.heard(), edit); n != 1 {
			t.Errorf("the root was edited %d times", n)
		}
		chat.lines = slices.DeleteFunc(chat.lines, func(l string) bool { return l == edit })
		want(t, chat,
			"RH-1 post root in C1/",
			"RH-1 post q1 in C1/1",
			"RH-1 edit q1 in C1/1",
			"RH-1 post q2 in C1/1",
		)
	})
}

func TestTheSameEventTwiceIsSaidOnce(t *testing.T) {
	chat := &room{}
	inBubble(t, chat, func(ctx context.Context, b *Bot) {
		first := open(t, ctx, b, "k1", "C1")
		if second := open(t, ctx, b, "k1", "C1"); second != first {
			t.Errorf("the repeat opened %s, the first %s", second, first)
		}
		synctest.Wait()
		want(t, chat, "RH-1 post root in C1/", "RH-1 post q1 in C1/1")
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	chat := &room{}
	refusals := 2
	chat.refuse = func(Message) error {
		if refusals == 0 {
			return nil
		}
		refusals--
		return &Failure{Kind: Again, After: 30 * time.Second, Code: "ratelimited"}
	}
	inBubble(t, chat, func(ctx context.Context, b *Bot) {
		open(t, ctx, b, "k1", "C1")
		pass(5 * time.Minute)
		synctest.Wait()
		want(t, chat, "refused root", "refused root", "RH-1 post root in C1/", "RH-1 post q1 in C1/1")
		for i := 1; i <= 2; i++ {
			if gap := chat.at[i].Sub(chat.at[i-1]); gap < 30*time.Second {
				t.Errorf("attempt %d came %v after the one before; Slack said 30 s", i+1, gap)
			}
		}
	})
}

func TestAMessageThatWasDeletedIsPostedAnew(t *testing.T) {
	chat := &room{}
	inBubble(t, chat, func(ctx context.Context, b *Bot) {
		id := open(t, ctx, b, "k1", "C1")
		synctest.Wait()
		chat.refuse = func(m Message) error {
			if m.TS == "2" {
				return &Failure{Kind: Lost, Code: "message_not_found"}
			}
			return nil
		}
		if _, err := b.Handle(ctx, "k2", id, conversation.Chosen{By: conversation.Person{ID: "U1"}, Question: 1, Value: "3P"}); err != nil {
			t.Error(err)
		}
		pass(10 * time.Second)
		synctest.Wait()
		if got := chat.heard(); !strings.Contains(got, "refused q1") || strings.Count(got, "post q1") != 2 {
			t.Errorf("q1 was not posted anew:\n%s", got)
		}
	})
}

// Somebody deletes the root while more is to be said in its thread, and while
// another edit of it waits: what hangs on it waits for the new one, of which there
// is one.
func TestWhileADeletedRootIsPostedAnewNothingGoesAroundIt(t *testing.T) {
	chat := &room{}
	inBubble(t, chat, func(ctx context.Context, b *Bot) {
		id := open(t, ctx, b, "k1", "C1")
		synctest.Wait()
		gone := func(m Message) error {
			if m.TS == "1" || m.ThreadTS == "1" && m.TS == "" {
				return &Failure{Kind: Lost, Code: "message_not_found"}
			}
			return nil
		}
		chat.mu.Lock()
		chat.refuse, chat.slow = gone, func(Message) time.Duration { return 5 * time.Second }
		chat.mu.Unlock()
		for i, value := range []string{"3P", "CME"} {
			if _, err := b.Handle(ctx, fmt.Sprint("k", i+2), id, conversation.Chosen{By: conversation.Person{ID: "U1"}, Question: i + 1, Value: value}); err != nil {
				t.Error(err)
			}
			pass(2 * time.Second)
		}
		pass(5 * time.Minute)
		synctest.Wait()
		got := chat.heard()
		if n := strings.Count(got, "post root"); n != 2 {
			t.Errorf("the root was posted %d times, once and anew:\n%s", n, got)
		}
		for line := range strings.Lines(got) {
			if strings.Contains(line, " post q") && strings.HasSuffix(strings.TrimSpace(line), "/") {
				t.Errorf("a question outside the thread:\n%s", got)
			}
		}
		if c, err := b.Store.Get(ctx, id); err != nil || c.Threads[0].RootTS() == "1" || strings.Count(got, "post q3") != 1 {
			t.Errorf("the thread does not go on under the new root (%v):\n%s", err, got)
		}
	})
}

func TestAChannelThatRefusesSendsTheConversationToADirectMessage(t *testing.T) {
	chat := &room{refuse: func(m Message) error {
		if m.Channel == "C1" {
			return &Failure{Kind: Never, Code: "not_in_channel"}
		}
		return nil
	}}
	inBubble(t, chat, func(ctx context.Context, b *Bot) {
		id := open(t, ctx, b, "k1", "C1")
		synctest.Wait()
		want(t, chat, "refused root", "RH-1 post root in U1/", "RH-1 post n1 in D1/1", "RH-1 post q1 in D1/1")
		if found, err := b.Store.Find(ctx, "D1", "1"); err != nil || found != id {
			t.Errorf("Find(D1, 1) = %q, %v", found, err)
		}
		failed, err := b.Store.Outbox(ctx, true)
		if err != nil || len(failed) != 1 || failed[0].LastError != "not_in_channel" {
			t.Errorf("failed deliveries: %+v, %v", failed, err)
		}
	})
}

func TestAStuckConversationHoldsUpNoOther(t *testing.T) {
	chat := &room{slow: func(m Message) time.Duration {
		if m.Conversation == "RH-1" {
			return time.Hour
		}
		return 0
	}}
	inBubble(t, chat, func(ctx context.Context, b *Bot) {
		open(t, ctx, b, "k1", "C1")
		open(t, ctx, b, "k2", "C2")
		synctest.Wait()
		want(t, chat, "RH-2 post root in C2/", "RH-2 post q1 in C2/1")
		pass(3 * time.Hour)
	})
}

func TestPostsInOneChannelKeepSlacksPace(t *testing.T) {
	chat := &room{}
	inBubble(t, chat, func(ctx context.Context, b *Bot) {
		for i := range 20 {
			open(t, ctx, b, fmt.Sprint("k", i), "C1")
		}
		pass(2 * time.Minute)
		synctest.Wait()
		if got := len(chat.at); got != 40 {
			t.Fatalf("%d messages, want 40", got)
		}
		for i := range chat.at {
			for j := range i {
				// A short burst, and one a second from then on.
				if gap, least := chat.at[i].Sub(chat.at[j]), time.Duration(i-j+1-postsInChannel.Burst)*time.Second; gap < least {
					t.Fatalf("messages %d to %d within %v, want at least %v", j+1, i+1, gap, least)
				}
			}
		}
	})
}

func TestAStopLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := store.NewMem()
		chat := &room{slow: func(Message) time.Duration { return time.Minute }}
		ctx, stop := context.WithCancel(t.Context())
		b := New(Bot{Policy: policy.Default(), Store: mem, Chat: chat})
		ended := make(chan error, 1)
		go func() { ended <- b.Run(ctx) }()
		open(t, ctx, b, "k1", "C1")
		synctest.Wait()
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		want(t, chat)

		chat.slow = nil
		ctx, stop = context.WithCancel(t.Context())
		b = New(Bot{Policy: policy.Default(), Store: mem, Chat: chat})
		go func() { ended <- b.Run(ctx) }()
		pass(time.Minute) // the first may have gone out: it is looked for
		synctest.Wait()
		stop()
		<-ended
		want(t, chat, "RH-1 post root in C1/", "RH-1 post q1 in C1/1")
	})
}

// once fails the first message with a key.
func once(key string, err error) func(Message) error {
	var done bool
	return func(m Message) error {
		if done || m.Key != key {
			return nil
		}
		done = true
		return err
	}
}

var brokenOff = &Failure{Kind: Again, Code: "no_answer", Unsure: true}

func TestAMessageThatWasTakenBeforeTheConnectionBrokeIsNotSentAgain(t *testing.T) {
	chat := &room{breaks: once("root", brokenOff)}
	inBubble(t, chat, func(ctx context.Context, b *Bot) {
		open(t, ctx, b, "k1", "C1")
		pass(time.Minute)
		synctest.Wait()
		want(t, chat, "RH-1 post root in C1/", "RH-1 post q1 in C1/1")
		if chat.looked != 1 {
			t.Errorf("looked for it %d times", chat.looked)
		}
	})
}

// A message that is found shows the state in which it was sent. What has changed
// since is edited in, also when it changed before the message was looked for.
func TestAMessageThatIsFoundIsBroughtUpToDate(t *testing.T) {
	chat := &room{breaks: once("q1", brokenOff)}
	inBubble(t, chat, func(ctx context.Context, b *Bot) {
		id := open(t, ctx, b, "k1", "C1")
		pass(settle / 2)
		synctest.Wait()
		want(t, chat, "RH-1 post root in C1/", "RH-1 post q1 in C1/1")
		if _, err := b.Handle(ctx, "k2", id, conversation.Chosen{By: conversation.Person{ID: "U1"}, Question: 1, Value: "3P"}); err != nil {
			t.Error(err)
		}
		pass(time.Minute)
		synctest.Wait()
		if got := chat.heard(); !strings.Contains(got, "RH-1 edit q1 in C1/1") || strings.Count(got, "post q1") != 1 {
			t.Errorf("q1 was found as it was before the answer, and then:\n%s", got)
		}
	})
}

func TestAMessageThatWasNotTakenIsSentAgainOnceThatIsSure(t *testing.T) {
	chat := &room{refuse: once("root", brokenOff)}
	inBubble(t, chat, func(ctx context.Context, b *Bot) {
		open(t, ctx, b, "k1", "C1")
		pass(settle / 2)
		synctest.Wait()
		want(t, chat, "refused root")
		pass(time.Minute)
		synctest.Wait()
		want(t, chat, "refused root", "RH-1 post root in C1/", "RH-1 post q1 in C1/1")
	})
}

func TestAPlainRefusalIsNotLookedFor(t *testing.T) {
	chat := &room{refuse: once("root", &Failure{Kind: Again, Code: "ratelimited", After: time.Second})}
	inBubble(t, chat, func(ctx context.Context, b *Bot) {
		open(t, ctx, b, "k1", "C1")
		pass(time.Minute)
		synctest.Wait()
		want(t, chat, "refused root", "RH-1 post root in C1/", "RH-1 post q1 in C1/1")
		if chat.looked != 0 {
			t.Errorf("looked for a message that was refused")
		}
	})
}

func TestAKillBetweenTheMessageAndItsSettlingDoublesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := store.NewMem()
		chat := &room{}
		work := func(s store.Store, story func(*Bot)) {
			ctx, stop := context.WithCancel(t.Context())
			b := New(Bot{Policy: policy.Default(), Store: s, Chat: chat})
			ended := make(chan error, 1)
			go func() { ended <- b.Run(ctx) }()
			story(b)
			synctest.Wait()
			stop()
			<-ended
		}
		// The first process dies with the message out and nothing settled.
		work(&dying{Store: mem}, func(b *Bot) { open(t, t.Context(), b, "k1", "C1") })
		want(t, chat, "RH-1 post root in C1/")
		work(mem, func(*Bot) { pass(time.Minute) })
		want(t, chat, "RH-1 post root in C1/", "RH-1 post q1 in C1/1")
	})
}

func TestADeliveryThatPanicsIsGivenUpAndHoldsUpNoOther(t *testing.T) {
	chat := &room{refuse: func(m Message) error {
		if m.Conversation == "RH-1" {
			panic("a card that cannot be shown")
		}
		return nil
	}}
	inBubble(t, chat, func(ctx context.Context, b *Bot) {
		open(t, ctx, b, "k1", "C1")
		open(t, ctx, b, "k2", "C2")
		pass(time.Minute)
		synctest.Wait()
		want(t, chat, "RH-2 post root in C2/", "RH-2 post q1 in C2/1")
		failed, err := b.Store.Outbox(ctx, true)
		if err != nil || len(failed) != 1 || failed[0].LastError != "panic" {
			t.Errorf("given up: %+v, %v", failed, err)
		}
	})
}

// A dying store takes no outcome any more.
type dying struct{ store.Store }

func (d *dying) Settle(context.Context, ...store.Settled) error { return store.ErrUncertain }

func TestAnUnknownConversationIsSaid(t *testing.T) {
	inBubble(t, &room{}, func(ctx context.Context, b *Bot) {
		if _, err := b.Handle(ctx, "k", "RH-99", conversation.Revised{}); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Handle of RH-99: %v", err)
		}
		if _, err := b.Handle(ctx, "k", "", conversation.Revised{}); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Handle of nothing: %v", err)
		}
	})
}
