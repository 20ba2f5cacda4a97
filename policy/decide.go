package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Decide says what is to be done about a violation of which these facts are
// known. It is total: any set of facts has one of the outcomes, and where a
// fact is missing or two contradict each other, Decision.Need asks for exactly
// one. now only serves to tell whether the policy is old.
//
// The steps are those of seed 000's decision tree, each of which may end it:
// what kind of violation it is (Classify), which way out and which row of which
// table (Choose), and the playbook with its blanks filled in (Fill).
func (p *Policy) Decide(f Facts, now time.Time) Decision {
	c := &course{p: p, f: p.derive(f)}
	if c.classify() && c.choose() {
		c.fill()
	}
	c.warn()
	c.noteCloud()
	d := c.d
	d.Facts, d.Policy = inOrder(c.f.Best()), p.Version(now)
	if d.Remediation != nil {
		d.Remediation.Policy = d.Policy
	}
	return d
}

// Next returns the one thing that must be known next, if any.
func (p *Policy) Next(f Facts) (Need, bool) {
	c := &course{p: p, f: p.derive(f)}
	if c.classify() {
		c.choose()
	}
	if c.d.Need == nil {
		return Need{}, false
	}
	return *c.d.Need, true
}

// NeedFor returns the question that would be asked if nothing were known about a
// fact, not even by inference, and whether it would be asked at all. It lets a
// person change a fact that nobody was asked for.
func (p *Policy) NeedFor(name FactName, f Facts) (Need, bool) {
	rest := slices.DeleteFunc(p.derive(f), func(f Fact) bool { return f.Name == name })
	c := &course{p: p, f: rest}
	if c.classify() {
		c.choose()
	}
	if c.d.Need == nil || c.d.Need.Fact != name {
		return Need{}, false
	}
	return *c.d.Need, true
}

// Classify says which scenario the facts make, and why; "" when the title is
// missing, out of scope, or another guide's.
func (p *Policy) Classify(f Facts) (Scenario, []string) {
	c := &course{p: p, f: p.derive(f)}
	c.classify()
	return c.d.Scenario, c.d.Reasons
}

// A FixPath is a way out of a violation: which playbook, and the row it is
// filled in from.
type FixPath struct {
	Scenario Scenario
	Party    Party  // "" where it makes no difference
	Option   string // A, B, 1, 2; "" where there is only one way
	Row      *Row   // nil where no OneCert settings are needed
}

// Choose returns the way out that the facts lead to, and the reasons; ok is
// false when they lead to a question or out of the playbooks.
func (p *Policy) Choose(f Facts) (path FixPath, reasons []string, ok bool) {
	c := &course{p: p, f: p.derive(f)}
	ok = c.classify() && c.choose()
	return c.path, c.d.Reasons, ok
}

// A course is a decision in the making. Its steps return whether to go on;
// a step that returns false has set the outcome.
type course struct {
	p    *Policy
	f    Facts // with what can be derived from them
	d    Decision
	path FixPath
	hand bool // the certificate moves to correct a security group mismatch
}

func (c *course) because(format string, args ...any) {
	c.d.Reasons = append(c.d.Reasons, fmt.Sprintf(format, args...))
}

func (c *course) warning(t Text) { c.d.Warnings = append(c.d.Warnings, t) }

// end sets the outcome and stops the course.
func (c *course) end(o Outcome, summary Text) bool {
	c.d.Outcome, c.d.Summary = o, summary
	return false
}

// ask stops the course with a question.
func (c *course) ask(o Outcome, n Need) bool {
	c.d.Need = &n
	return c.end(o, Say(n.Prompt))
}

// classify is step 1 of the decision tree: is it ours, and what is it? What was
// handed over is a security group mismatch, unless a person has said since that
// it is something else.
func (c *course) classify() bool {
	title, stated := c.f.Get(Violated)
	row, known := c.p.titles.find(title.Value)
	if by, ok := c.f.Get(HandedOff); ok && !c.overridesHandOver(title, row) {
		c.because("%s handed it over, so it is a security group mismatch of a 1P app.", by.Value)
		return c.side()
	}
	if !stated {
		return c.askTitle()
	}
	if !known {
		return c.outOfScope(title)
	}
	c.because("The title is “%s” (%s).", row.Text, title.how())
	c.d.Scenario = row.Scenario
	switch row.Class {
	case classTenant:
		c.d.Scenario = TenantMismatch
	case classCloud:
		c.d.Scenario = CloudMismatch
	case classSecrets:
		c.d.Scenario = SecretsOnly
	case classRotation, classExpired:
		c.d.Scenario = Rotation
	case classSG:
		return c.side()
	default:
		return c.redirectTitle(row)
	}
	return true
}

