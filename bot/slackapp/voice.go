package slackapp

import (
	"slices"
	"strings"

	"rehome/policy"
)

// This file holds the sentences the Slack side says by itself. What a
// conversation says about itself is in package conversation.
//
// Friendly, short, precise: what happened comes first, what can be done now
// comes last.
const (
	voiceEmpty markup = "(nothing to show)"
	voiceCut   markup = "… (cut: this is longer than one Slack message may be)"
	voiceGate  markup = "Stop here until you can show this. The steps after it are not safe before that."

	voiceNotMember markup = "since I'm not in this one. To have it here, invite me with `/invite` and ask again."
	voiceUnsure    markup = "since I could not find out whether I'm in this one."

	voiceBusy           markup = "That took too long, and I can't promise that it was written down. `/rehome list` shows what was; if it is not there, please try again."
	voiceBusyForm       markup = "That took too long. Please send it again: if it was written down after all, it is not opened twice."
	voiceForeign        markup = "I serve another workspace, so nothing was done. Ask whoever runs me to install me here."
	voiceUnknownControl markup = "I don't know that button, so nothing changed. `/rehome help` says what I can do."
)

// helpTopics are what /rehome help explains.
var helpTopics = map[string][]markup{
	"": {
		bold("What I do"), newline,
		"I work a violation of an Entra app's credentials with you: I ask what I cannot infer, and reply with the steps, every value filled in from the policy.", newline, newline,
		"• ", code("/rehome"), " opens a form", newline,
		"• ", code("/rehome <what you know>"), " starts at once: a violation title, an app id, a vault address, 1P or 3P, a tenant, a cloud", newline,
		"• ", code("/rehome list [mine|team|overdue]"), " shows what is open", newline,
		"• ", code("/rehome show RH-1"), " shows one", newline,
		"• ", code("/rehome policy [1P|3P] [tenant] [cloud]"), " shows the policy tables' rows", newline,
		"• ", code("/rehome digest [daily|now]"), " says how often I tell you of what is yours", newline,
		"• ", code("/rehome help [start|answer|owners|list|policy]"), " tells more", newline, newline,
		"You can also mention me, write to me directly, or use ", bold("Triage with Rehome"), " on any message.",
	},
	"start": {
		bold("Starting"), newline,
		"Write what you know, in any order, for example ", code("/rehome AAD Entra Apps cloud mismatches with Cert Cloud 3P Torus Gallatin"), ". What I recognise becomes a fact that everybody can see and change; what I don't, I say.", newline,
		"In a channel that I'm in, it is worked there, in a thread. Anywhere else it is between the two of us. Either way I also tell those who own the app: ", code("/rehome help owners"), ".",
	},
	"answer": {
		bold("Answering"), newline,
		"Press a button, pick from the list, or type the answer as a reply in the thread: ", code("1P"), ", ", code("Torus Gallatin"), ", ", code("option a"), ". One answer is enough, from anybody.", newline,
		bold("Change"), " on an answered question, or on the steps, asks again and works everything out anew.",
	},
	"owners": {
		bold("Owners"), newline,
		"I look for an app's owners among those people named before, then in the directory, the alert and the service map, until I find somebody I may tell. They get a direct message with the same questions as the channel. The root message says where I looked and what came of it.", newline,
		"• ", bold("I take it"), " says that you work on it; ", bold("Hand over…"), " gives it to somebody, who is told; ", bold("Let go"), " says that you don't work on it after all", newline,
		"• ", bold("Join"), " brings it into our direct message, too", newline,
		"• ", bold("Not my app"), " in the direct message takes it off you, and asks whose it is; I remember that for the app", newline,
		"• ", code("/rehome digest daily"), ": one message a day instead of one for each; ", code("digest now"), " takes it back", newline,
		"Guests, apps, people of other workspaces and those who left are never told.",
	},
	"list": {
		bold("Listing"), newline,
		"• ", code("/rehome list"), " or ", code("list mine"), ": open, and taken, owned, opened or answered by you", newline,
		"• ", code("/rehome list team"), ": open and worked on in the channel you are in; in our direct message, all that is open", newline,
		"• ", code("/rehome list overdue"), ": open and past its due date, wherever it is worked on, the longest overdue first", newline,
		"• ", code("/rehome show RH-1"), " or ", code("show 1"), ": one of them, open or not",
	},
	"policy": {
		bold("The policy tables"), newline,
		code("/rehome policy"), " shows all rows; ", code("policy 3P CME"), " or ", code("policy 1P Torus Mooncake"), " those that fit. Where there is none, I say ", bold("no policy row"), ", and never use another; where a 3P tenant is in another cloud than the one you say, that the two contradict each other.",
	},
}

