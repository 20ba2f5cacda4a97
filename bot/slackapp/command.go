package slackapp

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"rehome/bot"
	"rehome/conversation"
	"rehome/policy"
)

// command answers /rehome with one ephemeral message.
func (d *Doors) command(ctx context.Context, c command) answer {
	text, secrets := policy.Strip(typed(c.Text))
	r := request{key: c.key(), user: c.User, place: conversation.Place{Channel: c.Channel}, text: text, secrets: secrets, how: "typed after " + cut(clean(c.Command), 40)}
	if r.text == "" && len(secrets) == 0 {
		return d.startForm(ctx, c.Trigger, form{Place: r.place}, answerCommand)
	}
	p, _, err := d.ask(ctx, r)
	if err != nil {
		return answer{err: err}
	}
	return answer{ack: ephemeral(p)}
}

func answerCommand(p *page) answer { return answer{ack: ephemeral(p)} }

// A request is words meant for the bot, wherever they were said.
type request struct {
	key     string // the event's
	user    string
	place   conversation.Place // where it was said; Anchor is the message whose thread is meant
	joined  bool               // we are known to be there
	text    string             // as typed, without Slack's escapes and without secrets
	secrets []string           // what looked like secrets in it
	how     string             // how a fact from it is known: "typed after /rehome"
	exposed []string           // what looked like secrets in the message it is about
	finding string             // the message it is about, when it is about one
}

// ask answers words: a question about what there is, or something to open. That
// they held what looks like a secret is said above it, also where what was
// opened is the answer.
func (d *Doors) ask(ctx context.Context, r request) (p *page, opened bool, err error) {
	if len(r.secrets) == 0 {
		return d.answerTo(ctx, r)
	}
	p = &page{}
	if r.text != "" {
		if p, _, err = d.answerTo(ctx, r); err != nil {
			return nil, false, err
		}
	}
	return p.below(secretWords(r.secrets)...), false, nil
}

func (d *Doors) answerTo(ctx context.Context, r request) (p *page, opened bool, err error) {
	first, rest, _ := strings.Cut(r.text, " ")
	rest = strings.TrimSpace(rest)
	switch strings.ToLower(first) {
	case "help", "?":
		return helpPage(rest), false, nil
	case "list":
		p, err = d.listPage(ctx, r, rest)
		return p, false, err
	case "mine", "team", "overdue":
		if rest == "" {
			p, err = d.listPage(ctx, r, first)
			return p, false, err
		}
	case "digest":
		p, err = d.preferDigest(ctx, r.key, r.user, rest)
		return p, false, err
	case "show":
		p, err = d.showPage(ctx, r.user, rest)
		return p, false, err
	case "policy":
		return d.policyPage(rest), false, nil
	}
	facts, unknown := d.Bot.Policy.Read(r.text, r.how)
	if !certain(facts) {
		if said := numbered.FindAllString(r.text, 2); len(said) == 1 {
			p, err = d.showPage(ctx, r.user, said[0]) // “what about RH-3?”
			return p, false, err
		}
		if isGreeting(r.text) {
			return helpPage(""), false, nil
		}
		if topic, ok := helpTopic(r.text); ok {
			return helpPage(topic), false, nil
		}
		if len(facts) == 0 && len(r.text) <= 80 {
			unknown = []string{r.text} // all of it, not only the words that might have meant something
		}
		return unclearPage(facts, unknown, meant(r.text, d.Bot.Policy.Titles())...), false, nil
	}
	o, err := d.open(ctx, r, facts, unknown)
	if err != nil {
		return nil, false, err
	}
	return o.page(), true, nil
}

// numbered is a conversation as people name it.
var numbered = regexp.MustCompile(`(?i)\brh-[0-9]{1,18}\b`)

// certain reports whether anything is known: a cloud word that may mean two
// things is nothing to go by.
func certain(facts policy.Facts) bool {
	return slices.ContainsFunc(facts, func(f policy.Fact) bool { return f.Name != policy.CloudWord })
}

// opened is what became of a wish to open a conversation.
type opened struct {
	id    string
	fresh bool               // false: it was there already
	place conversation.Place // where it was to be
	why   markup             // why that is not where it was asked for
}

// open starts a conversation.
func (d *Doors) open(ctx context.Context, r request, facts policy.Facts, unknown []string) (opened, error) {
	place, why := d.placeFor(ctx, r)
	done, err := d.Bot.Open(ctx, r.key, r.finding, conversation.Opened{
		By: conversation.Person{ID: r.user}, Violation: violationOf(facts), Facts: facts, Unknown: unknown, Exposed: r.exposed, In: place,
	})
	if err != nil {
		return opened{}, err
	}
	return opened{id: done.Conversation.ID, fresh: done.Fresh && !done.Again, place: place, why: why}, nil
}

