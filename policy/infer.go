package policy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Infer reads a violation and returns its claims as facts, each with its source,
// together with what follows from them by the rules of the policy. Nothing is
// guessed: a vault's cloud says nothing about the app's (Azure Government apps may
// sign in to Public), "Gallatin" alone is no cloud, and the owner id of
// Microsoft's own tenant does not make an app first-party.
func (p *Policy) Infer(v Violation) Facts {
	var f Facts
	doubt := func(name FactName, value, why, doubt string) {
		if value != "" {
			f = append(f, Fact{Name: name, Value: value, From: FromAlert, Why: why, Doubt: doubt})
		}
	}
	say := func(name FactName, value, why string) { doubt(name, value, why, "") }
	p.inferTitle(v, say)
	p.inferApp(v.App, say, doubt)
	p.inferCredential(v.Cred, say, doubt)
	say(FoundBy, clean(v.Source.System), "its feed")
	if !v.Due.IsZero() {
		say(DueDate, v.Due.UTC().Format(time.RFC3339), "its due date")
	}
	f = p.inferHandoff(v.Handoff, f)
	f = p.inferTenantIDs(v, f)
	return p.derive(f)
}

// statedAs quotes what an alert said, as the reason of a fact whose value may be
// spelt differently: "its app tenant, “torus  gallatin”".
func statedAs(what, word string) string { return "its " + what + ", “" + clean(word) + "”" }

// A sayFunc adds a claim of the alert, and a doubtFunc one with what is odd about
// its value ("" for nothing). A claim without a value is not added.
type (
	sayFunc   = func(name FactName, value, why string)
	doubtFunc = func(name FactName, value, why, doubt string)
)

// inferTitle finds the title's row, or that of the control the violation is a
// finding against: some feeds carry a rule's name where others have the title.
func (p *Policy) inferTitle(v Violation, say sayFunc) {
	stated := clean(v.Title)
	// Where Scrub took something out of a title, that was no part of the title.
	if t, ok := p.titles.find(strings.ReplaceAll(stated, Removed, " ")); ok {
		say(Violated, t.Text, "its title")
		return
	}
	for _, control := range []string{v.Control.ID, v.Control.Name} {
		if t, ok := p.titles.find(clean(control)); ok {
			why := "its control"
			if stated != "" {
				why = fmt.Sprintf("its control; its title is “%s”", stated)
			}
			say(Violated, t.Text, why)
			return
		}
	}
	say(Violated, stated, "its title, which no row of the title table has")
}

func (p *Policy) inferApp(a App, say sayFunc, doubt doubtFunc) {
	if id := strings.ToLower(clean(a.AppID)); isGUID(id) {
		say(AppID, id, "its app id")
	}
	say(AppName, clean(a.DisplayName), "its app name")
	if party, ok := p.words.canonical(PartyFact, a.Party); ok {
		say(PartyFact, party, "its party")
	}
	say(AppTenant, p.tenantName(a.TenantName), statedAs("app tenant", a.TenantName))
	say(SGOwner, p.tenantName(a.SGOwnerTenant), statedAs("SG owner tenant", a.SGOwnerTenant))
	p.inferCloud(AppCloud, a.Cloud, statedAs("app cloud", a.Cloud), say)
	if host := hostOf(a.Authority); host != "" {
		doubt(AppAuthor, address(a.Authority), "the address the app signs in to", p.doubtAuthority(host))
	}
	if org := strings.ToLower(cmp.Or(clean(a.OwnerOrg), clean(a.TenantID))); isGUID(org) {
		why := "its owner organisation"
		if p.hintOwners[org] {
			why += "; it hints at a first-party app and does not prove it"
		}
		say(OwnerOrg, org, why)
	}
}

func (p *Policy) inferCredential(c Credential, say sayFunc, doubt doubtFunc) {
	if host := hostOf(c.Store.URI); host != "" {
		odd := p.doubtVault(host)
		if c.Store.Type == "dSMS" || c.Store.Type == "other" {
			odd = "" // no vault is meant
		}
		doubt(VaultURI, address(c.Store.URI), "its vault", odd)
	}
	if store, ok := p.words.canonical(Vault, c.Store.Type); ok {
		say(Vault, store, "its type of store")
	}
	say(CertTenant, p.tenantName(c.Store.TenantName), statedAs("vault tenant", c.Store.TenantName))
	p.inferCloud(CertCloud, c.Store.Cloud, statedAs("vault cloud", c.Store.Cloud), say)
	say(SubjectName, clean(c.SubjectName), "its certificate")
	if t, ok := thumbprint(c.Thumbprint); ok {
		say(Thumbprint, t, "its thumbprint")
	}
}

