//go:build unix

package main

import (
	"fmt"
	"math/rand/v2"

	"rehome/bot/sandbox"
	"rehome/bot/sandbox/graph"
)

// Whose apps the harness's alerts are about, and how that is found out: from the
// alert itself, by user id or mail address, or in a directory over HTTP, which
// knows mail addresses. Some are nobody's, which is said in the security channel.

const (
	crashSecurity = "C0CRASHSEC"

	// One at a time is a direct message of its own, more are a list.
	crashAlone  = 1
	crashGather = "300ms"

	ownersOfApps = 6
	appsOfEach   = 4 // in the directory
)

// crashOwners are the people who own apps. The first few have one alert now and
// then, the others several at once.
func crashOwners() (all []sandbox.User) {
	for i := range ownersOfApps {
		name := fmt.Sprint("owner", i)
		all = append(all, sandbox.User{ID: fmt.Sprint("U0CRASH", i), Name: name, RealName: "Owner " + fmt.Sprint(i), Email: name + "@contoso.example"})
	}
	return all
}

const ownersOfMany = ownersOfApps / 3 // the last of them

// crashGraph is the directory that knows some of the apps.
func crashGraph() graph.Config {
	t := graph.Tenant{ID: pme, Name: "PME"}
	for i, u := range crashOwners() {
		t.Users = append(t.Users, graph.User{ID: directoryID(i), DisplayName: u.RealName, Mail: u.Email})
		for n := range appsOfEach {
			a := graph.Application{ID: fmt.Sprintf("40000000-0000-4000-8000-%012d", i*100+n), AppID: crashApp(i, n), DisplayName: fmt.Sprintf("Contoso App %d-%d", i, n)}
			for _, k := range ownersOf(i, n) {
				a.Owners = append(a.Owners, directoryID(k))
			}
			t.Applications = append(t.Applications, a)
		}
	}
	return graph.Config{Tenants: []graph.Tenant{t}, Clients: []graph.Client{{ID: crashIdentity, Header: "crash-header"}}}
}

const crashIdentity = "60000000-0000-4000-8000-0000000000c1"

func crashApp(owner, n int) string {
	return fmt.Sprintf("3f6b2a10-8c4d-4e21-9a7b-%06d%06d", owner, n)
}

// ownersOf are the owners of an app in the directory: every other has two.
func ownersOf(owner, n int) []int {
	if n%2 == 0 {
		return []int{owner}
	}
	return []int{owner, (owner + 1) % ownersOfApps}
}

func directoryID(owner int) string { return fmt.Sprintf("10000000-0000-4000-8000-%012d", owner) }

// directoryEnv is how the program reaches the directory: with the identity of the
// machine that it runs on, as on App Service.
func (h *hostile) directoryEnv() []string {
	return []string{
		"AZURE_TENANT_ID=" + pme, "AZURE_CLIENT_ID=" + crashIdentity, "GRAPH_BASE_URL=" + h.graphAt,
		"IDENTITY_ENDPOINT=" + h.graphAt + "/msi/token", "IDENTITY_HEADER=crash-header",
		"AZURE_AUTHORITY_HOST=", "AZURE_FEDERATED_TOKEN_FILE=", "AZURE_CLIENT_CERTIFICATE_PATH=", "AZURE_CLIENT_SECRET=", "AZURE_CLIENT_SECRET_FILE=",
	}
}

// An alert is what is sent: about what, and about whose app.
type alert struct {
	place
	owners []string       // user ids; none when nobody knows of one
	named  map[string]any // what the alert says of its owner
	appID  string         // of an app that the directory knows
}

// ownedBy is an alert about an app of an owner, whom the alert names, or else the
// directory, which is one in the public cloud.
func (p place) ownedBy(owner int, r *rand.Rand) alert {
	u := crashOwners()[owner]
	a := alert{place: p, owners: []string{u.ID}}
	switch n := r.IntN(4); {
	case p.cloud == "Public" && n < 3:
		return p.inDirectory(owner, r.IntN(appsOfEach))
	case n%2 == 0:
		a.named = map[string]any{"slackUserId": u.ID}
	default:
		a.named = map[string]any{"email": u.Email}
	}
	return a
}

// inDirectory is an alert about an app that names nobody.
func (p place) inDirectory(owner, n int) alert {
	a := alert{place: p, appID: crashApp(owner, n)}
	for _, k := range ownersOf(owner, n) {
		a.owners = append(a.owners, crashOwners()[k].ID)
	}
	return a
}

// nextAlerts draws what is sent at once: mostly one alert, about nobody's app or
// somebody's, and now and then several for one person.
func nextAlerts(r *rand.Rand) []alert {
	anywhere := func() place { return places[r.IntN(len(places))] }
	switch n := r.IntN(12); {
	case n < 5:
		return []alert{{place: anywhere()}}
	case n < 11:
		return []alert{anywhere().ownedBy(r.IntN(ownersOfApps-ownersOfMany), r)}
	}
	owner := ownersOfApps - 1 - r.IntN(ownersOfMany)
	var out []alert
	for range 2 + r.IntN(4) {
		out = append(out, anywhere().ownedBy(owner, r))
	}
	return out
}