// page says where it is.
func (o opened) page() *page {
	id := bold(words(o.id))
	switch {
	case o.why != "":
		return say(id, " is open in our direct message, ", o.why)
	case o.place.IsDirect():
		return say(id, " is open in our direct message.")
	}
	return say(id, " is open in this channel: its thread has what comes next.")
}

// violationOf is a finding reported by a person, as far as they told it.
func violationOf(f policy.Facts) policy.Violation {
	return policy.Violation{
		Source: policy.ViolationFrom{System: "slack"}, Status: "active", Title: f.Value(policy.Violated),
		App:  policy.App{AppID: f.Value(policy.AppID), DisplayName: f.Value(policy.AppName)},
		Cred: policy.Credential{Store: policy.KeyStore{URI: f.Value(policy.VaultURI)}},
	}
}

// placeFor decides where a conversation is worked: where it was asked for if we
// are there, else between the two of us, and then why.
func (d *Doors) placeFor(ctx context.Context, r request) (conversation.Place, markup) {
	direct := conversation.Place{Channel: r.user}
	if r.place.IsDirect() {
		return direct, ""
	}
	if r.joined {
		return r.place, ""
	}
	in, err := d.Chat.isMember(ctx, r.place.Channel, d.askWithin())
	switch {
	case err != nil:
		d.Log.Warn("could not find out whether we are in a channel; a direct message is used", "code", failure(err, asking).Code)
		return direct, voiceUnsure
	case !in:
		return direct, voiceNotMember
	}
	return r.place, ""
}

// preferDigest keeps how somebody wants to be told.
func (d *Doors) preferDigest(ctx context.Context, key, user, how string) (*page, error) {
	switch how = strings.ToLower(how); how {
	case "daily", "now":
	default:
		return say("Say ", code("/rehome digest daily"), " to be told once a day of all there is for you, or ", code("/rehome digest now"), " to be told as it comes."), nil
	}
	if err := d.Bot.PreferDigest(ctx, key, conversation.Person{ID: user}, how == "daily"); err != nil {
		return nil, err
	}
	if how == "daily" {
		return say("From now on I tell you once a day, in one message. What is urgent I still tell you at once. ", code("/rehome digest now"), " takes it back."), nil
	}
	return say("From now on I tell you as things come, outside your quiet hours. ", code("/rehome digest daily"), " gathers them."), nil
}

