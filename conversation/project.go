package conversation

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"rehome/policy"
)

// Card returns what the card with a key shows now, and whether there is such a
// card. now only serves to tell whether the due date has passed.
func (c Conversation) Card(key string, now time.Time) (Card, bool) { return c.CardIn(0, key, now) }

// CardIn returns the card as the thread with index in shows it. Only the root
// differs between threads: in an owner's direct message it speaks to that owner.
func (c Conversation) CardIn(in int, key string, now time.Time) (Card, bool) {
	if key == RootKey {
		if c.Opened.IsZero() {
			return nil, false
		}
		return c.root(in, now), true
	}
	if n, part, ok := replyKey(key); ok {
		return c.advice(n, part)
	}
	if len(key) < 2 {
		return nil, false
	}
	n, err := strconv.Atoi(key[1:])
	if err != nil || n < 1 {
		return nil, false
	}
	switch {
	case key[0] == 'q':
		return c.question(n)
	case key[0] == 'n' && n <= len(c.Notes):
		return Remark{ID: c.ID, Text: c.Notes[n-1].Text}, true
	}
	return nil, false
}

// replyKey reads a key like r2.1: part 1 of reply 2.
func replyKey(key string) (n, part int, ok bool) {
	number, after, found := strings.Cut(strings.TrimPrefix(key, "r"), ".")
	if !found || number == key {
		return 0, 0, false
	}
	n, err := strconv.Atoi(number)
	part, err2 := strconv.Atoi(after)
	return n, part, err == nil && err2 == nil && n > 0 && part > 0
}

// Keys lists the keys of all cards in the order they came up: the root, notes,
// and questions and replies as they followed each other.
func (c Conversation) Keys() []string {
	if c.Opened.IsZero() {
		return nil
	}
	keys := []string{RootKey}
	for i := range c.Notes {
		keys = append(keys, "n"+strconv.Itoa(i+1))
	}
	for i := range c.Asked {
		keys = append(keys, QuestionKey(i+1))
	}
	for i, r := range c.Replies {
		for k := range r.Parts {
			keys = append(keys, "r"+strconv.Itoa(i+1)+"."+strconv.Itoa(k+1))
		}
	}
	return keys
}

// QuestionKey returns the key of question n, counted from 1.
func QuestionKey(n int) string { return "q" + strconv.Itoa(n) }

// Digest returns 16 hexadecimal digits that are equal for equal cards.
func Digest(card Card) string { return digest(card) }

func digest(v any) string {
	enc, err := json.Marshal(v)
	if err != nil {
		return "" // unreachable: cards hold strings, numbers and times
	}
	sum := sha256.Sum256(enc)
	return hex.EncodeToString(sum[:8])
}

// orNone is a list as it is when it was stored and read again: nil, when nothing
// is left in it. The card is no other for that.
func orNone[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return list
}

func (c Conversation) root(in int, now time.Time) Root {
	v := c.Violation
	r := Root{
		ID: c.ID, Title: orElse(c.Facts.Value(policy.Violated), v.Title), App: c.Facts.Value(policy.AppName), AppID: c.Facts.Value(policy.AppID),
		Due: v.Due, Overdue: !v.Due.IsZero() && v.Due.Before(now), OpenedBy: c.By, Source: v.Source.System,
		Status: c.status(), Progress: c.progress(), Facts: c.shownFacts(),
	}
	r.Known, r.Hops = orNone(c.Owners), orNone(c.Hops)
	if now.Sub(c.ReadAt) > freshFor {
		r.ReadAt = c.ReadAt
	}
	r.Taken, r.LeftBy, r.Related, r.Closed = c.Taken, c.LeftBy, orNone(c.Related), c.Status == Closed
	for _, o := range c.Owners {
		if o.State != NotTheirs {
			r.Owners = append(r.Owners, o.Person)
		}
	}
	switch {
	case len(r.Owners) > 0:
	case v.Owner.SlackUserID != "":
		r.Owners = []Person{{ID: v.Owner.SlackUserID}}
	default:
		r.OwnerTo = orElse(v.Owner.Alias, v.Owner.Email)
	}
	if in < len(c.Threads) && c.Threads[in].For.ID != "" {
		// What became of the other owners is shown in the channel. In a direct
		// message it would only cause edits.
		r.For, r.Known, r.Hops, r.ReadAt = c.owner(c.Threads[in].For), nil, nil, time.Time{}
		if r.For.State == NotTheirs {
			r.Instead = c.Named
		}
	}
	for _, l := range []policy.Link{
		{Title: "Finding", URL: v.Source.URL}, {Title: "Guide", URL: v.Fix.URL}, {Title: "Work item", URL: v.Fix.WorkItemURL},
	} {
		if strings.HasPrefix(l.URL, "https://") || strings.HasPrefix(l.URL, "http://") {
			r.Links = append(r.Links, l)
		}
	}
	return r
}

