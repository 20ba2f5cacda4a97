package entra

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"

	"rehome/policy"
)

// A Cloud is a national cloud as Microsoft Graph is deployed in it. The product
// clouds of the policy tables are fewer: US Government L4 and L5 are Fairfax.
type Cloud string

// The clouds.
const (
	Public Cloud = "Public"
	USGov  Cloud = "USGov"
	DoD    Cloud = "DoD"
	China  Cloud = "China"
)

// ParseCloud reads a cloud's name as Microsoft Graph or the policy tables write
// it, in any case. "" is Public.
func ParseCloud(s string) (Cloud, error) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "", "public":
		return Public, nil
	case "usgov", "fairfax":
		return USGov, nil
	case "dod":
		return DoD, nil
	case "china", "mooncake":
		return China, nil
	}
	return "", fmt.Errorf("there is no cloud %q; write Public, USGov (or Fairfax), DoD or China (or Mooncake)", s)
}

// Product is the cloud's name in the policy tables.
func (c Cloud) Product() policy.Cloud {
	switch c {
	case USGov, DoD:
		return policy.Fairfax
	case China:
		return policy.Mooncake
	case Public:
	}
	return policy.Public
}

// place is where a cloud's Graph and its sign-in are. Graph's tokens are for
// its own address: a token for another cloud's is refused.
// https://learn.microsoft.com/graph/deployments
type place struct {
	graph string
	sign  cloud.Configuration
}

var places = map[Cloud]place{
	Public: {"https://graph.microsoft.com", cloud.AzurePublic},
	USGov:  {"https://graph.microsoft.us", cloud.AzureGovernment},
	DoD:    {"https://dod-graph.microsoft.us", cloud.AzureGovernment},
	China:  {"https://microsoftgraph.chinacloudapi.cn", cloud.AzureChina},
}

// graphAddress reads GRAPH_BASE_URL's value: scheme and host, nothing behind
// them. Only this machine may be spoken to in the clear.
func graphAddress(s string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(strings.TrimSpace(s), "/"))
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("the Graph address is not a URL of a scheme and a host, such as https://graph.microsoft.com")
	case u.Path != "":
		return nil, fmt.Errorf("the Graph address has the path %q behind its host; leave it out, the version is ours to say", u.Path)
	case u.Scheme == "https", u.Scheme == "http" && loopback(u.Hostname()):
		return u, nil
	}
	return nil, errors.New("the Graph address has to begin with https://; http:// is for 127.0.0.1, ::1 and localhost")
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
