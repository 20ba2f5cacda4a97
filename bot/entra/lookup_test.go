package entra

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"rehome/bot"
	"rehome/bot/sandbox/graph"
	"rehome/policy"
)

func TestAnAppComesWithItsOwnersAndCredentials(t *testing.T) {
	r := overLoopback(t, nil)
	got := r.look(t, ledger)
	if time.Since(got.ReadAt) > time.Minute {
		t.Errorf("read at %v", got.ReadAt)
	}
	got.ReadAt = time.Time{}
	want := bot.AppEntry{Directory: "PME", AppID: ledger, ObjectID: ledgerID, ServicePrincipalID: ledgerSP,
		DisplayName: "Contoso Ledger Sync", OwnerOrg: pme, SignInAudience: "AzureADMyOrg",
		Owners: []bot.OwnerEntry{
			{ID: rivera, Kind: bot.UserOwner, Name: "Robin Rivera", Mail: "rivera@contoso.example", UPN: "rivera@contoso.example"},
			{ID: gone, Kind: bot.UserOwner, Name: "Kim Gone", Mail: "gone@contoso.example", UPN: "gone@contoso.example", Disabled: true},
			{ID: visitor, Kind: bot.UserOwner, Name: "Lee Visitor", Mail: "lee@elsewhere.example", UPN: "lee@elsewhere.example", Guest: true},
			{ID: invited, Kind: bot.UserOwner, Name: "Max Invited", Mail: "max@elsewhere.example", UPN: "max_elsewhere.example#EXT#@contoso.example", Guest: true},
		},
		PrincipalOwners: []bot.OwnerEntry{{ID: okafor, Kind: bot.UserOwner, Name: "Ada Okafor", Mail: "okafor@fabrikam.example", UPN: "okafor@fabrikam.example"}},
		Credentials: []bot.CredentialEntry{
			{Type: "certificate", On: "application", KeyID: keyID, Thumbprint: sha1Print, DisplayName: "CN=ledger-sync", Usage: "Verify", Start: from, End: to},
			{Type: "clientSecret", On: "application", KeyID: secretID, DisplayName: "deploy", Start: from, End: to},
			{Type: "federatedIdentityCredential", On: "application", KeyID: "11111111-0000-4000-8000-0000000000f1", DisplayName: "main",
				Issuer: "https://token.example", Subject: "repo:contoso/ledger"},
		}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAServicePrincipalLeadsToItsApp(t *testing.T) {
	r := overLoopback(t, nil)
	e, err := r.App(t.Context(), bot.AppQuery{ServicePrincipalID: strings.ToUpper(ledgerSP)}, false)
	if err != nil || e.AppID != ledger || e.ObjectID != ledgerID || len(e.PrincipalOwners) != 1 {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestNobodyOwnsTheApp(t *testing.T) {
	e := overLoopback(t, nil).look(t, orphan)
	if len(e.Owners) != 0 || len(e.Gaps) != 0 {
		t.Errorf("owners %v, gaps %v", e.Owners, e.Gaps)
	}
}

func TestARobotOwnsTheApp(t *testing.T) {
	e := overLoopback(t, nil).look(t, byRobot)
	if diff := cmp.Diff([]bot.OwnerEntry{{ID: robot, Kind: bot.PrincipalOwner, Name: "Pipeline"}}, e.Owners); diff != "" {
		t.Error(diff)
	}
}

func TestAGroupOwnsTheAppAndItsPeopleAreFoundThroughTheGroupsInIt(t *testing.T) {
	e := overLoopback(t, nil).look(t, byGroup)
	if len(e.Owners) != 1 || e.Owners[0].Kind != bot.GroupOwner || e.Owners[0].Name != "Ledger team" {
		t.Fatalf("owners %+v", e.Owners)
	}
	var names []string
	for _, m := range e.Owners[0].Members {
		names = append(names, m.Name)
	}
	if diff := cmp.Diff([]string{"Robin Rivera", "Ada Okafor"}, names); diff != "" {
		t.Error(diff)
	}
}

// A missing permission is told apart from a missing owner, and named.
func TestMissingPermissionsAreNamed(t *testing.T) {
	r := overLoopback(t, nil)

	r.g.Revoke(pme, graph.UserRead)
	e := r.look(t, ledger)
	if len(e.Owners) != 4 || e.Owners[0].ID != rivera || e.Owners[0].Kind != bot.UserOwner || e.Owners[0].Mail != "" || e.Owners[0].Hidden != "User.Read.All" {
		t.Errorf("without User.Read.All: %+v", e.Owners)
	}
	r.g.Grant(pme, graph.UserRead)

	r.g.Revoke(pme, graph.GroupMemberRead)
	e = r.look(t, byGroup)
	if e.Owners[0].Hidden != "GroupMember.Read.All" || len(e.Owners[0].Members) != 0 {
		t.Errorf("without GroupMember.Read.All: %+v", e.Owners)
	}
	want := []bot.Gap{{What: "members of the owning group " + team, Permission: "GroupMember.Read.All", Why: "403"}}
	if diff := cmp.Diff(want, e.Gaps); diff != "" {
		t.Error(diff)
	}
	r.g.Grant(pme, graph.GroupMemberRead)

	r.g.Revoke(pme, graph.ApplicationRead)
	err := r.fails(t, ledger)
	if err.Kind != bot.Denied || err.Permission != "Application.Read.All" || err.Directory != "PME" {
		t.Errorf("without Application.Read.All: %+v", err)
	}
	if want := "PME: a permission is missing: grant Application.Read.All: Graph answered 403 Authorization_RequestDenied"; !strings.HasPrefix(err.Error(), want) {
		t.Errorf("said %q", err)
	}
}

func TestOwnersThatMayNotBeListedAreAGapAndNotNobody(t *testing.T) {
	r := overLoopback(t, nil)
	r.g.Break(only("/owners", graph.Fault{Status: 403}))
	e := r.look(t, ledger)
	want := []bot.Gap{
		{What: "owners of the application", Permission: "Application.Read.All", Why: "403"},
		{What: "owners of the service principal", Permission: "Application.Read.All", Why: "403"},
	}
	if diff := cmp.Diff(want, e.Gaps); diff != "" {
		t.Error(diff)
	}
}

func TestTheTenantThatHasTheRegistrationWins(t *testing.T) {
	r := overLoopback(t, nil)
	e, err := r.App(t.Context(), bot.AppQuery{AppID: abroad}, false)
	if err != nil || e.Directory != "CME" || len(e.Owners) != 1 || e.Owners[0].Name != "Lin" {
		t.Errorf("everywhere: %+v, %v", e, err)
	}
	e, err = r.App(t.Context(), bot.AppQuery{AppID: abroad, Cloud: policy.Public}, false)
	if err != nil || e.Directory != "PME" || e.ObjectID != "" || e.OwnerOrg != cme {
		t.Errorf("in Public: %+v, %v", e, err)
	}
	r.g.Revoke(cme, graph.ApplicationRead)
	e, err = r.App(t.Context(), bot.AppQuery{AppID: abroad}, true)
	want := []bot.Gap{{What: "the application in CME", Permission: "Application.Read.All", Why: "403"}}
	if err != nil || e.Directory != "PME" || !cmp.Equal(want, e.Gaps) {
		t.Errorf("with CME closed: %+v, %v", e, err)
	}
}

func TestWhomToAsk(t *testing.T) {
	r := overLoopback(t, nil)
	for _, c := range []struct {
		name string
		q    bot.AppQuery
		kind bot.LookupKind
		dirs string // who was asked
	}{
		{"the app's tenant, in capitals", bot.AppQuery{AppID: nobodys, TenantID: strings.ToUpper(cme)}, bot.NoSuchApp, cme},
		{"a tenant outranks a cloud", bot.AppQuery{AppID: nobodys, TenantID: pme, Cloud: policy.Mooncake}, bot.NoSuchApp, pme},
		{"a cloud", bot.AppQuery{AppID: nobodys, Cloud: policy.Mooncake}, bot.NoSuchApp, cme},
		{"all", bot.AppQuery{AppID: nobodys}, bot.NoSuchApp, pme + " " + cme},
		{"a tenant that is not configured", bot.AppQuery{AppID: ledger, TenantID: nobodys}, bot.NoDirectory, ""},
		{"a tenant that is no GUID", bot.AppQuery{AppID: ledger, TenantID: "contoso"}, bot.NoDirectory, ""},
		{"a cloud that is not configured", bot.AppQuery{AppID: ledger, Cloud: policy.Fairfax}, bot.NoDirectory, ""},
		{"an app id that is none", bot.AppQuery{AppID: "x' or '1' eq '1"}, bot.NoSuchApp, ""},
		{"an app id that is a path", bot.AppQuery{AppID: "../users"}, bot.NoSuchApp, ""},
		{"nothing", bot.AppQuery{}, bot.NoSuchApp, ""},
	} {
		before := len(r.g.Requests())
		_, err := r.App(t.Context(), c.q, true)
		failed, ok := err.(*bot.LookupError)
		if !ok || failed.Kind != c.kind {
			t.Errorf("%s: %v", c.name, err)
		}
		var dirs []string
		for _, q := range r.g.Requests()[before:] {
			if len(dirs) == 0 || dirs[len(dirs)-1] != q.Tenant {
				dirs = append(dirs, q.Tenant)
			}
		}
		if got := strings.Join(dirs, " "); got != c.dirs {
			t.Errorf("%s: asked %q, want %q", c.name, got, c.dirs)
		}
	}
}

func TestADirectoryThatIsSilentIsNotADirectoryWithoutTheApp(t *testing.T) {
	r := overLoopback(t, nil)
	r.g.Break(func(q graph.Request) graph.Fault {
		if q.Tenant == pme {
			return graph.Fault{Status: 501}
		}
		return graph.Fault{}
	})
	_, err := r.App(t.Context(), bot.AppQuery{AppID: nobodys}, true)
	if failed := err.(*bot.LookupError); failed.Kind != bot.Busy || failed.Directory != "PME" {
		t.Error(err)
	}
}

func TestLongListsArePagedAndBounded(t *testing.T) {
	many := func(n int) func(*Config, *graph.Config) {
		return func(c *Config, gc *graph.Config) {
			for i := range n {
				id := fmt.Sprintf("33333333-0000-4000-8000-%012d", i)
				gc.Tenants[0].Users = append(gc.Tenants[0].Users, graph.User{ID: id, DisplayName: fmt.Sprint("Person ", i), Mail: fmt.Sprintf("p%d@contoso.example", i)})
				gc.Tenants[0].Applications[1].Owners = append(gc.Tenants[0].Applications[1].Owners, id)
			}
		}
	}
	e := overLoopback(t, many(150)).look(t, orphan)
	if len(e.Owners) != 150 || e.Owners[149].Mail != "p149@contoso.example" || len(e.Gaps) != 0 {
		t.Errorf("%d owners, gaps %v", len(e.Owners), e.Gaps)
	}
	e = overLoopback(t, many(201)).look(t, orphan)
	if len(e.Owners) != 200 || !cmp.Equal(e.Gaps, []bot.Gap{{What: "owners of the application", Why: "too many"}}) {
		t.Errorf("%d owners, gaps %v", len(e.Owners), e.Gaps)
	}
}

func TestPagesThatLeadNowhere(t *testing.T) {
	for _, c := range []struct{ name, link, why string }{
		{"to itself", "http://HOST/v1.0/applications/" + ledgerID + "/owners?$skiptoken=again", "pages without end"},
		{"to another host", "http://graph.evil.example/v1.0/next", "foreign-address"},
		{"to another port", "http://127.0.0.1:9/v1.0/next", "foreign-address"},
		{"to another scheme", "https://HOST/v1.0/next", "foreign-address"},
	} {
		r := overLoopback(t, nil)
		host := strings.TrimSuffix(strings.TrimPrefix(r.tenants[0].adapter.GetBaseUrl(), "http://"), "/v1.0")
		link := strings.Replace(c.link, "HOST", host, 1)
		r.g.Break(only("/applications/"+ledgerID+"/owners", graph.Fault{Raw: true, Type: "application/json",
			Body: `{"value":[null,{"@odata.type":"#microsoft.graph.user","id":"` + rivera + `","displayName":"Robin"}],"@odata.nextLink":"` + link + `"}`}))
		e := r.look(t, ledger)
		if len(e.Owners) == 0 || e.Owners[0].Name != "Robin" {
			t.Errorf("%s: owners %v", c.name, e.Owners)
		}
		if len(e.Gaps) != 1 || e.Gaps[0].Why != c.why {
			t.Errorf("%s: gaps %v", c.name, e.Gaps)
		}
	}
}

func TestEmptyPagesInBetweenAreNotTheEnd(t *testing.T) {
	r := overLoopback(t, nil)
	base := r.tenants[0].adapter.GetBaseUrl()
	r.g.Break(func(q graph.Request) graph.Fault {
		if !strings.HasSuffix(q.Path, ledgerID+"/owners") {
			return graph.Fault{}
		}
		f := graph.Fault{Raw: true, Type: "application/json"}
		switch {
		case strings.Contains(q.Query, "page=3"):
			f.Body = `{"value":[{"@odata.type":"#microsoft.graph.user","id":"` + okafor + `","displayName":"Ada"}]}`
		case strings.Contains(q.Query, "page=2"):
			f.Body = `{"@odata.nextLink":"` + base + `/applications/` + ledgerID + `/owners?page=3"}`
		default:
			f.Body = `{"value":[],"@odata.nextLink":"` + base + `/applications/` + ledgerID + `/owners?page=2"}`
		}
		return f
	})
	if e := r.look(t, ledger); len(e.Owners) != 1 || e.Owners[0].Name != "Ada" || len(e.Gaps) != 0 {
		t.Errorf("%+v", e)
	}
}

func TestAPageThatFailsKeepsWhatCameBefore(t *testing.T) {
	r := overLoopback(t, func(c *Config, gc *graph.Config) { c.MaxOwners = 2 })
	r.g.Break(func(q graph.Request) graph.Fault {
		if strings.Contains(q.Query, "skiptoken") {
			return graph.Fault{Status: 403}
		}
		return graph.Fault{}
	})
	e := r.look(t, ledger)
	if len(e.Owners) != 2 || len(e.Gaps) != 1 || e.Gaps[0].Permission != "Application.Read.All" {
		t.Errorf("%+v", e)
	}
}

// The service may refuse to select properties of a derived type.
func TestOwnersAreReadWithoutSelectWhereItIsRefused(t *testing.T) {
	r := overLoopback(t, nil)
	r.g.Break(func(q graph.Request) graph.Fault {
		if strings.HasSuffix(q.Path, "/owners") && strings.Contains(q.Query, "select") {
			return graph.Fault{Status: 400}
		}
		return graph.Fault{}
	})
	e := r.look(t, ledger)
	if len(e.Owners) != 4 || e.Owners[0].Mail != "rivera@contoso.example" || !e.Owners[3].Guest || len(e.Gaps) != 0 {
		t.Errorf("%+v", e)
	}
}

func TestOwnersOfKindsTheSDKDoesNotKnow(t *testing.T) {
	r := overLoopback(t, nil)
	r.g.Break(only(ledgerID+"/owners", graph.Fault{Raw: true, Type: "application/json", Body: `{"value":[
		{"@odata.type":"#microsoft.graph.agentIdentity","id":"x1","displayName":"Agent"},
		{"id":"x2"},
		{"@odata.type":"#microsoft.graph.device","id":"x3","displayName":"Laptop"}]}`}))
	want := []bot.OwnerEntry{{ID: "x1", Kind: bot.OtherOwner, Name: "Agent"}, {ID: "x2", Kind: bot.OtherOwner}, {ID: "x3", Kind: bot.OtherOwner}}
	if diff := cmp.Diff(want, r.look(t, ledger).Owners); diff != "" {
		t.Error(diff)
	}
}

func TestAnEntryServesForAWhileAndSaysHowOldItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := inside(t, nil)
		q := bot.AppQuery{AppID: ledger, TenantID: pme}
		read := func(fresh bool) bot.AppEntry {
			t.Helper()
			e, err := r.App(t.Context(), q, fresh)
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
		first := read(false)
		first.Owners[0].Name = "scribbled" // what a caller does to its copy stays there
		asked := len(r.g.Requests())
		time.Sleep(14 * time.Minute)
		if again := read(false); !again.ReadAt.Equal(first.ReadAt) || again.Owners[0].Name != "Robin Rivera" || len(r.g.Requests()) != asked {
			t.Errorf("after 14 minutes: read at %v, owner %q, %d requests", again.ReadAt, again.Owners[0].Name, len(r.g.Requests()))
		}
		if e := read(true); !e.ReadAt.Equal(time.Now()) {
			t.Error("a fresh look-up came from memory")
		}
		time.Sleep(16 * time.Minute)
		if e := read(false); !e.ReadAt.Equal(time.Now()) {
			t.Errorf("after 16 minutes: read at %v", e.ReadAt)
		}
	})
}

func TestAnOldEntryStandsInForADirectoryThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := inside(t, nil)
		q := bot.AppQuery{AppID: ledger, TenantID: pme}
		first, err := r.App(t.Context(), q, false)
		if err != nil {
			t.Fatal(err)
		}
		r.g.Break(func(graph.Request) graph.Fault { return graph.Fault{Status: 503} })
		time.Sleep(23 * time.Hour)
		if e, err := r.App(t.Context(), q, false); err != nil || !e.ReadAt.Equal(first.ReadAt) {
			t.Errorf("after 23 hours: %v, %v", e.ReadAt, err)
		}
		if _, err := r.App(t.Context(), q, true); err == nil {
			t.Error("a fresh look-up was answered from memory")
		}
		time.Sleep(2 * time.Hour)
		if _, err := r.App(t.Context(), q, false); err == nil {
			t.Error("an entry of 25 hours still serves")
		}
	})
}

