package bot

import (
	"context"
	"fmt"
	"log/slog"
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

// blind is a room whose history may not be read.
type blind struct{ *room }

func (b blind) Find(context.Context, Message, time.Time) (At, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.looked++
	return At{}, false, &Failure{Kind: Never, Code: "missing_scope"}
}

func TestWhereHistoryMayNotBeReadTheSettingSaysWhichWayItFails(t *testing.T) {
	for name, tc := range map[string]struct {
		once  bool
		heard []string
	}{
		"at least once": {false, []string{"RH-1 post root in C1/", "RH-1 post root in C1/", "RH-1 post q1 in C1/2"}},
		"at most once":  {true, []string{"RH-1 post root in C1/"}},
	} {
		t.Run(name, func(t *testing.T) {
			chat := &room{breaks: once("root", brokenOff)}
			people := anOffice()
			atOffice(t, nowhere{}, people, func(b *Bot) { b.Chat, b.AtMostOnce = blind{chat}, tc.once }, func(ctx context.Context, b *Bot, _ *room) {
				report(t, ctx, b, "KAI-1")
				pass(2 * time.Minute)
				synctest.Wait()
				want(t, chat, tc.heard...)
				failed, err := b.Store.Outbox(ctx, true)
				if err != nil || len(failed) > 0 != tc.once || tc.once && failed[0].LastError != "may_have_been_sent" {
					t.Errorf("given up: %+v, %v", failed, err)
				}
				if said := strings.Contains(journal(t, b, "RH-1"), "could not show root: may_have_been_sent"); said != tc.once {
					t.Errorf("the journal says %s", journal(t, b, "RH-1"))
				}
				if reported := slices.ContainsFunc(people.reports, func(r string) bool { return strings.Contains(r, "may_have_been_sent") }); reported != tc.once {
					t.Errorf("the security channel heard %q", people.reports)
				}
			})
		})
	}
}

func journal(t *testing.T, b *Bot, id string) string {
	t.Helper()
	entries, err := b.Store.Journal(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, e := range entries {
		lines = append(lines, e.Text)
	}
	return strings.Join(lines, "\n")
}

// A notebook is a log that a test can read.
type notebook struct {
	mu    sync.Mutex
	lines strings.Builder
}

func (n *notebook) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lines.Write(p)
}

func (n *notebook) count(words string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Count(n.lines.String(), words)
}

func TestARevokedTokenStopsSendingAndNothingElse(t *testing.T) {
	chat, book := &room{}, &notebook{}
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		b := New(Bot{Policy: policy.Default(), Store: store.NewMem(), Chat: chat, Log: slog.New(slog.NewTextHandler(book, nil))})
		ended := make(chan error, 1)
		go func() { ended <- b.Run(ctx) }()
		chat.refuse = func(Message) error { return &Failure{Kind: Stop, Code: "token_revoked"} }
		for i := range 30 {
			open(t, ctx, b, fmt.Sprint("k", i), fmt.Sprint("C", i)) // taken in all the same
		}
		pass(10 * time.Minute)
		synctest.Wait()
		first := strings.Count(chat.heard(), "refused root")
		if first > postsAtOnce+10 {
			t.Errorf("%d messages were tried in ten minutes; one a minute is enough", first)
		}
		code, since := b.Halted()
		if code != "token_revoked" || time.Since(since) < 9*time.Minute {
			t.Errorf("Halted() = %q since %s", code, since)
		}
		chat.mu.Lock()
		chat.refuse = nil
		chat.mu.Unlock()
		pass(5 * time.Minute)
		synctest.Wait()
		if code, _ := b.Halted(); code != "" || strings.Count(chat.heard(), "post root") != 30 {
			t.Errorf("after it was put right: halted by %q, said\n%s", code, chat.heard())
		}
		if stopped, went := book.count("Slack takes no messages"), book.count("Slack takes messages again"); stopped != 1 || went != 1 {
			t.Errorf("it was logged %d times that nothing goes, %d times that it does again", stopped, went)
		}
		stop()
		<-ended
	})
}

