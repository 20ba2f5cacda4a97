package graph_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"rehome/bot/sandbox/graph"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	tenant    = "a0000000-0000-4000-8000-0000000000a2"
	other     = "a0000000-0000-4000-8000-0000000000b1"
	app       = "3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a01"
	appObject = "11111111-0000-4000-8000-0000000000a1"
	principal = "11111111-0000-4000-8000-0000000000b1"
	person    = "11111111-0000-4000-8000-0000000000c1"
	guest     = "11111111-0000-4000-8000-0000000000c2"
	group     = "11111111-0000-4000-8000-0000000000d1"
	client    = "99999999-0000-4000-8000-000000000001"
)

func sample() graph.Config {
	at := time.Date(2026, 3, 31, 0, 0, 0, 0, time.UTC)
	return graph.Config{
		Clients: []graph.Client{{ID: client, Secret: "given"}},
		Tenants: []graph.Tenant{{ID: tenant, Name: "PME",
			Applications: []graph.Application{{ID: appObject, AppID: app, DisplayName: "Contoso Ledger Sync", Owners: []string{person, guest, principal, group},
				Keys:      []graph.Key{{ID: "1b7e0d52-2f0c-4c7d-8a55-9d3b1c6e7f01", Thumbprint: "BB5D1064437D8720A5C53078185E6A361A78B10A", Start: at, End: at.AddDate(1, 0, 0)}},
				Secrets:   []graph.Secret{{ID: "1b7e0d52-2f0c-4c7d-8a55-9d3b1c6e7f02", Hint: "q8Q", Start: at, End: at.AddDate(1, 0, 0)}},
				Federated: []graph.Federated{{ID: "11111111-0000-4000-8000-0000000000f1", Name: "main", Issuer: "https://token.example", Subject: "repo:contoso/ledger"}}}},
			Principals: []graph.Principal{{ID: principal, AppID: app, DisplayName: "Contoso Ledger Sync", Owners: []string{person}}},
			Users: []graph.User{{ID: person, DisplayName: "Robin Rivera", Mail: "rivera@contoso.example"},
				{ID: guest, DisplayName: "Lee Visitor", Mail: "lee@elsewhere.example", Guest: true, Disabled: true}},
			Groups: []graph.Group{{ID: group, DisplayName: "Ledger team", Members: []string{person}}},
		}, {ID: other, Name: "CME"}},
	}
}

// get reads an address of the tenant's Graph.
func get(t *testing.T, g *graph.Server, address string) (int, map[string]any) {
	t.Helper()
	resp, body := do(t, request(t, g, address))
	var o map[string]any
	if err := json.Unmarshal(body, &o); err != nil {
		t.Fatalf("%s: %v: %s", address, err, body)
	}
	return resp.StatusCode, o
}

func TestATokenSeesItsTenantOnly(t *testing.T) {
	srv, g := serve(t)
	for token, want := range map[string]int{g.Token(tenant): 200, g.Token(other): 404, "sandbox.nobody": 401, "": 401} {
		req := request(t, g, srv.URL+"/v1.0/applications/"+appObject)
		req.Header.Set("Authorization", "Bearer "+token)
		if resp, body := do(t, req); resp.StatusCode != want {
			t.Errorf("%q: %d %s", token, resp.StatusCode, body)
		}
	}
}

func TestItOnlyReads(t *testing.T) {
	srv, g := serve(t)
	for _, method := range []string{"POST", "PATCH", "PUT", "DELETE"} {
		req := request(t, g, srv.URL+"/v1.0/applications/"+appObject)
		req.Method = method
		if resp, _ := do(t, req); resp.StatusCode != 403 {
			t.Errorf("%s: %d", method, resp.StatusCode)
		}
	}
}

func TestAMissingPermissionIsGraphsOwn403(t *testing.T) {
	srv, g := serve(t)
	g.Revoke(tenant, graph.ApplicationRead)
	status, o := get(t, g, srv.URL+"/v1.0/applications/"+appObject)
	e, _ := o["error"].(map[string]any)
	if status != 403 || e["code"] != "Authorization_RequestDenied" || e["message"] != "Insufficient privileges to complete the operation." {
		t.Errorf("%d %v", status, o)
	}
	g.Grant(tenant, graph.DirectoryRead)
	if status, _ := get(t, g, srv.URL+"/v1.0/applications/"+appObject); status != 200 {
		t.Errorf("with Directory.Read.All: %d", status)
	}
}

func TestOwnersWhoseKindMayNotBeReadAreBare(t *testing.T) {
	srv, g := serve(t)
	g.Revoke(tenant, graph.UserRead)
	_, o := get(t, g, srv.URL+"/v1.0/applications/"+appObject+"/owners?$select=id,displayName,mail")
	rows := o["value"].([]any)
	want := map[string]any{"@odata.type": "#microsoft.graph.user", "id": person, "displayName": nil, "mail": nil}
	if diff := cmp.Diff(want, rows[0]); diff != "" || len(rows) != 4 {
		t.Error(diff, len(rows))
	}
	if named := rows[3].(map[string]any); named["displayName"] != "Ledger team" {
		t.Errorf("the group is bare too: %v", named)
	}
}

func TestPagesAreLinked(t *testing.T) {
	srv, g := serve(t)
	address := srv.URL + "/v1.0/applications/" + appObject + "/owners?$select=id&$top=3"
	var ids []string
	for address != "" {
		status, o := get(t, g, address)
		if status != 200 {
			t.Fatal(status, o)
		}
		for _, row := range o["value"].([]any) {
			ids = append(ids, row.(map[string]any)["id"].(string))
		}
		address, _ = o["@odata.nextLink"].(string)
	}
	if diff := cmp.Diff([]string{person, guest, principal, group}, ids); diff != "" {
		t.Error(diff)
	}
}

