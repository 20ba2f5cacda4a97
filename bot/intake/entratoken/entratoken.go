// Package entratoken checks the tokens of Microsoft Entra with which Event Grid
// and other applications send alerts. It is the only importer of go-oidc.
//
//	token ── RS256, keys of the tenant ── issuer, tenant, audience, caller, role, times ──► caller
//
// The library checks signatures. The keys are fetched here, because what to do
// when they cannot be had is ours to decide: a token that nobody can check is
// not a bad token.
package entratoken

import (
	"context"
	"crypto"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"rehome/bot/intake"
)

// SecureWebhookRole is the role that Event Grid's own application is given in
// ours (Microsoft Learn, "Secure WebHook delivery with Microsoft Entra ID").
const SecureWebhookRole = "AzureEventGridSecureWebhookSubscriber"

// Config says which tokens are good. Tenant, Audiences and Callers are required.
type Config struct {
	Tenant    string        // tenant id, a GUID
	Audiences []string      // who we are: the app id, or its api:// URI
	Callers   []string      // app ids of who may send (azp of a v2.0 token, appid of a v1.0 token)
	Role      string        // what they must be; "": SecureWebhookRole
	Authority string        // "": https://login.microsoftonline.com; national clouds have their own
	Issuers   []string      // nil: the authority's for v2.0 tokens, and https://sts.windows.net/ for v1.0 tokens
	Leeway    time.Duration // how far clocks may be apart, at most 2 minutes; 0: 1 minute
	Client    *http.Client  // for the keys; nil: one with a timeout of 5 s
	Now       func() time.Time
}

// A Verifier checks tokens. It is safe for use by many goroutines.
type Verifier struct {
	config Config
	keys   *keys
}

var _ intake.Verifier = (*Verifier)(nil)