// overridesHandOver reports whether a person has said that a violation which
// was handed over is something else: by another title, or, for a tenant
// mismatch, by choosing one of its own ways out. The title of a tenant mismatch
// alone does not say so, because a hand-over is worked as one.
func (c *course) overridesHandOver(title Fact, row Title) bool {
	if title.From != FromAnswer || row.Class == classSG {
		return false
	}
	option, _ := c.f.Claim(Option, FromAnswer)
	return row.Class != classTenant || option.Value == "A" || option.Value == "B"
}

func (c *course) askTitle() bool {
	n := Need{
		Fact:   Violated,
		Prompt: "Which violation is it?",
		Why:    "The title decides which guide applies, and none was given. Choose it as the alert shows it.",
	}
	for _, t := range c.p.titles.rows {
		if t.Offered {
			n.Choices = append(n.Choices, Choice{Value: t.Text, Label: t.Text, Hint: t.Hint})
		}
	}
	return c.ask(Ask, n)
}

func (c *course) outOfScope(title Fact) bool {
	c.because("No row of the title table has “%s”; titles count only whole, never by their beginning.", title.Value)
	t := Text{{Kind: Value, Text: title.Value}, {Kind: Plain, Text: " is not a cert-rehoming violation, nor another title that I have steps for. Is it one of these, in other words?"}}
	for _, row := range c.p.titles.rows {
		if row.Offered {
			t = append(t, Span{Kind: Bullet}, Span{Kind: Plain, Text: row.Text})
		}
	}
	return c.end(OutOfScope, t)
}

func (c *course) redirectTitle(row Title) bool {
	c.d.Redirect = string(row.Class)
	c.because("The title table gives this title to %s.", row.Class)
	return c.end(Redirect, Text{
		{Kind: Plain, Text: "This is not a cert-rehoming violation but " + row.Hint + ". Go to "},
		{Kind: Bold, Text: string(row.Class)},
		{Kind: Plain, Text: " with the title and the app id; nothing has to be moved from here."},
	})
}

// side decides a security group mismatch: the group can be corrected, which
// assist-sg-update does, or the certificate can be moved, which we do.
func (c *course) side() bool {
	c.d.Scenario = SGMismatch
	c.settleFirstParty()
	side, from, ok := c.option(sideOf)
	switch {
	case !ok:
		return c.ask(Ask, Need{
			Fact:   Option,
			Prompt: "Update the security group, or move the certificate?",
			Why:    "The certificate and the app's security group are in two tenants, and either can be brought to the other." + c.known(CertTenant, SGOwner),
			Choices: []Choice{
				{Value: "move-cert", Label: "Move the certificate", Hint: "The group's owner is right, the certificate is in the wrong tenant"},
				{Value: "update-sg", Label: "Update the security group", Hint: "The certificate is right; assist-sg-update corrects the group"},
			},
		})
	case side == "update-sg":
		c.d.Redirect = assistSG
		c.because("The security group is to be updated (%s).", sourceWords[from])
		return c.end(Redirect, Text{
			{Kind: Plain, Text: "Updating the security group is the work of "}, {Kind: Bold, Text: assistSG},
			{Kind: Plain, Text: " (its option 1). The certificate stays where it is. Take the title, the app id and the intended owner tenant there."},
		})
	}
	c.because("The certificate is to be moved (%s), which is option A of a 1P tenant mismatch.", sourceWords[from])
	c.d.Scenario, c.d.Option, c.hand = TenantMismatch, "A", true
	return true
}

// settleFirstParty makes the app of a security group mismatch a 1P app, since only
// 1P apps have a security group that can mismatch. Claims that it is 3P are left
// aside, with a warning that the violation may be another one.
func (c *course) settleFirstParty() {
	first := Fact{Name: PartyFact, Value: string(FirstParty), From: FromInference, Why: "a security group mismatch is one of a 1P app"}
	var others []Fact
	rest := make(Facts, 0, len(c.f)+1)
	for _, claim := range c.f {
		if claim.Name == PartyFact && claim.Value != first.Value {
			others = append(others, claim)
		} else {
			rest = append(rest, claim)
		}
	}
	if _, said := rest.Get(PartyFact); !said {
		rest = append(rest, first)
	}
	c.f = rest
	said, _ := rest.Get(PartyFact)
	for _, other := range others {
		c.warning(Text{
			{Kind: Plain, Text: "Two sources differ on the party: "}, {Kind: Value, Text: said.Value + " (" + said.how() + ")"},
			{Kind: Plain, Text: " and "}, {Kind: Value, Text: other.Value + " (" + other.how() + ")"},
			{Kind: Plain, Text: ". A security group mismatch is one of a 1P app, so I go by the first; if the app is 3P, change the violation."},
		})
	}
}

