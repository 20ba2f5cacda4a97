package slackapp

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/slack-go/slack"

	"rehome/conversation"
	"rehome/policy"
)

// render makes the message for a card: its blocks, and the same in words. It is
// pure; the same card gives the same bytes.
//
// The first block bears the marker of the card, so that the message can be
// recognised when it is read back. Controls bear all that is needed to know
// what was pressed, see control.
func render(card conversation.Card, m marker) ([]slack.Block, string) {
	p := page{blocks: make([]slack.Block, 0, 16), atoms: make([]markup, 0, 64)}
	p.text.Grow(4 << 10) // most of what a message may hold
	switch c := card.(type) {
	case conversation.Root:
		renderRoot(&p, c, m)
	case conversation.Question:
		renderQuestion(&p, c, m)
	case conversation.Advice:
		renderAdvice(&p, c, m)
	case conversation.Remark:
		p.say(prose(c.Text)...)
	}
	if len(p.blocks) == 0 {
		p.say(voiceEmpty)
	}
	p.stamp(m.String())
	return p.blocks, p.words()
}

// A marker names a card as it was rendered, as the block_id of its message's
// first block: "rh:RH-1042:q2:1f00ba12".
type marker struct{ conversation, key, digest string }

func (m marker) String() string {
	return "rh:" + m.conversation + ":" + m.key + ":" + m.short()
}

// short is as much of the digest as an id needs to differ between renderings
// (a message's block ids should change when it is edited).
func (m marker) short() string { return m.digest[:min(8, len(m.digest))] }

// A control is what a button or select is for. It stands in the block_id, as
// "ask:RH-1042:q2:1f00ba12", and comes back with every press.
type control struct {
	verb         string // ask, change or own
	conversation string
	question     int  // 0 for the Change on a reply
	listed       bool // own: on a list, and not in a thread of the conversation
}

const (
	verbAsk    = "ask"
	verbChange = "change"
	verbOwn    = "own" // whose it is, see owners.go

	keyList = "list" // stands for a card's key where there is none

	actionChoose = "choose" // a button: choose:0, choose:1, … with the choice as its value
	actionPick   = "pick"   // a select
	actionChange = "change"
)

func (m marker) control(verb string) string {
	return verb + ":" + m.conversation + ":" + m.key + ":" + m.short()
}

var controlID = regexp.MustCompile(`^(ask|change|own):(RH-[1-9][0-9]{0,8}):(?:q([1-9][0-9]{0,4})|r[1-9][0-9.]{0,8}|(root|list)):[0-9a-z]{0,8}$`)

// parseControl reads a block_id. It takes nothing that control would not write.
func parseControl(blockID string) (control, bool) {
	m := controlID.FindStringSubmatch(blockID)
	if m == nil || m[1] == verbAsk && m[3] == "" || (m[1] == verbOwn) != (m[4] != "") {
		return control{}, false
	}
	n, _ := strconv.Atoi(m[3]) // "" is 0: a reply
	return control{verb: m[1], conversation: m[2], question: n, listed: m[4] == keyList}, true
}

