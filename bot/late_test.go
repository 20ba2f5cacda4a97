package bot

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rehome/conversation"
	"rehome/policy"
)

// A slowShelf is a directory whose answers depend on when it is asked.
type slowShelf struct {
	answer func() (AppEntry, error)
	count  atomic.Int64
}

func (s *slowShelf) App(context.Context, AppQuery, bool) (AppEntry, error) {
	s.count.Add(1)
	return s.answer()
}

func (s *slowShelf) asked() int { return int(s.count.Load()) }

var ownedByCarolAndBob = AppEntry{Directory: "PME", ReadAt: time.Unix(1, 0), AppID: ledger, Owners: []OwnerEntry{user("carol@contoso.com"), user("bob@contoso.com")}}

// roots counts how often a person was shown a conversation's root.
func roots(chat *room, id, person string) int {
	return strings.Count(chat.heard(), id+" post root in U"+person+"/") + strings.Count(chat.heard(), id+" post root in D"+person+"/")
}

func TestADirectoryThatAnswersAfterHoursIsHeard(t *testing.T) {
	back := time.Time{}
	dir := &slowShelf{answer: func() (AppEntry, error) {
		if time.Now().Before(back) {
			return AppEntry{}, &LookupError{Kind: Busy, Directory: "PME"}
		}
		return ownedByCarolAndBob, nil
	}}
	people := anOffice()
	atOffice(t, dir, people, func(b *Bot) { b.Manners.Quiet.Off = true }, func(ctx context.Context, b *Bot, chat *room) {
		back = time.Now().Add(5 * time.Hour)
		id := report(t, ctx, b, "KAI-1", func(v *policy.Violation) { v.Owner.Email = "carol@contoso.com" })
		pass(2 * time.Minute)
		synctest.Wait()
		if roots(chat, id, "CAROL") != 1 || roots(chat, id, "BOB") != 0 {
			t.Fatalf("without the directory, the alert's owner is told:\n%s", chat.heard())
		}
		if got := hops(t, b, id); !strings.HasPrefix(got, "the directory PME: cannot be asked now; I go on trying\n") {
			t.Errorf("while it does not answer the root says\n%s", got)
		}
		pass(4 * time.Hour)
		early := dir.asked()
		if early < 10 || early > 16 {
			t.Errorf("in four hours it was asked %d times", early)
		}
		pass(2 * time.Hour)
		synctest.Wait()
		if roots(chat, id, "CAROL") != 1 || roots(chat, id, "BOB") != 1 {
			t.Errorf("after it answered, carol was told %d times and bob %d times", roots(chat, id, "CAROL"), roots(chat, id, "BOB"))
		}
		if got, want := hops(t, b, id), "owners of the application: 2: 2 can be told"; got != want {
			t.Errorf("the root says\n%s\nwant\n%s", got, want)
		}
		asked := dir.asked()
		pass(48 * time.Hour)
		if dir.asked() != asked {
			t.Errorf("it was asked %d times more after it had answered", dir.asked()-asked)
		}
		if left, err := b.Store.Outbox(ctx, true); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	})
}

func TestADirectoryThatNeverAnswersIsGivenUpAfterADay(t *testing.T) {
	dir := &slowShelf{answer: func() (AppEntry, error) { return AppEntry{}, &LookupError{Kind: Busy, Directory: "PME"} }}
	people := anOffice()
	atOffice(t, dir, people, nil, func(ctx context.Context, b *Bot, chat *room) {
		id := report(t, ctx, b, "KAI-1")
		pass(26 * time.Hour)
		synctest.Wait()
		if got := hops(t, b, id); !strings.HasPrefix(got, "the directory PME: cannot be asked, and could not be for a day\n") {
			t.Errorf("the root says\n%s", got)
		}
		if len(people.reports) != 1 {
			t.Errorf("the security channel heard %q", people.reports)
		}
		asked := dir.asked()
		pass(48 * time.Hour)
		if dir.asked() != asked || asked > 40 {
			t.Errorf("it was asked %d times, and %d more after it was given up", asked, dir.asked()-asked)
		}
	})
}

