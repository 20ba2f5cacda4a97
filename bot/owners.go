package bot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"rehome/conversation"
	"rehome/policy"
	"rehome/store"
)

// Ownership is what the operator knows about who answers for what.
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
// What came of each place is in the journal and in the root.
//
// A directory, or Slack, that does not answer is asked a few times more, and then
// people are told without it. A late look goes on from there, see laterLook.
func (b *Bot) lookup(ctx context.Context, c conversation.Conversation, d store.Delivery, late bool) (store.Outcome, error) {
	now := b.Now()
	if late {
		switch first := d.Created.Add(lateFrom); {
		case c.Status == conversation.Closed, c.Lacks == conversation.LackNothing:
			return store.Outcome{}, nil // nothing is lacking any more
		case now.Before(first):
			return store.Outcome{RetryAt: first, Error: "asked again then"}, nil
		}
	}
	s := search{bot: b, c: c, found: conversation.Found{ReadAt: now, Late: late, Urgent: b.pressing(c.Violation.Due, now)}}
	if _, within := lateRules(c.Lacks); late {
		s.last = !now.Before(d.Created.Add(within))
	}
	kept, err := b.Store.Recall(ctx, "app/"+c.Facts.Value(policy.AppID)+"/")
	if err != nil {
		return store.Outcome{}, err
	}
	s.kept = kept
	patient := !late && d.Attempts < lookupAttempts
	entry, err := s.ask(ctx, patient)
	if err != nil {
		return b.failed(ctx, d, Message{}, err), nil
	}
	if err := s.people(ctx, entry); err != nil {
		if patient {
			return b.failed(ctx, d, Message{}, err), nil
		}
		s.hop("the workspace", "its people cannot be looked up"+s.unanswered())
	}
	if late {
		return s.laterLook(d, now), nil
	}
	return store.Outcome{Step: b.step(s.found, now)}, nil
}

const (
	// lookupAttempts is how often a directory, or Slack, that does not answer is
	// asked again at once, before people are told without it.
	lookupAttempts = 3
	// lateFrom is when a late look begins. It waits twice as long each time, up to
	// lateEvery, until it is answered or given up after answerWithin.
	lateFrom     = time.Minute
	lateEvery    = time.Hour
	answerWithin = 24 * time.Hour
	// A missing permission is granted by people or never, so it is tried seldom, and
	// for a week.
	permissionEvery  = 6 * time.Hour
	permissionWithin = 7 * 24 * time.Hour
)

// lateRules returns how often a late look is repeated, and for how long, by what
// it lacks.
func lateRules(l conversation.Lack) (every, within time.Duration) {
	if l == conversation.LackPermission {
		return permissionEvery, permissionWithin
	}
	return lateEvery, answerWithin
}

// laterLook decides what becomes of a late look. It ends in a Found when it found
// somebody new or lacks less than the last one, or when it has gone on for too
// long; else it is repeated later. Nobody is told twice, since the conversation
// knows whom it has told.
func (s *search) laterLook(d store.Delivery, now time.Time) store.Outcome {
	lacked, lacks := s.c.Lacks, s.found.Lack
	if s.last {
		s.found.Lack = conversation.LackNothing
	}
	if s.last || lacked == conversation.LackOwner || lacks == conversation.LackNothing || lacks == conversation.LackPermission && lacked == conversation.LackAnswer || s.foundSomebody() {
		return store.Outcome{Step: s.bot.step(s.found, now)}
	}
	after, _ := lateRules(lacked)
	if lacked == conversation.LackAnswer {
		after = min(lateFrom<<min(d.Attempts, 10), after)
	}
	return store.Outcome{RetryAt: now.Add(after), Error: "lacks " + string(lacks)}
}

// foundSomebody reports whether somebody was found who was not known before.
func (s *search) foundSomebody() bool {
	return slices.ContainsFunc(s.found.Owners, func(o conversation.Owner) bool {
		return !slices.ContainsFunc(s.c.Owners, func(k conversation.Owner) bool { return k.Person == o.Person })
	})
}

// A search is one walk through the places where owners may be found.
type search struct {
	bot   *Bot
	c     conversation.Conversation
	kept  map[string]string // what people said about this app before
	found conversation.Found
	last  bool // it is not repeated, whatever it lacks
}