// sideOf reads an option as a side of a security group mismatch. 1 and 2 are
// assist-sg-update's own numbers for them.
func sideOf(option string) (string, bool) {
	switch option {
	case "move-cert", "2":
		return "move-cert", true
	case "update-sg", "1":
		return "update-sg", true
	}
	return "", false
}

// option returns the strongest stated option that read accepts. Stronger ones that
// it does not accept, because the violation was changed after they were chosen,
// are left aside, which the reasons say.
func (c *course) option(read func(string) (string, bool)) (value string, from Source, ok bool) {
	for _, source := range precedence {
		claim, stated := c.f.Claim(Option, source)
		if !stated {
			continue
		}
		if value, ok := read(claim.Value); ok {
			return value, source, true
		}
		c.because("Option “%s” (%s) does not belong to this violation and is left aside.", claim.Value, sourceWords[source])
	}
	return "", "", false
}

// among returns a reader for option that accepts the given ones.
func among(options ...string) func(string) (string, bool) {
	return func(option string) (string, bool) { return option, slices.Contains(options, option) }
}

// choose is steps 2 to 4 of the decision tree: the party, the tenant, the
// cloud, the row, and the option. It asks only for what the way out needs.
func (c *course) choose() bool {
	switch c.d.Scenario {
	case TenantMismatch:
		return c.chooseTenantMismatch()
	case CloudMismatch:
		return c.chooseCloudMismatch()
	case SGMismatch, SecretsOnly, Rotation:
	}
	c.path = FixPath{Scenario: c.d.Scenario, Party: Party(c.f.Value(PartyFact)), Row: c.rowIfKnown()}
	c.d.Row = c.path.Row
	return true
}

func (c *course) chooseTenantMismatch() bool {
	option, from, decided := c.d.Option, Source(""), c.hand
	if !decided {
		option, from, decided = c.option(among("A", "B"))
	}
	party, ok := c.party()
	if !ok {
		return false
	}
	if option != "B" {
		if !c.row(party) {
			return false
		}
		if !decided {
			return c.askOption(party, "The row is found; what is left is which side moves. Option A is the one the policy recommends.")
		}
	}
	if !c.hand {
		c.because("Option %s was chosen (%s).", option, sourceWords[from])
	}
	return c.take(party, option)
}

func (c *course) chooseCloudMismatch() bool {
	option, from, decided := c.option(among("1", "2", "3"))
	if option == "3" {
		c.because("Option 3 was chosen (%s).", sourceWords[from])
		return c.crossCloud()
	}
	party, ok := c.party()
	if !ok || !c.row(party) {
		return false
	}
	if !decided {
		return c.askOption(party, "It depends on whether a vault exists in the right cloud, and on whether the app has to work across clouds.")
	}
	c.because("Option %s was chosen (%s).", option, sourceWords[from])
	return c.take(party, option)
}

// take sets the way out.
func (c *course) take(party Party, option string) bool {
	c.path = FixPath{Scenario: c.d.Scenario, Party: party, Option: option}
	c.d.Option = option
	if option == "B" {
		c.d.Row = nil // the certificate stays, so there is nothing to set in OneCert
		c.because("Option B moves the app, so no OneCert settings are needed.")
	}
	c.path.Row = c.d.Row
	return true
}

// party is step 2: the app's party, as the strongest claim has it.
func (c *course) party() (Party, bool) {
	if f, ok := c.f.Get(PartyFact); ok {
		c.because("It is a %s app (%s).", f.Value, f.how())
		return Party(f.Value), true
	}
	why := "The two have different policy tables, and nothing so far says which one applies."
	if c.p.hintOwners[c.f.Value(OwnerOrg)] {
		why = "The app is owned by Microsoft's own tenant, which hints at 1P and does not prove it."
	}
	return "", c.ask(Ask, Need{
		Fact:   PartyFact,
		Prompt: "Is this a first-party (1P) or a third-party (3P) app?",
		Why:    why,
		Choices: []Choice{
			{Value: string(FirstParty), Label: "1P: first-party", Hint: "A Microsoft service, registered as a first-party app"},
			{Value: string(ThirdParty), Label: "3P: third-party", Hint: "Any other app registration, those of internal teams too"},
		},
	})
}