// helpPage explains a topic, or everything.
func helpPage(topic string) *page {
	if strings.TrimSpace(topic) == "" {
		return say(helpTopics[""]...)
	}
	if known, ok := helpTopic(topic); ok {
		return say(helpTopics[known]...)
	}
	p := say("There is no help on ", code(topic), ". This is what I can do:")
	p.say(helpTopics[""]...)
	return p
}

// helpTopic returns the topic that a word is about, if there is one.
func helpTopic(word string) (topic string, ok bool) {
	word = strings.ToLower(strings.Trim(word, " .?!"))
	for _, t := range []struct {
		topic string
		words []string
	}{
		{"start", []string{"open", "form", "new", "triage"}}, {"answer", []string{"answers", "change", "question", "questions"}},
		{"owners", []string{"owner", "digest", "take", "join", "hand", "handover", "hand over", "let go"}}, {"list", []string{"show", "mine", "team", "overdue", "status"}}, {"policy", []string{"table", "tables", "1p", "3p"}},
	} {
		if word == t.topic || slices.Contains(t.words, word) {
			return t.topic, true
		}
	}
	return "", false
}

// secretWords tell somebody that what they typed held a secret.
func secretWords(found []string) []markup {
	return []markup{"What you wrote holds what looks like ", bold(words(strings.Join(found, " and "))), ". I kept nothing of it. Wherever you took it from, and wherever you wrote it: treat it as exposed, and replace it."}
}

// unclearPage says why words opened nothing, and what would. meant is what they
// may have been meant to be.
func unclearPage(facts policy.Facts, unknown []string, meant ...markup) *page {
	p := unclear(facts, unknown, ", so nothing was opened.")
	if len(meant) > 0 {
		p.say(meant...)
	}
	p.say(helpTopics[""]...)
	return p
}

// unclear says what was not understood: a word that may mean two things, words
// that mean nothing here, or both; and then what follows from that.
func unclear(facts policy.Facts, unknown []string, so markup) *page {
	word, ambiguous := facts.Get(policy.CloudWord)
	var out []markup
	if ambiguous {
		out = append(out, code(cut(word.Value, 80)), " ", words(strings.TrimPrefix(word.Why, "it ")))
	}
	switch {
	case ambiguous && len(unknown) > 0:
		out = append(append(out, ", and I made nothing of "), pieces(unknown)...)
	case !ambiguous:
		out = append(append(out, "I made nothing of "), pieces(unknown)...)
	}
	if out = append(out, so); ambiguous {
		out = append(out, " Please write which it is.")
	}
	return say(out...)
}

// maxPieces is how many pieces that were not understood are repeated.
const maxPieces = 10

func pieces(unknown []string) []markup {
	if len(unknown) == 0 {
		return []markup{"that"}
	}
	var out []markup
	for i, w := range unknown[:min(len(unknown), maxPieces)] {
		if i > 0 {
			out = append(out, ", ")
		}
		out = append(out, code(cut(w, 80)))
	}
	if len(unknown) > maxPieces {
		out = append(out, " and more")
	}
	return out
}
