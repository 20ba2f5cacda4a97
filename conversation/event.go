package conversation

import (
	"time"

	"rehome/policy"
)

// An Event is something that happened. Every event in any state has a defined
// result; one that no longer fits changes nothing and tells its author so.
//
//sumtype:decl
type Event interface{ event() }

// Opened starts a conversation. It is the first event and the only one an empty
// conversation takes.
type Opened struct {
	By        Person
	Violation policy.Violation
	Facts     policy.Facts // inferred from the violation, and stated by whoever opened it
	Unknown   []string     // words that were not understood, said back in a note
	Exposed   []string     // what looked like secrets in the message it is about: “a client secret”; they are not kept
	In        Place
	Lookup    bool     // ask the directory before asking people
	Related   []string // ids of other conversations about the same app
}

// Chosen is a press on a button or a pick in a select of question Question (1
// for card q1).
type Chosen struct {
	By       Person
	In       int // index of the thread
	Question int
	Value    string
}

// Said is a reply typed in one of the threads. Addressed says that it was meant
// for the bot (a mention, or a direct message), which then answers even when it
// makes nothing of it; otherwise people may talk among themselves.
type Said struct {
	By        Person
	In        int
	Text      string
	Addressed bool
}

// Revised is a press on Change. Question is the question to reopen, or 0 for
// the Change on a reply, which first asks what should change.
type Revised struct {
	By       Person
	In       int
	Question int
}

// Found is what came of a Lookup. Facts are what the directory says of the app.
// Hops are the places that were looked in, also when nobody was found. With a Lack
// the search is not finished: it goes on later, and may end in another Found.
type Found struct {
	ReadAt time.Time
	Facts  policy.Facts
	Owners []Owner
	Hops   []Hop
	Lack   Lack
	Late   bool // it answers a Lookup that was Late
	Urgent bool // the due date is so near that owners are told at any hour
}

// AtDoor is the In of a press outside any thread of the conversation: on a list of
// several. The door answers it itself, so Step adds no Tell.
const AtDoor = -2

// NotMine is an owner saying that the app is not theirs.
type NotMine struct {
	By Person
	In int
}

// Named is somebody saying whose the app is. Naming oneself takes a NotMine back.
type Named struct {
	By    Person
	In    int
	Owner Person
}

// Corrected is a NotMine or a Named that was said in From, another conversation
// about the same app. Owner is empty for a NotMine.
type Corrected struct {
	By    Person
	Owner Person
	From  string // RH-7
}

// Passed is what came of a Spread: To are the other conversations about the app
// that changed by it.
type Passed struct {
	By Person
	In int
	To []string
}

// Took is somebody taking the work on, for themselves (To is By) or for another.
// Over says that To was chosen, which may be oneself: whoever only presses “I take
// it” does not take it from somebody else.
type Took struct {
	By   Person
	In   int
	To   Person
	Over bool
}

// LetGo is whoever works on it saying that they don't after all.
type LetGo struct {
	By Person
	In int
}

// Joined is somebody who wants to be told, too, in a direct message of their own.
type Joined struct {
	By Person
	In int
}

// Told says that a gathered owner is told now: in a thread of their own, or,
// with Digest, on a list of several.
type Told struct {
	To     Person
	Digest bool
}

// Unreached says that an owner could not be told. With Report the security channel
// is told so too; the bot sets it at most once a day for each person and reason.
type Unreached struct {
	To     Person
	Why    string // a code
	Also   int    // how many other conversations they could not be told of with it
	Report bool
}

// Linked says that there is another conversation about the same app.
type Linked struct{ ID string }

// Seen is the feed reporting the finding again. A resolved or dismissed one
// closes the conversation; one that is found again after that reopens it.
type Seen struct {
	Violation policy.Violation
	Facts     policy.Facts
}

// Posted says that a card is now shown. Channel is the channel it ended up in,
// which for a direct message differs from the user id it was sent to. It is
// ignored when somebody has meanwhile deleted the message that was edited (TS,
// with Edit) or the root that it was posted under (Under).
type Posted struct {
	In      int
	Card    string
	Channel string
	TS      string
	Digest  string
	Edit    bool   // it was there before
	Under   string // ts of what it was posted under; "" for a message of its own
}

