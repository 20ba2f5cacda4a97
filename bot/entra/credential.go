package entra

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	azpolicy "github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"rehome/bot"
)

// A DirectoryConfig is one tenant in one cloud, and how the bot signs in to it.
type DirectoryConfig struct {
	Name         string // "" is the tenant id
	TenantID     string // a GUID
	Cloud        Cloud  // "" is Public
	GraphBaseURL string // instead of the cloud's Graph; without a version
	Authority    string // instead of the cloud's sign-in address; https

	// DisableInstanceDiscovery is for clouds that are cut off: the authority is
	// taken on trust instead of being checked with Microsoft's.
	DisableInstanceDiscovery bool

	Credential CredentialConfig
	Token      azcore.TokenCredential // instead of Credential
}

// A Kind is how the bot proves who it is.
type Kind string

// The kinds, best first.
const (
	WorkloadIdentity  Kind = "workload-identity"  // a federated token in a file: AKS, GitHub, any OIDC issuer
	ManagedIdentity   Kind = "managed-identity"   // of the machine; its own tenant only
	ManagedFederation Kind = "managed-federation" // the machine's identity as the federated credential of an application: any tenant
	ClientCertificate Kind = "client-certificate"
	ClientSecret      Kind = "client-secret" // only with AllowClientSecret
	AzureCLI          Kind = "azure-cli"     // whoever is signed in at this terminal
)

// A CredentialConfig is one kind and what it needs.
type CredentialConfig struct {
	Kind     Kind
	ClientID string // the application's; for managed identities "" is the machine's own

	TokenFile           string // workload identity
	IdentityClientID    string // managed federation: the user-assigned identity's; "" is the machine's own
	CertificateFile     string // PEM, or PKCS#12 in its older encryption; with an RSA key
	CertificatePassword Secret
	SendChain           bool // for trust by subject name and issuer
	ClientSecret        Secret
	AllowClientSecret   bool
}

// A Secret does not show itself when it is printed.
type Secret string

func (Secret) String() string               { return "***" }
func (Secret) GoString() string             { return "***" }
func (Secret) MarshalText() ([]byte, error) { return []byte("***"), nil }

// secretWarning quotes APP-09, Overview.
const secretWarning = `it signs in with a client secret. APP-09: "Client secrets are the weakest link in application authentication." Use a workload identity, a managed identity or a certificate`

func (dc DirectoryConfig) label() string {
	if dc.Name != "" {
		return dc.Name
	}
	return dc.TenantID
}

// prepared is a DirectoryConfig that was checked.
type prepared struct {
	name, tenantID string
	cloud          Cloud
	graph          *url.URL
	scope          string
	credential     azcore.TokenCredential
	warnings       []string
}

// prepare checks a directory's configuration and makes its credential.
func (dc DirectoryConfig) prepare(transport http.RoundTripper) (prepared, error) {
	p := prepared{name: dc.label(), tenantID: plainGUID(dc.TenantID), cloud: dc.Cloud}
	if p.tenantID == "" {
		return p, fmt.Errorf("the tenant id %q is not a GUID; write the directory (tenant) id, by which alerts name it", dc.TenantID)
	}
	if p.cloud == "" {
		p.cloud = Public
	}
	where, known := places[p.cloud]
	if !known {
		_, err := ParseCloud(string(p.cloud))
		return p, errors.Join(err, fmt.Errorf("the cloud %q is not in its canonical form", p.cloud))
	}
	address := where.graph
	if dc.GraphBaseURL != "" {
		address = dc.GraphBaseURL
	}
	var err error
	if p.graph, err = graphAddress(address); err != nil {
		return p, err
	}
	p.scope = where.graph + "/.default"
	if dc.Token != nil {
		if _, static := dc.Token.(given); static && !loopback(p.graph.Hostname()) {
			return p, errors.New("a given token is for a Graph on this machine only")
		}
		p.credential = careful{inner: dc.Token}
		return p, nil
	}
	if p.graph.String() != where.graph {
		p.warnings = append(p.warnings, "its tokens go to "+p.graph.Host+", which is not Microsoft Graph of "+string(p.cloud))
	}
	return p, dc.signIn(&p, where.sign, transport)
}

