package conversation

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"rehome/policy"
)

// This file holds the sentences a conversation says by itself. They are short,
// say what is the matter first, and end with what can be done now.

func text(spans ...policy.Span) policy.Text { return spans }
func plain(s string) policy.Span            { return policy.Span{Kind: policy.Plain, Text: s} }
func bold(s string) policy.Span             { return policy.Span{Kind: policy.Bold, Text: s} }
func value(s string) policy.Span            { return policy.Span{Kind: policy.Value, Text: s} }
func who(p Person) policy.Span {
	if p.ID == "" {
		return plain("somebody")
	}
	return policy.Span{Kind: policy.Who, Text: p.ID}
}

func sayForeign(id string) policy.Text {
	return policy.Say("That question is not one of " + id + "'s any more. Nothing changed; the questions that stand are in its thread.")
}

// sayAnswered replies to an answer that came second.
func sayAnswered(q Asked, pressed string, by Person) policy.Text {
	switch {
	case q.Chosen.Value == pressed && q.By == by:
		return text(plain("Already noted: "), value(q.Chosen.Label), plain("."))
	case q.Chosen.Value == pressed:
		return text(plain("Already answered by "), who(q.By), plain(", and the same way: "), value(q.Chosen.Label), plain("."))
	}
	return text(plain("Already answered by "), who(q.By), plain(": "), value(q.Chosen.Label), plain(". Nothing changed. To give another answer, press Change on that question."))
}

func sayFallen(q Asked) policy.Text {
	return append(text(plain("That question no longer applies, so nothing changed. ")), q.Why...)
}

func sayWaiting(open int) policy.Text {
	return policy.Say("An answer is being changed: question " + strconv.Itoa(open) + " comes first. Nothing changed.")
}

// sayWaits says why a question waits.
func (t *turn) sayWaits() policy.Text {
	if t.c.Status == Closed {
		return policy.Say("This is closed: " + t.c.Over + ". Nothing changed.")
	}
	return sayWaiting(t.c.OpenQuestion())
}

func sayOpen(n int) policy.Text {
	return policy.Say("Question " + strconv.Itoa(n) + " is open already: pick an answer there.")
}

func sayNoChoice(q Asked) policy.Text {
	return policy.Say("That is not one of the answers to this question, so nothing changed. It takes " + values(q.Need) + ".")
}

func sayHeld(f policy.Fact) policy.Text {
	return text(plain(FactTitle(f.Name)+" is "), value(spoken(f)), plain(" already ("+HowKnown(f)+"). Nothing changed. To give another answer, press Change."))
}

func sayNotUnderstood(c Conversation, open int) policy.Text {
	if open == 0 {
		return policy.Say("I make nothing of that. No question is open here; to give another answer, press Change, or type “change”.")
	}
	need := c.Asked[open-1].Need
	return policy.Say("I make nothing of that, so nothing changed. The open question is: " + need.Prompt + " It takes " + values(need) + ".")
}

func sayNotNeeded() policy.Text { return policy.Say("Another answer made it unnecessary.") }

func sayAskedAgain(n int) policy.Text {
	return policy.Say("It was asked again in question " + strconv.Itoa(n) + ".")
}

func sayBeingChanged(name policy.FactName, by Person) policy.Text {
	what := strings.ToLower(FactTitle(name))
	if name == whatToChange {
		what = "an answer"
	}
	return text(who(by), plain(" is changing "+what+"; this waits until that is settled."))
}

func saySuperseded(by Person) policy.Text {
	if by.ID == "" {
		return policy.Say("This no longer holds: the facts changed. What holds now is further down.")
	}
	return text(plain("This no longer holds: "), who(by), plain(" changed an answer. What holds now is further down."))
}

func sayRuledOut() policy.Text {
	return policy.Say("This no longer holds: the policy, or the list of tenants that goes with it, was changed. What holds now is further down.")
}

func sayRuledNeedless() policy.Text {
	return policy.Say("The policy, or the list of tenants that goes with it, was changed: this need not be asked any more, or not in these words.")
}

func sayMoved(why string) policy.Text {
	return policy.Say("I could not post in the channel where you asked (" + why + "), so this is between you and me. To have it there, invite me to the channel and ask again.")
}

func unknownWords(words []string) policy.Text {
	t := text(plain("I did not understand: "))
	for i, w := range words {
		if i > 0 {
			t = append(t, plain(", "))
		}
		t = append(t, value(cut(w, 80)))
	}
	return append(t, plain(". I go on with the rest."))
}

// saySecret tells somebody that what they typed held a secret.
func saySecret(found []string) policy.Text {
	return policy.Say("What you wrote holds what looks like " + strings.Join(found, " and ") + ". I kept nothing of it, but whoever sees your message can read it: delete the message, treat the secret as exposed, and replace it.")
}

// sayExposed says the same of a message that others wrote.
func sayExposed(found []string) policy.Text {
	return policy.Say("The message above holds what looks like " + strings.Join(found, " and ") + ". I kept nothing of it, but whoever is in this channel can read it: have the message deleted, treat the secret as exposed, and replace it.")
}

