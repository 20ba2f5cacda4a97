package graph

import (
	"strings"
	"time"
)

// Objects as Graph writes them. An object has every property that the fake
// knows of its kind; what a request sees of them is decided in answers.go.

// An object is a directory object.
type object struct {
	kind       string // application, servicePrincipal, user, group
	properties map[string]any
	usual      []string // what Graph shows when nothing is selected
	members    []string // of a group: ids
	owners     []string // of an application or a principal: ids
	federated  []Federated
}

func (o object) id() string { s, _ := o.properties["id"].(string); return s }

func (o object) appID() string { s, _ := o.properties["appId"].(string); return s }

func (a Application) object() object {
	audience := a.SignInAudience
	if audience == "" {
		audience = "AzureADMyOrg"
	}
	return object{kind: "application", owners: a.Owners, federated: a.Federated, properties: map[string]any{
		"id": a.ID, "appId": a.AppID, "displayName": a.DisplayName, "signInAudience": audience, "deletedDateTime": nil,
		"keyCredentials": keys(a.Keys), "passwordCredentials": secrets(a.Secrets),
	}}
}

func (p Principal) object(tenant string) object {
	if p.OwnerTenant == "" {
		p.OwnerTenant = tenant
	}
	return object{kind: "servicePrincipal", owners: p.Owners, properties: map[string]any{
		"id": p.ID, "appId": p.AppID, "displayName": p.DisplayName, "appDisplayName": p.DisplayName, "deletedDateTime": nil,
		"accountEnabled": true, "appOwnerOrganizationId": p.OwnerTenant, "servicePrincipalType": "Application",
		"signInAudience": "AzureADMultipleOrgs", "keyCredentials": keys(p.Keys), "passwordCredentials": secrets(p.Secrets),
	}}
}

func (u User) object() object {
	kind, upn := "Member", u.UPN
	if u.Guest {
		kind = "Guest"
	}
	if upn == "" {
		upn = u.Mail
	}
	return object{kind: "user", properties: map[string]any{
		"id": u.ID, "displayName": u.DisplayName, "mail": orNull(u.Mail), "userPrincipalName": upn, "deletedDateTime": nil,
		"accountEnabled": !u.Disabled, "userType": kind, "jobTitle": nil,
	}, usual: []string{"id", "displayName", "mail", "userPrincipalName", "jobTitle"}}
}

func (g Group) object() object {
	return object{kind: "group", members: g.Members, properties: map[string]any{
		"id": g.ID, "displayName": g.DisplayName, "mail": nil, "securityEnabled": true, "deletedDateTime": nil,
	}}
}

// bare is an object of which only type and id may be seen.
func (o object) bare() object {
	shown := map[string]any{}
	for name := range o.properties {
		shown[name] = nil
	}
	shown["id"] = o.properties["id"]
	o.properties = shown
	return o
}

func keys(ks []Key) []any {
	list := []any{}
	for _, k := range ks {
		usage := k.Usage
		if usage == "" {
			usage = "Verify"
		}
		list = append(list, map[string]any{
			"customKeyIdentifier": k.wire(), "displayName": orNull(k.DisplayName), "keyId": k.ID, "type": "AsymmetricX509Cert", "usage": usage,
			"startDateTime": moment(k.Start), "endDateTime": moment(k.End), "key": nil,
		})
	}
	return list
}

func secrets(ss []Secret) []any {
	list := []any{}
	for _, s := range ss {
		list = append(list, map[string]any{
			"customKeyIdentifier": nil, "displayName": orNull(s.DisplayName), "keyId": s.ID, "hint": orNull(s.Hint), "secretText": nil,
			"startDateTime": moment(s.Start), "endDateTime": moment(s.End),
		})
	}
	return list
}

func federated(fs []Federated) []map[string]any {
	list := []map[string]any{}
	for _, f := range fs {
		audiences := f.Audiences
		if audiences == nil {
			audiences = []string{"api://AzureADTokenExchange"}
		}
		list = append(list, map[string]any{
			"id": f.ID, "name": f.Name, "issuer": f.Issuer, "subject": f.Subject, "audiences": audiences, "description": nil,
		})
	}
	return list
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func moment(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

// typeName is @odata.type's value for a kind.
func typeName(kind string) string { return "#microsoft.graph." + strings.TrimPrefix(kind, "#") }
