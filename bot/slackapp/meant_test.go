package slackapp

import (
	"strings"
	"testing"

	"rehome/policy"
)

// TestWhatIsNearlyKnownIsSuggested: a slip is met with a suggestion, and words
// that are near nothing with none.
func TestWhatIsNearlyKnownIsSuggested(t *testing.T) {
	titles := policy.Default().Titles()
	const cloud = "AAD Entra Apps cloud mismatches with Cert Cloud"
	for _, c := range []struct{ text, want string }{
		{"lst", "Did you mean `/rehome list`?"},
		{"lsit overdue", "Did you mean `/rehome list overdue`?"},
		{"Halp", "Did you mean `/rehome help`?"},
		{"polciy 3P", "Did you mean `/rehome policy 3P`?"},
		{"AAD Entra Apps clod mismatch with Cert Cloud", "Did you mean `/rehome " + cloud + "`?"},
		{"aad entra app cloud mismatches with certs cloud", "Did you mean `/rehome " + cloud + "`?"},
		{"3f6b2a10-8c4d-4e21", "`3f6b2a10-8c4d-4e21` looks like a part of an app id. An app id has 36 characters; please copy all of it."},
		{"3F6B2A10-8C4D-4E21-9A7B-5D0E6C1FD00", "36 characters"},
		{"last week my certificate broke", ""},
		{"show me what to do with this thing", ""},
		{"my cert is in the wrong tenant", ""},
		{"frobnicate", ""},
		{"late", ""}, // two letters from “list”
		{"00000000-0000-0000-0000-000000000000", ""},
		{"", ""},
		{strings.Repeat("list ", 1000), ""},
	} {
		var got strings.Builder
		for _, m := range meant(c.text, titles) {
			got.WriteString(string(m))
		}
		if got := got.String(); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%q is met with %q, want %q", c.text, got, c.want)
		}
	}
}
