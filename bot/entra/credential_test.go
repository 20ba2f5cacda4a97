package entra

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rehome/bot"
	"rehome/bot/sandbox/graph"
)

const (
	botApp    = "99999999-0000-4000-8000-000000000001"
	theSecret = "canary-secret-8Q~"
)

// pem writes a certificate with its key, as openssl would.
func writePEM(t *testing.T) (string, *x509.Certificate) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	plain := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "rehome.contoso.example"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, plain, plain, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "bot.pem")
	out := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})...)
	if err := os.WriteFile(file, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return file, cert
}

// signedIn is a directory over TLS with a real credential of azidentity.
func signedIn(t *testing.T, client graph.Client, c CredentialConfig) (rig, error) {
	t.Helper()
	client.ID = botApp
	g, err := graph.New(graph.Config{Tenants: []graph.Tenant{home()}, Clients: []graph.Client{client}})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewTLSServer(g)
	t.Cleanup(srv.Close)
	log := &strings.Builder{}
	d, err := New(Config{Transport: srv.Client().Transport, Log: slog.New(slog.NewTextHandler(log, nil)), Directories: []DirectoryConfig{{
		Name: "PME", TenantID: pme, GraphBaseURL: srv.URL, Authority: srv.URL, DisableInstanceDiscovery: true, Credential: c}}})
	if err != nil {
		return rig{}, err
	}
	t.Cleanup(d.Close)
	return rig{d, g, log}, nil
}

func TestEachCredentialSignsIn(t *testing.T) {
	certFile, cert := writePEM(t)
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte("federated.canary.token"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		kind   Kind
		client graph.Client
		config CredentialConfig
	}{
		{ClientCertificate, graph.Client{Certificate: cert}, CredentialConfig{CertificateFile: certFile, SendChain: true}},
		{WorkloadIdentity, graph.Client{Federated: "federated.canary.token"}, CredentialConfig{TokenFile: tokenFile}},
		{ClientSecret, graph.Client{Secret: theSecret}, CredentialConfig{ClientSecret: theSecret, AllowClientSecret: true}},
	} {
		c.config.Kind, c.config.ClientID = c.kind, botApp
		r, err := signedIn(t, c.client, c.config)
		if err != nil {
			t.Errorf("%s: %v", c.kind, err)
			continue
		}
		for range 3 {
			if e := r.look(t, ledger); len(e.Owners) != 4 {
				t.Errorf("%s: %+v", c.kind, e)
			}
		}
		if n := r.asked("/oauth2/v2.0/token"); n != 1 {
			t.Errorf("%s: %d tokens for three look-ups", c.kind, n)
		}
	}
}

