package entra

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
)

// FromEnvironment returns the directory that azidentity's own variables describe:
// AZURE_TENANT_ID and AZURE_CLIENT_ID, AZURE_AUTHORITY_HOST, and one of
// AZURE_FEDERATED_TOKEN_FILE, AZURE_CLIENT_CERTIFICATE_PATH (with
// AZURE_CLIENT_CERTIFICATE_PASSWORD) or AZURE_CLIENT_SECRET; without any of
// these, the machine's managed identity. GRAPH_BASE_URL stands in for the
// cloud's Graph. Secrets may be in a file that NAME_FILE names. It returns false
// when AZURE_TENANT_ID is not set, which means that no directory is configured.
func FromEnvironment(getenv func(string) string) (DirectoryConfig, bool, error) {
	dc := DirectoryConfig{TenantID: strings.TrimSpace(getenv("AZURE_TENANT_ID")), GraphBaseURL: getenv("GRAPH_BASE_URL")}
	if dc.TenantID == "" {
		return dc, false, nil
	}
	if err := dc.readAuthority(getenv("AZURE_AUTHORITY_HOST")); err != nil {
		return dc, true, err
	}
	secret, err := secretOf(getenv, "AZURE_CLIENT_SECRET")
	if err != nil {
		return dc, true, err
	}
	password, err := secretOf(getenv, "AZURE_CLIENT_CERTIFICATE_PASSWORD")
	if err != nil {
		return dc, true, err
	}
	c := CredentialConfig{ClientID: getenv("AZURE_CLIENT_ID"), AllowClientSecret: getenv("REHOME_ALLOW_CLIENT_SECRET") == "true"}
	switch {
	case getenv("AZURE_FEDERATED_TOKEN_FILE") != "":
		c.Kind, c.TokenFile = WorkloadIdentity, getenv("AZURE_FEDERATED_TOKEN_FILE")
	case getenv("AZURE_CLIENT_CERTIFICATE_PATH") != "":
		c.Kind, c.CertificateFile, c.CertificatePassword = ClientCertificate, getenv("AZURE_CLIENT_CERTIFICATE_PATH"), password
		c.SendChain = isTrue(getenv("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN"))
	case secret != "":
		c.Kind, c.ClientSecret = ClientSecret, secret
	default:
		c.Kind = ManagedIdentity
	}
	dc.Credential = c
	return dc, true, nil
}

func isTrue(s string) bool { return s == "1" || strings.EqualFold(s, "true") }

// readAuthority finds the cloud that a sign-in address belongs to. DoD has the
// same as US Government L4 and is told apart in rehome.yaml only.
func (dc *DirectoryConfig) readAuthority(host string) error {
	if host == "" {
		return nil
	}
	if !strings.Contains(host, "://") {
		host = "https://" + host
	}
	u, err := url.Parse(host)
	if err != nil || u.Host == "" {
		return errors.New("AZURE_AUTHORITY_HOST is not an address such as https://login.microsoftonline.com/")
	}
	for _, c := range []Cloud{Public, USGov, China} {
		known, _ := url.Parse(places[c].sign.ActiveDirectoryAuthorityHost) // a constant of the SDK
		if strings.EqualFold(u.Host, known.Host) {
			dc.Cloud = c
			return nil
		}
	}
	dc.Authority = host
	return nil
}

// secretOf returns the value of NAME, or the content of the file that NAME_FILE
// names, without the line break at its end.
func secretOf(getenv func(string) string, name string) (Secret, error) {
	if v := getenv(name); v != "" {
		return Secret(v), nil
	}
	file := getenv(name + "_FILE")
	if file == "" {
		return "", nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s_FILE: %w", name, err)
	}
	return Secret(strings.TrimRight(string(b), "\r\n")), nil
}
