package slackapp

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"

	"rehome/bot"
	"rehome/conversation"
	"rehome/policy"
)

var may = time.Date(2026, 5, 1, 9, 0, 0, 0, time.UTC)

// nasty is what somebody outside would like us to say.
const nasty = "<!channel> <@U0000000002> *bold* _it_ ~no~ `code` <https://evil.example|click> https://evil.example &lt;!here&gt; @here :tada: \u202egnp.exe\u0000\n> quoted"

// cards are one of every message a conversation can show.
func cards() map[string]conversation.Card {
	by := conversation.Person{ID: alice}
	party := policy.Need{
		Fact: policy.PartyFact, Prompt: "Is this a first-party (1P) or a third-party (3P) app?", Why: "The two have tables of their own. The title does not say.",
		Choices: []policy.Choice{{Value: "1P", Label: "1P: first-party", Hint: "Microsoft's own, registered for all tenants"}, {Value: "3P", Label: "3P: third-party", Suggested: true}},
	}
	tenants := policy.Need{Fact: policy.AppTenant, Prompt: "Which tenant is the app registered in?", Why: "It decides the row."}
	for _, t := range []string{"Torus Gallatin", "AME", "CME", "GME", "MPA", "PME"} {
		tenants.Choices = append(tenants.Choices, policy.Choice{Value: t, Label: t, Hint: "a hint about " + t, Suggested: t == "Torus Gallatin"})
	}
	bare := policy.Choice{Value: "x", Label: strings.Repeat("long label ", 10), Hint: strings.Repeat("long hint ", 10)}
	steps := []conversation.Section{
		{Text: policy.Text{{Text: "Tenant mismatch, option A: "}, {Kind: policy.Bold, Text: "move it"}, {Text: "."}}},
		{Warning: true, Text: policy.Say("Certificate changes are top contributors to customer-visible outages.")},
		{Heading: "Create the new vault", Number: 1, Text: policy.Text{{Text: "For "}, {Kind: policy.Value, Text: "contoso-payroll"}, {Text: ":"}, {Kind: policy.Bullet}, {Text: "first"}, {Kind: policy.Bullet}, {Text: "then "}, {Kind: policy.Code, Text: "az keyvault create"}},
			Links: []policy.Link{{Title: "SDP guidance", URL: "https://contoso.example/sdp?a=1&b=2"}}},
		{Heading: "Show that the old certificate is no longer in use", Number: 2, Gate: true, Text: policy.Text{{Text: "Run:"}, {Kind: policy.Block, Text: "SignInLogs\n| where a > b"}, {Kind: policy.Break}, {Text: "Ask "}, {Kind: policy.Who, Text: bob}, {Text: "."}}},
	}
	return map[string]conversation.Card{
		"root": conversation.Root{
			ID: "RH-12", Title: title, App: "contoso-payroll", AppID: "11111111-2222-4333-8444-555555555555", Due: may, Overdue: true,
			Owners: []conversation.Person{{ID: alice}, {ID: bob}}, OpenedBy: by, Source: "slack", Status: policy.Say("Waiting for an answer: which tenant?"), Progress: "1 of 3 answered",
			Facts: []policy.Fact{
				{Name: policy.PartyFact, Value: "3P", From: policy.FromAnswer, Why: "the answer to question 1"},
				{Name: policy.CertCloud, Value: "Mooncake", From: policy.FromInference, Why: "the vault's host ends in .vault.azure.cn"},
			},
			Links: []policy.Link{{Title: "Finding", URL: "https://contoso.example/finding/1"}},
		},
		"root-owners":    owned(func(*conversation.Root) {}),
		"root-taken":     owned(func(r *conversation.Root) { r.Taken = by }),
		"root-let-go":    owned(func(r *conversation.Root) { r.LeftBy = by }),
		"root-closed":    owned(func(r *conversation.Root) { r.Closed, r.Status = true, policy.Say("Closed: resolved in s360") }),
		"root-many":      owned(func(r *conversation.Root) { r.Known = slices.Repeat(r.Known, 20) }),
		"root-dm":        told(conversation.Owner{Via: "owner of the application", State: conversation.ToldAlone}),
		"root-dm-taken":  told(conversation.Owner{Via: "named by a colleague", State: conversation.ToldAlone}, func(r *conversation.Root) { r.Taken = conversation.Person{ID: bob} }),
		"root-dm-mine":   told(conversation.Owner{Via: "owner of the application", State: conversation.ToldAlone}, func(r *conversation.Root) { r.Taken = by }),
		"root-dm-joined": told(conversation.Owner{State: conversation.ToldAlone}),
		"root-dm-not":    told(conversation.Owner{Via: "owner of the application", State: conversation.NotTheirs}),
		"root-dm-named":  told(conversation.Owner{Via: "owner of the application", State: conversation.NotTheirs}, func(r *conversation.Root) { r.Instead = conversation.Person{ID: bob} }),
		"root-dm-closed": told(conversation.Owner{Via: "owner of the application", State: conversation.NotTheirs}, func(r *conversation.Root) { r.Closed = true }),
		"root-dm-nasty": told(conversation.Owner{Via: nasty, State: conversation.ToldAlone}, func(r *conversation.Root) {
			r.Hops = []conversation.Hop{{Where: nasty, Result: nasty}}
			r.Known = []conversation.Owner{{Person: conversation.Person{ID: nasty}, State: conversation.NotReach, Why: nasty}}
			r.Related, r.Taken = []string{nasty}, conversation.Person{ID: nasty}
		}),
		"root-alert":     conversation.Root{ID: "RH-13", Title: "APP-09", OwnerTo: "payroll-owners", Source: "s360", Due: may, Status: policy.Say("Working it out")},
		"root-bare":      conversation.Root{ID: "RH-14", Status: policy.Say("Working it out")},
		"root-nasty":     conversation.Root{ID: "RH-15", Title: nasty, App: nasty, OwnerTo: nasty, Source: nasty, Status: policy.Text{{Kind: policy.Value, Text: nasty}, {Text: nasty}}, Progress: nasty, Facts: []policy.Fact{{Name: policy.VaultURI, Value: nasty, From: policy.FromAlert, Why: nasty}}, Links: []policy.Link{{Title: nasty, URL: "javascript:alert(1)"}, {Title: nasty, URL: "https://contoso.example/<!channel>|x"}}},
		"root-long":      conversation.Root{ID: "RH-16", Title: strings.Repeat("long title ", 60), Facts: longFacts(), Status: policy.Say(strings.Repeat("status ", 700))},
		"question":       conversation.Question{ID: "RH-12", Number: 1, Need: party, State: conversation.Open},
		"select":         conversation.Question{ID: "RH-12", Number: 2, Need: tenants, State: conversation.Open},
		"reopened":       conversation.Question{ID: "RH-12", Number: 1, Need: party, State: conversation.Open, Chosen: party.Choices[0], By: by},
		"answered":       conversation.Question{ID: "RH-12", Number: 1, Need: party, State: conversation.Answered, Chosen: party.Choices[1], By: by},
		"fallen":         conversation.Question{ID: "RH-12", Number: 3, Need: tenants, State: conversation.Fallen, Chosen: tenants.Choices[0], By: by, Why: policy.Say("Another answer made it unnecessary.")},
		"waiting":        conversation.Question{ID: "RH-12", Number: 3, Need: tenants, State: conversation.Waiting, Why: policy.Text{{Kind: policy.Who, Text: bob}, {Text: " is changing party; this waits until that is settled."}}},
		"question-nasty": conversation.Question{ID: "RH-12", Number: 4, State: conversation.Open, Need: policy.Need{Prompt: nasty, Why: nasty, Choices: []policy.Choice{{Value: "a", Label: nasty, Hint: nasty}, bare}}},
		"advice":         conversation.Advice{ID: "RH-12", Number: 1, Part: 1, Parts: 1, Outcome: policy.Steps, Headline: "Move the certificate to the production tenant", Sections: steps, Change: true},
		"advice-part":    conversation.Advice{ID: "RH-12", Number: 1, Part: 2, Parts: 3, Outcome: policy.Steps, Headline: "Move the certificate to the production tenant", Sections: steps[2:]},
		"advice-none":    conversation.Advice{ID: "RH-12", Number: 2, Part: 1, Parts: 1, Outcome: policy.NoPolicyRow, Headline: "There is no policy row for this", Sections: steps[:1], Change: true},
		"advice-long":    conversation.Advice{ID: "RH-12", Number: 1, Part: 1, Parts: 1, Headline: "Long", Sections: longSections(), Change: true},
		"advice-nasty": conversation.Advice{ID: "RH-12", Number: 1, Part: 1, Parts: 1, Headline: nasty, Change: true, Sections: []conversation.Section{
			{Heading: nasty, Number: 1, Text: policy.Text{{Text: nasty}, {Kind: policy.Bold, Text: nasty}, {Kind: policy.Code, Text: nasty}, {Kind: policy.Value, Text: nasty}, {Kind: policy.Block, Text: nasty}, {Kind: policy.Linked, Text: nasty, URL: "https://contoso.example/?" + nasty}, {Kind: policy.Who, Text: nasty}}},
		}},
		"superseded": conversation.Advice{ID: "RH-12", Number: 1, Part: 1, Parts: 3, Superseded: policy.Text{{Text: "This no longer holds: "}, {Kind: policy.Who, Text: bob}, {Text: " changed an answer."}}},
		"remark":     conversation.Remark{ID: "RH-12", Text: policy.Text{{Text: "I did not understand: "}, {Kind: policy.Value, Text: "frobnicate"}, {Text: ". I go on with the rest."}}},
	}
}

