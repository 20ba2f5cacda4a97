package policy

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Title is one row of the title table: a violation title and whose it is.
type Title struct {
	Text     string // as its source writes it
	Class    Class
	Scenario Scenario // "" for a title that is none of our scenarios
	Offered  bool     // shown as a choice when nobody gave a title
	Hint     string   // one line about it
}

// A Class is what a title calls for: one of our scenarios, or the guide that owns
// the title.
type Class string

const (
	classTenant   Class = "tenant-mismatch"
	classCloud    Class = "cloud-mismatch"
	classSG       Class = "sg-mismatch"
	classSecrets  Class = "secrets-only"
	classRotation Class = "rotation"
	classExpired  Class = "rotation-expired" // the credential has expired already
)

// The guides that own what we do not.
const (
	guideAdvanced = "guide-advanced-remediation"
	assistSG      = "assist-sg-update"
)

// A titleTable finds titles by their exact normalised text (seed 000, decision
// tree step 1). A title is never found by its beginning: two of the redirects
// begin with the whole title of a scenario.
type titleTable struct {
	rows  []Title
	byKey map[string]int
}

func (t *titleTable) find(title string) (Title, bool) {
	i, ok := t.byKey[key(title)]
	if !ok {
		return Title{}, false
	}
	return t.rows[i], true
}

// Titles returns the title table in its order.
func (p *Policy) Titles() []Title { return slices.Clone(p.titles.rows) }

// saysFirstParty reports whether a title says 1P: as a word of its own, or as
// the beginning of "1pApp". "11P", "1PM" and "v1p" do not.
func saysFirstParty(title string) bool {
	for w := range strings.FieldsFuncSeq(title, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		if strings.EqualFold(w, "1p") || strings.EqualFold(w, "1pApp") || strings.EqualFold(w, "1pApps") {
			return true
		}
	}
	return false
}

// maxOffered is how many options a Slack select takes (block_elements, options).
const maxOffered = 100

// loadTitles reads titles.csv.
func (l *loader) loadTitles() {
	const file = "titles.csv"
	classes := []Class{classTenant, classCloud, classSG, classSecrets, classRotation, classExpired, guideAdvanced, assistSG}
	scenarios := []string{string(TenantMismatch), string(CloudMismatch), string(SGMismatch), string(SecretsOnly), string(Rotation)}
	t := &l.p.titles
	t.byKey = map[string]int{}
	lines := map[string]int{}
	offered := 0
	for _, r := range l.records(file, "title", "class", "scenario", "offer", "hint") {
		title := Title{Text: r.cells["title"], Class: Class(r.cells["class"]), Scenario: Scenario(r.cells["scenario"]), Offered: r.cells["offer"] == "yes", Hint: r.cells["hint"]}
		k := key(title.Text)
		switch {
		case k == "":
			l.wrong(file, r.line, "the title is empty", "write the violation's title as its source does")
		case lines[k] > 0:
			l.wrong(file, r.line, fmt.Sprintf("title %q is already there on line %d", title.Text, lines[k]), "remove one of the lines; case, spacing and dashes make no difference")
		case !slices.Contains(classes, title.Class):
			l.wrong(file, r.line, fmt.Sprintf("unknown class %q", title.Class), "the classes are "+allOf(classes))
		case title.Scenario != "" && !slices.Contains(scenarios, string(title.Scenario)):
			l.wrong(file, r.line, fmt.Sprintf("unknown scenario %q", title.Scenario), "leave it empty or write "+oneOf(scenarios))
		case title.Offered && len(title.Text) > 75:
			l.wrong(file, r.line, "the title is longer than 75 bytes and cannot be offered as a choice", "write no in the column offer; it is still recognised")
		case utf8.RuneCountInString(title.Hint) > 75 && title.Offered:
			l.wrong(file, r.line, "the hint is longer than 75 characters", "shorten it")
		case title.Offered && offered == maxOffered:
			l.wrong(file, r.line, fmt.Sprintf("more than %d titles are offered, and a select holds no more", maxOffered), "write no in the column offer of some; they are still recognised")
		default:
			if title.Offered {
				offered++
			}
			lines[k] = r.line
			t.byKey[k] = len(t.rows)
			t.rows = append(t.rows, title)
			l.p.words.alias(Violated, title.Text, title.Text)
			l.p.words.values[Violated] = append(l.p.words.values[Violated], title.Text)
		}
	}
	if len(t.rows) > 0 && !slices.ContainsFunc(t.rows, func(t Title) bool { return t.Offered }) {
		l.wrong(file, 1, "no title is offered", "write yes in the column offer of the titles people may choose from")
	}
}