func TestAnAbsentAppIsRememberedBriefly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := inside(t, nil)
		ask := func() int {
			_, _ = r.App(t.Context(), bot.AppQuery{AppID: nobodys, TenantID: pme}, false)
			return len(r.g.Requests())
		}
		first := ask()
		if again := ask(); again != first {
			t.Errorf("asked again at once: %d, %d requests", first, again)
		}
		time.Sleep(61 * time.Second)
		if later := ask(); later != 2*first {
			t.Errorf("after a minute: %d, %d requests", first, later)
		}
	})
}

func TestManyWhoAskForOneAppShareOneFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := inside(t, nil)
		hold := make(chan struct{})
		r.g.Break(func(graph.Request) graph.Fault { <-hold; return graph.Fault{} })
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if _, err := r.App(t.Context(), bot.AppQuery{AppID: ledger, TenantID: pme}, false); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait() // all wait for the one flight
		close(hold)
		wg.Wait()
		if n := r.asked("applications(appId="); n != 1 {
			t.Errorf("the application was asked for %d times", n)
		}
	})
}

// One caller's impatience is not another's failure.
func TestACallerWhoLeavesDoesNotEndTheFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := inside(t, nil)
		hold := make(chan struct{})
		r.g.Break(func(graph.Request) graph.Fault { <-hold; return graph.Fault{} })
		hasty, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := r.App(hasty, bot.AppQuery{AppID: ledger, TenantID: pme}, false)
			if failed, ok := err.(*bot.LookupError); !ok || failed.Kind != bot.Busy {
				t.Errorf("the one who left: %v", err)
			}
		})
		wg.Go(func() {
			if _, err := r.App(t.Context(), bot.AppQuery{AppID: ledger, TenantID: pme}, false); err != nil {
				t.Errorf("the one who stayed: %v", err)
			}
		})
		synctest.Wait()
		leave()
		synctest.Wait()
		close(hold)
		wg.Wait()
	})
}

