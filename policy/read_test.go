package policy

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestReadWhatPeopleType(t *testing.T) {
	p := Default().WithTenants(tenantMap(t))
	for _, tt := range []struct {
		typed string
		want  map[FactName]string // answers, in full
		left  []string
	}{
		{"", nil, nil},
		{titleTenant, map[FactName]string{Violated: titleTenant}, nil},
		{"aad entra apps in prod tenants  USING certificates in non – prod tenant 3p pme option a",
			map[FactName]string{Violated: titleTenant, PartyFact: "3P", AppTenant: "PME", Option: "A"}, nil},
		{"“" + titleCloud + "” for first party, sg owner Torus in usgov, option 2", map[FactName]string{Violated: titleCloud, PartyFact: "1P", SGOwner: "Torus", AppCloud: "Fairfax", Option: "2"}, nil},
		{titleCloud + " - Cross-cloud auth scenarios", map[FactName]string{Violated: titleCloud + " - Cross-cloud auth scenarios"}, nil},
		{titleCloud + " - Some new scenario", nil, []string{titleCloud + " Some new scenario"}},
		{titleCloud + " –Weird", nil, []string{titleCloud + " Weird"}},
		{titleCloud + " - 3P USME", map[FactName]string{Violated: titleCloud, PartyFact: "3P", AppTenant: "USME"}, nil},
		{"APP-09: Workload Identity Federation & Certificate Credentials 3F6B2A10-8C4D-4E21-9A7B-5D0E6C1F2A01",
			map[FactName]string{Violated: "APP-09: Workload Identity Federation & Certificate Credentials", AppID: "3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a01"}, nil},
		{"app-09", map[FactName]string{Violated: "APP-09"}, nil},
		{"Action required: Rotate your keyCredentials in Azure Active Directory", map[FactName]string{Violated: "Action required: Rotate your keyCredentials in Azure Active Directory"}, nil},
		{"Torus Gallatin", map[FactName]string{AppTenant: "Torus Gallatin", SGOwner: "Torus Gallatin"}, nil},
		{"3P Torus   Gallatin", map[FactName]string{PartyFact: "3P", AppTenant: "Torus Gallatin"}, nil},
		{"Torus Gallatin 1P", map[FactName]string{PartyFact: "1P", SGOwner: "Torus Gallatin"}, nil},
		{titleSG + " AME", map[FactName]string{Violated: titleSG, SGOwner: "AME"}, nil},
		{"cert in Public, app in Fairfax", map[FactName]string{CertCloud: "Public", AppCloud: "Fairfax"}, nil},
		{"party=3P tenant: USME cloud=Fairfax option=b", map[FactName]string{PartyFact: "3P", AppTenant: "USME", AppCloud: "Fairfax", Option: "B"}, nil},
		{"sg-owner=AME app-tenant=CME", map[FactName]string{SGOwner: "AME", AppTenant: "CME"}, nil},
		{"the sg owner is Corp", map[FactName]string{SGOwner: "Corp"}, nil},
		{"Corp", nil, []string{"Corp"}},
		{"<https://contoso.vault.azure.cn/certificates/x|contoso.vault.azure.cn>", map[FactName]string{VaultURI: "https://contoso.vault.azure.cn/certificates/x"}, nil},
		{"contoso.vault.azure.net.", map[FactName]string{VaultURI: "contoso.vault.azure.net"}, nil},
		{"https://x.vault.azure.net.evil.example/", nil, []string{"https://x.vault.azure.net.evil.example/"}},
		{"https://login.microsoftonline.us/common?x=y", map[FactName]string{AppAuthor: "https://login.microsoftonline.us/common"}, nil},
		{"data flow", map[FactName]string{Plane: "data-flow"}, nil},
		{"Control   Plane!", map[FactName]string{Plane: "control-plane"}, nil},
		{"move the certificate", map[FactName]string{Option: "move-cert"}, nil},
		{"please update the security group", map[FactName]string{Option: "update-sg"}, nil},
		{"a 3P app", map[FactName]string{PartyFact: "3P"}, nil},
		{"Gallatin", map[FactName]string{CloudWord: "Gallatin"}, nil},
		{"BB5D1064437D8720A5C53078185E6A361A78B10A dSMS", map[FactName]string{Thumbprint: "BB5D1064437D8720A5C53078185E6A361A78B10A", Vault: "dSMS"}, nil},
		{"a0000000-0000-4000-8000-0000000000c1 3P", map[FactName]string{PartyFact: "3P", AppTenant: "USME"}, nil},
		{"frobnicate the <!channel> 3P now", map[FactName]string{PartyFact: "3P"}, []string{"frobnicate the channel", "now"}},
		{"hello there", nil, []string{"hello there"}},
		{"Public Fairfax", map[FactName]string{AppCloud: "Public"}, []string{"Fairfax"}},
		{"3P AME CME", map[FactName]string{PartyFact: "3P", AppTenant: "AME"}, []string{"CME"}},
		{"publicly fairfaxed torusish", nil, []string{"publicly fairfaxed torusish"}},
	} {
		facts, left := p.Read(tt.typed, "typed")
		got := map[FactName]string{}
		for _, f := range facts {
			if f.From == FromAnswer {
				got[f.Name] = f.Value
				if !strings.HasPrefix(f.Why, "typed") && f.Name != CloudWord {
					t.Errorf("%q: why %q", tt.typed, f.Why)
				}
			}
		}
		for name, value := range tt.want {
			if got[name] != value {
				t.Errorf("%q: %s is %q, want %q", tt.typed, name, got[name], value)
			}
		}
		if len(got) != len(tt.want) {
			t.Errorf("%q: %v, want %v", tt.typed, got, tt.want)
		}
		if !slices.Equal(left, tt.left) {
			t.Errorf("%q: %q is left over, want %q", tt.typed, left, tt.left)
		}
	}
}