// New returns a verifier, or says what is wrong with its configuration. It does
// not fetch keys yet.
func New(c Config) (*Verifier, error) {
	if c.Tenant == "" || strings.ContainsAny(c.Tenant, "/?#% ") {
		return nil, errors.New("the tenant of intake tokens is missing or no tenant id; give its GUID")
	}
	if len(c.Audiences) == 0 || slices.Contains(c.Audiences, "") {
		return nil, errors.New("intake tokens need an audience; give the app id they are made for")
	}
	if len(c.Callers) == 0 || slices.Contains(c.Callers, "") {
		return nil, errors.New("intake tokens need callers; give the app ids of who may send alerts")
	}
	if c.Leeway < 0 || c.Leeway > 2*time.Minute {
		return nil, errors.New("the leeway of intake tokens is more than two minutes; set the clocks right instead")
	}
	c.Tenant = strings.ToLower(c.Tenant)
	if c.Role == "" {
		c.Role = SecureWebhookRole
	}
	if c.Authority == "" {
		c.Authority = "https://login.microsoftonline.com"
	}
	c.Authority = strings.TrimSuffix(c.Authority, "/")
	if u, err := url.Parse(c.Authority); err != nil || u.Host == "" || u.Scheme != "https" && !loopback(u) {
		return nil, errors.New("the authority of intake tokens is no https address; leave it out for the public cloud")
	}
	if c.Issuers == nil {
		c.Issuers = []string{c.Authority + "/" + c.Tenant + "/v2.0", "https://sts.windows.net/" + c.Tenant + "/"}
	}
	if c.Leeway == 0 {
		c.Leeway = time.Minute
	}
	if c.Client == nil {
		c.Client = &http.Client{Timeout: 5 * time.Second}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	at := c.Authority + "/" + c.Tenant + "/discovery/v2.0/keys"
	return &Verifier{c, &keys{url: at, client: c.Client, now: c.Now}}, nil
}

func loopback(u *url.URL) bool {
	return u.Scheme == "http" && (u.Hostname() == "127.0.0.1" || u.Hostname() == "::1" || u.Hostname() == "localhost")
}

// claims are the claims that are looked at. Which version a token has depends
// on the application it is for.
type claims struct {
	Issuer    string   `json:"iss"`
	Tenant    string   `json:"tid"`
	Audience  audience `json:"aud"`
	Azp       string   `json:"azp"`
	AppID     string   `json:"appid"`
	Roles     []string `json:"roles"`
	Expires   seconds  `json:"exp"`
	NotBefore seconds  `json:"nbf"`
}

// maxToken is the longest token that is looked at, in bytes.
const maxToken = 16 << 10

// Verify returns the app id of who sends the token. An error that is
// intake.ErrUnsure says that the keys cannot be had; any other, that the token
// is not good. No error holds anything of the token.
func (v *Verifier) Verify(ctx context.Context, token string) (string, error) {
	if len(token) > maxToken {
		return "", errors.New("the token is too long")
	}
	set := &attempt{keys: v.keys}
	verifier := oidc.NewVerifier("", set, &oidc.Config{
		SupportedSigningAlgs: []string{oidc.RS256},
		// What follows is checked below, against several values and with our leeway.
		SkipIssuerCheck: true, SkipClientIDCheck: true, SkipExpiryCheck: true,
	})
	good, err := verifier.Verify(ctx, token)
	if err != nil {
		if set.unsure != nil {
			return "", fmt.Errorf("%w: %w", intake.ErrUnsure, set.unsure)
		}
		return "", errors.New("the token is not signed by the tenant, or is no token")
	}
	var c claims
	if err := good.Claims(&c); err != nil {
		return "", errors.New("the token's claims cannot be read")
	}
	return v.check(c)
}

// check returns the caller when everything the token says of itself is right.
func (v *Verifier) check(c claims) (string, error) {
	caller, now := c.Azp, v.config.Now()
	if caller == "" {
		caller = c.AppID
	}
	switch {
	case !slices.Contains(v.config.Issuers, c.Issuer):
		return "", errors.New("the token is of another issuer")
	case !strings.EqualFold(c.Tenant, v.config.Tenant):
		return "", errors.New("the token is of another tenant")
	case !slices.ContainsFunc(c.Audience, func(a string) bool { return slices.Contains(v.config.Audiences, a) }):
		return "", errors.New("the token is made for another application")
	case c.Expires.IsZero() || now.Add(-v.config.Leeway).After(c.Expires.Time):
		return "", errors.New("the token has expired")
	case now.Add(v.config.Leeway).Before(c.NotBefore.Time):
		return "", errors.New("the token is not valid yet; check this machine's clock")
	case caller == "" || !slices.ContainsFunc(v.config.Callers, func(id string) bool { return strings.EqualFold(id, caller) }):
		return "", errors.New("the token's application is not among the callers of the intake")
	case !slices.Contains(c.Roles, v.config.Role):
		return "", errors.New("the token's application lacks the role " + v.config.Role)
	}
	return strings.ToLower(caller), nil
}

// audience is one text or several (RFC 7519, section 4.1.3).
type audience []string

func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// seconds is a time in seconds since 1970.
type seconds struct{ time.Time }

func (s *seconds) UnmarshalJSON(b []byte) error {
	var n float64
	if err := json.Unmarshal(b, &n); err != nil {
		return err
	}
	if n <= 0 || n > 1e11 {
		return errors.New("no time of this age")
	}
	s.Time = time.Unix(int64(n), 0)
	return nil
}

// An attempt is one check of a signature, and whether it could be made.
type attempt struct {
	keys   *keys
	unsure error
}

// VerifySignature implements [oidc.KeySet].
func (a *attempt) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	set, fetched, err := a.keys.get(ctx, time.Time{})
	if err != nil {
		a.unsure = err
		return nil, err
	}
	payload, bad := set.VerifySignature(ctx, token)
	if bad == nil {
		return payload, nil
	}
	// The tenant may have a new key.
	newer, at, err := a.keys.get(ctx, fetched)
	switch {
	case err != nil:
		a.unsure = err
		return nil, err
	case at.Equal(fetched): // asked for a moment ago
		return nil, bad
	}
	return newer.VerifySignature(ctx, token)
}

