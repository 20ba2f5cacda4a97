package policy

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Markdown returns the whole decision as CommonMark with tables: what was
// decided and why, what it was decided from, and for a remediation every
// setting, step, warning and requirement. Text from outside is escaped, so that
// it can neither link nor format.
func (d Decision) Markdown() string {
	m := &markdown{}
	m.b.Grow(16 << 10)
	m.heading(d)
	m.text("", d.Summary)
	m.line("")
	if d.Need != nil {
		m.need(*d.Need)
	}
	m.bulletTexts("Heads-up", d.Warnings)
	if d.Remediation != nil {
		m.remediation(*d.Remediation)
	}
	m.facts(d.Facts)
	m.reasons(d.Reasons)
	m.policy(d.Policy)
	return m.b.String()
}

// Markdown returns the text as Markdown, one paragraph or bullet a line.
func (t Text) Markdown() string {
	m := &markdown{}
	m.text("", t)
	return m.b.String()
}

// A markdown is Markdown in the making.
type markdown struct{ b strings.Builder }

func (m *markdown) line(parts ...string) {
	for _, p := range parts {
		m.b.WriteString(p)
	}
	m.b.WriteByte('\n')
}

func (m *markdown) section(title string) { m.line("\n## ", title, "\n") }

var outcomeWords = map[Outcome]string{
	Ask: "One question first", Conflict: "Two facts contradict each other", NoPolicyRow: "No policy row",
	Redirect: "Another guide owns this", Refused: "Not permitted", OutOfScope: "Out of scope",
}

func (m *markdown) heading(d Decision) {
	title := outcomeWords[d.Outcome]
	if r := d.Remediation; r != nil {
		title = r.Title
		if d.Option != "" {
			title = "Option " + d.Option + " — " + title
		}
	}
	m.line("# ", title, "\n")
}

func (m *markdown) need(n Need) {
	m.b.WriteByte('\n')
	escape(&m.b, n.Why, true)
	m.b.WriteString("\n\n")
	for _, c := range n.Choices {
		m.b.WriteString("- ")
		m.bold(c.Label)
		if c.Suggested {
			m.b.WriteString(" (suggested)")
		}
		if c.Hint != "" {
			m.b.WriteString(": ")
			escape(&m.b, c.Hint, false)
		}
		if c.Value != c.Label {
			m.b.WriteString(" → ")
			m.code(c.Value)
		}
		m.b.WriteByte('\n')
	}
}

func (m *markdown) remediation(r Remediation) {
	m.section("Threat")
	escape(&m.b, r.Threat, true)
	m.b.WriteByte('\n')
	if len(r.Settings) > 0 {
		m.section("OneCert settings")
		m.line("| Setting | Value |\n| --- | --- |")
		for _, s := range r.Settings {
			m.line("| ", cell(s.Name), " | ", cell(s.Value), " |")
		}
	}
	m.bulletTexts("Before you begin", r.Warnings)
	m.section("Steps")
	for i, s := range r.Steps {
		m.step(i+1, s)
	}
	m.section("Requirements")
	for _, req := range r.Requirements {
		m.b.WriteString("- ")
		m.bold(req.Title)
		m.b.WriteString(": ")
		m.text("  ", req.Text)
		m.b.WriteByte('\n')
	}
	if len(r.Links) > 0 {
		m.section("Links")
		for _, l := range r.Links {
			m.b.WriteString("- ")
			m.link(l.Title, l.URL)
			m.b.WriteByte('\n')
		}
	}
}

func (m *markdown) step(n int, s Step) {
	number := strconv.Itoa(n) + ". "
	indent := "    "[:len(number)]
	m.b.WriteString(number)
	m.bold(s.Title)
	if s.Gate {
		m.b.WriteString(" 🔒 **GATE: nothing below before this is shown**")
	}
	m.text(indent, append(Text{{Kind: Break}}, s.Text...))
	between := "\n\n" + indent // a paragraph after a bullet or a block needs an empty line
	if endsInParagraph(s.Text) {
		between = hardBreak + indent
	}
	if len(s.Links) > 0 {
		m.b.WriteString(between + "See ")
		for i, l := range s.Links {
			if i > 0 {
				m.b.WriteString(" · ")
			}
			m.link(l.Title, l.URL)
		}
		between = hardBreak + indent
	}
	if s.Source != "" {
		m.b.WriteString(between + "*Source: ")
		escape(&m.b, s.Source, false)
		m.b.WriteByte('*')
	}
	m.b.WriteString("\n\n")
}

// A hardBreak ends a line inside a paragraph. It also stands between the
// paragraphs of a list item, because a renderer for terminals (glamour) joins
// those without even a space.
const hardBreak = "  \n"

// endsInParagraph reports whether the last line of a text is neither a bullet
// nor a block.
func endsInParagraph(t Text) bool {
	for i, s := range slices.Backward(t) {
		switch s.Kind {
		case Break:
			return true
		case Bullet:
			return false
		case Block:
			return i < len(t)-1
		case Plain, Bold, Code, Linked, Value, Who:
		}
	}
	return true
}

func (m *markdown) bulletTexts(title string, texts []Text) {
	if len(texts) == 0 {
		return
	}
	m.section(title)
	for _, t := range texts {
		m.b.WriteString("- ⚠️ ")
		m.text("  ", t)
		m.b.WriteByte('\n')
	}
}

