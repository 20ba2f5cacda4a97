package intake

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// reading collects what is found while a record is read.
type reading struct {
	faults  []Fault
	leftOut []Fault
	notes   []Fault
	ignored []Fault
}

// most is how many things are said of one record; nobody reads more.
const most = 50

func say(said *[]Fault, at, message string) {
	if len(*said) < most {
		*said = append(*said, Fault{at, message})
	}
}

// leave says that something was left out.
func (r *reading) leave(at, message string) { say(&r.leftOut, at, message) }

// note says how something was read.
func (r *reading) note(at, message string) { say(&r.notes, at, message) }

// ignore says why something is no violation.
func (r *reading) ignore(at, message string) { say(&r.ignored, at, message) }

// fields reads the members of one object. Each method returns the zero value
// for a member that is absent, null or empty, and for one that is wrong, which
// it also writes down. The zero fields has no members.
type fields struct {
	*reading
	at string // path of the object
	o  object
}

func (f fields) fault(name, message string) {
	say(&f.faults, f.path(name), message)
}

// path is the name as it was sent, after the path of the object.
func (f fields) path(name string) string {
	if name == "" {
		return f.at
	}
	if m := f.get(name); m.name != "" {
		name = m.name
	}
	return join(f.at, name)
}

// get returns a member by its name in any case; the names asked for are short
// and in ASCII.
func (f fields) get(name string) member {
	var folded [64]byte
	if len(name) > len(folded) {
		return f.o[fold(name)]
	}
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		folded[i] = c
	}
	return f.o[string(folded[:len(name)])]
}

func (f fields) has(name string) bool { return f.get(name).value != nil }

// holds reports whether a member is an object that has the inner one.
func (f fields) holds(name, inner string) bool {
	o, _ := f.get(name).value.(object)
	return o[fold(inner)].value != nil
}

// need faults each name that has no value.
func (f fields) need(names ...string) {
	for _, name := range names {
		if s, ok := f.get(name).value.(string); !f.has(name) || ok && strings.TrimSpace(s) == "" {
			f.fault(name, "is missing; add it")
		}
	}
}

// object returns the members of an object inside this one.
func (f fields) object(name string) fields {
	in := fields{reading: f.reading, at: f.path(name)}
	switch v := f.get(name).value.(type) {
	case nil:
	case object:
		in.o = v
	default:
		f.fault(name, "must be a JSON object")
	}
	return in
}

// Text from outside is kept to what a person can read: a title as the canonical
// schema bounds it, everything else to a length no real value reaches.
const (
	maxTitle = 500
	maxText  = 1000
	maxURL   = 2048
)

// text returns a string on one line. A number or a bool is taken as it is
// written: feeds are loose about quotes.
func (f fields) text(name string) string {
	s := f.raw(name)
	if len(s) > maxText && utf8.RuneCountInString(s) > maxText {
		f.leave(f.path(name), fmt.Sprintf("was longer than %d characters and was cut", maxText))
		s = cut(s, maxText)
	}
	return s
}

// bounded returns a string that must not be cut, because it is compared whole.
func (f fields) bounded(name string, most int) string {
	s := f.raw(name)
	if utf8.RuneCountInString(s) > most {
		f.fault(name, fmt.Sprintf("is longer than %d characters; send the %s alone", most, lastPart(name)))
		return ""
	}
	return s
}

func (f fields) raw(name string) string {
	switch v := f.get(name).value.(type) {
	case nil:
	case string:
		return oneLine(v)
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	default:
		f.fault(name, "must be a text")
	}
	return ""
}

// first returns the text of the first name that has one.
func (f fields) first(names ...string) string {
	for _, name := range names {
		if s := f.text(name); s != "" {
			return s
		}
	}
	return ""
}

var guidForm = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// guid returns a GUID in lower case, without the braces some tools write.
func (f fields) guid(name string) string {
	s := strings.Trim(f.raw(name), "{}")
	if s == "" {
		return ""
	}
	if !guidForm.MatchString(s) {
		f.fault(name, "is not a GUID; send it as 00000000-0000-0000-0000-000000000000")
		return ""
	}
	return strings.ToLower(s)
}

// oneOf returns the value of the list that is written like the text, in any case.
func (f fields) oneOf(name string, values ...string) string {
	s := f.raw(name)
	if s == "" {
		return ""
	}
	for _, v := range values {
		if strings.EqualFold(s, v) {
			return v
		}
	}
	f.fault(name, "must be one of "+strings.Join(values, ", "))
	return ""
}

