package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The tables hold both policy tables (guide-cert-rehoming, "Policy Tables").
type tables struct {
	third, first []Row
	byTenant     map[string]*Row     // 3P: the app's tenant decides, and implies the cloud
	byPair       map[ownerCloud]*Row // 1P: SG owner and app cloud together decide
	tenants      []string            // the 3P tenants to choose from, in the table's order
	owners       []string            // the SG owners to choose from, in the table's order, those first in a cell before all others
}

type ownerCloud struct {
	owner string
	cloud Cloud
}

// Rows returns a policy table as it is written, one row a line: nine for either
// party.
func (p *Policy) Rows(party Party) []Row {
	if party == FirstParty {
		return slices.Clone(p.tables.first)
	}
	return slices.Clone(p.tables.third)
}

// Lookup answers for one tenant and cloud in a party's table: Steps with the
// row, Conflict with the row when a 3P tenant is in another cloud than the one
// given, Ask when a 1P owner has several clouds and none was given, and
// NoPolicyRow otherwise. For 3P the tenant is the app's and the cloud may be
// empty; for 1P the tenant is the SG owner's. There is no fallback.
func (p *Policy) Lookup(party Party, tenant string, cloud Cloud) (Row, Outcome) {
	if party == ThirdParty {
		row, ok := p.tables.byTenant[tenant]
		switch {
		case !ok:
			return Row{}, NoPolicyRow
		case cloud != "" && cloud != row.Cloud:
			return *row, Conflict
		}
		return *row, Steps
	}
	if cloud == "" {
		switch clouds := p.tables.cloudsOf(tenant); len(clouds) {
		case 0:
			return Row{}, NoPolicyRow
		case 1:
			cloud = clouds[0]
		default:
			return Row{}, Ask
		}
	}
	row, ok := p.tables.byPair[ownerCloud{tenant, cloud}]
	if !ok {
		return Row{}, NoPolicyRow
	}
	return *row, Steps
}

// cloudsOf returns the clouds that have a 1P row for an SG owner.
func (t *tables) cloudsOf(owner string) []Cloud {
	var out []Cloud
	for _, c := range []Cloud{Public, Mooncake, Fairfax} {
		if _, ok := t.byPair[ownerCloud{owner, c}]; ok {
			out = append(out, c)
		}
	}
	return out
}

// tenantsIn returns the 3P tenants of a cloud.
func (t *tables) tenantsIn(cloud Cloud) []string {
	var out []string
	for _, r := range t.third {
		if r.Cloud == cloud {
			out = append(out, r.Tenant)
		}
	}
	return out
}

// loadTables reads 3p.csv and 1p.csv.
func (l *loader) loadTables() {
	t := &l.p.tables
	t.byTenant, t.byPair = map[string]*Row{}, map[ownerCloud]*Row{}
	for _, r := range l.records("3p.csv", "app_tenant", "onecert_cloud", "onecert_environment", "private_issuer", "allowed_vaults", "corp_devices") {
		l.loadThird(t, r)
	}
	for _, r := range l.records("1p.csv", "sg_owner_tenant", "app_cloud", "onecert_settings", "private_issuer", "allowed_vaults", "corp_devices") {
		l.loadFirst(t, r)
	}
	l.index(t)
}

// loadThird reads one 3P row. Its environment cell reads "Prod + <tenant>".
func (l *loader) loadThird(t *tables, r record) {
	row := l.row(r, ThirdParty, r.cells["app_tenant"])
	cloud, ok := l.cloud(r, r.cells["onecert_cloud"])
	env, tenant, parts := strings.Cut(r.cells["onecert_environment"], " + ")
	if !parts || env == "" || tenant == "" {
		l.wrong(r.file, r.line, fmt.Sprintf("environment %q cannot be read", r.cells["onecert_environment"]), "write it as Prod + AME")
		return
	}
	if !ok || !l.complete(r) {
		return
	}
	if !l.environment(r, env) {
		return
	}
	row.Cloud, row.Environment, row.Tenant = cloud, env, tenant
	row.AsWritten = r.cells["onecert_cloud"] + ", " + r.cells["onecert_environment"]
	if i := slices.IndexFunc(t.third, func(o Row) bool { return key(o.Key) == key(row.Key) }); i >= 0 {
		l.wrong(r.file, r.line, fmt.Sprintf("tenant %q already has a row at %s", row.Key, t.third[i].File), "remove one of the rows")
		return
	}
	if key(tenant) != key(row.Key) {
		l.wrong(r.file, r.line, fmt.Sprintf("the app tenant is %s and the environment is for %s", row.Key, tenant), "make the two agree; a 3P app's certificate belongs in the app's tenant")
		return
	}
	t.third = append(t.third, row)
}

