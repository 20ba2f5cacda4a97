package entra

import (
	"encoding/hex"
	"strings"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/models"

	"rehome/bot"
)

// held is what applications and service principals have in common.
type held interface {
	GetKeyCredentials() []models.KeyCredentialable
	GetPasswordCredentials() []models.PasswordCredentialable
}

// credentials returns the public properties of an object's keys and passwords.
func credentials(on string, of held) []bot.CredentialEntry {
	var all []bot.CredentialEntry
	for _, k := range of.GetKeyCredentials() {
		if k == nil {
			continue
		}
		c := bot.CredentialEntry{Type: "certificate", On: on, DisplayName: str(k.GetDisplayName()), Usage: str(k.GetUsage()),
			Thumbprint: thumbprint(k.GetCustomKeyIdentifier()), Start: at(k.GetStartDateTime()), End: at(k.GetEndDateTime())}
		if id := k.GetKeyId(); id != nil {
			c.KeyID = id.String()
		}
		if strings.EqualFold(str(k.GetTypeEscaped()), "Symmetric") { // a shared key: a secret by another name
			c.Type, c.Usage, c.Thumbprint = "clientSecret", "", ""
		}
		all = append(all, c)
	}
	for _, p := range of.GetPasswordCredentials() {
		if p == nil {
			continue
		}
		c := bot.CredentialEntry{Type: "clientSecret", On: on, DisplayName: str(p.GetDisplayName()), Start: at(p.GetStartDateTime()), End: at(p.GetEndDateTime())}
		if id := p.GetKeyId(); id != nil {
			c.KeyID = id.String()
		}
		all = append(all, c)
	}
	return all
}

func federated(f models.FederatedIdentityCredentialable) bot.CredentialEntry {
	return bot.CredentialEntry{Type: "federatedIdentityCredential", On: "application", KeyID: str(f.GetId()),
		DisplayName: str(f.GetName()), Issuer: str(f.GetIssuer()), Subject: str(f.GetSubject())}
}

// thumbprint returns a SHA-1 or SHA-256 in upper-case hex, or "" for anything else,
// because customKeyIdentifier may hold whatever somebody chose.
func thumbprint(b []byte) string {
	if len(b) != 20 && len(b) != 32 {
		return ""
	}
	return strings.ToUpper(hex.EncodeToString(b))
}

func str(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func at(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}
