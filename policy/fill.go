package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fill returns the playbook for a way out with its blanks filled in from the
// facts. It is an error when there is no such playbook, when it needs a policy
// row and path has none, or when nothing is known to fill in a blank, which the
// error names.
func (p *Policy) Fill(path FixPath, f Facts) (Remediation, error) {
	c := &course{p: p, f: p.derive(f)}
	c.classify()
	c.hand = path.Scenario == TenantMismatch && path.Option == "A" && (c.hand || c.d.Scenario == SGMismatch)
	return p.fill(path, c.values(path))
}

// A blank is a {name} in a playbook's text. It is an index into blanks, which
// describes it, and into values.fill, which has its value.
type blank int

const (
	noBlank blank = iota
	blankApp
	blankAppID
	blankCloud
	blankEnvironment
	blankTenant
	blankSettings
	blankIssuer
	blankVaults
	blankOwner
	blankOldCert
	blankOldVault
	blankThumbprint
	blankSubject
	blankStore
	blankParty
	blankCount
)

// A blankDef describes a blank.
type blankDef struct {
	name    string    // in the playbooks
	outside bool      // its value may hold text from outside
	need    condition // it has a value when this holds; the zero condition means always
}

var (
	needRow = condition{onRow, "yes"}
	blanks  = [blankCount]blankDef{
		blankApp:         {name: "app", outside: true},
		blankAppID:       {name: "app-id", outside: true, need: condition{onAppID, "known"}},
		blankCloud:       {name: "cloud", need: needRow},       // as the table spells it
		blankEnvironment: {name: "environment", need: needRow}, // as the table spells it
		blankTenant:      {name: "tenant", need: needRow},      // the row's, which may not be the SG owner's
		blankSettings:    {name: "settings", need: needRow},    // the whole cell, as the table spells it
		blankIssuer:      {name: "issuer", need: needRow},
		blankVaults:      {name: "vaults", need: needRow},
		blankOwner:       {name: "sg-owner", need: condition{onOwnerDiffers, "yes"}}, // then a name of the table
		blankOldCert:     {name: "old-cert"},
		blankOldVault:    {name: "old-vault", outside: true, need: condition{onVault, "known"}},
		blankThumbprint:  {name: "thumbprint", outside: true, need: condition{onThumbprint, "known"}},
		blankSubject:     {name: "subject", outside: true, need: condition{onSubject, "known"}},
		blankStore:       {name: "store"},
		blankParty:       {name: "party", need: condition{onParty, "1P|3P"}},
	}
)

func blankNames() string {
	var out []string
	for _, b := range blanks[1:] {
		out = append(out, "{"+b.name+"}")
	}
	return strings.Join(out, ", ")
}

// values are what a playbook is filled in with.
type values struct {
	state [conditionCount]string // the value of each condition's subject
	fill  [blankCount]string     // the value of each blank
	err   error                  // names the first blank that had no value

	// Every text that render returns is a part of spans, and all words that had
	// blanks are parts of said: one allocation each serves a whole playbook.
	spans Text
	said  strings.Builder
}

// values collects what is known.
func (c *course) values(path FixPath) *values {
	v := &values{}
	known := func(o on, b blank, name FactName) {
		v.state[o] = "unknown"
		if value := c.f.Value(name); value != "" {
			v.state[o], v.fill[b] = "known", value
		}
	}
	known(onSubject, blankSubject, SubjectName)
	known(onAppID, blankAppID, AppID)
	known(onThumbprint, blankThumbprint, Thumbprint)
	known(onVault, blankOldVault, VaultURI)
	v.fill[blankApp] = c.appWords()
	v.state[onParty] = cmp.Or(string(path.Party), "unknown")
	v.fill[blankParty] = string(path.Party)
	v.state[onOption] = path.Option
	v.state[onStore] = cmp.Or(c.f.Value(Vault), "unknown")
	v.fill[blankStore] = storeWords[v.state[onStore]]
	v.state[onHandoff], v.fill[blankOldCert] = yesNo(c.hand), "non-prod certificate"
	if c.hand || path.Scenario != TenantMismatch {
		v.fill[blankOldCert] = "old certificate"
	}
	v.state[onSource] = "other"
	if strings.EqualFold(c.f.Value(FoundBy), "s360") {
		v.state[onSource] = "s360"
	}
	v.state[onGoverned] = yesNo(path.Row != nil || c.governed())
	title, _ := c.p.titles.find(c.f.Value(Violated))
	v.state[onExpired] = yesNo(title.Class == classExpired)
	c.rowValues(v, path.Row)
	return v
}