// owned is a root in a channel, of an app whose owners were looked for.
func owned(change func(*conversation.Root)) conversation.Root {
	r := conversation.Root{
		ID: "RH-12", Title: title, App: "contoso-payroll", AppID: "11111111-2222-4333-8444-555555555555", Source: "s360", Status: policy.Say("Waiting for an answer: which tenant?"),
		Known: []conversation.Owner{
			{Person: conversation.Person{ID: alice}, Via: "owner of the application", State: conversation.NotTheirs},
			{Person: conversation.Person{ID: bob}, Via: "named by a colleague", State: conversation.ToldAlone},
			{Person: conversation.Person{ID: "U0000000003"}, State: conversation.ToldInOne},
			{Person: conversation.Person{ID: "U0000000004"}, State: conversation.ToBeTold},
			{Person: conversation.Person{ID: "U0000000005"}, State: conversation.NotReach, Why: "messages_tab_disabled"},
			{Person: conversation.Person{ID: "U0000000006"}, State: conversation.NotReach, Why: "brand_new_code"},
		},
		Hops: []conversation.Hop{
			{Where: "owners of the application", Result: "3: 1 is a service principal, 1 left, 1 mail hidden: needs User.Read.All"},
			{Where: "owners of the service principal", Result: "1, can be told"},
		},
		ReadAt: may, Related: []string{"RH-3", "RH-4"},
	}
	change(&r)
	return r
}

