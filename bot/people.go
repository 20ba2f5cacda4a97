package bot

import (
	"context"
	"strings"
	"time"

	"rehome/conversation"
	"rehome/policy"
)

// People is where the people of the workspace are found and told.
type People interface {
	// Person finds somebody. Errors are *Failure; one of kind Never says that
	// there is no such person here.
	Person(ctx context.Context, who Identity) (Profile, error)
	// Fit returns how many of a list, from its front, one message holds: one at
	// least. It asks nobody.
	Fit(list []Listed) int
	// Digest tells one person of several conversations in one message that bears
	// m's marks. Errors are *Failure.
	Digest(ctx context.Context, m Message, page Digest) error
	// Report says something in m's channel, outside any thread, in a message that
	// bears m's marks. Errors are *Failure.
	Report(ctx context.Context, m Message, text policy.Text) error
}

// A Digest is one message about several conversations for one person.
type Digest struct {
	List   []Listed // what it lists, as many as Fit said
	Follow int      // how many more are listed in messages that follow
	Left   int      // how many more are listed nowhere, and only counted
}

// An Identity is what is known of somebody outside the workspace. The first of
// its fields that is set is used. It is personal data: it is neither kept nor
// logged.
type Identity struct {
	ID   string // a user id of the workspace
	Mail string
}

// A Profile is somebody in the workspace.
type Profile struct {
	conversation.Person
	Zone *time.Location // nil when unknown
	Skip string         // why they must not be told: "a guest", "left", "of another workspace", "an app"; "" when they may
}

// Listed is a conversation on a digest.
type Listed struct {
	ID      string
	Title   string // untrusted
	App     string // untrusted
	AppID   string
	Due     time.Time
	Overdue bool
	Thread  conversation.Place // where its first thread is
	RootTS  string
}

// SameApp reports whether two conversations are about the same app.
func (l Listed) SameApp(o Listed) bool { return l.app() == o.app() }

// app returns a key of the conversation's app: its id, else its name.
func (l Listed) app() string {
	if l.AppID != "" {
		return "id:" + strings.ToLower(l.AppID)
	}
	return "name:" + l.App
}
