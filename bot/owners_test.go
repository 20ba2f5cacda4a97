package bot

import (
	"context"
	"fmt"
	"slices"
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

const ledger = "3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a01"

// A shelf is a directory with one app, which many may ask at once.
type shelf struct {
	entry AppEntry
	err   error
	asked atomic.Int64
}

func (s *shelf) App(context.Context, AppQuery, bool) (AppEntry, error) {
	s.asked.Add(1)
	return s.entry, s.err
}

// A crowd is the people of a workspace, by mail address or id.
type crowd struct {
	mu      sync.Mutex
	people  map[string]Profile
	digests []string
	reports []string
	refuse  error
}

func (c *crowd) Person(_ context.Context, who Identity) (Profile, error) {
	for _, key := range []string{who.ID, who.Mail} {
		if p, ok := c.people[key]; ok && key != "" {
			return p, nil
		}
	}
	return Profile{}, &Failure{Kind: Never, Code: "users_not_found"}
}

func (c *crowd) Fit(list []Listed) int { return len(list) }

func (c *crowd) Digest(_ context.Context, m Message, page Digest) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refuse != nil {
		return c.refuse
	}
	var ids []string
	for _, l := range page.List {
		ids = append(ids, l.ID)
	}
	c.digests = append(c.digests, m.Channel+": "+strings.Join(ids, " "))
	return nil
}

func (c *crowd) Report(_ context.Context, m Message, text policy.Text) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reports = append(c.reports, m.Channel+": "+text.String())
	return nil
}

func somebody(id string) Profile {
	return Profile{Person: conversation.Person{ID: id}, Zone: time.UTC}
}

// anOffice has Carol and Bob, and others who must not be told.
func anOffice() *crowd {
	return &crowd{people: map[string]Profile{
		"carol@contoso.com": somebody("UCAROL"), "bob@contoso.com": somebody("UBOB"), "UBOB": somebody("UBOB"), "UCAROL": somebody("UCAROL"),
		"guest@fabrikam.com": {Person: conversation.Person{ID: "UGUEST"}, Skip: "is a guest here"},
	}}
}

func user(mail string) OwnerEntry { return OwnerEntry{ID: "o-" + mail, Kind: UserOwner, Mail: mail} }

