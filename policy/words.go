package policy

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A vocabulary knows every way to say a value of a fact. Case, spacing and
// dashes never matter; beyond that a word is known exactly or not at all.
type vocabulary struct {
	values    map[FactName][]string          // what a fact can be, in the tables' order
	spelt     map[FactName]map[string]string // key → canonical value
	ambiguous map[string]string              // key of a cloud word that may mean two things → what it may mean
	phrases   map[string]phrase              // key → what Read takes it for in running text
}

// A phrase is a value and the fact it is a value of. Every tenant stands under
// AppTenant and every cloud under AppCloud; Read finds out whose it is.
type phrase struct {
	fact  FactName
	value string
}

// key is the form words are compared in: lower case, without white space,
// dashes, underscores and invisible characters. "Torus  Gallatin",
// "torus-gallatin" and "TORUS GALLATIN" have one key; so have titles that
// differ only in case, spacing and the kind of dash.
func key(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for _, r := range s {
		switch {
		case r < utf8.RuneSelf: // most characters are, and this is quicker for them
			switch c := byte(r); {
			case c >= 'A' && c <= 'Z':
				b.WriteByte(c + 'a' - 'A')
			case c > ' ' && c != '-' && c != '_':
				b.WriteByte(c)
			}
		case unicode.IsSpace(r), isDash(r), unicode.Is(unicode.Cf, r):
		default:
			b.WriteRune(unicode.ToLower(r))
		}
	}
	return b.String()
}

// init fills in the words that are part of the outward contract.
func (v *vocabulary) init() {
	*v = vocabulary{
		values:    map[FactName][]string{},
		spelt:     map[FactName]map[string]string{},
		ambiguous: map[string]string{},
		phrases:   map[string]phrase{},
	}
	v.add(PartyFact, string(FirstParty), string(ThirdParty))
	v.add(AppCloud, string(Public), string(Mooncake), string(Fairfax))
	v.add(Option, "A", "B", "1", "2", "3", "move-cert", "update-sg")
	v.add(Plane, "data-flow", "control-plane")
	v.add(Vault, "KV", "dSMS")
}

// add makes values known under their own names.
func (v *vocabulary) add(fact FactName, values ...string) {
	for _, value := range values {
		v.values[fact] = append(v.values[fact], value)
		v.alias(fact, value, value)
	}
}

// alias makes a value known under another name. It reports false when the name
// already means something else.
func (v *vocabulary) alias(fact FactName, value, name string) bool {
	k := key(name)
	if v.spelt[fact] == nil {
		v.spelt[fact] = map[string]string{}
	}
	if old, ok := v.spelt[fact][k]; ok && old != value {
		return false
	}
	typed := phraseKey(name)
	if old, ok := v.phrases[typed]; ok && (old.fact != fact || old.value != value) {
		return false
	}
	v.spelt[fact][k] = value
	if len(typed) > 1 { // "a" and "2" are answers, but mean nothing in running text
		v.phrases[typed] = phrase{fact, value}
	}
	return true
}

// phraseKey is the key that Read sees for a name in running text.
func phraseKey(name string) string {
	var b strings.Builder
	for _, w := range split(name) {
		b.WriteString(w.key)
	}
	return b.String()
}

// canonical returns the value that word stands for as a value of fact.
func (v *vocabulary) canonical(fact FactName, word string) (string, bool) {
	switch fact {
	case CertCloud:
		fact = AppCloud
	case SGOwner, CertTenant:
		fact = AppTenant
	}
	value, ok := v.spelt[fact][key(word)]
	return value, ok
}

// loadAliases reads aliases.csv.
func (l *loader) loadAliases() {
	const file = "aliases.csv"
	facts := []string{string(PartyFact), string(AppCloud), string(Option), string(Plane), string(Vault), string(AppTenant), string(Violated), "ambiguous"}
	seen := map[string]int{}
	for _, r := range l.records(file, "fact", "value", "alias") {
		fact, value, name := r.cells["fact"], r.cells["value"], r.cells["alias"]
		id := fact + "/" + key(name)
		switch {
		case !slices.Contains(facts, fact):
			l.wrong(file, r.line, fmt.Sprintf("unknown fact %q", fact), "the facts are "+strings.Join(facts, ", "))
		case key(name) == "":
			l.wrong(file, r.line, "the alias is empty", "write the other way to say "+value)
		case seen[id] > 0:
			l.wrong(file, r.line, fmt.Sprintf("alias %q is already there on line %d", name, seen[id]), "remove one of the lines")
		case fact == "ambiguous":
			seen[id] = r.line
			l.p.words.ambiguous[key(name)] = value
		default:
			seen[id] = r.line
			l.alias(r, FactName(fact), value, name)
		}
	}
}

func (l *loader) alias(r record, fact FactName, value, name string) {
	canonical, ok := l.p.words.canonical(fact, value)
	if !ok {
		what := "unknown value %q"
		if fact == AppCloud {
			what = "unknown cloud %q"
		}
		l.wrong(r.file, r.line, fmt.Sprintf(what, value), "write "+oneOf(l.p.words.values[fact]))
		return
	}
	if !l.p.words.alias(fact, canonical, name) {
		l.wrong(r.file, r.line, fmt.Sprintf("%q already means something else", name), "choose a word that means one thing only")
	}
}

