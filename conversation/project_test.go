package conversation_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rehome/conversation"
	"rehome/policy"
)

// What the policy infers while it decides is shown with its reason, goes when
// its reason goes, and yields to what somebody says.
func TestTheRootShowsWhatWasInferredAndWhy(t *testing.T) {
	s := newStage(t, nil)
	happen := func(e conversation.Event) {
		s.c, _ = conversation.Step(s.p, s.c, e, s.now)
	}
	shows := func(when string, want ...policy.Fact) {
		t.Helper()
		card, _ := s.c.Card(conversation.RootKey, s.now)
		var got []policy.Fact
		for _, f := range card.(conversation.Root).Facts {
			if f.Name == policy.AppCloud || f.Name == policy.CertCloud {
				got = append(got, f)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	owners := policy.Fact{Name: policy.AppCloud, Value: "Fairfax", From: policy.FromInference, Why: "SG owner USME has a 1P row for Fairfax only"}
	vaults := policy.Fact{Name: policy.CertCloud, Value: "Mooncake", From: policy.FromInference, Why: "the vault's host ends in .vault.azure.cn"}

	facts, _ := s.p.Read("AAD Entra Apps in Prod Tenants using certificates in Non-Prod Tenant 1P", "typed")
	happen(conversation.Opened{By: person("alice"), Facts: facts, In: conversation.Place{Channel: "C1"}})
	shows("nothing leads to a cloud")
	happen(conversation.Chosen{By: person("alice"), Question: 1, Value: "USME"})
	shows("the owner has one cloud", owners)
	if f := s.c.Facts.Value(policy.AppCloud); f != "" {
		t.Errorf("%s became a fact of its own, and would outlive its reason", f)
	}
	happen(conversation.Seen{Facts: policy.Facts{{Name: policy.VaultURI, Value: "https://contoso.vault.azure.cn/", From: policy.FromAlert, Why: "its vault"}}})
	shows("the feed knows the vault", owners, vaults)
	happen(conversation.Revised{By: person("alice"), Question: 1})
	happen(conversation.Chosen{By: person("alice"), Question: 1, Value: "PME"})
	shows("another owner has several clouds", vaults)
	n := s.c.OpenQuestion()
	happen(conversation.Chosen{By: person("alice"), Question: n, Value: "Public"})
	card, _ := s.c.Card(conversation.RootKey, s.now)
	if f, _ := policy.Facts(card.(conversation.Root).Facts).Get(policy.AppCloud); f.From != policy.FromAnswer || f.Value != "Public" {
		t.Errorf("alice said Public, and the root shows %+v", f)
	}
}

// The directory's answers are cached; the root gives their age once it matters.
func TestTheRootDatesTheDirectoryWhenItIsOld(t *testing.T) {
	s := newStage(t, nil)
	facts, _ := s.p.Read("APP-09", "typed")
	s.c, _ = conversation.Step(s.p, s.c, conversation.Opened{Facts: facts, In: conversation.Place{Channel: "C1"}, Lookup: true}, s.now)
	found := conversation.Found{ReadAt: s.now, Owners: []conversation.Owner{{Person: person("carol")}}, Hops: []conversation.Hop{{Where: "owners of the application", Result: "1, can be told"}}}
	s.c, _ = conversation.Step(s.p, s.c, found, s.now)
	s.c, _ = conversation.Step(s.p, s.c, conversation.Told{To: person("carol")}, s.now)
	for _, at := range []struct {
		in    int
		after time.Duration
		dated bool
	}{{0, 0, false}, {0, 10 * time.Minute, false}, {0, 10*time.Minute + time.Second, true}, {1, time.Hour, false}} {
		card, _ := s.c.CardIn(at.in, conversation.RootKey, s.now.Add(at.after))
		if r := card.(conversation.Root); r.ReadAt.Equal(found.ReadAt) != at.dated || r.ReadAt.IsZero() == at.dated {
			t.Errorf("thread %d, %v later: read at %v, dated should be %v", at.in, at.after, r.ReadAt, at.dated)
		}
	}
}

// When a feed names another app, nobody is left who is still to be told. A restart
// then may not take the root for another one, and edit it for nothing.
func TestAListThatNothingIsLeftInReadsAsNone(t *testing.T) {
	c := conversation.Conversation{ID: "RH-1", Opened: start, Owners: []conversation.Owner{}, Hops: []conversation.Hop{}, Related: []string{}}
	readsTheSameWhenStored(t, c, start)
}

func TestTheRootCallsAWayOutAsItsButtonDoes(t *testing.T) {
	p := policy.Default()
	for title, said := range map[string][][2]string{
		"AAD Entra Apps in Prod Tenants using certificates in Non-Prod Tenant": {{"A", "Option A"}, {"B", "Option B"}},
		"AAD Entra Apps cloud mismatches with Cert Cloud":                      {{"2", "Option 2"}},
		"1pApp certs Tenant mismatches the Tenant of the Security Group":       {{"move-cert", "Move the certificate"}, {"update-sg", "Update the security group"}},
	} {
		for _, s := range said {
			facts := policy.Facts{
				{Name: policy.Violated, Value: title, From: policy.FromAnswer}, {Name: policy.Option, Value: s[0], From: policy.FromAnswer},
				{Name: policy.Plane, Value: "data-flow", From: policy.FromAnswer},
			}
			c, _ := conversation.Step(p, conversation.Conversation{ID: "RH-1"}, conversation.Opened{By: conversation.Person{ID: "U1"}, Facts: facts, In: conversation.Place{Channel: "C1"}}, time.Now())
			card, _ := c.Card(conversation.RootKey, time.Now())
			shown := policy.Facts(card.(conversation.Root).Facts)
			if got := shown.Value(policy.Option); got != s[1] {
				t.Errorf("%s is shown as %q, want %q", s[0], got, s[1])
			}
			if got := shown.Value(policy.Plane); got != "Data flow" {
				t.Errorf("the plane is shown as %q, want what its button says", got)
			}
		}
	}
}

// A reply is cut into messages once, when it is made. One that another version
// made, which kept no cuts or cut elsewhere, loses nothing and repeats nothing.
func TestAReplyMadeByAnotherVersionIsShownWhole(t *testing.T) {
	p := policy.Default()
	facts, _ := p.Read("AAD Entra Apps cloud mismatches with Cert Cloud 3P CME option 1", "typed")
	c, _ := conversation.Step(p, conversation.Conversation{ID: "RH-1"}, conversation.Opened{Facts: facts, In: conversation.Place{Channel: "C1"}}, day)
	made, ok := c.CurrentReply()
	if !ok || made.Parts < 3 || len(made.Cuts) != made.Parts-1 {
		t.Fatalf("the reply has %d parts and is cut at %v; the test needs three parts", made.Parts, made.Cuts)
	}
	shown := func(parts int, cuts ...int) (sections []conversation.Section, each []int) {
		c.Replies[0].Parts, c.Replies[0].Cuts = parts, cuts
		for n := range parts {
			card, ok := c.Card(fmt.Sprintf("r1.%d", n+1), day)
			a, _ := card.(conversation.Advice)
			if !ok || a.Change != (n+1 == parts) {
				t.Errorf("%d parts cut at %v: part %d is %v, with Change %v", parts, cuts, n+1, ok, a.Change)
			}
			sections, each = append(sections, a.Sections...), append(each, len(a.Sections))
		}
		return sections, each
	}
	want, each := shown(made.Parts, made.Cuts...)
	for _, old := range []struct {
		parts int
		cuts  []int
	}{
		{made.Parts, nil}, {made.Parts - 1, nil}, {made.Parts + 2, nil}, {1, nil},
		{made.Parts, []int{1, 2}}, {2, []int{1000}}, {3, []int{1, 1000}},
	} {
		got, of := shown(old.parts, old.cuts...)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d parts cut at %v (-want +got):\n%s", old.parts, old.cuts, diff)
		}
		if old.parts == made.Parts && old.cuts == nil && !slices.Equal(of, each) {
			t.Errorf("without cuts the parts have %v sections, with them %v", of, each)
		}
	}
}

var day = time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)
