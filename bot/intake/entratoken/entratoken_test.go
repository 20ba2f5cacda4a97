package entratoken

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rehome/bot/intake"
)

const (
	tenant    = "a0000000-0000-4000-8000-0000000000a2"
	us        = "3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a01"
	eventGrid = "4f000000-0000-4000-8000-0000000000e9"
)

// An issuer is a tenant of Entra on loopback.
type issuer struct {
	*httptest.Server
	now   time.Time
	asked atomic.Int32

	mu     sync.Mutex
	keys   map[string]*rsa.PrivateKey // by kid
	answer func(w http.ResponseWriter) bool
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{now: time.Date(2026, 11, 18, 7, 0, 0, 0, time.UTC), keys: map[string]*rsa.PrivateKey{"k1": key(t)}}
	i.Server = httptest.NewServer(i)
	t.Cleanup(i.Close)
	return i
}

// keyOfTests is shared: making one takes longer than all the tests.
var keyOfTests = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func key(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	k, err := keyOfTests()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.asked.Add(1)
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.answer != nil && i.answer(w) {
		return
	}
	if r.URL.Path != "/"+tenant+"/discovery/v2.0/keys" {
		http.NotFound(w, r)
		return
	}
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	for kid, k := range i.keys {
		set.Keys = append(set.Keys, map[string]string{"kty": "RSA", "use": "sig", "kid": kid, "e": "AQAB", "n": encode(k.N.Bytes())},
			map[string]string{"kty": "EC", "crv": "P-256"}, map[string]string{"kty": "RSA", "n": "AQAB", "e": "AQAB"})
	}
	_ = json.NewEncoder(w).Encode(set)
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (i *issuer) verifier(t *testing.T, set ...func(*Config)) *Verifier {
	t.Helper()
	c := Config{Tenant: tenant, Audiences: []string{us, "api://" + us}, Callers: []string{eventGrid}, Authority: i.URL, Client: i.Client(), Now: func() time.Time { return i.now }}
	for _, f := range set {
		f(&c)
	}
	v, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// claimsOf are those of a good token, with some set or, as nil, left out.
func (i *issuer) claimsOf(changed map[string]any) map[string]any {
	c := map[string]any{
		"iss": i.URL + "/" + tenant + "/v2.0", "tid": tenant, "aud": us, "azp": eventGrid, "roles": []string{SecureWebhookRole},
		"exp": i.now.Add(time.Hour).Unix(), "nbf": i.now.Add(-time.Minute).Unix(),
	}
	maps.Copy(c, changed)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// sign makes a token; signer is what signs its first two parts.
func sign(t *testing.T, header string, claims any, signer func(string) []byte) string {
	t.Helper()
	body, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed := encode([]byte(header)) + "." + encode(body)
	return signed + "." + encode(signer(signed))
}

const rs256 = `{"alg":"RS256","typ":"JWT","kid":"k1"}`

func with(t *testing.T, k *rsa.PrivateKey) func(string) []byte {
	return func(s string) []byte {
		sum := sha256.Sum256([]byte(s))
		b, err := rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

func (i *issuer) token(t *testing.T, changed map[string]any) string {
	t.Helper()
	return sign(t, rs256, i.claimsOf(changed), with(t, key(t)))
}

func TestOnlyATokenThatIsRightInEveryWayIsGood(t *testing.T) {
	i := newIssuer(t)
	at := func(d time.Duration) int64 { return i.now.Add(d).Unix() }
	for name, tc := range map[string]struct {
		claims map[string]any
		want   string // in the error; "" for a good token
	}{
		"v2.0":                            {nil, ""},
		"v1.0":                            {map[string]any{"iss": "https://sts.windows.net/" + tenant + "/", "azp": nil, "appid": strings.ToUpper(eventGrid), "aud": "api://" + us}, ""},
		"several audiences":               {map[string]any{"aud": []string{"x", us}}, ""},
		"within the leeway":               {map[string]any{"exp": at(-59 * time.Second), "nbf": at(59 * time.Second)}, ""},
		"no nbf":                          {map[string]any{"nbf": nil}, ""},
		"another issuer":                  {map[string]any{"iss": i.URL + "/" + tenant + "/v2.0/"}, "issuer"},
		"an issuer of no tenant":          {map[string]any{"iss": i.URL + "/common/v2.0"}, "issuer"},
		"no issuer":                       {map[string]any{"iss": nil}, "issuer"},
		"another tenant":                  {map[string]any{"tid": "b" + tenant[1:]}, "tenant"},
		"no tenant":                       {map[string]any{"tid": nil}, "tenant"},
		"another audience":                {map[string]any{"aud": "api://somebody"}, "another application"},
		"an audience that contains ours":  {map[string]any{"aud": us + "/x"}, "another application"},
		"no audience":                     {map[string]any{"aud": nil}, "another application"},
		"expired":                         {map[string]any{"exp": at(-61 * time.Second)}, "expired"},
		"without an end":                  {map[string]any{"exp": nil}, "expired"},
		"an end that is no time":          {map[string]any{"exp": "never"}, "no token"},
		"not yet":                         {map[string]any{"nbf": at(61 * time.Second)}, "not valid yet"},
		"another caller":                  {map[string]any{"azp": us}, "not among the callers"},
		"appid does not help a wrong azp": {map[string]any{"azp": us, "appid": eventGrid}, "not among the callers"},
		"no caller":                       {map[string]any{"azp": nil}, "not among the callers"},
		"no role":                         {map[string]any{"roles": nil}, "lacks the role"},
		"another role":                    {map[string]any{"roles": []string{SecureWebhookRole + "s"}}, "lacks the role"},
	} {
		t.Run(name, func(t *testing.T) {
			caller, err := i.verifier(t).Verify(t.Context(), i.token(t, tc.claims))
			switch {
			case tc.want == "" && (err != nil || caller != eventGrid):
				t.Errorf("%q, %v", caller, err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || errors.Is(err, intake.ErrUnsure)):
				t.Errorf("%q, %v", caller, err)
			}
		})
	}
}

// The ways in which signatures are forged.
func TestOnlyTheTenantsOwnSignatureCounts(t *testing.T) {
	i := newIssuer(t)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key(t).PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	withSecret := func(s string) []byte {
		mac := hmac.New(sha256.New, public)
		_, _ = mac.Write([]byte(s))
		return mac.Sum(nil)
	}
	good := i.token(t, nil)
	parts := strings.Split(good, ".")
	more, err := json.Marshal(i.claimsOf(map[string]any{"azp": us}))
	if err != nil {
		t.Fatal(err)
	}
	embedded := fmt.Sprintf(`{"alg":"RS256","kid":"k1","jwk":{"kty":"RSA","e":"AQAB","n":"%s"}}`, encode(other.N.Bytes()))
	for name, token := range map[string]string{
		"alg none":               sign(t, `{"alg":"none"}`, i.claimsOf(nil), func(string) []byte { return nil }),
		"another key":            sign(t, rs256, i.claimsOf(nil), with(t, other)),
		"a key it brings along":  sign(t, embedded, i.claimsOf(nil), with(t, other)),
		"HMAC of the public key": sign(t, `{"alg":"HS256","kid":"k1"}`, i.claimsOf(nil), withSecret),
		"ECDSA": sign(t, `{"alg":"ES256","kid":"k1"}`, i.claimsOf(nil), func(s string) []byte {
			sum := sha256.Sum256([]byte(s))
			r, q, err := ecdsa.Sign(rand.Reader, curve, sum[:])
			if err != nil {
				t.Fatal(err)
			}
			return append(pad(r), pad(q)...)
		}),
		"RS512 in name":    sign(t, `{"alg":"RS512","kid":"k1"}`, i.claimsOf(nil), with(t, key(t))),
		"other claims":     parts[0] + "." + encode(more) + "." + parts[2],
		"no signature":     parts[0] + "." + parts[1] + ".",
		"cut":              good[:len(good)-4],
		"nothing":          "..",
		"not a token":      "a.b.c",
		"claims no object": sign(t, rs256, "x", with(t, key(t))),
		"endless":          strings.Repeat("a", maxToken) + "." + parts[1] + "." + parts[2],
	} {
		t.Run(name, func(t *testing.T) {
			caller, err := i.verifier(t).Verify(t.Context(), token)
			if err == nil || caller != "" || errors.Is(err, intake.ErrUnsure) {
				t.Errorf("%q, %v", caller, err)
			}
			if err != nil && len(token) > 20 && strings.Contains(err.Error(), token[:20]) {
				t.Errorf("the error quotes the token: %v", err)
			}
		})
	}
}

func pad(n *big.Int) []byte { return n.FillBytes(make([]byte, 32)) }

func TestKeysAreAskedForOnceADay(t *testing.T) {
	i := newIssuer(t)
	v := i.verifier(t)
	good := func() {
		t.Helper()
		if _, err := v.Verify(t.Context(), i.token(t, nil)); err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { _, _ = v.Verify(context.Background(), i.token(t, nil)) })
	}
	all.Wait()
	good()
	if n := i.asked.Load(); n != 1 {
		t.Errorf("%d fetches for twenty at once", n)
	}
	i.now = i.now.Add(25 * time.Hour)
	good()
	if n := i.asked.Load(); n != 2 {
		t.Errorf("%d fetches after a day", n)
	}
}

// A new key is found when the first token with it comes; forged tokens do not
// make us ask all the time.
func TestKeysAreRotated(t *testing.T) {
	i := newIssuer(t)
	v := i.verifier(t)
	if _, err := v.Verify(t.Context(), i.token(t, nil)); err != nil {
		t.Fatal(err)
	}
	next, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i.mu.Lock()
	i.keys = map[string]*rsa.PrivateKey{"k2": next}
	i.mu.Unlock()
	i.now = i.now.Add(time.Minute)
	token := sign(t, strings.Replace(rs256, "k1", "k2", 1), i.claimsOf(nil), with(t, next))
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if _, err := v.Verify(t.Context(), i.token(t, nil)); err == nil {
			t.Fatal("a key that was withdrawn is still good")
		}
	}
	if n := i.asked.Load(); n != 2 {
		t.Errorf("%d fetches", n)
	}
}

// Keys that cannot be had are no reason to call a token bad.
func TestWithoutKeysNothingIsKnownOfAToken(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter) bool{
		"500":     func(w http.ResponseWriter) bool { w.WriteHeader(500); return true },
		"HTML":    func(w http.ResponseWriter) bool { _, _ = w.Write([]byte("<html>")); return true },
		"no keys": func(w http.ResponseWriter) bool { _, _ = w.Write([]byte(`{"keys":[]}`)); return true },
		"endless": func(w http.ResponseWriter) bool {
			_, _ = w.Write([]byte(`{"keys":[` + strings.Repeat(" ", 2<<20)))
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t)
			i.answer = answer
			v := i.verifier(t)
			for range 3 {
				if _, err := v.Verify(t.Context(), i.token(t, nil)); !errors.Is(err, intake.ErrUnsure) {
					t.Fatalf("%v", err)
				}
			}
			if n := i.asked.Load(); n != 1 {
				t.Errorf("asked %d times in a moment", n)
			}
			i.mu.Lock()
			i.answer = nil
			i.mu.Unlock()
			i.now = i.now.Add(time.Minute)
			if _, err := v.Verify(t.Context(), i.token(t, nil)); err != nil {
				t.Errorf("after it came back: %v", err)
			}
		})
	}
	i := newIssuer(t)
	v, token := i.verifier(t), i.token(t, nil)
	i.Close()
	if _, err := v.Verify(t.Context(), token); !errors.Is(err, intake.ErrUnsure) {
		t.Errorf("unreachable: %v", err)
	}
}