func TestAPermissionThatIsGrantedLaterIsNoticedWithoutHaste(t *testing.T) {
	granted := time.Time{}
	dir := &slowShelf{answer: func() (AppEntry, error) {
		if time.Now().Before(granted) {
			return AppEntry{}, &LookupError{Kind: Denied, Directory: "PME", Permission: "Application.Read.All"}
		}
		return ownedByCarolAndBob, nil
	}}
	for _, tc := range []struct {
		after time.Duration
		told  int
		asks  int
	}{{30 * time.Hour, 1, 7}, {30 * 24 * time.Hour, 0, 30}} {
		t.Run(fmt.Sprint(tc.after), func(t *testing.T) {
			dir.count.Store(0)
			atOffice(t, dir, anOffice(), func(b *Bot) { b.Manners.Quiet.Off = true }, func(ctx context.Context, b *Bot, chat *room) {
				granted = time.Now().Add(tc.after)
				id := report(t, ctx, b, "KAI-1")
				pass(tc.after - time.Second)
				if dir.asked() > tc.asks {
					t.Errorf("asked %d times, want at most %d", dir.asked(), tc.asks)
				}
				pass(7 * time.Hour)
				synctest.Wait()
				if roots(chat, id, "BOB") != tc.told {
					t.Errorf("bob was told %d times, want %d", roots(chat, id, "BOB"), tc.told)
				}
			})
		})
	}
}

// silent is a workspace whose people cannot be looked up for a while.
type silent struct {
	*crowd
	until time.Time
}

func (s *silent) Person(ctx context.Context, who Identity) (Profile, error) {
	if time.Now().Before(s.until) {
		return Profile{}, &Failure{Kind: Again, Code: "internal_error", Err: errors.New("later")}
	}
	return s.crowd.Person(ctx, who)
}

func TestASlackThatDoesNotSayWhoIsWhoIsAskedForHours(t *testing.T) {
	people := &silent{crowd: anOffice()}
	dir := &slowShelf{answer: func() (AppEntry, error) { return ownedByCarolAndBob, nil }}
	atOffice(t, dir, people.crowd, func(b *Bot) { b.People, b.Manners.Quiet.Off = people, true }, func(ctx context.Context, b *Bot, chat *room) {
		people.until = time.Now().Add(3 * time.Hour)
		id := report(t, ctx, b, "KAI-1")
		pass(time.Hour)
		synctest.Wait()
		if got := hops(t, b, id); got != "the workspace: its people cannot be looked up now; I go on trying" {
			t.Errorf("the root says\n%s", got)
		}
		pass(4 * time.Hour)
		synctest.Wait()
		if roots(chat, id, "CAROL") != 1 || roots(chat, id, "BOB") != 1 {
			t.Errorf("carol was told %d times and bob %d times", roots(chat, id, "CAROL"), roots(chat, id, "BOB"))
		}
	})
}

