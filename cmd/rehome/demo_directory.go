package main

import (
	"net"
	"net/http"
	"time"

	"rehome/bot/entra"
	"rehome/bot/sandbox/graph"
)

// The directories of the demo. Alerts name tenants by these ids, and each has
// something else to show.
const (
	pme      = "a0000000-0000-4000-8000-0000000000a2"
	ame      = "a0000000-0000-4000-8000-0000000000a1" // does not let the bot read people
	cme      = "a0000000-0000-4000-8000-0000000000b1" // in China's cloud
	services = "f8cdef31-a31e-4b4a-93e4-5f571e91255a" // where first-party apps are registered
)

// Objects of the demo's directories that more than one thing refers to.
const (
	robinID    = "10000000-0000-4000-8000-000000000001"
	adaID      = "10000000-0000-4000-8000-000000000002"
	noorID     = "10000000-0000-4000-8000-000000000003" // not in the workspace
	leftID     = "10000000-0000-4000-8000-000000000004"
	pipelineID = "20000000-0000-4000-8000-000000000001"
	platformID = "30000000-0000-4000-8000-000000000001"

	// paymentsApp is the app of the alert that people are invited to post.
	paymentsApp = "5d2b7c10-3a4e-4f61-8b9c-6e0f7a1bd008"
)

// demoGraph is what the fake Graph has: apps with owners, with none, with a
// service principal or a group as owner, with owners whose mail is hidden, who
// left, or who are not in the workspace.
func demoGraph() graph.Config {
	robin := graph.User{ID: robinID, DisplayName: "Robin Rivera", Mail: "rivera@contoso.example"}
	ada := graph.User{ID: adaID, DisplayName: "Ada Okafor", Mail: "okafor@fabrikam.example"}
	noor := graph.User{ID: noorID, DisplayName: "Noor Haddad", Mail: "haddad@fabrikam.example"}
	left := graph.User{ID: leftID, DisplayName: "Lee Martin", Mail: "martin@contoso.example", Disabled: true}
	return graph.Config{Tenants: []graph.Tenant{
		{
			ID: pme, Name: "PME", Users: []graph.User{robin, ada, noor, left},
			Groups: []graph.Group{{ID: platformID, DisplayName: "Fabrikam Data Platform", Members: []string{adaID, noorID}}},
			Applications: []graph.Application{
				{ID: "40000000-0000-4000-8000-000000000001", AppID: "3f6b2a10-8c4d-4e21-9a7b-5d0e6c1fd001", DisplayName: "Contoso Ledger Sync", Owners: []string{robinID, leftID}},
				{ID: "40000000-0000-4000-8000-000000000006", AppID: "c0ffee00-1d22-4b0f-8f6e-70aa51c3d006", DisplayName: "Fabrikam Warehouse Importer", Owners: []string{platformID},
					Secrets: []graph.Secret{{ID: "50000000-0000-4000-8000-000000000006", DisplayName: "importer", End: time.Now().AddDate(0, 5, 0)}}},
				{ID: "40000000-0000-4000-8000-000000000008", AppID: paymentsApp, DisplayName: "Contoso Payments Gateway", Owners: []string{robinID}},
			},
		},
		{
			ID: ame, Name: "AME", Permissions: []string{graph.ApplicationRead, graph.GroupMemberRead}, Users: []graph.User{robin},
			Applications: []graph.Application{
				{ID: "40000000-0000-4000-8000-000000000002", AppID: "4a6b2a10-8c4d-4e21-9a7b-5d0e6c1fd002", DisplayName: "Contoso Identity Gateway", Owners: []string{pipelineID}},
			},
			Principals: []graph.Principal{
				{ID: pipelineID, AppID: "60000000-0000-4000-8000-000000000001", DisplayName: "Contoso Deployment Pipeline"},
				{ID: "20000000-0000-4000-8000-000000000002", AppID: "4a6b2a10-8c4d-4e21-9a7b-5d0e6c1fd002", DisplayName: "Contoso Identity Gateway", Owners: []string{robinID}},
			},
		},
		{
			ID: cme, Name: "CME",
			Applications: []graph.Application{
				{ID: "40000000-0000-4000-8000-000000000004", AppID: "77e2b1c0-5a3d-4f0e-9b6a-2c8d4e1fd004", DisplayName: "Contoso Billing Export"},
			},
		},
		{
			ID: services, Name: "Services", Users: []graph.User{ada, noor},
			Applications: []graph.Application{
				{ID: "40000000-0000-4000-8000-000000000003", AppID: "9c1a7e44-1d22-4b0f-8f6e-70aa51c3d003", DisplayName: "Fabrikam Telemetry Relay", Owners: []string{adaID, noorID}},
			},
		},
	}}
}

// A directoryInABox is the demo's Microsoft Graph, on a port of its own that
// only this machine can reach.
type directoryInABox struct {
	graph  *graph.Server
	url    string
	server *http.Server
	ended  chan struct{}
}

func openDirectory(l net.Listener) (*directoryInABox, error) {
	g, err := graph.New(demoGraph())
	if err != nil {
		return nil, err
	}
	d := &directoryInABox{graph: g, url: "http://" + l.Addr().String(), ended: make(chan struct{}),
		server: &http.Server{Handler: g, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}}
	go func() {
		defer close(d.ended)
		_ = d.server.Serve(l) // ends with close, and then says so
	}()
	return d, nil
}

// lookUp is the bot's side of it: the same SDK that asks Microsoft Graph.
func (d *directoryInABox) lookUp() (*entra.Directory, error) {
	c, err := entra.ForSandbox(d.url,
		entra.SandboxTenant{Name: "PME", TenantID: pme, Token: d.graph.Token(pme)},
		entra.SandboxTenant{Name: "AME", TenantID: ame, Token: d.graph.Token(ame)},
		entra.SandboxTenant{Name: "CME", TenantID: cme, Cloud: entra.China, Token: d.graph.Token(cme)},
		entra.SandboxTenant{Name: "Services", TenantID: services, Token: d.graph.Token(services)})
	if err != nil {
		return nil, err
	}
	return entra.New(c)
}

func (d *directoryInABox) close() {
	_ = d.server.Close()
	<-d.ended
}