// What is cached stays good while the provider is away.
func TestCachedKeysOutliveAnOutage(t *testing.T) {
	i := newIssuer(t)
	v := i.verifier(t)
	token := i.token(t, map[string]any{"exp": i.now.Add(48 * time.Hour).Unix()})
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	i.Close()
	i.now = i.now.Add(23 * time.Hour)
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Error(err)
	}
	if _, err := v.Verify(t.Context(), "a.b.c"); err == nil || errors.Is(err, intake.ErrUnsure) {
		t.Errorf("no token at all: %v", err)
	}
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Errorf("after a bad one: %v", err)
	}
}

func TestAConfigurationThatLetsAnybodyInIsRefused(t *testing.T) {
	good := Config{Tenant: tenant, Audiences: []string{us}, Callers: []string{eventGrid}}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"no tenant":         func(c *Config) { c.Tenant = "" },
		"a path as tenant":  func(c *Config) { c.Tenant = "../common" },
		"no audience":       func(c *Config) { c.Audiences = nil },
		"an empty audience": func(c *Config) { c.Audiences = []string{""} },
		"no caller":         func(c *Config) { c.Callers = nil },
		"an empty caller":   func(c *Config) { c.Callers = []string{""} },
		"five minutes":      func(c *Config) { c.Leeway = 5 * time.Minute },
		"plain http":        func(c *Config) { c.Authority = "http://login.contoso.example" },
		"no address":        func(c *Config) { c.Authority = "login" },
	} {
		c := good
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// The whole way: a token of the tenant opens the door.
func TestTheDoorTakesTheTenantsToken(t *testing.T) {
	i := newIssuer(t)
	d, err := intake.NewDoor(intake.Door{Intake: &intake.Intake{}, Entra: i.verifier(t)})
	if err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]int{i.token(t, nil): http.StatusAccepted, i.token(t, map[string]any{"roles": nil}): http.StatusUnauthorized} {
		r := httptest.NewRequest(http.MethodPost, "/v1/violations", strings.NewReader("[]"))
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		if d.ServeHTTP(w, r); w.Code != want {
			t.Errorf("%d, want %d: %s", w.Code, want, w.Body)
		}
	}
}
