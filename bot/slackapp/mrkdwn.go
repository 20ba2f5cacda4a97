package slackapp

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"rehome/policy"
)

// This file is the only place where words become Slack's mrkdwn.
//
// A markup is mrkdwn that is safe to send. It is made by the functions below
// and by nothing else, so that a string from outside cannot get into a message
// without having been escaped on its way:
//
//	words   shown letter for letter: no formatting, no mention, no link, no emoji
//	code    a value in a code span; nothing in it means anything to Slack
//	fence   the same, as a block of its own
//	link    our words with a configured http(s) address
//	mention a person, by user id
//
// Text objects are sent with verbatim set (see section), so that Slack does not
// turn bare addresses and names into links of its own accord either.
type markup string

// Slack's limits, in characters (reference: Block Kit, "Text object" and
// chat.update's msg_too_long).
const (
	maxTextObject = 3000
	maxTopLevel   = 3900 // chat.update refuses more than 4,000
	maxHeader     = 150
	maxLabel      = 75 // button texts, option texts, descriptions and values
	maxBlocks     = 50
	maxAllText    = 12000 // of all blocks together; about 13,200 is where msg_blocks_too_long was seen
)

// Lengths we cut outside text at, so that one long value cannot crowd out the rest.
const (
	maxValue = 300
	maxCode  = 1000
	maxFence = 2500
	maxAtom  = 400
)

const newline markup = "\n"

// words shows s letter for letter, shortened to maxCode characters.
func words(s string) markup { return fitting(clean(s), maxCode, neutral) }

// fitting makes markup of as much of s as fits into a text object. limit is how
// many characters of s are tried first; of may make several of one.
func fitting(s string, limit int, of func(string) string) markup {
	for {
		out := of(cut(s, limit))
		if within(out, maxTextObject-200) || limit < 20 {
			return markup(out)
		}
		limit /= 2
	}
}

// code shows s as a value that can be copied, shortened to maxValue characters.
// Backticks in it become apostrophes, since they would end it.
func code(s string) markup { return span(s, maxValue) }

func span(s string, limit int) markup {
	s = strings.TrimSpace(strings.ReplaceAll(clean(s), "`", "'"))
	if s == "" {
		return "`(empty)`"
	}
	return fitting(s, limit, func(s string) string { return "`" + escape(s) + "`" })
}

// fence shows s as a block of lines.
func fence(s string) markup {
	lines := strings.Split(strings.ReplaceAll(s, "`", "'"), "\n")
	for i, l := range lines {
		lines[i] = tidy(l)
	}
	s = strings.Trim(strings.Join(lines, "\n"), "\n")
	return fitting(s, maxFence, func(s string) string { return "```\n" + escape(s) + "\n```" })
}

// bold stresses m. Slack ignores a marker next to a space, so those stay outside.
func bold(m markup) markup   { return mark("*", m) }
func strike(m markup) markup { return mark("~", m) }

func mark(with string, m markup) markup {
	s := string(m)
	inner := strings.TrimSpace(s)
	switch len(inner) {
	case 0:
		return m
	case len(s):
		return markup(with + s + with)
	}
	at := strings.Index(s, inner)
	return markup(s[:at] + with + inner + with + s[at+len(inner):])
}

// link makes title lead to address, or shows both when the address is not one
// that may be linked.
func link(title, address string) markup {
	const longest = 1500
	safe, ok := address, isBareAddress(address)
	if !ok {
		u, err := url.Parse(address)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return words(title) + " (" + code(address) + ")"
		}
		safe = linkEscaper.Replace(tidy(u.String()))
	}
	if len(safe) > longest {
		return words(title) + " (" + code(address) + ")"
	}
	shown := neutral(strings.ReplaceAll(label(title, 200), "|", "/"))
	return markup("<" + safe + "|" + orElse(shown, "link") + ">")
}

// isBareAddress reports whether an address is made of nothing that parsing or
// escaping could change, as nearly all of the policy's are.
func isBareAddress(s string) bool {
	rest, ok := strings.CutPrefix(s, "https://")
	if !ok || rest == "" || rest[0] == '/' || rest[0] == '?' {
		return false
	}
	for i := range len(rest) {
		c := rest[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-._/?=", rune(c)) {
			return false
		}
	}
	return true
}

var userID = regexp.MustCompile(`^[UW][A-Z0-9]{1,20}$`)

// mention names a person. Anything but a user id is shown as it is.
func mention(id string) markup {
	if !userID.MatchString(id) {
		return code(id)
	}
	return markup("<@" + id + ">")
}