var storeWords = map[string]string{"KV": "Key Vault", "dSMS": "dSMS folder", "unknown": "Key Vault or dSMS folder"}

// governed reports whether the policy says who may issue the certificate, even
// where the facts lead to no row: it does when a table has the app's tenant or
// the SG owner, and also when the SG owner is an invalid one.
func (c *course) governed() bool {
	owner := c.f.Value(SGOwner)
	_, listed := c.p.tables.byTenant[c.f.Value(AppTenant)]
	_, invalid := c.p.invalidSGOwner(owner)
	return listed || invalid || len(c.p.tables.cloudsOf(owner)) > 0
}

func (c *course) rowValues(v *values, row *Row) {
	v.state[onRow], v.state[onOwnerDiffers] = yesNo(row != nil), "no"
	if row == nil {
		return
	}
	v.fill[blankTenant], v.fill[blankSettings], v.fill[blankIssuer], v.fill[blankVaults] = row.Tenant, row.AsWritten, row.Issuer, row.Vaults
	v.fill[blankCloud], v.fill[blankEnvironment] = row.cells()
	if owner := c.f.Value(SGOwner); row.Table == FirstParty && owner != "" && owner != row.Tenant {
		v.state[onOwnerDiffers], v.fill[blankOwner] = "yes", owner
	}
}

// cells returns the cloud and the environment as the table spells them.
func (r *Row) cells() (cloud, environment string) {
	if r.Table == ThirdParty {
		cloud, environment, _ = strings.Cut(r.AsWritten, ", ")
		return cloud, environment
	}
	cloud, rest, _ := strings.Cut(r.AsWritten, " + ")
	environment, _, _ = strings.Cut(rest, " + ")
	return cloud, environment
}