// told is a root in an owner's direct message.
func told(o conversation.Owner, change ...func(*conversation.Root)) conversation.Root {
	r := owned(func(r *conversation.Root) {
		o.ID = alice
		r.For, r.Known, r.Hops = o, nil, nil
		r.Owners = []conversation.Person{{ID: alice}, {ID: bob}}
	})
	for _, c := range change {
		c(&r)
	}
	return r
}

func longFacts() []policy.Fact {
	var out []policy.Fact
	for range 40 {
		out = append(out, policy.Fact{Name: policy.SubjectName, Value: strings.Repeat("v", 500), From: policy.FromAlert, Why: strings.Repeat("why ", 200)})
	}
	return out
}

func longSections() []conversation.Section {
	var out []conversation.Section
	for i := range 70 {
		out = append(out, conversation.Section{Heading: "Step", Number: i + 1, Text: policy.Say(strings.Repeat("word & word ", 400)), Gate: i%2 == 0})
	}
	return out
}

func TestEveryCardLooksAsItShould(t *testing.T) {
	d := sit(t, set{door: "http"})
	for name, card := range cards() {
		t.Run(name, func(t *testing.T) {
			m := marker{"RH-12", "q1", "0123456789abcdef"}
			if _, ok := card.(conversation.Root); ok {
				m.key = conversation.RootKey
			}
			blocks, text := render(card, m)
			golden(t, "card-"+name, text, blocks)
			d.accepts(t, blocks, text)
		})
	}
}

