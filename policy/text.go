package policy

import (
	"strings"
	"unicode/utf8"
)

// A Text is prose made of spans. Whatever shows it (Slack, a terminal, a page)
// styles and escapes each kind of span in its own way, so that a value that came
// from outside can never become a link, a mention or formatting.
type Text []Span

// A Span is a run of text of one kind.
type Span struct {
	Kind SpanKind
	Text string
	URL  string // Linked only; http or https
}

// SpanKind says how a span is shown.
type SpanKind int

const (
	Plain  SpanKind = iota // our own words
	Bold                   // our own words, stressed
	Code                   // a value or command to be copied; may hold outside text
	Linked                 // our own words with an address
	Value                  // a filled-in fact; may hold outside text
	Break                  // a new paragraph line; Text is empty
	Bullet                 // starts a new bulleted line; Text is empty
	Block                  // a block of code on lines of its own, e.g. a query
	Who                    // a person; Text is their user id, shown by name
)

// String returns the text without styling, one line per paragraph or bullet.
// Links are followed by their address in parentheses.
func (t Text) String() string {
	var b strings.Builder
	for _, s := range t {
		switch s.Kind {
		case Break:
			b.WriteString("\n")
		case Bullet:
			if b.Len() > 0 {
				b.WriteString("\n")
			}
			b.WriteString("• ")
		case Block:
			b.WriteString("\n" + s.Text + "\n")
		case Linked:
			b.WriteString(s.Text + " (" + s.URL + ")")
		case Who:
			b.WriteString("@" + s.Text)
		case Plain, Bold, Code, Value:
			b.WriteString(s.Text)
		}
	}
	return b.String()
}

// Len returns the number of characters in String's result, without making it.
func (t Text) Len() int {
	n := 0
	for _, s := range t {
		switch s.Kind {
		case Break:
			n++
		case Bullet:
			if n > 0 {
				n++
			}
			n += len([]rune("• "))
		case Linked:
			n += len(" (") + utf8.RuneCountInString(s.URL) + len(")")
		case Block:
			n += 2 * len("\n")
		case Who:
			n += len("@")
		case Plain, Bold, Code, Value:
		}
		if s.Kind != Break && s.Kind != Bullet {
			n += utf8.RuneCountInString(s.Text)
		}
	}
	return n
}

// Say makes a Text of plain words.
func Say(words string) Text { return Text{{Kind: Plain, Text: words}} }
