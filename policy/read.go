package policy

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Read understands the words typed after /rehome, in any order: a violation
// title, an app id, a vault's or an authority's address, 1P or 3P, tenants,
// clouds, "option a", "data-flow". What a person typed is an answer, and what
// follows from an address is inferred; why goes with each answer ("typed after
// /rehome"). leftover is what was not understood, in order, neighbouring words
// together, so that it can be said. A bare tenant becomes the app's or the SG
// owner's, by the party; while that is open it is kept as both, since only one
// of the two will be used.
func (p *Policy) Read(text string, why string) (facts Facts, leftover []string) {
	r := reading{p: p, why: why, words: split(text)}
	for r.i < len(r.words) {
		r.next()
	}
	r.settleTenants()
	return p.derive(r.facts), r.leftover
}

// A word is a piece of typed text: as typed, without the punctuation around
// it, and in the form words are compared in. Dashes that stand alone have no key.
type word struct{ raw, bare, key string }

// A reading is how far Read has got.
type reading struct {
	p        *Policy
	why      string
	words    []word
	i        int
	facts    Facts
	leftover []string
	lost     bool     // nothing but connectives since the last leftover word: what is left now goes on with it
	between  string   // those connectives
	about    string   // what the next value is about, by the words before it: owner, app, cert or ""
	tenants  []string // bare tenants, not yet known whose
}

// next understands what stands here, and moves on by at least one word.
func (r *reading) next() {
	w := r.words[r.i]
	switch {
	case w.key == "":
	case r.phrase(), r.address(w), r.id(w), r.special(w):
		r.lost = false
	case r.connective(w):
		r.between += w.bare + " "
	default:
		r.leave(w)
	}
	r.i++
}

// maxPhrase is the longest phrase in words; the longest title has 15.
const maxPhrase = 24

// phrase takes the longest known phrase that begins here.
func (r *reading) phrase() bool {
	var k strings.Builder
	var best phrase
	last := -1
	for i := r.i; i < min(r.i+maxPhrase, len(r.words)); i++ {
		if r.words[i].key == "" {
			continue
		}
		k.WriteString(r.words[i].key)
		if found, ok := r.p.words.phrases[k.String()]; ok && (found.fact != Violated || !r.goesOn(i+1)) {
			best, last = found, i
		}
	}
	if last < 0 {
		return false
	}
	r.i = last
	r.take(best)
	return true
}

// goesOn reports whether a dash and something unknown follow a title: then it
// is another title, one that nobody listed, and must not pass for the listed
// one ("… with Cert Cloud - Some new scenario").
func (r *reading) goesOn(i int) bool {
	if i >= len(r.words) {
		return false
	}
	if first, _ := utf8.DecodeRuneInString(r.words[i].raw); !isDash(first) {
		return false
	}
	if r.words[i].key == "" {
		i++
	}
	if i >= len(r.words) {
		return false
	}
	after := reading{p: r.p, words: r.words, i: i}
	after.next()
	return len(after.leftover) > 0
}

// take makes a fact of a phrase.
func (r *reading) take(found phrase) {
	name := found.fact
	switch {
	case name == AppTenant && r.about == "owner":
		name = SGOwner
	case name == AppTenant && r.about == "cert":
		name = CertTenant
	case name == AppTenant && r.about == "":
		r.tenants = append(r.tenants, found.value)
		return
	case name == AppCloud && r.about == "cert":
		name = CertCloud
	}
	r.say(name, found.value)
	r.about = ""
}

// say makes an answer. The first word counts; a second, different one is left
// over, because nobody can tell which was meant.
func (r *reading) say(name FactName, value string) {
	if said, ok := r.facts.Claim(name, FromAnswer); ok && said.Value != value {
		r.leftover = append(r.leftover, value)
		return
	}
	r.facts = r.facts.With(Fact{Name: name, Value: value, From: FromAnswer, Why: r.why})
}

// address takes the address of a vault, or of an authority.
func (r *reading) address(w word) bool {
	given, _, _ := strings.Cut(w.bare, "|") // Slack writes <https://x|x>
	h, ok := r.p.findHost(hostOf(given))
	switch {
	case !ok:
		return false
	case h.isAuthority(), h.kind == "retired" && strings.HasPrefix(h.name, "login"):
		r.say(AppAuthor, address(given))
	default:
		r.say(VaultURI, address(given))
	}
	r.about = ""
	return true
}

// id takes a GUID, which is an app's unless it is a known tenant's, or a
// thumbprint.
func (r *reading) id(w word) bool {
	id := strings.ToLower(strings.Trim(w.bare, "{}"))
	if t, ok := thumbprint(id); ok {
		r.say(Thumbprint, t)
		return true
	}
	if !isGUID(id) {
		return false
	}
	entry, named := r.p.tenants[id]
	switch {
	case named:
		r.take(phrase{AppTenant, entry.Name})
	case r.p.firstPartyOwners[id], r.p.hintOwners[id]:
		r.say(OwnerOrg, id)
	default:
		r.say(AppID, id)
	}
	r.about = ""
	return true
}