// renderRoot renders a root with its controls, or without when m is zero.
func renderRoot(p *page, r conversation.Root, m marker) {
	title := orElse(r.Title, "title not known yet")
	p.header(r.ID + " · " + title)
	if len([]rune(clean(title))) > maxHeader-len(r.ID)-3 {
		p.say(words(cut(title, maxCode)))
	}
	var about []markup
	line := func(name string, m ...markup) {
		if len(about) > 0 {
			about = append(about, newline)
		}
		about = append(append(about, bold(markup(name)), " "), m...)
	}
	line("Status", append(prose(r.Status), aside(r.Progress)...)...)
	switch {
	case r.App != "" && r.AppID != "":
		line("App", code(r.App), " · ", code(r.AppID))
	case r.App+r.AppID != "":
		line("App", code(r.App+r.AppID))
	}
	if !r.Due.IsZero() {
		due := []markup{day(r.Due)}
		if r.Overdue {
			due = append(due, " · ", bold("overdue"))
		}
		line("Due", due...)
	}
	if owners := ownersOf(r); owners != nil {
		line("Owner", owners...)
	}
	if r.Taken.ID != "" {
		line("Taken", "by ", mention(r.Taken.ID))
	} else if r.LeftBy.ID != "" && !r.Closed {
		line("Taken", "by nobody: ", mention(r.LeftBy.ID), " let go of it")
	}
	line("Opened", openedBy(r)...)
	if len(r.Related) > 0 {
		line("Same app", related(r.Related)...)
	}
	p.say(about...)
	sayWhyYou(p, r)
	rootControls(p, r, m)

	var facts []markup
	for _, f := range r.Facts {
		facts = append(facts, newline, "• ", words(conversation.FactTitle(f.Name)), ": ", code(f.Value), " ")
		facts = append(facts, atoms("("+cut(clean(conversation.HowKnown(f)), maxValue)+")")...)
	}
	if len(facts) > 0 {
		p.note(append([]markup{bold("What I know")}, facts...)...)
	}
	if len(r.Hops) > 0 {
		p.note(lookedIn(r)...)
	}
	if len(r.Links) > 0 {
		p.note(appendLinks(nil, r.Links)...)
	}
}

// aside sets a short remark off.
func aside(s string) []markup {
	if s == "" {
		return nil
	}
	return []markup{" · ", words(s)}
}

func openedBy(r conversation.Root) []markup {
	switch {
	case r.OpenedBy.ID != "":
		return []markup{"by ", mention(r.OpenedBy.ID)}
	case r.Source != "" && r.Source != "other":
		return []markup{"by an alert from ", code(r.Source)}
	}
	return []markup{"by an alert"}
}

func appendLinks(out []markup, ls []policy.Link) []markup {
	for i, l := range ls {
		if i > 0 {
			out = append(out, " · ")
		}
		out = append(out, link(l.Title, l.URL))
	}
	return out
}

// maxButtons is how many choices are buttons; more are a select.
const maxButtons = 4

func renderQuestion(p *page, q conversation.Question, m marker) {
	prompt := markup(strconv.Itoa(q.Number)+". ") + words(cut(q.Need.Prompt, maxCode))
	switch q.State {
	case conversation.Open:
		renderOpen(p, q, prompt, m)
	case conversation.Answered:
		p.say(bold(prompt))
		p.beside(m.control(verbChange), changeButton(), "✓ ", bold(words(q.Chosen.Label)), answeredBy(q.By))
	case conversation.Waiting:
		p.say(bold(prompt))
		p.note(append([]markup{"Waiting. "}, prose(q.Why)...)...)
	case conversation.Fallen:
		p.say(strike(prompt))
		gone := []markup{"No longer asked. "}
		if q.Chosen.Label != "" {
			gone = []markup{"No longer needed; the answer was ", bold(words(q.Chosen.Label)), ". "}
		}
		p.note(append(gone, prose(q.Why)...)...)
	}
}

func answeredBy(by conversation.Person) markup {
	if by.ID == "" {
		return " (answered)"
	}
	return " — answered by " + mention(by.ID)
}

func renderOpen(p *page, q conversation.Question, prompt markup, m marker) {
	p.say(bold(prompt))
	if q.Chosen.Label != "" {
		p.say("Until you choose, the answer that holds is ", bold(words(q.Chosen.Label)), ". Choose it again to keep it.")
	}
	choices := q.Need.Choices
	if hints := hintsOf(choices); len(hints) > 0 && len(choices) <= maxButtons {
		p.say(hints...)
	}
	switch {
	case len(choices) == 0:
		p.say("Type the answer as a reply in this thread.")
	case len(choices) <= maxButtons:
		p.controls(m.control(verbAsk), spoken(choices), buttons(choices)...)
	default:
		p.controls(m.control(verbAsk), spoken(choices), pick(choices))
	}
	if q.Need.Why != "" {
		p.note(atoms("Why I ask: " + q.Need.Why)...)
	}
}