func (dc DirectoryConfig) signIn(p *prepared, sign cloud.Configuration, transport http.RoundTripper) error {
	if dc.Authority != "" {
		u, err := url.Parse(dc.Authority)
		if err != nil || u.Scheme != "https" || u.Host == "" {
			return errors.New("the authority has to be an https address, such as https://login.microsoftonline.com/")
		}
		sign = cloud.Configuration{ActiveDirectoryAuthorityHost: dc.Authority}
	}
	options := azcore.ClientOptions{
		Cloud:     sign,
		Transport: &tokenTransport{&http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}},
		Retry:     azpolicy.RetryOptions{MaxRetries: -1}, // ask repeats, within the look-up's deadline
	}
	inner, err := dc.credential(p.tenantID, options)
	if err != nil {
		return err
	}
	if dc.Credential.Kind == ClientSecret {
		p.warnings = append(p.warnings, secretWarning)
	}
	p.credential = careful{inner: inner}
	return nil
}

// credential makes the SDK's credential of the configured kind.
func (dc DirectoryConfig) credential(tenantID string, options azcore.ClientOptions) (azcore.TokenCredential, error) {
	c := dc.Credential
	if plainGUID(c.ClientID) == "" && c.Kind != ManagedIdentity && c.Kind != AzureCLI {
		return nil, errors.New("the client id of the bot's application is missing or not a GUID")
	}
	switch c.Kind {
	case WorkloadIdentity:
		return azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{ClientOptions: options,
			ClientID: c.ClientID, TenantID: tenantID, TokenFilePath: c.TokenFile, DisableInstanceDiscovery: dc.DisableInstanceDiscovery})
	case ManagedIdentity:
		return managedIdentity(c.ClientID, options)
	case ManagedFederation:
		return dc.managedFederation(tenantID, options)
	case ClientCertificate:
		return dc.certificate(tenantID, options)
	case ClientSecret:
		if !c.AllowClientSecret {
			return nil, errors.New("client secrets are not used unless you insist (allowSecret: true beside secretFile in rehome.yaml, or REHOME_ALLOW_CLIENT_SECRET=true); use a workload identity, a managed identity or a certificate")
		}
		if c.ClientSecret == "" {
			return nil, errors.New("the client secret is empty")
		}
		return azidentity.NewClientSecretCredential(tenantID, c.ClientID, string(c.ClientSecret),
			&azidentity.ClientSecretCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: dc.DisableInstanceDiscovery})
	case AzureCLI:
		return azidentity.NewAzureCLICredential(&azidentity.AzureCLICredentialOptions{TenantID: tenantID})
	}
	return nil, fmt.Errorf("there is no credential kind %q; write %s, %s, %s, %s, %s or %s", c.Kind,
		WorkloadIdentity, ManagedIdentity, ManagedFederation, ClientCertificate, ClientSecret, AzureCLI)
}

func managedIdentity(clientID string, options azcore.ClientOptions) (*azidentity.ManagedIdentityCredential, error) {
	mo := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: options}
	if clientID != "" {
		mo.ID = azidentity.ClientID(clientID)
	}
	return azidentity.NewManagedIdentityCredential(mo)
}

// exchangeAudience is whom a managed identity's token is for when it stands as a
// federated credential.
// https://learn.microsoft.com/entra/workload-id/workload-identity-federation-config-app-trust-managed-identity
var exchangeAudience = map[Cloud]string{
	"":     "api://AzureADTokenExchange",
	Public: "api://AzureADTokenExchange",
	USGov:  "api://AzureADTokenExchangeUSGov",
	DoD:    "api://AzureADTokenExchangeUSGov",
	China:  "api://AzureADTokenExchangeChina",
}

func (dc DirectoryConfig) managedFederation(tenantID string, options azcore.ClientOptions) (azcore.TokenCredential, error) {
	machine, err := managedIdentity(dc.Credential.IdentityClientID, options)
	if err != nil {
		return nil, err
	}
	scope := []string{exchangeAudience[dc.Cloud] + "/.default"}
	assertion := func(ctx context.Context) (string, error) {
		t, err := machine.GetToken(ctx, azpolicy.TokenRequestOptions{Scopes: scope})
		return t.Token, err
	}
	return azidentity.NewClientAssertionCredential(tenantID, dc.Credential.ClientID, assertion,
		&azidentity.ClientAssertionCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: dc.DisableInstanceDiscovery})
}

