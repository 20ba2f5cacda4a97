package entra

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	abstractions "github.com/microsoft/kiota-abstractions-go"
	kiota "github.com/microsoft/kiota-http-go"
	jsonserialization "github.com/microsoft/kiota-serialization-json-go"
	core "github.com/microsoftgraph/msgraph-sdk-go-core"
	"github.com/microsoftgraph/msgraph-sdk-go-core/authentication"
	"github.com/microsoftgraph/msgraph-sdk-go/applications"
	"github.com/microsoftgraph/msgraph-sdk-go/applicationswithappid"
	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/models/odataerrors"
	"github.com/microsoftgraph/msgraph-sdk-go/serviceprincipals"
	"github.com/microsoftgraph/msgraph-sdk-go/serviceprincipalswithappid"
	"golang.org/x/time/rate"

	"rehome/bot"
)

// A tenant is one directory: an adapter of the SDK with one credential. Tenants
// share neither, because the SDK does not ask for a token by tenant.
type tenant struct {
	name      string
	tenantID  string
	cloud     Cloud
	warnings  []string
	adapter   *core.GraphRequestAdapterBase
	slots     chan struct{} // requests under way
	quiet     quiet
	keys      *rate.Limiter
	attempt   time.Duration
	maxOwners int
}

func ownTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 8
	return t
}

func newTenant(c Config, dc DirectoryConfig, transport http.RoundTripper) (*tenant, error) {
	p, err := dc.prepare(transport)
	if err != nil {
		return nil, err
	}
	t := &tenant{name: p.name, tenantID: p.tenantID, cloud: p.cloud, warnings: p.warnings,
		slots: make(chan struct{}, c.Parallel), keys: keyReads(c.KeyReads), attempt: c.Attempt, maxOwners: c.MaxOwners}
	t.adapter, err = newAdapter(p, p.credential, transport)
	return t, err
}

// newAdapter builds the SDK's adapter without its root package and without its
// default middlewares, whose order is random and whose retry leaks connections
// and waits past any deadline. The valid host is given without its port: with it
// the SDK would silently make requests without a token.
func newAdapter(p prepared, credential azcore.TokenCredential, transport http.RoundTripper) (*core.GraphRequestAdapterBase, error) {
	auth, err := authentication.NewAzureIdentityAuthenticationProviderWithScopesAndValidHosts(
		credential, []string{p.scope}, []string{p.graph.Hostname()})
	if err != nil {
		return nil, fmt.Errorf("the Graph address %s: %w", p.graph.Host, err)
	}
	options := core.GraphClientOptions{GraphServiceLibraryVersion: "1.89.0"}
	client := &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: kiota.NewCustomTransportWithParentTransport(
			&guard{next: transport, scheme: p.graph.Scheme, host: p.graph.Host},
			core.NewGraphTelemetryHandler(&options), kiota.NewParametersNameDecodingHandler(), kiota.NewUserAgentHandler()),
	}
	// JSON is given here and not registered: the SDK's registry is global, and read without a lock.
	adapter, err := core.NewGraphRequestAdapterBaseWithParseNodeFactoryAndSerializationWriterFactoryAndHttpClient(
		auth, options, jsonserialization.NewJsonParseNodeFactory(), jsonserialization.NewJsonSerializationWriterFactory(), client)
	if err != nil {
		return nil, err
	}
	adapter.SetBaseUrl(p.graph.String() + "/v1.0")
	return adapter, nil
}

var (
	plainSelect     = []string{"id", "appId", "displayName", "signInAudience", "passwordCredentials"}
	principalSelect = append([]string{"appOwnerOrganizationId"}, plainSelect...)
)