// loadFirst reads one 1P row. Its settings cell reads "Public + Prod + AME".
func (l *loader) loadFirst(t *tables, r record) {
	row := l.row(r, FirstParty, r.cells["sg_owner_tenant"])
	cloud, ok := l.cloud(r, r.cells["app_cloud"])
	parts := strings.Split(r.cells["onecert_settings"], " + ")
	if len(parts) != 3 || slices.Contains(parts, "") {
		l.wrong(r.file, r.line, fmt.Sprintf("settings %q cannot be read", r.cells["onecert_settings"]), "write cloud, environment and tenant as Public + Prod + AME")
		return
	}
	settings, known := l.cloud(r, parts[0])
	if !ok || !known || !l.complete(r) {
		return
	}
	if settings != cloud {
		l.wrong(r.file, r.line, fmt.Sprintf("the app cloud is %s and the settings are for %s", cloud, settings), "make the two agree; a certificate belongs in the app's cloud")
		return
	}
	if !l.environment(r, parts[1]) {
		return
	}
	row.Cloud, row.Environment, row.Tenant, row.AsWritten = cloud, parts[1], parts[2], r.cells["onecert_settings"]
	if i := slices.IndexFunc(t.third, func(o Row) bool { return o.Tenant == row.Tenant && o.Cloud == cloud }); i < 0 {
		l.wrong(r.file, r.line, fmt.Sprintf("3p.csv has no tenant %q in %s", row.Tenant, cloud), "correct the tenant, or give it a row in 3p.csv")
		return
	}
	t.first = append(t.first, row)
}

func (l *loader) row(r record, party Party, key string) Row {
	return Row{Table: party, Key: key, Issuer: r.cells["private_issuer"], Vaults: r.cells["allowed_vaults"], CorpDevices: r.cells["corp_devices"], File: r.at()}
}

// environment reports whether a row's environment is the one certificates of
// production apps belong in (seed 000, both policy tables).
func (l *loader) environment(r record, word string) bool {
	if word != "Prod" {
		l.wrong(r.file, r.line, fmt.Sprintf("environment %q is not known", word), "write Prod")
	}
	return word == "Prod"
}

// complete reports whether every cell of a table's row is filled in. Each one
// that is not is an error.
func (l *loader) complete(r record) bool {
	complete := true
	for _, name := range slices.Sorted(maps.Keys(r.cells)) {
		if r.cells[name] == "" {
			l.wrong(r.file, r.line, fmt.Sprintf("%s is empty", name), "fill it in; a remediation shows every cell of its row")
			complete = false
		}
	}
	return complete
}

// cloud reads a cloud as a table spells it.
func (l *loader) cloud(r record, word string) (Cloud, bool) {
	value, ok := l.p.words.canonical(AppCloud, word)
	if !ok {
		l.wrong(r.file, r.line, fmt.Sprintf("unknown cloud %q", word), "write Public, Mooncake or Fairfax")
	}
	return Cloud(value), ok
}

// index fills in everything by which rows and tenants are found, and makes the
// tenants' names known words. A 1P key cell "CME / AME / PME" means any one of
// them.
func (l *loader) index(t *tables) {
	for i := range t.third {
		row := &t.third[i]
		t.byTenant[row.Key] = row
		t.tenants = append(t.tenants, row.Key)
		l.p.words.add(AppTenant, row.Key)
	}
	for i := range t.first {
		row := &t.first[i]
		for j, owner := range strings.Split(row.Key, "/") {
			owner = strings.TrimSpace(owner)
			if owner == "" {
				l.wrongRow(row, "the SG owner cell has an empty name", "write names with / between them, as CME / AME / PME")
				continue
			}
			if same, ok := l.p.words.canonical(AppTenant, owner); ok {
				owner = same
			} else {
				l.p.words.alias(AppTenant, owner, owner)
			}
			pair := ownerCloud{owner, row.Cloud}
			if other, ok := t.byPair[pair]; ok {
				l.wrongRow(row, fmt.Sprintf("SG owner %s in %s already has a row at %s", owner, row.Cloud, other.File), "remove one of the two")
				continue
			}
			t.byPair[pair] = row
			if !slices.Contains(t.owners, owner) && j == 0 {
				t.owners = append(t.owners, owner)
			}
		}
	}
	for _, row := range t.first { // owners that never stand first in a cell
		for owner := range strings.SplitSeq(row.Key, "/") {
			if owner = strings.TrimSpace(owner); owner != "" && !slices.Contains(t.owners, owner) {
				t.owners = append(t.owners, owner)
			}
		}
	}
}

func (l *loader) wrongRow(row *Row, what, fix string) {
	l.errs = append(l.errs, fmt.Errorf("%s: %s; %s", row.File, what, fix))
}
