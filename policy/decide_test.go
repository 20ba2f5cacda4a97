package policy

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// Each row is a story: what is known, and what must come of it.
func TestWhatIsAskedAndWhatIsNot(t *testing.T) {
	const app = "3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a01"
	for _, tt := range []struct {
		name    string
		facts   Facts
		outcome Outcome
		asks    FactName
		want    string // "scenario/option/redirect"
		says    []string
	}{
		{"nothing is known", nil, Ask, Violated, "//", nil},
		{"an unknown title", answered("violation", "Storage account allows public access"), OutOfScope, "", "//",
			[]string{"not a cert-rehoming violation", titleTenant, titleCloud}},
		{"a title that only begins like ours", answered("violation", titleCloud+" - Some new scenario"), OutOfScope, "", "//", nil},
		{"a title in another case, spacing and dash", answered("violation", "aad  ENTRA apps in prod tenants using certificates in non–prod tenant"), Ask, PartyFact, "tenant-mismatch//", nil},
		{"S1: the party first", answered("violation", titleTenant), Ask, PartyFact, "tenant-mismatch//", nil},
		{"S1 3P: then the app's tenant", answered("violation", titleTenant, "party", "3P"), Ask, AppTenant, "tenant-mismatch//", nil},
		{"S1 3P: the tenant implies the cloud", answered("violation", titleTenant, "party", "3P", "app_tenant", "USME"), Ask, Option, "tenant-mismatch//", nil},
		{"S1 3P A needs the tenant", answered("violation", titleTenant, "party", "3P", "option", "A"), Ask, AppTenant, "tenant-mismatch//", nil},
		{"S1 B needs the party only", answered("violation", titleTenant, "option", "B"), Ask, PartyFact, "tenant-mismatch//", nil},
		{"S1 3P B", answered("violation", titleTenant, "option", "B", "party", "3P"), Steps, "", "tenant-mismatch/B/", []string{"irreversible effects", "justif", "App Rehoming TSG"}},
		{"S1 1P B", answered("violation", titleTenant, "option", "B", "party", "1P"), Steps, "", "tenant-mismatch/B/", []string{"non-production environment", "Test environments and apps"}},
		{"S1 3P in a tenant without a row", answered("violation", titleTenant, "party", "3P", "app_tenant", "Corp"), NoPolicyRow, "", "tenant-mismatch//", []string{"no policy row", "Corp", "AME, CME, GME"}},
		{"S1 1P: the SG owner", answered("violation", titleTenant, "party", "1P"), Ask, SGOwner, "tenant-mismatch//", nil},
		{"S1 1P: an owner with three clouds", answered("violation", titleTenant, "party", "1P", "sg_owner_tenant", "AME"), Ask, AppCloud, "tenant-mismatch//", nil},
		{"S1 1P: an owner with one cloud", answered("violation", titleTenant, "party", "1P", "sg_owner_tenant", "GME"), Ask, Option, "tenant-mismatch//", nil},
		{"S1 1P: that cloud is said to be inferred", answered("violation", titleTenant, "party", "1P", "sg_owner_tenant", "GME", "option", "a"), Steps, "", "tenant-mismatch/A/",
			[]string{"SG owner GME has a 1P row for Public only", "Public + Prod + GME"}},
		{"S1 1P: never over a stated cloud", answered("violation", titleTenant, "party", "1P", "sg_owner_tenant", "GME", "app_cloud", "Fairfax"), NoPolicyRow, "", "tenant-mismatch//", nil},
		{"S2 1P: the cloud is asked even when there is one", answered("violation", titleCloud, "party", "1P", "sg_owner_tenant", "GME"), Ask, AppCloud, "cloud-mismatch//", nil},
		{"1P owned by Corp", answered("violation", titleTenant, "party", "1P", "sg_owner_tenant", "corp"), Redirect, "", "tenant-mismatch//assist-sg-update", []string{"invalid SG owner"}},
		{"1P owned by Microsoft, S2", answered("violation", titleCloud, "party", "1P", "sg_owner_tenant", "Microsoft"), Redirect, "", "cloud-mismatch//assist-sg-update", nil},
		{"1P owned by Unknown, moving", answered("violation", titleSG, "option", "move-cert", "sg_owner_tenant", "Unknown"), Redirect, "", "sg-mismatch//assist-sg-update", []string{"invalid SG owner"}},
		{"SG: moving is not possible while the owner is Microsoft", answered("violation", titleSG, "option", "2", "sg_owner_tenant", "Microsoft"), Redirect, "", "sg-mismatch//assist-sg-update", nil},
		{"SG: said to be 3P, and the violation settles it", answered("violation", titleSG, "party", "3P", "option", "move-cert", "app_tenant", "AME"), Ask, SGOwner, "tenant-mismatch/A/",
			[]string{"Two sources differ on the party", "3P (answered: said in a test)", "change the violation", "**party**: 1P (from the title"}},
		{"handed over, and said to be 3P", answered("handoff", "assist-sg-update", "party", "3P", "option", "move-cert", "sg_owner_tenant", "USME"), Steps, "", "tenant-mismatch/A/",
			[]string{"FairFax + Prod + USME", "Two sources differ on the party"}},
		{"secrets only: tenant and cloud contradict each other", answered("violation", "APP-09", "party", "3P", "app_tenant", "AME", "app_cloud", "Fairfax"), Steps, "", "secrets-only//",
			[]string{"Two facts contradict each other", "in Public (3p.csv:2)", "never self-signed"}},
		{"secrets only: a 3P tenant without a row", answered("violation", "APP-09", "party", "3P", "app_tenant", "Corp"), Steps, "", "secrets-only//", []string{"no policy row for a 3P app in Corp", "`Self`"}},
		{"secrets only: a 1P pair without a row", answered("violation", "APP-09", "party", "1P", "sg_owner_tenant", "GME", "app_cloud", "Fairfax"), Steps, "", "secrets-only//",
			[]string{"no policy row for a 1P app with SG owner GME in Fairfax", "never self-signed"}},
		{"secrets only: an SG owner that is none", answered("violation", "APP-09", "party", "1P", "sg_owner_tenant", "Microsoft"), Steps, "", "secrets-only//",
			[]string{"invalid SG owner", "assist-sg-update", "never self-signed"}},
		{"secrets only: the one cloud of an owner is said", answered("violation", "APP-09", "party", "1P", "sg_owner_tenant", "GME"), Steps, "", "secrets-only//",
			[]string{"SG owner GME has a 1P row for Public only", "Public + Prod + GME"}},
		{"option B: tenant and cloud contradict each other", answered("violation", titleTenant, "party", "3P", "app_tenant", "AME", "app_cloud", "Fairfax", "option", "B"), Steps, "", "tenant-mismatch/B/",
			[]string{"Two facts contradict each other"}},
		{"option B: an SG owner that is none", answered("violation", titleTenant, "party", "1P", "sg_owner_tenant", "Unknown", "option", "B"), Steps, "", "tenant-mismatch/B/", []string{"invalid SG owner"}},
		{"1P owned by a word nobody knows", answered("violation", titleTenant, "party", "1P", "sg_owner_tenant", "Contoso"), NoPolicyRow, "", "tenant-mismatch//", []string{"Contoso"}},
		{"S2: option 3 needs the plane only", answered("violation", titleCloud, "option", "3"), Ask, Plane, "cloud-mismatch/3/", nil},
		{"S2 3: data flow", answered("violation", titleCloud, "option", "3", "plane", "data-flow"), Redirect, "", "cloud-mismatch/3/guide-advanced-remediation",
			[]string{"Federated Identity Credential", "data-flow", "allow-list", "weeks", "Each target"}},
		{"S2 3: control plane", answered("violation", titleCloud, "option", "3", "plane", "control-plane"), Refused, "", "cloud-mismatch/3/",
			[]string{"control plane operations across cloud boundaries are not permitted", "option 1", "option 2", "exception"}},
		{"S2: an option of S1 falls away", answered("violation", titleCloud, "party", "3P", "app_tenant", "AME", "option", "A"), Ask, Option, "cloud-mismatch//", nil},
		{"SG: the side first", answered("violation", titleSG), Ask, Option, "sg-mismatch//", nil},
		{"SG: update the group", answered("violation", titleSG, "option", "update-sg"), Redirect, "", "sg-mismatch//assist-sg-update", nil},
		{"SG: assist-sg-update's own 1", answered("violation", titleSG, "option", "1"), Redirect, "", "sg-mismatch//assist-sg-update", nil},
		{"SG: assist-sg-update's own 2", answered("violation", titleSG, "option", "2"), Ask, SGOwner, "tenant-mismatch/A/", nil},
		{"SG: the certificate moves", answered("violation", titleSG, "option", "move-cert", "sg_owner_tenant", "PME", "app_cloud", "Mooncake"), Steps, "", "tenant-mismatch/A/",
			[]string{"MoonCake + Prod + CME", "SG owner is PME", "old certificate"}},
		{"cross-cloud auth", answered("violation", titleCloud+" — Cross-cloud auth scenarios"), Redirect, "", "cloud-mismatch//guide-advanced-remediation", []string{"not a cert-rehoming violation"}},
		{"cross-cloud 1P", answered("violation", titleCloud+" - Cross-cloud 1P scenarios"), Redirect, "", "cloud-mismatch//guide-advanced-remediation", nil},
		{"invalid security group", answered("violation", "1P App with invalid security group"), Redirect, "", "sg-mismatch//assist-sg-update", []string{"not a cert-rehoming violation"}},
		{"cross-tenant", answered("violation", "AAD Entra apps with cross-tenant violations"), Redirect, "", "//guide-advanced-remediation", []string{"not a cert-rehoming violation"}},
		{"connector", answered("violation", "Connector domain OWNER should not use shared subjectName for authentication across tenant"), Redirect, "", "//guide-advanced-remediation", nil},
		{"secrets only", answered("violation", "APP-09", "app_id", app), Steps, "", "secrets-only//", []string{app, "Never post a secret", "public key", "object id"}},
		{"secrets only, governed tenant", answered("violation", "app-09", "app_tenant", "USME"), Steps, "", "secrets-only//", []string{"Private Issuer: AME", "never self-signed"}},
		{"secrets only, 3P with a row", answered("violation", "APP-09", "party", "3P", "app_tenant", "USME"), Steps, "", "secrets-only//", []string{"Fairfax, Prod + USME"}},
		{"near expiry", answered("violation", "Microsoft.KeyVault.CertificateNearExpiry"), Steps, "", "rotation//", []string{"replaces the whole list"}},
		{"expired", answered("violation", "microsoft.keyvault.certificateexpired"), Steps, "", "rotation//", []string{"has expired"}},
		{"an Entra recommendation", answered("violation", "Renew expiring application credentials"), Steps, "", "rotation//", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := Default().Decide(tt.facts, now)
			checkShape(t, d)
			asks := FactName("")
			if d.Need != nil {
				asks = d.Need.Fact
			}
			if got := string(d.Scenario) + "/" + d.Option + "/" + d.Redirect; d.Outcome != tt.outcome || asks != tt.asks || got != tt.want {
				t.Errorf("got %s, asking %q, %s (%s)\nwant %s, asking %q, %s", d.Outcome, asks, got, d.Summary, tt.outcome, tt.asks, tt.want)
			}
			page := d.Markdown()
			for _, words := range tt.says {
				if !strings.Contains(page, words) {
					t.Errorf("%q is not said in\n%s", words, page)
				}
			}
		})
	}
}

