// Package graph is a fake Microsoft Graph over directories in memory, and the
// token endpoint that goes with it. The real SDK pointed at its address cannot
// tell the difference where it matters: the same routes, the same shapes, the
// same errors, and the same silence about what a caller may not see.
//
//	g, err := graph.New(graph.Config{Tenants: []graph.Tenant{…}})
//	srv := httptest.NewServer(g)     // GRAPH_BASE_URL is srv.URL, without a version
//	token := g.Token(tenantID)       // or ask /TENANT/oauth2/v2.0/token (needs https)
//
// It only reads, like everything that asks it. What is served:
//
//	/v1.0/applications            ?$filter=appId eq '…', (appId='…'), /ID, /ID/owners, /ID/federatedIdentityCredentials
//	/v1.0/servicePrincipals       ?$filter=appId eq '…', (appId='…'), /ID, /ID/owners
//	/v1.0/groups/ID               /members, /transitiveMembers
//	/v1.0/users/ID
//	/TENANT/v2.0/.well-known/openid-configuration, /TENANT/oauth2/v2.0/token, /msi/token, /common/discovery/instance
//
// $select, $filter, $top and paging with @odata.nextLink work as far as these
// routes are used, and anything else is refused as Graph would. A tenant's token
// sees that tenant only.
//
// # Permissions
//
// Each tenant grants application permissions by name ([Server.Grant],
// [Server.Revoke]). Without Application.Read.All every route answers 403;
// without GroupMember.Read.All a group's members do. An object whose kind may
// not be read is still listed, but bare: its type and id, every other property
// null. That is what Graph calls limited information for inaccessible members.
//
// # What goes wrong on purpose
//
// [Server.Break] decides for each request whether it fails and how: a status
// with Graph's own error, a body as it stands, no answer, a broken connection.
// [Server.Requests] is what was asked.
package graph

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// The permissions that the routes look at. Directory.Read.All includes all.
const (
	ApplicationRead = "Application.Read.All"
	UserRead        = "User.Read.All"
	GroupMemberRead = "GroupMember.Read.All"
	DirectoryRead   = "Directory.Read.All"
)

// A Config is what a server serves.
type Config struct {
	Tenants []Tenant
	Clients []Client         // who may have tokens of the token endpoint
	Now     func() time.Time // nil: time.Now
	Page    int              // objects on a page where the request does not say; 0: 100, Graph's default
}

// A Tenant is one directory. Ids are GUIDs, and unique within a tenant.
type Tenant struct {
	ID           string
	Name         string
	Applications []Application
	Principals   []Principal
	Users        []User
	Groups       []Group
	Permissions  []string // nil: everything that is looked at
}

// An Application is an app registration.
type Application struct {
	ID, AppID, DisplayName string
	SignInAudience         string   // "" is AzureADMyOrg
	Owners                 []string // ids of users, principals or groups, or of nothing known: then bare
	Keys                   []Key
	Secrets                []Secret
	Federated              []Federated
}

// A Principal is a service principal.
type Principal struct {
	ID, AppID, DisplayName string
	OwnerTenant            string // appOwnerOrganizationId; "" is this tenant
	Owners                 []string
	Keys                   []Key
	Secrets                []Secret
}

// A User is a person. UPN "" is the mail address.
type User struct {
	ID, DisplayName, Mail, UPN string
	Guest, Disabled            bool
}

// A Group has members, which may be groups.
type Group struct {
	ID, DisplayName string
	Members         []string
}

// A Key is a key credential.
type Key struct {
	ID, DisplayName string
	Thumbprint      string // hex
	Identifier      string // customKeyIdentifier as it goes over the wire; "" is Thumbprint's bytes in base64
	Usage           string // "" is Verify
	Start, End      time.Time
}

// A Secret is a password credential. Its text is nowhere.
type Secret struct {
	ID, DisplayName, Hint string
	Start, End            time.Time
}

// A Federated is a federated identity credential.
type Federated struct {
	ID, Name, Issuer, Subject string
	Audiences                 []string // nil is api://AzureADTokenExchange
}

// A Request is one that was served, without its token.
type Request struct {
	Method string
	Path   string
	Query  string
	Tenant string // of the token; "" without a valid one
	Status int    // 0 where no answer was given
}

// A Fault is what happens instead of the answer. The zero Fault is none.
type Fault struct {
	Status     int               // answered with Graph's own error, or with Body
	Code       string            // Graph's error code; "" is the usual one of Status
	RetryAfter string            // header
	Header     map[string]string // further headers
	Raw        bool              // Body and Type as they stand, even empty
	Type, Body string
	Hang       bool // no answer until the client gives up
	Drop       bool // the connection breaks
}

// A Server is a fake Graph. It is an http.Handler, safe for many goroutines.
type Server struct {
	clients []Client
	now     func() time.Time
	page    int

	mu       sync.Mutex
	tenants  map[string]*tenant
	fault    func(Request) Fault
	requests []Request
	served   int
}

