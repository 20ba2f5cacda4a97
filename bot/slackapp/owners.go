package slackapp

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/slack-go/slack"

	"rehome/bot"
	"rehome/conversation"
	"rehome/policy"
)

// This file is about whose app it is: what the root says of its owners, and the
// controls by which people take it, hand it over, join, or say that it is not
// theirs.

const (
	actionTake    = "take"
	actionJoin    = "join"
	actionHand    = "hand" // a select of people
	actionNotMine = "notmine"
	actionName    = "name" // a select of people: whose it is
	actionMine    = "mine" // theirs after all
	actionLetGo   = "letgo"
)

// rootControls are the buttons of a root: in a channel for everybody who
// triages, in a direct message for the one whose it is. A closed conversation
// has none.
func rootControls(p *page, r conversation.Root, m marker) {
	if m == (marker{}) || r.Closed {
		return
	}
	id := m.control(verbOwn)
	hand := personSelect(actionHand, "Hand over…")
	take := ownButton(actionTake, "I take it")
	var spoken []markup
	var elements []slack.BlockElement
	switch {
	case r.For.State == conversation.NotTheirs:
		whoseIsIt(p, id, r.AppID != "", r.Instead)
		return
	case r.For.ID != "" && r.For.Via != "":
		elements = []slack.BlockElement{take, ownButton(actionNotMine, "Not my app"), hand}
		spoken = []markup{"Press “I take it” to work on it, “Not my app” if it is not yours, or hand it over to somebody."}
	case r.For.ID != "":
		elements = []slack.BlockElement{take, hand}
		spoken = []markup{"Press “I take it” to work on it, or hand it over to somebody."}
	default:
		elements = []slack.BlockElement{take, ownButton(actionJoin, "Join"), hand}
		spoken = []markup{"Press “I take it” to work on it, “Join” to have it in a direct message, too, or hand it over to somebody."}
	}
	if r.Taken.ID != "" {
		elements = slices.DeleteFunc(elements, func(e slack.BlockElement) bool { return e == slack.BlockElement(take) })
		spoken = []markup{"It can be handed over to somebody else."}
		switch r.For.Person { // “Let go” is last, so that a second press on “I take it” does not meet it
		case conversation.Person{}:
			elements = append(elements, ownButton(actionLetGo, "Let go"))
			spoken = append(spoken, " If ", mention(r.Taken.ID), " can't work on it after all, they press “Let go”.")
		case r.Taken:
			elements = append(elements, ownButton(actionLetGo, "Let go"))
			spoken = append(spoken, " Press “Let go” if you can't work on it after all.")
		}
		if r.For.Via != "" {
			spoken = append(spoken, " Press “Not my app” if it is not yours.")
		}
	}
	p.controls(id, spoken, elements...)
}

// whoseIsIt asks somebody who said that an app is not theirs. What they answer
// is remembered for an app that has an id. Once somebody was named, they may
// still say otherwise.
func whoseIsIt(p *page, blockID string, kept bool, named conversation.Person) {
	mine := ownButton(actionMine, "It is mine after all")
	if named.ID != "" {
		p.say("You said that this app is not yours, and ", mention(named.ID), " was named as its owner. If that is wrong, choose somebody else.")
		p.controls(blockID, nil, personSelect(actionName, "Somebody else…"), mine)
		return
	}
	then := markup(" I tell them.")
	if kept {
		then = " I tell them, and remember it for this app."
	}
	p.say("You said that this app is not yours. ", bold("Whose is it?"), then)
	p.controls(blockID, nil, personSelect(actionName, "Whose is it?"), mine)
}

func ownButton(action, name string) *slack.ButtonBlockElement {
	return slack.NewButtonBlockElement(action, action, plainText(name, maxLabel))
}

func personSelect(action, placeholder string) *slack.SelectBlockElement {
	return slack.NewOptionsSelectBlockElement(slack.OptTypeUser, plainText(placeholder, 150), action)
}

// ownersOf names the owners, and what became of each.
func ownersOf(r conversation.Root) []markup {
	var out []markup
	list := r.Known
	if len(list) == 0 {
		for _, o := range r.Owners {
			list = append(list, conversation.Owner{Person: o})
		}
	}
	for i, o := range list[:min(len(list), maxOwners)] {
		if i > 0 {
			out = append(out, ", ")
		}
		out = append(out, mention(o.ID))
		if what := becameOf(o); what != "" {
			out = append(out, " (", what, ")")
		}
	}
	if n := len(list) - maxOwners; n > 0 {
		out = append(out, " and ", words(strconv.Itoa(n)+" more"))
	}
	if len(out) == 0 && r.OwnerTo != "" {
		out = append(out, code(r.OwnerTo), " (not known in this workspace)")
	}
	return out
}