// Whoever confirms things before a hand-over is not asked for them again.
func TestAHandOverIsTakenAsItCame(t *testing.T) {
	p := Default()
	v := Violation{
		Title:   titleSG,
		App:     App{AppID: "3F6B2A10-8c4d-4e21-9a7b-5d0e6c1f2a01", DisplayName: "Contoso Ledger"},
		Handoff: Handoff{From: "assist-sg-update", Option: 2, ConfirmedBy: "rivera", Confirmed: map[string]string{"sgOwnerTenant": "pme", "cloud": "MoonCake"}},
	}
	d := p.Decide(p.Infer(v), now)
	if d.Outcome != Steps || d.Option != "A" || d.Scenario != TenantMismatch || d.Row.Tenant != "CME" {
		t.Fatalf("%s %s %s %v: %s", d.Outcome, d.Scenario, d.Option, d.Row, d.Summary)
	}
	page := d.Markdown()
	for _, words := range []string{"SG owner is PME", "MoonCake + Prod + CME", "old certificate", "confirmed by rivera", "Contoso Ledger (3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a01)"} {
		if !strings.Contains(page, words) {
			t.Errorf("%q is not said", words)
		}
	}
	if strings.Contains(page, "non-prod certificate") {
		t.Error("the old certificate of a security group mismatch is in another prod tenant, and is called non-prod")
	}

	v.Handoff.Confirmed = nil
	if n, ok := p.Next(p.Infer(v)); !ok || n.Fact != SGOwner {
		t.Errorf("without confirmed facts the SG owner is next, not %q", n.Fact)
	}
	v.Handoff.Option = 1
	if d := p.Decide(p.Infer(v), now); d.Redirect != "assist-sg-update" || d.Scenario != SGMismatch {
		t.Errorf("option 1: %s %s", d.Outcome, d.Redirect)
	}
	v.Handoff.Option, v.Title = 0, ""
	if n, ok := p.Next(p.Infer(v)); !ok || n.Fact != Option {
		t.Errorf("a hand-over without an option asks for the side, not %q", n.Fact)
	}
	f := p.Infer(v).With(Fact{Name: Violated, Value: titleCloud, From: FromAnswer})
	if s, _ := p.Classify(f); s != CloudMismatch {
		t.Errorf("a person who says what it is is not heard: %s", s)
	}
}

