package policy

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

// tenantMap is a fictional deployment's.
func tenantMap(t testing.TB) map[string]TenantEntry {
	t.Helper()
	content, err := os.ReadFile("testdata/tenants.json")
	if err != nil {
		t.Fatal(err)
	}
	m, err := ParseTenants(content)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestWhatAHostProves(t *testing.T) {
	p := Default()
	for _, tt := range []struct {
		address string
		cloud   Cloud
		kind    hostKind
	}{
		{"https://contoso.vault.azure.net/certificates/x/1", Public, "vault"},
		{"HTTPS://CONTOSO.VAULT.AZURE.NET.", Public, "vault"},
		{"contoso.vault.azure.net", Public, "vault"},
		{"https://contoso.vault.azure.net:443/", Public, "vault"},
		{"https://contoso.vault.azure.cn", Mooncake, "vault"},
		{"https://contoso.vault.usgovcloudapi.net", Fairfax, "vault"},
		{"https://contoso.managedhsm.azure.net", Public, "hsm"},
		{"https://contoso.managedhsm.azure.cn", Mooncake, "hsm"},
		{"https://contoso.managedhsm.chinacloudapi.cn", Mooncake, "hsm"},
		{"https://contoso.managedhsm.usgovcloudapi.net", Fairfax, "hsm"},
		{"https://contoso.vault.microsoftazure.de", "", "retired"},
		{"https://login.microsoftonline.com/common", Public, "login"},
		{"https://login.windows.net", Public, "login"},
		{"https://login.partner.microsoftonline.cn", Mooncake, "login"},
		{"https://login.chinacloudapi.cn", Mooncake, "login"},
		{"https://login.microsoftonline.us", Fairfax, "login"},
		{"https://login-us.microsoftonline.com", Fairfax, "login"},
		{"https://login.cloudgovapi.us", Fairfax, "login"},
		{"https://graph.microsoft.com/v1.0", Public, "graph"},
		{"https://microsoftgraph.chinacloudapi.cn", Mooncake, "graph"},
		{"https://graph.microsoft.us", Fairfax, "graph"},
		{"https://dod-graph.microsoft.us", Fairfax, "graph"},
		{"https://portal.azure.com", Public, "portal"},
		{"https://portal.azure.cn", Mooncake, "portal"},
		{"https://portal.azure.us", Fairfax, "portal"},
		{"https://management.azure.com", Public, "arm"},
		{"https://management.chinacloudapi.cn", Mooncake, "arm"},
		{"https://management.usgovcloudapi.net", Fairfax, "arm"},
		// Serve more than one cloud.
		{"https://graph.windows.net", "", ""},
		{"https://sts.windows.net/x", "", ""},
		// Look like one of ours, and are not.
		{"https://x.vault.azure.net.evil.example", "", ""},
		{"https://xvault.azure.net", "", ""},
		{"https://vault.azure.net", "", ""},
		{"https://.vault.azure.net", "", ""},
		{"https://x..vault.azure.net", "", ""},
		{"https://evil.example/x.vault.azure.net", "", ""},
		{"https://evil.example?x.vault.azure.net", "", ""},
		{"https://evil.example#.vault.azure.net", "", ""},
		{"https://x.vault.azure.net@evil.example", "", ""},
		{"https://evil.example\\@x.vault.azure.net", "", ""},
		{"https://x.evil.login.microsoftonline.us", "", ""},
		{"https://login.microsoftonline.us.evil.example", "", ""},
		{"https://login.mícrosoftonline.us", "", ""},
		{"https://x%2evault.azure.net", "", ""},
		{"ftp://x.vault.azure.net", "", ""},
		{"javascript:x.vault.azure.net", "", ""},
		{"x.vault.azure.net evil", "", ""},
		{"", "", ""},
	} {
		h, _ := p.findHost(hostOf(tt.address))
		if h.cloud != tt.cloud || h.kind != tt.kind {
			t.Errorf("%q: %s %s, want %s %s", tt.address, h.cloud, h.kind, tt.cloud, tt.kind)
		}
	}
}

func TestAVaultDoesNotProveTheAppsCloud(t *testing.T) {
	f := Default().Infer(Violation{Title: titleCloud, Cred: Credential{Store: KeyStore{URI: "https://contoso.vault.usgovcloudapi.net/keys/x?sig=secret"}}})
	if got, ok := f.Get(CertCloud); !ok || got.Value != "Fairfax" || got.From != FromInference || !strings.Contains(got.Why, ".vault.usgovcloudapi.net") {
		t.Errorf("certificate cloud: %+v", got)
	}
	if got, ok := f.Get(AppCloud); ok {
		t.Errorf("the app's cloud was taken from the vault: %+v", got)
	}
	if got := f.Value(VaultURI); got != "https://contoso.vault.usgovcloudapi.net/keys/x" {
		t.Errorf("the vault's address is kept as %q", got)
	}
	if f.Value(Vault) != "KV" {
		t.Error("a Key Vault's address does not say KV")
	}
}

func TestWhoIsFirstParty(t *testing.T) {
	p := Default()
	for _, tt := range []struct {
		name string
		v    Violation
		want Party
		from Source
	}{
		{"1P in the title", Violation{Title: "AAD Entra Apps cloud mismatches with Cert Cloud - Cross-cloud 1P scenarios"}, FirstParty, FromTitle},
		{"1pApp in the title", Violation{Title: titleSG}, FirstParty, FromTitle},
		{"1P as part of another word", Violation{Title: "11P and v1p and 1Password"}, "", ""},
		{"the owner organisation", Violation{App: App{OwnerOrg: "F8CDEF31-a31e-4b4a-93e4-5f571e91255a"}}, FirstParty, FromInference},
		{"the home tenant, which is the same thing", Violation{App: App{TenantID: "f8cdef31-a31e-4b4a-93e4-5f571e91255a"}}, FirstParty, FromInference},
		{"Microsoft's own tenant is no proof", Violation{App: App{OwnerOrg: "72f988bf-86f1-41af-91ab-2d7cd011db47"}}, "", ""},
		{"an alias", Violation{App: App{Party: "third  Party"}}, ThirdParty, FromAlert},
		{"the app's name is no proof", Violation{App: App{DisplayName: "Relay (1P)"}}, "", ""},
		{"the title is stronger than the alert", Violation{Title: titleSG, App: App{Party: "3P"}}, FirstParty, FromTitle},
	} {
		got, _ := p.Infer(tt.v).Get(PartyFact)
		if Party(got.Value) != tt.want || got.From != tt.from {
			t.Errorf("%s: %s (%s), want %s (%s)", tt.name, got.Value, got.From, tt.want, tt.from)
		}
	}
}

func TestTenantIDsAreNamedByTheMap(t *testing.T) {
	p := Default().WithTenants(tenantMap(t))
	f := p.Infer(Violation{App: App{TenantID: "A0000000-0000-4000-8000-0000000000A2"}, Cred: Credential{Store: KeyStore{Type: "keyvault", TenantID: "a0000000-0000-4000-8000-0000000000f0"}}})
	for name, want := range map[FactName]string{AppTenant: "PME", CertTenant: "Corp", CertCloud: "Public", Vault: "KV"} {
		if got, _ := f.Get(name); got.Value != want {
			t.Errorf("%s: %+v, want %s", name, got, want)
		}
	}
	if got, _ := f.Get(CertTenant); !strings.Contains(got.Why, "non-production") {
		t.Errorf("that Corp is no production tenant is not said: %s", got.Why)
	}
	if got := f.Value(AppCloud); got != "" {
		t.Errorf("the home tenant was taken for the app's cloud: %s", got)
	}
}

func TestWordsOfAnAlertAreReadByTheirOtherNames(t *testing.T) {
	p := Default()
	for word, want := range map[string]string{
		"Commercial": "Public", "AzureCloud": "Public", "azurepubliccloud": "Public", "MoonCake": "Mooncake", "China": "Mooncake", "21Vianet": "Mooncake",
		"AzureChinaCloud": "Mooncake", "FairFax": "Fairfax", "us gov": "Fairfax", "AzureUSGovernment": "Fairfax", "Gallatin": "", "ITAR": "", "Fair": "", "": "",
	} {
		f := p.Infer(Violation{App: App{Cloud: word}})
		if got := f.Value(AppCloud); got != want {
			t.Errorf("cloud %q: %q, want %q", word, got, want)
		}
		if _, unclear := f.Get(CloudWord); unclear != (word == "Gallatin" || word == "ITAR") {
			t.Errorf("cloud %q: unclear = %v", word, unclear)
		}
	}
	for word, want := range map[string]string{"torus  gallatin": "Torus Gallatin", "TORUS": "Torus", "Contoso Prod": "Contoso Prod", "corp": "Corp"} {
		if got := p.Infer(Violation{App: App{TenantName: word}}).Value(AppTenant); got != want {
			t.Errorf("tenant %q: %q, want %q", word, got, want)
		}
	}
}

func TestAControlStandsInForATitle(t *testing.T) {
	f := Default().Infer(Violation{Title: "contoso-app09-rule", Control: Control{ID: "APP-09"}})
	if got, _ := f.Get(Violated); got.Value != "APP-09" || !strings.Contains(got.Why, "contoso-app09-rule") {
		t.Errorf("%+v", got)
	}
}

func TestDerivedFactsFollowWhatTheyCameFrom(t *testing.T) {
	p := Default()
	f := p.Infer(Violation{Title: titleSG, Cred: Credential{Store: KeyStore{URI: "https://a.vault.azure.net"}}})
	f = f.With(Fact{Name: Violated, Value: titleTenant, From: FromAnswer}, Fact{Name: VaultURI, Value: "https://a.vault.azure.cn", From: FromAnswer})
	d := p.Decide(f, now)
	if d.Need == nil || d.Need.Fact != PartyFact {
		t.Errorf("the old title's 1P outlives it: %s", d.Summary)
	}
	if got := Facts(d.Facts).Value(CertCloud); got != "Mooncake" {
		t.Errorf("the old vault's cloud outlives it: %s", got)
	}
}

func TestFactsThatMakeNoSenseSayNothing(t *testing.T) {
	p := Default()
	f := answered("violation", titleTenant, "party", "2P", "app_cloud", "<!channel>", "option", "Z", "app_id", "drop table", "thumbprint", "nothex")
	d := p.Decide(f, now)
	checkShape(t, d)
	if d.Need == nil || d.Need.Fact != PartyFact {
		t.Errorf("%s", d.Summary)
	}
	if page := d.Markdown(); strings.Contains(page, "channel") || strings.Contains(page, "drop table") {
		t.Error(page)
	}
}

func TestParseTenants(t *testing.T) {
	if m := tenantMap(t); len(m) != 10 || m["a0000000-0000-4000-8000-0000000000b2"] != (TenantEntry{Name: "Torus Gallatin", Cloud: Mooncake}) {
		t.Errorf("%v", m)
	}
	const id = `"a0000000-0000-4000-8000-0000000000a1"`
	for _, tt := range []struct{ content, want string }{
		{``, "line 1: the tenant map is not a JSON object; write {"},
		{`[]`, "not a JSON object"},
		{"{\n" + id + ": {\"name\": \"AME\", \"cloud\": \"Publik\"}\n}", `line 2: tenant a0000000-0000-4000-8000-0000000000a1: cloud "Publik" is not known; write Public, Mooncake or Fairfax`},
		{`{` + id + `: {"name": "AME", "cloud": "Fairfax"}}`, "AME is in Public (3p.csv:2), not in Fairfax; correct"},
		{`{` + id + `: {"cloud": "Public"}}`, "has no name"},
		{`{` + id + `: {"name": "AME", "cloud": "Public", "color": 1}}`, `unknown field "color"`},
		{"{\n\n\"x\": {\"name\": \"AME\", \"cloud\": \"Public\"}}", `line 3: "x" is not a tenant id`},
		{`{` + id + `: {"name": "AME", "cloud": "Public"}, ` + id + `: {"name": "AME", "cloud": "Public"}}`, "is there twice"},
		{`{` + id + `: {"name": "AME", "cloud": "Public"}`, "ends too early"},
		{`{} {}`, "more after the closing"},
		{`{` + id + `: {"name`, "cannot be read"},
	} {
		if _, err := ParseTenants([]byte(tt.content)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s\ngot  %v\nwant %s", tt.content, err, tt.want)
		}
	}
}

func FuzzHost(f *testing.F) {
	f.Add("https://x.vault.azure.net.evil.example")
	f.Add("https://contoso.vault.azure.cn:443/x?y#z")
	f.Fuzz(func(t *testing.T, s string) {
		name := hostOf(s)
		h, ok := Default().findHost(name)
		if ok && !strings.HasSuffix("."+name, "."+strings.TrimPrefix(h.name, ".")) {
			t.Errorf("%q (%q) passes for %q", s, name, h.name)
		}
		if name != "" && name != hostOf("https://"+name+"/") {
			t.Errorf("%q has the host %q, which is none", s, name)
		}
		if a := address(s); strings.ContainsAny(a, "?#\n") {
			t.Errorf("%q is kept as %q", s, a)
		}
	})
}

func FuzzInfer(f *testing.F) {
	f.Add([]byte(`{"title":"APP-09","app":{"appId":"3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a01"},"handoff":{"from":"assist-sg-update","option":2,"confirmed":{"cloud":"China"}}}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		var v Violation
		if json.Unmarshal(content, &v) != nil {
			return
		}
		d := Default().Decide(Default().Infer(v), now)
		checkShape(t, d)
		_ = d.Markdown()
	})
}

func TestATitleThatHeldASecretIsStillKnown(t *testing.T) {
	stated, _ := Scrub(titleSG + " -----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcw\n-----END PRIVATE KEY-----")
	if got := Default().Infer(Violation{Title: stated}).Value(Violated); got != titleSG {
		t.Errorf("%q is read as %q, want %q", stated, got, titleSG)
	}
}

// What owns an app is the directory's to say, and whoever owns it decides the
// party before a feed does: a first-party app has its service principal in many
// tenants, and feeds name the tenant they found it in.
func TestTheOwnersOrganisationComesFromTheDirectoryAndBeatsAFeed(t *testing.T) {
	p := Default()
	const firstParty, elsewhere = "f8cdef31-a31e-4b4a-93e4-5f571e91255a", "a0000000-0000-4000-8000-0000000000a2"
	found := Fact{Name: OwnerOrg, Value: firstParty, From: FromDirectory, Why: "its service principal"}
	for name, app := range map[string]App{
		"nothing else is known":          {},
		"the feed names its own tenant":  {TenantID: elsewhere},
		"the feed says another owner":    {OwnerOrg: elsewhere},
		"the feed takes it for 3P":       {Party: "3P"},
		"the feed is wrong about both":   {Party: "3P", TenantID: elsewhere},
		"the feed says so and names one": {Party: "1P", TenantID: elsewhere},
	} {
		v := Violation{Title: "AAD Entra Apps cloud mismatches with Cert Cloud", App: app}
		d := p.Decide(p.Infer(v).With(found), time.Now())
		party, _ := Facts(d.Facts).Get(PartyFact)
		if party.Value != "1P" || party.From != FromInference {
			t.Errorf("%s: the party is %+v", name, party)
		}
		said := 0
		for _, w := range d.Warnings {
			if strings.Contains(w.String(), "Two sources differ") {
				said++
			}
		}
		want := 0
		if app.Party == "3P" {
			want++
		}
		if app.TenantID+app.OwnerOrg != "" {
			want++
		}
		if said != want {
			t.Errorf("%s: %d contradictions are said, want %d: %v", name, said, want, d.Warnings)
		}
	}
	// What followed from the feed's word for it goes with it.
	other := Fact{Name: OwnerOrg, Value: elsewhere, From: FromDirectory, Why: "its service principal"}
	stated := p.Infer(Violation{Title: "AAD Entra Apps cloud mismatches with Cert Cloud", App: App{OwnerOrg: firstParty, Party: "3P"}}).With(other)
	if party, _ := Facts(p.Decide(stated, time.Now()).Facts).Get(PartyFact); party.Value != "3P" {
		t.Errorf("the directory names another owner, and the party is still %+v", party)
	}
	answered := p.Infer(Violation{}).With(found, Fact{Name: PartyFact, Value: "3P", From: FromAnswer})
	if got := answered.Value(PartyFact); got != "3P" {
		t.Errorf("a person's answer is overruled: %s", got)
	}
}
