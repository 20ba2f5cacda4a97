package policy

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// A playbook is a file of playbooks/: the steps of one way out, with blanks that
// are filled in from facts. It never changes after loading.
type playbook struct {
	file      string
	id        string
	scenario  Scenario
	party     Party    // "" for either
	option    string   // "" where there is only one way
	title     template // may name the row's tenant
	label     string   // as a choice
	hint      template // may name the row's tenant
	suggested bool
	threat    template // exactly one of its pieces holds, whatever is known
	settings  rowUse   // whether a policy row fills in the blanks
	redirect  bool     // its sections are things to say, not steps to take
	warnings  []template
	steps     []stepTemplate
	links     []*linkDef
}

// rowUse is whether a playbook needs a policy row.
type rowUse string

const (
	rowRequired rowUse = "required"
	rowOptional rowUse = "optional"
	rowUnused   rowUse = "none"
)

// A stepTemplate is a section of a playbook.
type stepTemplate struct {
	line    int // of its heading
	id      string
	title   template
	body    template
	when    conditions // it is there only when they hold
	source  string     // where the rule comes from
	gate    bool
	untrust bool   // it takes trust away, so a gate must come before it
	shared  string // the name of its text in steps/, which several playbooks use; "" when its text is here
	links   []*linkDef
}

// A linkDef is a row of links.csv.
type linkDef struct {
	Link
	where string     // where to look, in words, when there is no address
	when  conditions // it is shown only when they hold
}

func playbookKey(s Scenario, party Party, option string) string {
	return string(s) + "/" + string(party) + "/" + option
}

// playbook returns the playbook for a way out: the party's own, else the one for
// either party, else nil.
func (p *Policy) playbook(s Scenario, party Party, option string) *playbook {
	if b, ok := p.playbooks[playbookKey(s, party, option)]; ok {
		return b
	}
	return p.playbooks[playbookKey(s, "", option)]
}

// ways are the ways out that must have a playbook (seeds 000, 001 and 002).
var ways = []FixPath{
	{Scenario: TenantMismatch, Party: ThirdParty, Option: "A"},
	{Scenario: TenantMismatch, Party: ThirdParty, Option: "B"},
	{Scenario: TenantMismatch, Party: FirstParty, Option: "A"},
	{Scenario: TenantMismatch, Party: FirstParty, Option: "B"},
	{Scenario: CloudMismatch, Party: ThirdParty, Option: "1"},
	{Scenario: CloudMismatch, Party: FirstParty, Option: "1"},
	{Scenario: CloudMismatch, Party: ThirdParty, Option: "2"},
	{Scenario: CloudMismatch, Party: FirstParty, Option: "2"},
	{Scenario: CloudMismatch, Option: "3"},
	{Scenario: SecretsOnly},
	{Scenario: Rotation},
}

// loadPlaybooks reads playbooks/*.md and checks that there is one for every way.
func (l *loader) loadPlaybooks() {
	l.p.playbooks = map[string]*playbook{}
	ids := map[string]string{}
	for _, file := range sortedFiles(l.p.files, "playbooks/") {
		content, ok := l.text(file)
		if !ok {
			continue
		}
		b := l.parsePlaybook(file, string(content))
		if other, twice := ids[b.id]; twice && b.id != "" {
			l.wrong(file, 1, fmt.Sprintf("id %q is already that of %s", b.id, other), "give each playbook an id of its own")
		}
		ids[b.id] = file
		k := playbookKey(b.scenario, b.party, b.option)
		if other, twice := l.p.playbooks[k]; twice {
			l.wrong(file, 1, fmt.Sprintf("%s is already there for scenario %q, party %q, option %q", other.file, b.scenario, b.party, b.option), "change one of the two")
			continue
		}
		l.p.playbooks[k] = b
	}
	for _, way := range ways {
		if l.p.playbook(way.Scenario, way.Party, way.Option) == nil {
			l.wrong("playbooks", 1, fmt.Sprintf("there is no playbook for scenario %q, party %q, option %q", way.Scenario, way.Party, way.Option), "put these three in the front matter of the playbook that is for it")
		}
	}
}