// The title of a tenant mismatch does not undo a hand-over, even as a person's
// word; choosing option B does.
func TestAHandOverUnderTheTitleOfATenantMismatch(t *testing.T) {
	p := Default()
	f := p.Infer(Violation{Handoff: Handoff{From: "assist-sg-update", Option: 2}}).With(answered("violation", titleTenant, "sg_owner_tenant", "USME")...)
	if d := p.Decide(f, now); d.Outcome != Steps || d.Option != "A" || d.Row.Tenant != "USME" {
		t.Errorf("%s: %s", d.Outcome, d.Summary)
	}
	if d := p.Decide(f.With(answered("option", "B")...), now); d.Outcome != Steps || d.Option != "B" {
		t.Errorf("%s: %s", d.Outcome, d.Summary)
	}
}

// A hand-over says "cloud" and not whose. Where the vault is in another one, it
// is confirmed, once; a person's answer is enough.
func TestAHandedOverCloudThatTheVaultContradictsIsConfirmed(t *testing.T) {
	p := Default()
	handed := func(vault string) Facts {
		return p.Infer(Violation{
			Title: titleSG, Cred: Credential{Store: KeyStore{URI: vault}},
			Handoff: Handoff{From: "assist-sg-update", Option: 2, Confirmed: map[string]string{"sgOwnerTenant": "PME", "cloud": "MoonCake"}},
		})
	}
	f := handed("https://contoso.vault.azure.net/certificates/x")
	d := p.Decide(f, now)
	checkShape(t, d)
	if d.Outcome != Conflict || d.Need.Fact != AppCloud {
		t.Fatalf("%s: %s", d.Outcome, d.Summary)
	}
	if c := d.Need.Choices[0]; c.Value != "Mooncake" || !c.Suggested {
		t.Errorf("the cloud that was handed over is not offered first: %+v", d.Need.Choices)
	}
	for _, cloud := range []string{"Mooncake", "Public"} {
		if d := p.Decide(f.With(answered("app_cloud", cloud)...), now); d.Outcome != Steps || string(d.Row.Cloud) != cloud {
			t.Errorf("answered %s: %s", cloud, d.Summary)
		}
	}
	if d := p.Decide(handed("https://contoso.vault.azure.cn/certificates/x"), now); d.Outcome != Steps {
		t.Errorf("the vault agrees: %s", d.Summary)
	}
}