func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := inside(t, nil)
		r.g.Break(func(graph.Request) graph.Fault { return graph.Fault{Hang: true} })
		done := make(chan error)
		go func() {
			_, err := r.App(context.Background(), bot.AppQuery{AppID: ledger, TenantID: pme}, false)
			done <- err
		}()
		synctest.Wait()
		r.Close()
		if err := <-done; err == nil {
			t.Error("no error")
		}
		if _, err := r.App(t.Context(), bot.AppQuery{AppID: ledger, TenantID: pme}, true); err == nil {
			t.Error("a closed directory answered")
		}
	})
}

func TestRequestsAtOnceAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := inside(t, func(c *Config, _ *graph.Config) { c.Parallel = 3 })
		hold := make(chan struct{})
		var mu sync.Mutex
		now, most := 0, 0
		r.g.Break(func(graph.Request) graph.Fault { return graph.Fault{} })
		r.tenants[0].adapter = adapterOver(t, r, func() {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			<-hold
			mu.Lock()
			now--
			mu.Unlock()
		})
		var wg sync.WaitGroup
		for _, app := range []string{ledger, orphan, byRobot, byGroup} {
			wg.Go(func() { _, _ = r.App(t.Context(), bot.AppQuery{AppID: app, TenantID: pme}, false) })
		}
		synctest.Wait()
		close(hold)
		wg.Wait()
		if most != 3 {
			t.Errorf("%d requests at once", most)
		}
	})
}

// Graph allows 150 reads of key credentials a minute; owners do not wait for them.
func TestKeyReadsArePacedAndOwnersComeAnyway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := inside(t, func(c *Config, _ *graph.Config) { c.KeyReads = 10 })
		gaps, owners := 0, 0
		for range 20 {
			e := r.look(t, ledger)
			gaps += len(e.Gaps)
			owners += len(e.Owners)
		}
		if owners != 80 || gaps != 38 { // a burst of two, one look-up's
			t.Errorf("%d owners, %d gaps", owners, gaps)
		}
		reads := 0
		for range 120 {
			time.Sleep(500 * time.Millisecond)
			r.look(t, ledger)
		}
		for _, q := range r.g.Requests() {
			if strings.Contains(q.Query, "keyCredentials") {
				reads++
			}
		}
		if reads > 10 || reads < 9 {
			t.Errorf("%d reads of keys in the first minute", reads)
		}
	})
}