var channelID = regexp.MustCompile(`^[CDG][A-Z0-9]{1,20}$`)

func channelMention(id string) markup {
	if !channelID.MatchString(id) {
		return code(id)
	}
	return markup("<#" + id + ">")
}

// day shows a date in the reader's own time zone.
func day(t time.Time) markup {
	return markup("<!date^" + strconv.FormatInt(t.Unix(), 10) + "^{date_short_pretty}|" + t.UTC().Format("2 Jan 2006") + ">")
}

// moment shows a date and a time of day in the reader's own time zone.
func moment(t time.Time) markup {
	return markup("<!date^" + strconv.FormatInt(t.Unix(), 10) + "^{date_short_pretty} at {time}|" + t.UTC().Format("2 Jan 2006 15:04 UTC") + ">")
}

// prose makes markup of a text. It comes in atoms, pieces that must not be cut.
func prose(t policy.Text) []markup { return appendProse(make([]markup, 0, 2*len(t)), t) }

func appendProse(out []markup, t policy.Text) []markup {
	before := len(out)
	for _, s := range t {
		switch s.Kind {
		case policy.Plain:
			out = appendAtoms(out, s.Text)
		case policy.Bold:
			out = append(out, bold(words(cut(s.Text, maxCode))))
		case policy.Code:
			out = append(out, span(s.Text, maxCode))
		case policy.Value:
			out = appendValue(out, s.Text)
		case policy.Linked:
			out = append(out, link(s.Text, s.URL))
		case policy.Who:
			out = append(out, mention(s.Text))
		case policy.Break:
			out = append(out, newline)
		case policy.Bullet:
			if len(out) > before && out[len(out)-1] != newline {
				out = append(out, newline)
			}
			out = append(out, "• ")
		case policy.Block:
			out = append(out, newline, fence(s.Text), newline)
		}
	}
	return out
}

// appendValue shows what may come from outside: a few words as a value, and more,
// such as a whole sentence, as words.
func appendValue(out []markup, s string) []markup {
	n := 4 // words in the longest names we know
	for range strings.FieldsSeq(s) {
		if n--; n < 0 {
			return appendAtoms(out, s)
		}
	}
	return append(out, code(s))
}

// atoms cuts long words into pieces at spaces, so that a message can be cut
// between them.
func atoms(s string) []markup { return appendAtoms(nil, s) }

func appendAtoms(out []markup, s string) []markup {
	lead, tail := strings.HasPrefix(s, " "), strings.HasSuffix(s, " ")
	s = cut(clean(s), maxAllText)
	if lead && s != "" {
		out = append(out, " ")
	}
	for !within(s, maxAtom) {
		head := first(s, maxAtom)
		if i := strings.LastIndex(head, " "); i > 0 {
			head = head[:i+1]
		}
		out, s = append(out, markup(neutral(head))), s[len(head):]
	}
	if s != "" {
		out = append(out, markup(neutral(s)))
	}
	if tail {
		out = append(out, " ")
	}
	return out
}

// pack joins atoms into as few texts of at most limit characters as it can.
func pack(atoms []markup, limit int) []string {
	var out []string
	from, size, bytes := 0, 0, 0
	flush := func(to int) {
		var b strings.Builder
		b.Grow(bytes)
		for _, a := range atoms[from:to] {
			b.WriteString(string(a))
		}
		if s := trim(b.String()); s != "" {
			out = append(out, s)
		}
		from, size, bytes = to, 0, 0
	}
	for i, a := range atoms {
		n := utf8.RuneCountInString(string(a))
		if size+n > limit {
			flush(i)
		}
		size, bytes = size+n, bytes+len(a)
	}
	flush(len(atoms))
	return out
}

// trim takes off the spaces and line breaks that are for between two atoms.
func trim(s string) string { return strings.Trim(s, "\n ") }

// clean makes one line of s without anything invisible, single-spaced.
func clean(s string) string {
	if s = strings.Trim(s, " "); isClean(s) {
		return s // nearly always
	}
	s = strings.Trim(tidy(s), " ")
	if strings.Contains(s, "  ") {
		return strings.Join(strings.Fields(s), " ")
	}
	return s
}

// isClean reports whether there is certainly nothing to clean: every character
// is one that can be seen, with no two spaces between.
func isClean(s string) bool {
	spaces := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c > ' ' && c < 0x7f {
			spaces = 0
			continue
		}
		if spaces++; c != ' ' || spaces == 2 {
			return false
		}
	}
	return true
}

