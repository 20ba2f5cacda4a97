package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A template is prose with blanks, in pieces that may depend on conditions. It is
// made when the policy is loaded and only read afterwards.
type template []piece

// A piece is a line of a template: it begins a paragraph, a bullet or a block, or
// continues one.
type piece struct {
	group int      // the same for all pieces of one paragraph or bullet
	kind  SpanKind // Break for a paragraph, Bullet or Block
	when  conditions
	spans []blankSpan
}

// A blankSpan is a span that may have blanks in it.
type blankSpan struct {
	kind  SpanKind
	parts []part
	link  *linkDef
}

// A part is literal words or a blank.
type part struct {
	words string
	blank blank
}

// numbered is a line and its number in the file, from 1.
type numbered struct {
	n    int
	text string
}

// template parses lines of a playbook. given are conditions under which all of
// them stand.
func (r *playbookReader) template(lines []numbered, given conditions) template {
	var out template
	group, open := 0, false
	var pending conditions
	for i := 0; i < len(lines); i++ {
		text := strings.TrimSpace(lines[i].text)
		if text == "" {
			open = false
			continue
		}
		when, rest := r.conditional(lines[i].n, text)
		p := piece{when: slices.Concat(pending, when)}
		switch {
		case rest == "" && len(when) > 0:
			pending = when
			continue
		case strings.HasPrefix(rest, "```"):
			group++
			var code []string
			for i++; i < len(lines) && strings.TrimSpace(lines[i].text) != "```"; i++ {
				code = append(code, lines[i].text)
			}
			if i == len(lines) {
				r.wrong(lines[i-1].n, "the block does not end", "close it with a line ```")
			}
			p.kind = Block
			p.spans = []blankSpan{{kind: Block, parts: r.parts(lines[min(i, len(lines)-1)].n, strings.Join(code, "\n"))}}
			open = false
		case strings.HasPrefix(rest, "- "):
			group++
			open = true
			p.kind, p.spans = Bullet, r.inline(lines[i].n, strings.TrimPrefix(rest, "- "))
		default:
			if !open {
				group++
				open = true
				p.kind = Break
			}
			p.spans = r.inline(lines[i].n, rest)
		}
		pending = nil
		r.canHold(lines[min(i, len(lines)-1)].n, slices.Concat(given, p.when))
		p.group = group
		if p.kind == Plain { // it continues what the group began
			p.kind = out[len(out)-1].kind
		}
		r.guard(lines[min(i, len(lines)-1)].n, p, given)
		out = append(out, p)
	}
	return out
}

// conditional reads "when a=b, c=d: rest". Without conditions rest is the text.
func (r *playbookReader) conditional(line int, text string) (conditions, string) {
	after, ok := strings.CutPrefix(text, "when ")
	if !ok {
		return nil, text
	}
	conds, rest, ok := strings.Cut(after, ":")
	if !ok || !strings.Contains(conds, "=") {
		return nil, text
	}
	return r.l.conditions(r.file, line, conds), strings.TrimSpace(rest)
}

// inline parses **stress**, `code`, [words](link:key) and {blanks}. A blank
// whose value comes from outside becomes a Value span, and may not stand in
// stress: Bold spans hold our own words only.
func (r *playbookReader) inline(line int, text string) []blankSpan {
	var out []blankSpan
	plain := func(s string) {
		for _, p := range r.parts(line, s) {
			kind := Plain
			if p.blank != noBlank && blanks[p.blank].outside {
				kind = Value
			}
			if n := len(out); n > 0 && kind == Plain && out[n-1].kind == Plain {
				out[n-1].parts = append(out[n-1].parts, p)
			} else {
				out = append(out, blankSpan{kind: kind, parts: []part{p}})
			}
		}
	}
	for text != "" {
		i := strings.IndexAny(text, "*`[")
		if i < 0 {
			plain(text)
			break
		}
		span, length := r.marked(line, text[i:])
		if length == 0 {
			plain(text[:i+1])
			text = text[i+1:]
			continue
		}
		plain(text[:i])
		out = append(out, span)
		text = text[i+length:]
	}
	return out
}

