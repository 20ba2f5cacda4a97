// Package conversation works one violation with people: events in, effects out.
//
// It is pure. [Step] takes a conversation, an event (something that happened) and
// the time. It returns the conversation as it is now and effects (what is to be
// done about it):
//
//	events   Opened, Chosen, Said, Revised        people answer, and change answers
//	         Found, NotMine, Named, Joined        whose app it is
//	         Took, LetGo                          who works on it
//	         Corrected, Passed, Linked            other conversations about the same app
//	         Seen                                 the feed reports the finding again, or resolved
//	         Ruled                                the policy or the tenant map has changed
//	         Posted, Gone, Unreachable            what became of a message
//	         Told, Unreached                      what became of telling an owner
//	effects  Show (bring a card up to date), Tell (answer one person), Report (tell
//	         the security channel), Lookup (ask the directory), Gather (tell an
//	         owner), Remember and Spread (for other conversations), Record (journal)
//
// The state is derived from facts. A question asks for the one fact that the
// policy needs next. Answering it states that fact, changing an answer changes
// it, and after each the policy decides again. Nothing is asked twice for a fact
// that still holds, and an answer that the new decision has no use for falls away
// where everybody can see it.
//
//	Opened
//	  │
//	  ▼      Found           nothing is missing
//	looking ───────► asking ─────────────────────► advised (steps) or ended (anything else)
//	                 │  ▲ ▲                               │
//	                 └──┘ └───────────────────────────────┘
//	         Chosen, Said          Revised, or a fact is missing again
//
// What needs no [Lookup] begins with asking, and what needs no question is advised
// or ended at once. A [Seen] that says it is over closes a conversation in any
// state, and a later one that says it is not goes on from there.
//
// People are known by their user ids. The mail address of somebody whom an alert
// names is kept only while it is needed to find them. It is forgotten when
// somebody who answers for the app was found and nothing is looked up any more,
// or when the finding is over. A mark of 16 bits stays, which shows whether the
// next alert names the same person. Addresses are in no journal and no event's key.
//
// What people see are cards: the root, questions, replies and notes. A card is
// a projection of the newest state ([Conversation.Card]); every place the
// conversation is shown in has its own copy of each, posted once and edited
// from then on.
package conversation

import (
	"time"

	"rehome/policy"
)

// A Conversation is one violation and everything said about it. It is a value:
// [Step] returns a new one and leaves the old one alone.
type Conversation struct {
	ID        string           `json:"id"` // RH-1042; given by the store when it is opened
	Opened    time.Time        `json:"opened"`
	Updated   time.Time        `json:"updated"`
	By        Person           `json:"by,omitzero"` // who opened it; nobody for an alert
	Violation policy.Violation `json:"violation"`
	Facts     policy.Facts     `json:"facts"`
	Inferred  policy.Facts     `json:"inferred,omitempty"` // what the newest decision inferred from Facts
	Ruled     string           `json:"ruled,omitempty"`    // the mark of the policy that made it ([policy.Policy.Mark])
	Asked     []Asked          `json:"asked,omitempty"`    // every question so far; Asked[i] is card q(i+1)
	Replies   []Reply          `json:"replies,omitempty"`  // every reply so far; Replies[i] is cards r(i+1).1 …
	Notes     []Note           `json:"notes,omitempty"`    // Notes[i] is card n(i+1)
	Threads   []Thread         `json:"threads"`            // where it is shown; Threads[0] is where it was opened
	Status    Status           `json:"status"`
	Looking   bool             `json:"looking,omitempty"` // the directory has not answered yet
	Lacks     Lack             `json:"lacks,omitempty"`   // what could not be found out; it is looked up again
	Owners    []Owner          `json:"owners,omitempty"`
	Hops      []Hop            `json:"hops,omitempty"`    // how the owners were found
	ReadAt    time.Time        `json:"readAt,omitzero"`   // when the directory was read; its answers are cached
	Taken     Person           `json:"taken,omitzero"`    // who works on it
	LeftBy    Person           `json:"leftBy,omitzero"`   // who let go of it, while nobody works on it
	Named     Person           `json:"named,omitzero"`    // whose app somebody last said it is
	Related   []string         `json:"related,omitempty"` // other conversations about the same app
	Over      string           `json:"over,omitempty"`    // why it is closed: "resolved in s360"
	Rev       int              `json:"rev"`               // grows by one with each change
}

// A Person is somebody in the workspace, known by user id alone: names are
// looked up by whoever shows them.
type Person struct {
	ID string `json:"id,omitempty"`
}

// Status is where a conversation stands. It is derived from the newest
// decision and kept for lists.
type Status string

const (
	LookingUp Status = "looking" // nothing is asked or said before the directory has answered
	Asking    Status = "asking"  // one question is open
	Advised   Status = "advised" // steps were given
	Ended     Status = "ended"   // redirected, refused, no policy row, out of scope: the reply says what to do
	Closed    Status = "closed"  // over, until the feed reports it again
)

