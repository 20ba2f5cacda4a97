package bot

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rehome/conversation"
	"rehome/policy"
	"rehome/store"
)

// A tardy chat is a room that now and then takes a message long after it said
// that it had failed.
type tardy struct {
	room
	held func(m Message) (fails, lands time.Duration) // 0, 0: nothing is held up

	mu     sync.Mutex
	digest map[string]string // of what each card shows
}

func (l *tardy) Show(ctx context.Context, m Message) (At, error) {
	fails, lands := l.held(m)
	if fails == 0 {
		return l.land(ctx, m)
	}
	go func() {
		pass(fails + lands)
		_, _ = l.land(context.WithoutCancel(ctx), m)
	}()
	pass(fails)
	return At{}, brokenOff
}

func (l *tardy) land(ctx context.Context, m Message) (At, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.digest == nil {
		l.digest = map[string]string{}
	}
	l.digest[m.Key] = m.Digest
	return l.room.Show(ctx, m)
}

// first answers for the first message with a key alone.
func first(key string, fails, lands time.Duration) func(Message) (time.Duration, time.Duration) {
	var mu sync.Mutex
	var done bool
	return func(m Message) (time.Duration, time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		if done || m.Key != key {
			return 0, 0
		}
		done = true
		return fails, lands
	}
}

func work(t *testing.T, s store.Store, chat Chat, story func(b *Bot)) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	b := New(Bot{Policy: policy.Default(), Store: s, Chat: chat})
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	story(b)
	synctest.Wait()
	stop()
	if err := <-ended; err != nil && !errors.Is(err, store.ErrUncertain) { // a failing store's
		t.Errorf("Run: %v", err)
	}
}

// A machine can be suspended between the moment a message is begun and the one
// it leaves. How long ago it was begun says nothing then.
func TestAMessageThatLeftLateIsGivenTimeToAppear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chat := &tardy{held: first("root", 3*time.Minute, 5*time.Second)}
		work(t, store.NewMem(), chat, func(b *Bot) {
			open(t, t.Context(), b, "k1", "C1")
			pass(5 * time.Minute)
		})
		want(t, &chat.room, "RH-1 post root in C1/", "RH-1 post q1 in C1/1")
	})
}

func TestAMessageOfAProcessBeforeUsIsGivenTimeToAppear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := store.NewMem()
		chat := &tardy{held: first("root", 3*time.Minute, 5*time.Second)}
		work(t, &failing{Store: mem}, chat, func(b *Bot) {
			open(t, t.Context(), b, "k1", "C1")
			pass(3*time.Minute + time.Second)
		})
		work(t, mem, chat, func(*Bot) { pass(5 * time.Minute) })
		want(t, &chat.room, "RH-1 post root in C1/", "RH-1 post q1 in C1/1")
	})
}

// A failing store takes no outcome, and nothing at all after that.
type failing struct {
	store.Store
	failed atomic.Bool
}

func (f *failing) Begin(ctx context.Context, d store.Delivery, at time.Time) error {
	if f.failed.Load() {
		return store.ErrUncertain
	}
	return f.Store.Begin(ctx, d, at)
}

func (f *failing) Settle(context.Context, ...store.Settled) error {
	f.failed.Store(true)
	return store.ErrUncertain
}

// An edit that was under way when the process was killed may come after what the
// next process sends.
func TestAnEditThatComesLateDoesNotUndoTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := store.NewMem()
		chat := &tardy{held: func(Message) (time.Duration, time.Duration) { return 0, 0 }}
		ada := conversation.Person{ID: "U1"}
		handle := func(b *Bot, key string, e conversation.Event) {
			t.Helper()
			if _, err := b.Handle(t.Context(), key, "RH-1", e); err != nil {
				t.Fatal(err)
			}
		}
		work(t, mem, chat, func(b *Bot) { open(t, t.Context(), b, "k1", "C1") })
		chat.held = first("q1", time.Second, 10*time.Second)
		work(t, &failing{Store: mem}, chat, func(b *Bot) {
			handle(b, "k2", conversation.Chosen{By: ada, Question: 1, Value: "3P"})
			pass(2 * time.Second)
		})
		work(t, mem, chat, func(b *Bot) {
			handle(b, "k3", conversation.Revised{By: ada, Question: 1})
			pass(5 * time.Minute)
		})
		c, err := mem.Get(t.Context(), "RH-1")
		if err != nil {
			t.Fatal(err)
		}
		card, _ := c.CardIn(0, "q1", time.Now())
		if got, want := chat.digest["q1"], conversation.Digest(card); got != want {
			t.Errorf("q1 shows %s, and the conversation is at %s; the chat heard\n%s", got, want, chat.heard())
		}
	})
}

func TestACardThatMayShowSomethingElseIsShownAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem, chat := store.NewMem(), &room{}
		var id string
		work(t, mem, chat, func(b *Bot) { id = open(t, t.Context(), b, "k1", "C1") })
		c, err := mem.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		b := New(Bot{Policy: policy.Default(), Store: mem, Chat: chat})
		shown := conversation.Show{Card: conversation.RootKey}
		if _, err := b.show(t.Context(), c, store.Delivery{Conversation: id, Line: id + "/0/root"}, shown); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(chat.heard(), "edit root") {
			t.Error("a card that is shown as it is was edited")
		}
		begun := store.Delivery{Conversation: id, Line: id + "/0/root", MaybeSent: time.Now()}
		if _, err := b.show(t.Context(), c, begun, shown); err != nil {
			t.Fatal(err)
		}
		pass(settle)
		if _, err := b.show(t.Context(), c, begun, shown); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(chat.heard(), "edit root") {
			t.Error("an edit whose answer never came is taken for done because things are as before it")
		}
	})
}

// A disk may stall; only a write that fails stops the bot.
func TestASlowDiskStopsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chat := &room{}
		work(t, &slowDisk{store.NewMem()}, chat, func(b *Bot) {
			open(t, t.Context(), b, "k1", "C1")
			pass(5 * time.Minute)
		})
		want(t, chat, "RH-1 post root in C1/", "RH-1 post q1 in C1/1")
	})
}

type slowDisk struct{ store.Store }

func (s *slowDisk) Settle(ctx context.Context, all ...store.Settled) error {
	select {
	case <-time.After(30 * time.Second):
		return s.Store.Settle(ctx, all...)
	case <-ctx.Done():
		return ctx.Err()
	}
}