// lookUp reads an app: first the application and its service principal, at the
// same time, and then their owners and credentials. It returns a refusal when
// neither could be read, and when it is not known whether there is an application.
func (t *tenant) lookUp(ctx context.Context, q bot.AppQuery) (bot.AppEntry, *refusal) {
	var e bot.AppEntry
	var principal models.ServicePrincipalable
	if q.AppID == "" {
		var keysGap []bot.Gap
		var r *refusal
		principal, keysGap, r = t.principalByID(ctx, q.ServicePrincipalID)
		if r != nil {
			return e, r
		}
		e.Gaps = append(e.Gaps, keysGap...)
		q.AppID = plainGUID(str(principal.GetAppId()))
	}
	e.AppID = q.AppID

	var app models.Applicationable
	var appGaps, principalGaps []bot.Gap
	var appRefused, principalRefused *refusal
	var wg sync.WaitGroup
	if q.AppID != "" {
		wg.Go(func() { app, appGaps, appRefused = t.application(ctx, q.AppID) })
	}
	if principal == nil {
		wg.Go(func() { principal, principalGaps, principalRefused = t.principal(ctx, q.AppID) })
	}
	wg.Wait()
	switch {
	case appRefused != nil && appRefused.kind == bot.Busy:
		return e, appRefused
	case app == nil && principal == nil:
		if appRefused.missing() {
			return e, principalRefused
		}
		return e, appRefused
	}
	e.Gaps = append(append(e.Gaps, appGaps...), principalGaps...)
	if appRefused != nil && !appRefused.missing() {
		e.Gaps = append(e.Gaps, appRefused.gap("the application"))
	}
	if principalRefused != nil && !principalRefused.missing() {
		e.Gaps = append(e.Gaps, principalRefused.gap("the service principal"))
	}
	t.describe(&e, app, principal)
	t.dependents(ctx, &e)
	return e, nil
}

// describe fills in what the application and the service principal themselves say,
// of which either may be nil.
func (t *tenant) describe(e *bot.AppEntry, app models.Applicationable, principal models.ServicePrincipalable) {
	if principal != nil {
		e.ServicePrincipalID = str(principal.GetId())
		e.DisplayName, e.SignInAudience = str(principal.GetDisplayName()), str(principal.GetSignInAudience())
		if org := principal.GetAppOwnerOrganizationId(); org != nil {
			e.OwnerOrg = org.String()
		}
	}
	if app != nil {
		e.ObjectID = str(app.GetId())
		e.DisplayName, e.SignInAudience = str(app.GetDisplayName()), str(app.GetSignInAudience())
		if e.OwnerOrg == "" { // an application is registered in the tenant that owns it
			e.OwnerOrg = t.tenantID
		}
		e.Credentials = append(e.Credentials, credentials("application", app)...)
	}
	if principal != nil {
		e.Credentials = append(e.Credentials, credentials("servicePrincipal", principal)...)
	}
}

// dependents reads owners, members of owning groups and federated credentials.
func (t *tenant) dependents(ctx context.Context, e *bot.AppEntry) {
	var gaps [3][]bot.Gap
	var federations []bot.CredentialEntry
	var wg sync.WaitGroup
	if e.ObjectID != "" {
		wg.Go(func() { e.Owners, gaps[0] = t.read(ctx, t.applicationOwners(e.ObjectID)) })
		wg.Go(func() { federations, gaps[2] = t.federations(ctx, e.ObjectID) })
	}
	if e.ServicePrincipalID != "" {
		wg.Go(func() { e.PrincipalOwners, gaps[1] = t.read(ctx, t.principalOwners(e.ServicePrincipalID)) })
	}
	wg.Wait()
	e.Credentials = append(e.Credentials, federations...)
	for _, g := range gaps {
		e.Gaps = append(e.Gaps, g...)
	}
	e.Gaps = append(e.Gaps, t.fillGroups(ctx, e.Owners, e.PrincipalOwners)...)
}

// fillGroups reads the people of each owning group, once for each group.
func (t *tenant) fillGroups(ctx context.Context, lists ...[]bot.OwnerEntry) []bot.Gap {
	var gaps []bot.Gap
	members := map[string][]bot.OwnerEntry{}
	for _, owners := range lists {
		for i, o := range owners {
			if o.Kind != bot.GroupOwner || plainGUID(o.ID) == "" {
				continue
			}
			if _, known := members[o.ID]; !known {
				found, missing := t.read(ctx, t.groupMembers(o.ID))
				members[o.ID] = people(found)
				gaps = append(gaps, missing...)
			}
			owners[i].Members = members[o.ID]
		}
	}
	return gaps
}

