package policy

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew; read the difference before committing it")

// Each reply as a person gets it. Read them aloud: they are the product.
func TestReplies(t *testing.T) {
	app := Facts{
		{Name: AppName, Value: "Contoso Ledger Sync", From: FromAlert, Why: "its app name"},
		{Name: AppID, Value: "3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a01", From: FromAlert, Why: "its app id"},
		{Name: VaultURI, Value: "https://contoso-corp-kv.vault.azure.net/certificates/ledger-sync", From: FromAlert, Why: "its vault"},
		{Name: SubjectName, Value: "ledger-sync.contoso.example", From: FromAlert, Why: "its certificate"},
		{Name: Thumbprint, Value: "BB5D1064437D8720A5C53078185E6A361A78B10A", From: FromAlert, Why: "its thumbprint"},
		{Name: FoundBy, Value: "s360", From: FromAlert, Why: "its feed"},
	}
	about := func(pairs ...string) Facts { return app.With(answered(pairs...)...) }
	for name, f := range map[string]Facts{
		"tenant-mismatch-3p-a":      about("violation", titleTenant, "party", "3P", "app_tenant", "PME", "option", "A"),
		"tenant-mismatch-3p-a-bare": answered("violation", titleTenant, "party", "3P", "app_tenant", "Torus Gallatin", "option", "A"),
		"tenant-mismatch-3p-b":      about("violation", titleTenant, "party", "3P", "option", "B"),
		"tenant-mismatch-1p-a":      about("violation", titleTenant, "party", "1P", "sg_owner_tenant", "AME", "app_cloud", "Mooncake", "option", "A"),
		"tenant-mismatch-1p-a-dsms": answered("violation", titleTenant, "party", "1P", "sg_owner_tenant", "GME", "option", "A", "store", "dSMS"),
		"tenant-mismatch-1p-b":      about("violation", titleTenant, "party", "1P", "option", "B"),
		"security-group-move":       about("violation", titleSG, "option", "move-cert", "sg_owner_tenant", "PME", "app_cloud", "Mooncake"),
		"security-group-update":     about("violation", titleSG, "option", "update-sg"),
		"cloud-mismatch-1-3p":       about("violation", titleCloud, "party", "3P", "app_tenant", "USME", "option", "1"),
		"cloud-mismatch-1-1p":       about("violation", titleCloud, "party", "1P", "sg_owner_tenant", "PME", "app_cloud", "Fairfax", "option", "1"),
		"cloud-mismatch-2-3p":       about("violation", titleCloud, "party", "3P", "app_tenant", "CME", "option", "2"),
		"cloud-mismatch-2-1p":       about("violation", titleCloud, "party", "1P", "sg_owner_tenant", "Torus", "app_cloud", "Fairfax", "option", "2"),
		"cloud-mismatch-3-data":     about("violation", titleCloud, "option", "3", "plane", "data-flow"),
		"cloud-mismatch-3-control":  about("violation", titleCloud, "option", "3", "plane", "control-plane"),
		"secrets-only":              about("violation", "APP-09", "party", "3P", "app_tenant", "AME"),
		"secrets-only-bare":         answered("violation", "APP-09"),
		"rotation-near-expiry":      about("violation", "Microsoft.KeyVault.CertificateNearExpiry"),
		"rotation-expired":          about("violation", "Microsoft.KeyVault.CertificateExpired", "app_tenant", "CME"),
		"ask-party":                 about("violation", titleTenant),
		"ask-cloud":                 about("violation", titleCloud, "party", "1P", "sg_owner_tenant", "USME"),
		"conflict":                  about("violation", titleCloud, "party", "3P", "app_tenant", "AME", "app_cloud", "Fairfax"),
		"no-policy-row":             about("violation", titleTenant, "party", "1P", "sg_owner_tenant", "GME", "app_cloud", "Fairfax"),
		"out-of-scope":              answered("violation", "Storage account allows public access"),
		"redirect-cross-tenant":     answered("violation", "AAD Entra apps with cross-tenant violations"),
	} {
		t.Run(name, func(t *testing.T) {
			d := Default().Decide(f, now)
			// The digest changes with every word of the policy; that is tested elsewhere.
			got := strings.Replace(d.Markdown(), d.Policy.Digest[:19], "sha256:…", 1)
			golden := filepath.Join("testdata", "replies", name+".md")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatalf("%v; write it with go test ./policy -run TestReplies -update", err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("the reply changed (-want +got); if it is meant to, run with -update:\n%s", diff)
			}
		})
	}
}