func (m *markdown) facts(facts []Fact) {
	if len(facts) == 0 {
		return
	}
	m.section("What this is based on")
	for _, f := range facts {
		m.b.WriteString("- ")
		m.bold(f.Name.Words())
		m.b.WriteString(": ")
		switch f.Name {
		case AppID, OwnerOrg, AppAuthor, VaultURI, SubjectName, Thumbprint: // to be copied
			m.code(f.Value)
		default:
			escape(&m.b, f.Value, false)
		}
		m.b.WriteString(" (")
		escape(&m.b, f.how(), false)
		m.b.WriteString(")\n")
	}
}

func (m *markdown) reasons(reasons []string) {
	if len(reasons) == 0 {
		return
	}
	m.section("How it was decided")
	for _, r := range reasons {
		m.b.WriteString("- ")
		escape(&m.b, r, true)
		m.b.WriteByte('\n')
	}
}

func (m *markdown) policy(v Version) {
	m.line("\n---\n")
	digest := v.Digest
	if len(digest) > 19 { // "sha256:" and twelve digits say which one it is
		digest = digest[:19]
	}
	m.line("Policy ", v.Version, ", `", digest, "`")
	if v.Stale != "" {
		m.b.WriteString("\n⚠️ ")
		escape(&m.b, v.Stale, false)
		m.b.WriteByte('\n')
	}
}

// text writes spans; lines after the first begin with indent.
func (m *markdown) text(indent string, t Text) {
	list := false // the line so far is a bullet
	for i, s := range t {
		begins := i == 0 || t[i-1].Kind == Break || t[i-1].Kind == Bullet || t[i-1].Kind == Block
		if i > 0 && s.Kind != Break && t[i-1].Kind == Block || i > 0 && s.Kind == Block && t[i-1].Kind != Break {
			m.b.WriteString("\n\n" + indent)
		}
		switch s.Kind {
		case Break:
			if next := i + 1; indent == "" || list || next < len(t) && (t[next].Kind == Bullet || t[next].Kind == Block) {
				m.b.WriteString("\n\n" + indent)
			} else {
				m.b.WriteString(hardBreak + indent)
			}
			list = false
		case Bullet:
			if i > 0 && list {
				m.b.WriteString("\n" + indent)
			} else if i > 0 && t[i-1].Kind != Block && t[i-1].Kind != Break {
				m.b.WriteString("\n\n" + indent)
			}
			m.b.WriteString("- ")
			list = true
		case Block:
			m.block(indent, s.Text)
			list = false
		case Bold:
			m.bold(s.Text)
		case Code:
			m.code(s.Text)
		case Linked:
			m.link(s.Text, s.URL)
		case Who:
			escape(&m.b, "@"+s.Text, begins)
		case Plain, Value:
			escape(&m.b, s.Text, begins)
		}
	}
}

func (m *markdown) bold(s string) {
	m.b.WriteString("**")
	escape(&m.b, s, false)
	m.b.WriteString("**")
}

func (m *markdown) link(title, url string) {
	m.b.WriteByte('[')
	escape(&m.b, title, false)
	m.b.WriteString("](<" + url + ">)")
}

// code writes a code span, fenced with more backticks than it holds.
func (m *markdown) code(s string) {
	s = oneLine(s)
	fence := strings.Repeat("`", longestRun(s)+1)
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") {
		s = " " + s + " "
	}
	m.b.WriteString(fence + s + fence)
}

func (m *markdown) block(indent, s string) {
	fence := strings.Repeat("`", max(3, longestRun(s)+1))
	m.b.WriteString(fence + "\n")
	for line := range strings.SplitSeq(s, "\n") {
		m.b.WriteString(indent + line + "\n")
	}
	m.b.WriteString(indent + fence)
}

func longestRun(s string) int {
	longest, run := 0, 0
	for i := range len(s) {
		run++
		if s[i] != '`' {
			run = 0
		}
		longest = max(longest, run)
	}
	return longest
}

func oneLine(s string) string {
	if !strings.ContainsAny(s, "\r\n") {
		return s
	}
	return strings.NewReplacer("\r", " ", "\n", " ").Replace(s)
}

func cell(s string) string {
	var b strings.Builder
	escape(&b, s, false)
	return b.String()
}

// escape writes words so that Markdown shows them as they are. Addresses that
// would be linked without any markup (https://…, www.…, a@b) are broken up as
// well. begins says that the words begin a line, where what would make a heading,
// a list or a quote is escaped too.
func escape(b *strings.Builder, s string, begins bool) {
	from, number := 0, 0 // number is how many digits the line begins with
	for begins && number < len(s) && s[number] >= '0' && s[number] <= '9' {
		number++
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= utf8.RuneSelf || !meansSomething[c] {
			continue
		}
		esc := true
		switch c {
		case '#', '-', '+', '=':
			esc = begins && i == 0
		case '.', ')':
			esc = number > 0 && i == number || c == '.' && i >= 3 && strings.EqualFold(s[i-3:i], "www")
		case ':':
			esc = strings.HasPrefix(s[i:], "://")
		case '&': // an entity, &amp; or &#38;, and nothing else
			esc = i+1 < len(s) && (s[i+1] == '#' || s[i+1]|0x20 >= 'a' && s[i+1]|0x20 <= 'z')
		case '\n', '\r':
			b.WriteString(s[from:i])
			b.WriteByte(' ')
			from, esc = i+1, false
		}
		if esc {
			b.WriteString(s[from:i])
			b.WriteByte('\\')
			from = i
		}
	}
	b.WriteString(s[from:])
}

// meansSomething has the characters that Markdown may read as markup.
var meansSomething = func() (set [utf8.RuneSelf]bool) {
	for _, c := range "\\`*_[]<>|~&@$#-+=.):\n\r" {
		set[c] = true
	}
	return set
}()