// mayReadKeys returns the property to select for key credentials. When the limit
// for reading them is used up it returns none, and a gap that says so, since owners
// matter more and the keys can be read later.
func (t *tenant) mayReadKeys(what string) ([]string, []bot.Gap) {
	if t.keys.Allow() {
		return []string{"keyCredentials"}, nil
	}
	return nil, []bot.Gap{{What: what, Why: "paced"}}
}

func (t *tenant) application(ctx context.Context, appID string) (models.Applicationable, []bot.Gap, *refusal) {
	more, gaps := t.mayReadKeys("certificates of the application")
	b := applicationswithappid.NewApplicationsWithAppIdRequestBuilderInternal(map[string]string{}, t.adapter, &appID)
	app, r := ask(ctx, t, applicationRead, func(ctx context.Context) (models.Applicationable, error) {
		return b.Get(ctx, &applicationswithappid.ApplicationsWithAppIdRequestBuilderGetRequestConfiguration{
			QueryParameters: &applicationswithappid.ApplicationsWithAppIdRequestBuilderGetQueryParameters{Select: append(more, plainSelect...)}})
	})
	return named(app, r, gaps)
}

func (t *tenant) principal(ctx context.Context, appID string) (models.ServicePrincipalable, []bot.Gap, *refusal) {
	more, gaps := t.mayReadKeys("certificates of the service principal")
	b := serviceprincipalswithappid.NewServicePrincipalsWithAppIdRequestBuilderInternal(map[string]string{}, t.adapter, &appID)
	p, r := ask(ctx, t, applicationRead, func(ctx context.Context) (models.ServicePrincipalable, error) {
		return b.Get(ctx, &serviceprincipalswithappid.ServicePrincipalsWithAppIdRequestBuilderGetRequestConfiguration{
			QueryParameters: &serviceprincipalswithappid.ServicePrincipalsWithAppIdRequestBuilderGetQueryParameters{Select: append(more, principalSelect...)}})
	})
	return named(p, r, gaps)
}

func (t *tenant) principalByID(ctx context.Context, id string) (models.ServicePrincipalable, []bot.Gap, *refusal) {
	more, gaps := t.mayReadKeys("certificates of the service principal")
	p, r := ask(ctx, t, applicationRead, func(ctx context.Context) (models.ServicePrincipalable, error) {
		return t.principals().ByServicePrincipalId(id).Get(ctx, &serviceprincipals.ServicePrincipalItemRequestBuilderGetRequestConfiguration{
			QueryParameters: &serviceprincipals.ServicePrincipalItemRequestBuilderGetQueryParameters{Select: append(more, principalSelect...)}})
	})
	return named(p, r, gaps)
}

// named turns an object without an id into a refusal: the SDK makes one of {}.
func named[T interface {
	comparable
	GetId() *string
}](o T, r *refusal, gaps []bot.Gap) (T, []bot.Gap, *refusal) {
	var none T
	switch {
	case r != nil:
		return none, nil, r
	case plainGUID(str(o.GetId())) == "":
		return none, nil, &refusal{kind: bot.Busy, code: "nothing", hint: "Graph answered with an object that has no id"}
	}
	return o, gaps, nil
}

func (t *tenant) applications() *applications.ApplicationsRequestBuilder {
	return applications.NewApplicationsRequestBuilderInternal(map[string]string{}, t.adapter)
}

func (t *tenant) principals() *serviceprincipals.ServicePrincipalsRequestBuilder {
	return serviceprincipals.NewServicePrincipalsRequestBuilderInternal(map[string]string{}, t.adapter)
}