// atOffice runs story with a bot that tells owners, on virtual time that begins
// on a Tuesday at ten.
func atOffice(t *testing.T, dir Directory, people *crowd, change func(*Bot), story func(ctx context.Context, b *Bot, chat *room)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		pass(time.Until(time.Date(2000, 1, 4, 10, 0, 0, 0, time.UTC)))
		ctx, stop := context.WithCancel(t.Context())
		chat := &room{}
		set := Bot{Policy: policy.Default(), Store: store.NewMem(), Chat: chat, Directory: dir, People: people, SecurityChannel: "CSEC"}
		if change != nil {
			change(&set)
		}
		b := New(set)
		ended := make(chan error, 1)
		go func() { ended <- b.Run(ctx) }()
		story(ctx, b, chat)
		synctest.Wait()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// report opens a conversation as an alert does.
func report(t *testing.T, ctx context.Context, b *Bot, id string, change ...func(*policy.Violation)) string {
	t.Helper()
	v := policy.Violation{ID: id, Source: policy.ViolationFrom{System: "s360"}, Title: tenantTitle, App: policy.App{AppID: ledger, DisplayName: "Contoso Ledger"}}
	for _, c := range change {
		c(&v)
	}
	done, err := b.TakeIn(ctx, store.Batch{}, Alert{
		Key: "find:" + id + fmt.Sprint(v), Finding: "s360/" + id,
		Opened: conversation.Opened{Violation: v, Facts: b.Policy.Infer(v), In: conversation.Place{Channel: "C1"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return done[0].Conversation.ID
}

// timeless is people of whom nobody says in which time zone they are.
type timeless struct{ *crowd }

func (p timeless) Person(ctx context.Context, who Identity) (Profile, error) {
	if who.ID != "" {
		return Profile{}, &Failure{Kind: Again, Code: "timeout"}
	}
	return p.crowd.Person(ctx, who)
}

// TestWhereThereAreNoQuietHoursNobodysTimeIsAskedFor has a Slack that finds people
// by mail and says nothing else of them.
func TestWhereThereAreNoQuietHoursNobodysTimeIsAskedFor(t *testing.T) {
	dir := directoryOf(func(q AppQuery) AppEntry {
		return AppEntry{ReadAt: time.Now(), AppID: q.AppID, Owners: []OwnerEntry{user("carol@contoso.com")}}
	})
	for name, tc := range map[string]struct {
		off, daily bool
		told       int
	}{
		"no quiet hours": {off: true, told: 1}, "quiet hours": {}, "one digest a day": {off: true, daily: true},
	} {
		t.Run(name, func(t *testing.T) {
			people := timeless{anOffice()}
			atOffice(t, dir, people.crowd, func(b *Bot) { b.People, b.Manners.Quiet.Off = people, tc.off }, func(ctx context.Context, b *Bot, chat *room) {
				if err := b.PreferDigest(ctx, "k", conversation.Person{ID: "UCAROL"}, tc.daily); err != nil {
					t.Fatal(err)
				}
				id := report(t, ctx, b, "KAI-1")
				pass(30 * time.Second)
				synctest.Wait()
				if got := roots(chat, id, "CAROL"); got != tc.told {
					t.Errorf("after half a minute carol was told %d times, want %d:\n%s", got, tc.told, chat.heard())
				}
			})
		})
	}
}

func hops(t *testing.T, b *Bot, id string) string {
	t.Helper()
	c, err := b.Store.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, h := range c.Hops {
		out = append(out, h.Where+": "+h.Result)
	}
	return strings.Join(out, "\n")
}

func TestBothOwnersHearOfAnAlertWithinAMinute(t *testing.T) {
	dir := &shelf{entry: AppEntry{
		Directory: "PME", ReadAt: time.Unix(1, 0), AppID: ledger, DisplayName: "Contoso Ledger",
		Owners: []OwnerEntry{user("carol@contoso.com"), user("bob@contoso.com"), {Kind: PrincipalOwner}, {Kind: UserOwner, Disabled: true, Mail: "x@contoso.com"}},
	}}
	atOffice(t, dir, anOffice(), nil, func(ctx context.Context, b *Bot, chat *room) {
		id := report(t, ctx, b, "KAI-1")
		pass(time.Minute)
		synctest.Wait()
		heard := chat.heard()
		for _, line := range []string{"RH-1 post root in C1/", "RH-1 post q1 in C1/", "RH-1 post root in UCAROL/", "RH-1 post q1 in DCAROL/", "RH-1 post root in UBOB/"} {
			if strings.Count(heard, line) != 1 {
				t.Errorf("%q came %d times in\n%s", line, strings.Count(heard, line), heard)
			}
		}
		want := "owners of the application: 4: 2 can be told, 1 is a service principal, 1 left"
		if got := hops(t, b, id); got != want {
			t.Errorf("looked for in\n%s\nwant\n%s", got, want)
		}
	})
}

func TestOwnersAreLookedForPlaceByPlace(t *testing.T) {
	group := OwnerEntry{Kind: GroupOwner, Members: []OwnerEntry{user("bob@contoso.com")}}
	for _, tc := range []struct {
		name  string
		dir   *shelf
		alert func(*policy.Violation)
		kept  map[string]string
		own   Ownership
		told  string
		hops  string
	}{{
		name: "the application's owners count first",
		dir:  &shelf{entry: AppEntry{ReadAt: time.Unix(1, 0), Owners: []OwnerEntry{user("carol@contoso.com")}, PrincipalOwners: []OwnerEntry{user("bob@contoso.com")}}},
		told: "UCAROL", hops: "owners of the application: 1, can be told",
	}, {
		name: "then the service principal's",
		dir:  &shelf{entry: AppEntry{ReadAt: time.Unix(1, 0), PrincipalOwners: []OwnerEntry{user("bob@contoso.com")}}},
		told: "UBOB", hops: "owners of the application: none\nowners of the service principal: 1, can be told",
	}, {
		name: "then the members of an owning group",
		dir:  &shelf{entry: AppEntry{ReadAt: time.Unix(1, 0), Owners: []OwnerEntry{group}}},
		told: "UBOB", hops: "owners of the application: 1, is a group\nowners of the service principal: none\nmembers of an owning group: 1, can be told",
	}, {
		name:  "then whom the alert names",
		dir:   &shelf{entry: AppEntry{ReadAt: time.Unix(1, 0), Owners: []OwnerEntry{{Kind: UserOwner, Hidden: "User.Read.All"}, {Kind: UserOwner, Guest: true, Mail: "g@x.example"}}}},
		alert: func(v *policy.Violation) { v.Owner.Alias = "nobody"; v.Assignee.Email = "carol@contoso.com" },
		own:   Ownership{MailDomain: "contoso.com"}, told: "UCAROL",
		hops: "owners of the application: 2: 1 mail hidden: needs User.Read.All, 1 is a guest\nowners of the service principal: none\nthe alert's owner: 1, not in this workspace\nthe alert's assignee: 1, can be told",
	}, {
		name:  "then who answers for the service",
		dir:   &shelf{err: &LookupError{Kind: Denied, Directory: "PME", Permission: "Application.Read.All"}},
		alert: func(v *policy.Violation) { v.Service.Name = "Contoso Ledger" },
		own:   Ownership{Services: map[string]string{"contoso ledger": "bob@contoso.com"}}, told: "UBOB",
		hops: "the directory PME: a permission is missing: needs Application.Read.All\nthe alert's owner: none is named\nthe alert's assignee: none is named\nthe service map: 1, can be told",
	}, {
		name: "and then the team's channel has it",
		dir:  &shelf{err: &LookupError{Kind: NoSuchApp}},
		hops: "the directory: the app is in no directory that was asked\nthe alert's owner: none is named\nthe alert's assignee: none is named\nthe service map: does not have the service\nthe team's channel: told in the thread there",
	}, {
		name: "what people said before counts before all",
		dir:  &shelf{entry: AppEntry{ReadAt: time.Unix(1, 0), Owners: []OwnerEntry{user("carol@contoso.com")}}},
		kept: map[string]string{"app/" + ledger + "/owner": "UBOB"},
		told: "UBOB", hops: "what people said before: 1, can be told",
	}, {
		name: "and so does that it is not theirs",
		dir:  &shelf{entry: AppEntry{ReadAt: time.Unix(1, 0), Owners: []OwnerEntry{user("carol@contoso.com"), user("bob@contoso.com")}}},
		kept: map[string]string{"app/" + ledger + "/not/UCAROL": "yes"},
		told: "UBOB", hops: "owners of the application: 2: 1 said before that it is not theirs, 1 can be told",
	}, {
		name: "guests of the workspace are never told",
		dir:  &shelf{entry: AppEntry{ReadAt: time.Unix(1, 0), Owners: []OwnerEntry{user("guest@fabrikam.com")}}},
		hops: "owners of the application: 1, is a guest here\nowners of the service principal: none\nthe alert's owner: none is named\nthe alert's assignee: none is named\nthe service map: does not have the service\nthe team's channel: told in the thread there",
	}} {
		t.Run(tc.name, func(t *testing.T) {
			people := anOffice()
			atOffice(t, tc.dir, people, func(b *Bot) { b.Ownership = tc.own }, func(ctx context.Context, b *Bot, chat *room) {
				for k, v := range tc.kept {
					if err := b.Store.Remember(ctx, k, v); err != nil {
						t.Fatal(err)
					}
				}
				id := report(t, ctx, b, "KAI-1", func(v *policy.Violation) {
					if tc.alert != nil {
						tc.alert(v)
					}
				})
				pass(time.Minute)
				synctest.Wait()
				if got := hops(t, b, id); got != tc.hops {
					t.Errorf("looked for in\n%s\nwant\n%s", got, tc.hops)
				}
				c, _ := b.Store.Get(ctx, id)
				var told []string
				for _, o := range c.Owners {
					if o.State == conversation.ToldAlone {
						told = append(told, o.ID)
					}
				}
				if got := strings.Join(told, " "); got != tc.told {
					t.Errorf("told %q, want %q", got, tc.told)
				}
				if (tc.told == "") != (len(people.reports) > 0) {
					t.Errorf("the security channel heard %q", people.reports)
				}
			})
		})
	}
}

func TestADirectoryThatDoesNotAnswerHoldsNobodyUpForLong(t *testing.T) {
	dir := &shelf{err: &LookupError{Kind: Busy, After: 2 * time.Second}}
	atOffice(t, dir, anOffice(), nil, func(ctx context.Context, b *Bot, chat *room) {
		report(t, ctx, b, "KAI-1")
		synctest.Wait()
		if heard := chat.heard(); !strings.Contains(heard, "post root") || strings.Contains(heard, "post q1") {
			t.Errorf("before the directory has answered the chat heard\n%s", heard)
		}
		pass(time.Minute)
		synctest.Wait()
		if heard := chat.heard(); !strings.Contains(heard, "post q1") {
			t.Errorf("a minute later the chat heard\n%s", heard)
		}
		if dir.asked.Load() != lookupAttempts+1 {
			t.Errorf("the directory was asked %d times", dir.asked.Load())
		}
	})
}

func TestManyAlertsForOnePersonAreOneDigest(t *testing.T) {
	dir := &shelf{entry: AppEntry{ReadAt: time.Unix(1, 0), Owners: []OwnerEntry{user("carol@contoso.com")}}}
	people := anOffice()
	atOffice(t, dir, people, nil, func(ctx context.Context, b *Bot, chat *room) {
		for i := range 3 {
			report(t, ctx, b, fmt.Sprint("KAI-", i))
		}
		pass(time.Minute)
		synctest.Wait()
		if got := strings.Count(chat.heard(), "post root in UCAROL") + strings.Count(chat.heard(), "post root in DCAROL"); got != 3 || len(people.digests) != 0 {
			t.Errorf("three alerts were %d direct messages and %d digests", got, len(people.digests))
		}
		for i := range 4 {
			report(t, ctx, b, fmt.Sprint("KAI-1", i))
		}
		pass(time.Minute)
		synctest.Wait()
		if want := []string{"UCAROL: RH-4 RH-5 RH-6 RH-7"}; !slices.Equal(people.digests, want) {
			t.Errorf("digests %q, want %q", people.digests, want)
		}
		if waiting, err := b.Store.Outbox(ctx, false); err != nil || len(waiting) != 0 {
			t.Errorf("still to be said: %v, %v", waiting, err)
		}
	})
}

func TestQuietHoursAreKeptExceptForWhatIsUrgent(t *testing.T) {
	dir := &shelf{entry: AppEntry{ReadAt: time.Unix(1, 0), Owners: []OwnerEntry{user("carol@contoso.com")}}}
	tokyo := time.FixedZone("UTC+9", 9*3600)
	people := anOffice()
	people.people["UCAROL"] = Profile{Person: conversation.Person{ID: "UCAROL"}, Zone: tokyo}
	atOffice(t, dir, people, nil, func(ctx context.Context, b *Bot, chat *room) {
		pass(2 * time.Hour) // noon here is nine in the evening there
		report(t, ctx, b, "KAI-1")
		pass(time.Hour)
		synctest.Wait()
		if strings.Contains(chat.heard(), "UCAROL") {
			t.Errorf("told at ten in the evening:\n%s", chat.heard())
		}
		pass(10 * time.Hour) // eight in the morning there
		synctest.Wait()
		if !strings.Contains(chat.heard(), "RH-1 post root in UCAROL") {
			t.Errorf("not told in the morning:\n%s", chat.heard())
		}
		pass(14 * time.Hour)
		report(t, ctx, b, "KAI-2", func(v *policy.Violation) { v.Due = b.Now().Add(24 * time.Hour) })
		pass(time.Minute)
		synctest.Wait()
		if !strings.Contains(chat.heard(), "RH-2 post root in") || strings.Count(chat.heard(), "RH-2 post root") != 2 {
			t.Errorf("what is due tomorrow waits for the morning:\n%s", chat.heard())
		}
	})
}

func TestAPersonCanHaveOneDigestADay(t *testing.T) {
	dir := &shelf{entry: AppEntry{ReadAt: time.Unix(1, 0), Owners: []OwnerEntry{user("carol@contoso.com")}}}
	atOffice(t, dir, anOffice(), nil, func(ctx context.Context, b *Bot, chat *room) {
		if err := b.PreferDigest(ctx, "k", conversation.Person{ID: "UCAROL"}, true); err != nil {
			t.Fatal(err)
		}
		report(t, ctx, b, "KAI-1")
		pass(8 * time.Hour)
		synctest.Wait()
		if strings.Contains(chat.heard(), "CAROL") {
			t.Errorf("told before the morning:\n%s", chat.heard())
		}
		pass(16 * time.Hour)
		synctest.Wait()
		if !strings.Contains(chat.heard(), "RH-1 post root in UCAROL") {
			t.Errorf("not told in the morning:\n%s", chat.heard())
		}
	})
}

// A command that comes twice, the second time after its person has said something
// else, says nothing new.
func TestARepeatedWishDoesNotUndoALaterOne(t *testing.T) {
	carol := conversation.Person{ID: "UCAROL"}
	b := New(Bot{Store: store.NewMem()})
	for _, said := range []struct {
		key   string
		daily bool
		want  string
	}{{"one", true, digestDaily}, {"two", false, digestNow}, {"one", true, digestNow}, {"three", true, digestDaily}, {"two", false, digestDaily}} {
		if err := b.PreferDigest(t.Context(), said.key, carol, said.daily); err != nil {
			t.Fatal(err)
		}
		if how, _, err := b.wish(t.Context(), carol); err != nil || how != said.want {
			t.Errorf("after %s: %q, %v; want %q", said.key, how, err, said.want)
		}
	}
}

func TestWhoCannotBeToldIsReported(t *testing.T) {
	dir := &shelf{entry: AppEntry{ReadAt: time.Unix(1, 0), Owners: []OwnerEntry{user("carol@contoso.com")}}}
	people := anOffice()
	atOffice(t, dir, people, nil, func(ctx context.Context, b *Bot, chat *room) {
		chat.refuse = func(m Message) error {
			if strings.Contains(m.Channel, "CAROL") {
				return &Failure{Kind: Never, Code: "cannot_dm_bot"}
			}
			return nil
		}
		report(t, ctx, b, "KAI-1")
		pass(time.Minute)
		synctest.Wait()
		want := []string{"CSEC: RH-1: I could not tell @UCAROL (cannot_dm_bot). Somebody else has to."}
		if !slices.Equal(people.reports, want) {
			t.Errorf("the security channel heard %q, want %q", people.reports, want)
		}
	})
}

func TestAFindingSeenAgainOpensNothing(t *testing.T) {
	atOffice(t, &shelf{err: &LookupError{Kind: NoSuchApp}}, anOffice(), nil, func(ctx context.Context, b *Bot, chat *room) {
		first := report(t, ctx, b, "KAI-1")
		pass(time.Minute)
		synctest.Wait()
		before := chat.heard()
		if again := report(t, ctx, b, "KAI-1"); again != first {
			t.Errorf("the repeat is %s", again)
		}
		synctest.Wait()
		if chat.heard() != before {
			t.Errorf("the repeat said something:\n%s", strings.TrimPrefix(chat.heard(), before))
		}
		if again := report(t, ctx, b, "KAI-1", func(v *policy.Violation) { v.Status = "resolved" }); again != first {
			t.Errorf("the fix is %s", again)
		}
		c, _ := b.Store.Get(ctx, first)
		if c.Status != conversation.Closed {
			t.Errorf("after the fix it is %s", c.Status)
		}
		if again := report(t, ctx, b, "KAI-1", func(v *policy.Violation) { v.Status = "active" }); again != first {
			t.Errorf("the regression is %s", again)
		}
		if c, _ = b.Store.Get(ctx, first); c.Status == conversation.Closed {
			t.Error("the regression left it closed")
		}
	})
}

func TestFindingsOfOneAppNameEachOther(t *testing.T) {
	atOffice(t, &shelf{err: &LookupError{Kind: NoSuchApp}}, anOffice(), nil, func(ctx context.Context, b *Bot, chat *room) {
		first, second := report(t, ctx, b, "KAI-1"), report(t, ctx, b, "KAI-2")
		for id, other := range map[string]string{first: second, second: first} {
			if c, _ := b.Store.Get(ctx, id); !slices.Equal(c.Related, []string{other}) {
				t.Errorf("%s names %v, want %s", id, c.Related, other)
			}
		}
	})
}

func TestAnAlertThatNamesNobodyIsSaidToHaveNobody(t *testing.T) {
	people := anOffice()
	atOffice(t, &shelf{}, people, nil, func(ctx context.Context, b *Bot, _ *room) {
		id := report(t, ctx, b, "KAI-1", func(v *policy.Violation) {
			v.App, v.Title = policy.App{}, "Microsoft.KeyVault.CertificateNearExpiry"
		})
		synctest.Wait()
		want := "the directory: not asked: the app's id is not known\nthe alert's owner: none is named\nthe alert's assignee: none is named\n" +
			"the service map: does not have the service\nthe team's channel: told in the thread there"
		if got := hops(t, b, id); got != want {
			t.Errorf("looked for in\n%s\nwant\n%s", got, want)
		}
		pass(time.Minute)
		if len(people.reports) != 1 || !strings.Contains(people.reports[0], "no owner can be told") {
			t.Errorf("the security channel heard %q, want that no owner can be told", people.reports)
		}
	})
}

func TestAnAlertThatIsAssignedTellsWhoItIsAssignedTo(t *testing.T) {
	people := anOffice()
	atOffice(t, nil, people, nil, func(ctx context.Context, b *Bot, _ *room) {
		id := report(t, ctx, b, "KAI-1", func(v *policy.Violation) {
			v.App, v.Assignee.Email = policy.App{}, "carol@contoso.com"
		})
		synctest.Wait()
		if got := hops(t, b, id); !strings.HasSuffix(got, "the alert's assignee: 1, can be told") {
			t.Errorf("looked for in\n%s\nwant Carol, to whom it is assigned", got)
		}
	})
}

func TestWhenAnOwnerSaysNotMineTheNextPlaceIsLookedIn(t *testing.T) {
	shelf := &shelf{entry: AppEntry{ReadAt: time.Unix(1, 0), Owners: []OwnerEntry{user("carol@contoso.com")}, PrincipalOwners: []OwnerEntry{user("bob@contoso.com")}}}
	carol := conversation.Person{ID: "UCAROL"}
	told := func(ctx context.Context, b *Bot, id string) (who []string) {
		t.Helper()
		c, err := b.Store.Get(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range c.Owners {
			who = append(who, o.ID+" "+string(o.State))
		}
		return who
	}
	say := func(ctx context.Context, b *Bot, key, id string, e conversation.Event) {
		t.Helper()
		if _, err := b.Handle(ctx, key, id, e); err != nil {
			t.Fatal(err)
		}
	}
	atOffice(t, shelf, anOffice(), nil, func(ctx context.Context, b *Bot, _ *room) {
		id := report(t, ctx, b, "KAI-1")
		pass(time.Minute)
		say(ctx, b, "press-1", id, conversation.NotMine{By: carol})
		pass(5 * time.Minute)
		if got, want := told(ctx, b, id), []string{"UCAROL not theirs", "UBOB told"}; !slices.Equal(got, want) {
			t.Errorf("owners are %q, want %q", got, want)
		}
		want := "owners of the application: 1, said before that it is not theirs\nowners of the service principal: 1, can be told"
		if got := hops(t, b, id); got != want {
			t.Errorf("looked for in\n%s\nwant\n%s", got, want)
		}
	})
	atOffice(t, shelf, anOffice(), nil, func(ctx context.Context, b *Bot, _ *room) {
		id := report(t, ctx, b, "KAI-1")
		pass(time.Minute)
		say(ctx, b, "press-1", id, conversation.NotMine{By: carol})
		pass(10 * time.Second)
		say(ctx, b, "press-2", id, conversation.Named{By: carol, Owner: carol}) // hers after all
		pass(5 * time.Minute)
		if got, want := told(ctx, b, id), []string{"UCAROL told"}; !slices.Equal(got, want) {
			t.Errorf("owners are %q, want nobody else told of what is hers", got)
		}
		if got, want := hops(t, b, id), "owners of the application: 1, can be told"; got != want {
			t.Errorf("looked for in\n%s\nwant nobody looked for after she took it back:\n%s", got, want)
		}
	})
}

// directoryOf is a directory that answers each query.
type directoryOf func(AppQuery) AppEntry

func (d directoryOf) App(_ context.Context, q AppQuery, _ bool) (AppEntry, error) { return d(q), nil }