// maxOwners are named; an app can have a hundred.
const maxOwners = 20

func becameOf(o conversation.Owner) markup {
	switch o.State {
	case conversation.ToBeTold:
		return "to be told"
	case conversation.ToldAlone:
		return "told"
	case conversation.ToldInOne:
		return "told, in a digest"
	case conversation.NotTheirs:
		return "says it is not theirs"
	case conversation.NotReach:
		return "not reached: " + unreached(o.Why)
	}
	return ""
}

// unreached says a code of Slack's in words, where people meet it.
func unreached(code string) markup {
	switch code {
	case "":
		return "for no known reason"
	case "cannot_dm_bot":
		return "is an app"
	case "user_disabled", "account_inactive", "user_is_deactivated":
		return "left"
	case "messages_tab_disabled":
		return "messages from this app are switched off"
	case "user_not_found", "users_not_found", "channel_not_found", "user_not_visible":
		return "not in this workspace"
	}
	return words(cut(strings.ReplaceAll(code, "_", " "), 100))
}

// lookedIn says how owners were looked for, and how old that is.
func lookedIn(r conversation.Root) []markup {
	out := []markup{bold("Looked for owners in")}
	for _, h := range r.Hops {
		out = append(out, newline, "• ", words(cut(h.Where, 200)), ": ")
		out = append(out, atoms(cut(h.Result, maxValue))...)
	}
	if !r.ReadAt.IsZero() {
		out = append(out, newline, "As of ", moment(r.ReadAt), ".")
	}
	return out
}

func related(ids []string) []markup {
	var out []markup
	for i, id := range ids {
		if i > 0 {
			out = append(out, ", ")
		}
		out = append(out, words(id))
	}
	return out
}

// sayWhyYou tells an owner, in their direct message, how it came to them.
func sayWhyYou(p *page, r conversation.Root) {
	if r.For.Via == "" || r.For.State == conversation.NotTheirs {
		return
	}
	p.say("You are told because ", because(r.For.Via), ".")
}

func because(via string) markup {
	switch via {
	case "owner of the application":
		return "you own the application in the directory"
	case "owner of the service principal":
		return "you own its service principal in the directory"
	case "member of a group that owns the app":
		return "you are in a group that owns the app in the directory"
	case "said to be theirs before":
		return "somebody said before that this app is yours"
	case "named by the alert":
		return "the alert names you as the owner"
	case "assigned by the alert":
		return "the alert is assigned to you"
	case "answers for the service":
		return "you answer for the service it belongs to"
	case "named by a colleague":
		return "a colleague says that this app is yours"
	case "it was handed to them":
		return "it was handed over to you"
	case "their own word":
		return "you said that it is yours"
	}
	return "of this: " + words(cut(via, 200))
}

// owned handles a press that is about whose it is. in is the thread it was
// made in, unless at.listed.
func (d *Doors) owned(ctx context.Context, i interaction, a action, at control, c conversation.Conversation, in int) answer {
	by := conversation.Person{ID: i.User.ID}
	to := conversation.Person{ID: a.Person}
	if at.listed {
		in = conversation.AtDoor // onList answers, where it was pressed
	}
	var e conversation.Event
	check := conversation.Person{} // whoever is to be told by it
	switch a.ActionID {
	case actionTake:
		e = conversation.Took{By: by, In: in, To: by}
	case actionJoin:
		e, check = conversation.Joined{By: by, In: in}, by
	case actionHand:
		e, check = conversation.Took{By: by, In: in, To: to, Over: true}, to
	case actionLetGo:
		e = conversation.LetGo{By: by, In: in}
	case actionNotMine:
		e = conversation.NotMine{By: by, In: in}
	case actionName:
		e, check = conversation.Named{By: by, In: in, Owner: to}, to
	case actionMine:
		e = conversation.Named{By: by, In: in, Owner: by}
	default:
		return answer{after: d.tellBack(i, say(voiceUnknownControl))}
	}
	if (a.ActionID == actionHand || a.ActionID == actionName) && to.ID == "" {
		return answer{} // the choice was taken back
	}
	if c.Status == conversation.Closed {
		return answer{after: d.tellBack(i, closed(c))}
	}
	if check.ID != "" {
		if p := d.mayBeTold(ctx, check, by); p != nil {
			return answer{after: d.tellBack(i, p)}
		}
	}
	_, err := d.Bot.Handle(ctx, i.key(a), c.ID, e)
	switch {
	case errors.Is(err, bot.ErrNotFound):
		return answer{after: d.tellBack(i, forgotten(c.ID))}
	case err != nil || !at.listed:
		return answer{err: err}
	}
	return answer{after: d.tellBack(i, onList(c, e))}
}

