package entra

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/microsoft/kiota-abstractions-go/serialization"
	jsonserialization "github.com/microsoft/kiota-serialization-json-go"
	"github.com/microsoftgraph/msgraph-sdk-go/models"

	"rehome/bot/sandbox/graph"
)

// TestTheFakeWritesWhatTheSDKReads holds the fake Graph to the SDK's models: a
// property that they do not know is one that Graph does not have.
func TestTheFakeWritesWhatTheSDKReads(t *testing.T) {
	g, err := graph.New(graph.Config{Tenants: []graph.Tenant{home()}})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(g)
	defer srv.Close()
	selected := "?$select=" + url.QueryEscape(strings.Join(ownerSelect, ","))
	for _, c := range []struct {
		path string
		make serialization.ParsableFactory
	}{
		{"applications", models.CreateApplicationCollectionResponseFromDiscriminatorValue},
		{"applications/" + ledgerID, models.CreateApplicationFromDiscriminatorValue},
		{"applications(appId='" + ledger + "')", models.CreateApplicationFromDiscriminatorValue},
		{"applications/" + ledgerID + "/owners", models.CreateDirectoryObjectCollectionResponseFromDiscriminatorValue},
		{"applications/" + ledgerID + "/owners" + selected, models.CreateDirectoryObjectCollectionResponseFromDiscriminatorValue},
		{"applications/" + ledgerID + "/federatedIdentityCredentials", models.CreateFederatedIdentityCredentialCollectionResponseFromDiscriminatorValue},
		{"servicePrincipals", models.CreateServicePrincipalCollectionResponseFromDiscriminatorValue},
		{"servicePrincipals/" + ledgerSP, models.CreateServicePrincipalFromDiscriminatorValue},
		{"servicePrincipals/" + ledgerSP + "/owners", models.CreateDirectoryObjectCollectionResponseFromDiscriminatorValue},
		{"groups/" + team + "/transitiveMembers", models.CreateDirectoryObjectCollectionResponseFromDiscriminatorValue},
		{"groups/" + team + "/members" + selected, models.CreateDirectoryObjectCollectionResponseFromDiscriminatorValue},
	} {
		req, err := http.NewRequest(http.MethodGet, srv.URL+"/v1.0/"+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+g.Token(pme))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s %v", c.path, resp.StatusCode, body, err)
		}
		node, err := jsonserialization.NewJsonParseNode(body)
		if err != nil {
			t.Fatal(err)
		}
		v, err := node.GetObjectValue(c.make)
		if err != nil {
			t.Fatalf("%s: %v", c.path, err)
		}
		for _, name := range unknown(v) {
			t.Errorf("%s: the SDK does not know %s", c.path, name)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// unknown is the properties below v that no model took in.
func unknown(v any) []string {
	var names []string
	if h, ok := v.(serialization.AdditionalDataHolder); ok {
		for name := range h.GetAdditionalData() {
			if !strings.HasPrefix(name, "@odata.") {
				names = append(names, name)
			}
		}
	}
	below := func(vs ...any) {
		for _, v := range vs {
			names = append(names, unknown(v)...)
		}
	}
	switch v := v.(type) {
	case models.ApplicationCollectionResponseable:
		for _, o := range v.GetValue() {
			below(o)
		}
	case models.ServicePrincipalCollectionResponseable:
		for _, o := range v.GetValue() {
			below(o)
		}
	case models.DirectoryObjectCollectionResponseable:
		for _, o := range v.GetValue() {
			below(o)
		}
	case models.FederatedIdentityCredentialCollectionResponseable:
		for _, o := range v.GetValue() {
			below(o)
		}
	case held:
		for _, k := range v.GetKeyCredentials() {
			below(k)
		}
		for _, p := range v.GetPasswordCredentials() {
			below(p)
		}
	}
	return names
}