// marked parses one marked run at the beginning of text, and returns how long
// it is; 0 when nothing is marked here.
func (r *playbookReader) marked(line int, text string) (blankSpan, int) {
	switch {
	case strings.HasPrefix(text, "**"):
		if end := strings.Index(text[2:], "**"); end > 0 {
			parts := r.parts(line, text[2:2+end])
			for _, p := range parts {
				if p.blank != noBlank && blanks[p.blank].outside {
					r.wrong(line, fmt.Sprintf("{%s} cannot be stressed, since its value comes from outside", blanks[p.blank].name), "take it out of the ** **")
				}
			}
			return blankSpan{kind: Bold, parts: parts}, end + 4
		}
	case strings.HasPrefix(text, "`"):
		if end := strings.IndexByte(text[1:], '`'); end > 0 {
			return blankSpan{kind: Code, parts: r.parts(line, text[1:1+end])}, end + 2
		}
	case strings.HasPrefix(text, "["):
		words, rest, ok := strings.Cut(text[1:], "](link:")
		if !ok || strings.ContainsAny(words, "[]") {
			break
		}
		name, _, ok := strings.Cut(rest, ")")
		if !ok {
			break
		}
		def, known := r.l.p.links[name]
		if !known {
			r.wrong(line, fmt.Sprintf("unknown link key %q", name), "add it to links.csv, or correct it")
			def = &linkDef{where: name}
		}
		return blankSpan{kind: Linked, parts: []part{{words: words}}, link: def}, len(words) + len(name) + len("[](link:)")
	}
	return blankSpan{}, 0
}

// parts cuts words at {blanks}. Braces that hold anything but a name are words
// (a query has such).
func (r *playbookReader) parts(line int, s string) []part {
	var out []part
	for s != "" {
		i := strings.IndexByte(s, '{')
		if i < 0 {
			return append(out, part{words: s})
		}
		name, rest, ok := strings.Cut(s[i+1:], "}")
		if !ok || name == "" || strings.ContainsFunc(name, func(c rune) bool { return c != '-' && (c < 'a' || c > 'z') }) {
			out = append(out, part{words: s[:i+1]})
			s = s[i+1:]
			continue
		}
		if i > 0 {
			out = append(out, part{words: s[:i]})
		}
		b := slices.IndexFunc(blanks[:], func(d blankDef) bool { return d.name == name })
		if b < 1 {
			r.wrong(line, fmt.Sprintf("unknown blank {%s}", name), "the blanks are "+blankNames())
		} else {
			out = append(out, part{blank: blank(b)})
		}
		s = rest
	}
	return out
}

// guard checks that every blank of a piece can be filled in: a blank whose value
// is not always known must stand under the condition that it is.
func (r *playbookReader) guard(line int, p piece, given conditions) {
	hasRow := r.b.settings == rowRequired
	for _, s := range p.spans {
		for _, part := range s.parts {
			need := blanks[part.blank].need
			if part.blank == noBlank || need == (condition{}) || hasRow && need.on == onRow {
				continue
			}
			if !slices.ContainsFunc(slices.Concat(given, p.when), func(c condition) bool { return c.on == need.on && c.is == need.is }) {
				r.wrong(line, fmt.Sprintf("blank {%s} may have nothing to fill in here", blanks[part.blank].name),
					fmt.Sprintf("put the line under “when %s=%s: ”", conditionNames[need.on], need.is))
			}
		}
	}
}

// canHold refuses conditions that hold for no violation of this playbook. A text
// under them would never be shown, and its author would not notice.
func (r *playbookReader) canHold(line int, when conditions) {
	for on := range conditionCount {
		possible := r.b.possible(on)
		for _, c := range when {
			if c.on == on {
				possible = slices.DeleteFunc(slices.Clone(possible), func(is string) bool { return !slices.Contains(strings.Split(c.is, "|"), is) })
			}
		}
		if len(possible) == 0 {
			r.wrong(line, fmt.Sprintf("the condition on %s never holds in this playbook", conditionNames[on]),
				"remove the line; here it is "+oneOf(r.b.possible(on)))
		}
	}
}

