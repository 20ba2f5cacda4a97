package slackapp

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/slack-go/slack"
	"golang.org/x/sync/singleflight"

	"rehome/bot"
	"rehome/conversation"
	"rehome/policy"
)

var _ bot.People = (*Chat)(nil)

// Person implements [bot.People]: by user id (users.info, scope users:read) or
// by mail address (users.lookupByEmail, scope users:read.email).
//
// Answers are kept for a while, under a keyed hash of what was asked for: a
// mail address is neither kept nor logged, nor part of an error.
func (c *Chat) Person(ctx context.Context, who bot.Identity) (bot.Profile, error) {
	if who == (bot.Identity{}) || who.ID != "" && !isUser(who.ID) {
		return bot.Profile{}, &bot.Failure{Kind: bot.Never, Code: "user_not_found"}
	}
	key := c.people.key(who)
	if p, err, ok := c.people.recall(key); ok {
		return p, err
	}
	type asked struct {
		p   bot.Profile
		err error
	}
	done := c.people.flight.DoChan(key, func() (any, error) {
		// Whoever asks first may give up; the others wait for the same answer. The
		// client's own timeout bounds it.
		p, err := c.askPerson(context.WithoutCancel(ctx), who)
		c.people.keep(key, p, err)
		return asked{p, err}, nil
	})
	select {
	case r := <-done:
		a := r.Val.(asked)
		return a.p, a.err
	case <-ctx.Done():
		return bot.Profile{}, failure(ctx.Err(), asking)
	}
}

func (c *Chat) askPerson(ctx context.Context, who bot.Identity) (bot.Profile, error) {
	self, err := c.Identify(ctx)
	if err != nil {
		return bot.Profile{}, c.refusedPerson(err)
	}
	var u *slack.User
	method, tier := "users.lookupByEmail", bot.Tier3
	if who.ID != "" {
		method, tier = "users.info", bot.Tier4
	}
	if err := c.turn(ctx, method, tier); err != nil {
		return bot.Profile{}, err
	}
	if who.ID != "" {
		u, err = c.api.GetUserInfoContext(ctx, who.ID)
	} else {
		u, err = c.api.GetUserByEmailContext(ctx, who.Mail)
	}
	if err == nil && (u == nil || !isUser(u.ID)) {
		err = errNobody
	}
	if err != nil {
		f := c.refusedPerson(err)
		c.hold(method, tier, f)
		return bot.Profile{}, f
	}
	return bot.Profile{Person: conversation.Person{ID: u.ID}, Zone: zoneOf(u), Skip: whyNot(u, self.TeamID)}, nil
}

// errNobody is an answer that says neither who it is nor that there is nobody.
var errNobody = errors.New("the answer of Slack names no person")

// refusedPerson reads the error of a look-up, which never names whom it was for.
func (c *Chat) refusedPerson(err error) *bot.Failure {
	var f *bot.Failure
	switch {
	case errors.As(err, &f):
	case errors.Is(err, errNobody):
		f = &bot.Failure{Kind: bot.Again, Code: "empty_answer", Err: errNobody}
	default:
		f = failure(err, asking)
	}
	if authTrouble[f.Code] {
		c.log.Error("people cannot be looked up; add the scopes users:read and users:read.email under the app's OAuth & Permissions, and reinstall it", "code", f.Code)
	}
	return f
}

// whyNot returns why somebody must not be told, or "" when they may. Cards are for
// full members of our workspace only.
func whyNot(u *slack.User, team string) string {
	switch {
	case u.IsBot, u.IsWorkflowBot, u.IsConnectorBot, u.ID == "USLACKBOT":
		return "is an app"
	case u.Deleted:
		return "left"
	case u.IsStranger, u.TeamID != "" && u.TeamID != team && !slices.Contains(u.Enterprise.Teams, team):
		return "is of another workspace"
	case u.IsRestricted, u.IsUltraRestricted:
		return "is a guest here"
	}
	return ""
}

// zoneOf returns a person's time zone, nil when Slack does not say. Where this
// machine does not know it by name, its present offset from UTC is used.
func zoneOf(u *slack.User) *time.Location {
	if u.TZ == "" {
		return nil
	}
	if zone, err := time.LoadLocation(u.TZ); err == nil {
		return zone
	}
	return time.FixedZone("", u.TZOffset)
}

// Report implements [bot.People].
func (c *Chat) Report(ctx context.Context, m bot.Message, text policy.Text) error {
	_, err := c.post(ctx, m, say(prose(text)...))
	return err
}

// known remembers who people are.
type known struct {
	flight singleflight.Group
	mu     sync.Mutex
	salt   string
	people map[string]acquaintance
}

type acquaintance struct {
	profile bot.Profile
	err     error // not nil: there is no such person
	until   time.Time
}

const (
	personFor = 10 * time.Minute // somebody may leave, or move to another zone
	nobodyFor = time.Minute      // somebody may just be joining
)

// key names a person asked for, without saying who it is.
func (k *known) key(who bot.Identity) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.salt == "" {
		k.salt = rand.Text()
	}
	if who.ID != "" {
		return digest(k.salt, "id", who.ID)
	}
	return digest(k.salt, "mail", strings.ToLower(who.Mail))
}

func (k *known) recall(key string) (bot.Profile, error, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a, ok := k.people[key]
	return a.profile, a.err, ok && time.Now().Before(a.until)
}

// keep remembers an answer: a person, or that there is no such person. Other errors
// are not answers.
func (k *known) keep(key string, p bot.Profile, err error) {
	a := acquaintance{profile: p, until: time.Now().Add(personFor)}
	if err != nil {
		var f *bot.Failure
		if !errors.As(err, &f) || f.Kind != bot.Never {
			return
		}
		a.err, a.until = f, time.Now().Add(nobodyFor)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.people == nil || len(k.people) >= maxKnown {
		k.people = map[string]acquaintance{}
	}
	k.people[key] = a
}
