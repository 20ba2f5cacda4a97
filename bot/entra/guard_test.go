package entra

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rehome/bot"
	"rehome/bot/sandbox/graph"
)

// roundTripper is a transport that is a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestTheGuardLetsNothingOutToAnotherHostOrWithoutAToken(t *testing.T) {
	sent := 0
	g := &guard{scheme: "https", host: "graph.microsoft.com", next: roundTripper(func(r *http.Request) (*http.Response, error) {
		sent++
		return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(`{}`))}, nil
	})}
	for _, c := range []struct {
		url, token, code string
	}{
		{"https://graph.microsoft.com/v1.0/applications", "Bearer x", ""},
		{"https://GRAPH.microsoft.com/v1.0/applications", "Bearer x", ""},
		{"https://graph.microsoft.com/v1.0/applications", "", "no-token"},
		{"http://graph.microsoft.com/v1.0/applications", "Bearer x", "foreign-address"},
		{"https://graph.microsoft.com:8443/v1.0/applications", "Bearer x", "foreign-address"},
		{"https://graph.microsoft.com.evil.example/v1.0/", "Bearer x", "foreign-address"},
		{"https://graph.microsoft.com@evil.example/v1.0/", "Bearer x", "foreign-address"},
	} {
		before := sent
		req, err := http.NewRequest(http.MethodGet, c.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", c.token)
		resp, err := g.RoundTrip(req)
		if err == nil {
			resp.Body.Close()
		}
		got := ""
		if r, ok := err.(*refusal); ok {
			got = r.code
		}
		if got != c.code || (sent > before) != (c.code == "") {
			t.Errorf("%s %q: %v, sent %d", c.url, c.token, err, sent-before)
		}
	}
}

// Tokens are asked for with the cloud's own scope and sent to its own host.
func TestEachCloudHasItsAddresses(t *testing.T) {
	for cloud, want := range map[Cloud]string{
		Public: "graph.microsoft.com login.microsoftonline.com Public",
		USGov:  "graph.microsoft.us login.microsoftonline.us Fairfax",
		DoD:    "dod-graph.microsoft.us login.microsoftonline.us Fairfax",
		China:  "microsoftgraph.chinacloudapi.cn login.chinacloudapi.cn Mooncake",
	} {
		p, err := DirectoryConfig{TenantID: pme, Cloud: cloud, Token: careful{}}.prepare(nil)
		if err != nil {
			t.Fatal(err)
		}
		sign := strings.Trim(strings.TrimPrefix(places[cloud].sign.ActiveDirectoryAuthorityHost, "https://"), "/")
		if got := p.graph.Host + " " + sign + " " + string(cloud.Product()); got != want || p.scope != "https://"+p.graph.Host+"/.default" {
			t.Errorf("%s: %s, scope %s", cloud, got, p.scope)
		}
	}
	for name, want := range map[string]Cloud{"": Public, "public": Public, "Fairfax": USGov, "usgov": USGov, "DoD": DoD, "MoonCake": China, "China": China} {
		if got, err := ParseCloud(name); err != nil || got != want {
			t.Errorf("%q: %s, %v", name, got, err)
		}
	}
	if _, err := ParseCloud("Germany"); err == nil {
		t.Error("there is no German cloud any more")
	}
}

func TestTheGraphAddressIsASchemeAndAHost(t *testing.T) {
	for address, ok := range map[string]bool{
		"https://graph.microsoft.com": true, "https://graph.microsoft.com/": true, "http://127.0.0.1:8080": true, "http://[::1]:8080": true, "http://localhost:1/": true,
		"https://graph.microsoft.com/v1.0": false, "http://graph.microsoft.com": false, "graph.microsoft.com": false, "": false,
		"https://user:canary@graph.microsoft.com": false, "https://graph.microsoft.com?x=1": false, "http://localhost.evil.example": false, "ftp://127.0.0.1": false, "https://": false,
	} {
		if _, err := graphAddress(address); (err == nil) != ok {
			t.Errorf("%q: %v", address, err)
		} else if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: the error shows the password", address)
		}
	}
}