func TestWhatFollowsFromATypedAddressIsInferred(t *testing.T) {
	f, _ := Default().Read("https://contoso.vault.azure.cn https://login.microsoftonline.us", "typed")
	if got, _ := f.Get(CertCloud); got.Value != "Mooncake" || got.From != FromInference {
		t.Errorf("%+v", got)
	}
	if got, _ := f.Get(AppCloud); got.Value != "Fairfax" || got.From != FromInference {
		t.Errorf("%+v", got)
	}
}

func TestMatchTypedAnswers(t *testing.T) {
	p := Default()
	need := func(f Facts) Need {
		t.Helper()
		n, ok := p.Next(f)
		if !ok {
			t.Fatalf("%v asks nothing", f)
		}
		return n
	}
	party := need(answered("violation", titleTenant))
	tenant := need(answered("violation", titleTenant, "party", "3P"))
	cloud := need(answered("violation", titleTenant, "party", "1P", "sg_owner_tenant", "AME"))
	ab := need(answered("violation", titleTenant, "party", "3P", "app_tenant", "AME"))
	three := need(answered("violation", titleCloud, "party", "3P", "app_tenant", "AME"))
	side := need(answered("violation", titleSG))
	plane := need(answered("violation", titleCloud, "option", "3"))
	which := need(nil)
	for _, tt := range []struct {
		need  Need
		typed string
		want  string // "" for no match
	}{
		{party, "1p", "1P"}, {party, " First-Party ", "1P"}, {party, "third party.", "3P"}, {party, "3 P", "3P"}, {party, "1", ""}, {party, "p", ""}, {party, "1P or 3P", ""}, {party, "", ""}, {party, "«»", ""},
		{tenant, "torus  gallatin", "Torus Gallatin"}, {tenant, "Torus", "Torus"}, {tenant, "Tor", ""}, {tenant, "Corp", ""}, {tenant, "gallatin", ""}, {tenant, "`usme`", "USME"}, {tenant, "Fairfax", ""},
		{cloud, "commercial", "Public"}, {cloud, "USGov", "Fairfax"}, {cloud, "21vianet", "Mooncake"}, {cloud, "Gallatin", ""}, {cloud, "pub", ""},
		{ab, "a", "A"}, {ab, "Option  A", "A"}, {ab, "option b!", "B"}, {ab, "2", ""}, {ab, "option", ""}, {ab, "Move the certificate to the production tenant", "A"}, {ab, "move-cert", ""},
		{three, "2", "2"}, {three, "OPTION 3", "3"}, {three, "A", ""},
		{side, "move the cert", "move-cert"}, {side, "option 2", "move-cert"}, {side, "1", "update-sg"}, {side, "Update the SG", "update-sg"}, {side, "3", ""},
		{plane, "data flow", "data-flow"}, {plane, "Control-Plane", "control-plane"}, {plane, "data", ""},
		{which, "cloud mismatch", titleCloud}, {which, strings.ToUpper(titleTenant), titleTenant}, {which, "AAD", ""},
	} {
		got, ok := p.Match(tt.need, tt.typed)
		if got.Value != tt.want || ok != (tt.want != "") {
			t.Errorf("%s: %q chooses %q, want %q", tt.need.Fact, tt.typed, got.Value, tt.want)
		}
	}
}