// freshFor is how old what the directory said may be without its age being shown.
const freshFor = 10 * time.Minute

// shownFacts returns the facts that decide, without those that the root shows in
// fields of their own.
func (c Conversation) shownFacts() []policy.Fact {
	var out []policy.Fact
	known := c.Known()
	for _, name := range []policy.FactName{
		policy.PartyFact, policy.AppTenant, policy.SGOwner, policy.AppCloud, policy.CertCloud, policy.CertTenant, policy.VaultURI, policy.Option, policy.Plane,
	} {
		if f, ok := known.Get(name); ok {
			f.Value = spoken(f)
			out = append(out, f)
		}
	}
	if f, ok := c.Facts.Get(policy.AppAuthor); ok && f.Doubt != "" {
		out = append(out, f) // shown for what is odd about it
	}
	return out
}

// owner returns what is known of a person as an owner.
func (c Conversation) owner(p Person) Owner {
	if i := slices.IndexFunc(c.Owners, func(o Owner) bool { return o.Person == p }); i >= 0 {
		return c.Owners[i]
	}
	return Owner{Person: p, State: ToldAlone}
}

func (c Conversation) status() policy.Text {
	if c.Status == Closed {
		return policy.Say("Closed: " + c.Over)
	}
	if c.Looking {
		return policy.Say("Looking up the app and its owners")
	}
	if n := c.OpenQuestion(); n > 0 {
		q := c.Asked[n-1]
		if q.Chosen.Value != "" || q.Need.Fact == whatToChange {
			return text(who(q.By), plain(" is changing an answer: question "+strconv.Itoa(n)))
		}
		return policy.Say("Waiting for an answer: " + q.Need.Prompt)
	}
	r, ok := c.CurrentReply()
	if !ok {
		return policy.Say("Working it out")
	}
	switch r.Decision.Outcome {
	case policy.Steps:
		return policy.Say("Remediation steps are in the thread")
	case policy.NoPolicyRow:
		return policy.Say("The policy has no row for this; the thread says whom to ask")
	case policy.Redirect:
		return policy.Say("Goes to " + r.Decision.Redirect)
	case policy.Refused:
		return policy.Say("Not permitted; the thread says what is")
	case policy.OutOfScope:
		return policy.Say("Not a cert-rehoming violation")
	case policy.Ask, policy.Conflict:
	}
	return policy.Say("Working it out")
}

func (c Conversation) progress() string {
	answered, open := 0, 0
	for _, q := range c.Asked {
		switch q.State {
		case Answered:
			if q.Need.Fact != whatToChange {
				answered++
			}
		case Open:
			open++
		case Fallen, Waiting:
		}
	}
	switch {
	case answered+open == 0:
		return "nothing had to be asked"
	case open == 0:
		return plural(answered, "answer") + ", nothing open"
	}
	return plural(answered, "answer") + ", 1 question open"
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

func (c Conversation) question(n int) (Card, bool) {
	if n > len(c.Asked) {
		return nil, false
	}
	q := c.Asked[n-1]
	return Question{ID: c.ID, Number: n, Need: q.Need, State: q.State, Chosen: q.Chosen, By: q.By, Why: q.Why}, true
}

func (c Conversation) advice(n, part int) (Card, bool) {
	if n > len(c.Replies) || part < 1 || part > c.Replies[n-1].Parts {
		return nil, false
	}
	r := c.Replies[n-1]
	a := Advice{ID: c.ID, Number: n, Part: part, Parts: r.Parts}
	if r.Superseded != nil {
		a.Superseded = r.Superseded
		return a, true
	}
	a.Outcome = r.Decision.Outcome
	a.Headline = headline(r.Decision)
	a.Sections = r.sections(part)
	a.Change = part == r.Parts
	return a, true
}

func headline(d policy.Decision) string {
	if d.Remediation != nil {
		return d.Remediation.Title
	}
	switch d.Outcome {
	case policy.NoPolicyRow:
		return "There is no policy row for this"
	case policy.Redirect:
		return "This goes to " + d.Redirect
	case policy.Refused:
		return "This is not permitted"
	case policy.OutOfScope:
		return "This is not a cert-rehoming violation"
	case policy.Steps, policy.Ask, policy.Conflict:
	}
	return "What to do"
}

// partLength is how many characters of plain text one part of a reply holds. Slack
// refuses to edit a message into more than 4,000 characters of text (chat.update,
// msg_too_long); the difference is for escaping and for the addresses of links.
const partLength = 2900

// newReply returns a decision as a reply, cut into messages between its sections.
func newReply(d policy.Decision) Reply {
	cuts := cutUp(sections(d))
	return Reply{Decision: d, Parts: len(cuts) + 1, Cuts: cuts}
}

// cutUp returns the section that each message after the first begins with.
func cutUp(all []Section) []int {
	var cuts []int
	from, length := 0, 0
	for i, s := range all {
		n := s.length()
		if i > from && length+n > partLength {
			cuts = append(cuts, i)
			from, length = i, 0
		}
		length += n
	}
	return cuts
}

// sections returns the sections of a part, counted from 1 to r.Parts.
func (r Reply) sections(part int) []Section {
	all := sections(r.Decision)
	cuts := r.Cuts
	if len(cuts) != r.Parts-1 {
		cuts = cutUp(all) // a version that did not keep cuts made the reply
	}
	// The version that made the reply may have cut in other places, or made more
	// sections. Whatever it did, each section is in one part, and the last part
	// has all that is left.
	begins := func(part int) int {
		switch {
		case part == 1:
			return 0
		case part > r.Parts || part-2 >= len(cuts):
			return len(all)
		}
		return min(cuts[part-2], len(all))
	}
	from, to := begins(part), begins(part+1)
	return all[from:to:to]
}

// length is how many characters a section takes, about.
func (s Section) length() int {
	n := utf8.RuneCountInString(s.Heading) + s.Text.Len()
	for _, l := range s.Links {
		n += len(l.Title) + len(l.URL) + 4
	}
	return n
}

// sections returns a decision as sections, in the order in which they are read.
func sections(d policy.Decision) []Section {
	r := d.Remediation
	most := 3 + len(d.Warnings)
	if r != nil {
		most += 4 + len(r.Warnings) + len(r.Steps)
	}
	out := append(make([]Section, 0, most), Section{Text: d.Summary})
	if len(d.Reasons) > 0 {
		out = append(out, Section{Heading: "Why", Text: bullets(d.Reasons)})
	}
	for _, w := range d.Warnings {
		out = append(out, Section{Warning: true, Text: w})
	}
	if r == nil {
		return out
	}
	if r.Threat != "" {
		out = append(out, Section{Heading: "What is at stake", Text: policy.Say(r.Threat)})
	}
	if len(r.Settings) > 0 {
		t := make(policy.Text, 0, 3*len(r.Settings))
		for _, s := range r.Settings {
			t = append(t, policy.Span{Kind: policy.Bullet}, plain(s.Name+": "), policy.Span{Kind: policy.Code, Text: s.Value})
		}
		out = append(out, Section{Heading: "Settings", Text: t})
	}
	for _, w := range r.Warnings {
		out = append(out, Section{Warning: true, Text: w})
	}
	for i, s := range r.Steps {
		out = append(out, Section{Heading: s.Title, Number: i + 1, Gate: s.Gate, Text: s.Text, Links: s.Links})
	}
	if len(r.Requirements) > 0 {
		spans := 0
		for _, q := range r.Requirements {
			spans += 3 + len(q.Text)
		}
		t := make(policy.Text, 0, spans)
		for _, q := range r.Requirements {
			t = append(t, policy.Span{Kind: policy.Bullet}, bold(q.Title), plain(": "))
			t = append(t, q.Text...)
		}
		out = append(out, Section{Heading: "Holds for every step", Text: t})
	}
	if len(r.Links) > 0 {
		out = append(out, Section{Heading: "Links", Links: r.Links})
	}
	version := "Policy " + r.Policy.Version + ", " + cut(r.Policy.Digest, 19)
	if old := r.Policy.Stale; old != "" {
		out = append(out, Section{Warning: true, Text: policy.Say(strings.ToUpper(old[:1]) + old[1:])})
	}
	return append(out, Section{Text: policy.Say(version)})
}

func bullets(lines []string) policy.Text {
	t := make(policy.Text, 0, 2*len(lines))
	for _, l := range lines {
		t = append(t, policy.Span{Kind: policy.Bullet}, value(l))
	}
	return t
}
