package policy

import (
	"regexp"
	"slices"
	"strings"
)

// Removed stands where Scrub took something out.
const Removed = "[removed]"

// Scrub takes out of a text what looks like key material or another secret, and
// returns what each looked like, in words that follow "what looks like": "a
// client secret". Everything that comes from outside goes through it before it is
// kept, quoted or logged: alerts, quarantined records, cells of files, and words
// typed by people.
//
// It recognises secrets by their shape (an Entra client secret has three
// characters, a digit and Q~; a PKCS#12 file begins with the same bytes in base64;
// a token has three parts), or by the name before them (Password=…, sig=…). When
// in doubt it takes a word out, but never a GUID, a thumbprint, a public
// certificate, or the address of a vault or of something in a vault.
//
// The shapes are those that Microsoft publishes for its own scanners (the
// sensitive information types of Microsoft Purview) and DER's first bytes
// (RFC 5958, 5915, 7292, 8017).
func Scrub(text string) (clean string, found []string) {
	seen := suspicions(text)
	if seen == 0 {
		return text, nil
	}
	clean = text
	for _, s := range shapes {
		if seen&s.hint == 0 {
			continue
		}
		after := s.form.ReplaceAllStringFunc(clean, s.take)
		if after != clean && !slices.Contains(found, s.what) {
			found = append(found, s.what)
		}
		clean = after
	}
	return clean, found
}

// Strip is Scrub for words that are going to be read for facts. Where it takes
// something out it leaves nothing behind, neither Removed nor the name before the
// secret, that could be read as a word.
func Strip(words string) (clean string, found []string) {
	if clean, found = Scrub(words); len(found) > 0 {
		clean = strings.TrimSpace(strings.ReplaceAll(namesRemoved.ReplaceAllString(clean, " "), Removed, " "))
	}
	return clean, found
}

// namesRemoved matches Removed together with the name before it: “password=[removed]”.
var namesRemoved = regexp.MustCompile(`(?i)(?:\b(?:client|account|access|shared|storage|api|subscription|primary|secondary|refresh|auth|app)[ _-]*)*\b[a-z]+["']?\s*[:=]\s*["']?` + regexp.QuoteMeta(Removed) + `["']?`)

// A shape is one form that secrets have.
type shape struct {
	what string                    // what is said of it: "a client secret"
	hint hint                      // form is tried only on texts that have this
	form *regexp.Regexp            // finds it
	take func(match string) string // returns what replaces a match
}

// A hint is a cheap sign that a text may hold a secret of some shape. Hints are
// bits, so that one look over a text collects all it has.
type hint uint8

const (
	hintPEM   hint = 1 << iota // PRIVATE KEY
	hintDER                    // MI, MH or MC: the beginning of many structures in base64
	hintTilde                  // ~
	hintToken                  // eyJ, bearer, xox, gh
	hintLong                   // a long row of base64 that ends as keys do, or holds one of signatures
	hintNamed                  // =, or : after a name of something secret
	hintUser                   // @ after ://
)

const (
	whatKey    = "a private key"
	whatPFX    = "a certificate with its private key"
	whatSecret = "a client secret"
	whatToken  = "a token"
	whatAccess = "an access key"
	whatPass   = "a password"
)

// body matches the rest of something in base64, in one piece or in lines. A piece
// that was cut off is matched to its end.
const body = `(?:[A-Za-z0-9+/=_-]{16,}(?:\s|\\[rn])*)*[A-Za-z0-9+/=_-]*`