func TestWhatIsSaidOfAnAppHoldsInAllItsConversations(t *testing.T) {
	dir := &shelf{entry: AppEntry{ReadAt: time.Unix(1, 0), AppID: ledger, Owners: []OwnerEntry{user("carol@contoso.com")}}}
	people := anOffice()
	atOffice(t, dir, people, nil, func(ctx context.Context, b *Bot, chat *room) {
		carol, bob := conversation.Person{ID: "UCAROL"}, conversation.Person{ID: "UBOB"}
		for i := range 3 {
			report(t, ctx, b, fmt.Sprint("KAI-", i))
		}
		other := report(t, ctx, b, "KAI-other", func(v *policy.Violation) { v.App.AppID = "3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a99" })
		pass(time.Minute)
		say := func(key string, e conversation.Event) {
			t.Helper()
			if _, err := b.Handle(ctx, key, "RH-1", e); err != nil {
				t.Fatal(err)
			}
			pass(time.Minute)
			synctest.Wait()
		}
		state := func(id string, p conversation.Person) conversation.OwnerState {
			c, err := b.Store.Get(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range c.Owners {
				if o.Person == p {
					return o.State
				}
			}
			return ""
		}
		before := len(chat.heard())
		say("k1", conversation.NotMine{By: carol})
		for _, id := range []string{"RH-1", "RH-2", "RH-3"} {
			if got := state(id, carol); got != conversation.NotTheirs {
				t.Errorf("%s: carol is %q", id, got)
			}
			if !strings.Contains(chat.heard()[before:], id+" edit root in C1/") {
				t.Errorf("%s shows nothing of it:\n%s", id, chat.heard()[before:])
			}
		}
		if got := state(other, carol); got == conversation.NotTheirs {
			t.Error("it was carried to another app")
		}
		if n := strings.Count(chat.heard(), "Noted in RH-2, RH-3 as well"); n != 1 {
			t.Errorf("carol heard of the others %d times:\n%s", n, chat.heard()[before:])
		}
		if len(people.reports) != 1 {
			t.Errorf("the security channel heard %q", people.reports)
		}
		say("k2", conversation.Named{By: carol, Owner: bob})
		for _, id := range []string{"RH-1", "RH-2", "RH-3"} {
			if got := state(id, bob); got != conversation.ToldAlone {
				t.Errorf("%s: bob is %q", id, got)
			}
		}
		before = len(chat.heard())
		say("k3", conversation.Named{By: carol, Owner: bob})
		say("k4", conversation.NotMine{By: carol, In: conversation.AtDoor})
		if got := chat.heard()[before:]; strings.Count(got, "\n") != 1 || !strings.Contains(got, "Noted already") {
			t.Errorf("said a second time, the chat heard %q", got)
		}
		late := report(t, ctx, b, "KAI-late")
		pass(time.Minute)
		synctest.Wait()
		if state(late, bob) != conversation.ToldAlone || state(late, carol) != "" {
			t.Errorf("a later alert told bob %q, carol %q", state(late, bob), state(late, carol))
		}
	})
}

// A mail address is in the store for as long as somebody has to be found by it.
func TestAMailAddressIsForgottenOnceItsOwnerWasFound(t *testing.T) {
	kept := func(t *testing.T, b *Bot, id string) string {
		c, err := b.Store.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		journal, err := b.Store.Journal(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range journal {
			if strings.Contains(e.Text, "@contoso") {
				t.Errorf("the journal has it: %s", e.Text)
			}
		}
		return c.Violation.Owner.Email
	}
	byMail := func(v *policy.Violation) { v.Owner.Email = "carol@contoso.com" }
	t.Run("found", func(t *testing.T) {
		dir := &slowShelf{answer: func() (AppEntry, error) {
			pass(time.Second) // for a look at what is kept meanwhile
			return AppEntry{ReadAt: time.Unix(1, 0), AppID: ledger}, nil
		}}
		atOffice(t, dir, anOffice(), nil, func(ctx context.Context, b *Bot, chat *room) {
			id := report(t, ctx, b, "KAI-1", byMail)
			if got := kept(t, b, id); got == "" {
				t.Error("forgotten before she was found")
			}
			pass(time.Minute)
			synctest.Wait()
			if got := kept(t, b, id); got != "" || roots(chat, id, "CAROL") != 1 {
				t.Errorf("carol was told %d times, and the store has %q", roots(chat, id, "CAROL"), got)
			}
			asked := dir.asked()
			report(t, ctx, b, "KAI-1", byMail, func(v *policy.Violation) { v.Severity = "High" })
			pass(time.Minute)
			synctest.Wait()
			if got := kept(t, b, id); got != "" || dir.asked() != asked {
				t.Errorf("the next alert, which names her as well: asked %d times more, the store has %q", dir.asked()-asked, got)
			}
			report(t, ctx, b, "KAI-1", func(v *policy.Violation) { v.Owner.Email = "bob@contoso.com" })
			pass(time.Minute)
			synctest.Wait()
			if got := kept(t, b, id); got != "" || roots(chat, id, "BOB") != 1 {
				t.Errorf("one that names bob: he was told %d times, the store has %q", roots(chat, id, "BOB"), got)
			}
		})
	})
	t.Run("not found", func(t *testing.T) {
		people := &silent{crowd: anOffice()}
		atOffice(t, &shelf{err: &LookupError{Kind: NoSuchApp}}, people.crowd, func(b *Bot) { b.People, b.Manners.Quiet.Off = people, true }, func(ctx context.Context, b *Bot, chat *room) {
			people.until = time.Now().Add(3 * time.Hour)
			id := report(t, ctx, b, "KAI-1", byMail)
			pass(time.Hour)
			if got := kept(t, b, id); got == "" {
				t.Error("forgotten while she is still looked for")
			}
			pass(4 * time.Hour)
			synctest.Wait()
			if got := kept(t, b, id); got != "" || roots(chat, id, "CAROL") != 1 {
				t.Errorf("carol was told %d times, and the store has %q", roots(chat, id, "CAROL"), got)
			}
		})
	})
	t.Run("over", func(t *testing.T) {
		atOffice(t, &shelf{err: &LookupError{Kind: NoSuchApp}}, anOffice(), nil, func(ctx context.Context, b *Bot, chat *room) {
			nobody := func(v *policy.Violation) { v.Owner.Email = "nobody@contoso.com" }
			id := report(t, ctx, b, "KAI-1", nobody)
			pass(time.Minute)
			if got := kept(t, b, id); got == "" {
				t.Error("forgotten, and the root has nobody to name")
			}
			report(t, ctx, b, "KAI-1", nobody, func(v *policy.Violation) { v.Status = "resolved" })
			if got := kept(t, b, id); got != "" {
				t.Errorf("closed, and the store has %q", got)
			}
		})
	})
}