func (t *tenant) applicationOwners(id string) list {
	b := t.applications().ByApplicationId(id).Owners()
	return list{what: "owners of the application", permission: applicationRead,
		first: func(ctx context.Context, selected []string) (page, error) {
			return b.Get(ctx, &applications.ItemOwnersRequestBuilderGetRequestConfiguration{
				QueryParameters: &applications.ItemOwnersRequestBuilderGetQueryParameters{Select: selected, Top: t.top()}})
		},
		next: func(ctx context.Context, link string) (page, error) { return b.WithUrl(link).Get(ctx, nil) },
	}
}

func (t *tenant) principalOwners(id string) list {
	b := t.principals().ByServicePrincipalId(id).Owners()
	return list{what: "owners of the service principal", permission: applicationRead,
		first: func(ctx context.Context, selected []string) (page, error) {
			return b.Get(ctx, &serviceprincipals.ItemOwnersRequestBuilderGetRequestConfiguration{
				QueryParameters: &serviceprincipals.ItemOwnersRequestBuilderGetQueryParameters{Select: selected, Top: t.top()}})
		},
		next: func(ctx context.Context, link string) (page, error) { return b.WithUrl(link).Get(ctx, nil) },
	}
}

// top returns the size of a page; Graph takes up to 999.
func (t *tenant) top() *int32 { n := int32(min(t.maxOwners, 100)); return &n }

// groupMembers lists the members of a group and of the groups in it. The SDK's
// builder for it is in a package of twelve megabytes, so the request is written out
// here. Its answer has the same type as that for owners.
func (t *tenant) groupMembers(id string) list {
	get := func(ctx context.Context, ri *abstractions.RequestInformation) (page, error) {
		ri.Headers.TryAdd("Accept", "application/json")
		v, err := t.adapter.Send(ctx, ri, models.CreateDirectoryObjectCollectionResponseFromDiscriminatorValue,
			abstractions.ErrorMappings{"XXX": odataerrors.CreateODataErrorFromDiscriminatorValue})
		if err != nil || v == nil {
			return nil, err
		}
		return v.(page), nil
	}
	return list{what: "members of the owning group " + id, permission: groupMemberRead,
		first: func(ctx context.Context, selected []string) (page, error) {
			ri := abstractions.NewRequestInformationWithMethodAndUrlTemplateAndPathParameters(abstractions.GET,
				"{+baseurl}/groups/{group%2Did}/transitiveMembers{?%24select,%24top}", map[string]string{"group%2Did": id})
			ri.AddQueryParameters(applications.ItemOwnersRequestBuilderGetQueryParameters{Select: selected, Top: t.top()})
			return get(ctx, ri)
		},
		next: func(ctx context.Context, link string) (page, error) {
			return get(ctx, abstractions.NewRequestInformationWithMethodAndUrlTemplateAndPathParameters(abstractions.GET,
				"{+baseurl}", map[string]string{"request-raw-url": link}))
		},
	}
}

// federations returns an application's federated credentials, of which Graph allows
// twenty.
func (t *tenant) federations(ctx context.Context, id string) ([]bot.CredentialEntry, []bot.Gap) {
	b := t.applications().ByApplicationId(id).FederatedIdentityCredentials()
	p, r := ask(ctx, t, applicationRead, func(ctx context.Context) (models.FederatedIdentityCredentialCollectionResponseable, error) {
		return b.Get(ctx, &applications.ItemFederatedIdentityCredentialsRequestBuilderGetRequestConfiguration{
			QueryParameters: &applications.ItemFederatedIdentityCredentialsRequestBuilderGetQueryParameters{Select: []string{"id", "name", "issuer", "subject"}}})
	})
	if r != nil {
		return nil, []bot.Gap{r.gap("federated credentials of the application")}
	}
	var all []bot.CredentialEntry
	for _, f := range p.GetValue() {
		if f != nil {
			all = append(all, federated(f))
		}
	}
	var gaps []bot.Gap
	if p.GetOdataNextLink() != nil {
		gaps = []bot.Gap{{What: "federated credentials of the application", Why: "too many"}}
	}
	return all, gaps
}
