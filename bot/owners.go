package bot

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"rehome/conversation"
	"rehome/policy"
	"rehome/store"
)

// Ownership is what the operator knows of who answers for what, beside the
// directory.
type Ownership struct {
	Services   map[string]string // service id or name, in lower case → mail address or user id of who answers for it
	MailDomain string            // makes a mail address of an alert's alias; "" for never
}

// lookup asks the directory for an app and works through the places where its
// owners may be found, in order, until somebody is found who can be told:
//
//	remembered for the app → owners of the application → owners of the service
//	principal → members of an owning group → the alert's owner and assignee →
//	the service map → the team's channel
//
// Each place says what came of it, in the journal and in the message.
func (b *Bot) lookup(ctx context.Context, c conversation.Conversation, d store.Delivery) (store.Outcome, error) {
	s := search{bot: b, c: c, found: conversation.Found{ReadAt: b.Now()}}
	kept, err := b.Store.Recall(ctx, "app/"+c.Facts.Value(policy.AppID)+"/")
	if err != nil {
		return store.Outcome{}, err
	}
	s.kept = kept
	entry, err := s.ask(ctx, d.Attempts)
	if err != nil {
		return b.failed(d, nil, err), nil
	}
	if err := s.people(ctx, entry); err != nil {
		if d.Attempts < lookupAttempts {
			return b.failed(d, nil, err), nil
		}
		s.hop("the workspace", "its people cannot be looked up now")
	}
	return store.Outcome{Step: b.step(s.found, b.Now())}, nil
}

// lookupAttempts is how often a directory that does not answer is asked before
// people are asked without it.
const lookupAttempts = 3

// A search is one walk through the places where owners may be found.
type search struct {
	bot   *Bot
	c     conversation.Conversation
	kept  map[string]string // what people said about this app before
	found conversation.Found
}

func (s *search) hop(where, result string) {
	s.found.Hops = append(s.found.Hops, conversation.Hop{Where: where, Result: result})
}

// ask asks the directory. An error is a *Failure: it is to be asked again.
func (s *search) ask(ctx context.Context, attempts int) (AppEntry, error) {
	if s.bot.Directory == nil {
		s.hop("the directory", "none is configured, so owners come from the alert alone")
		return AppEntry{}, nil
	}
	q := AppQuery{
		AppID: s.c.Facts.Value(policy.AppID), TenantID: s.c.Violation.App.TenantID, Cloud: policy.Cloud(s.c.Facts.Value(policy.AppCloud)),
		ServicePrincipalID: s.c.Violation.App.ServicePrincipalID,
	}
	if q.AppID == "" && q.ServicePrincipalID == "" {
		s.hop("the directory", "not asked: the app's id is not known")
		return AppEntry{}, nil
	}
	entry, err := s.bot.Directory.App(ctx, q, false)
	if err == nil {
		s.take(entry)
		return entry, nil
	}
	var l *LookupError
	if !errors.As(err, &l) {
		l = &LookupError{Kind: Busy, Err: err}
	}
	if l.Kind == Busy && attempts < lookupAttempts {
		return AppEntry{}, &Failure{Kind: Again, After: l.After, Code: "directory_busy", Err: err}
	}
	where := "the directory"
	if l.Directory != "" {
		where += " " + l.Directory
	}
	result := l.Kind.String()
	if l.Permission != "" {
		result += ": needs " + l.Permission
	}
	s.hop(where, result)
	return AppEntry{}, nil
}

// take makes facts of what the directory says of the app.
func (s *search) take(e AppEntry) {
	s.found.ReadAt = e.ReadAt
	why := "read in the directory " + e.Directory
	for _, f := range []policy.Fact{
		{Name: policy.AppName, Value: e.DisplayName}, {Name: policy.AppID, Value: e.AppID}, {Name: policy.OwnerOrg, Value: e.OwnerOrg},
	} {
		if f.Value != "" {
			f.From, f.Why = policy.FromDirectory, why
			s.found.Facts = append(s.found.Facts, f)
		}
	}
}

// people goes through the places. An error is a *Failure of the workspace.
func (s *search) people(ctx context.Context, e AppEntry) error {
	for _, look := range []func(context.Context, AppEntry) error{
		s.remembered, s.appOwners, s.principalOwners, s.groups, s.alert, s.services,
	} {
		if err := look(ctx, e); err != nil {
			return err
		}
		if len(s.found.Owners) > 0 {
			return nil
		}
	}
	s.hop("the team's channel", "told in the thread there")
	return nil
}

func (s *search) remembered(ctx context.Context, _ AppEntry) error {
	id := s.kept["app/"+s.c.Facts.Value(policy.AppID)+"/owner"]
	if id == "" {
		return nil
	}
	return s.tryAll(ctx, "what people said before", "said to be theirs before", []OwnerEntry{{Kind: UserOwner, ID: id}}, func(OwnerEntry) Identity { return Identity{ID: id} })
}

func (s *search) appOwners(ctx context.Context, e AppEntry) error {
	return s.directory(ctx, e, "owners of the application", "owner of the application", e.Owners)
}

func (s *search) principalOwners(ctx context.Context, e AppEntry) error {
	return s.directory(ctx, e, "owners of the service principal", "owner of the service principal", e.PrincipalOwners)
}

const membersOfGroups = "members of an owning group"