// parsePlaybook reads a playbook. It is Markdown of a small kind:
//
//	---
//	id: tenant-mismatch-3p-a
//	scenario: tenant-mismatch
//	party: 3P                       leave out for either
//	option: A                       leave out where there is only one way
//	title: Move the certificate to the production tenant
//	label: Option A — …             how it is offered; begins with the option
//	hint: …                         at most 75 characters; may have blanks
//	suggested: true                 offered first
//	settings: required              required, optional or none: is a policy row filled in?
//	threat: what an attacker could do, in one sentence; or several, each
//	threat: when handoff=yes: …     for one case, all cases together
//	links: onecert, sdp             keys of links.csv
//	redirect: true                  the sections are what to say, not steps
//	---
//	> A warning about the whole.
//
//	## step-id: Title
//	source: where the rule comes from
//	links: kv-template              the step's own
//	gate: true                      nothing after it may be done until it is shown
//	untrusts: true                  it takes trust away; a gate must stand before it
//	when: party=1P                  the step is there only then
//	text: prove-unused              its text is steps/prove-unused.md, see sharedText
//
//	A paragraph with {blanks}, **stress**, `code` and [links](link:sdp).
//	when store=KV: This sentence is there for a Key Vault only.
//	- a bullet
//
// Lines that follow each other are one paragraph. A block between ``` fences is
// shown as it is, blanks filled in; a line "when …:" with nothing behind it
// stands for the block below it.
func (l *loader) parsePlaybook(file, content string) *playbook {
	b := &playbook{file: file, settings: rowUnused}
	r := &playbookReader{l: l, b: b, file: file, lines: linesOf(content)}
	r.frontMatter()
	r.sections()
	r.check()
	return b
}

// linesOf splits a file into lines, whichever way they end.
func linesOf(content string) []string {
	return strings.Split(strings.ReplaceAll(content, "\r\n", "\n"), "\n")
}

// A playbookReader is the state of one parsePlaybook.
type playbookReader struct {
	l     *loader
	b     *playbook
	file  string
	lines []string
	n     int // the line being read, counted from 0

	// These are parsed after the rest of the front matter, which says what may
	// stand in them.
	title, hint, threat []numbered
}

func (r *playbookReader) wrong(line int, what, fix string) { r.l.wrong(r.file, line, what, fix) }

func (r *playbookReader) frontMatter() {
	if len(r.lines) == 0 || strings.TrimSpace(r.lines[0]) != "---" {
		r.wrong(1, "there is no front matter", "begin the file with --- and end the front matter with ---")
		return
	}
	seen := map[string]bool{}
	for r.n = 1; r.n < len(r.lines); r.n++ {
		line := strings.TrimSpace(r.lines[r.n])
		if line == "---" {
			r.n++
			r.required(seen)
			return
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			r.wrong(r.n+1, fmt.Sprintf("%q is not name: value", line), "write one name: value a line")
			continue
		}
		if seen[name] && name != "threat" && name != "hint" {
			r.wrong(r.n+1, fmt.Sprintf("%q is there twice", name), "remove one of the lines")
		}
		seen[name] = true
		r.meta(name, strings.TrimSpace(value))
	}
	r.wrong(1, "the front matter does not end", "close it with a line ---")
}

// meta takes one line of the front matter.
func (r *playbookReader) meta(name, value string) {
	b, line := r.b, r.n+1
	switch name {
	case "id":
		b.id = value
	case "scenario":
		b.scenario = Scenario(value)
	case "party":
		b.party = Party(value)
		if b.party != FirstParty && b.party != ThirdParty {
			r.wrong(line, fmt.Sprintf("unknown party %q", value), "write 1P or 3P, or leave the line out for either")
		}
	case "option":
		b.option = value
	case "title":
		r.title = append(r.title, numbered{line, value})
	case "label":
		b.label = value
	case "hint":
		r.hint = append(r.hint, numbered{line, value})
	case "suggested":
		b.suggested = r.yes(value)
	case "threat":
		r.threat = append(r.threat, numbered{line, value})
	case "settings":
		b.settings = rowUse(value)
		if !slices.Contains([]rowUse{rowRequired, rowOptional, rowUnused}, b.settings) {
			r.wrong(line, fmt.Sprintf("unknown settings %q", value), "write required, optional or none")
		}
	case "redirect":
		b.redirect = r.yes(value)
	case "links":
		b.links = r.links(value)
	default:
		r.wrong(line, fmt.Sprintf("unknown name %q", name), "the names are id, scenario, party, option, title, label, hint, suggested, settings, threat, links, redirect")
	}
}