// values lists the values that a need takes, as a person may type them: "1P or 3P".
func values(n policy.Need) string {
	var out []string
	for _, c := range n.Choices {
		out = append(out, c.Value)
	}
	if len(out) > 1 {
		return strings.Join(out[:len(out)-1], ", ") + " or " + out[len(out)-1]
	}
	return strings.Join(out, "")
}

// FactTitle returns what a fact is called on cards: "App tenant".
func FactTitle(name policy.FactName) string {
	switch name {
	case policy.Violated:
		return "Violation"
	case policy.PartyFact:
		return "Party"
	case policy.AppTenant:
		return "App tenant"
	case policy.SGOwner:
		return "Security group owner's tenant"
	case policy.AppCloud:
		return "App cloud"
	case policy.Option:
		return "Way out"
	case policy.Plane:
		return "Plane"
	case policy.CertCloud:
		return "Certificate's cloud"
	case policy.CertTenant:
		return "Certificate's tenant"
	case policy.VaultURI:
		return "Old vault"
	case policy.Vault:
		return "Vault type"
	case policy.SubjectName:
		return "Subject name"
	case policy.Thumbprint:
		return "Thumbprint"
	case policy.AppID:
		return "App id"
	case policy.AppName:
		return "App"
	case policy.AppAuthor:
		return "Authority"
	case policy.OwnerOrg:
		return "Owner organisation"
	case policy.FoundBy:
		return "Found by"
	case policy.DueDate:
		return "Due"
	case policy.HandedOff:
		return "Handed over by"
	case policy.CloudWord:
		return "Cloud word"
	}
	return string(name)
}

// spoken returns a fact's value as the label of its button begins.
func spoken(f policy.Fact) string {
	switch {
	case f.Name == policy.Option && len(f.Value) == 1:
		return "Option " + f.Value
	case f.Name == policy.Option && f.Value == "move-cert":
		return "Move the certificate"
	case f.Name == policy.Option && f.Value == "update-sg":
		return "Update the security group"
	case f.Name == policy.Plane && f.Value == "data-flow":
		return "Data flow"
	case f.Name == policy.Plane && f.Value == "control-plane":
		return "Control plane"
	}
	return f.Value
}

// HowKnown says in a few words where a fact came from, and what is odd about its
// value.
func HowKnown(f policy.Fact) string {
	if f.Doubt != "" {
		odd := f.Doubt
		f.Doubt = ""
		return HowKnown(f) + ": " + odd
	}
	switch f.From {
	case policy.FromAnswer:
		return orElse(f.Why, "answered")
	case policy.FromHandoff:
		return orElse(f.Why, "handed over")
	case policy.FromTitle:
		return orElse(f.Why, "from the title")
	case policy.FromAlert:
		if strings.HasPrefix(f.Why, "its ") {
			return "from the alert: " + f.Why
		}
		return orElse(f.Why, "from the alert")
	case policy.FromDirectory:
		return orElse(f.Why, "from the directory")
	case policy.FromInference:
		return "inferred: " + orElse(f.Why, "see the reasons")
	}
	return f.Why
}

// changeWord understands "change" and "change party" typed in a thread.
func changeWord(s string) (policy.FactName, bool) {
	words := strings.Fields(strings.ToLower(strings.Trim(s, " .!")))
	if len(words) == 0 || len(words) > 4 || words[0] != "change" {
		return "", false
	}
	switch strings.Join(words[1:], " ") {
	case "":
		return "", true
	case "violation", "title":
		return policy.Violated, true
	case "party", "1p", "3p":
		return policy.PartyFact, true
	case "tenant", "app tenant":
		return policy.AppTenant, true
	case "owner", "sg owner", "sg", "security group":
		return policy.SGOwner, true
	case "cloud", "app cloud":
		return policy.AppCloud, true
	case "option", "way", "way out", "side":
		return policy.Option, true
	case "plane":
		return policy.Plane, true
	}
	return "", false
}

// cut shortens s to n runes and shows that it did.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	for i := range s {
		if n--; n == 0 {
			return s[:i] + "…"
		}
	}
	return s
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// orEmpty prefixes s, when there is one.
func orEmpty(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// sayUnreached tells the security channel of an owner who could not be told.
func sayUnreached(id string, e Unreached) policy.Text {
	if e.Also > 0 {
		id += " and " + strconv.Itoa(e.Also) + " more"
	}
	return text(plain(id+": I could not tell "), who(e.To), plain(" ("+e.Why+"). Somebody else has to."))
}

// sayUndelivered tells the security channel of a place that takes no messages.
func sayUndelivered(id string, in Place, why string) policy.Text {
	where := policy.Span{Kind: policy.Code, Text: in.Channel}
	if strings.HasPrefix(in.Channel, "U") || strings.HasPrefix(in.Channel, "W") {
		where = who(Person{ID: in.Channel})
	}
	return text(plain(id+": a message for "), where, plain(" could not be delivered ("+why+"). "),
		policy.Span{Kind: policy.Code, Text: "rehome outbox --failed"}, plain(" lists it and what else fails there; I say this once a day."))
}