// row is steps 3 and 4: the tenant, the cloud, and the row they have.
func (c *course) row(party Party) bool {
	if party == ThirdParty {
		return c.thirdPartyRow()
	}
	return c.firstPartyRow()
}

// thirdPartyRow looks up the app's tenant, which implies the cloud.
func (c *course) thirdPartyRow() bool {
	tenant, ok := c.f.Get(AppTenant)
	if !ok {
		return c.ask(Ask, Need{
			Fact:    AppTenant,
			Prompt:  "Which tenant is the app registered in?",
			Why:     "The 3P table is looked up by the app's tenant." + c.known(AppCloud),
			Choices: choicesOf(c.p.tables.tenants),
		})
	}
	cloud, _ := c.f.Get(AppCloud)
	row, outcome := c.p.Lookup(ThirdParty, tenant.Value, Cloud(cloud.Value))
	switch outcome {
	case Steps:
		c.because("The 3P table has a row for %s (%s): %s.", tenant.Value, row.File, row.AsWritten)
		c.d.Row = &row
		c.noteCloud()
		return true
	case Conflict:
		return c.conflict(tenant, cloud, row)
	case Ask, NoPolicyRow, Redirect, Refused, OutOfScope:
	}
	c.because("The 3P table has no row for %s.", tenant.Value)
	return c.end(NoPolicyRow, Text{
		{Kind: Plain, Text: "There is no policy row for a 3P app in "}, {Kind: Value, Text: tenant.Value},
		{Kind: Plain, Text: ". The table has " + allOf(c.p.tables.tenants) + ", and another tenant's row is no substitute. If the tenant is right, ask " + c.p.owner + " for a row; if the app does not belong in production, option B may be the way."},
	})
}

// noteCloud adds the app's cloud as an inferred fact where nobody stated it and
// the row implies it: a 3P tenant has one cloud, and so have some SG owners.
func (c *course) noteCloud() {
	row := c.d.Row
	if row == nil {
		return
	}
	if _, known := c.f.Get(AppCloud); known {
		return
	}
	why := "3P apps in " + c.f.Value(AppTenant) + " are in " + string(row.Cloud) + " (3P table)"
	if row.Table == FirstParty {
		why = "SG owner " + c.f.Value(SGOwner) + " has a 1P row for " + string(row.Cloud) + " only"
	}
	c.f = c.f.With(Fact{Name: AppCloud, Value: string(row.Cloud), From: FromInference, Why: why})
}

// conflict asks which of two contradicting facts holds: the tenant, which is in
// row's cloud, or the stated cloud. It asks for the cloud, unless a person has
// answered that already; then it asks for a tenant of the cloud they chose.
func (c *course) conflict(tenant, cloud Fact, row Row) bool {
	c.because("%s is in %s (%s), but the app's cloud is said to be %s (%s).", tenant.Value, row.Cloud, row.File, cloud.Value, cloud.how())
	says := fmt.Sprintf("%s is a %s tenant (3P table), but the app's cloud is said to be %s (%s).", tenant.Value, row.Cloud, cloud.Value, cloud.how())
	n := Need{Fact: AppCloud, Prompt: "Which cloud is the app in?"}
	if cloud.From == FromAnswer {
		n = Need{Fact: AppTenant, Prompt: fmt.Sprintf("Which %s tenant is the app registered in?", cloud.Value)}
		n.Why = fmt.Sprintf("%s Both cannot hold. If %s is right, change the cloud to %s instead.", says, tenant.Value, row.Cloud)
		n.Choices = choicesOf(c.p.tables.tenantsIn(Cloud(cloud.Value)))
	} else {
		n.Why = says + " Both cannot hold."
		n.Choices = []Choice{
			{Value: string(row.Cloud), Label: string(row.Cloud), Hint: "The tenant " + tenant.Value + " is right"},
			{Value: cloud.Value, Label: cloud.Value, Hint: "The tenant " + tenant.Value + " is wrong; I ask for it next"},
		}
	}
	c.d.Need = &n
	return c.end(Conflict, Text{
		{Kind: Plain, Text: "Two facts contradict each other: the app's tenant is "}, {Kind: Value, Text: tenant.Value},
		{Kind: Plain, Text: fmt.Sprintf(" (%s), which is in %s, and the app's cloud is %s (%s). Which one holds?", sourceWords[tenant.From], row.Cloud, cloud.Value, sourceWords[cloud.From])},
	})
}