// tidy takes out what cannot be seen: control characters, marks that turn the
// reading direction, zero-width characters. Every space becomes a plain one.
func tidy(s string) string {
	if isTidy(s) {
		return s // nearly always
	}
	return strings.Map(func(r rune) rune {
		switch {
		case !untidy(r):
			return r
		case unicode.Is(unicode.Cf, r):
			return -1
		}
		return ' '
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

func isTidy(s string) bool {
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c < ' ' || c == 0x7f {
				return false
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || untidy(r) {
			return false
		}
		i += n
	}
	return true
}

// untidy reports whether a character is invisible, or a space that is not plain.
// The joiners are left alone: they carry meaning in several scripts.
func untidy(r rune) bool {
	switch {
	case r < 0x7f:
		return r < ' '
	case r == '\u200c', r == '\u200d':
		return false
	}
	return unicode.IsControl(r) || unicode.IsSpace(r) || unicode.Is(unicode.Cf, r)
}

func escape(s string) string { return escaper.Replace(s) }

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

const zeroWidth = "\u200b"

// neutral escapes s so that formatting characters mean nothing to Slack. Inside a
// word they mean nothing and stay as they are. At the edge of a word they are put
// between zero-width spaces. Whether Slack treats those as spaces or as letters,
// the character can then neither open nor close anything.
func neutral(s string) string {
	var b strings.Builder
	from := 0 // what is before was written
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !formatting[c] {
			continue
		}
		as := ""
		switch c {
		case '&':
			as = "&amp;"
		case '<':
			as = "&lt;"
		case '>':
			as = "&gt;"
			if i == 0 {
				as = zeroWidth + as // or it would open a quotation
			}
		case '`':
			as = "'"
		case '*', '_', '~':
			if !insideWord(s, i) {
				as = zeroWidth + string(rune(c)) + zeroWidth
			}
		case ':', '@':
			if calls(s[i:]) {
				as = string(rune(c)) + zeroWidth
			}
		}
		if as != "" {
			if from == 0 {
				b.Grow(len(s) + 32)
			}
			b.WriteString(s[from:i])
			b.WriteString(as)
			from = i + 1
		}
	}
	if from == 0 {
		return s // nearly always
	}
	b.WriteString(s[from:])
	return b.String()
}

// formatting are the characters that neutral has to look at.
var formatting = [256]bool{'&': true, '<': true, '>': true, '`': true, '*': true, '_': true, '~': true, ':': true, '@': true}

// calls reports whether s begins with the name of an emoji (":fire:"), or with one
// that mentions many people ("@here").
func calls(s string) bool {
	const longest = 100 // of a name, which is ASCII
	return len(s) > 1 && s[1] != ' ' && calling.MatchString(s[:min(len(s), longest)])
}

var calling = regexp.MustCompile(`^(?::[a-zA-Z0-9_+'-]*[a-zA-Z+][a-zA-Z0-9_+'-]*:|@(?i:here|channel|everyone|group)\b)`)

// insideWord reports whether the one-byte character at i has a letter or digit
// at either side.
func insideWord(s string, i int) bool {
	letter := func(r rune, _ int) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	return letter(utf8.DecodeLastRuneInString(s[:i])) && letter(utf8.DecodeRuneInString(s[i+1:]))
}

// cut shortens s to limit characters and says that it did.
func cut(s string, limit int) string { return cutWith(s, limit, "… (cut)") }

// label shortens s to limit characters where there is no room to say more than
// an ellipsis.
func label(s string, limit int) string { return cutWith(literal(s), limit, "…") }

func cutWith(s string, limit int, mark string) string {
	if within(s, limit) {
		return s
	}
	keep := max(0, limit-utf8.RuneCountInString(mark))
	return strings.TrimRight(first(s, keep), " ") + mark
}

// first returns the first n characters of s, which has more.
func first(s string, n int) string {
	for i := range s {
		if n--; n < 0 {
			return s[:i]
		}
	}
	return s
}

// within reports whether s has at most limit characters.
func within(s string, limit int) bool {
	return len(s) <= limit || utf8.RuneCountInString(s) <= limit
}

// literal returns s for a plain_text object, which Slack shows as it is. Angle
// brackets become similar characters all the same, in case a client reads markup
// in them.
func literal(s string) string {
	return brackets.Replace(clean(s))
}

var (
	brackets    = strings.NewReplacer("<", "‹", ">", "›")
	linkEscaper = strings.NewReplacer("<", "%3C", ">", "%3E", "|", "%7C", "`", "%60", "&", "&amp;", " ", "%20")
)