// What is not governed may use the vault's own issuer, so an app must not pass
// for that because its cloud is not known yet.
func TestAnSGOwnerOfTheTableMakesAnAppGoverned(t *testing.T) {
	page := Default().Decide(answered("violation", "APP-09", "party", "1P", "sg_owner_tenant", "AME"), now).Markdown()
	if !strings.Contains(page, "never self-signed") || strings.Contains(page, "`Self`") {
		t.Error(page)
	}
}

// In a security group mismatch the old certificate is in another prod tenant.
func TestTheThreatIsThatOfTheViolation(t *testing.T) {
	moved := remediationOf(t, answered("violation", titleSG, "option", "move-cert", "sg_owner_tenant", "USME"))
	found := remediationOf(t, answered("violation", titleTenant, "option", "A", "party", "1P", "sg_owner_tenant", "USME"))
	if got := moved.Remediation.Threat; strings.Contains(got, "non-prod") || !strings.Contains(got, "security group") {
		t.Errorf("security group: %s", got)
	}
	if got := found.Remediation.Threat; !strings.Contains(got, "non-prod into production") {
		t.Errorf("tenant mismatch: %s", got)
	}
	r, err := Default().Fill(FixPath{Scenario: TenantMismatch, Party: FirstParty, Option: "A", Row: moved.Row}, answered("violation", titleSG, "option", "move-cert"))
	if err != nil || strings.Contains(r.Threat+r.Steps[0].Text.String(), "non-prod") {
		t.Errorf("Fill: %v, %s", err, r.Threat)
	}
}

