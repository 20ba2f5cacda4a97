package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"rehome/bot/intake"
)

// A report says what became of files of alerts while they are taken in: on
// lines of text, neighbours that came to the same on one; or as one JSON object
// at the end. On a terminal a bar shows how far it is.
type report struct {
	p      *program
	dry    bool
	again  bool // what is in quarantine is read again
	asJSON bool

	files []fileReport
	all   tally
	open  *stretch // that may go on with the next line

	read atomic.Int64 // bytes of the file under way
	size int64        // of it; 0 when unknown
	bar  int          // the width of the bar; 0 for none
}

// tally counts records by what became of them; a record that holds several
// violations counts for each.
type tally struct {
	Records     int `json:"records"`
	Opened      int `json:"opened"`
	Updated     int `json:"updated"`
	Known       int `json:"known"`
	Ignored     int `json:"ignored"`
	Quarantined int `json:"quarantined"`
}

// fileReport is what became of a file.
type fileReport struct {
	File    string   `json:"file"`
	Kind    string   `json:"kind,omitempty"`
	LeftOut []string `json:"leftOut,omitempty"` // columns that nothing was taken from
	tally
	Lines  []stretch  `json:"lines"`
	Errors []lineSaid `json:"errors"`
	Notes  []lineSaid `json:"notes"`
}

// stretch is a line, or neighbouring lines that came to the same.
type stretch struct {
	From          int      `json:"from"`
	To            int      `json:"to"`
	Became        string   `json:"became"` // opened, updated, known, ignored, quarantined; several with + between them
	Conversations []string `json:"conversations"`

	said []string // for people; a stretch that has something to say is one line
}

// lineSaid is something about a field of a record.
type lineSaid struct {
	Line    int    `json:"line"`
	Index   int    `json:"index"`
	Field   string `json:"field"`
	Message string `json:"message"`
}

func newReport(p *program, dry, asJSON bool) *report {
	r := &report{p: p, dry: dry, asJSON: asJSON}
	if width, ok := terminal(p.err); ok && p.env("TERM") != "dumb" {
		r.bar = max(10, min(width-30, 40))
	}
	return r
}

// file reports on one file, of size bytes when that is known.
func (r *report) file(name string, size int64, work func(hear func(heard) error) error) error {
	r.read.Store(0)
	r.size = size
	r.files = append(r.files, fileReport{File: name, Lines: []stretch{}, Errors: []lineSaid{}, Notes: []lineSaid{}})
	f := &r.files[len(r.files)-1]
	err := work(func(h heard) error {
		f.Kind, f.LeftOut = cmp.Or(f.Kind, h.Kind), slices.Concat(f.LeftOut, h.LeftOut)
		r.wipe()
		for _, b := range h.Became {
			r.add(f, b)
		}
		r.draw(f)
		return nil
	})
	r.wipe()
	r.close(f)
	r.all.sum(f.tally)
	if err == nil {
		r.summary(f)
	}
	return err
}

// end prints what is printed at the end.
func (r *report) end() error {
	if !r.asJSON {
		return nil
	}
	return r.p.writeJSON(struct {
		DryRun bool `json:"dryRun"`
		tally
		Files []fileReport `json:"files"`
	}{r.dry, r.all, r.files})
}

// add takes up what became of a record.
func (r *report) add(f *fileReport, b intake.Became) {
	f.count(b)
	s := stretch{From: b.Line, To: b.Line, Became: outcomeOf(b), Conversations: slices.DeleteFunc(b.Conversations, func(id string) bool { return id == rehearsed })}
	for _, fault := range b.Faults {
		s.said = append(s.said, fault.String())
		f.Errors = append(f.Errors, lineSaid{b.Line, b.Index, fault.Field, fault.Message})
	}
	for _, note := range b.Notes {
		s.said = append(s.said, note.String())
		f.Notes = append(f.Notes, lineSaid{b.Line, b.Index, note.Field, note.Message})
	}
	if o := r.open; o != nil && o.Became == s.Became && len(o.said) == 0 && len(s.said) == 0 {
		o.To = s.To
		o.Conversations = append(o.Conversations, s.Conversations...)
		return
	}
	r.close(f)
	r.open = &s
}

// close ends the stretch that was open and says it.
func (r *report) close(f *fileReport) {
	if r.open == nil {
		return
	}
	s := *r.open
	r.open = nil
	if r.asJSON {
		s.Conversations = append([]string{}, s.Conversations...) // a list, if an empty one
		f.Lines = append(f.Lines, s)
		return
	}
	f.Errors, f.Notes = nil, nil // they are said
	where := fmt.Sprintf("%s:%d", f.File, s.From)
	if s.To != s.From {
		where += fmt.Sprintf("-%d", s.To)
	}
	said := strings.Join(append([]string{r.words(s)}, s.said...), "; ")
	fmt.Fprintf(r.p.out, "%s  %s\n", where, cutAt(oneLine(said), 1000))
}

