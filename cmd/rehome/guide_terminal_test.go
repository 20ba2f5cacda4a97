package main

import (
	"regexp"
	"testing"
	"time"

	"rehome/policy"
)

// What makes Markdown up for a terminal joins the paragraphs of a list item
// into one line, so a step's title, text, links and source must not be such.
func TestTheLinesOfAStepStayApartInATerminal(t *testing.T) {
	d := policy.Default().Decide(policy.Facts{
		{Name: policy.Violated, Value: "AAD Entra Apps in Prod Tenants using certificates in Non-Prod Tenant", From: policy.FromAnswer},
		{Name: policy.PartyFact, Value: "3P", From: policy.FromAnswer},
		{Name: policy.AppTenant, Value: "CME", From: policy.FromAnswer},
		{Name: policy.Option, Value: "A", From: policy.FromAnswer},
	}, time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC))
	p := &program{env: func(name string) string { return map[string]string{"NO_COLOR": "1"}[name] }}
	page, err := p.madeUp(d.Markdown(), 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`1\. \*\*Create the new Key Vault or dSMS folder in CME\*\*`,
		`Run your end-to-end tests in each ring: .*`,
		`See .*`,
		`\*Source: guide-cert-rehoming, scenario 1, 3P option A, step 5\*`,
	} {
		if !regexp.MustCompile(`(?m)^\s*` + line + `\s*$`).MatchString(page) {
			t.Errorf("%s is no line of its own in\n%s", line, page)
		}
	}
}
