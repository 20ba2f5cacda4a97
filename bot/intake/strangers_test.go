package intake

import (
	"slices"
	"testing"
)

// A field whose name has a slip says nothing, and that is said.
func TestAFieldThatAViolationDoesNotHaveIsSaid(t *testing.T) {
	got := Read([]byte(`{"id": "KAI-1", "source": {"system": "s360"}, "title": "t", "due": "2026-12-01T00:00:00Z", "Description": "x",
		"app": {"appId": "5d2b7c10-3a4e-4f61-8b9c-6e0f7a1bd008", "signInAudience": "x", "tenant": "AME", "name": "Ledger", "owner": null},
		"credential": {"store": {"url": "https://contoso-kv.vault.azure.net"}, "issuer": "x", "customKeyIdentifier": "x"}, "raw": {"due": 1}, "Ärger": 1}`))
	if len(got.Faults) > 0 || len(got.Alerts) != 1 {
		t.Fatalf("%+v", got)
	}
	var said []string
	for _, n := range got.Notes {
		said = append(said, n.String())
	}
	want := []string{
		"app.name is no field of a violation and was not read",
		"app.tenant is no field of a violation and was not read",
		"credential.store.url is no field of a violation and was not read",
		"due is no field of a violation and was not read; did you mean dueDateTime?",
		"Ärger is no field of a violation and was not read",
	}
	slices.Sort(said)
	slices.Sort(want)
	if !slices.Equal(said, want) {
		t.Errorf("said %q,\nwant %q", said, want)
	}
}
