package entra

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"rehome/bot"
	"rehome/bot/sandbox/graph"
)

// Whatever goes wrong where, neither the log nor an error shows a token, a
// person, a query or a body.
func TestNothingPersonalOrSecretIsShownWhateverFails(t *testing.T) {
	leak := `{"error":{"code":"Request_ResourceNotFound","message":"Robin Rivera <rivera@contoso.example> canary-body","innerError":{"request-id":"canary-id"}}}`
	faults := []graph.Fault{
		{Status: 401}, {Status: 403}, {Status: 404}, {Status: 429, RetryAfter: "300"}, {Status: 500}, {Drop: true}, {Hang: true}, {Raw: true},
		{Raw: true, Status: 400, Type: "application/json", Body: leak},
		{Raw: true, Status: 404, Type: "application/json", Body: leak, Header: map[string]string{"request-id": "canary-header"}},
		{Raw: true, Status: 502, Type: "text/html", Body: leak},
		{Raw: true, Type: "application/json", Body: `{"value":[{"@odata.type":"#microsoft.graph.user","id":{"canary-body":1}}],"@odata.nextLink":"https://evil.example/?canary-query"}`},
	}
	for _, where := range []string{"applications(", "servicePrincipals(", "/applications/", "/servicePrincipals/", "/groups/", ""} {
		for i, f := range faults {
			synctest.Test(t, func(t *testing.T) {
				r := inside(t, nil)
				r.g.Break(only(where, f))
				var said strings.Builder
				for _, app := range []string{ledger, byGroup} {
					e, err := r.App(t.Context(), bot.AppQuery{AppID: app, TenantID: pme}, true)
					_, _ = fmt.Fprint(&said, err, e.Gaps)
				}
				said.WriteString(r.log.String())
				for _, secret := range []string{"canary", "sandbox.", "Rivera", "Robin", "@", "$select", "%24", "http://", "https://", "v1.0"} {
					if strings.Contains(said.String(), secret) {
						t.Errorf("%q, fault %d: shows %q: %s", where, i, secret, said.String())
					}
				}
			})
		}
	}
}
