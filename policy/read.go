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
// /rehome"). leftover is what was not understood, in order and with neighbouring
// words together, so that it can be repeated to whoever typed it. A tenant that
// is named without saying whose it is becomes the app's for 3P and the SG owner's
// for 1P. While the party is not known it becomes both, since only one of the two
// will be used.
func (p *Policy) Read(text string, why string) (facts Facts, leftover []string) {
	r := reading{p: p, why: why, words: split(text)}
	for r.i < len(r.words) {
		r.next()
	}
	r.settleTenants()
	return p.derive(r.facts), r.leftover
}

// A word is a piece of typed text.
type word struct {
	raw  string // as typed
	bare string // without the punctuation around it
	key  string // in the form words are compared in, see key; "" for a dash that stands alone
}

// A reading is the state of one Read.
type reading struct {
	p        *Policy
	why      string
	words    []word
	i        int
	facts    Facts
	leftover []string
	lost     bool     // only connectives came since the last leftover word, so that the next leftover word joins it
	between  string   // those connectives
	about    subject  // what the words before the next value say it is about
	tenants  []string // tenants named without saying whose they are
}

// A subject is what a value is about, as the words before it say.
type subject int

const (
	ofNothing subject = iota // they do not say
	ofOwner                  // the security group's owner
	ofApp                    // the app
	ofCert                   // the certificate, or the vault it is in
)

// next reads what begins at the current word, and moves on by at least one word.
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

// goesOn reports whether a dash and unknown words follow a title. Then they are
// part of it: it is a longer title that the table does not have, and must not
// pass for the listed one ("… with Cert Cloud - Some new scenario").
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
	case name == AppTenant && r.about == ofOwner:
		name = SGOwner
	case name == AppTenant && r.about == ofCert:
		name = CertTenant
	case name == AppTenant && r.about == ofNothing:
		r.tenants = append(r.tenants, found.value)
		return
	case name == AppCloud && r.about == ofCert:
		name = CertCloud
	}
	r.say(name, found.value)
	r.about = ofNothing
}

// say makes an answer. When two different values are typed for one fact the
// first counts and the second is left over, so that it is not dropped in silence.
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
	case h.isAuthority(), h.kind == hostRetired && strings.HasPrefix(h.name, "login"):
		r.say(AppAuthor, address(given))
	default:
		r.say(VaultURI, address(given))
	}
	r.about = ofNothing
	return true
}

// id takes a thumbprint, or a GUID: the app's id, unless it is a known tenant's.
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
	r.about = ofNothing
	return true
}

// special takes an invalid SG owner, which is a word of its own only after "SG
// owner", and a cloud word that may mean two things.
func (r *reading) special(w word) bool {
	if owner, ok := r.p.invalidSGOwner(w.bare); ok && r.about == ofOwner {
		r.say(SGOwner, owner)
		r.about = ofNothing
		return true
	}
	if means, ok := r.p.words.ambiguous[w.key]; ok {
		r.facts = r.facts.With(Fact{Name: CloudWord, Value: w.bare, From: FromAnswer, Why: "it may mean " + means})
		return true
	}
	return false
}

// connectives are words that carry no value. Some say what the next value is
// about; the others leave that as it was.
var connectives = func() map[string]subject {
	words := map[string]subject{
		"owner": ofOwner, "owners": ofOwner, "owner's": ofOwner, "sg": ofOwner, "group": ofOwner,
		"app": ofApp, "app's": ofApp, "application": ofApp, "apps": ofApp,
		"cert": ofCert, "certificate": ofCert, "vault": ofCert, "vault's": ofCert, "certs": ofCert,
	}
	for w := range strings.FieldsSeq("a an and are at but cloud clouds for from has id in is it its of on option our " +
		"party please plane security tenant the this title to uri url violation with") {
		words[w] = ofNothing
	}
	return words
}()

func (r *reading) connective(w word) bool {
	about, ok := connectives[strings.ToLower(w.bare)]
	if !ok {
		return false
	}
	if about != ofNothing {
		r.about = about
	}
	if strings.HasSuffix(w.raw, ",") || strings.HasSuffix(w.raw, ";") {
		r.about = ofNothing
	}
	return true
}

// leave adds a word that means nothing here to what is left over. Words that
// were typed next to each other stay together, so that people recognise them.
func (r *reading) leave(w word) {
	r.about = ofNothing
	if n := len(r.leftover); n > 0 && r.lost {
		r.leftover[n-1] += " " + r.between + w.bare
	} else {
		r.leftover = append(r.leftover, w.bare)
	}
	r.lost, r.between = true, ""
}

// settleTenants decides whose the tenants are that were named without saying so,
// see Read.
func (r *reading) settleTenants() {
	if len(r.tenants) == 0 {
		return
	}
	party := Party(r.p.derive(r.facts).Value(PartyFact))
	for _, tenant := range r.tenants {
		if party == FirstParty {
			r.say(SGOwner, tenant)
			continue
		}
		r.say(AppTenant, tenant)
		if _, said := r.facts.Claim(SGOwner, FromAnswer); party == "" && !said {
			r.facts = r.facts.With(Fact{Name: SGOwner, Value: tenant, From: FromAnswer,
				Why: fmt.Sprintf("%s; %s was said without whose tenant it is, so for a 1P app it is taken for the SG owner's", r.why, tenant)})
		}
	}
}

// maxTyped bounds what is read, in bytes. Slack's own limit for a message is
// far below it.
const maxTyped = 16 << 10

// split cuts typed text into words. White space, quotes and commas end a word, and
// so does an = or a colon after a name ("cloud=Fairfax", "tenant: AME").
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

// appendName cuts a name written like a flag's: "sg-owner" becomes "sg" and
// "owner".
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