// firstPartyRow looks up the SG owner's tenant and the app's cloud together.
func (c *course) firstPartyRow() bool {
	owner, ok := c.f.Get(SGOwner)
	if !ok {
		return c.ask(Ask, Need{
			Fact:    SGOwner,
			Prompt:  "Which tenant owns the app's security group?",
			Why:     "The 1P table is looked up by the SG owner's tenant and the app's cloud." + c.known(AppCloud),
			Choices: choicesOf(c.p.tables.owners),
		})
	}
	if wrong, ok := c.p.invalidSGOwner(owner.Value); ok {
		return c.invalidOwner(wrong)
	}
	clouds := c.p.tables.cloudsOf(owner.Value)
	if len(clouds) == 0 {
		return c.noFirstPartyRow(owner.Value, Cloud(c.f.Value(AppCloud)), clouds)
	}
	cloud, ok := c.cloud(owner.Value, clouds)
	if !ok {
		return false
	}
	row, outcome := c.p.Lookup(FirstParty, owner.Value, cloud)
	if outcome != Steps {
		return c.noFirstPartyRow(owner.Value, cloud, clouds)
	}
	c.because("The 1P table has a row for SG owner %s in %s (%s): %s.", owner.Value, cloud, row.File, row.AsWritten)
	if row.Tenant != owner.Value {
		c.because("Target tenant: %s (policy row; SG owner is %s).", row.Tenant, owner.Value)
	}
	c.d.Row = &row
	return true
}

// cloud returns the 1P app's cloud. Where it is not stated and the SG owner has
// rows for one cloud only, a tenant mismatch takes that one. A cloud mismatch asks
// with that one suggested, because there the cloud is what is in dispute.
func (c *course) cloud(owner string, clouds []Cloud) (Cloud, bool) {
	if cloud, ok := c.f.Get(AppCloud); ok {
		if vault, known := c.f.Get(CertCloud); known && cloud.From == FromHandoff && vault.Value != cloud.Value {
			return "", c.confirmCloud(owner, clouds, cloud, vault)
		}
		c.because("The app's cloud is %s (%s).", cloud.Value, cloud.how())
		return Cloud(cloud.Value), true
	}
	suggested := Cloud("")
	why := ""
	if len(clouds) == 1 {
		suggested = clouds[0]
		why = fmt.Sprintf("SG owner %s has a 1P row for %s only", owner, suggested)
		if c.d.Scenario == TenantMismatch {
			c.f = c.f.With(Fact{Name: AppCloud, Value: string(suggested), From: FromInference, Why: why})
			c.because("The app's cloud is %s: %s.", suggested, why)
			return suggested, true
		}
	} else if home, ok := c.p.named(c.f.Value(AppTenant)); ok {
		suggested = home.Cloud
		why = fmt.Sprintf("The app's home tenant %s is in %s, which suggests its cloud and does not prove it", home.Name, home.Cloud)
	}
	if why != "" {
		why = " " + why + "."
	}
	n := Need{
		Fact:   AppCloud,
		Prompt: "Which cloud does the app run in?",
		Why:    "The 1P table is looked up by the SG owner's tenant and the app's cloud. The vault's cloud does not say which it is." + why,
	}
	n.Choices = cloudChoices(owner, clouds, suggested)
	return "", c.ask(Ask, n)
}

// cloudChoices offers every cloud, and says where an owner has no row.
func cloudChoices(owner string, clouds []Cloud, suggested Cloud) []Choice {
	var out []Choice
	for _, cloud := range []Cloud{Public, Mooncake, Fairfax} {
		choice := Choice{Value: string(cloud), Label: string(cloud), Suggested: cloud == suggested}
		if !slices.Contains(clouds, cloud) {
			choice.Hint = "SG owner " + owner + " has no policy row here"
		}
		out = append(out, choice)
	}
	return suggestedFirst(out)
}