func (s *search) groups(ctx context.Context, e AppEntry) error {
	for _, list := range [][]OwnerEntry{e.Owners, e.PrincipalOwners} {
		for _, o := range list {
			if o.Kind != GroupOwner {
				continue
			}
			if err := s.directory(ctx, e, membersOfGroups, "member of a group that owns the app", o.Members); err != nil {
				return err
			}
		}
	}
	return nil
}

// directory tries what a directory had in one place.
func (s *search) directory(ctx context.Context, e AppEntry, where, via string, list []OwnerEntry) error {
	if e.ReadAt.IsZero() {
		return nil // it was not read, which has been said
	}
	for _, g := range e.Gaps {
		// A group's members are named with the group.
		if g.What == where || where == membersOfGroups && strings.HasPrefix(g.What, "members of the owning group") {
			s.hop(where, gapText(g))
			return nil
		}
	}
	return s.tryAll(ctx, where, via, list, func(o OwnerEntry) Identity { return Identity{Mail: firstOf(o.Mail, o.UPN)} })
}

func gapText(g Gap) string {
	if g.Permission != "" {
		return "may not be read: needs " + g.Permission
	}
	return "could not be read (" + g.Why + ")"
}

func (s *search) alert(ctx context.Context, _ AppEntry) error {
	for _, o := range []struct {
		where, via string
		policy.Owner
	}{
		{"the alert's owner", "named by the alert", s.c.Violation.Owner},
		{"the alert's assignee", "assigned by the alert", s.c.Violation.Assignee},
	} {
		who := Identity{ID: o.SlackUserID, Mail: o.Email}
		if who == (Identity{}) && o.Alias != "" && s.bot.Ownership.MailDomain != "" {
			who.Mail = o.Alias + "@" + s.bot.Ownership.MailDomain
		}
		switch {
		case o.Owner == (policy.Owner{}):
			s.hop(o.where, "none is named")
			continue
		case who == (Identity{}):
			s.hop(o.where, "only an alias is given, and no mail domain is configured for it")
			continue
		}
		if err := s.tryAll(ctx, o.where, o.via, []OwnerEntry{{Kind: UserOwner}}, func(OwnerEntry) Identity { return who }); err != nil {
			return err
		}
		if len(s.found.Owners) > 0 {
			return nil
		}
	}
	return nil
}

func (s *search) services(ctx context.Context, _ AppEntry) error {
	v := s.c.Violation.Service
	for _, key := range []string{v.ID, v.Name} {
		answers := s.bot.Ownership.Services[strings.ToLower(key)]
		if key == "" || answers == "" {
			continue
		}
		who := Identity{ID: answers}
		if strings.Contains(answers, "@") {
			who = Identity{Mail: answers}
		}
		return s.tryAll(ctx, "the service map", "answers for the service", []OwnerEntry{{Kind: UserOwner}}, func(OwnerEntry) Identity { return who })
	}
	s.hop("the service map", "does not have the service")
	return nil
}

// tryAll looks for each owner in the workspace and says what came of it.
func (s *search) tryAll(ctx context.Context, where, via string, list []OwnerEntry, who func(OwnerEntry) Identity) error {
	count := tally{}
	for _, o := range list {
		why, err := s.try(ctx, via, o, who(o))
		if err != nil {
			return err
		}
		count.add(why)
	}
	s.hop(where, count.String())
	return nil
}

// try looks for one owner and returns what keeps them from being told, or "to
// be told".
func (s *search) try(ctx context.Context, via string, o OwnerEntry, who Identity) (string, error) {
	switch {
	case o.Kind == PrincipalOwner:
		return "is a service principal", nil
	case o.Kind == GroupOwner:
		return "is a group", nil
	case o.Kind == OtherOwner:
		return "is neither a person nor a group", nil
	case o.Disabled:
		return "left", nil
	case o.Guest:
		return "is a guest", nil
	case who == (Identity{}) && o.Hidden != "":
		return "mail hidden: needs " + o.Hidden, nil
	case who == (Identity{}):
		return "has no mail address", nil
	}
	p, err := s.bot.People.Person(ctx, who)
	var f *Failure
	switch {
	case errors.As(err, &f) && f.Kind == Never:
		return "not in this workspace", nil
	case err != nil:
		return "", err
	case p.Skip != "":
		return p.Skip, nil
	case s.kept["app/"+s.c.Facts.Value(policy.AppID)+"/not/"+p.ID] != "":
		return "said before that it is not theirs", nil
	}
	s.found.Owners = append(s.found.Owners, conversation.Owner{Person: p.Person, Via: via})
	return "to be told", nil
}

// A tally counts owners by what came of them, in the order that first came up.
type tally struct {
	total int
	names []string
	count map[string]int
}

func (t *tally) add(what string) {
	if t.count == nil {
		t.count = map[string]int{}
	}
	if t.count[what] == 0 {
		t.names = append(t.names, what)
	}
	t.count[what]++
	t.total++
}

func (t *tally) String() string {
	switch t.total {
	case 0:
		return "none"
	case 1:
		return "1, " + t.names[0]
	}
	var parts []string
	for _, n := range t.names {
		parts = append(parts, fmt.Sprintf("%d %s", t.count[n], n))
	}
	return fmt.Sprintf("%d: %s", t.total, strings.Join(parts, ", "))
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