const (
	keptFor  = 24 * time.Hour   // Microsoft: refresh at least once a day
	notAgain = 30 * time.Second // between two fetches, so that nobody without a token can have us ask all the time
	maxKeys  = 1 << 20          // bytes of a key set; Entra's has about 20 KiB
)

// keys are the tenant's keys, fetched when they are needed and kept for a day.
type keys struct {
	url    string
	client *http.Client
	now    func() time.Time

	asking sync.Mutex // held while fetching: whoever comes meanwhile waits for the same answer
	mu     sync.Mutex
	set    *oidc.StaticKeySet
	at     time.Time // when they were fetched
	tried  time.Time
	failed error // of the last try
}

// get returns the keys and when they were fetched. It fetches keys that are too
// old or not newer than than, unless that was tried a moment ago.
func (k *keys) get(ctx context.Context, than time.Time) (*oidc.StaticKeySet, time.Time, error) {
	if set, at, err, known := k.have(than); known {
		return set, at, err
	}
	k.asking.Lock()
	defer k.asking.Unlock()
	if set, at, err, known := k.have(than); known { // by whoever asked before
		return set, at, err
	}
	set, err := k.fetch(context.WithoutCancel(ctx))
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tried, k.failed = k.now(), err
	if err != nil {
		return nil, time.Time{}, err
	}
	k.set, k.at = set, k.tried
	return k.set, k.at, nil
}

// have returns what get does, as far as it is known without asking.
func (k *keys) have(than time.Time) (set *oidc.StaticKeySet, at time.Time, err error, known bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	switch {
	case k.set != nil && now.Sub(k.at) < keptFor && k.at.After(than):
		return k.set, k.at, nil, true
	case k.tried.IsZero() || now.Sub(k.tried) >= notAgain:
		return nil, time.Time{}, nil, false
	case k.failed != nil:
		return nil, time.Time{}, k.failed, true
	}
	return k.set, k.at, nil, true
}

func (k *keys) fetch(ctx context.Context) (*oidc.StaticKeySet, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return nil, fmt.Errorf("the tenant's keys cannot be asked for: %w; check the authority and the tenant id", err)
	}
	res, err := k.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the tenant's keys cannot be had: %w; let this machine reach the authority", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the tenant's keys cannot be had from %s: %s; check the authority and the tenant id", k.url, res.Status)
	}
	var body struct {
		Keys []struct {
			Kty string `json:"kty"`
			Use string `json:"use"`
			N   string `json:"n"`
			E   string `json:"e"`
		} `json:"keys"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxKeys)).Decode(&body); err != nil {
		return nil, errors.New("the tenant's keys are no key set; check the authority and the tenant id")
	}
	set := &oidc.StaticKeySet{}
	for _, key := range body.Keys {
		if public := rsaKey(key.N, key.E); key.Kty == "RSA" && (key.Use == "" || key.Use == "sig") && public != nil {
			set.PublicKeys = append(set.PublicKeys, public)
		}
	}
	if len(set.PublicKeys) == 0 {
		return nil, errors.New("the tenant's key set holds no RSA key for signatures")
	}
	return set, nil
}

// rsaKey returns a key of at least 2048 bits, or nil (RFC 7518, sections 3.3
// and 6.3.1).
func rsaKey(n, e string) crypto.PublicKey {
	modulus, err1 := base64.RawURLEncoding.DecodeString(strings.TrimRight(n, "="))
	exponent, err2 := base64.RawURLEncoding.DecodeString(strings.TrimRight(e, "="))
	if err1 != nil || err2 != nil || len(exponent) == 0 || len(exponent) > 4 {
		return nil
	}
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(new(big.Int).SetBytes(exponent).Int64())}
	if key.N.BitLen() < 2048 || key.N.BitLen() > 8192 || key.E < 3 || key.E%2 == 0 {
		return nil
	}
	return key
}
