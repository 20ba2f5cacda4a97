package bot

import (
	"context"
	"time"

	"rehome/policy"
)

// Directory is where apps and their owners are looked up. It only reads.
type Directory interface {
	// App looks an app up. A part that could not be read is a Gap of the entry and
	// no error. Errors are *LookupError. An entry may come from a cache, unless fresh
	// is set; ReadAt says when it was read.
	App(ctx context.Context, q AppQuery, fresh bool) (AppEntry, error)
}

// An AppQuery names an app. AppID, or else ServicePrincipalID, is required;
// TenantID and Cloud, where known, say which directory to ask. Without them
// every configured directory is asked in order.
type AppQuery struct {
	AppID              string
	ServicePrincipalID string
	TenantID           string
	Cloud              policy.Cloud
}

// An AppEntry is what a directory has about an app.
type AppEntry struct {
	Directory          string // the directory's name in the configuration, e.g. "PME"
	ReadAt             time.Time
	AppID              string
	ObjectID           string // of the application; "" where only the service principal is there
	ServicePrincipalID string
	DisplayName        string // untrusted
	OwnerOrg           string // appOwnerOrganizationId
	SignInAudience     string
	Owners             []OwnerEntry      // of the application
	PrincipalOwners    []OwnerEntry      // of the service principal
	Credentials        []CredentialEntry // of both
	Gaps               []Gap
}

// An OwnerEntry is one owner as the directory shows it. Mail and names are
// personal data: they serve to find the person in the chat and are neither kept
// nor logged.
type OwnerEntry struct {
	ID       string // object id
	Kind     OwnerKind
	Name     string
	Mail     string // "" when there is none or it may not be read
	UPN      string
	Guest    bool
	Disabled bool         // accountEnabled is false: the owner left
	Hidden   string       // the Graph permission that would show more, e.g. "User.Read.All"; "" when all was shown
	Members  []OwnerEntry // of a group, people only
}

// OwnerKind is what an owner is.
type OwnerKind string

const (
	UserOwner      OwnerKind = "user"
	PrincipalOwner OwnerKind = "servicePrincipal"
	GroupOwner     OwnerKind = "group"
	OtherOwner     OwnerKind = "other"
)

// A CredentialEntry is a credential's public properties.
type CredentialEntry struct {
	Type        string // certificate, clientSecret, federatedIdentityCredential
	On          string // application or servicePrincipal
	KeyID       string
	Thumbprint  string // upper-case hex of SHA-1 or SHA-256; "" for secrets
	DisplayName string
	Usage       string // Verify, Sign, Encrypt; "" for secrets
	Start, End  time.Time
	Issuer      string // of a federated credential
	Subject     string // of a federated credential
}

// A Gap is something a directory would not show.
type Gap struct {
	What       string // "owners of the application"
	Permission string // the Graph permission that is missing; "" when it is not a matter of permission
	Why        string // a code: "403", "timeout", "429"
}

// A LookupError is why an app could not be looked up.
type LookupError struct {
	Kind       LookupKind
	Directory  string
	Permission string        // Denied: the Graph permission to grant
	After      time.Duration // Busy: when to try again; 0 when not said
	Err        error         // never holds a token, an address with a query, or a mail address
}

// LookupKind tells apart what has to be done about a failed lookup.
type LookupKind int

const (
	NoSuchApp   LookupKind = iota // no directory that was asked has it
	Denied                        // a permission or a consent is missing
	Busy                          // throttled, unreachable or broken: later
	NoDirectory                   // none is configured for its tenant or cloud
)

func (k LookupKind) String() string {
	switch k {
	case NoSuchApp:
		return "the app is in no directory that was asked"
	case Denied:
		return "a permission is missing"
	case Busy:
		return "the directory does not answer now"
	case NoDirectory:
		return "no directory is configured for it"
	}
	return "unknown"
}

func (e *LookupError) Error() string {
	s := e.Kind.String()
	if e.Directory != "" {
		s = e.Directory + ": " + s
	}
	if e.Permission != "" {
		s += ": grant " + e.Permission
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *LookupError) Unwrap() error { return e.Err }