func TestWhatCannotBeDeliveredIsSaidOncePerPlaceAndReason(t *testing.T) {
	chat, people := &room{}, anOffice()
	chat.refuse = func(m Message) error {
		if m.Channel == "C1" {
			return &Failure{Kind: Never, Code: "is_archived"}
		}
		return nil
	}
	mem := store.NewMem()
	synctest.Test(t, func(t *testing.T) {
		pass(time.Until(time.Date(2000, 1, 4, 10, 0, 0, 0, time.UTC)))
		up := func(story func(ctx context.Context, b *Bot)) {
			ctx, stop := context.WithCancel(t.Context())
			b := New(Bot{Policy: policy.Default(), Store: mem, Chat: chat, People: people, Directory: nowhere{}, SecurityChannel: "CSEC"})
			ended := make(chan error, 1)
			go func() { ended <- b.Run(ctx) }()
			story(ctx, b)
			synctest.Wait()
			stop()
			<-ended
		}
		archived := func() int {
			return len(slices.DeleteFunc(slices.Clone(people.reports), func(r string) bool { return !strings.Contains(r, "is_archived") }))
		}
		up(func(ctx context.Context, b *Bot) {
			for i := range 20 {
				report(t, ctx, b, fmt.Sprint("KAI-", i))
			}
			pass(10 * time.Minute)
			synctest.Wait()
			if archived() != 1 || !strings.Contains(strings.Join(people.reports, "\n"), "C1 could not be delivered (is_archived)") {
				t.Errorf("20 conversations in an archived channel were %d reports: %q", archived(), people.reports)
			}
			for i := range 20 {
				if j := journal(t, b, fmt.Sprint("RH-", i+1)); !strings.Contains(j, "could not show root: is_archived") {
					t.Errorf("RH-%d's journal says\n%s", i+1, j)
				}
			}
			if failed, err := b.Store.Outbox(ctx, true); err != nil || len(failed) < 20 || failed[0].LastError != "is_archived" {
				t.Errorf("given up: %+v, %v", failed, err)
			}
		})
		up(func(ctx context.Context, b *Bot) { // after a restart it is still known
			report(t, ctx, b, "KAI-30")
			pass(time.Minute)
			synctest.Wait()
			if archived() != 1 {
				t.Errorf("the restart said it again: %q", people.reports)
			}
			pass(25 * time.Hour)
			report(t, ctx, b, "KAI-31")
			pass(time.Minute)
			synctest.Wait()
			if archived() != 2 {
				t.Errorf("a day later it was said %d times, want 2", archived())
			}
		})
	})
}

// chatter makes a conversation say something n times.
func chatter(t *testing.T, ctx context.Context, b *Bot, id string, n int) {
	t.Helper()
	_, err := b.Store.Apply(ctx, store.Input{Event: "chatter " + id, Conversation: id, At: b.Now(), Step: func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
		var effects []conversation.Effect
		for range n {
			c.Notes = append(slices.Clone(c.Notes), conversation.Note{Text: policy.Say(fmt.Sprint("note ", len(c.Notes)+1))})
			effects = append(effects, conversation.Show{In: 0, Card: fmt.Sprint("n", len(c.Notes))})
		}
		return c, effects
	}})
	if err != nil {
		t.Fatal(err)
	}
	b.Wake()
}

// saidAt returns when a line was heard, or fails.
func saidAt(t *testing.T, chat *room, words string) time.Time {
	t.Helper()
	chat.mu.Lock()
	defer chat.mu.Unlock()
	i := slices.IndexFunc(chat.lines, func(l string) bool { return strings.HasPrefix(l, words) })
	if i < 0 {
		t.Fatalf("%q was not said", words)
	}
	return chat.at[i]
}

func TestConversationsWithAThousandPostsKeepNoOtherWaiting(t *testing.T) {
	chat := &room{}
	atOffice(t, nowhere{}, anOffice(), func(b *Bot) { b.Chat = chat }, func(ctx context.Context, b *Bot, _ *room) {
		chatty := []string{report(t, ctx, b, "KAI-1"), report(t, ctx, b, "KAI-2"), report(t, ctx, b, "KAI-3"), report(t, ctx, b, "KAI-4")}
		pass(time.Minute)
		synctest.Wait()
		for _, id := range chatty {
			chatter(t, ctx, b, id, 250)
		}
		pass(time.Minute)
		began := time.Now()
		var others []string
		for i := range 5 {
			others = append(others, report(t, ctx, b, fmt.Sprint("KAI-1", i)))
		}
		pass(time.Hour)
		synctest.Wait()
		for _, id := range others {
			if took := saidAt(t, chat, id+" post root").Sub(began); took > 20*time.Second {
				t.Errorf("%s waited %s behind a thousand posts of others", id, took)
			}
		}
		for _, id := range chatty {
			last := 0
			for _, l := range chat.lines {
				var n int
				if _, err := fmt.Sscanf(l, id+" post n%d", &n); err != nil {
					continue
				}
				if n <= last {
					t.Fatalf("n%d came after n%d", n, last)
				}
				last = n
			}
			if got := strings.Count(chat.heard(), id+" post n"); got < 250 {
				t.Errorf("%d of %s's 250 were posted", got, id)
			}
		}
	})
}