func TestCanonicalSpellings(t *testing.T) {
	p := Default()
	for _, tt := range []struct {
		name        FactName
		value, want string
		err         string
	}{
		{PartyFact, "1p", "1P", ""}, {PartyFact, "2P", "", "it takes 1P or 3P"},
		{AppTenant, "torus  gallatin", "Torus Gallatin", ""}, {AppTenant, " Contoso  Prod ", "Contoso Prod", ""}, {AppTenant, "  ", "", "is empty"},
		{SGOwner, "microsoft", "Microsoft", ""}, {SGOwner, "usme", "USME", ""},
		{AppCloud, "fairFAX", "Fairfax", ""}, {AppCloud, "azurecloud", "Public", ""}, {AppCloud, "Gallatin", "", "may be the cloud Mooncake or the tenant Torus Gallatin; it takes Public, Mooncake or Fairfax"}, {AppCloud, "Mars", "", "it takes Public, Mooncake or Fairfax"},
		{Option, "option a", "A", ""}, {Option, "Move the certificate", "move-cert", ""}, {Option, "C", "", "it takes A, B, 1, 2, 3, move-cert or update-sg"},
		{Plane, "Data Flow", "data-flow", ""}, {Plane, "both", "", "data-flow or control-plane"},
		{Vault, "keyvault", "KV", ""}, {Vault, "DSMS", "dSMS", ""}, {Vault, "disk", "", "KV or dSMS"},
		{AppID, "{3F6B2A10-8C4D-4E21-9A7B-5D0E6C1F2A01}", "3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a01", ""}, {AppID, "x", "", "a GUID"},
		{VaultURI, "https://a.vault.azure.net/?sig=1", "https://a.vault.azure.net/", ""}, {VaultURI, "no address", "", "an address such as"},
		{Violated, strings.ToUpper(titleTenant), titleTenant, ""}, {Violated, "Something else", "Something else", ""}, {Violated, "secrets only", "APP-09: Workload Identity Federation & Certificate Credentials", ""},
		{AppName, " a\n\tb\u202ec ", "a bc", ""}, {Thumbprint, "bb:5d:10:64:43:7d:87:20:a5:c5:30:78:18:5e:6a:36:1a:78:b1:0a", "BB5D1064437D8720A5C53078185E6A361A78B10A", ""}, {Thumbprint, "zz", "", "hexadecimal"},
	} {
		got, err := p.Canonical(tt.name, tt.value)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s %q: %q, %v; want %q, %q", tt.name, tt.value, got, err, tt.want, tt.err)
		}
	}
}

func TestCleanLeavesPlainWordsAndNothingElse(t *testing.T) {
	long := strings.Repeat("a", maxStated)
	for in, want := range map[string]string{
		"": "", "AME~!": "AME~!", long: long, long + "a": long + "…",
		" a": "a", "a  b": "a b", "a\x00b\x1fc\x7fd\u0085e": "abcd e", "Zürich\u200b": "Zürich",
	} {
		if got := clean(in); got != want {
			t.Errorf("%q is cleaned to %q, not %q", in, got, want)
		}
	}
}

func TestCleanCutsByCharactersAndSaysSo(t *testing.T) {
	got := clean(strings.Repeat("ü", maxStated+10))
	if utf8.RuneCountInString(got) != maxStated+1 || !strings.HasSuffix(got, "ü…") {
		t.Errorf("%d characters, ends in %q", utf8.RuneCountInString(got), got[len(got)-5:])
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{titleTenant + " 3P USME option a", titleCloud + " - x - " + titleCloud + " - y", "party=1P \"Torus", "<https://a.vault.azure.cn|x>", "sg owner is Corp, -- – ="} {
		f.Add(s)
	}
	p := Default()
	f.Fuzz(func(t *testing.T, s string) {
		facts, left := p.Read(s, "typed")
		for _, word := range left {
			if word == "" || strings.ContainsAny(word, "\n\r") {
				t.Errorf("%q leaves %q", s, word)
			}
		}
		d := p.Decide(facts, now)
		checkShape(t, d)
		again := p.derive(facts)
		if len(again) != len(facts) {
			t.Errorf("%q: deriving twice makes %v of %v", s, again, facts)
		}
	})
}
