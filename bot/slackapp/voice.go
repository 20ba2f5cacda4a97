package slackapp

import (
	"slices"
	"strings"
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
		"In a channel that I'm in, everything happens there in a thread. Anywhere else it is between the two of us.",
	},
	"answer": {
		bold("Answering"), newline,
		"Press a button, pick from the list, or type the answer as a reply in the thread: ", code("1P"), ", ", code("Torus Gallatin"), ", ", code("option a"), ". One answer is enough, from anybody.", newline,
		bold("Change"), " on an answered question, or on the steps, asks again and works everything out anew.",
	},
	"owners": {
		bold("Owners"), newline,
		"I look for an app's owners in the directory, then in the alert and the service map, and tell those I find in a direct message, with the same questions as the channel. The root message says where I looked and what came of it.", newline,
		"• ", bold("I take it"), " says that you work on it; ", bold("Hand over…"), " gives it to somebody, who is told", newline,
		"• ", bold("Join"), " brings it into our direct message, too", newline,
		"• ", bold("Not my app"), " in the direct message takes it off you, and asks whose it is; I remember that for the app", newline,
		"• ", code("/rehome digest daily"), ": one message a day instead of one for each; ", code("digest now"), " takes it back", newline,
		"Guests, apps and people of other workspaces are never told.",
	},
	"list": {
		bold("Listing"), newline,
		"• ", code("/rehome list"), " or ", code("list mine"), ": open, and taken, owned, opened or answered by you", newline,
		"• ", code("/rehome list team"), ": open and worked on in the channel you are in", newline,
		"• ", code("/rehome list overdue"), ": open and past its due date", newline,
		"• ", code("/rehome show RH-1"), ": one of them, open or not",
	},
	"policy": {
		bold("The policy tables"), newline,
		code("/rehome policy"), " shows all rows; ", code("policy 3P CME"), " or ", code("policy 1P Torus Mooncake"), " those that fit. Where there is none, I say ", bold("no policy row"), ", and never use another.",
	},
}

// helpPage explains a topic, or everything.
func helpPage(topic string) *page {
	topic = strings.ToLower(strings.TrimSpace(topic))
	text, ok := helpTopics[topic]
	if !ok {
		for _, t := range []struct {
			topic string
			words []string
		}{
			{"start", []string{"open", "form", "new", "triage"}}, {"answer", []string{"answers", "change", "question", "questions"}},
			{"owners", []string{"owner", "digest", "take", "join", "hand", "handover"}}, {"list", []string{"show", "mine", "team", "overdue"}}, {"policy", []string{"table", "tables", "1p", "3p"}},
		} {
			if slices.Contains(t.words, topic) {
				return say(helpTopics[t.topic]...)
			}
		}
		p := say("There is no help on ", code(topic), ". This is what I can do:")
		p.say(helpTopics[""]...)
		return p
	}
	return say(text...)
}

// unknownPage says what was not understood, and what is.
func unknownPage(unknown []string) *page {
	var said []markup
	for i, w := range unknown[:min(len(unknown), 10)] {
		if i > 0 {
			said = append(said, ", ")
		}
		said = append(said, code(cut(w, 80)))
	}
	if len(unknown) > 10 {
		said = append(said, " and more")
	}
	if len(said) == 0 {
		said = []markup{"that"}
	}
	p := say(append(append([]markup{"I made nothing of "}, said...), ", so nothing was opened.")...)
	p.say(helpTopics[""]...)
	return p
}
