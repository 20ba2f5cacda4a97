package entra

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rehome/bot"
	"rehome/bot/sandbox/graph"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The sample directory. Ids end in what they are: a… applications, b…
// principals, c… people, d… groups, e… keys.
const (
	pme = "a0000000-0000-4000-8000-0000000000a2"
	cme = "a0000000-0000-4000-8000-0000000000b1"

	ledger   = "3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a01" // owned by people of every sort
	orphan   = "3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a02" // owned by nobody
	byRobot  = "3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a03" // owned by a service principal
	byGroup  = "3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a04" // owned by a group
	abroad   = "3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a05" // registered in CME, a service principal in PME
	nobodys  = "3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2aff"
	ledgerID = "11111111-0000-4000-8000-0000000000a1"
	ledgerSP = "11111111-0000-4000-8000-0000000000b1"
	robot    = "11111111-0000-4000-8000-0000000000b3"
	rivera   = "11111111-0000-4000-8000-0000000000c1"
	okafor   = "11111111-0000-4000-8000-0000000000c2"
	gone     = "11111111-0000-4000-8000-0000000000c3"
	visitor  = "11111111-0000-4000-8000-0000000000c4"
	invited  = "11111111-0000-4000-8000-0000000000c5"
	team     = "11111111-0000-4000-8000-0000000000d1"
	inner    = "11111111-0000-4000-8000-0000000000d2"
	keyID    = "1b7e0d52-2f0c-4c7d-8a55-9d3b1c6e7f01"
	secretID = "1b7e0d52-2f0c-4c7d-8a55-9d3b1c6e7f02"

	sha1Print = "BB5D1064437D8720A5C53078185E6A361A78B10A"
)

var (
	from = time.Date(2026, 3, 31, 0, 0, 0, 0, time.UTC)
	to   = time.Date(2027, 3, 31, 0, 0, 0, 0, time.UTC)
)

func home() graph.Tenant {
	return graph.Tenant{ID: pme, Name: "PME",
		Applications: []graph.Application{
			{ID: ledgerID, AppID: ledger, DisplayName: "Contoso Ledger Sync", Owners: []string{rivera, gone, visitor, invited},
				Keys:      []graph.Key{{ID: keyID, DisplayName: "CN=ledger-sync", Thumbprint: sha1Print, Start: from, End: to}},
				Secrets:   []graph.Secret{{ID: secretID, DisplayName: "deploy", Hint: "q8Q", Start: from, End: to}},
				Federated: []graph.Federated{{ID: "11111111-0000-4000-8000-0000000000f1", Name: "main", Issuer: "https://token.example", Subject: "repo:contoso/ledger"}}},
			{ID: "11111111-0000-4000-8000-0000000000a2", AppID: orphan, DisplayName: "Orphan"},
			{ID: "11111111-0000-4000-8000-0000000000a3", AppID: byRobot, DisplayName: "By robot", Owners: []string{robot}},
			{ID: "11111111-0000-4000-8000-0000000000a4", AppID: byGroup, DisplayName: "By group", Owners: []string{team}},
		},
		Principals: []graph.Principal{
			{ID: ledgerSP, AppID: ledger, DisplayName: "Contoso Ledger Sync", Owners: []string{okafor}},
			{ID: robot, AppID: "11111111-0000-4000-8000-00000000aaaa", DisplayName: "Pipeline"},
			{ID: "11111111-0000-4000-8000-0000000000b5", AppID: abroad, DisplayName: "Billing", OwnerTenant: cme},
		},
		Users: []graph.User{
			{ID: rivera, DisplayName: "Robin Rivera", Mail: "rivera@contoso.example"},
			{ID: invited, DisplayName: "Max Invited", Mail: "max@elsewhere.example", UPN: "max_elsewhere.example#EXT#@contoso.example"},
			{ID: okafor, DisplayName: "Ada Okafor", Mail: "okafor@fabrikam.example"},
			{ID: gone, DisplayName: "Kim Gone", Mail: "gone@contoso.example", Disabled: true},
			{ID: visitor, DisplayName: "Lee Visitor", Mail: "lee@elsewhere.example", Guest: true},
		},
		Groups: []graph.Group{
			{ID: team, DisplayName: "Ledger team", Members: []string{rivera, inner, robot}},
			{ID: inner, DisplayName: "On call", Members: []string{okafor, team}},
		},
	}
}