func TestTheMachinesIdentitySignsIn(t *testing.T) {
	for _, c := range []CredentialConfig{
		{Kind: ManagedIdentity},
		{Kind: ManagedIdentity, ClientID: botApp},
		{Kind: ManagedFederation, ClientID: botApp},
	} {
		client := graph.Client{ID: botApp, Header: "canary-header", Federated: "sandbox." + pme}
		g, err := graph.New(graph.Config{Tenants: []graph.Tenant{home()}, Clients: []graph.Client{client}})
		if err != nil {
			t.Fatal(err)
		}
		machine, srv := httptest.NewServer(g), httptest.NewTLSServer(g)
		t.Cleanup(machine.Close)
		t.Cleanup(srv.Close)
		t.Setenv("IDENTITY_ENDPOINT", machine.URL+"/msi/token")
		t.Setenv("IDENTITY_HEADER", client.Header)
		d, err := New(Config{Transport: srv.Client().Transport, Directories: []DirectoryConfig{{
			TenantID: pme, GraphBaseURL: srv.URL, Authority: srv.URL, DisableInstanceDiscovery: true, Credential: c}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(d.Close)
		if e := (rig{d, g, nil}).look(t, ledger); len(e.Owners) != 4 {
			t.Errorf("%+v: %+v", c, e)
		}
	}
}

func TestAClientSecretNeedsInsistenceAndIsWarnedOf(t *testing.T) {
	c := CredentialConfig{Kind: ClientSecret, ClientID: botApp, ClientSecret: theSecret}
	_, err := signedIn(t, graph.Client{Secret: theSecret}, c)
	if err == nil || !strings.Contains(err.Error(), "unless you insist") {
		t.Errorf("without insistence: %v", err)
	}
	c.AllowClientSecret = true
	r, err := signedIn(t, graph.Client{Secret: theSecret}, c)
	if err != nil {
		t.Fatal(err)
	}
	const quote = `APP-09: "Client secrets are the weakest link in application authentication."`
	if w := strings.Join(r.Warnings(), "\n"); !strings.Contains(w, quote) || !strings.Contains(r.log.String(), "weakest link") {
		t.Errorf("warned %q, logged %q", w, r.log)
	}
}

func TestASignInThatFailsSaysWhyAndShowsNothing(t *testing.T) {
	file, _ := writePEM(t)
	_, other := writePEM(t)
	empty := filepath.Join(t.TempDir(), "not there")
	for _, c := range []struct {
		name   string
		client graph.Client
		config CredentialConfig
		fault  graph.Fault
		kind   bot.LookupKind
		says   string
	}{
		{"a wrong secret", graph.Client{Secret: "other"}, CredentialConfig{Kind: ClientSecret, ClientSecret: theSecret, AllowClientSecret: true}, graph.Fault{}, bot.Denied, "AADSTS7000215; the client secret is wrong"},
		{"an unknown certificate", graph.Client{Certificate: other}, CredentialConfig{Kind: ClientCertificate, CertificateFile: file}, graph.Fault{}, bot.Denied, "AADSTS700027; the certificate is not registered"},
		{"no token file", graph.Client{Federated: "x"}, CredentialConfig{Kind: WorkloadIdentity, TokenFile: empty}, graph.Fault{}, bot.Denied, "no-token; the credential could not be made ready"},
		{"a sign-in that is down", graph.Client{Secret: theSecret}, CredentialConfig{Kind: ClientSecret, ClientSecret: theSecret, AllowClientSecret: true}, graph.Fault{Status: 501, Raw: true, Body: "canary-body"}, bot.Busy, "the sign-in address answered 501"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.config.ClientID = botApp
			r, err := signedIn(t, c.client, c.config)
			if err != nil {
				t.Fatal(err)
			}
			if c.fault.Raw {
				r.c.Timeout = 400 * time.Millisecond // too short for a repeat
			}
			r.g.Break(only("/oauth2/", c.fault))
			failed := r.fails(t, ledger)
			if failed.Kind != c.kind || !strings.Contains(failed.Error(), c.says) {
				t.Errorf("kind %d, %v", failed.Kind, failed)
			}
			for _, canary := range []string{"canary", "Trace ID", "oauth2", "other"} {
				if s := failed.Error() + r.log.String(); strings.Contains(s, canary) {
					t.Errorf("shows %q: %s", canary, s)
				}
			}
		})
	}
}

// What keeps a sign-in from getting through is said as it is for Graph, and that
// it was the sign-in.
func TestASignInThatDoesNotGetThroughSaysWhatToCheck(t *testing.T) {
	for says, failed := range map[string]error{
		"unknown-host; on the way to the sign-in address, check name resolution":                          &net.DNSError{IsNotFound: true},
		"untrusted-certificate; on the way to the sign-in address, check the machine's certificate store": x509.UnknownAuthorityError{},
		"unreachable; on the way to the sign-in address, check name resolution, proxy and firewall":       &net.OpError{Op: "dial", Err: errors.New("canary")},
	} {
		r := noToken(t.Context(), errors.New("canary"), trace{asked: true, failed: failed})
		if got := r.Error(); !strings.HasPrefix(got, says) || strings.Contains(got, "canary") {
			t.Errorf("%T: says %q, not %q", failed, got, says)
		}
	}
}

func TestAConfigurationIsRefusedWithWhatToDo(t *testing.T) {
	good := DirectoryConfig{TenantID: pme, Credential: CredentialConfig{Kind: ManagedIdentity}}
	change := func(f func(*DirectoryConfig)) []DirectoryConfig { c := good; f(&c); return []DirectoryConfig{c} }
	for _, c := range []struct {
		name string
		dirs []DirectoryConfig
		says string
	}{
		{"none", nil, "AZURE_TENANT_ID"},
		{"a tenant's domain", change(func(d *DirectoryConfig) { d.TenantID = "contoso.onmicrosoft.com" }), "not a GUID"},
		{"a cloud that is none", change(func(d *DirectoryConfig) { d.Cloud = "Germany" }), "there is no cloud"},
		{"a cloud by its product name", change(func(d *DirectoryConfig) { d.Cloud = "Mooncake" }), "canonical"},
		{"a version in the address", change(func(d *DirectoryConfig) { d.GraphBaseURL = "https://graph.microsoft.com/v1.0" }), "leave it out"},
		{"an authority in the clear", change(func(d *DirectoryConfig) { d.Authority = "http://login.example" }), "https"},
		{"the same tenant twice", []DirectoryConfig{good, good}, "there twice"},
		{"no kind", change(func(d *DirectoryConfig) { d.Credential = CredentialConfig{ClientID: botApp} }), "workload-identity, managed-identity"},
		{"no client id", change(func(d *DirectoryConfig) { d.Credential = CredentialConfig{Kind: WorkloadIdentity} }), "client id"},
		{"no certificate", change(func(d *DirectoryConfig) {
			d.Credential = CredentialConfig{Kind: ClientCertificate, ClientID: botApp, CertificateFile: "/nowhere/bot.pem"}
		}), "client certificate"},
		{"a given token away from home", change(func(d *DirectoryConfig) { d.Token = given("canary") }), "on this machine"},
	} {
		d, err := New(Config{Directories: c.dirs})
		if err == nil {
			d.Close()
			t.Errorf("%s: accepted", c.name)
		} else if !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := ForSandbox("https://graph.microsoft.com"); err == nil {
		t.Error("a sandbox at Microsoft's was accepted")
	}
}

func TestACertificateFileThatIsNoneShowsNothingOfItself(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bot.pem")
	if err := os.WriteFile(file, []byte("-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := New(Config{Directories: []DirectoryConfig{{TenantID: pme, Credential: CredentialConfig{Kind: ClientCertificate, ClientID: botApp, CertificateFile: file}}}})
	if err == nil || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), "-legacy") {
		t.Error(err)
	}
}

func TestTokensThatGoElsewhereAreWarnedOf(t *testing.T) {
	d, err := New(Config{Transport: http.DefaultTransport, Directories: []DirectoryConfig{{Name: "PME", TenantID: pme, GraphBaseURL: "https://proxy.contoso.example", Credential: CredentialConfig{Kind: ManagedIdentity}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if w := d.Warnings(); len(w) != 1 || !strings.Contains(w[0], "proxy.contoso.example") {
		t.Error(w)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	c := DirectoryConfig{Credential: CredentialConfig{ClientSecret: theSecret, CertificatePassword: theSecret}, Token: given(theSecret)}
	for _, s := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c.Credential), fmt.Sprintf("%v %s", c.Token, c.Credential.ClientSecret)} {
		if strings.Contains(s, theSecret) {
			t.Error(s)
		}
	}
	log := &strings.Builder{}
	slog.New(slog.NewJSONHandler(log, nil)).Info("config", "c", c)
	if strings.Contains(log.String(), theSecret) {
		t.Error(log)
	}
}

func TestTheEnvironmentDescribesADirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(theSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	base := map[string]string{"AZURE_TENANT_ID": pme, "AZURE_CLIENT_ID": botApp}
	for _, c := range []struct {
		name string
		env  map[string]string
		want DirectoryConfig
	}{
		{"a machine", nil, DirectoryConfig{Credential: CredentialConfig{Kind: ManagedIdentity}}},
		{"AKS", map[string]string{"AZURE_FEDERATED_TOKEN_FILE": "/var/run/token", "AZURE_CLIENT_SECRET": "x", "AZURE_AUTHORITY_HOST": "https://login.microsoftonline.us/"},
			DirectoryConfig{Cloud: USGov, Credential: CredentialConfig{Kind: WorkloadIdentity, TokenFile: "/var/run/token"}}},
		{"a certificate in China", map[string]string{"AZURE_CLIENT_CERTIFICATE_PATH": "bot.pem", "AZURE_AUTHORITY_HOST": "login.chinacloudapi.cn", "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN": "true"},
			DirectoryConfig{Cloud: China, Credential: CredentialConfig{Kind: ClientCertificate, CertificateFile: "bot.pem", SendChain: true}}},
		{"a secret in a file", map[string]string{"AZURE_CLIENT_SECRET_FILE": file, "GRAPH_BASE_URL": "http://127.0.0.1:1"},
			DirectoryConfig{GraphBaseURL: "http://127.0.0.1:1", Credential: CredentialConfig{Kind: ClientSecret, ClientSecret: theSecret}}},
		{"an authority of one's own", map[string]string{"AZURE_AUTHORITY_HOST": "https://sts.contoso.example"},
			DirectoryConfig{Authority: "https://sts.contoso.example", Credential: CredentialConfig{Kind: ManagedIdentity}}},
	} {
		got, set, err := FromEnvironment(func(name string) string {
			if v, ok := c.env[name]; ok {
				return v
			}
			return base[name]
		})
		c.want.TenantID, c.want.Credential.ClientID = pme, botApp
		if err != nil || !set || got != c.want {
			t.Errorf("%s: %+v, %t, %v", c.name, got, set, err)
		}
	}
	if _, set, err := FromEnvironment(func(string) string { return "" }); set || err != nil {
		t.Error("an empty environment is no directory")
	}
	if _, _, err := FromEnvironment(func(n string) string {
		return map[string]string{"AZURE_TENANT_ID": pme, "AZURE_CLIENT_SECRET_FILE": "/nowhere"}[n]
	}); err == nil {
		t.Error("a file that is not there was passed over")
	}
}