func TestThumbprintsInEveryWriting(t *testing.T) {
	bytes20 := make([]byte, 20)
	for i := range bytes20 {
		bytes20[i] = 0xf0 + byte(i%16)
	}
	const hex20 = "F0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFFF0F1F2F3"
	hex32 := strings.Repeat("AB", 32)
	for _, c := range []struct{ name, wire, want string }{
		{"SHA-1 in base64", base64.StdEncoding.EncodeToString(bytes20), hex20},
		{"url-safe", base64.URLEncoding.EncodeToString(bytes20), hex20},
		{"without padding", base64.RawStdEncoding.EncodeToString(bytes20), hex20},
		{"hex", strings.ToLower(hex20), hex20},
		{"hex with colons", "F0:F1:F2:F3:F4:F5:F6:F7:F8:F9:FA:FB:FC:FD:FE:FF:F0:F1:F2:F3", hex20},
		{"hex in base64", base64.StdEncoding.EncodeToString([]byte(hex20)), hex20},
		{"SHA-256 in hex", hex32, hex32},
		{"SHA-256 in base64", "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=", hex32},
		{"somebody's label", base64.StdEncoding.EncodeToString([]byte("my key")), ""},
		{"no base64", "!!", ""},
	} {
		r := overLoopback(t, func(_ *Config, gc *graph.Config) {
			gc.Tenants[0].Applications[0].Keys[0].Identifier = c.wire
		})
		e := r.look(t, ledger)
		if len(e.Credentials) != 3 || e.Credentials[0].Thumbprint != c.want {
			t.Errorf("%s: %+v", c.name, e.Credentials)
		}
	}
}

// One odd value in one credential does not cost the app.
func TestOddValuesAreRepairedOrLeftOut(t *testing.T) {
	r := overLoopback(t, nil)
	odd := `{"@odata.context":"x","id":"` + ledgerID + `","appId":"` + ledger + `","displayName":7,"signInAudience":["a"],"unknown":{"deep":[1,null]},
	"keyCredentials":[null,5,
	 {"keyId":"not a guid","customKeyIdentifier":7,"startDateTime":"2026-03-31","endDateTime":"","type":"AsymmetricX509Cert","usage":"Verify","displayName":null,"key":"canary-key"},
	 {"keyId":"{1B7E0D52-2F0C-4C7D-8A55-9D3B1C6E7F01}","startDateTime":"2026-03-31T00:00:00.1234567Z","endDateTime":"9999-12-31T23:59:59","type":"X509CertAndPassword"},
	 {"keyId":null,"startDateTime":20260331,"endDateTime":"0001-01-01T00:00:00Z","type":"Symmetric","usage":"Verify","customKeyIdentifier":"` + sha1Print + `"}],
	"passwordCredentials":{"not":"a list"}}`
	r.g.Break(only("applications(", graph.Fault{Raw: true, Type: "application/json; odata.metadata=minimal", Body: odd}))
	want := []bot.CredentialEntry{
		{Type: "certificate", On: "application", Usage: "Verify", Start: from},
		{Type: "certificate", On: "application", KeyID: keyID, Start: from.Add(123456700), End: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
		{Type: "clientSecret", On: "application"},
	}
	e := r.look(t, ledger)
	if diff := cmp.Diff(want, e.Credentials[:3]); diff != "" {
		t.Error(diff)
	}
	if e.DisplayName != "" || e.ObjectID != ledgerID {
		t.Errorf("%+v", e)
	}
}

func TestRepairTakesKeyMaterialOut(t *testing.T) {
	out, ok := repair([]byte(`{"value":[{"keyCredentials":[{"key":"canary","keyId":null}],"passwordCredentials":[{"secretText":"canary","hint":"can"}]}]}`))
	if !ok || strings.Contains(string(out), "can") {
		t.Errorf("%s", out)
	}
}

// FuzzRepair: what repair lets through is a JSON object again.
func FuzzRepair(f *testing.F) {
	for _, s := range []string{`{}`, `{"value":[{"keyId":1}]}`, `[]`, `{"value":{"value":[{"value":[]}]}}`, `{"customKeyIdentifier":"-_"}`, "{\"displayName\":\"\xff\"}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		out, ok := repair(b)
		if !ok {
			return
		}
		var o map[string]any
		if err := json.Unmarshal(out, &o); err != nil || o == nil {
			t.Errorf("%q became %q: %v", b, out, err)
		}
	})
}