// possible returns the values that a condition's subject can have in a playbook.
func (b *playbook) possible(on on) []string {
	only := map[bool][]string{true: {"yes"}, false: {"no"}}
	switch {
	case on == onParty && b.party != "":
		return []string{string(b.party)}
	case on == onParty && b.settings == rowRequired:
		return []string{string(FirstParty), string(ThirdParty)}
	case on == onOption && b.option != "":
		return []string{b.option}
	case on == onRow && b.settings != rowOptional:
		return only[b.settings == rowRequired]
	case on == onOwnerDiffers && (b.party == ThirdParty || b.settings == rowUnused),
		on == onHandoff && (b.scenario != TenantMismatch || b.party == ThirdParty || b.option != "A"),
		on == onExpired && b.scenario != Rotation:
		return only[false]
	case on == onGoverned && b.settings == rowRequired:
		return only[true]
	}
	return conditionValues[on]
}

// A condition is "store=KV|unknown": it holds when its subject has one of the
// values, which are written with | between them.
type condition struct {
	on on     // the subject
	is string // the values
}

// conditions hold when each of them does.
type conditions []condition

// on is the subject of a condition. conditionNames has their names in files and
// conditionValues the values of each.
type on int

const (
	onStore        on = iota // where the private key is kept
	onParty                  // of the app
	onHandoff                // the certificate moves to correct a security group mismatch
	onOwnerDiffers           // the row's tenant is not the SG owner's
	onSubject                // the certificate's subject name
	onAppID
	onThumbprint
	onVault    // the old vault's address
	onSource   // the feed that found it
	onGoverned // the policy says who may issue the certificate
	onRow      // a policy row applies
	onExpired  // the credential has expired already
	onOption
	conditionCount
)

var conditionNames = [conditionCount]string{"store", "party", "handoff", "owner-differs", "subject", "app-id", "thumbprint", "vault", "source", "governed", "row", "expired", "option"}

var conditionValues = [conditionCount][]string{
	onStore: {"KV", "dSMS", "unknown"}, onParty: {"1P", "3P", "unknown"}, onHandoff: {"yes", "no"}, onOwnerDiffers: {"yes", "no"},
	onSubject: {"known", "unknown"}, onAppID: {"known", "unknown"}, onThumbprint: {"known", "unknown"}, onVault: {"known", "unknown"},
	onSource: {"s360", "other"}, onGoverned: {"yes", "no"}, onRow: {"yes", "no"}, onExpired: {"yes", "no"}, onOption: {"A", "B", "1", "2", "3"},
}

// hold reports whether all conditions hold.
func (c conditions) hold(v *values) bool {
	for _, one := range c {
		got := v.state[one.on]
		if one.is == got {
			continue
		}
		if !one.lists(got) {
			return false
		}
	}
	return true
}

// lists reports whether a value is among the condition's.
func (c condition) lists(value string) bool {
	for is := range strings.SplitSeq(c.is, "|") {
		if is == value {
			return true
		}
	}
	return false
}

// conditions reads conditions with commas between them: "store=KV|unknown, party=1P".
func (l *loader) conditions(file string, line int, text string) conditions {
	var out conditions
	for one := range strings.SplitSeq(text, ",") {
		one = strings.TrimSpace(one)
		if one == "" {
			continue
		}
		name, is, _ := strings.Cut(one, "=")
		i := slices.Index(conditionNames[:], name)
		if i < 0 {
			l.wrong(file, line, fmt.Sprintf("unknown condition %q", name), "conditions are on "+strings.Join(conditionNames[:], ", "))
			continue
		}
		for value := range strings.SplitSeq(is, "|") {
			if !slices.Contains(conditionValues[i], value) {
				l.wrong(file, line, fmt.Sprintf("condition %s cannot be %q", name, value), "it is "+oneOf(conditionValues[i]))
			}
		}
		out = append(out, condition{on(i), is})
	}
	return out
}

// sortedFiles returns the names of files in a folder, in order.
func sortedFiles(files map[string][]byte, folder string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(files)), func(name string) bool { return !strings.HasPrefix(name, folder) })
}