// required checks the front matter as a whole.
func (r *playbookReader) required(seen map[string]bool) {
	need := []string{"id", "scenario", "title", "threat"}
	if seen["option"] {
		need = append(need, "label")
	}
	for _, name := range need {
		if !seen[name] {
			r.wrong(1, fmt.Sprintf("the front matter has no %q", name), "add a line "+name+": …")
		}
	}
	b := r.b
	b.title = r.template(r.title, nil)
	b.hint = r.template(r.hint, nil)
	b.threat = r.template(r.threat, nil)
	r.oneOfEach("threat", r.threat, b.threat)
	if len(b.hint) > 0 {
		r.oneOfEach("hint", r.hint, b.hint)
		r.hintFits()
	}
	if b.option != "" && b.label != "" && b.label != "Option "+b.option && !strings.HasPrefix(b.label, "Option "+b.option+" — ") {
		r.wrong(1, fmt.Sprintf("label %q does not begin with its option", b.label), "begin it with “Option "+b.option+" — ”")
	}
	if utf8.RuneCountInString(b.label) > 75 {
		r.wrong(1, "the label is longer than 75 characters", "shorten it; a button holds no more")
	}
}

// oneOfEach checks that exactly one of the lines holds, whatever is known: either
// there is one line without a condition, or the lines are all on the same
// condition and share its values among them.
func (r *playbookReader) oneOfEach(name string, lines []numbered, t template) {
	if len(t) == 0 || len(t) == 1 && len(t[0].when) == 0 {
		return
	}
	const fix = "give one line without a condition, or one for each case: when handoff=yes: … and when handoff=no: …"
	var covered []string
	for i, p := range t {
		if len(p.when) != 1 || p.when[0].on != t[0].when[0].on {
			r.wrong(lines[i].n, fmt.Sprintf("the lines %q are not on one condition each, all on the same", name), fix)
			return
		}
		covered = append(covered, strings.Split(p.when[0].is, "|")...)
	}
	slices.Sort(covered)
	if !slices.Equal(covered, slices.Sorted(slices.Values(conditionValues[t[0].when[0].on]))) {
		r.wrong(lines[0].n, fmt.Sprintf("the lines %q do not cover every case once", name), fix)
	}
}

// hintFits checks a hint's length under every row that may fill it in.
func (r *playbookReader) hintFits() {
	p := r.l.p
	for _, row := range slices.Concat(p.tables.first, p.tables.third) {
		if r.b.party != "" && r.b.party != row.Table {
			continue
		}
		for owner := range strings.SplitSeq(row.Key, " / ") {
			c := &course{p: p, f: Facts{{Name: SGOwner, Value: owner, From: FromAnswer}}}
			v := c.values(FixPath{Scenario: r.b.scenario, Party: row.Table, Option: r.b.option, Row: &row})
			if hint := r.b.hint.line(v); utf8.RuneCountInString(hint) > 75 {
				r.wrong(r.hint[0].n, fmt.Sprintf("the hint is longer than 75 characters: “%s”", hint), "shorten it")
				return
			}
		}
	}
}