func TestMarkdownCannotBeForged(t *testing.T) {
	for given, want := range map[string]string{
		"# no heading":           `\# no heading`,
		"1. no list":             `1\. no list`,
		"- no bullet":            `\- no bullet`,
		"a\n\n# b":               "a  # b",
		"Certificates & secrets": "Certificates & secrets",
		"AT&T &#38; &":           `AT\&T \&#38; &`,
		"[x](https://evil)":      `\[x\](https\://evil)`,
		"www.evil.example":       `www\.evil.example`,
		"me@evil.example":        `me\@evil.example`,
		"<b>&amp;|`*_~":          "\\<b\\>\\&amp;\\|\\`\\*\\_\\~",
		"Prod + CME, 50% - fine": "Prod + CME, 50% - fine",
	} {
		if got := (Text{{Kind: Value, Text: given}}).Markdown(); got != want {
			t.Errorf("%q: %q, want %q", given, got, want)
		}
	}
	if got := (Text{{Kind: Code, Text: "a`b``c\nd"}}).Markdown(); got != "```a`b``c d```" {
		t.Errorf("code: %q", got)
	}
	if got := (Text{{Kind: Code, Text: "`"}}).Markdown(); got != "`` ` ``" {
		t.Errorf("code: %q", got)
	}
}

// Paragraphs of a list item have a hard break between them, and bullets and
// blocks an empty line: a terminal shows them on lines of their own only then.
func TestTheParagraphsOfAStepHaveLinesOfTheirOwn(t *testing.T) {
	para := func(words string) Text { return Say(words) }
	for want, s := range map[string]Step{
		"1. **T**  \n   a  \n   b  \n   *Source: s*\n\n":                  {Title: "T", Text: append(append(para("a"), Span{Kind: Break}), para("b")...), Source: "s"},
		"1. **T**  \n   a\n\n   - b\n\n   c  \n   *Source: s*\n\n":        {Title: "T", Text: Text{{Text: "a"}, {Kind: Bullet}, {Text: "b"}, {Kind: Break}, {Text: "c"}}, Source: "s"},
		"1. **T**\n\n   - b\n\n   See [l](<u>)  \n   *Source: s*\n\n":     {Title: "T", Text: Text{{Kind: Bullet}, {Text: "b"}}, Links: []Link{{"l", "u"}}, Source: "s"},
		"1. **T**  \n   a\n\n   ```\n   q\n   ```\n\n   *Source: s*\n\n":  {Title: "T", Text: Text{{Text: "a"}, {Kind: Block, Text: "q"}}, Source: "s"},
		"1. **T**\n\n   ```\n   q\n   ```\n\n   a  \n   See [l](<u>)\n\n": {Title: "T", Text: Text{{Kind: Block, Text: "q"}, {Text: "a"}}, Links: []Link{{"l", "u"}}},
	} {
		m := &markdown{}
		m.step(1, s)
		if got := m.b.String(); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	p, f := Default().WithTenants(tenantMap(b)), benchmarkFacts(b)
	b.ReportAllocs()
	for b.Loop() {
		if p.Decide(f, now).Outcome != Steps {
			b.Fatal("no steps")
		}
	}
}

func BenchmarkDecideAndMarkdown(b *testing.B) {
	p, f := Default().WithTenants(tenantMap(b)), benchmarkFacts(b)
	b.ReportAllocs()
	for b.Loop() {
		if len(p.Decide(f, now).Markdown()) < 1000 {
			b.Fatal("no reply")
		}
	}
}

func BenchmarkInfer(b *testing.B) {
	p := Default().WithTenants(tenantMap(b))
	v := Violation{Title: titleTenant, App: App{AppID: "3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a01", Cloud: "AzureUSGovernment"}, Cred: Credential{Store: KeyStore{URI: "https://contoso.vault.azure.net/x"}}}
	b.ReportAllocs()
	for b.Loop() {
		p.Infer(v)
	}
}

func BenchmarkRead(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Default().Read(titleTenant+" 3P USME contoso.vault.azure.net option a", "typed")
	}
}

func BenchmarkLoad(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load(nil); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkFacts(b *testing.B) Facts {
	b.Helper()
	f := Default().Infer(Violation{
		Title: titleTenant, Source: ViolationFrom{System: "s360"},
		App:  App{AppID: "3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a01", DisplayName: "Contoso Ledger Sync", OwnerOrg: "f8cdef31-a31e-4b4a-93e4-5f571e91255a", SGOwnerTenant: "PME", Cloud: "Fairfax"},
		Cred: Credential{Thumbprint: "BB5D1064437D8720A5C53078185E6A361A78B10A", SubjectName: "ledger.contoso.example", Store: KeyStore{Type: "KeyVault", URI: "https://contoso.vault.azure.net/certificates/x"}},
	})
	return f.With(Fact{Name: Option, Value: "A", From: FromAnswer})
}