func (s *search) hop(where, result string) {
	s.found.Hops = append(s.found.Hops, conversation.Hop{Where: where, Result: result})
}

// lacks notes what could not be found out. A missing answer counts before a missing
// permission: it may come at any time, so it decides how soon to look again.
func (s *search) lacks(l conversation.Lack) {
	if s.found.Lack != conversation.LackAnswer {
		s.found.Lack = l
	}
}

// unanswered notes a missing answer, and returns the end of a sentence about it.
func (s *search) unanswered() string {
	s.lacks(conversation.LackAnswer)
	if s.last {
		return ", and could not be for a day"
	}
	return " now; I go on trying"
}

// ask asks the directory. What it cannot say is a hop and no error, except that a
// patient search gets a *Failure from a busy directory, which is then asked again.
func (s *search) ask(ctx context.Context, patient bool) (AppEntry, error) {
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
	if l.Kind == Busy && patient {
		return AppEntry{}, &Failure{Kind: Again, After: l.After, Code: "directory_busy", Err: err}
	}
	where := "the directory"
	if l.Directory != "" {
		where += " " + l.Directory
	}
	result := l.Kind.String()
	switch l.Kind {
	case Busy:
		result = "cannot be asked" + s.unanswered()
	case Denied:
		s.lacks(conversation.LackPermission)
	case NoSuchApp, NoDirectory:
	}
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

// people goes through the places in order, until somebody can be told. An error is
// a *Failure of a look-up in the workspace.
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

// directory tries the owners that a directory had in one place.
func (s *search) directory(ctx context.Context, e AppEntry, where, via string, list []OwnerEntry) error {
	if e.ReadAt.IsZero() {
		return nil // it was not read, and a hop says why
	}
	for _, g := range e.Gaps {
		// A group's members are named with the group.
		if g.What == where || where == membersOfGroups && strings.HasPrefix(g.What, "members of the owning group") {
			s.hop(where, s.gap(g))
			return nil
		}
	}
	return s.tryAll(ctx, where, via, list, func(o OwnerEntry) Identity { return Identity{Mail: cmp.Or(o.Mail, o.UPN)} })
}

// gap notes what a directory would not show, and returns the hop's result.
func (s *search) gap(g Gap) string {
	if g.Permission != "" {
		s.lacks(conversation.LackPermission)
		return "may not be read: needs " + g.Permission
	}
	return "cannot be read (" + g.Why + ")" + s.unanswered()
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
		case who == (Identity{}) && o.Mark != "":
			s.hop(o.where, "their address was let go of when somebody else was found")
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

// tryAll looks for each owner in the workspace, as who names them, and adds a hop
// with what came of it.
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

// try looks for one owner and returns what keeps them from being told, or "can
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
		s.lacks(conversation.LackPermission)
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
	return "can be told", nil
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

// spread tells the other conversations about an app what somebody said in one of
// them about whose it is. One that is opened meanwhile recalls it from the store.
func (b *Bot) spread(ctx context.Context, c conversation.Conversation, d store.Delivery, e conversation.Spread) (store.Outcome, error) {
	now := b.Now()
	ids, err := b.Store.About(ctx, c.Facts.Value(policy.AppID), spreadTo)
	if err != nil {
		return store.Outcome{}, err
	}
	said := conversation.Corrected{By: e.By, Owner: e.Owner, From: c.ID}
	var others store.Batch
	changed := map[string]bool{}
	for _, id := range ids {
		if id == c.ID {
			continue
		}
		step := b.step(said, now)
		others.Inputs = append(others.Inputs, store.Input{Event: fmt.Sprintf("spread:%d:%s", d.ID, id), Conversation: id, At: now,
			Step: func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
				next, effects := step(c)
				changed[id] = len(effects) > 0
				return next, effects
			}})
	}
	if len(others.Inputs) > 0 {
		if _, err := b.Store.ApplyAll(ctx, others); err != nil {
			return store.Outcome{}, err
		}
		b.Wake()
	}
	done := conversation.Passed{By: e.By, In: e.In}
	for _, id := range ids {
		if changed[id] {
			done.To = append(done.To, id)
		}
	}
	return store.Outcome{Step: b.step(done, now)}, nil
}

// spreadTo is how many conversations about one app hear of a correction; the
// newest do.
const spreadTo = 500