func TestAnAnswerGoesBeforeAStormOfAlerts(t *testing.T) {
	chat := &room{}
	atOffice(t, nowhere{}, anOffice(), func(b *Bot) { b.Chat = chat }, func(ctx context.Context, b *Bot, _ *room) {
		id := open(t, ctx, b, "k1", "C1")
		pass(time.Minute)
		for i := range 300 {
			report(t, ctx, b, fmt.Sprint("KAI-", i), func(v *policy.Violation) { v.App.AppID = fmt.Sprintf("3f6b2a10-8c4d-4e21-9a7b-%012d", i) })
		}
		pass(30 * time.Second)
		synctest.Wait()
		began := time.Now()
		if _, err := b.Handle(ctx, "press", id, conversation.Chosen{By: conversation.Person{ID: "U1"}, Question: 1, Value: "3P"}); err != nil {
			t.Fatal(err)
		}
		soon := report(t, ctx, b, "KAI-soon", func(v *policy.Violation) {
			v.App.AppID, v.Due = "3f6b2a10-8c4d-4e21-9a7b-999999999999", b.Now().Add(24*time.Hour)
		})
		pass(time.Hour)
		synctest.Wait()
		if took := saidAt(t, chat, id+" post q2").Sub(began); took > 10*time.Second {
			t.Errorf("the next question came %s after the answer", took)
		}
		if took := saidAt(t, chat, soon+" post root").Sub(began); took > 10*time.Second {
			t.Errorf("what is due tomorrow waited %s", took)
		}
		if got := strings.Count(chat.heard(), "post root"); got != 302 {
			t.Errorf("%d roots, want 302", got)
		}
	})
}

func TestBlockedChannelsStarveNothingElse(t *testing.T) {
	chat := &room{refuse: func(m Message) error {
		if strings.HasPrefix(m.Channel, "CSLOW") {
			return &Failure{Kind: Again, After: time.Hour, Code: CodeLimited}
		}
		return nil
	}}
	inBubble(t, chat, func(ctx context.Context, b *Bot) {
		for i := range 200 {
			open(t, ctx, b, fmt.Sprint("slow", i), fmt.Sprint("CSLOW", i))
		}
		pass(20 * time.Minute)
		synctest.Wait()
		if tried := strings.Count(chat.heard(), "refused"); tried < 200 || tried > 250 {
			t.Errorf("%d messages were tried in 200 channels that want none for an hour", tried)
		}
		open(t, ctx, b, "k1", "C1")
		pass(30 * time.Second) // so many channels at once are taken for the workspace's limit, which is kept
		synctest.Wait()
		if !strings.Contains(chat.heard(), "post q1 in C1/") {
			t.Error("200 blocked channels hold up another")
		}
	})
}

// TestWhatWaitedForTheWorkspaceDoesNotComeOutBunched: what is said in a channel
// counts there when it is said.
func TestWhatWaitedForTheWorkspaceDoesNotComeOutBunched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Bot{Policy: policy.Default(), Store: store.NewMem(), Chat: &room{}})
		for range 35 {
			b.out.pace.take(allPosts, postsInAll, time.Now()) // some four seconds' worth in other channels
		}
		var mu sync.Mutex
		var said sync.WaitGroup
		var full time.Time
		say := func() {
			if err := b.turn(t.Context(), Message{Channel: "C1"}); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if full = latest(full, time.Now()); time.Until(full) > 3*time.Second {
				t.Errorf("a message too many in a channel that has %s to go", time.Until(full))
			}
			full = full.Add(time.Second)
		}
		for range 2 {
			for range 3 {
				said.Go(say)
			}
			pass(4 * time.Second)
		}
		said.Wait()
	})
}

// strict is a chat that keeps Slack's limits as the sandbox does, and counts
// what it had to send away.
type strict struct {
	room
	tooFast int
	full    map[string]time.Time
	posts   []time.Time
	edits   []time.Time
}

func (s *strict) Show(ctx context.Context, m Message) (At, error) {
	s.mu.Lock()
	now := time.Now()
	over := false
	if m.TS != "" {
		over = !within(&s.edits, now, 50)
	} else {
		full := s.full[m.Channel]
		if full.Before(now) {
			full = now
		}
		over = full.Sub(now) > 3*time.Second || !within(&s.posts, now, 300)
		s.full[m.Channel] = full.Add(time.Second)
	}
	if over {
		s.tooFast++
	}
	s.mu.Unlock()
	if over {
		return At{}, &Failure{Kind: Again, After: 30 * time.Second, Code: "ratelimited"}
	}
	return s.room.Show(ctx, m)
}

// within counts a call and reports whether it is among the most of a minute.
func within(calls *[]time.Time, now time.Time, most int) bool {
	c := *calls
	for len(c) > 0 && !c[0].After(now.Add(-time.Minute)) {
		c = c[1:]
	}
	*calls = append(c, now)
	return len(c) < most
}

