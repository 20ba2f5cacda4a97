package policy

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// The source's own tables, read from testdata, are what the policy is compared
// with: a slip in our CSV files must not be able to hide behind itself.
type sourceTables struct {
	third map[string]sourceRow    // app tenant → row
	first map[[2]string]sourceRow // SG owner, canonical cloud → row
	own   []string                // the names in the first column of the 3P table
}

type sourceRow struct{ key, cloud, settings, issuer, vaults, corp string }

func readSource(t testing.TB) sourceTables {
	t.Helper()
	content, err := os.ReadFile("testdata/guide-cert-rehoming-tables.md")
	if err != nil {
		t.Fatal(err)
	}
	s := sourceTables{third: map[string]sourceRow{}, first: map[[2]string]sourceRow{}}
	section := ""
	for line := range strings.Lines(string(content)) {
		if strings.HasPrefix(line, "## ") {
			section = strings.TrimSpace(line[3:])
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 6 || strings.HasPrefix(cells[0], " --") || strings.Contains(cells[0], "App ") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		row := sourceRow{cells[0], cells[1], cells[2], cells[3], cells[4], cells[5]}
		if section == "3P Applications" {
			s.third[row.key] = row
			s.own = append(s.own, row.key)
			continue
		}
		for owner := range strings.SplitSeq(row.key, " / ") {
			s.first[[2]string{owner, row.cloud}] = row
		}
	}
	return s
}

var (
	clouds = []string{"Public", "Mooncake", "Fairfax"}
	now    = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
)

const (
	titleTenant = "AAD Entra Apps in Prod Tenants using certificates in Non-Prod Tenant"
	titleCloud  = "AAD Entra Apps cloud mismatches with Cert Cloud"
	titleSG     = "1pApp certs Tenant mismatches the Tenant of the Security Group"
)

// answered makes facts of names and values in turn, as a person's answers.
func answered(pairs ...string) Facts {
	var f Facts
	for i := 0; i < len(pairs); i += 2 {
		f = f.With(Fact{Name: FactName(pairs[i]), Value: pairs[i+1], From: FromAnswer, Why: "said in a test"})
	}
	return f
}

func TestTheSourceHasTheTablesWeThinkItHas(t *testing.T) {
	s := readSource(t)
	if len(s.third) != 9 || len(s.first) != 15 {
		t.Fatalf("read %d 3P rows and %d 1P keys, want 9 and 15", len(s.third), len(s.first))
	}
}

func TestEveryRowOfTheSourceIsARowOfThePolicy(t *testing.T) {
	s, p := readSource(t), Default()
	for tenant, want := range s.third {
		got, outcome := p.Lookup(ThirdParty, tenant, "")
		if outcome != Steps {
			t.Fatalf("3P %s: %s", tenant, outcome)
		}
		if got.Key != want.key || string(got.Cloud) != want.cloud || got.AsWritten != want.cloud+", "+want.settings || got.Issuer != want.issuer || got.Vaults != want.vaults || got.CorpDevices != want.corp {
			t.Errorf("3P %s: got %+v, the source has %+v", tenant, got, want)
		}
		if "Prod + "+got.Tenant != want.settings || got.Environment != "Prod" {
			t.Errorf("3P %s: tenant %q and environment %q do not make %q", tenant, got.Tenant, got.Environment, want.settings)
		}
	}
	for pair, want := range s.first {
		got, outcome := p.Lookup(FirstParty, pair[0], Cloud(pair[1]))
		if outcome != Steps {
			t.Fatalf("1P %v: %s", pair, outcome)
		}
		if got.Key != want.key || string(got.Cloud) != pair[1] || got.AsWritten != want.settings || got.Issuer != want.issuer || got.Vaults != want.vaults || got.CorpDevices != want.corp {
			t.Errorf("1P %v: got %+v, the source has %+v", pair, got, want)
		}
		if parts := strings.Split(want.settings, " + "); got.Environment != parts[1] || got.Tenant != parts[2] || !strings.EqualFold(string(got.Cloud), parts[0]) {
			t.Errorf("1P %v: %+v does not make %q", pair, got, want.settings)
		}
	}
	if n := len(p.Rows(FirstParty)) + len(p.Rows(ThirdParty)); n != 18 {
		t.Errorf("the policy has %d rows, the source 18", n)
	}
}

// remediationOf decides and insists on steps.
func remediationOf(t *testing.T, f Facts) Decision {
	t.Helper()
	d := Default().Decide(f, now)
	if d.Outcome != Steps {
		t.Fatalf("%v: %s (%s), want steps", f, d.Outcome, d.Summary)
	}
	return d
}

// Every filled combination of the source's tables and ways out: 9 + 15 for a
// tenant mismatch, 2 × 24 for a cloud mismatch, 72 in all.
func TestSeventyTwoCombinationsLeadToTheirRow(t *testing.T) {
	s := readSource(t)
	reached, perParty := map[string]bool{}, map[string]bool{}
	n := 0
	try := func(want sourceRow, tenant, cloud string, f Facts) {
		n++
		d := remediationOf(t, f)
		if d.Row == nil {
			t.Fatalf("%v: no row", f)
		}
		written := want.settings
		if d.Row.Table == ThirdParty {
			written = want.cloud + ", " + want.settings
		}
		if d.Row.AsWritten != written || d.Row.Tenant != tenant || string(d.Row.Cloud) != cloud {
			t.Errorf("%v: row %+v, want %q in %s, %s", f, d.Row, written, tenant, cloud)
		}
		checkShown(t, d, want)
		party := ""
		if d.Scenario == TenantMismatch {
			party = f.Value(PartyFact)
		}
		reached[fmt.Sprint(d.Scenario, party, d.Option, d.Row.Cloud, d.Row.Tenant)] = true
		perParty[fmt.Sprint(d.Scenario, f.Value(PartyFact), d.Option, d.Row.Cloud, d.Row.Tenant)] = true
	}
	for tenant, row := range s.third {
		try(row, tenant, row.cloud, answered("violation", titleTenant, "party", "3P", "app_tenant", tenant, "option", "A"))
		for _, option := range []string{"1", "2"} {
			try(row, tenant, row.cloud, answered("violation", titleCloud, "party", "3P", "app_tenant", tenant, "option", option))
		}
	}
	for pair, row := range s.first {
		target := row.settings[strings.LastIndex(row.settings, " + ")+3:]
		try(row, target, pair[1], answered("violation", titleTenant, "party", "1P", "sg_owner_tenant", pair[0], "app_cloud", pair[1], "option", "A"))
		for _, option := range []string{"1", "2"} {
			try(row, target, pair[1], answered("violation", titleCloud, "party", "1P", "sg_owner_tenant", pair[0], "app_cloud", pair[1], "option", option))
		}
	}
	if n != 72 {
		t.Errorf("tried %d combinations, want 72", n)
	}
	// Without a row: both options B, and a data flow across clouds.
	for _, party := range []string{"1P", "3P"} {
		d := remediationOf(t, answered("violation", titleTenant, "party", party, "option", "B"))
		if d.Row != nil || len(d.Remediation.Settings) > 0 {
			t.Errorf("%s option B has OneCert settings: %+v", party, d.Row)
		}
		reached[fmt.Sprint(d.Scenario, party, d.Option)] = true
		perParty[fmt.Sprint(d.Scenario, party, d.Option)] = true
	}
	d := Default().Decide(answered("violation", titleCloud, "option", "3", "plane", "data-flow"), now)
	reached[fmt.Sprint(d.Scenario, d.Option, d.Redirect)] = true
	if len(perParty)+1 != 57 {
		t.Errorf("%d end states were reached by party, want 57", len(perParty)+1)
	}
	if len(reached) != 39 {
		t.Errorf("%d end states were reached, want 39:\n%s", len(reached), strings.Join(slices.Sorted(maps.Keys(reached)), "\n"))
	}
}

// checkShown looks for the source's cells where people will read them.
func checkShown(t *testing.T, d Decision, want sourceRow) {
	t.Helper()
	page := d.Markdown()
	for _, words := range []string{want.settings, "Private Issuer: " + want.issuer, want.vaults, "canary → pilot → broad", "gradual rollout", "rollback", "zero active usage", "no longer in use", "top contributors to customer-visible outages", "Ev2 Managed SDP", "executive leader"} {
		if !strings.Contains(strings.ToLower(page), strings.ToLower(words)) {
			t.Errorf("%s does not say %q", d.Remediation.Playbook, words)
		}
	}
	if got := len(d.Remediation.Requirements); got != 7 {
		t.Errorf("%s has %d requirements, want 7", d.Remediation.Playbook, got)
	}
}

// In six of the fifteen 1P keys the row's tenant is not the SG owner's. Both
// are said, wherever the target tenant is.
func TestTheRowsTenantAndTheOwnersAreBothSaid(t *testing.T) {
	differ := 0
	for pair, row := range readSource(t).first {
		target := row.settings[strings.LastIndex(row.settings, " + ")+3:]
		for _, option := range []string{"1", "2"} {
			d := remediationOf(t, answered("violation", titleCloud, "party", "1P", "sg_owner_tenant", pair[0], "app_cloud", pair[1], "option", option))
			says := strings.Contains(d.Markdown(), "Target tenant: "+target+" (policy row; SG owner is "+pair[0]+")")
			if says != (target != pair[0]) {
				t.Errorf("%v, option %s, target %s: both said = %v", pair, option, target, says)
			}
		}
		if target != pair[0] {
			differ++
		}
	}
	if differ != 6 {
		t.Errorf("the tenants differ in %d keys, want 6", differ)
	}
}

// Twelve pairs of SG owner and cloud have no row. Whatever way out is asked for
// that needs one, the answer names the pair and the clouds there are, and never
// another row.
func TestTwelvePairsHaveNoPolicyRow(t *testing.T) {
	s := readSource(t)
	none := 0
	for _, owner := range s.own {
		for _, cloud := range clouds {
			if _, ok := s.first[[2]string{owner, cloud}]; ok {
				continue
			}
			none++
			for _, way := range [][]string{{titleTenant, "A"}, {titleTenant, ""}, {titleCloud, "1"}, {titleCloud, "2"}, {titleSG, "move-cert"}} {
				d := Default().Decide(answered("violation", way[0], "party", "1P", "sg_owner_tenant", owner, "app_cloud", cloud, "option", way[1]), now)
				said := d.Summary.String()
				if d.Outcome != NoPolicyRow || d.Row != nil || d.Need != nil || d.Remediation != nil {
					t.Errorf("%s in %s, %v: %s", owner, cloud, way, d.Outcome)
				}
				for _, words := range []string{"no policy row", "SG owner " + owner, cloud} {
					if !strings.Contains(said, words) {
						t.Errorf("%s in %s does not say %q: %s", owner, cloud, words, said)
					}
				}
				for _, there := range clouds {
					if _, ok := s.first[[2]string{owner, there}]; ok && !strings.Contains(said, "the table has "+there) {
						t.Errorf("%s in %s does not say that there is a row for %s: %s", owner, cloud, there, said)
					}
				}
			}
		}
	}
	if none != 12 {
		t.Errorf("%d pairs have no row, want 12", none)
	}
}

// A 3P tenant implies its cloud. Another one said for the app is a conflict, in
// all 18 cases, and either side can be answered to.
func TestEighteenConflictsAreAskedAboutAndSettled(t *testing.T) {
	s, p := readSource(t), Default()
	conflicts := 0
	for tenant, row := range s.third {
		for _, cloud := range clouds {
			if cloud == row.cloud {
				continue
			}
			conflicts++
			for _, title := range []string{titleTenant, titleCloud} {
				for _, from := range []Source{FromAnswer, FromAlert, FromInference} {
					f := answered("violation", title, "party", "3P", "app_tenant", tenant).
						With(Fact{Name: AppCloud, Value: cloud, From: from, Why: "said in a test"})
					d := p.Decide(f, now)
					if d.Outcome != Conflict || d.Need == nil || d.Row != nil {
						t.Fatalf("%s in %s (%s): %s", tenant, cloud, from, d.Outcome)
					}
					for _, words := range []string{tenant, cloud, row.cloud} {
						if !strings.Contains(d.Summary.String()+d.Need.Why, words) {
							t.Errorf("%s in %s: %q is not said", tenant, cloud, words)
						}
					}
					for _, choice := range d.Need.Choices {
						settles(t, f.With(Fact{Name: d.Need.Fact, Value: choice.Value, From: FromAnswer}), tenant, cloud)
					}
				}
			}
		}
	}
	if conflicts != 18 {
		t.Errorf("%d conflicts, want 18", conflicts)
	}
}

// settles answers on, first choice each, until the conflict is over.
func settles(t *testing.T, f Facts, tenant, cloud string) {
	t.Helper()
	for range 3 {
		d := Default().Decide(f, now)
		if d.Outcome != Conflict {
			if d.Need == nil || d.Need.Fact != Option {
				t.Errorf("%s in %s settled into %s", tenant, cloud, d.Outcome)
			}
			return
		}
		f = f.With(Fact{Name: d.Need.Fact, Value: d.Need.Choices[0].Value, From: FromAnswer})
	}
	t.Errorf("%s in %s does not settle", tenant, cloud)
}