func (dc DirectoryConfig) certificate(tenantID string, options azcore.ClientOptions) (azcore.TokenCredential, error) {
	c := dc.Credential
	file, err := os.ReadFile(c.CertificateFile)
	if err != nil {
		return nil, fmt.Errorf("the client certificate: %w", err)
	}
	certs, key, err := azidentity.ParseCertificates(file, []byte(c.CertificatePassword))
	if err != nil { // err may quote the file, so it is not wrapped
		return nil, fmt.Errorf("the client certificate %s cannot be read: give a PEM file with an unencrypted key, or a PKCS#12 file written by openssl pkcs12 -export -legacy", c.CertificateFile)
	}
	credential, err := azidentity.NewClientCertificateCredential(tenantID, c.ClientID, certs, key, &azidentity.ClientCertificateCredentialOptions{
		ClientOptions: options, SendCertificateChain: c.SendChain, DisableInstanceDiscovery: dc.DisableInstanceDiscovery})
	if err != nil {
		return nil, fmt.Errorf("the client certificate %s cannot be used: its key has to be RSA", c.CertificateFile)
	}
	return credential, nil
}

// careful is a credential whose errors may be shown and logged. Those of the SDK
// quote the whole answer of the token endpoint.
type careful struct{ inner azcore.TokenCredential }

func (c careful) GetToken(ctx context.Context, o azpolicy.TokenRequestOptions) (t azcore.AccessToken, err error) {
	var tried trace
	defer func() {
		if p := recover(); p != nil {
			err = &refusal{kind: bot.Denied, code: "no-token", hint: "the credential does not work; check its configuration"}
		}
	}()
	t, err = c.inner.GetToken(context.WithValue(ctx, traceKey{}, &tried), o)
	if err != nil {
		return azcore.AccessToken{}, noToken(ctx, err, tried)
	}
	return t, nil
}

// trace is what became of the last request for a token.
type trace struct {
	asked  bool   // there was one
	status int    // of the answer; 0 when there was none
	after  string // its Retry-After
	failed error  // why there was no answer
}

type traceKey struct{}

// tokenTransport fills in the trace in the request's context, since the SDK's
// errors do not tell what it has.
type tokenTransport struct{ client *http.Client }

func (t *tokenTransport) Do(req *http.Request) (*http.Response, error) {
	resp, err := t.client.Do(req)
	if tr, ok := req.Context().Value(traceKey{}).(*trace); ok {
		*tr = trace{asked: true, failed: err}
		if err == nil {
			tr.status, tr.after = resp.StatusCode, resp.Header.Get("Retry-After")
		}
	}
	return resp, err
}

var aadsts = regexp.MustCompile(`AADSTS\d{4,8}`)

// aadstsHint is what to do about the sign-in errors that a set-up runs into.
// https://learn.microsoft.com/entra/identity-platform/reference-error-codes
var aadstsHint = map[string]string{
	"AADSTS7000215": "the client secret is wrong",
	"AADSTS7000222": "the client secret has expired",
	"AADSTS700027":  "the certificate is not registered on the bot's application, or has expired",
	"AADSTS700024":  "the assertion is not valid now; check the machine's clock",
	"AADSTS70021":   "no federated credential of the bot's application matches this token",
	"AADSTS700213":  "no federated credential of the bot's application matches this token",
	"AADSTS700016":  "the bot's application is not in this tenant; an administrator has to consent to it there",
	"AADSTS7000229": "the bot's application has no service principal in this tenant; an administrator has to consent to it there",
	"AADSTS90002":   "there is no such tenant in this cloud; check the tenant id and the cloud",
	"AADSTS53003":   "conditional access blocks the bot's sign-in",
}

// noToken turns a credential's error into a refusal.
func noToken(ctx context.Context, err error, tried trace) *refusal {
	switch {
	case ctx.Err() != nil:
		return readError(ctx.Err(), "")
	case tried.failed != nil:
		r := readError(tried.failed, "")
		r.hint = "on the way to the sign-in address, " + cmp.Or(r.hint, "check name resolution, proxy and firewall")
		return r
	}
	r := &refusal{kind: bot.Denied, code: "no-token"}
	switch {
	case !tried.asked || tried.status < http.StatusBadRequest: // a good answer was the authority's metadata, and no token was asked for
		r.hint = "the credential could not be made ready; check its files and its configuration"
	case tried.status == http.StatusTooManyRequests || tried.status >= 500:
		r.kind, r.again, r.hint = bot.Busy, true, fmt.Sprintf("the sign-in address answered %d", tried.status)
		r.after = retryAfter(tried.after, time.Now())
	default:
		r.hint = fmt.Sprintf("the sign-in address answered %d", tried.status)
	}
	if c := aadsts.FindString(said(err)); c != "" {
		r.code = c
		if h := aadstsHint[c]; h != "" {
			r.hint = h
		}
	}
	return r
}

// said returns an error's text, in which a code is looked for; it is not shown.
func said(err error) string { return strings.ToUpper(err.Error()) }