// Times outside these years are a unit mistaken (milliseconds for seconds) or a
// placeholder (0001-01-01, 9999-12-31), and would come out as nonsense dates.
const (
	firstYear = 2000
	lastYear  = 2100
)

// time returns an RFC 3339 time in UTC.
func (f fields) time(name string) time.Time {
	return f.timeIn(name, "must be a time such as 2026-11-18T07:00:00Z", time.RFC3339)
}

// looseTime also takes a date, and a time without a zone, which is UTC: the
// feeds it is used for are said to write both.
func (f fields) looseTime(name string) time.Time {
	return f.timeIn(name, "must be a time such as 2026-11-18T07:00:00Z or a date such as 2026-11-18",
		time.RFC3339, "2006-01-02T15:04:05", time.DateOnly)
}

func (f fields) timeIn(name, hint string, layouts ...string) time.Time {
	s := f.raw(name)
	if s == "" {
		return time.Time{}
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, s); err == nil {
			return f.boundedTime(name, t)
		}
	}
	f.fault(name, hint)
	return time.Time{}
}

// unixTime returns a time sent as seconds since 1970, as a number or a string.
func (f fields) unixTime(name string) time.Time {
	s := f.raw(name)
	if s == "" {
		return time.Time{}
	}
	seconds, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		f.fault(name, "must be the seconds since 1970, a whole number")
		return time.Time{}
	}
	return f.boundedTime(name, time.Unix(seconds, 0))
}

func (f fields) boundedTime(name string, t time.Time) time.Time {
	t = t.UTC()
	if t.Year() < firstYear || t.Year() > lastYear {
		f.fault(name, fmt.Sprintf("is outside the years %d to %d; send the right time, or leave it out", firstYear, lastYear))
		return time.Time{}
	}
	return t
}

// count returns a number of things.
func (f fields) count(name string) int {
	s := f.raw(name)
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 1_000_000 {
		f.fault(name, "must be a whole number from 0 up")
		return 0
	}
	return n
}

// yes returns a bool, also one written as a text ("True").
func (f fields) yes(name string) bool {
	s := f.raw(name)
	if s == "" {
		return false
	}
	b, err := strconv.ParseBool(strings.ToLower(s))
	if err != nil {
		f.fault(name, "must be true or false")
	}
	return b
}

// address returns an http(s) address. Any other is left out and said: it is
// only ever shown, and the violation is worth having without it.
func (f fields) address(name string) string {
	s := f.raw(name)
	if s == "" {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || len(s) > maxURL || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || u.User != nil {
		f.leave(f.path(name), "is not a plain http or https address and was left out")
		return ""
	}
	return s
}

// thumbprint returns a certificate's SHA-1 or SHA-256 thumbprint in upper-case
// hex. Hex with separators and base64 occur, too (Graph's customKeyIdentifier).
func (f fields) thumbprint(name string) string {
	s := f.raw(name)
	if s == "" {
		return ""
	}
	if b, ok := hash(s); ok {
		return strings.ToUpper(hex.EncodeToString(b))
	}
	f.fault(name, "must be a SHA-1 or SHA-256 thumbprint: 40 or 64 hex digits, or the same in base64")
	return ""
}

func hash(s string) ([]byte, bool) {
	bare := strings.NewReplacer(":", "", "-", "", " ", "").Replace(s)
	if b, err := hex.DecodeString(bare); err == nil && isHash(b) {
		return b, true
	}
	s = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(s), "=")
	b, err := base64.RawStdEncoding.DecodeString(s)
	return b, err == nil && isHash(b)
}

func isHash(b []byte) bool { return len(b) == 20 || len(b) == 32 }

// oneLine takes out what could break a line, hide text or turn its direction
// round, and puts single spaces between the words that remain.
func oneLine(s string) string {
	if isOneLine(s) {
		return s
	}
	s = strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c), unicode.IsControl(c):
			return ' '
		case unicode.Is(unicode.Bidi_Control, c), c == '\u200b', c == '\ufeff', c == utf8.RuneError:
			return -1
		}
		return c
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// isOneLine reports whether a text is surely as oneLine would have it, as most
// are.
func isOneLine(s string) bool {
	before := byte(' ')
	for i := range len(s) {
		c := s[i]
		if c < ' ' || c >= 0x7f || c == ' ' && before == ' ' {
			return false
		}
		before = c
	}
	return s == "" || before != ' '
}

// cut keeps at most n characters.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

func lastPart(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }
