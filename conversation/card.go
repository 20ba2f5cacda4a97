package conversation

import (
	"time"

	"rehome/policy"
)

// RootKey is the key of a conversation's root card. Questions are q1, q2, …;
// the parts of replies r1.1, r1.2, …; notes n1, n2, ….
const RootKey = "root"

// A Card is the content of one message. Whatever shows it decides on blocks,
// styles and escaping. Strings from outside (titles, app names, subjects) are only
// in fields marked as untrusted and in policy.Value and policy.Code spans. A
// policy.Who span is the only way to mention somebody.
//
//sumtype:decl
type Card interface{ card() }

// Root is the message at the head of a thread. It is edited as things change.
type Root struct {
	ID       string // RH-1042
	Title    string // untrusted: the violation's title as its source wrote it
	App      string // untrusted: the app's display name, or ""
	AppID    string
	Due      time.Time // zero when unknown
	Overdue  bool
	Owners   []Person  // known in this workspace
	OwnerTo  string    // untrusted: the owner's alias as the alert has it, when not known here
	Known    []Owner   // everybody who is, or was once taken to be, an owner
	Hops     []Hop     // how owners were looked for
	ReadAt   time.Time // when the directory was read, if that was more than ten minutes ago
	Taken    Person    // who works on it
	LeftBy   Person    // who let go of it, while nobody works on it
	Related  []string  // other conversations about the same app
	For      Owner     // in an owner's direct message: that owner
	Instead  Person    // there: whom somebody named, once it is not theirs
	Closed   bool
	OpenedBy Person      // nobody for an alert
	Source   string      // s360, slack, …
	Status   policy.Text // one sentence: what it waits for, or how it ended
	Progress string      // "2 of 3 answered"
	Facts    []policy.Fact
	Links    []policy.Link // the source's own pages for this violation, http or https
}

// Question is a question and, once answered, who answered what.
type Question struct {
	ID     string
	Number int
	Need   policy.Need
	State  QuestionState
	Chosen policy.Choice // when Answered; when Open again: the answer that still holds
	By     Person
	Why    policy.Text // why it fell away or waits
}

// Advice is one part of a reply: a decision cut between its steps so that each
// part fits a message.
type Advice struct {
	ID         string
	Number     int // which reply, from 1
	Part       int // from 1
	Parts      int
	Outcome    policy.Outcome
	Headline   string // what it is: "Move the certificate to the production tenant"
	Sections   []Section
	Superseded policy.Text // when set, nothing else is: why the reply no longer holds
	Change     bool        // the last part carries Change
}

// A Section is a heading with text under it. Heading is our own words. Number
// is the step's number, or 0 for sections that are not steps.
type Section struct {
	Heading string
	Number  int
	Gate    bool // nothing after it before it has been shown
	Warning bool
	Text    policy.Text
	Links   []policy.Link
}

// Remark is something said once.
type Remark struct {
	ID   string
	Text policy.Text
}

func (Root) card()     {}
func (Question) card() {}
func (Advice) card()   {}
func (Remark) card()   {}