// confirmCloud asks about a cloud that was handed over when the vault is in
// another one. A hand-over says "cloud" without saying whose: it may have meant
// the vault's or the app's, and the row depends on the app's.
func (c *course) confirmCloud(owner string, clouds []Cloud, handed, vault Fact) bool {
	c.because("The cloud that was handed over is %s (%s), and the certificate is in %s (%s).", handed.Value, handed.how(), vault.Value, vault.how())
	c.d.Need = &Need{
		Fact:    AppCloud,
		Prompt:  "Which cloud does the app run in?",
		Why:     fmt.Sprintf("The hand-over says %s without saying whose cloud that is, and the vault is in %s. The row depends on the app's.", handed.Value, vault.Value),
		Choices: cloudChoices(owner, clouds, Cloud(handed.Value)),
	}
	return c.end(Conflict, Say(fmt.Sprintf("The cloud that was handed over is %s, but the certificate's vault is in %s. Which cloud does the app run in?", handed.Value, vault.Value)))
}

func (c *course) invalidOwner(owner string) bool {
	c.d.Redirect = assistSG
	if c.hand { // it stays what it was: nothing is moved
		c.d.Scenario, c.d.Option = SGMismatch, ""
	}
	c.because("%s is not a valid SG owner, so there is no tenant to move the certificate to yet.", owner)
	return c.end(Redirect, Text{
		{Kind: Plain, Text: "The security group's owner is " + owner + ", which is an invalid SG owner: no policy row can say where the certificate belongs. Correct the group first with "},
		{Kind: Bold, Text: assistSG},
		{Kind: Plain, Text: ", then come back with the new owner's tenant."},
	})
}

func (c *course) noFirstPartyRow(owner string, cloud Cloud, clouds []Cloud) bool {
	t := Text{{Kind: Plain, Text: "There is no policy row for a 1P app with SG owner "}, {Kind: Value, Text: owner}}
	if cloud != "" {
		t = append(t, Span{Kind: Plain, Text: " in " + string(cloud)})
	}
	var next string
	switch {
	case len(clouds) > 0:
		next = fmt.Sprintf(" For SG owner %s the table has %s.", owner, allOf(clouds))
	default:
		next = " The table has the owners " + allOf(c.p.tables.owners) + "."
	}
	if cloud == "" {
		c.because("The 1P table has no row for SG owner %s in any cloud.", owner)
	} else {
		c.because("The 1P table has no row for SG owner %s in %s.", owner, cloud)
	}
	t = append(t, Span{Kind: Plain, Text: "." + next + " Another row is no substitute: check the owner and the cloud, and if both are right, ask " + c.p.owner + " for a row."})
	return c.end(NoPolicyRow, t)
}

// askOption asks for the way out, once everything it could need is known.
func (c *course) askOption(party Party, why string) bool {
	n := Need{Fact: Option, Prompt: "Which way out?", Why: why + c.known(CertTenant, CertCloud, AppCloud)}
	v := c.values(FixPath{Scenario: c.d.Scenario, Party: party, Row: c.d.Row})
	for _, option := range conditionValues[onOption] {
		if b := c.p.playbook(c.d.Scenario, party, option); b != nil {
			n.Choices = append(n.Choices, Choice{Value: option, Label: b.label, Hint: b.hint.line(v), Suggested: b.suggested})
		}
	}
	n.Choices = suggestedFirst(n.Choices)
	return c.ask(Ask, n)
}

// crossCloud is option 3: an app that has to work across clouds. Data flows
// may, by federation, which another guide sets up; control planes may not.
func (c *course) crossCloud() bool {
	c.d.Option = "3"
	b := c.p.playbook(CloudMismatch, "", "3")
	need := Need{
		Fact:   Plane,
		Prompt: "What crosses the clouds: a data flow, or control plane operations?",
		Why:    "Cross-cloud sign-in is approved for data-flow scenarios only." + c.known(CertCloud, AppCloud),
		Choices: []Choice{
			{Value: "data-flow", Label: "Data flow", Hint: "Data moves between clouds, e.g. replication"},
			{Value: "control-plane", Label: "Control plane", Hint: "Resources in one cloud are managed from another"},
		},
	}
	plane, ok := c.f.Get(Plane)
	if !ok {
		return c.ask(Ask, need)
	}
	c.because("What crosses the clouds is %s (%s).", plane.Value, sourceWords[plane.From])
	text, err := b.say(plane.Value, c.values(FixPath{Scenario: CloudMismatch, Option: "3"}))
	if err != nil { // unreachable: derive drops planes that are none, and loading checks that each has its section
		need.Why = err.Error()
		return c.ask(Ask, need)
	}
	if plane.Value == "control-plane" {
		return c.end(Refused, text)
	}
	c.d.Redirect = guideAdvanced
	return c.end(Redirect, text)
}