func hintsOf(choices []policy.Choice) []markup {
	var out []markup
	for _, c := range choices {
		if c.Hint == "" {
			continue
		}
		if len(out) > 0 {
			out = append(out, newline)
		}
		out = append(out, "• ", bold(words(c.Label)), " — ", words(c.Hint))
	}
	return out
}

// spoken lists the choices for those who do not see the controls.
func spoken(choices []policy.Choice) []markup {
	out := []markup{"Answers: "}
	for i, c := range choices {
		if i > 0 {
			out = append(out, ", ")
		}
		out = append(out, words(label(c.Label, maxLabel)))
		if c.Suggested {
			out = append(out, " (suggested)")
		}
	}
	return append(out, ". Choose one, or type it as a reply in this thread.")
}

func buttons(choices []policy.Choice) []slack.BlockElement {
	var out []slack.BlockElement
	for i, c := range choices {
		b := slack.NewButtonBlockElement(fmt.Sprintf("%s:%d", actionChoose, i), c.Value, plainText(c.Label, maxLabel))
		if c.Suggested {
			b.Style = slack.StylePrimary
		}
		out = append(out, b)
	}
	return out
}

func pick(choices []policy.Choice) *slack.SelectBlockElement {
	const maxOptions = 100
	var options []*slack.OptionBlockObject
	for _, c := range choices[:min(len(choices), maxOptions)] {
		o := slack.NewOptionBlockObject(c.Value, plainText(c.Label, maxLabel), nil)
		if hint := describe(c); clean(hint) != "" {
			o.Description = plainText(hint, maxLabel)
		}
		options = append(options, o)
	}
	return slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, plainText("Choose one", 150), actionPick, options...)
}

func describe(c policy.Choice) string {
	switch {
	case c.Suggested && c.Hint == "":
		return "Suggested"
	case c.Suggested:
		return "Suggested: " + c.Hint
	}
	return c.Hint
}

func changeButton() *slack.ButtonBlockElement {
	return slack.NewButtonBlockElement(actionChange, actionChange, plainText("Change", maxLabel))
}

func renderAdvice(p *page, a conversation.Advice, m marker) {
	if a.Superseded != nil {
		p.note(append([]markup{markup(fmt.Sprintf("~Reply %d~ ", a.Number))}, prose(a.Superseded)...)...)
		return
	}
	headline := orElse(a.Headline, "What to do")
	switch {
	case a.Part > 1:
		p.note(bold(words(headline)), words(fmt.Sprintf(", part %d of %d", a.Part, a.Parts)))
	case a.Parts > 1:
		p.header(headline)
		p.note(words(fmt.Sprintf("%s · part 1 of %d, the others follow below", a.ID, a.Parts)))
	default:
		p.header(headline)
	}
	for _, s := range a.Sections {
		renderSection(p, s)
	}
	if a.Change {
		p.controls(m.control(verbChange), []markup{"To give another answer, press Change, or type “change” in this thread."}, changeButton())
	}
}

func renderSection(p *page, s conversation.Section) {
	heading := s.Heading
	if s.Number > 0 {
		heading = strings.TrimRight(strconv.Itoa(s.Number)+". "+heading, " ")
	}
	out := p.atoms[:0]
	switch {
	case s.Gate:
		p.rule()
		out = append(out, "🔒 ", bold(words(heading)), newline, bold(voiceGate))
	case s.Warning && heading != "":
		out = append(out, bold("Careful: "+words(heading)))
	case s.Warning:
		out = append(out, bold("Careful:"), " ")
	case heading != "":
		out = append(out, bold(words(heading)))
	}
	if len(s.Text) > 0 && heading != "" {
		out = append(out, newline)
	}
	out = appendProse(out, s.Text)
	if len(s.Links) > 0 {
		if len(out) > 0 {
			out = append(out, newline)
		}
		out = appendLinks(append(out, "→ "), s.Links)
	}
	p.say(out...)
	p.atoms = out
}