// special takes words that mean something only in their place: an SG owner
// that is wrong in itself, and a cloud word that may mean two things.
func (r *reading) special(w word) bool {
	if owner, ok := r.p.invalidSGOwner(w.bare); ok && r.about == "owner" {
		r.say(SGOwner, owner)
		r.about = ""
		return true
	}
	if means, ok := r.p.words.ambiguous[w.key]; ok {
		r.facts = r.facts.With(Fact{Name: CloudWord, Value: w.bare, From: FromAnswer, Why: "it may mean " + means})
		return true
	}
	return false
}

// connectives are words that carry no value. Some say what the next value is
// about.
var connectives = map[string]string{
	"owner": "owner", "owners": "owner", "owner's": "owner", "sg": "owner", "group": "owner",
	"app": "app", "app's": "app", "application": "app", "apps": "app",
	"cert": "cert", "certificate": "cert", "vault": "cert", "vault's": "cert", "certs": "cert",
	"a": "=", "an": "=", "and": "=", "are": "=", "at": "=", "but": "=", "cloud": "=", "clouds": "=", "for": "=", "from": "=",
	"has": "=", "id": "=", "in": "=", "is": "=", "it": "=", "its": "=", "of": "=", "on": "=", "option": "=", "our": "=",
	"party": "=", "please": "=", "plane": "=", "security": "=", "tenant": "=", "the": "=", "this": "=", "title": "=", "to": "=",
	"uri": "=", "url": "=", "violation": "=", "with": "=",
}

func (r *reading) connective(w word) bool {
	about, ok := connectives[strings.ToLower(w.bare)]
	if !ok {
		return false
	}
	if about != "=" {
		r.about = about
	}
	if strings.HasSuffix(w.raw, ",") || strings.HasSuffix(w.raw, ";") {
		r.about = ""
	}
	return true
}

// leave keeps a word that means nothing here, together with its neighbours, so
// that people recognise what they typed.
func (r *reading) leave(w word) {
	r.about = ""
	if n := len(r.leftover); n > 0 && r.lost {
		r.leftover[n-1] += " " + r.between + w.bare
	} else {
		r.leftover = append(r.leftover, w.bare)
	}
	r.lost, r.between = true, ""
}

// settleTenants says whose the bare tenants are.
func (r *reading) settleTenants() {
	if len(r.tenants) == 0 {
		return
	}
	party := r.p.derive(r.facts).Value(PartyFact)
	for _, tenant := range r.tenants {
		if party != string(FirstParty) {
			r.say(AppTenant, tenant)
		}
		if party == string(FirstParty) {
			r.say(SGOwner, tenant)
		}
		if _, said := r.facts.Claim(SGOwner, FromAnswer); party == "" && !said {
			r.facts = r.facts.With(Fact{Name: SGOwner, Value: tenant, From: FromAnswer,
				Why: fmt.Sprintf("%s; %s was said without whose tenant it is, so for a 1P app it is taken for the SG owner's", r.why, tenant)})
		}
	}
}

// maxTyped bounds what is read, in bytes. Slack's own limit for a message is
// far below it.
const maxTyped = 16 << 10

// split cuts typed text into words. White space, quotes, and commas end a word,
// and so do = and a colon after a name ("cloud=Fairfax", "tenant: AME").
func split(text string) []word {
	cut := min(len(text), maxTyped)
	words := make([]word, 0, 24)
	for field := range strings.FieldsFuncSeq(text[:cut], endsWord) {
		if strings.Contains(field, "://") {
			words = appendPair(words, field)
			continue
		}
		for {
			i := strings.IndexByte(field, ',') + 1
			if i == 0 {
				break
			}
			words = appendPair(words, field[:i])
			field = field[i:]
		}
		words = appendPair(words, field)
	}
	return words
}

func endsWord(r rune) bool {
	switch r {
	case '"', '“', '”', '«', '»', '`':
		return true
	}
	return unicode.IsSpace(r)
}

// appendPair cuts "name=value" and "name:value" where the name is a plain word.
func appendPair(words []word, field string) []word {
	i := strings.IndexAny(field, "=:")
	if i > 0 && i+1 < len(field) && !strings.HasPrefix(field[i:], "://") && !strings.ContainsFunc(field[:i], func(r rune) bool { return !unicode.IsLetter(r) && r != '_' && r != '-' }) {
		return append(appendName(words, field[:i]), wordOf(field[i+1:]))
	}
	return append(words, wordOf(field))
}

// appendName cuts a flag-like name: "sg-owner" says "sg", "owner".
func appendName(words []word, name string) []word {
	for part := range strings.FieldsFuncSeq(name, func(r rune) bool { return r == '-' || r == '_' }) {
		words = append(words, wordOf(part))
	}
	return words
}

func wordOf(raw string) word {
	bare := strings.TrimFunc(raw, isAround)
	bare = clean(strings.TrimRight(bare, "."))
	return word{raw: raw, bare: bare, key: key(bare)}
}

// isAround reports whether a character around a word is no part of it.
func isAround(r rune) bool {
	switch r {
	case '\'', '‘', '’', '<', '>', '(', ')', '[', ']', '*', ',', ';', ':', '!', '?':
		return true
	}
	return isDash(r)
}

func isDash(r rune) bool {
	if r < utf8.RuneSelf {
		return r == '-'
	}
	return unicode.Is(unicode.Pd, r) || r == '−'
}
