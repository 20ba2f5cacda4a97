package policy

import "slices"

// A FactName names one thing that can be known about a violation. The first
// seven can be asked for. The next ones are only ever stated, read from an alert,
// inferred, or looked up; the last two are kept because a decision depends on them.
type FactName string

const (
	Violated  FactName = "violation"       // the violation's title, as a row of the title table has it
	PartyFact FactName = "party"           // 1P or 3P
	AppTenant FactName = "app_tenant"      // a tenant name of the 3P table, or any other word as stated
	SGOwner   FactName = "sg_owner_tenant" // a tenant name of the 1P table, or any other word as stated
	AppCloud  FactName = "app_cloud"       // Public, Mooncake, Fairfax
	Option    FactName = "option"          // A, B, 1, 2, 3, move-cert, update-sg
	Plane     FactName = "plane"           // data-flow, control-plane

	AppID       FactName = "app_id"    // lower-case GUID
	AppName     FactName = "app_name"  // display name, untrusted text
	AppAuthor   FactName = "authority" // the app's login or Graph host
	OwnerOrg    FactName = "app_owner_organization_id"
	CertCloud   FactName = "cert_cloud"   // where the private key lives: Public, Mooncake, Fairfax
	CertTenant  FactName = "cert_tenant"  // name of the tenant the vault belongs to
	VaultURI    FactName = "vault_uri"    // as given
	Vault       FactName = "store"        // KV or dSMS
	SubjectName FactName = "subject_name" // the certificate's subject, untrusted text
	Thumbprint  FactName = "thumbprint"   // upper-case hex
	FoundBy     FactName = "source"       // s360, key-vault, slack, …: which feed found it
	DueDate     FactName = "due"          // RFC 3339

	HandedOff FactName = "handoff"    // who handed the violation over: assist-sg-update
	CloudWord FactName = "cloud_word" // a stated cloud that may mean two things, as stated; never taken for a cloud
)

// Source says where a fact came from. The order of precedence is answer,
// handoff, title, alert, directory, inferred: an explicit word of a person
// always wins, and what was merely derived yields. Two facts differ, by the
// domain's rule (answer > hand-in > title token > owner-tenant id > the rest):
// the party that follows from the owner's organisation counts more than the one
// that a feed states, and the owner's organisation is the directory's to say
// before a feed's.
type Source string

const (
	FromAnswer    Source = "answer"
	FromHandoff   Source = "handoff"
	FromTitle     Source = "title"
	FromAlert     Source = "alert"
	FromDirectory Source = "directory"
	FromInference Source = "inferred"
)

// precedence lists sources, strongest first.
var precedence = []Source{FromAnswer, FromHandoff, FromTitle, FromAlert, FromDirectory, FromInference}

// precedenceOf has the facts for which the order is another one.
var precedenceOf = map[FactName][]Source{
	PartyFact: {FromAnswer, FromHandoff, FromTitle, FromInference, FromAlert, FromDirectory},
	OwnerOrg:  {FromAnswer, FromHandoff, FromTitle, FromDirectory, FromAlert, FromInference},
}

// rank returns the place of a source among those of a fact, 0 for the strongest,
// and -1 for an unknown one.
func rank(name FactName, from Source) int {
	order, ok := precedenceOf[name]
	if !ok {
		order = precedence
	}
	return slices.Index(order, from)
}

// A Fact is one claim: a name, its canonical value, who claims it and why.
type Fact struct {
	Name  FactName `json:"name"`
	Value string   `json:"value"`
	From  Source   `json:"from"`
	Why   string   `json:"why"` // one sentence a person can check, e.g. "the vault host ends in .vault.azure.cn"

	// Doubt says what is odd about a value that an alert gave, which is why nothing
	// was inferred from it: "not a Key Vault host". It is "" for nothing.
	Doubt string `json:"doubt,omitempty"`
}