// TestEveryAnswerLooksAsItShould: what the Slack side says by itself.
func TestEveryAnswerLooksAsItShould(t *testing.T) {
	d := sit(t, set{door: "http"})
	direct := conversation.Place{Channel: alice}
	root := cards()["root"].(conversation.Root)
	long := root
	long.Title, long.App = nasty, nasty
	ambiguous, _ := policy.Default().Read("gallatin", "typed")
	known := policy.Facts{{Name: policy.AppID, Value: "11111111-2222-4333-8444-555555555555", From: policy.FromAlert}}
	for name, p := range map[string]*page{
		"help":               helpPage(""),
		"help-start":         helpPage("start"),
		"help-answer":        helpPage("change"),
		"help-list":          helpPage("list"),
		"help-owners":        helpPage("handover"),
		"closed":             closed(conversation.Conversation{ID: "RH-12", Over: "resolved in s360"}),
		"list-joined":        onList(conversation.Conversation{ID: "RH-12"}, conversation.Joined{By: conversation.Person{ID: alice}}),
		"list-joined-before": onList(conversation.Conversation{ID: "RH-12", Threads: []conversation.Thread{{For: conversation.Person{ID: alice}}}}, conversation.Joined{By: conversation.Person{ID: alice}}),
		"list-not-mine":      onList(conversation.Conversation{ID: "RH-12", Facts: known, Owners: []conversation.Owner{{Person: conversation.Person{ID: alice}}}}, conversation.NotMine{By: conversation.Person{ID: alice}}),
		"list-not-mine-2":    onList(conversation.Conversation{ID: "RH-12", Facts: known, Owners: []conversation.Owner{{Person: conversation.Person{ID: alice}, State: conversation.NotTheirs}}}, conversation.NotMine{By: conversation.Person{ID: alice}}),
		"list-not-mine-3":    onList(conversation.Conversation{ID: "RH-12", Named: conversation.Person{ID: bob}, Owners: []conversation.Owner{{Person: conversation.Person{ID: alice}, State: conversation.NotTheirs}}}, conversation.NotMine{By: conversation.Person{ID: alice}}),
		"list-named-2":       onList(conversation.Conversation{ID: "RH-12", Named: conversation.Person{ID: bob}, Owners: []conversation.Owner{{Person: conversation.Person{ID: bob}}}}, conversation.Named{By: conversation.Person{ID: alice}, Owner: conversation.Person{ID: bob}}),
		"list-named-no-app":  onList(conversation.Conversation{ID: "RH-12"}, conversation.Named{By: conversation.Person{ID: alice}, Owner: conversation.Person{ID: bob}}),
		"list-no-owner":      onList(conversation.Conversation{ID: "RH-12"}, conversation.NotMine{By: conversation.Person{ID: alice}}),
		"list-named":         onList(conversation.Conversation{ID: "RH-12", Facts: known}, conversation.Named{By: conversation.Person{ID: alice}, Owner: conversation.Person{ID: bob}}),
		"list-mine":          onList(conversation.Conversation{ID: "RH-12"}, conversation.Named{By: conversation.Person{ID: alice}, Owner: conversation.Person{ID: alice}}),
		"help-policy":        helpPage("policy"),
		"help-unknown":       helpPage(nasty),
		"unknown":            unclearPage(nil, []string{"frobnicate", nasty}),
		"unknown-many":       unclearPage(nil, strings.Split(strings.Repeat("x ", 30), " ")),
		"ambiguous":          unclearPage(ambiguous, nil),
		"ambiguous-unknown":  unclearPage(ambiguous, []string{"frobnicate"}),
		"opened":             opened{id: "RH-12", place: conversation.Place{Channel: triage}}.page(),
		"opened-direct":      opened{id: "RH-12", place: direct}.page(),
		"opened-moved":       opened{id: "RH-12", place: direct, why: voiceNotMember}.page(),
		"opened-unsure":      opened{id: "RH-12", place: direct, why: voiceUnsure}.page(),
		"already":            already("RH-12"),
		"forgotten":          forgotten("RH-12"),
		"elsewhere":          elsewhere("RH-12"),
		"busy":               say(voiceBusy),
		"foreign":            say(voiceForeign),
		"unknown-button":     say(voiceUnknownControl),
		"list":               listed("team", 31, []listing{{Root: root, address: "https://contoso.example/archives/C1/p1"}, {Root: long}, {Root: cards()["root-taken"].(conversation.Root)}}),
		"list-overdue":       listed("overdue", 31, []listing{{Root: root}}),
		"unknown-meant":      unclearPage(nil, []string{"lst"}, meant("lst", nil)...),
		"list-none":          listed("overdue", 0, nil),
		"policy-row":         d.doors.policyPage("1P Torus Gallatin Mooncake"),
		"policy-no-row":      d.doors.policyPage("1P GME Fairfax"),
		"policy-conflict":    d.doors.policyPage("3P USME Public"),
		"policy-both":        d.doors.policyPage("AME Fairfax"),
		"policy-ambiguous":   d.doors.policyPage("3P gallatin"),
	} {
		t.Run(name, func(t *testing.T) {
			golden(t, "answer-"+name, undated(p.words()), nil)
			check(t, d.chat.whisper(t.Context(), alice, bot.Message{Channel: triage}, p))
			d.accepts(t, p.blocks, p.words())
			b, err := json.Marshal(ephemeral(p))
			check(t, err)
			if len(b) > maxAck {
				t.Errorf("%d bytes do not fit through a socket", len(b))
			}
		})
	}
}