// Where the row goes elsewhere than to the SG owner's tenant, the choice says so.
func TestOptionANamesTheTenantOfTheRow(t *testing.T) {
	for pair, row := range readSource(t).first {
		d := Default().Decide(answered("violation", titleTenant, "party", "1P", "sg_owner_tenant", pair[0], "app_cloud", pair[1]), now)
		checkShape(t, d)
		target := row.settings[strings.LastIndex(row.settings, " + ")+3:]
		a := d.Need.Choices[0]
		if !strings.HasPrefix(a.Label, "Option A") || strings.Contains(a.Label, "SG owner") || !strings.Contains(a.Hint, target) || strings.Contains(a.Hint, "(SG owner is "+pair[0]+")") != (target != pair[0]) {
			t.Errorf("%v, target %s: %+v", pair, target, a)
		}
	}
}

// A question is read on a phone. It says what bears on it, not all there is.
func TestAQuestionSaysOnlyWhatBearsOnIt(t *testing.T) {
	p := Default().WithTenants(tenantMap(t))
	f := p.Infer(Violation{
		Title: titleTenant, App: App{Party: "1P", SGOwnerTenant: "PME", TenantID: "a0000000-0000-4000-8000-0000000000a2"},
		Cred: Credential{Store: KeyStore{URI: "https://contoso.vault.azure.net/x", TenantID: "a0000000-0000-4000-8000-0000000000f0"}},
	})
	for asked := 0; ; asked++ {
		n, ok := p.Next(f)
		if !ok {
			if asked != 2 {
				t.Errorf("%d questions", asked)
			}
			return
		}
		if got := utf8.RuneCountInString(n.Why); got > 250 || strings.Contains(n.Why, "party") {
			t.Errorf("%d characters: %s", got, n.Why)
		}
		f = f.With(Fact{Name: n.Fact, Value: n.Choices[0].Value, From: FromAnswer})
	}
}