// TestAStormOfRootEditsHoldsUpNoPost changes 200 roots many times over while
// Slack allows 50 edits a minute.
func TestAStormOfRootEditsHoldsUpNoPostAndIsCoalesced(t *testing.T) {
	chat := &strict{full: map[string]time.Time{}}
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		b := New(Bot{Policy: policy.Default(), Store: store.NewMem(), Chat: chat})
		ended := make(chan error, 1)
		go func() { ended <- b.Run(ctx) }()
		var ids []string
		for i := range 200 {
			ids = append(ids, open(t, ctx, b, fmt.Sprint("k", i), fmt.Sprint("C", i%40)))
		}
		pass(10 * time.Minute)
		synctest.Wait()
		for round := range 10 {
			for _, id := range ids {
				key := fmt.Sprint("link", round, id)
				if _, err := b.Store.Apply(ctx, store.Input{Event: key, Conversation: id, At: b.Now(), Step: b.step(conversation.Linked{ID: fmt.Sprint("RH-", 1000+round)}, b.Now())}); err != nil {
					t.Fatal(err)
				}
			}
			b.Wake()
		}
		began := time.Now()
		open(t, ctx, b, "new", "C1")
		pass(10 * time.Second)
		synctest.Wait()
		if took := saidAt(t, &chat.room, "RH-201 post q1").Sub(began); took > 5*time.Second {
			t.Errorf("a question waited %s behind root edits", took)
		}
		pass(time.Hour)
		synctest.Wait()
		edits := strings.Count(chat.heard(), "edit root")
		if edits < 200 || edits > 260 {
			t.Errorf("2000 changes of 200 roots were %d edits; one each shows the newest state", edits)
		}
		for _, id := range ids {
			c, err := b.Store.Get(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			card, _ := c.CardIn(0, conversation.RootKey, b.Now())
			if c.Threads[0].Shown[conversation.RootKey].Digest != conversation.Digest(card) {
				t.Fatalf("%s does not show its newest state", id)
			}
		}
		if chat.tooFast > 0 {
			t.Errorf("%d requests were sent away for coming too fast", chat.tooFast)
		}
		if waiting, err := b.Store.Outbox(ctx, false); err != nil || len(waiting) > 0 {
			t.Errorf("%d still wait, %v", len(waiting), err)
		}
		stop()
		<-ended
	})
}

func TestAPaceLearnsFromWhatItIsToldAndRecovers(t *testing.T) {
	r := Rate{Every: time.Second, Burst: 3}
	begin := time.Unix(1000, 0)
	// rate returns how many go out in a minute, taken as fast as they may.
	rate := func(p *Pace, now time.Time) int {
		n := 0
		for end := now.Add(time.Minute); ; n++ {
			if now = now.Add(p.take("x", r, now)); !now.Before(end) {
				return n
			}
		}
	}
	var p Pace
	if got := rate(&p, begin); got < 60 || got > 63 {
		t.Errorf("%d in the first minute, want 60 and a burst", got)
	}
	now := begin.Add(time.Hour)
	for range 5 { // together
		p.slow("x", r, now, now.Add(30*time.Second))
	}
	if wait := p.until("x", r, now); wait != 30*time.Second {
		t.Errorf("told to wait 30 s, it waits %s", wait)
	}
	now = now.Add(30 * time.Second)
	if got := rate(&p, now); got < 28 || got > 34 {
		t.Errorf("%d in the minute after that, want half the rate and no burst", got)
	}
	now = now.Add(2 * time.Minute)
	p.slow("x", r, now, now.Add(time.Second))
	if got := rate(&p, now.Add(time.Second)); got < 14 || got > 24 {
		t.Errorf("%d in a minute after it was told again, want about a quarter", got)
	}
	for range 20 {
		now = now.Add(10 * time.Minute)
		p.slow("x", r, now.Add(-9*time.Minute-59*time.Second), now.Add(-9*time.Minute))
	}
	if got := rate(&p, now.Add(time.Hour)); got < 60 {
		t.Errorf("%d in a minute an hour later, want the full rate", got)
	}
	now = now.Add(2 * time.Hour)
	for range 20 {
		now = now.Add(2 * time.Second)
		p.slow("x", r, now, now.Add(time.Second))
	}
	if got := rate(&p, now.Add(time.Second)); got < 7 {
		t.Errorf("%d in a minute after twenty refusals; it never stops", got)
	}
}

func TestAPaceForgetsWhatIsQuiet(t *testing.T) {
	var p Pace
	now := time.Unix(1000, 0)
	for i := range 10 * maxBuckets {
		now = now.Add(10 * time.Millisecond)
		p.take(fmt.Sprint("posts in C", i), postsInChannel, now)
	}
	if len(p.buckets) > maxBuckets {
		t.Errorf("%d buckets are kept", len(p.buckets))
	}
}

// nowhere is a directory that has no app.
type nowhere struct{}

func (nowhere) App(context.Context, AppQuery, bool) (AppEntry, error) {
	return AppEntry{}, &LookupError{Kind: NoSuchApp}
}