// undated takes out the digest of policy files that other people edit.
func undated(s string) string { return digests.ReplaceAllString(s, "sha256:…") }

// accepts posts a message to the strict sandbox, and edits it, which has the
// tighter limits.
func (d *desk) accepts(t *testing.T, blocks []slack.Block, text string) {
	t.Helper()
	at, err := d.chat.send(t.Context(), triage, posting, quiet(text, blocks...)...)
	if err != nil {
		t.Fatalf("the sandbox refuses it: %v\n%s", err, d.whyRefused())
	}
	if _, err = d.chat.send(t.Context(), triage, editing, append(quiet(text, blocks...), slack.MsgOptionUpdate(at.TS))...); err != nil {
		t.Fatalf("the sandbox refuses the edit: %v\n%s", err, d.whyRefused())
	}
	m, _ := d.Message(triage, at.TS)
	for _, who := range m.Mentions {
		if strings.HasPrefix(who, "!") {
			t.Errorf("it mentions %s", who)
		}
	}
}

func (d *desk) whyRefused() string {
	calls := d.Calls()
	b, _ := json.MarshalIndent(calls[len(calls)-1], "", "  ")
	return string(b)
}

// golden compares a message with testdata/name.golden: the words, then the blocks.
func golden(t *testing.T, name, text string, blocks any) {
	t.Helper()
	got := text + "\n"
	if blocks != nil {
		var b strings.Builder
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		check(t, enc.Encode(blocks))
		got += "\n-- blocks --\n" + b.String()
	}
	path := filepath.Join("testdata", name+".golden")
	if *update {
		check(t, os.MkdirAll("testdata", 0o755))
		check(t, os.WriteFile(path, []byte(got), 0o644))
		return
	}
	want, err := os.ReadFile(path)
	check(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; if it is meant, go test -update and read the diff):\n%s", path, diff)
	}
}
