package entra

import (
	"context"
	"fmt"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// A SandboxTenant is a tenant of a fake Graph on this machine.
type SandboxTenant struct {
	Name     string
	TenantID string
	Cloud    Cloud
	Token    string // the fake's own, worth nothing elsewhere
}

// ForSandbox is the configuration for a fake Graph at baseURL, which has to be on
// this machine: it asks with a token that is simply given, and no identity
// platform is involved.
func ForSandbox(baseURL string, tenants ...SandboxTenant) (Config, error) {
	u, err := graphAddress(baseURL)
	if err != nil {
		return Config{}, err
	}
	if !loopback(u.Hostname()) {
		return Config{}, fmt.Errorf("a sandbox is on this machine, and %s is not", u.Host)
	}
	c := Config{KeyReads: -1}
	for _, t := range tenants {
		c.Directories = append(c.Directories, DirectoryConfig{
			Name: t.Name, TenantID: t.TenantID, Cloud: t.Cloud, GraphBaseURL: baseURL, Token: given(t.Token)})
	}
	return c, nil
}

// given is a credential that has its token.
type given string

func (g given) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(g), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func (given) String() string               { return "***" }
func (given) GoString() string             { return "***" }
func (given) MarshalText() ([]byte, error) { return []byte("***"), nil }