func TestSuggestedChoicesComeFirstAndAreNeverTaken(t *testing.T) {
	d := Default().Decide(answered("violation", titleCloud, "party", "1P", "sg_owner_tenant", "USME"), now)
	if c := d.Need.Choices[0]; c.Value != "Fairfax" || !c.Suggested {
		t.Errorf("the one cloud of USME is not offered first: %+v", d.Need.Choices)
	}
	d = Default().Decide(answered("violation", titleTenant, "party", "3P", "app_tenant", "AME"), now)
	if c := d.Need.Choices[0]; c.Value != "A" || !c.Suggested || !strings.HasPrefix(c.Label, "Option A") {
		t.Errorf("option A is recommended: %+v", d.Need.Choices)
	}
}

func TestWhatBesidesTheStepsMustBeHeard(t *testing.T) {
	tenants := map[string]TenantEntry{
		"a0000000-0000-4000-8000-0000000000f0": {Name: "Corp", Cloud: Public, NonProd: true},
		"a0000000-0000-4000-8000-0000000000b1": {Name: "CME", Cloud: Mooncake},
	}
	p := Default().WithTenants(tenants)
	for _, tt := range []struct {
		name string
		v    Violation
		says []string
	}{
		{"the clouds agree", Violation{Title: titleCloud, App: App{Party: "3P", TenantName: "AME", Cloud: "Commercial"}, Cred: Credential{Store: KeyStore{URI: "https://contoso.vault.azure.net"}}},
			[]string{"The clouds agree", "looks like a tenant mismatch", titleTenant}},
		{"a cloud mismatch out of a non-prod tenant", Violation{Title: titleCloud, App: App{Party: "3P", TenantName: "USME"}, Cred: Credential{Store: KeyStore{TenantID: "A0000000-0000-4000-8000-0000000000F0"}}},
			[]string{"Corp, a non-production tenant", "tenant mismatch as well", "fixes both"}},
		{"a tenant mismatch across clouds", Violation{Title: titleTenant, App: App{Party: "3P", TenantName: "USME"}, Cred: Credential{Store: KeyStore{URI: "https://contoso.vault.azure.net/certificates/x"}}},
			[]string{"in Public and the app in Fairfax", "cloud mismatch as well"}},
		{"two sources differ", Violation{Title: titleTenant, App: App{Cloud: "Fairfax", Authority: "https://login.microsoftonline.com/x"}},
			[]string{"Two sources differ on the app cloud", "Fairfax", "Public", "login host is login.microsoftonline.com"}},
		{"a title says 1P and the alert 3P", Violation{Title: titleSG, App: App{Party: "3P"}},
			[]string{"Two sources differ on the party", "the title says 1P"}},
		{"Gallatin alone", Violation{Title: titleTenant, App: App{Cloud: "Gallatin"}}, []string{"the cloud Mooncake or the tenant Torus Gallatin", "not taken for a fact"}},
		{"a managed HSM", Violation{Title: titleTenant, Cred: Credential{Store: KeyStore{URI: "https://contoso.managedhsm.azure.net"}}}, []string{"cannot hold certificates"}},
		{"the retired cloud", Violation{Title: titleTenant, Cred: Credential{Store: KeyStore{URI: "https://contoso.vault.microsoftazure.de"}}}, []string{"retired"}},
		{"an unknown vault", Violation{Title: titleTenant, Cred: Credential{Store: KeyStore{URI: "https://x.vault.azure.net.evil.example"}}}, []string{"in no cloud I know"}},
		{"the owner is only a hint", Violation{Title: titleTenant, App: App{OwnerOrg: "72f988bf-86f1-41af-91ab-2d7cd011db47"}}, []string{"hints at"}},
		{"a rotation in the wrong cloud", Violation{Title: "Microsoft.KeyVault.CertificateNearExpiry", App: App{Party: "3P", TenantName: "USME"}, Cred: Credential{Store: KeyStore{URI: "https://contoso.vault.azure.net"}}},
			[]string{"Do not renew it where it is", titleCloud}},
		{"a rotation in a non-prod tenant", Violation{Title: "Microsoft.KeyVault.CertificateNearExpiry", Cred: Credential{Store: KeyStore{TenantID: "a0000000-0000-4000-8000-0000000000f0"}}},
			[]string{"Corp, a non-production tenant", titleTenant}},
		{"the vault's tenant and host differ", Violation{Title: titleTenant, Cred: Credential{Store: KeyStore{URI: "https://contoso.vault.azure.net", TenantID: "a0000000-0000-4000-8000-0000000000b1"}}},
			[]string{"is in Public and its tenant CME is in Mooncake"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			page := p.Decide(p.Infer(tt.v), now).Markdown()
			for _, words := range tt.says {
				if !strings.Contains(page, words) {
					t.Errorf("%q is not said in\n%s", words, page)
				}
			}
		})
	}
}