func TestWhatItDoesNotSpeakItRefuses(t *testing.T) {
	srv, g := serve(t)
	for path, want := range map[string]int{
		"/v1.0/applications?$filter=startswith(displayName,'C')": 400,
		"/v1.0/applications?$top=1000":                           400,
		"/v1.0/applications?$orderby=displayName":                400,
		"/v1.0/applications?$skiptoken=x":                        400,
		"/v1.0/applications/" + appObject + "?$select=nonsense":  400,
		"/v1.0/users": 400,
		"/v1.0/applications/" + appObject + "/nonsense":                          400,
		"/v1.0/groups/" + group + "/owners":                                      400,
		"/v1.0/groups/" + person + "/members":                                    404,
		"/beta/applications":                                                     400,
		"/v1.0/applications?$filter=appId%20eq%20'" + app + "'&%24select=id":     200,
		"/v1.0/servicePrincipals(appId='" + app + "')":                           200,
		"/v1.0/applications(appId='" + person + "')":                             404,
		"/v1.0/applications(appId='" + strings.ToUpper(app) + "')?$select=appId": 200,
	} {
		if status, o := get(t, g, srv.URL+path); status != want {
			t.Errorf("%s: %d %v", path, status, o)
		}
	}
}

func TestFaultsAreDoneAndRequestsNoted(t *testing.T) {
	srv, g := serve(t)
	ask := func(ctx context.Context) (*http.Response, error) {
		req := request(t, g, srv.URL+"/v1.0/applications/"+appObject+"?$select=id").WithContext(ctx)
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		return resp, err
	}
	g.Break(func(graph.Request) graph.Fault { return graph.Fault{Status: 429, RetryAfter: "7"} })
	if resp, err := ask(t.Context()); err != nil || resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "7" {
		t.Errorf("%v %v", resp, err)
	}
	g.Break(func(graph.Request) graph.Fault {
		return graph.Fault{Raw: true, Status: 502, Type: "text/html", Body: "x"}
	})
	if resp, err := ask(t.Context()); err != nil || resp.StatusCode != 502 || resp.Header.Get("Content-Type") != "text/html" {
		t.Errorf("%v %v", resp, err)
	}
	g.Break(func(graph.Request) graph.Fault { return graph.Fault{Drop: true} })
	if _, err := ask(t.Context()); err == nil {
		t.Error("a dropped connection answered")
	}
	hanging, leave := context.WithCancel(t.Context())
	g.Break(func(graph.Request) graph.Fault { leave(); return graph.Fault{Hang: true} })
	if _, err := ask(hanging); err == nil {
		t.Error("a hanging request answered")
	}
	g.Break(nil)
	if resp, err := ask(t.Context()); err != nil || resp.StatusCode != 200 {
		t.Errorf("%v %v", resp, err)
	}
	rs := g.Requests()
	last := rs[len(rs)-1]
	if last != (graph.Request{Method: "GET", Path: "/v1.0/applications/" + appObject, Query: "$select=id", Tenant: tenant, Status: 200}) {
		t.Errorf("%+v", last)
	}
	if !slices.ContainsFunc(rs, func(r graph.Request) bool { return r.Status == 429 }) {
		t.Errorf("%+v", rs)
	}
}

func TestTheTokenEndpointKnowsItsClients(t *testing.T) {
	srv, g := serve(t)
	form := func(change ...string) url.Values {
		v := url.Values{"grant_type": {"client_credentials"}, "client_id": {client}, "client_secret": {"given"}, "scope": {"https://graph.microsoft.com/.default"}}
		for i := 0; i < len(change); i += 2 {
			v.Set(change[i], change[i+1])
		}
		return v
	}
	for _, c := range []struct {
		name, tenant string
		form         url.Values
		status       int
		says         string
	}{
		{"right", tenant, form(), 200, g.Token(tenant)},
		{"another tenant", other, form(), 200, g.Token(other)},
		{"no such tenant", person, form(), 400, "AADSTS90002"},
		{"no such client", tenant, form("client_id", person), 400, "AADSTS700016"},
		{"a wrong secret", tenant, form("client_secret", "guessed"), 401, "AADSTS7000215"},
		{"nothing to prove it", tenant, form("client_secret", ""), 401, "AADSTS7000218"},
		{"an assertion of nobody", tenant, form("client_secret", "", "client_assertion", "a.b.c", "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"), 401, "AADSTS700213"},
		{"another grant", tenant, form("grant_type", "password"), 400, "AADSTS70011"},
		{"another scope", tenant, form("scope", "user.read"), 400, "AADSTS70011"},
	} {
		resp, err := http.PostForm(srv.URL+"/"+c.tenant+"/oauth2/v2.0/token", c.form)
		if err != nil {
			t.Fatal(err)
		}
		var o map[string]any
		err = json.NewDecoder(resp.Body).Decode(&o)
		resp.Body.Close()
		if said := strings.Join([]string{str(o["access_token"]), str(o["error_description"])}, " "); err != nil || resp.StatusCode != c.status || !strings.Contains(said, c.says) {
			t.Errorf("%s: %d %v %v", c.name, resp.StatusCode, o, err)
		}
	}
}

func str(v any) string { s, _ := v.(string); return s }

func TestADirectoryThatCannotBeIsRefused(t *testing.T) {
	for name, c := range map[string]graph.Tenant{
		"no id":             {Name: "x"},
		"an object's id":    {ID: tenant, Users: []graph.User{{ID: "rivera"}}},
		"the same id twice": {ID: tenant, Users: []graph.User{{ID: person}}, Groups: []graph.Group{{ID: person}}},
	} {
		if _, err := graph.New(graph.Config{Tenants: []graph.Tenant{c}}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

var _ http.Handler = (*graph.Server)(nil)
