package policy_test

import (
	"strings"
	"testing"

	"rehome/policy"
)

func routed() (policy.Violation, policy.Facts) {
	v := policy.Violation{
		Title:    "AAD Entra Apps cloud mismatches with Cert Cloud",
		Service:  policy.Service{ID: "5e1c0000-0000-4000-8000-000000000501", Name: "Contoso Ledger"},
		Owner:    policy.Owner{Alias: "rivera"},
		Assignee: policy.Owner{Email: "ledger-oncall@contoso.com"},
		App:      policy.App{TenantName: "Torus Gallatin", Cloud: "China"},
	}
	return v, policy.Default().Infer(v)
}

// Every condition alone, as people write it, and why the rule was taken.
func TestARuleIsTakenForWhatItAsksFor(t *testing.T) {
	v, f := routed()
	for _, tc := range []struct {
		rule policy.RouteRule
		why  string // "" when it does not fit
	}{
		{policy.RouteRule{Service: "contoso  ledger"}, "rule 1: the service is Contoso Ledger"},
		{policy.RouteRule{Service: "5E1C0000-0000-4000-8000-000000000501"}, "rule 1: the service is 5e1c0000-0000-4000-8000-000000000501"},
		{policy.RouteRule{Tenant: "torus gallatin"}, "rule 1: the tenant is Torus Gallatin"},
		{policy.RouteRule{Tenant: "Torus"}, ""},
		{policy.RouteRule{Cloud: "21Vianet"}, "rule 1: the cloud is Mooncake"},
		{policy.RouteRule{Cloud: "Public"}, ""},
		{policy.RouteRule{Title: "aad entra apps cloud mismatches*"}, "rule 1: the title is AAD Entra Apps cloud mismatches with Cert Cloud"},
		{policy.RouteRule{Title: "AAD Entra Apps"}, ""},
		{policy.RouteRule{Team: "Ledger-OnCall@contoso.com"}, "rule 1: it is with ledger-oncall@contoso.com"},
		{policy.RouteRule{Team: "rivera", Cloud: "Mooncake"}, "rule 1: the cloud is Mooncake, it is with rivera"},
		{policy.RouteRule{Team: "rivera", Cloud: "Fairfax"}, ""},
		{policy.RouteRule{}, ""},
	} {
		tc.rule.Channel = "C0TEAM"
		channel, why := policy.Default().Route([]policy.RouteRule{tc.rule}, "C0TRIAGE", v, f)
		switch {
		case tc.why == "" && (channel != "C0TRIAGE" || why != "none of the 1 routing rules fits"):
			t.Errorf("%+v: %s because %s", tc.rule, channel, why)
		case tc.why != "" && (channel != "C0TEAM" || why != tc.why):
			t.Errorf("%+v: %s because %q, want %q", tc.rule, channel, why, tc.why)
		}
	}
}

func TestTheFirstRuleThatFitsIsTaken(t *testing.T) {
	v, f := routed()
	channel, why := policy.Default().Route([]policy.RouteRule{
		{Cloud: "Fairfax", Channel: "C0A"}, {Cloud: "Mooncake", Channel: "C0B"}, {Team: "rivera", Channel: "C0C"},
	}, "C0TRIAGE", v, f)
	if channel != "C0B" || !strings.HasPrefix(why, "rule 2: ") {
		t.Errorf("%s because %s", channel, why)
	}
	if channel, why = policy.Default().Route(nil, "C0TRIAGE", v, f); channel != "C0TRIAGE" || why != "there are no routing rules" {
		t.Errorf("%s because %s", channel, why)
	}
}

// An alert that says nothing fits no rule that asks for something.
func TestNothingIsNotAMatch(t *testing.T) {
	for _, r := range []policy.RouteRule{{Service: "*"}, {Title: "*"}, {Team: "*"}, {Tenant: "*"}} {
		r.Channel = "C0A"
		if channel, why := policy.Default().Route([]policy.RouteRule{r}, "C0TRIAGE", policy.Violation{}, nil); channel != "C0TRIAGE" {
			t.Errorf("%+v: %s because %s", r, channel, why)
		}
	}
}

func TestRulesThatCannotBeMeantAreRefused(t *testing.T) {
	err := policy.Default().CheckRoutes([]policy.RouteRule{
		{Service: "Ledger", Channel: "C0123ABCD"},
		{Service: "Ledger"},
		{Service: "Ledger", Channel: "#ledger"},
		{Channel: "C0123ABCD"},
		{Cloud: "Gallatin of old", Channel: "C0123ABCD"},
		{Service: "Ledger", Channel: "C0123ABCD"},
	})
	if err == nil {
		t.Fatal("were taken")
	}
	for _, want := range []string{
		"routing rule 2: it has no channel", `routing rule 3: "#ledger" is no channel id`,
		"routing rule 4: it asks for nothing", "routing rule 5: ", "routing rule 6: it is there twice",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "rule 1:") {
		t.Errorf("a good rule is refused: %v", err)
	}
}