// Gone says that somebody deleted a card's message, so that it must be posted
// anew. With Thread, the message at the head of the thread was deleted, and
// another thread is started. TS is the deleted message; when another one has taken
// its place meanwhile, nothing changes.
type Gone struct {
	In     int
	Card   string
	TS     string // "" for the one that is known
	Thread bool
}

// Unreachable says that something can never be delivered: Card, or, when What is
// set, words that have no card. When the root cannot be posted in a channel, the
// conversation moves to a direct message with whoever opened it. With Report the
// security channel is told so too; the bot sets it at most once a day for each
// place and reason.
type Unreachable struct {
	In     int
	Card   string
	What   string // "an answer to U1"; "" for a card
	Why    string // a code
	Unsure bool   // it may have been posted all the same, so it must not be posted again
	Report bool
}

// Ruled says that the policy or the tenant map has changed since the last
// decision. Facts are what the violation says by the new one.
type Ruled struct {
	Facts policy.Facts
}

func (Opened) event()      {}
func (Chosen) event()      {}
func (Said) event()        {}
func (Revised) event()     {}
func (Found) event()       {}
func (NotMine) event()     {}
func (Named) event()       {}
func (Corrected) event()   {}
func (Passed) event()      {}
func (Took) event()        {}
func (LetGo) event()       {}
func (Joined) event()      {}
func (Told) event()        {}
func (Unreached) event()   {}
func (Linked) event()      {}
func (Seen) event()        {}
func (Ruled) event()       {}
func (Posted) event()      {}
func (Gone) event()        {}
func (Unreachable) event() {}

// An Effect is something to be done. Effects are written down with the state
// they came with and carried out afterwards.
//
//sumtype:decl
type Effect interface{ effect() }

// Show brings a card in a thread up to date: posts it, edits it, or leaves it
// when nothing changed. What it shows is the state at the time of delivery.
type Show struct {
	In   int    `json:"in"` // index of the thread
	Card string `json:"card"`
}

// Tell answers one person where they acted, seen by them alone.
type Tell struct {
	To   Person      `json:"to"`
	In   int         `json:"in"`
	Text policy.Text `json:"text"`
}

// Record is a line of the conversation's journal.
type Record struct {
	By   Person `json:"by,omitzero"`
	Text string `json:"text"`
}

// Lookup asks the directory for the app and its owners; the answer is Found. With
// Late it goes on with a search that Found said was not finished (Lack): for a day
// while something does not answer, for a week while a permission is missing.
type Lookup struct {
	Late bool `json:"late,omitempty"`
}

// Spread passes a NotMine or a Named on to the other conversations about the same
// app: each gets a Corrected, and this one a Passed with what came of it.
type Spread struct {
	By    Person `json:"by"`
	Owner Person `json:"owner,omitzero"`
	In    int    `json:"in"`
}

// Gather tells an owner of the conversation, in a direct message of its own or on
// a list with others. An Urgent one does not wait for the owner's morning.
type Gather struct {
	To     Person `json:"to"`
	Urgent bool   `json:"urgent,omitempty"`
}

// Report tells the security channel something that should not pass unnoticed.
// With InRoot the root shows it too, so nothing is said when the root is in the
// same channel.
type Report struct {
	Text   policy.Text `json:"text"`
	InRoot bool        `json:"inRoot,omitempty"`
}

// Remember keeps a value for other conversations, in the same transaction. The
// bot recalls what begins with "app/<app id>/" when it looks for owners.
type Remember struct {
	Key   string `json:"key"`   // "app/<app id>/owner", "app/<app id>/not/<user id>"
	Value string `json:"value"` // "" forgets the key
}

func (Lookup) effect()   {}
func (Spread) effect()   {}
func (Gather) effect()   {}
func (Report) effect()   {}
func (Remember) effect() {}
func (Show) effect()     {}
func (Tell) effect()     {}
func (Record) effect()   {}