// listPage lists conversations, newest first: those that are somebody's, or a
// channel's, or late.
func (d *Doors) listPage(ctx context.Context, r request, which string) (*page, error) {
	which = strings.ToLower(which)
	if which == "" {
		which = "mine"
	}
	in := map[string]func(c conversation.Conversation, root conversation.Root) bool{
		"mine": func(c conversation.Conversation, _ conversation.Root) bool { return concerns(c, r.user) },
		"team": func(c conversation.Conversation, _ conversation.Root) bool {
			return r.place.IsDirect() || worksIn(c, r.place.Channel)
		},
		"overdue": func(_ conversation.Conversation, root conversation.Root) bool { return root.Overdue },
	}[which]
	if in == nil {
		return say(code("/rehome list"), " takes ", code("mine"), ", ", code("team"), " or ", code("overdue"), ", not ", code(cut(which, 80)), ". Without any of them it lists what is yours."), nil
	}
	now := d.Bot.Now()
	late := which == "overdue"
	var found []listing
	count := 0
	err := d.Bot.Store.List(ctx, func(c conversation.Conversation) bool {
		card, _ := c.Card(conversation.RootKey, now)
		root, ok := card.(conversation.Root)
		if !ok || over(c) || !in(c, root) {
			return true
		}
		count++
		found = append(found, listing{Root: root, at: threadFor(c, r.user)})
		if late { // the one that has been late for longest comes last here, and first in the list
			slices.SortStableFunc(found, func(a, b listing) int { return b.Due.Compare(a.Due) })
		}
		if len(found) > listLength {
			found = found[1:]
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	if which == "team" && r.place.IsDirect() {
		which = "all" // a direct message has no team
	}
	d.linkTo(ctx, found)
	return listed(which, count, found), nil
}

// A listing is a conversation on a list.
type listing struct {
	conversation.Root
	at      conversation.Thread // where it is worked on
	address string              // of that thread, or ""
}

// threadFor returns the thread that a person can open: their own, or else a
// channel's.
func threadFor(c conversation.Conversation, user string) (at conversation.Thread) {
	for _, t := range c.Threads {
		switch {
		case t.RootTS() == "":
		case t.For.ID == user, t.IsDirect() && c.By.ID == user && t.For.ID == "":
			return t
		case !t.IsDirect() && at.Channel == "":
			at = t
		}
	}
	return at
}

// linkTo fills in the addresses of threads. They are put together as Slack puts
// a message's permalink together, since it could not be asked for each in time.
func (d *Doors) linkTo(ctx context.Context, list []listing) {
	ctx, cancel := context.WithTimeout(ctx, d.askWithin())
	defer cancel()
	self, err := d.Chat.Identify(ctx)
	if err != nil || self.URL == "" {
		return // a list without links is still a list
	}
	for i, l := range list {
		if channelID.MatchString(l.at.Channel) {
			list[i].address = strings.TrimSuffix(self.URL, "/") + "/archives/" + l.at.Channel + "/p" + strings.ReplaceAll(l.at.RootTS(), ".", "")
		}
	}
}

// over reports whether nothing is waited for in a conversation.
func over(c conversation.Conversation) bool {
	return c.Status == conversation.Ended || c.Status == conversation.Closed
}

// worksIn reports whether a channel has a thread of a conversation.
func worksIn(c conversation.Conversation, channel string) bool {
	return slices.ContainsFunc(c.Threads, func(t conversation.Thread) bool { return t.Channel == channel })
}

// listLength is how many conversations a list shows; an ephemeral message is no
// place for more, and must fit through a socket.
const listLength = 15

// concerns reports whether a conversation is somebody's: they took it, own the
// app and did not say otherwise, opened it, or answered in it.
func concerns(c conversation.Conversation, user string) bool {
	for _, o := range c.Owners {
		if o.ID == user && o.State == conversation.NotTheirs {
			return c.Taken.ID == user
		}
	}
	return c.Taken.ID == user || c.By.ID == user || c.Violation.Owner.SlackUserID == user ||
		slices.ContainsFunc(c.Owners, func(o conversation.Owner) bool { return o.ID == user }) ||
		slices.ContainsFunc(c.Threads, func(t conversation.Thread) bool { return t.For.ID == user }) ||
		slices.ContainsFunc(c.Asked, func(q conversation.Asked) bool { return q.By.ID == user })
}

func listed(which string, count int, found []listing) *page {
	var p page
	heading := map[string]string{"mine": "Open and yours", "team": "Open in this channel", "all": "Open", "overdue": "Open and overdue"}[which]
	if count == 0 {
		return say(bold(words(heading+": none")), newline, "Type ", code("/rehome"), " to start one, or ", code("/rehome help"), ".")
	}
	p.say(bold(words(fmt.Sprintf("%s: %d", heading, count))))
	var lines []markup
	for _, r := range slices.Backward(found) {
		lines = append(append(lines, line(r)...), newline)
	}
	p.say(lines...)
	if count > len(found) {
		shown := "The newest %d are shown."
		if which == "overdue" {
			shown = "The %d that have been overdue for longest are shown."
		}
		p.note(words(fmt.Sprintf(shown, len(found))))
	}
	return &p
}

// line is a conversation in one line.
func line(r listing) []markup {
	out := []markup{"• ", bold(words(r.ID)), " ", words(cut(orElse(r.Title, "title not known yet"), 100))}
	if r.App+r.AppID != "" {
		out = append(out, " · ", code(cut(orElse(r.App, r.AppID), 60)))
	}
	if !r.Due.IsZero() {
		out = append(out, " · due ", day(r.Due))
	}
	if r.Overdue {
		out = append(out, " · ", bold("overdue"))
	}
	if r.Taken.ID != "" {
		out = append(out, " · taken by ", mention(r.Taken.ID))
	}
	out = append(append(out, " · "), prose(r.Status)...)
	if r.address != "" {
		out = append(out, " · ", link("its thread", r.address))
	}
	return out
}

// showable is a conversation as people name it after “show”: RH-7, rh7, #7, 7.
var showable = regexp.MustCompile(`(?i)^[ .#]*(?:rh)?[ #-]*([0-9]{1,18})[ .?]*$`)

// showPage shows one conversation as it stands. It is named by its number, with
// or without RH- before it.
func (d *Doors) showPage(ctx context.Context, user, which string) (*page, error) {
	m := showable.FindStringSubmatch(which)
	if m == nil {
		return say("Say which one by its number: ", code("/rehome show RH-7"), ", or ", code("show 7"), ". ", code("/rehome list"), " shows what is open and yours, ", code("list team"), " what is open here."), nil
	}
	n := m[1]
	id := "RH-" + strings.TrimLeft(n, "0")
	c, err := d.Bot.Store.Get(ctx, id)
	if errors.Is(err, bot.ErrNotFound) {
		return say("There is no ", code("RH-"+cut(n, 20)), ". ", code("/rehome list team"), " shows what is open."), nil
	} else if err != nil {
		return nil, err
	}
	now := d.Bot.Now()
	var p page
	if root, ok := c.Card(conversation.RootKey, now); ok {
		renderRoot(&p, root.(conversation.Root), marker{})
	}
	for i, q := range c.Asked {
		if q.State == conversation.Answered {
			p.note(words(fmt.Sprintf("%d. %s", i+1, q.Need.Prompt)), " ✓ ", bold(words(q.Chosen.Label)), answeredBy(q.By))
		}
	}
	direct := false
	for _, t := range c.Threads {
		if t.IsDirect() {
			direct = true
		} else {
			p.note("Worked on in ", channelMention(t.Channel), ".")
		}
	}
	if direct {
		p.note("Worked on in direct messages.")
	}
	leads := []listing{{at: threadFor(c, user)}}
	if d.linkTo(ctx, leads); leads[0].address != "" {
		p.note(link("Open its thread", leads[0].address))
	}
	return &p, nil
}

// policyPage shows the rows of the policy tables that fit some words: a party, a
// tenant, a cloud. Words that choose no row are said, and nothing is shown for
// them, since all rows would look like an answer.
func (d *Doors) policyPage(text string) *page {
	facts, unknown := d.Bot.Policy.Read(text, "asked")
	tenant := orElse(facts.Value(policy.AppTenant), facts.Value(policy.SGOwner))
	cloud := policy.Cloud(facts.Value(policy.AppCloud))
	parties := []policy.Party{policy.ThirdParty, policy.FirstParty}
	party := policy.Party(facts.Value(policy.PartyFact))
	if party != "" {
		parties = []policy.Party{party}
	}
	_, ambiguous := facts.Get(policy.CloudWord)
	if text != "" && tenant == "" && cloud == "" && party == "" && !ambiguous && len(unknown) == 0 {
		unknown = []string{text} // it was understood, and is about something else
	}
	if ambiguous || len(unknown) > 0 {
		p := unclear(facts, unknown, ", so no rows are shown.")
		p.say(helpTopics["policy"]...)
		return p
	}
	var p page
	for _, party := range parties {
		p.say(d.policyRows(party, tenant, cloud)...)
	}
	p.note(d.version()...)
	return &p
}

// version says which policy is in force, and when it should be looked at again.
func (d *Doors) version() []markup {
	v := d.Bot.Policy.Version(d.Bot.Now())
	out := []markup{words("Policy " + v.Version), " ", code(v.Digest[:min(19, len(v.Digest))])}
	if v.Stale != "" {
		out = append(append(out, " · "), atoms(v.Stale)...)
	}
	return out
}

// keysOf splits a row's key cell; "CME / AME / PME" means any of them.
func keysOf(r policy.Row) []string {
	keys := strings.Split(r.Key, "/")
	for i := range keys {
		keys[i] = strings.TrimSpace(keys[i])
	}
	return keys
}

// policyRows are the rows of a party's table that fit a tenant and a cloud, of
// which either may be open, or why there is none.
func (d *Doors) policyRows(party policy.Party, tenant string, cloud policy.Cloud) []markup {
	of := map[policy.Party]string{policy.FirstParty: "1P, by security group owner's tenant and app cloud", policy.ThirdParty: "3P, by app tenant"}[party]
	out := []markup{bold(words(of)), newline}
	var rows []policy.Row
	var clouds []string // that the tenant has rows for
	for _, r := range d.Bot.Policy.Rows(party) {
		if tenant != "" && !slices.Contains(keysOf(r), tenant) {
			continue
		}
		clouds = append(clouds, string(r.Cloud))
		if cloud == "" || r.Cloud == cloud {
			rows = append(rows, r)
		}
	}
	if row, outcome := d.Bot.Policy.Lookup(party, tenant, cloud); outcome == policy.Conflict {
		return append(out, "These two ", bold("contradict each other"), ": ", code(tenant), " is a tenant in ", bold(words(string(row.Cloud))), ", and you said ", bold(words(string(cloud))), ". A 3P tenant has one cloud.")
	}
	for i, r := range rows {
		if i > 0 {
			out = append(out, newline)
		}
		out = append(out, "• ", code(r.Key), " ", words(string(r.Cloud)), " → ", code(r.AsWritten),
			" · ", words(fmt.Sprintf("issuer %s · %s · corp devices: %s", r.Issuer, r.Vaults, r.CorpDevices)))
	}
	if len(rows) > 0 {
		return out
	}
	asked := strings.TrimSpace(string(party) + " " + tenant + " " + string(cloud))
	out = append(out, "There is ", bold("no policy row"), " for ", code(asked), ".")
	switch len(clouds) {
	case 0:
	case 1:
		out = append(out, " ", code(tenant), " has one for ", bold(words(clouds[0])), " alone.")
	default:
		out = append(out, " ", code(tenant), " has rows for ", bold(words(strings.Join(clouds, " and "))), ".")
	}
	return out
}