// inferCloud takes a stated cloud. A word for the app's cloud that may mean two
// things is kept as CloudWord instead, so that a person can be asked.
func (p *Policy) inferCloud(name FactName, word, why string, say sayFunc) {
	word = clean(word)
	if cloud, ok := p.words.canonical(name, word); ok {
		say(name, cloud, why)
	} else if means, ok := p.words.ambiguous[key(word)]; ok && name == AppCloud {
		say(CloudWord, word, "it may mean "+means)
	}
}

// tenantName returns a tenant's name as the tables spell it, or as stated.
func (p *Policy) tenantName(word string) string {
	word = clean(word)
	if word == "" {
		return ""
	}
	name, err := p.Canonical(AppTenant, word)
	if err != nil {
		return word
	}
	return name
}

// inferHandoff takes what assist-sg-update passes on (seed 000, "Cert-Move
// Option for SG Scenarios"). What was confirmed there is not asked again.
func (p *Policy) inferHandoff(h Handoff, f Facts) Facts {
	from := clean(h.From)
	if from == "" {
		return f
	}
	hand := func(name FactName, value, why string) {
		f = f.With(Fact{Name: name, Value: value, From: FromHandoff, Why: why})
	}
	hand(HandedOff, from, "the violation was handed over by "+from)
	switch h.Option {
	case 1:
		hand(Option, "update-sg", from+" chose its option 1: update the security group")
	case 2:
		hand(Option, "move-cert", from+" chose its option 2: move the certificate")
	}
	by := "confirmed before " + from + " handed it over"
	if who := clean(h.ConfirmedBy); who != "" {
		by = "confirmed by " + who + " before " + from + " handed it over"
	}
	for _, name := range slices.Sorted(maps.Keys(h.Confirmed)) {
		fact, ok := handedFacts[key(name)]
		if !ok || fact == Option && h.Option != 0 {
			continue
		}
		if value, err := p.Canonical(fact, h.Confirmed[name]); err == nil {
			hand(fact, value, by)
		} else if fact == AppCloud && p.words.ambiguous[key(h.Confirmed[name])] != "" {
			hand(CloudWord, clean(h.Confirmed[name]), "it may mean "+p.words.ambiguous[key(h.Confirmed[name])])
		}
	}
	return f
}

// handedFacts are the names, as keys, under which a hand-over may confirm facts.
// Its "cloud" is the app's. A target tenant is left out, because the 1P table is
// not looked up by it.
var handedFacts = map[string]FactName{
	"violation": Violated, "title": Violated, "violationtitle": Violated,
	"party": PartyFact, "option": Option, "plane": Plane,
	"apptenant": AppTenant,
	"sgowner":   SGOwner, "sgownertenant": SGOwner, "app.sgownertenant": SGOwner,
	"cloud": AppCloud, "appcloud": AppCloud, "app.cloud": AppCloud,
	"appid": AppID, "appname": AppName, "appdisplayname": AppName, "displayname": AppName,
	"vaulturi": VaultURI, "store": Vault, "certcloud": CertCloud, "certtenant": CertTenant,
	"subjectname": SubjectName, "thumbprint": Thumbprint,
}

// inferTenantIDs names the tenants whose ids the deployment knows.
func (p *Policy) inferTenantIDs(v Violation, f Facts) Facts {
	name := func(fact FactName, id, what string) {
		id = strings.ToLower(clean(id))
		if entry, ok := p.tenants[id]; ok {
			f = f.With(Fact{Name: fact, Value: entry.Name, From: FromInference, Why: fmt.Sprintf("%s %s is %s in the tenant map", what, id, entry.describe())})
		}
	}
	name(AppTenant, v.App.TenantID, "the app's tenant id")
	name(CertTenant, v.Cred.Store.TenantID, "the vault's tenant id")
	return f
}

func (e TenantEntry) describe() string {
	if e.NonProd {
		return e.Name + ", a non-production tenant,"
	}
	return e.Name
}