// tenant is a Tenant with its objects found by id.
type tenant struct {
	Tenant
	objects map[string]object
	granted map[string]bool
}

var guid = regexp.MustCompile(`^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$`)

// New checks a configuration and returns a server for it.
func New(c Config) (*Server, error) {
	s := &Server{clients: c.Clients, now: c.Now, page: c.Page, tenants: map[string]*tenant{}}
	if s.now == nil {
		s.now = time.Now
	}
	if s.page == 0 {
		s.page = 100
	}
	for _, t := range c.Tenants {
		if !guid.MatchString(t.ID) {
			return nil, fmt.Errorf("graph: tenant %q: the id %q is not a GUID", t.Name, t.ID)
		}
		in, err := index(t)
		if err != nil {
			return nil, fmt.Errorf("graph: tenant %q: %w", t.Name, err)
		}
		s.tenants[strings.ToLower(t.ID)] = in
	}
	return s, nil
}

func index(t Tenant) (*tenant, error) {
	in := &tenant{Tenant: t, objects: map[string]object{}, granted: map[string]bool{}}
	if t.Permissions == nil {
		t.Permissions = []string{ApplicationRead, UserRead, GroupMemberRead}
	}
	for _, p := range t.Permissions {
		in.granted[p] = true
	}
	var objects []object
	for _, a := range t.Applications {
		objects = append(objects, a.object())
	}
	for _, p := range t.Principals {
		objects = append(objects, p.object(t.ID))
	}
	for _, u := range t.Users {
		objects = append(objects, u.object())
	}
	for _, g := range t.Groups {
		objects = append(objects, g.object())
	}
	for _, o := range objects {
		id := o.id()
		if !guid.MatchString(id) {
			return nil, fmt.Errorf("%s: the id %q is not a GUID", o.kind, id)
		}
		if _, twice := in.objects[id]; twice {
			return nil, fmt.Errorf("the id %s is there twice", id)
		}
		in.objects[id] = o
	}
	return in, nil
}

// Token is the access token that sees a tenant. It is worth nothing anywhere
// else.
func (s *Server) Token(tenantID string) string { return tokenPrefix + strings.ToLower(tenantID) }

const tokenPrefix = "sandbox."

// Grant gives a tenant's callers a permission.
func (s *Server) Grant(tenantID, permission string) { s.permit(tenantID, permission, true) }

// Revoke takes a permission away.
func (s *Server) Revoke(tenantID, permission string) { s.permit(tenantID, permission, false) }

func (s *Server) permit(tenantID, permission string, yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tenants[strings.ToLower(tenantID)]; t != nil {
		t.granted[permission] = yes
	}
}

// Break sets what decides about faults; nil means none. It is called once for
// each request, before anything is looked at, by many goroutines at once.
func (s *Server) Break(fault func(Request) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// Requests is what was asked so far, in the order of the answers.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t := s.tenantOf(r)
	asked := Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery}
	if t != nil {
		asked.Tenant = t.ID
	}
	if f := s.faultFor(asked); f.broken() {
		asked.Status = f.Status
		s.note(asked)
		s.fail(w, r, f)
		return
	}
	if token := s.tokenRoute(r); token != nil {
		asked.Status = token.write(w)
		s.note(asked)
		return
	}
	a := s.answer(r, t)
	asked.Status = a.status
	s.note(asked)
	s.write(w, r, a)
}

func (f Fault) broken() bool { return f.Status != 0 || f.Raw || f.Hang || f.Drop }

func (s *Server) faultFor(r Request) Fault {
	s.mu.Lock()
	fault := s.fault
	s.mu.Unlock()
	if fault == nil {
		return Fault{}
	}
	return fault(r)
}

func (s *Server) note(r Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r)
}

// fail does what a fault says.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, f Fault) {
	switch {
	case f.Hang:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case f.Drop:
		panic(http.ErrAbortHandler)
	}
	for name, value := range f.Header {
		w.Header().Set(name, value)
	}
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	if !f.Raw {
		a := refuse(f.Status, f.Code, "This answer was ordered.")
		s.write(w, r, a)
		return
	}
	if f.Type != "" {
		w.Header().Set("Content-Type", f.Type)
	}
	if f.Status == 0 {
		f.Status = http.StatusOK
	}
	w.WriteHeader(f.Status)
	_, _ = w.Write([]byte(f.Body)) // a client that has gone away misses nothing
}

// tenantOf reads the bearer token.
func (s *Server) tenantOf(r *http.Request) *tenant {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return nil
	}
	id, ok := strings.CutPrefix(token, tokenPrefix)
	if !ok {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tenants[id]
}

// wire is a thumbprint as customKeyIdentifier carries it.
func (k Key) wire() any {
	if k.Identifier != "" {
		return k.Identifier
	}
	b, err := hex.DecodeString(k.Thumbprint)
	if err != nil || len(b) == 0 {
		return nil
	}
	return base64.StdEncoding.EncodeToString(b)
}