// mayBeTold returns what to answer when a person must not be told, or nil.
func (d *Doors) mayBeTold(ctx context.Context, who, by conversation.Person) *page {
	if !isUser(who.ID) {
		return say(voiceUnknownControl)
	}
	ctx, cancel := context.WithTimeout(ctx, d.askWithin())
	defer cancel()
	p, err := d.Chat.Person(ctx, bot.Identity{ID: who.ID})
	var f *bot.Failure
	switch {
	case errors.As(err, &f) && f.Kind == bot.Never:
		return say("I don't find ", mention(who.ID), " in this workspace, so nothing changed. Please choose somebody else.")
	case err != nil:
		return say("I could not find out just now whether ", mention(who.ID), " may be told, so nothing changed. Please try again in a minute.")
	case p.Skip != "" && who == by:
		return say("What I know is for members of this workspace, and your account ", words(p.Skip), ", so nothing changed.")
	case p.Skip != "":
		return say(mention(who.ID), " ", words(p.Skip), ", so I don't tell them, and nothing changed. Please choose somebody else.")
	}
	return nil
}

// onList answers a press on a list, which shows nothing of the conversation as
// it is now. c is what it was.
func onList(c conversation.Conversation, e conversation.Event) *page {
	id := bold(words(c.ID))
	owner := func(p conversation.Person) int {
		return slices.IndexFunc(c.Owners, func(o conversation.Owner) bool { return o.Person == p })
	}
	switch e := e.(type) {
	case conversation.Joined:
		if slices.ContainsFunc(c.Threads, func(t conversation.Thread) bool { return t.For == e.By || t.IsDirect() && t.Channel == e.By.ID }) {
			return say(id, " is in our direct message already: look for its thread.")
		}
		return say(id, " comes up below, in a thread of its own.")
	case conversation.NotMine:
		at := owner(e.By)
		if at < 0 {
			return say("You are not held to be an owner of ", id, "'s app, so nothing changed.")
		}
		p := say("Noted: ", id, ".")
		if c.Owners[at].State == conversation.NotTheirs {
			if c.Named.ID != "" {
				return say("Noted already: ", id, "'s app is not yours, and ", mention(c.Named.ID), " was named for it. Nothing changed.")
			}
			p = say("Noted already: ", id, ".")
		}
		whoseIsIt(p, marker{conversation: c.ID, key: keyList}.control(verbOwn), c.Facts.Value(policy.AppID) != "", conversation.Person{})
		return p
	case conversation.Named:
		if at := owner(e.Owner); at >= 0 && c.Named == e.Owner && c.Owners[at].State != conversation.NotTheirs {
			return say("Noted already: ", id, "'s app is ", mention(e.Owner.ID), "'s. Nothing changed.")
		}
		if e.Owner == e.By {
			return say("Thank you: ", id, " is yours.")
		}
		if c.Facts.Value(policy.AppID) == "" {
			return say("Thank you. I tell ", mention(e.Owner.ID), " of ", id, ".")
		}
		return say("Thank you. I tell ", mention(e.Owner.ID), " of ", id, ", and remember it for this app.")
	case conversation.Took, conversation.LetGo, conversation.Opened, conversation.Chosen, conversation.Said, conversation.Revised, conversation.Found, conversation.Told, conversation.Unreached,
		conversation.Corrected, conversation.Passed,
		conversation.Linked, conversation.Seen, conversation.Ruled, conversation.Posted, conversation.Gone, conversation.Unreachable:
	}
	return say("Done: ", id, ".") // lists have no controls for these
}

// closed says that a conversation is over.
func closed(c conversation.Conversation) *page {
	return say(bold(words(c.ID)), " is closed: ", words(cut(c.Over, maxValue)), ". Nothing changed.")
}
