package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
)

// A Violation is a finding in its canonical form (the JSON shape of the
// canonical schema; names follow Microsoft Graph where Graph has one). It holds
// what the source said, never key material: decoders drop that before a
// Violation exists.
type Violation struct {
	ID       string        `json:"id"` // stable in the source system; (Source.System, ID) is the dedupe key
	Source   ViolationFrom `json:"source"`
	Title    string        `json:"title"`
	Control  Control       `json:"control,omitzero"`
	Severity string        `json:"severity,omitempty"`
	Status   string        `json:"status,omitempty"` // active, resolved, dismissed, postponed, exempted
	Detected time.Time     `json:"detectedDateTime,omitzero"`
	Observed time.Time     `json:"lastObservedDateTime,omitzero"`
	Due      time.Time     `json:"dueDateTime,omitzero"`
	ETA      time.Time     `json:"etaDateTime,omitzero"`
	SLAState string        `json:"slaState,omitempty"`
	Owner    Owner         `json:"owner,omitzero"`
	Assignee Owner         `json:"assignee,omitzero"` // who it is assigned to, where that is somebody else
	Service  Service       `json:"service,omitzero"`
	App      App           `json:"app,omitzero"`
	Cred     Credential    `json:"credential,omitzero"`
	Fix      FixLinks      `json:"remediation,omitzero"`
	Handoff  Handoff       `json:"handoff,omitzero"`
}

// Over reports whether the source says that nothing is to be done any more.
func (v Violation) Over() bool {
	return v.Status == "resolved" || v.Status == "dismissed" || v.Status == "exempted"
}

// Nameless reports whether a violation names neither an app nor a credential.
// Some feeds report nothing more when a finding is over.
func (v Violation) Nameless() bool { return v.App == (App{}) && v.Cred == (Credential{}) }

// ViolationFrom names the system that found a violation.
type ViolationFrom struct {
	System string `json:"system,omitempty"` // s360, entra-recommendation, …, slack, other
	URL    string `json:"url,omitempty"`
}

// Control is the control a violation is a finding against.
type Control struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

// Owner is whom the source holds responsible. All of it is optional.
type Owner struct {
	Alias       string `json:"alias,omitempty"`
	Email       string `json:"email,omitempty"`
	SlackUserID string `json:"slackUserId,omitempty"`

	// Mark stands for an Email that was forgotten: 16 bits of its hash, as four
	// hexadecimal digits. They show whether the next alert names the same person,
	// and are too few to find out who that is.
	Mark string `json:"mark,omitempty"`
}

// Forgotten returns the owner with Mark in the place of Email.
func (o Owner) Forgotten() Owner {
	if o.Email != "" {
		sum := sha256.Sum256([]byte(strings.ToLower(o.Email)))
		o.Email, o.Mark = "", hex.EncodeToString(sum[:2])
	}
	return o
}

// Service is the service the app belongs to.
type Service struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

// App is the app registration at fault.
type App struct {
	AppID              string `json:"appId,omitempty"`
	ObjectID           string `json:"objectId,omitempty"`
	ServicePrincipalID string `json:"servicePrincipalObjectId,omitempty"`
	DisplayName        string `json:"displayName,omitempty"`
	TenantID           string `json:"tenantId,omitempty"`
	TenantName         string `json:"tenantName,omitempty"`
	OwnerOrg           string `json:"appOwnerOrganizationId,omitempty"`
	Cloud              string `json:"cloud,omitempty"`
	Authority          string `json:"authority,omitempty"` // a login or Graph address, evidence of the app's cloud
	Party              string `json:"party,omitempty"`
	SGOwnerTenant      string `json:"sgOwnerTenant,omitempty"`
	SecretCount        int    `json:"secretCount,omitempty"`
	CertCount          int    `json:"certCount,omitempty"`
	SecretsOnly        bool   `json:"secretsOnly,omitempty"`
}

// Credential is the certificate or secret at fault; public properties only.
type Credential struct {
	Type        string    `json:"type,omitempty"`
	KeyID       string    `json:"keyId,omitempty"`
	Thumbprint  string    `json:"thumbprint,omitempty"`
	SubjectName string    `json:"subjectName,omitempty"`
	Usage       string    `json:"usage,omitempty"`
	Start       time.Time `json:"startDateTime,omitzero"`
	End         time.Time `json:"endDateTime,omitzero"`
	Store       KeyStore  `json:"store,omitzero"`
}

// KeyStore is where a credential's private key lives.
type KeyStore struct {
	Type       string `json:"type,omitempty"` // KeyVault, dSMS, ManagedHSM, other
	URI        string `json:"uri,omitempty"`
	ResourceID string `json:"resourceId,omitempty"`
	TenantID   string `json:"tenantId,omitempty"`
	TenantName string `json:"tenantName,omitempty"`
	Cloud      string `json:"cloud,omitempty"`
}

// FixLinks are addresses the source gave for the fix.
type FixLinks struct {
	URL         string `json:"url,omitempty"`
	WorkItemURL string `json:"workItemUrl,omitempty"`
}

// Handoff is what assist-sg-update passes on when it hands a violation in
// (seed 000, "Cert-Move Option for SG Scenarios"). Option 1 is "update the
// security group", 2 "move the certificate"; 0 means no hand-off.
type Handoff struct {
	From        string            `json:"from,omitempty"`
	Option      int               `json:"option,omitempty"`
	ConfirmedBy string            `json:"confirmedBy,omitempty"`
	Confirmed   map[string]string `json:"confirmed,omitempty"` // fact name → value a person confirmed before the hand-off
}