// An Owner is somebody who is, or was once taken to be, responsible for the app.
type Owner struct {
	Person
	Via   string     `json:"via"` // which hop found them: "owner of the application"
	State OwnerState `json:"state"`
	Why   string     `json:"why,omitempty"`   // NotReach: the code of why
	Heard bool       `json:"heard,omitempty"` // they were told of it once, whatever State is now

	// Denied says that they work on it though they said that it is not theirs: that
	// is what they are again when they don't any more.
	Denied bool `json:"denied,omitempty"`
}

// OwnerState is how things stand with an owner.
type OwnerState string

const (
	ToBeTold  OwnerState = "to be told"
	ToldAlone OwnerState = "told"      // has a direct message of their own for this
	ToldInOne OwnerState = "in digest" // it was on a list of several
	NotReach  OwnerState = "not reached"
	NotTheirs OwnerState = "not theirs" // they said so
)

// Lack is why the search for the app's owners is not finished.
type Lack string

const (
	LackNothing    Lack = ""
	LackPermission Lack = "permission" // the bot may not read something; somebody has to grant that
	LackAnswer     Lack = "answer"     // the directory, or Slack, did not answer
	LackOwner      Lack = "owner"      // everybody who was found says that it is not theirs
)

// A Hop is one place where owners were looked for, and what came of it.
type Hop struct {
	Where  string `json:"where"`  // "owners of the application"
	Result string `json:"result"` // "2: 1 told, 1 left"; our own words
}

// Asked is a question that was put to people.
type Asked struct {
	Need     policy.Need     `json:"need"`
	State    QuestionState   `json:"state"`
	Chosen   policy.Choice   `json:"chosen,omitzero"` // the answer; when Open again after Change, the one that still holds
	By       Person          `json:"by,omitzero"`     // who answered, or asked for the change
	At       time.Time       `json:"at,omitzero"`
	Scenario policy.Scenario `json:"scenario,omitempty"` // what kind of violation it was asked about
	Why      policy.Text     `json:"why,omitempty"`      // why it fell away or waits
}

// QuestionState is what became of a question.
type QuestionState string

const (
	Open     QuestionState = "open"     // has controls
	Answered QuestionState = "answered" // shows who answered what, and Change
	Fallen   QuestionState = "fallen"   // no longer applies; says why
	Waiting  QuestionState = "waiting"  // would be open, but another answer is being changed first, or it is closed
)

// A Reply is a decision that was told. Once superseded its decision is emptied:
// what no longer holds must not be read by mistake.
type Reply struct {
	Decision   policy.Decision `json:"decision,omitzero"`
	Parts      int             `json:"parts"`          // how many messages it is cut into
	Cuts       []int           `json:"cuts,omitempty"` // the section that each message after the first begins with
	Superseded policy.Text     `json:"superseded,omitempty"`
}

// A Note is a sentence said once in the thread.
type Note struct {
	Text policy.Text `json:"text"`
}

// A Place is where a thread of the conversation is to be.
type Place struct {
	Channel string `json:"channel"`          // channel id; a user id means the direct message with that user
	Anchor  string `json:"anchor,omitempty"` // ts of somebody else's message whose thread is used; "" to start one
}

// A Thread is one place the conversation is shown in.
type Thread struct {
	Place
	For   Person           `json:"for,omitzero"`    // the owner whose direct message it is
	Shown map[string]Shown `json:"shown,omitempty"` // by card key

	// Unsure are the keys of cards that may or may not have been posted here, and
	// cannot be looked for. They are not posted again: the operator has chosen to
	// miss a card rather than have it twice.
	Unsure []string `json:"unsure,omitempty"`
}

// Shown is a card as it was last delivered to a thread.
type Shown struct {
	TS     string `json:"ts"`
	Digest string `json:"digest"` // of the card, to skip edits that would change nothing
}

// RootTS returns the ts that replies in the thread hang on, or "" while the
// root has not been posted.
func (t Thread) RootTS() string {
	if t.Anchor != "" {
		return t.Anchor
	}
	return t.Shown[RootKey].TS
}

// IsDirect reports whether the thread is a direct message.
func (p Place) IsDirect() bool {
	return len(p.Channel) > 0 && (p.Channel[0] == 'U' || p.Channel[0] == 'W' || p.Channel[0] == 'D')
}

// Known returns all facts: what was said or read, and what was inferred from it.
func (c Conversation) Known() policy.Facts { return c.Facts.With(c.Inferred...) }

// OpenQuestion returns the number (from 1) of the question that is open, or 0.
func (c Conversation) OpenQuestion() int {
	for i := len(c.Asked) - 1; i >= 0; i-- {
		if c.Asked[i].State == Open {
			return i + 1
		}
	}
	return 0
}

// CurrentReply returns the reply that holds now, if one was given.
func (c Conversation) CurrentReply() (Reply, bool) {
	if n := len(c.Replies); n > 0 && c.Replies[n-1].Superseded == nil {
		return c.Replies[n-1], true
	}
	return Reply{}, false
}