// named returns the tenant map's entry for a name.
func (p *Policy) named(name string) (TenantEntry, bool) {
	entry, ok := p.byName[name]
	return entry, ok
}

// derive returns the claims that accept takes, in the tables' spelling, together
// with what follows from them. Deriving twice gives the same as deriving once, and
// a claim derived again replaces the one derived before, so that it follows when
// the fact it came from is changed.
func (p *Policy) derive(f Facts) Facts {
	out := make(Facts, 0, len(f)+6)
	for _, c := range f {
		if c.Name == PartyFact && (c.From == FromTitle || c.From == FromInference) {
			continue // made anew, if it still follows
		}
		if value, ok := p.accept(c.Name, c.Value); ok {
			c.Value = value
			out = append(out, c)
		}
	}
	infer := func(name FactName, value string, from Source, why string) {
		claim := Fact{Name: name, Value: value, From: from, Why: why}
		i := slices.IndexFunc(out, func(o Fact) bool { return o.Name == name && o.From == from })
		if i >= 0 {
			out[i] = claim
		} else {
			out = append(out, claim)
		}
	}
	if title, ok := out.Get(Violated); ok && saysFirstParty(title.Value) {
		infer(PartyFact, string(FirstParty), FromTitle, "the title says 1P")
	}
	if by, ok := out.Get(HandedOff); ok {
		if _, said := out.Claim(PartyFact, FromHandoff); !said {
			infer(PartyFact, string(FirstParty), FromHandoff, by.Value+" hands over first-party apps only")
		}
	}
	p.deriveOwner(out, infer)
	p.deriveClouds(out, infer)
	return out
}

// accept returns a fact's value as the tables spell it, and false for a value
// that the fact cannot have. Whoever reads words typed by people uses Canonical or
// Match, which can tell them so.
func (p *Policy) accept(name FactName, value string) (string, bool) {
	switch name {
	case PartyFact, AppCloud, CertCloud, Option, Plane, Vault:
		if name == CertCloud {
			name = AppCloud
		}
		if slices.Contains(p.words.values[name], value) {
			return value, true
		}
		return p.words.canonical(name, value)
	case AppTenant, SGOwner, CertTenant:
		if _, ok := p.tables.byTenant[value]; ok {
			return value, true
		}
		return p.tenantName(value), true
	case AppID, OwnerOrg:
		return value, isGUID(value)
	case Thumbprint:
		if _, ok := thumbprint(value); !ok {
			return "", false
		}
	}
	return value, value != ""
}

type inferFunc = func(name FactName, value string, from Source, why string)

// deriveOwner infers the party and the app's tenant from the organisation that
// owns the app.
func (p *Policy) deriveOwner(f Facts, infer inferFunc) {
	org := f.Value(OwnerOrg)
	if org == "" {
		return
	}
	if p.firstPartyOwners[org] {
		infer(PartyFact, string(FirstParty), FromInference, "the app belongs to organisation "+org+", which owns Microsoft's first-party apps")
	}
	if entry, ok := p.tenants[org]; ok {
		if _, said := f.Claim(AppTenant, FromInference); !said {
			infer(AppTenant, entry.Name, FromInference, fmt.Sprintf("the app's owner organisation %s is %s in the tenant map", org, entry.describe()))
		}
	}
}

// deriveClouds infers clouds from addresses and tenants. The vault says where the
// certificate is and the authority where the app is; neither says anything about
// the other.
func (p *Policy) deriveClouds(f Facts, infer inferFunc) {
	if entry, ok := p.named(f.Value(CertTenant)); ok {
		infer(CertCloud, string(entry.Cloud), FromInference, fmt.Sprintf("the vault's tenant %s is in %s", entry.Name, entry.Cloud))
	}
	if h, ok := p.findHost(hostOf(f.Value(VaultURI))); ok && h.isVault() {
		infer(CertCloud, string(h.cloud), FromInference, h.why("vault's host"))
		if h.kind == hostVault {
			infer(Vault, "KV", FromInference, "the address is a Key Vault's")
		}
	}
	if h, ok := p.findHost(hostOf(f.Value(AppAuthor))); ok && h.isAuthority() {
		infer(AppCloud, string(h.cloud), FromInference, h.why("app's "+string(h.kind)+" host"))
	}
}