// oneOf joins words as "a, b or c".
func oneOf(words []string) string {
	switch len(words) {
	case 0:
		return "nothing"
	case 1:
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// Match reads a typed answer to a need. It takes a choice's value or label in
// any case and spacing, and the usual other names ("first party", "commercial",
// "option 2"). It never guesses from a beginning, and never takes what is not
// among the choices.
func (p *Policy) Match(n Need, typed string) (Choice, bool) {
	typed = strings.TrimFunc(typed, func(r rune) bool {
		return unicode.IsSpace(r) || strings.ContainsRune("\"'“”‘’«»`.,;:!?()", r)
	})
	k := key(typed)
	if k == "" {
		return Choice{}, false
	}
	wanted, known := p.words.canonical(n.Fact, typed)
	if n.Fact == Option {
		if side, ok := sideOf(wanted); ok && slices.ContainsFunc(n.Choices, func(c Choice) bool { return c.Value == side }) {
			wanted = side
		}
	}
	for _, c := range n.Choices {
		_, bare, _ := strings.Cut(c.Label, " — ")
		if known && c.Value == wanted || k == key(c.Value) || k == key(c.Label) || bare != "" && k == key(bare) {
			return c, true
		}
	}
	return Choice{}, false
}

// Canonical returns a value that was given as a flag or in a field, as the tables
// spell it. A title or tenant that no table has is returned as stated, because
// there is an answer to it: out of scope, or no policy row. Any other value that
// is not known is an error that says what the fact takes.
func (p *Policy) Canonical(name FactName, value string) (string, error) {
	stated := clean(value)
	if stated == "" {
		return "", fmt.Errorf("%s is empty; it takes %s", name, p.takes(name))
	}
	if v, ok := p.words.canonical(name, stated); ok {
		return v, nil
	}
	switch name {
	case Violated:
		if t, ok := p.titles.find(stated); ok {
			return t.Text, nil
		}
		return stated, nil
	case AppTenant, SGOwner, CertTenant:
		if owner, ok := p.invalidSGOwner(stated); ok {
			return owner, nil
		}
		return stated, nil
	case AppID, OwnerOrg:
		if id := strings.ToLower(strings.Trim(stated, "{}")); isGUID(id) {
			return id, nil
		}
	case Thumbprint:
		if t, ok := thumbprint(stated); ok {
			return t, nil
		}
	case VaultURI, AppAuthor:
		if hostOf(stated) != "" {
			return address(stated), nil
		}
	case PartyFact, AppCloud, CertCloud, Option, Plane, Vault:
	default:
		return stated, nil
	}
	if means, ok := p.words.ambiguous[key(stated)]; ok && (name == AppCloud || name == CertCloud) {
		return "", fmt.Errorf("%s %q may be %s; it takes %s", name, stated, means, p.takes(name))
	}
	return "", fmt.Errorf("%s %q is not known; it takes %s", name, stated, p.takes(name))
}

// takes says what values a fact can have, for an error.
func (p *Policy) takes(name FactName) string {
	switch name {
	case AppID, OwnerOrg:
		return "a GUID such as 3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a01"
	case Thumbprint:
		return "40 or 64 hexadecimal digits"
	case VaultURI:
		return "an address such as https://contoso-kv.vault.azure.net"
	case AppAuthor:
		return "an address such as https://login.microsoftonline.com"
	case CertCloud:
		name = AppCloud
	case SGOwner, CertTenant:
		name = AppTenant
	case Violated:
		return "a violation title"
	}
	if values := p.words.values[name]; len(values) > 0 {
		return oneOf(values)
	}
	return "a word"
}

// invalidSGOwner returns the invalid SG owner that a word stands for, if it does.
func (p *Policy) invalidSGOwner(word string) (string, bool) {
	i := slices.IndexFunc(p.invalidSGOwners, func(o string) bool { return key(o) == key(word) })
	if i < 0 {
		return "", false
	}
	return p.invalidSGOwners[i], true
}

// maxStated bounds a value that came from outside, in characters. Titles may be
// 500 long (canonical schema); nothing else comes near it.
const maxStated = 500

// clean makes a value from outside fit to be kept: one line, no invisible or
// control characters, no white space around it, not longer than maxStated.
func clean(s string) string {
	if len(s) <= maxStated && !strings.ContainsFunc(s, notGraphic) {
		return s // as most are
	}
	if len(s) > 8*maxStated { // work is bounded before characters are counted
		s = s[:8*maxStated]
	}
	var b strings.Builder
	n, space := 0, false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			space = b.Len() > 0
			continue
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Co, r), r == unicode.ReplacementChar:
			continue
		}
		if n == maxStated {
			return b.String() + "…"
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}

// notGraphic reports whether a character is anything but a visible ASCII one.
func notGraphic(r rune) bool { return r <= ' ' || r > '~' }

// thumbprint reads a SHA-1 or SHA-256 thumbprint in hex, with or without
// colons and spaces.
func thumbprint(s string) (string, bool) {
	s = strings.ToLower(strings.ReplaceAll(strings.ReplaceAll(s, ":", ""), " ", ""))
	if len(s) != 40 && len(s) != 64 {
		return "", false
	}
	for i := range len(s) {
		if !isLowerHex(s[i]) {
			return "", false
		}
	}
	return strings.ToUpper(s), true
}