var shapes = []shape{
	{whatKey, hintPEM, regexp.MustCompile(`(?s)(?:-* ?BEGIN [A-Z0-9 ]*PRIVATE\s+KEY|---[^-\r\n]{0,64}PRIVATE\s+KEY|PRIVATE\s+KEY(?: BLOCK)? ?---).*?(?:END [A-Z0-9 ]*PRIVATE\s+KEY(?: BLOCK)? ?-*|$)`), all},
	{whatPFX, hintDER, regexp.MustCompile(`MI(?:I[A-Za-z0-9+/_-]{2}[AQgw]IBAzC|[I-P][A-Za-z0-9+/_-]{3}[AEIMQUYcgkosw048]CAQMw|ACAQMw)` + body), all},
	{whatKey, hintDER, regexp.MustCompile(`(?:MII[A-Za-z0-9+/_-]{2}[AQgw]IB(?:ADAN|AAK[BC])|MII[A-Za-z0-9+/_-]{2}[DTjz]B.BgkqhkiG9w0BB|MI[GH][A-Za-z0-9+/_-]AgE(?:AMB|BB)|MHcCAQEE|MC4CAQAwBQYDK2Vw)` + body), all},
	{whatSecret, hintTilde, regexp.MustCompile(`[A-Za-z0-9_.~-]{0,3}[0-9]Q~[A-Za-z0-9_.~-]{16,}`), all},
	{whatSecret, hintTilde, regexp.MustCompile(`[A-Za-z0-9_.~-]{30,60}`), ifOldSecret},
	{whatToken, hintToken, regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){2,4}`), all},
	{whatToken, hintToken, regexp.MustCompile(`(?i)\bbearer\s+[A-Za-z0-9._~+/=-]{20,}`), func(m string) string { return m[:len("bearer")] + " " + Removed }},
	{whatToken, hintToken, regexp.MustCompile(`\b(?:xox[a-z]|xapp)-[A-Za-z0-9-]{10,}|\bgh[a-z]_[A-Za-z0-9]{30,}`), all},
	{whatAccess, hintLong, regexp.MustCompile(`[A-Za-z0-9+/]{86}==|[A-Za-z0-9+/_-]{33,76}(?:AIoT|\+ASb|\+AEh|\+ARm|AzFu|ACDb|APIM|AZDO)[A-Za-z0-9+/_-]{4,6}={0,2}|[A-Za-z0-9]{42}AzSe[A-D][A-Za-z0-9]{5}|[A-Za-z0-9]{52}JQQJ9[A-Za-z0-9]{9,}`), all},
	{whatAccess, hintNamed, regexp.MustCompile(`(?i)\bsig=[^&\s"'<>;\\]+`), named},
	{whatAccess, hintNamed, regexp.MustCompile(`(?i)[?&;](?:code|key|token|assertion|subscription-key)=[^&\s"'<>;\\]{16,}`), named},
	{whatAccess, hintNamed, regexp.MustCompile(`(?i)\b(?:(?:account|access|shared[ _-]?access|storage|api|subscription|primary|secondary)[ _-]?key|shared[ _-]?secret)` + value), ifSecret},
	{whatToken, hintNamed, regexp.MustCompile(`(?i)\b(?:(?:access|refresh|id|auth|bearer|sas)[ _-]?token|client[ _-]?assertion)` + value), ifSecret},
	{whatToken, hintNamed, regexp.MustCompile(`(?i)\bauthorization["']?\s*[:=]\s*["']?(?:basic|bearer|sharedkey|sharedaccesssignature)\s+[^\s"'<>\\]{8,}`), named},
	{whatSecret, hintNamed, regexp.MustCompile(`(?i)\bclient[ _-]?secret(?:[ _-]?(?:value|text))?` + value), ifSecret},
	{whatSecret, hintNamed, regexp.MustCompile(`(?i)\b(?:app[ _-]?)?secret(?:[ _-]?(?:value|text|key))?` + value), ifPlainlySecret},
	{whatPass, hintNamed, regexp.MustCompile(`(?i)\b(?:password|passwd|passphrase|pwd)` + value), ifSecret},
	{whatPass, hintUser, regexp.MustCompile(`://[^/\s:@"'<>]+:[^/\s@"'<>]+@`), func(m string) string { return m[:strings.IndexByte(m[3:], ':')+4] + Removed + "@" }},
}

// value matches what follows a name: = or :, and a word.
const value = `\\?["']?\s*[:=]\s*\\?["']?[^\s"'<>,;&\\]+`

func all(string) string { return Removed }

// named keeps the name of a value and takes the value.
func named(m string) string { return m[:strings.IndexAny(m, "=:")+1] + Removed }

// splitNamed cuts a match into the name, with the sign and quotes after it, and
// the value.
func splitNamed(m string) (name, value string) {
	at := strings.IndexAny(m, "=:") + 1
	at += len(m[at:]) - len(strings.TrimLeft(m[at:], " \t\r\n\\\"'"))
	return m[:at], m[at:]
}

// ifSecret takes the value after a name that only secrets have, unless it is
// plainly none: a word, an id, an address, a date.
func ifSecret(m string) string {
	name, v := splitNamed(m)
	if len(v) < 6 || harmless(v) || !strings.ContainsAny(v, "0123456789+/=~!@#$%^*") {
		return m
	}
	return name + Removed
}

// ifPlainlySecret takes the value after a name that harmless things may have as
// well ("secret"), if it is long and mixed enough to be no word.
func ifPlainlySecret(m string) string {
	name, v := splitNamed(m)
	if len(v) < 12 || harmless(v) || !mixed(v) {
		return m
	}
	return name + Removed
}

// ifOldSecret takes a word of the length that Entra's client secrets had before
// they got a digit and Q~: letters of both cases and digits, and a tilde.
func ifOldSecret(m string) string {
	if !strings.Contains(m, "~") || !mixed(m) {
		return m
	}
	return Removed
}

// mixed reports whether a word has letters of both cases and digits.
func mixed(v string) bool {
	return strings.ContainsAny(v, "0123456789") && strings.ContainsFunc(v, func(r rune) bool { return r >= 'a' && r <= 'z' }) &&
		strings.ContainsFunc(v, func(r rune) bool { return r >= 'A' && r <= 'Z' })
}

var (
	aDate     = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}`)
	aTemplate = regexp.MustCompile(`^[\[({$%«]`) // [removed], ${SECRET}, %PASSWORD%
	hexDigest = regexp.MustCompile(`^(?:[0-9a-fA-F]{40}|[0-9a-fA-F]{64})$`)
)

// harmless reports whether a word is known to be no secret.
func harmless(v string) bool {
	v = strings.TrimRight(v, ".)]}")
	return isGUID(strings.ToLower(strings.Trim(v, "{}"))) || hexDigest.MatchString(v) || strings.Contains(v, "://") || aDate.MatchString(v) || aTemplate.MatchString(v)
}

// suspicions looks once over a text and returns its hints. Nearly all texts have
// none, and then Scrub is done.
func suspicions(s string) hint {
	var h hint
	start, long := 0, false // where the current row of base64 began; whether any row was long
	for i := range len(s) {
		k := kinds[s[i]]
		if k == inBase64 {
			continue
		}
		if k&inBase64 == 0 {
			long = long || i-start >= 50
			if s[i] == '=' && i-start >= 86 {
				h |= hintLong
			}
			start = i + 1
		}
		if k&telling != 0 {
			h |= hintAt(s, i)
		}
	}
	if (long || len(s)-start >= 50) && slices.ContainsFunc(signatures[:], func(mark string) bool { return strings.Contains(s, mark) }) {
		h |= hintLong
	}
	return h
}

// hintAt returns the hint that the telling byte at i gives, or 0.
func hintAt(s string, i int) hint {
	switch s[i] {
	case '~':
		return hintTilde
	case '=':
		return hintNamed
	case ':':
		if endsSecret(s[:i]) {
			return hintNamed
		}
	case '@':
		if strings.Contains(s[:i], "://") {
			return hintUser
		}
	case 'I', 'H', 'C':
		if i > 0 && s[i-1] == 'M' {
			return hintDER
		}
	case 'J':
		if i > 1 && s[i-2:i] == "ey" {
			return hintToken
		}
	case 'K':
		if before := strings.TrimRight(s[:i], " \t\r\n"); len(before) < i && strings.HasSuffix(before, "PRIVATE") {
			return hintPEM
		}
	case ' ', '\t', '\n', '\r':
		if i >= 6 && s[i-1]|0x20 == 'r' && strings.EqualFold(s[i-6:i], "bearer") {
			return hintToken
		}
	case '-':
		if i >= 4 && (s[i-4:i-1] == "xox" || s[i-4:i] == "xapp") {
			return hintToken
		}
	case '_':
		if i >= 3 && s[i-3:i-1] == "gh" {
			return hintToken
		}
	}
	return 0
}

// The kinds of bytes that suspicions tells apart; a byte may be both.
const (
	inBase64 = 1 << iota // may stand in base64
	telling              // hintAt has to look at it
)

var kinds = func() (k [256]uint8) {
	for c := range 256 {
		if c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || strings.ContainsRune("+/-_", rune(c)) {
			k[c] |= inBase64
		}
		if strings.ContainsRune("~=:@IHCJK-_ \t\r\n", rune(c)) {
			k[c] |= telling
		}
	}
	return k
}()

// signatures stand in the keys of Azure's services, so that they can be told
// from other base64.
var signatures = [...]string{"AIoT", "+ASb", "+AEh", "+ARm", "AzFu", "ACDb", "APIM", "AZDO", "AzSe", "JQQJ9"}

// endsSecret reports whether a text ends in a name of something secret, apart
// from white space and quotes as they stand between a name and a colon.
func endsSecret(s string) bool {
	s = strings.TrimRight(s[max(0, len(s)-24):], " \t\"'\\")
	if s == "" || strings.IndexByte("teynhds", s[len(s)-1]|0x20) < 0 {
		return false
	}
	for _, name := range [...]string{"secret", "value", "text", "key", "token", "assertion", "authorization", "password", "passwd", "passphrase", "pwd"} {
		if len(s) >= len(name) && strings.EqualFold(s[len(s)-len(name):], name) {
			return true
		}
	}
	return false
}