func china() graph.Tenant {
	return graph.Tenant{ID: cme, Name: "CME", Applications: []graph.Application{
		{ID: "22222222-0000-4000-8000-0000000000a5", AppID: abroad, DisplayName: "Billing", Owners: []string{"22222222-0000-4000-8000-0000000000c1"}}},
		Users: []graph.User{{ID: "22222222-0000-4000-8000-0000000000c1", DisplayName: "Lin", Mail: "lin@contoso.example"}}}
}

// A rig is a directory over a fake Graph.
type rig struct {
	*Directory
	g   *graph.Server
	log *strings.Builder
}

// direct is a transport that calls a handler, so that time in a synctest bubble
// is ours.
type direct struct{ h http.Handler }

func (d direct) RoundTrip(req *http.Request) (resp *http.Response, err error) {
	defer func() {
		if p := recover(); p == http.ErrAbortHandler {
			resp, err = nil, io.ErrUnexpectedEOF
			if req.Context().Err() != nil {
				err = req.Context().Err()
			}
		} else if p != nil {
			panic(p)
		}
	}()
	r := req.Clone(req.Context())
	r.Host = req.URL.Host
	w := httptest.NewRecorder()
	d.h.ServeHTTP(w, r)
	return w.Result(), nil
}

// inside is a rig without a network, for a synctest bubble.
func inside(t *testing.T, change func(*Config, *graph.Config)) rig {
	t.Helper()
	return build(t, change, func(g *graph.Server) (string, http.RoundTripper) { return "http://127.0.0.1:1", direct{g} })
}

// overLoopback is a rig whose Graph is behind a real listener.
func overLoopback(t *testing.T, change func(*Config, *graph.Config)) rig {
	t.Helper()
	return build(t, change, func(g *graph.Server) (string, http.RoundTripper) {
		srv := httptest.NewServer(g)
		t.Cleanup(srv.Close)
		return srv.URL, nil
	})
}

func build(t *testing.T, change func(*Config, *graph.Config), serve func(*graph.Server) (string, http.RoundTripper)) rig {
	t.Helper()
	gc := graph.Config{Tenants: []graph.Tenant{home(), china()}}
	var c Config
	if change != nil {
		change(&c, &gc)
	}
	g, err := graph.New(gc)
	if err != nil {
		t.Fatal(err)
	}
	base, transport := serve(g)
	sc, err := ForSandbox(base, SandboxTenant{"PME", pme, Public, g.Token(pme)}, SandboxTenant{"CME", cme, China, g.Token(cme)})
	if err != nil {
		t.Fatal(err)
	}
	c.Directories, c.Transport = sc.Directories, transport
	if c.KeyReads == 0 {
		c.KeyReads = sc.KeyReads
	}
	log := &strings.Builder{}
	c.Log = slog.New(slog.NewTextHandler(log, nil))
	d, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return rig{d, g, log}
}

// look asks for an app of PME and expects an entry.
func (r rig) look(t *testing.T, appID string) bot.AppEntry {
	t.Helper()
	e, err := r.App(t.Context(), bot.AppQuery{AppID: appID, TenantID: pme}, true)
	if err != nil {
		t.Fatalf("looking %s up: %v", appID, err)
	}
	return e
}

// fails asks for an app of PME and expects an error.
func (r rig) fails(t *testing.T, appID string) *bot.LookupError {
	t.Helper()
	e, err := r.App(t.Context(), bot.AppQuery{AppID: appID, TenantID: pme}, true)
	if err == nil {
		t.Fatalf("looking %s up succeeded: %+v", appID, e)
	}
	return err.(*bot.LookupError)
}

// asked counts the requests whose path has a part.
func (r rig) asked(part string) int {
	n := 0
	for _, q := range r.g.Requests() {
		if strings.Contains(q.Path, part) {
			n++
		}
	}
	return n
}
