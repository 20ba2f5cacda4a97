package bot

import (
	"context"
	"testing"
	"testing/fstest"

	"rehome/conversation"
	"rehome/policy"
	"rehome/store"
)

// ledgerIn is the tenant of the app that reports are about.
const ledgerIn = "a0000000-0000-4000-8000-0000000000a9"

func TestABotThatStartsWithAnotherPolicyDecidesAnewWhatIsOpen(t *testing.T) {
	kept := store.NewMem()
	start := func(p *policy.Policy) *Bot { return New(Bot{Policy: p, Store: kept, Chat: &room{}}) }
	ctx := context.Background()
	before := start(policy.Default())
	inTenant := func(v *policy.Violation) { v.App.TenantID, v.App.Party = ledgerIn, "3P" }
	open := report(t, ctx, before, "KAI-1", inTenant)
	over := report(t, ctx, before, "KAI-2", inTenant)
	report(t, ctx, before, "KAI-2", inTenant, func(v *policy.Violation) { v.Status = "resolved" })
	asks := func(id string) policy.FactName {
		t.Helper()
		c, err := kept.Get(ctx, id)
		if err != nil || c.OpenQuestion() == 0 {
			return ""
		}
		return c.Asked[c.OpenQuestion()-1].Need.Fact
	}
	ruled := func(b *Bot, want int) {
		t.Helper()
		if n, err := b.Rule(ctx); n != want || err != nil {
			t.Errorf("%d were decided anew, want %d; %v", n, want, err)
		}
	}

	ruled(before, 0) // the same policy has nothing to say
	if got := asks(open); got != policy.AppTenant {
		t.Fatalf("asks for %q before, want %q", got, policy.AppTenant)
	}
	mapped := policy.Default().WithTenants(map[string]policy.TenantEntry{ledgerIn: {Name: "PME", Cloud: policy.Public}})
	ruled(start(mapped), 1)
	if got := asks(open); got != policy.Option {
		t.Errorf("asks for %q with the tenant on the map, want %q", got, policy.Option)
	}
	if c, err := kept.Get(ctx, over); err != nil || c.Status != conversation.Closed {
		t.Errorf("%s is %s (%v), want it closed as it was", over, c.Status, err)
	}
	ruled(start(mapped), 0)
	later := report(t, ctx, start(mapped), "KAI-3", inTenant)
	ruled(before, 2) // the map is taken back
	if got := asks(later); got != policy.AppTenant {
		t.Errorf("asks for %q when the tenant is off the map again, want %q", got, policy.AppTenant)
	}
	if got := asks(open); got != policy.AppTenant {
		t.Errorf("asks for %q when the map is taken back, want %q", got, policy.AppTenant)
	}
	ruled(start(mapped), 2)
}

func TestAdviceSaysByWhichPolicyItHoldsNow(t *testing.T) {
	kept := store.NewMem()
	ctx := context.Background()
	b := New(Bot{Policy: policy.Default(), Store: kept, Chat: &room{}})
	id := report(t, ctx, b, "KAI-1", func(v *policy.Violation) { v.Title = "Rotate your keyCredentials in Azure Active Directory" })
	files := policy.Default().Files()
	next, err := policy.Load(fstest.MapFS{"requirements.md": {Data: append(files["requirements.md"], '\n')}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(Bot{Policy: next, Store: kept, Chat: &room{}}).Rule(ctx); err != nil {
		t.Fatal(err)
	}
	c, err := kept.Get(ctx, id)
	if err != nil || len(c.Replies) != 1 {
		t.Fatalf("%d replies (%v), want the one that reads the same", len(c.Replies), err)
	}
	if got, want := c.Replies[0].Decision.Policy.Digest, next.Version(b.Now()).Digest; got != want {
		t.Errorf("the reply holds by %s, want %s", got, want)
	}
}
