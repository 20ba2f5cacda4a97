package graph

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// The token endpoint. Identity libraries insist on https for it, so it serves
// them behind httptest.NewTLSServer or a transport that rewrites addresses; the
// managed identity endpoint is plain http, as it is on a real host.

// A Client is an application that may have tokens: by a secret, by an assertion
// signed with its certificate's key (PS256), or by a federated token.
type Client struct {
	ID          string
	Secret      string
	Certificate *x509.Certificate
	Federated   string // a federated token as it stands in its file
	Header      string // X-IDENTITY-HEADER of the managed identity endpoint
}

// A tokenAnswer is what the token endpoint says.
type tokenAnswer struct {
	status int
	body   map[string]any
}

func (a tokenAnswer) write(w http.ResponseWriter) int {
	out, err := json.Marshal(a.body)
	if err != nil {
		http.Error(w, "encoding: "+err.Error(), http.StatusInternalServerError)
		return http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(a.status)
	_, _ = w.Write(out)
	return a.status
}

// tokenRoute answers the routes that need no token; nil for any other.
func (s *Server) tokenRoute(r *http.Request) *tokenAnswer {
	path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.URL.Path == "/msi/token":
		return s.managedIdentity(r)
	case r.URL.Path == "/common/discovery/instance":
		return &tokenAnswer{http.StatusOK, map[string]any{
			"tenant_discovery_endpoint": "https://" + r.Host + "/common/v2.0/.well-known/openid-configuration",
			"api-version":               "1.1",
			"metadata":                  []any{map[string]any{"preferred_network": r.Host, "preferred_cache": r.Host, "aliases": []string{r.Host}}},
		}}
	case len(path) == 4 && strings.Join(path[1:], "/") == "v2.0/.well-known/openid-configuration":
		at := "https://" + r.Host + "/" + path[0]
		return &tokenAnswer{http.StatusOK, map[string]any{
			"issuer": at + "/v2.0", "authorization_endpoint": at + "/oauth2/v2.0/authorize", "token_endpoint": at + "/oauth2/v2.0/token",
		}}
	case len(path) == 4 && strings.Join(path[1:], "/") == "oauth2/v2.0/token":
		return s.issue(r, path[0])
	}
	return nil
}

func (s *Server) issue(r *http.Request, tenant string) *tokenAnswer {
	if err := r.ParseForm(); err != nil || r.Method != http.MethodPost {
		return refuseToken("invalid_request", 900144, "The request body must contain the following parameter: 'grant_type'.")
	}
	s.mu.Lock()
	_, known := s.tenants[strings.ToLower(tenant)]
	s.mu.Unlock()
	if !known {
		return refuseToken("invalid_request", 90002, "Tenant '"+tenant+"' not found.")
	}
	if r.PostForm.Get("grant_type") != "client_credentials" || !hasDefaultScope(r.PostForm.Get("scope")) {
		return refuseToken("invalid_scope", 70011, "The provided value for the input parameter 'scope' is not valid.")
	}
	at := slices.IndexFunc(s.clients, func(c Client) bool { return strings.EqualFold(c.ID, r.PostForm.Get("client_id")) })
	if at < 0 {
		return refuseToken("unauthorized_client", 700016, "Application with identifier '"+r.PostForm.Get("client_id")+"' was not found in the directory.")
	}
	if why := s.clients[at].prove(r); why != nil {
		return why
	}
	return &tokenAnswer{http.StatusOK, map[string]any{
		"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": s.Token(tenant),
	}}
}

func hasDefaultScope(scope string) bool {
	return slices.ContainsFunc(strings.Fields(scope), func(s string) bool { return strings.HasSuffix(s, "/.default") })
}

// prove checks that a request comes from the client it names.
func (c Client) prove(r *http.Request) *tokenAnswer {
	if secret := r.PostForm.Get("client_secret"); secret != "" {
		if c.Secret == "" || secret != c.Secret {
			return refuseToken("invalid_client", 7000215, "Invalid client secret provided.")
		}
		return nil
	}
	assertion := r.PostForm.Get("client_assertion")
	switch {
	case assertion == "" || r.PostForm.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer":
		return refuseToken("invalid_client", 7000218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.")
	case c.Federated != "" && assertion == c.Federated:
		return nil
	case c.Certificate == nil:
		return refuseToken("invalid_client", 700213, "No matching federated identity record found for presented assertion.")
	case !signed(assertion, c.Certificate):
		return refuseToken("invalid_client", 700027, "The certificate with identifier used to sign the client assertion is not registered on application.")
	}
	return nil
}

// signed reports whether a JWT is signed with a certificate's key, PS256.
func signed(jwt string, by *x509.Certificate) bool {
	part := strings.Split(jwt, ".")
	key, ok := by.PublicKey.(*rsa.PublicKey)
	if len(part) != 3 || !ok {
		return false
	}
	signature, err := base64.RawURLEncoding.DecodeString(part[2])
	if err != nil {
		return false
	}
	sum := sha256.Sum256([]byte(part[0] + "." + part[1]))
	return rsa.VerifyPSS(key, crypto.SHA256, sum[:], signature, nil) == nil
}

// managedIdentity speaks as App Service does to what runs on it.
func (s *Server) managedIdentity(r *http.Request) *tokenAnswer {
	at := slices.IndexFunc(s.clients, func(c Client) bool {
		asked := r.URL.Query().Get("client_id")
		return c.Header != "" && c.Header == r.Header.Get("X-IDENTITY-HEADER") && (asked == "" || strings.EqualFold(asked, c.ID))
	})
	if at < 0 || len(s.tenants) == 0 {
		return &tokenAnswer{http.StatusBadRequest, map[string]any{"statusCode": 400, "message": "No managed identity found for the request."}}
	}
	home := ""
	for id := range s.tenants {
		if home == "" || id < home {
			home = id
		}
	}
	return &tokenAnswer{http.StatusOK, map[string]any{
		"access_token": s.Token(home), "token_type": "Bearer", "resource": r.URL.Query().Get("resource"),
		"expires_on": strconv.FormatInt(s.now().Unix()+3600, 10), "client_id": s.clients[at].ID,
	}}
}

func refuseToken(kind string, code int, message string) *tokenAnswer {
	status := http.StatusBadRequest
	if kind == "invalid_client" {
		status = http.StatusUnauthorized
	}
	return &tokenAnswer{status, map[string]any{
		"error": kind, "error_codes": []int{code},
		"error_description": "AADSTS" + strconv.Itoa(code) + ": " + message + " Trace ID: 00000000-0000-4000-8000-00000000f00d",
	}}
}
