package slackapp

import (
	"strings"
	"testing"

	"rehome/conversation"
	"rehome/policy"
)

// TestEveryReplyThePolicyCanGiveFits answers every question in every way, from
// every title, and shows all that comes up on the way: nothing is cut off, and
// the strict sandbox takes each kind of card.
func TestEveryReplyThePolicyCanGiveFits(t *testing.T) {
	p := policy.Default()
	d := sit(t, set{door: "http"})
	sent := map[string]bool{}
	var shown, longest, most int
	var walk func(c conversation.Conversation)
	walk = func(c conversation.Conversation) {
		for _, key := range c.Keys() {
			card, _ := c.Card(key, may)
			blocks, text := render(card, marker{c.ID, key, conversation.Digest(card)})
			shown++
			longest = max(longest, len([]rune(text)))
			if strings.Contains(text, string(voiceCut)) || strings.Contains(text, "(cut)") {
				t.Errorf("%s is cut: %s", key, text)
			}
			if why := obeysOwn(text); why != "" {
				t.Errorf("%s: %s: %s", key, why, text)
			}
			if !sent[text] && len(sent) < 150 {
				sent[text] = true
				d.accepts(t, blocks, text)
			}
		}
		if r, ok := c.CurrentReply(); ok {
			if most = max(most, r.Parts); r.Parts > maxParts {
				t.Errorf("a reply takes %d messages, so that its end is far from its beginning: %+v", r.Parts, c.Facts)
			}
		}
		n := c.OpenQuestion()
		if n == 0 {
			return
		}
		for _, choice := range c.Asked[n-1].Need.Choices {
			next, _ := conversation.Step(p, c, conversation.Chosen{By: conversation.Person{ID: bob}, Question: n, Value: choice.Value}, may)
			walk(next)
		}
	}
	for _, title := range p.Titles() {
		v := policy.Violation{Title: title.Text, Source: policy.ViolationFrom{System: "s360"}, Due: may,
			App:  policy.App{AppID: "11111111-2222-4333-8444-555555555555", DisplayName: "Contoso Payroll Synchronisation Service (production)"},
			Cred: policy.Credential{SubjectName: "CN=payroll.contoso.example", Thumbprint: strings.Repeat("AB", 20), Store: policy.KeyStore{URI: "https://contoso-payroll-prod-kv.vault.azure.net/certificates/payroll"}}}
		c, _ := conversation.Step(p, conversation.Conversation{ID: "RH-1"}, conversation.Opened{Violation: v, Facts: p.Infer(v), In: conversation.Place{Channel: triage}}, may)
		walk(c)
	}
	t.Logf("%d cards, the longest has %d characters; a reply takes at most %d messages", shown, longest, most)
}

// maxParts is how many messages one reply may take.
const maxParts = 4

// obeysOwn is obeys for texts with the policy's own links.
func obeysOwn(s string) string {
	for _, l := range []string{"https://", "http://"} {
		s = strings.ReplaceAll(s, "<"+l, "<https://contoso.example/")
	}
	return obeys(s)
}

// BenchmarkDecideAndRender is from facts to every message of the reply they
// come to, ready to be sent.
func BenchmarkDecideAndRender(b *testing.B) {
	p := policy.Default()
	facts, _ := p.Read(title+" 3P CME option A 11111111-2222-4333-8444-555555555555 https://contoso-kv.vault.azure.cn", "typed")
	opened := conversation.Opened{Facts: facts, In: conversation.Place{Channel: triage}}
	c, _ := conversation.Step(p, conversation.Conversation{ID: "RH-1"}, opened, may)
	if _, ok := c.CurrentReply(); !ok {
		b.Fatal("no reply")
	}
	b.ReportAllocs()
	for b.Loop() {
		d := p.Decide(facts, may)
		c.Replies[0].Decision = d
		for n := 1; n <= c.Replies[0].Parts; n++ {
			card, _ := c.Card("r1."+string(rune('0'+n)), may)
			render(card, marker{"RH-1", "r1", "0123456789abcdef"})
		}
	}
}