// sections reads warnings and steps.
func (r *playbookReader) sections() {
	var body []numbered
	var step *stepTemplate
	finish := func() {
		if step != nil {
			if step.shared != "" {
				step.body = r.sharedText(step, body)
			} else {
				step.body = r.template(body, step.when)
			}
			r.b.steps = append(r.b.steps, *step)
		}
		body = nil
	}
	for ; r.n < len(r.lines); r.n++ {
		line := r.lines[r.n]
		switch {
		case strings.HasPrefix(line, "## "):
			finish()
			step = r.heading(strings.TrimPrefix(line, "## "))
		case step == nil && strings.HasPrefix(line, "> "):
			text := []numbered{{r.n + 1, strings.TrimPrefix(line, "> ")}}
			r.b.warnings = append(r.b.warnings, r.template(text, nil))
		case step == nil && strings.TrimSpace(line) != "":
			r.wrong(r.n+1, "there is text before the first step", "begin a warning with > , or a step with ## step-id: Title")
		case step != nil && len(body) == 0 && r.stepMeta(step, line):
		case step != nil:
			body = append(body, numbered{r.n + 1, line})
		}
	}
	finish()
}

// heading reads "step-id: Title".
func (r *playbookReader) heading(text string) *stepTemplate {
	step := &stepTemplate{line: r.n + 1}
	id, title, ok := strings.Cut(text, ": ")
	if !ok || strings.ContainsFunc(id, func(c rune) bool { return c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') }) || id == "" {
		r.wrong(step.line, fmt.Sprintf("heading %q cannot be read", text), "write ## step-id: Title, the id in small letters, digits and dashes")
	}
	step.id = id
	step.title = r.template([]numbered{{step.line, strings.TrimSpace(title)}}, nil)
	return step
}

// stepMeta takes one line of a step's meta data ("gate: true"), or an empty line
// among them. It reports false for a line that begins the step's text.
func (r *playbookReader) stepMeta(step *stepTemplate, line string) bool {
	name, value, ok := strings.Cut(strings.TrimSpace(line), ":")
	value = strings.TrimSpace(value)
	switch {
	case strings.TrimSpace(line) == "":
	case !ok:
		return false
	case name == "source":
		step.source = value
	case name == "gate":
		step.gate = r.yes(value)
	case name == "untrusts":
		step.untrust = r.yes(value)
	case name == "links":
		step.links = r.links(value)
	case name == "text":
		step.shared = value
	case name == "when":
		step.when = r.l.conditions(r.file, r.n+1, value)
		r.canHold(r.n+1, step.when)
	default:
		return false
	}
	return true
}

// sharedText reads the text of a step from its file in steps/. own is the text
// below the step in the playbook, of which there must be none then.
func (r *playbookReader) sharedText(step *stepTemplate, own []numbered) template {
	file := "steps/" + step.shared + ".md"
	if _, ok := r.l.p.files[file]; !ok {
		r.wrong(step.line, fmt.Sprintf("there is no %s for step %q", file, step.id), "write one of "+strings.Join(sortedFiles(r.l.p.files, "steps/"), ", ")+", without steps/ and .md, or write the text below the step")
		return nil
	}
	if len(own) > 0 {
		r.wrong(step.line, fmt.Sprintf("step %q has a text here and in %s", step.id, file), "take out one of the two")
	}
	content, ok := r.l.text(file)
	if !ok {
		return nil
	}
	var lines []numbered
	for i, line := range linesOf(string(content)) {
		lines = append(lines, numbered{i + 1, line})
	}
	there := playbookReader{l: r.l, b: r.b, file: file} // so that errors name the shared file
	return there.template(lines, step.when)
}

func (r *playbookReader) yes(value string) bool {
	if value != "true" {
		r.wrong(r.n+1, fmt.Sprintf("%q is not true", value), "write true, or leave the line out")
	}
	return value == "true"
}

func (r *playbookReader) links(value string) []*linkDef {
	var out []*linkDef
	for name := range strings.SplitSeq(value, ",") {
		name = strings.TrimSpace(name)
		link, ok := r.l.p.links[name]
		if !ok {
			r.wrong(r.n+1, fmt.Sprintf("unknown link key %q", name), "add it to links.csv, or correct it")
			continue
		}
		out = append(out, link)
	}
	return out
}

// takesAway are beginnings of step ids. A step whose id begins like this takes
// trust away and must say so ("untrusts: true"), so that forgetting it is noticed.
var takesAway = []string{"revoke", "remove", "disable", "delete", "untrust"}

// check looks at the playbook as a whole.
func (r *playbookReader) check() {
	b := r.b
	if len(b.steps) == 0 {
		r.wrong(1, "there are no steps", "write each as ## step-id: Title")
	}
	seen := map[string]int{}
	gated := false
	for _, s := range b.steps {
		if line, twice := seen[s.id]; twice {
			r.wrong(s.line, fmt.Sprintf("step id %q is already there on line %d", s.id, line), "give each step an id of its own")
		}
		seen[s.id] = s.line
		if len(s.body) == 0 {
			r.wrong(s.line, fmt.Sprintf("step %q has no text", s.id), "say what to do")
		}
		if b.redirect {
			continue
		}
		if s.source == "" {
			r.wrong(s.line, fmt.Sprintf("step %q has no source", s.id), "add a line source: saying where the rule comes from")
		}
		if !s.untrust && slices.ContainsFunc(takesAway, func(word string) bool { return strings.HasPrefix(s.id, word) }) {
			r.wrong(s.line, fmt.Sprintf("step %q takes trust away but is not marked", s.id), "add a line untrusts: true")
		}
		if s.untrust && !gated {
			r.wrong(s.line, fmt.Sprintf("step %q takes trust away and no gate stands before it", s.id), "put a step with gate: true before it, one that is always there")
		}
		gated = gated || s.gate && len(s.when) == 0
	}
	if b.redirect && b.scenario == CloudMismatch {
		for _, id := range []string{"data-flow", "control-plane"} {
			if seen[id] == 0 {
				r.wrong(1, fmt.Sprintf("there is no section %q", id), "write ## "+id+": Title and what to say")
			}
		}
	}
}

// loadLinks reads links.csv.
func (l *loader) loadLinks() {
	const file = "links.csv"
	l.p.links = map[string]*linkDef{}
	lines := map[string]int{}
	for _, r := range l.records(file, "key", "title", "url", "when") {
		name, title, url := r.cells["key"], r.cells["title"], r.cells["url"]
		switch {
		case name == "" || title == "" || url == "":
			l.wrong(file, r.line, "a cell is empty", "fill in key, title and url; only when may be empty")
			continue
		case lines[name] > 0:
			l.wrong(file, r.line, fmt.Sprintf("link key %q is already there on line %d", name, lines[name]), "remove one of the lines")
			continue
		}
		lines[name] = r.line
		def := &linkDef{Link: Link{Title: title}, when: l.conditions(file, r.line, r.cells["when"])}
		switch {
		case strings.HasPrefix(url, "https://"), strings.HasPrefix(url, "http://"):
			if hostOf(url) == "" || strings.ContainsAny(url, " <>|\"`") {
				l.wrong(file, r.line, fmt.Sprintf("%q is not an address", url), "write a whole http(s) address without spaces, or say in words where to look")
			}
			def.URL = url
		case strings.Contains(url, "://"), strings.Contains(url, "javascript:"), strings.Contains(url, "data:"):
			l.wrong(file, r.line, fmt.Sprintf("%q is neither http nor https", url), "write an http(s) address, or say in words where to look")
		default:
			def.where = url
		}
		l.p.links[name] = def
	}
}

// loadRequirements reads requirements.md: a heading and a text each.
func (l *loader) loadRequirements() {
	const file = "requirements.md"
	content, ok := l.text(file)
	if !ok {
		return
	}
	r := &playbookReader{l: l, b: &playbook{settings: rowUnused}, file: file}
	var title string
	var body []numbered
	line := 0
	finish := func() {
		if title == "" {
			return
		}
		text := r.template(body, nil).render(&values{})
		if len(text) == 0 {
			l.wrong(file, line, fmt.Sprintf("requirement %q has no text", title), "say what is required")
		}
		l.p.requirements = append(l.p.requirements, Requirement{Title: title, Text: text})
	}
	for i, text := range linesOf(string(content)) {
		if heading, ok := strings.CutPrefix(text, "## "); ok {
			finish()
			title, body, line = strings.TrimSpace(heading), nil, i+1
		} else if title != "" {
			body = append(body, numbered{i + 1, text})
		}
	}
	finish()
	if len(l.p.requirements) == 0 {
		l.wrong(file, 1, "there are no requirements", "write each as ## Title with a text below")
	}
}
