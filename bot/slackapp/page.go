package slackapp

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/slack-go/slack"
)

// A page is a message or a view being written: its blocks, and its text, which says
// the same. Screen readers and notifications have the text alone, so whatever is put
// on a page goes into both.
//
// Nearly all words of a block are also in the text. They are written there first,
// and the block's are a part of that string.
type page struct {
	blocks []slack.Block
	size   int  // characters in blocks
	full   bool // something had to be left out, and that was said

	atoms []markup // of the paragraph that is being written; room for the next one's
	text  strings.Builder
	chars int // characters in text
	fits  int // how many bytes of text fit into one message, up to the end of an atom
}

// header is a line of large print. It is plain text to Slack, so that nothing
// in it can format; the words are escaped all the same.
func (p *page) header(s string) {
	s = orElse(label(s, maxHeader), "(empty)")
	p.add(slack.NewHeaderBlock(slack.NewTextBlockObject(slack.PlainTextType, s, false, false)), utf8.RuneCountInString(s), bold(words(s)))
}

// say is a paragraph, in as many blocks as it needs.
func (p *page) say(m ...markup) {
	p.paragraphs(m, func(s *slack.TextBlockObject) slack.Block { return slack.NewSectionBlock(s, nil, nil) })
}

// paragraphs adds atoms to the words, and to the blocks in as few as they fit.
func (p *page) paragraphs(m []markup, block func(*slack.TextBlockObject) slack.Block) {
	before := p.chars
	said := p.speak(m...)
	if chars := p.chars - before; chars <= maxTextObject-100 {
		if s := trim(said); s != "" {
			p.add(block(mrkdwn(s)), chars-(len(said)-len(s)))
		}
		return
	}
	for _, s := range pack(m, maxTextObject-100) {
		p.add(block(mrkdwn(s)), utf8.RuneCountInString(s))
	}
}

// below returns the page with a paragraph above it.
func (p *page) below(m ...markup) *page {
	first := say(m...)
	for _, b := range p.blocks {
		first.add(b, 0)
	}
	for line := range strings.Lines(p.text.String()) {
		first.utter(markup(line))
	}
	first.size += p.size
	return first
}

// beside is a paragraph with a button at its side.
func (p *page) beside(blockID string, button *slack.ButtonBlockElement, m ...markup) {
	texts := pack(m, maxTextObject-100)
	if len(texts) == 0 {
		return
	}
	block := slack.NewSectionBlock(mrkdwn(texts[0]), nil, slack.NewAccessory(button))
	block.BlockID = blockID
	p.add(block, utf8.RuneCountInString(texts[0]), m...)
}

// note is a paragraph in small print.
func (p *page) note(m ...markup) {
	p.paragraphs(m, func(s *slack.TextBlockObject) slack.Block { return slack.NewContextBlock("", s) })
}

// controls are buttons or a select, and how they are said.
func (p *page) controls(blockID string, spoken []markup, elements ...slack.BlockElement) {
	p.add(slack.NewActionBlock(blockID, elements...), 0, spoken...)
}

func (p *page) rule() { p.add(slack.NewDividerBlock(), 0) }

// speak adds a line to the text, and to no block, and returns it.
func (p *page) speak(m ...markup) string {
	if len(m) == 0 {
		return ""
	}
	from := p.text.Len()
	for _, atom := range m {
		p.utter(atom)
	}
	p.utter(newline)
	return p.text.String()[from:]
}

// utter adds an atom to the text, and notes whether it still fits.
func (p *page) utter(atom markup) {
	p.text.WriteString(string(atom))
	p.chars += utf8.RuneCountInString(string(atom))
	if p.chars <= maxTopLevel-100 {
		p.fits = p.text.Len()
	}
}

// add appends a block of size characters while there is room, and adds spoken to
// the text. The first block that does not fit is replaced by a note that something
// is missing; the rest are left out.
func (p *page) add(b slack.Block, size int, spoken ...markup) {
	p.speak(spoken...)
	switch {
	case p.full:
	case len(p.blocks) >= maxBlocks-1 || p.size+size > maxAllText:
		p.full = true
		p.blocks = append(p.blocks, slack.NewContextBlock("", mrkdwn(string(voiceCut))))
	default:
		p.blocks = append(p.blocks, b)
		p.size += size
	}
}

// words returns the page as a message's top-level text, shortened to what one holds.
func (p *page) words() string {
	all := p.text.String()
	switch kept := trim(all[:p.fits]); {
	case trim(all[p.fits:]) != "":
		return kept + "\n" + string(voiceCut)
	case kept == "":
		return string(voiceEmpty)
	default:
		return kept
	}
}

// stamp gives the first block its id, by which the message can be found again,
// and every other block without one an id of its own, so that two renderings of
// one card are the same bytes.
func (p *page) stamp(marker string) {
	var ids strings.Builder
	ids.Grow(len(p.blocks) * (len(marker) + len(":00")))
	for i, b := range p.blocks {
		from := ids.Len()
		ids.WriteString(marker)
		if i > 0 {
			ids.WriteByte(':')
			ids.WriteString(strconv.Itoa(i))
		}
		id := ids.String()[from:]
		switch b := b.(type) {
		case *slack.HeaderBlock:
			b.BlockID = orElse(b.BlockID, id)
		case *slack.SectionBlock:
			b.BlockID = orElse(b.BlockID, id)
		case *slack.ContextBlock:
			b.BlockID = orElse(b.BlockID, id)
		case *slack.DividerBlock:
			b.BlockID = orElse(b.BlockID, id)
		}
	}
}

func orElse(s, other string) string {
	if s != "" {
		return s
	}
	return other
}

// mrkdwn makes a text object. Verbatim keeps Slack from linking addresses and
// names that merely stand in the text.
func mrkdwn(s string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.MarkdownType, s, false, true)
}

func plainText(s string, limit int) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.PlainTextType, orElse(label(s, limit), "(empty)"), false, false)
}