// outcomes are what can become of a record, each with its words.
var outcomes = []struct {
	name, words, dry string
	of               func(intake.Became) int
}{
	{"opened", "opened", "would open a conversation", func(b intake.Became) int { return b.Opened }},
	{"updated", "brought up to date", "would bring a conversation up to date", func(b intake.Became) int { return b.Updated }},
	{"known", "known already", "known already", func(b intake.Became) int { return b.Known }},
	{"ignored", "nothing to do", "nothing to do", func(b intake.Became) int { return b.Ignored }},
	{"quarantined", "not understood and kept in quarantine", "not understood", func(b intake.Became) int {
		if b.Quarantined {
			return 1
		}
		return 0
	}},
}

func outcomeOf(b intake.Became) string {
	var names []string
	for _, o := range outcomes {
		if o.of(b) > 0 {
			names = append(names, o.name)
		}
	}
	return strings.Join(names, "+")
}

// words says what a stretch came to: "opened RH-1 to RH-3".
func (r *report) words(s stretch) string {
	var said []string
	for name := range strings.SplitSeq(s.Became, "+") {
		for _, o := range outcomes {
			switch {
			case o.name != name:
			case r.dry:
				said = append(said, o.dry)
			default:
				said = append(said, o.words)
			}
		}
	}
	text := strings.Join(said, ", ")
	if len(s.Conversations) > 0 {
		text += " " + spoken(s.Conversations)
	}
	return text
}

// spoken names conversations: one, a few, or the first and the last of many.
func spoken(ids []string) string {
	if n := len(ids); n > 3 {
		return fmt.Sprintf("%s … %s (%d)", ids[0], ids[n-1], n)
	}
	return strings.Join(ids, ", ")
}

func (t *tally) count(b intake.Became) {
	t.Records++
	t.Opened += b.Opened
	t.Updated += b.Updated
	t.Known += b.Known
	t.Ignored += b.Ignored
	if b.Quarantined {
		t.Quarantined++
	}
}

func (t *tally) sum(o tally) {
	t.Records += o.Records
	t.Opened += o.Opened
	t.Updated += o.Updated
	t.Known += o.Known
	t.Ignored += o.Ignored
	t.Quarantined += o.Quarantined
}

// summary says what became of a file as a whole.
func (r *report) summary(f *fileReport) {
	if r.asJSON {
		return
	}
	parts := []string{}
	for i, n := range []int{f.Opened, f.Updated, f.Known, f.Ignored, f.Quarantined} {
		if n > 0 {
			words := outcomes[i].words
			if r.dry {
				words = outcomes[i].dry
			}
			parts = append(parts, fmt.Sprintf("%d %s", n, words))
		}
	}
	if len(parts) == 0 {
		parts = append(parts, "nothing to take in")
	}
	kind := ""
	if f.Kind != "" {
		kind = " (" + f.Kind + ")"
	}
	fmt.Fprintf(r.p.out, "%s: %s%s: %s\n", f.File, count(f.Records, "record"), kind, strings.Join(parts, ", "))
	if len(f.LeftOut) > 0 {
		columns := "column"
		if len(f.LeftOut) > 1 {
			columns = "columns"
		}
		fmt.Fprintf(r.p.out, "%s: nothing was taken from the %s %s; --map says what a column is\n", f.File, columns, oneLine(strings.Join(f.LeftOut, ", ")))
	}
	switch {
	case f.Quarantined == 0 || r.dry:
	case r.again:
		fmt.Fprintln(r.p.out, "What will never be understood is let go of by its number, for good: rehome import --quarantined --discard 3,7")
	default:
		fmt.Fprintln(r.p.out, "See what is in quarantine: rehome list --quarantined. Read it again after an update: rehome import --quarantined")
	}
}

// draw shows how far the file is read.
func (r *report) draw(f *fileReport) {
	if r.bar == 0 {
		return
	}
	if r.size > 0 {
		part := min(1, float64(r.read.Load())/float64(r.size))
		full := int(part * float64(r.bar))
		fmt.Fprintf(r.p.err, "%s%s %3.0f%%  ", strings.Repeat("█", full), strings.Repeat("░", r.bar-full), 100*part)
	}
	fmt.Fprint(r.p.err, count(f.Records, "record"))
}

// wipe takes the bar off the screen, so that lines can be printed.
func (r *report) wipe() {
	if r.bar > 0 {
		fmt.Fprint(r.p.err, "\r\x1b[K")
	}
}

// gauge counts what is read through it.
type gauge struct {
	io.Reader
	n *atomic.Int64
}

func (c *gauge) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}
