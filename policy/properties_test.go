package policy

import (
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// pool is everything a fact may be said to be, right and wrong.
var pool = map[FactName][]string{
	Violated:    {titleTenant, titleCloud, titleSG, "APP-09", "Microsoft.KeyVault.CertificateExpired", titleCloud + " - Cross-cloud 1P scenarios", "1P App with invalid security group", "Something else"},
	PartyFact:   {"1P", "3P", "2P"},
	AppTenant:   {"AME", "USME", "Torus Gallatin", "Corp", "torus itar"},
	SGOwner:     {"AME", "GME", "Torus", "USME", "Corp", "Unknown", "Contoso"},
	AppCloud:    {"Public", "Mooncake", "Fairfax", "fairFAX", "Mars"},
	Option:      {"A", "B", "1", "2", "3", "move-cert", "update-sg", "option a", "Z"},
	Plane:       {"data-flow", "control-plane", "control plane", "both"},
	AppID:       {"3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a01", "none"},
	AppName:     {"Contoso Ledger", "<!channel> *bold* [x](https://evil.example) `tick` | cell"},
	AppAuthor:   {"https://login.microsoftonline.us", "https://login.microsoftonline.com", "https://evil.example"},
	OwnerOrg:    {"f8cdef31-a31e-4b4a-93e4-5f571e91255a", "72f988bf-86f1-41af-91ab-2d7cd011db47", "a0000000-0000-4000-8000-0000000000a1"},
	CertCloud:   {"Public", "Fairfax"},
	CertTenant:  {"Corp", "CME"},
	VaultURI:    {"https://contoso.vault.azure.net", "https://contoso.vault.azure.cn", "https://contoso.managedhsm.azure.net", "https://x.vault.azure.net.evil.example", "https://contoso.vault.microsoftazure.de"},
	Vault:       {"KV", "dSMS"},
	SubjectName: {"ledger.contoso.example", "**x** | y"},
	Thumbprint:  {"BB5D1064437D8720A5C53078185E6A361A78B10A"},
	FoundBy:     {"s360", "slack"},
	HandedOff:   {"assist-sg-update"},
	CloudWord:   {"Gallatin"},
}

// anyFacts makes a random set of claims, by random sources.
func anyFacts(r *rand.Rand) Facts {
	var f Facts
	rarity := 1 + r.IntN(12) // from crowded sets to nearly empty ones
	for _, name := range slices.Sorted(maps.Keys(pool)) {
		values := pool[name]
		for _, from := range precedence {
			if r.IntN(rarity) == 0 {
				f = append(f, Fact{Name: name, Value: values[r.IntN(len(values))], From: from, Why: "it was drawn"})
			}
		}
	}
	r.Shuffle(len(f), func(i, j int) { f[i], f[j] = f[j], f[i] })
	return f
}

// Whatever is known, there is one outcome; what is filled in is whole, the gate
// stands where it must, and the same facts make the same decision.
func TestAnySetOfFactsHasAnOutcome(t *testing.T) {
	p := Default().WithTenants(tenantMap(t))
	r := rand.New(rand.NewPCG(1, 2))
	outcomes := map[Outcome]int{}
	for range 1500 {
		f := anyFacts(r)
		before := append(Facts(nil), f...)
		d := p.Decide(f, now)
		outcomes[d.Outcome]++
		checkShape(t, d)
		if !reflect.DeepEqual(f, before) {
			t.Fatal("deciding changed the facts it was given")
		}
		if again := p.Decide(f, now); again.Markdown() != d.Markdown() {
			t.Fatalf("two decisions on the same facts differ:\n%s\n%s", d.Markdown(), again.Markdown())
		}
		if n, ok := p.Next(f); ok != (d.Need != nil) || ok && n.Fact != d.Need.Fact {
			t.Fatalf("Next asks for %q", n.Fact)
		}
		checkHarmless(t, d.Markdown())
		if t.Failed() {
			t.Fatalf("facts: %v", f)
		}
	}
	for _, o := range []Outcome{Steps, Ask, Conflict, NoPolicyRow, Redirect, Refused, OutOfScope} {
		if outcomes[o] == 0 {
			t.Errorf("no set of facts came to %s; %v", o, outcomes)
		}
	}
}

// checkHarmless looks for words from outside that kept their markup.
func checkHarmless(t *testing.T, page string) {
	t.Helper()
	for _, bad := range []string{"[x](https", "*bold*", "<!channel>", "**x**", "https://evil.example "} {
		for _, around := range []string{" " + bad, "\n" + bad} {
			if strings.Contains(page, around) {
				t.Errorf("%q is in\n%s", bad, page)
			}
		}
	}
}

// Answering what is asked, with any choice, ends after seven questions at most.
func TestAnsweringEndsAfterSevenQuestions(t *testing.T) {
	p := Default().WithTenants(tenantMap(t))
	r := rand.New(rand.NewPCG(3, 4))
	most := 0
	for range 1500 {
		var f Facts
		if r.IntN(2) == 0 {
			f = anyFacts(r)
		}
		asked := 0
		for d := p.Decide(f, now); d.Need != nil; d = p.Decide(f, now) {
			if asked++; asked > 7 {
				t.Fatalf("still asking %q of %v", d.Need.Prompt, f)
			}
			c := d.Need.Choices[r.IntN(len(d.Need.Choices))]
			f = f.With(Fact{Name: d.Need.Fact, Value: c.Value, From: FromAnswer, Why: "chosen"})
		}
		most = max(most, asked)
	}
	if most < 4 {
		t.Errorf("no more than %d questions were ever asked; a 1P tenant mismatch takes four", most)
	}
}

// Every playbook, under everything that can be known or unknown of an app, is
// filled in without a blank left open.
func TestNoBlankStaysOpen(t *testing.T) {
	p := Default()
	optional := []Fact{
		{Name: AppID, Value: pool[AppID][0]}, {Name: AppName, Value: "Contoso"}, {Name: VaultURI, Value: pool[VaultURI][0]},
		{Name: Vault, Value: "dSMS"}, {Name: SubjectName, Value: "x.contoso.example"}, {Name: Thumbprint, Value: pool[Thumbprint][0]},
		{Name: FoundBy, Value: "s360"}, {Name: HandedOff, Value: "assist-sg-update"},
	}
	for _, way := range ways {
		for set := range 1 << len(optional) {
			f := answered("party", string(way.Party), "app_tenant", "USME", "sg_owner_tenant", "AME", "app_cloud", "Fairfax")
			for i, fact := range optional {
				if set&(1<<i) != 0 {
					fact.From = FromAlert
					f = f.With(fact)
				}
			}
			path := way
			if row, outcome := p.Lookup(way.Party, map[Party]string{FirstParty: "AME", ThirdParty: "USME"}[way.Party], Fairfax); outcome == Steps {
				path.Row = &row
			}
			if way.Option == "3" {
				continue // says where to go, and has nothing to fill in
			}
			r, err := p.Fill(path, f)
			if err != nil {
				t.Fatalf("%v, %v: %v", way, f, err)
			}
			checkRemediation(t, r)
		}
	}
}

func TestFillNamesTheBlankItCannotFill(t *testing.T) {
	p := Default()
	for _, path := range []FixPath{{Scenario: TenantMismatch, Party: ThirdParty, Option: "A"}, {Scenario: TenantMismatch, Party: ThirdParty, Option: "Z"}, {Scenario: CloudMismatch, Option: "3"}} {
		if _, err := p.Fill(path, nil); err == nil {
			t.Errorf("%v is filled in out of nothing", path)
		}
	}
	row, _ := p.Lookup(ThirdParty, "AME", "")
	row.Issuer = ""
	_, err := p.Fill(FixPath{Scenario: TenantMismatch, Party: ThirdParty, Option: "A", Row: &row}, nil)
	if err == nil || !strings.Contains(err.Error(), "{issuer}") {
		t.Errorf("%v", err)
	}
}

func TestLinksFollowTheStoreAndTheSource(t *testing.T) {
	has := func(d Decision, part string) bool {
		return strings.Contains(d.Markdown(), part)
	}
	base := answered("violation", titleTenant, "party", "3P", "app_tenant", "AME", "option", "A")
	kv := Default().Decide(base.With(Fact{Name: Vault, Value: "KV", From: FromAlert}), now)
	dsms := Default().Decide(base.With(Fact{Name: Vault, Value: "dSMS", From: FromAlert}, Fact{Name: FoundBy, Value: "s360", From: FromAlert}), now)
	open := Default().Decide(base, now)
	for _, tt := range []struct {
		link           string
		kv, dsms, open bool
	}{
		{"microsoft.keyvault/vaults", true, false, true}, {"requesting-a-onecert-certificate-with-keyvault", true, false, true},
		{"aka.ms/dsmsbasics", false, true, true}, {"requesting-a-onecert-certificate-with-dsms", false, true, true},
		{"vnext.s360", false, true, false}, {"https://onecert.microsoft.com", true, true, true}, {"sdpforsfi", true, true, true}, {"aka.ms/R2Drequest", true, true, true}, {"aka.ms/ccoa", true, true, true},
	} {
		if has(kv, tt.link) != tt.kv || has(dsms, tt.link) != tt.dsms || has(open, tt.link) != tt.open {
			t.Errorf("%s: KV %v, dSMS %v, unknown %v", tt.link, has(kv, tt.link), has(dsms, tt.link), has(open, tt.link))
		}
	}
}