// rowIfKnown returns the row for a playbook that does not need one, or nil.
// Replacing a secret or an expiring certificate needs no move, but where there is
// a row its issuer is the one to use. It asks for nothing; where the facts lead to
// no row, warnNoRow says why.
func (c *course) rowIfKnown() *Row {
	row, outcome := c.lookup(Party(c.f.Value(PartyFact)))
	if outcome != Steps {
		return nil
	}
	if row.Table == FirstParty && c.f.Value(AppCloud) == "" {
		c.because("The app's cloud is %s: SG owner %s has a 1P row for %s only.", row.Cloud, c.f.Value(SGOwner), row.Cloud)
	}
	c.because("A policy row is known (%s), so its issuer applies: %s.", row.File, row.AsWritten)
	return &row
}

// lookup is Policy.Lookup with the facts as they are. It returns Ask when too
// little is known, and Redirect when the SG owner is an invalid one.
func (c *course) lookup(party Party) (Row, Outcome) {
	tenant := c.f.Value(SGOwner)
	if party == ThirdParty {
		tenant = c.f.Value(AppTenant)
	}
	if _, invalid := c.p.invalidSGOwner(tenant); invalid && party == FirstParty {
		return Row{}, Redirect
	}
	if party == "" || tenant == "" {
		return Row{}, Ask
	}
	return c.p.Lookup(party, tenant, Cloud(c.f.Value(AppCloud)))
}

func (c *course) fill() {
	r, err := c.p.fill(c.path, c.values(c.path))
	if err != nil { // unreachable: loading checks that no blank can stay open
		c.d.Outcome, c.d.Summary = OutOfScope, Say("The playbook cannot be filled in: "+err.Error()+". Tell "+c.p.owner+".")
		return
	}
	c.d.Outcome, c.d.Remediation = Steps, &r
	summary := Text{{Kind: Plain, Text: kindOf(c.d.Scenario, c.path.Party) + c.optionWords() + ": "}, {Kind: Bold, Text: r.Title}, {Kind: Plain, Text: "."}}
	if row := c.d.Row; row != nil {
		summary = append(summary, Span{Kind: Plain, Text: " OneCert settings: "}, Span{Kind: Bold, Text: row.AsWritten},
			Span{Kind: Plain, Text: "; Private Issuer: " + row.Issuer + "."})
	}
	c.d.Summary = summary
}

func (c *course) optionWords() string {
	if c.d.Option == "" {
		return ""
	}
	return ", option " + c.d.Option
}

func kindOf(s Scenario, party Party) string {
	words := map[Scenario]string{TenantMismatch: "Tenant mismatch", CloudMismatch: "Cloud mismatch", SecretsOnly: "Secrets only", Rotation: "Credential rotation"}[s]
	if party != "" {
		words += " of a " + string(party) + " app"
	}
	return words
}

// choicesOf offers names as they are.
func choicesOf(names []string) []Choice {
	out := make([]Choice, len(names))
	for i, name := range names {
		out[i] = Choice{Value: name, Label: name}
	}
	return out
}

// known returns " Known: …", a sentence with those of the facts that are known,
// or "" when none is. It is added to the reason why a question is asked.
func (c *course) known(names ...FactName) string {
	var parts []string
	for _, name := range names {
		if f, ok := c.f.Get(name); ok {
			parts = append(parts, fmt.Sprintf("%s %s (%s)", name.Words(), f.Value, sourceWords[f.From]))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " Known: " + strings.Join(parts, "; ") + "."
}

func suggestedFirst(choices []Choice) []Choice {
	slices.SortStableFunc(choices, func(a, b Choice) int {
		switch {
		case a.Suggested == b.Suggested:
			return 0
		case a.Suggested:
			return -1
		}
		return 1
	})
	return choices
}

// allOf joins words as "a, b and c".
func allOf[S ~string](words []S) string {
	plain := make([]string, len(words))
	for i, w := range words {
		plain[i] = string(w)
	}
	if len(plain) < 2 {
		return strings.Join(plain, "")
	}
	return strings.Join(plain[:len(plain)-1], ", ") + " and " + plain[len(plain)-1]
}