func TestAnOldPolicySaysSo(t *testing.T) {
	p := Default()
	reviewed := time.Date(2026, 4, 30, 0, 0, 0, 0, time.UTC)
	if v := p.Version(reviewed.AddDate(0, 0, 180)); v.Stale != "" || v.Version != "2026-04-30" || !strings.HasPrefix(v.Digest, "sha256:") {
		t.Errorf("at 180 days: %+v", v)
	}
	d := p.Decide(answered("violation", "APP-09"), reviewed.AddDate(0, 0, 181))
	const want = "policy reviewed 2026-04-30 is 181 days old"
	if !strings.Contains(d.Policy.Stale, want) || !strings.Contains(d.Markdown(), want) || d.Remediation.Policy != d.Policy {
		t.Errorf("at 181 days: %+v", d.Policy)
	}
}

// checkShape checks what holds for every decision.
func checkShape(t testing.TB, d Decision) {
	t.Helper()
	has := func(what string, got, want bool) {
		if got != want {
			t.Errorf("%s: %s is there = %v, want %v", d.Outcome, what, got, want)
		}
	}
	switch d.Outcome {
	case Steps, Ask, Conflict, NoPolicyRow, Redirect, Refused, OutOfScope:
	default:
		t.Errorf("outcome %q is none", d.Outcome)
	}
	has("a need", d.Need != nil, d.Outcome == Ask || d.Outcome == Conflict)
	has("a remediation", d.Remediation != nil, d.Outcome == Steps)
	has("a redirect", d.Redirect != "", d.Outcome == Redirect)
	has("a summary", len(d.Summary) > 0, true)
	if d.Need != nil {
		checkNeed(t, *d.Need)
	}
	if d.Remediation != nil {
		checkRemediation(t, *d.Remediation)
	}
}

// checkNeed checks a question against what Slack and the flags can carry.
func checkNeed(t testing.TB, n Need) {
	t.Helper()
	if n.Prompt == "" || n.Why == "" || len(n.Choices) < 2 {
		t.Errorf("question %q, why %q, %d choices", n.Prompt, n.Why, len(n.Choices))
	}
	seen := map[string]bool{}
	for i, c := range n.Choices {
		if len(c.Value) > 75 || len([]rune(c.Label)) > 75 || len([]rune(c.Hint)) > 75 || c.Value == "" || seen[c.Value] || c.Suggested && i > 0 {
			t.Errorf("%s: choice %d is not right: %+v", n.Fact, i, c)
		}
		seen[c.Value] = true
		if got, ok := Default().Match(n, c.Value); !ok || got.Value != c.Value {
			t.Errorf("%s: typing %q chooses %q", n.Fact, c.Value, got.Value)
		}
		if got, ok := Default().Match(n, "  "+strings.ToUpper(c.Label)+" "); !ok || got.Value != c.Value {
			t.Errorf("%s: typing %q chooses %q", n.Fact, c.Label, got.Value)
		}
	}
}