// Facts are all claims made so far, at most one for each name and source.
// Claims that lose to a stronger source stay, so that taking an answer back
// brings the weaker claim to the front again. The zero value is ready to use.
// Facts are values: With and Without return a new set and leave the old one alone.
type Facts []Fact

// Get returns the strongest claim for name.
func (f Facts) Get(name FactName) (Fact, bool) {
	best, strongest := -1, len(precedence)
	for i := range f {
		if f[i].Name != name {
			continue
		}
		if r := rank(name, f[i].From); r >= 0 && r < strongest {
			best, strongest = i, r
		}
	}
	if best < 0 {
		return Fact{}, false
	}
	return f[best], true
}

// Value returns the strongest claim's value for name, or "".
func (f Facts) Value(name FactName) string {
	got, _ := f.Get(name)
	return got.Value
}

// Claim returns what one source says about name.
func (f Facts) Claim(name FactName, from Source) (Fact, bool) {
	for i := range f {
		if f[i].Name == name && f[i].From == from {
			return f[i], true
		}
	}
	return Fact{}, false
}

// With returns the facts with each claim added, replacing an earlier claim of
// the same name and source. Claims without a value are ignored.
func (f Facts) With(claims ...Fact) Facts {
	out := slices.Clone(f)
	for _, c := range claims {
		if c.Value == "" {
			continue
		}
		i := slices.IndexFunc(out, func(o Fact) bool { return o.Name == c.Name && o.From == c.From })
		if i >= 0 {
			out[i] = c
		} else {
			out = append(out, c)
		}
	}
	return out
}

// Without returns the facts without what from says about name.
func (f Facts) Without(name FactName, from Source) Facts {
	return slices.DeleteFunc(slices.Clone(f), func(c Fact) bool { return c.Name == name && c.From == from })
}

// Best returns the strongest claim for every name, in the order the names were
// first claimed.
func (f Facts) Best() []Fact {
	out := make([]Fact, 0, len(f))
	for i, c := range f {
		if slices.ContainsFunc(f[:i], func(o Fact) bool { return o.Name == c.Name }) {
			continue
		}
		best, _ := f.Get(c.Name)
		out = append(out, best)
	}
	return out
}

// Words returns what people call the fact.
func (n FactName) Words() string {
	if words, ok := factWords[n]; ok {
		return words
	}
	return string(n)
}

// inOrder sorts facts in place by factOrder and returns them.
func inOrder(facts []Fact) []Fact {
	slices.SortStableFunc(facts, func(a, b Fact) int { return slices.Index(factOrder, a.Name) - slices.Index(factOrder, b.Name) })
	return facts
}

// factOrder is the order in which facts are shown: those that decide come first.
var factOrder = []FactName{
	Violated, HandedOff, PartyFact, AppTenant, SGOwner, AppCloud, Option, Plane, AppName, AppID, OwnerOrg, AppAuthor,
	CertTenant, CertCloud, Vault, VaultURI, SubjectName, Thumbprint, CloudWord, FoundBy, DueDate,
}

var factWords = map[FactName]string{
	Violated: "violation", PartyFact: "party", AppTenant: "app tenant", SGOwner: "SG owner tenant", AppCloud: "app cloud",
	Option: "option", Plane: "plane", AppID: "app id", AppName: "app", AppAuthor: "authority", OwnerOrg: "owner organisation",
	CertCloud: "certificate cloud", CertTenant: "certificate tenant", VaultURI: "vault", Vault: "store", SubjectName: "subject name",
	Thumbprint: "thumbprint", FoundBy: "found by", DueDate: "due", HandedOff: "handed over by", CloudWord: "unclear cloud",
}

// how says where a fact came from, for people: "from the alert: its title".
func (f Fact) how() string {
	words := sourceWords[f.From]
	if f.Why == "" {
		return words
	}
	return words + ": " + f.Why
}

var sourceWords = map[Source]string{
	FromAnswer: "answered", FromHandoff: "handed over", FromTitle: "from the title", FromAlert: "from the alert",
	FromDirectory: "from the directory", FromInference: "inferred",
}