// appWords names the app by what is known of it.
func (c *course) appWords() string {
	name, id := c.f.Value(AppName), c.f.Value(AppID)
	switch {
	case name != "" && id != "":
		return name + " (" + id + ")"
	case name+id != "":
		return name + id
	}
	return "the app"
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// Room for the spans, and for the bytes of words with blanks, that most playbooks
// stay under.
const (
	manySpans = 160
	manyWords = 2 << 10
)

// fill makes a remediation of the playbook for a way out.
func (p *Policy) fill(path FixPath, v *values) (Remediation, error) {
	b := p.playbook(path.Scenario, path.Party, path.Option)
	if b == nil || b.redirect {
		return Remediation{}, fmt.Errorf("there is no playbook for %s, party %s, option %s", path.Scenario, path.Party, path.Option)
	}
	if b.settings == rowRequired && path.Row == nil {
		return Remediation{}, fmt.Errorf("playbook %s needs a policy row and has none", b.id)
	}
	v.spans = make(Text, 0, manySpans)
	v.said.Grow(manyWords)
	r := Remediation{
		Playbook: b.id, Title: b.title.line(v), Threat: b.threat.line(v),
		Settings: settings(path.Row, v), Requirements: p.requirements, Links: links(b.links, v),
		Steps: make([]Step, 0, len(b.steps)), Warnings: make([]Text, 0, len(b.warnings)),
	}
	for _, w := range b.warnings {
		if text := w.render(v); len(text) > 0 {
			r.Warnings = append(r.Warnings, text)
		}
	}
	for i := range b.steps {
		s := &b.steps[i]
		if !s.when.hold(v) {
			continue
		}
		r.Steps = append(r.Steps, Step{
			ID: s.id, Title: s.title.line(v), Text: s.body.render(v),
			Gate: s.gate, Links: links(s.links, v), Source: s.source,
		})
	}
	return r, v.err
}

// say fills in the section with an id, of a playbook whose sections are things to
// say. It is an error when there is no such section, or a blank has no value.
func (b *playbook) say(id string, v *values) (Text, error) {
	if b != nil {
		for i := range b.steps {
			if b.steps[i].id == id {
				return b.steps[i].body.render(v), v.err
			}
		}
	}
	return nil, fmt.Errorf("the policy says nothing about %s", id)
}

// settings returns what to enter in OneCert, as the row's table spells it.
func settings(row *Row, v *values) []Setting {
	if row == nil {
		return nil
	}
	var out []Setting
	if row.Table == ThirdParty {
		cloud, environment := row.cells()
		out = append(out, Setting{"OneCert cloud", cloud}, Setting{"OneCert environment", environment})
	} else {
		out = append(out, Setting{"OneCert cloud, environment and tenant", row.AsWritten})
	}
	tenant := row.Tenant
	if v.state[onOwnerDiffers] == "yes" {
		tenant += " (policy row; SG owner is " + v.fill[blankOwner] + ")"
	}
	return append(out, Setting{"Target tenant", tenant}, Setting{"Private Issuer", row.Issuer},
		Setting{"Allowed vaults", row.Vaults}, Setting{"Certificate may exist on corp devices", row.CorpDevices})
}

// line renders a template as one line of text, as for a heading.
func (t template) line(v *values) string {
	if len(t) == 1 && len(t[0].when) == 0 && len(t[0].spans) == 1 {
		return v.words(t[0].spans[0].parts)
	}
	return t.render(v).String()
}

// links returns the links that have an address and whose conditions hold.
func links(defs []*linkDef, v *values) []Link {
	var out []Link
	for _, d := range defs {
		if d.URL != "" && d.when.hold(v) {
			if out == nil {
				out = make([]Link, 0, len(defs))
			}
			out = append(out, d.Link)
		}
	}
	return out
}

// render returns the spans of the pieces whose conditions hold, with their blanks
// filled in.
func (t template) render(v *values) Text {
	n := 0
	for i := range t {
		n += len(t[i].spans) + 1
	}
	if cap(v.spans) < n {
		v.spans = make(Text, 0, n)
	}
	out := v.spans[:0]
	group := 0
	for i := range t {
		p := &t[i]
		if !p.when.hold(v) {
			continue
		}
		joined := p.group == group
		switch {
		case joined:
			out = append(out, Span{Kind: Plain, Text: " "})
		case p.kind == Bullet:
			out = append(out, Span{Kind: Bullet})
		case p.kind == Break && len(out) > 0:
			out = append(out, Span{Kind: Break})
		}
		group = p.group
		for j := range p.spans {
			out = append(out, p.spans[j].render(v))
		}
	}
	v.spans = out[len(out):]
	return slices.Clip(out)
}

func (s *blankSpan) render(v *values) Span {
	out := Span{Kind: s.kind, Text: v.words(s.parts)}
	if s.link != nil {
		out.URL = s.link.URL
		if out.URL == "" { // the link says in words where to look
			out.Kind = Plain
			out.Text += " (" + s.link.where + ")"
		}
	}
	return out
}

// words joins parts. A blank that has no value is noted in v.err.
func (v *values) words(parts []part) string {
	if len(parts) == 1 && parts[0].blank == noBlank {
		return parts[0].words
	}
	from := v.said.Len()
	for _, p := range parts {
		words := p.words
		if p.blank != noBlank {
			words = v.fill[p.blank]
			if words == "" && v.err == nil {
				v.err = fmt.Errorf("nothing is known to fill in {%s}", blanks[p.blank].name)
			}
		}
		v.said.WriteString(words)
	}
	return v.said.String()[from:]
}