// checkRemediation checks that nothing is left open and that no trust is taken
// away before the gate.
func checkRemediation(t testing.TB, r Remediation) {
	t.Helper()
	if r.Title == "" || r.Threat == "" || len(r.Steps) == 0 || len(r.Requirements) != 7 {
		t.Errorf("%s is not whole: %+v", r.Playbook, r)
	}
	gated := false
	ids := map[string]bool{}
	for _, s := range r.Steps {
		text := s.Title + s.Text.String()
		if s.ID == "" || s.Title == "" || len(s.Text) == 0 || s.Source == "" || ids[s.ID] {
			t.Errorf("%s: step %+v is not whole", r.Playbook, s)
		}
		ids[s.ID] = true
		if strings.ContainsAny(strings.ReplaceAll(text, "$", ""), "{}") {
			t.Errorf("%s: step %s has an open blank: %s", r.Playbook, s.ID, text)
		}
		for _, word := range []string{"revoke-", "remove-", "disable-"} {
			if strings.HasPrefix(s.ID, word) && !gated {
				t.Errorf("%s: step %s comes before the gate", r.Playbook, s.ID)
			}
		}
		gated = gated || s.Gate
		for _, l := range s.Links {
			if !strings.HasPrefix(l.URL, "https://") {
				t.Errorf("%s: step %s links to %q", r.Playbook, s.ID, l.URL)
			}
		}
	}
}

func TestALengthIsThatOfTheString(t *testing.T) {
	for kind := Plain; kind <= Who; kind++ {
		for after := Plain; after <= Who; after++ {
			text := Text{{Kind: kind, Text: "größer", URL: "https://example.com/ö"}, {Kind: after, Text: "→", URL: "u"}, {Kind: kind}}
			if kind == Break || kind == Bullet {
				text[0].Text = ""
			}
			if after == Break || after == Bullet {
				text[1].Text = ""
			}
			if got, want := text.Len(), utf8.RuneCountInString(text.String()); got != want {
				t.Errorf("kinds %d, %d: Len() = %d, but %q has %d characters", kind, after, got, text.String(), want)
			}
		}
	}
}

// A row that is found says the app's cloud, also where the steps would do
// without it; nothing else follows from that.
func TestTheCloudOfARowIsSaidToBeInferred(t *testing.T) {
	for name, c := range map[string]struct {
		facts Facts
		why   string // "" when nothing may be inferred
	}{
		"the only row of an SG owner":    {answered("violation", "APP-09", "party", "1P", "sg_owner_tenant", "USME"), "SG owner USME has a 1P row for Fairfax only"},
		"the row of a 3P tenant":         {answered("violation", "APP-09", "party", "3P", "app_tenant", "USME"), "3P apps in USME are in Fairfax (3P table)"},
		"an owner of several":            {answered("violation", "APP-09", "party", "1P", "sg_owner_tenant", "PME"), ""},
		"the cloud was said":             {answered("violation", "APP-09", "party", "1P", "sg_owner_tenant", "USME", "app_cloud", "Fairfax"), ""},
		"the cloud itself is in dispute": {answered("violation", titleCloud, "party", "1P", "sg_owner_tenant", "USME"), ""},
	} {
		d := Default().Decide(c.facts, now)
		f, _ := Facts(d.Facts).Claim(AppCloud, FromInference)
		if f.Why != c.why || c.why != "" && f.Value != "Fairfax" {
			t.Errorf("%s: %+v, want it because %q", name, f, c.why)
		}
		if c.why != "" && !strings.Contains(d.Markdown(), "- **app cloud**: Fairfax (inferred: "+c.why+")") {
			t.Errorf("%s: the Markdown does not say so:\n%s", name, d.Markdown())
		}
	}
}
