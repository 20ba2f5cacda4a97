package entra

import (
	"context"
	"net/http"
	"strings"

	"github.com/microsoftgraph/msgraph-sdk-go/models"

	"rehome/bot"
)

// The permissions that a look-up is about.
const (
	applicationRead = "Application.Read.All"
	userRead        = "User.Read.All"
	groupMemberRead = "GroupMember.Read.All"
)

// ownerSelect is what is asked of directory objects of any kind. userType and
// accountEnabled are not among what Graph shows unasked.
var ownerSelect = []string{"id", "displayName", "userPrincipalName", "mail", "userType", "accountEnabled", "appId"}

// A page is one page of directory objects.
type page = models.DirectoryObjectCollectionResponseable

// A list is a collection of directory objects: its first page, with or without
// $select, and the page behind a link.
type list struct {
	what       string
	permission string
	first      func(ctx context.Context, selected []string) (page, error)
	next       func(ctx context.Context, link string) (page, error)
}

// mostPages bounds the pages of a list; Graph may send empty ones in between.
const mostPages = 50

// read returns a list's objects as owners, and a gap when some are missing.
func (t *tenant) read(ctx context.Context, l list) ([]bot.OwnerEntry, []bot.Gap) {
	p, r := ask(ctx, t, l.permission, func(ctx context.Context) (page, error) { return l.first(ctx, ownerSelect) })
	if r != nil && r.status == http.StatusBadRequest { // an object is of a kind that does not have a selected property
		p, r = ask(ctx, t, l.permission, func(ctx context.Context) (page, error) { return l.first(ctx, nil) })
	}
	var found []bot.OwnerEntry
	seen := map[string]bool{}
	for {
		if r != nil {
			return found, []bot.Gap{r.gap(l.what)}
		}
		for _, o := range p.GetValue() {
			if len(found) == t.maxOwners {
				return found, []bot.Gap{{What: l.what, Why: "too many"}}
			}
			if o != nil {
				found = append(found, owner(o))
			}
		}
		link := str(p.GetOdataNextLink())
		switch {
		case link == "":
			return found, nil
		case seen[link] || len(seen) == mostPages:
			return found, []bot.Gap{{What: l.what, Why: "pages without end"}}
		}
		seen[link] = true
		p, r = ask(ctx, t, l.permission, func(ctx context.Context) (page, error) { return l.next(ctx, link) })
	}
}

// owner makes an owner of a directory object. Graph shows an object whose kind we
// may not read by type and id only; then Hidden names the permission.
// https://learn.microsoft.com/graph/permissions-overview#limited-information-returned-for-inaccessible-member-objects
func owner(o models.DirectoryObjectable) bot.OwnerEntry {
	e := bot.OwnerEntry{ID: str(o.GetId()), Kind: bot.OtherOwner}
	hidden := ""
	switch o := o.(type) {
	case models.Userable:
		e.Kind, hidden = bot.UserOwner, userRead
		e.Name, e.Mail, e.UPN = str(o.GetDisplayName()), str(o.GetMail()), str(o.GetUserPrincipalName())
		e.Guest = strings.EqualFold(str(o.GetUserType()), "Guest") || strings.Contains(strings.ToUpper(e.UPN), "#EXT#")
		e.Disabled = o.GetAccountEnabled() != nil && !*o.GetAccountEnabled()
	case models.ServicePrincipalable:
		e.Kind, hidden = bot.PrincipalOwner, applicationRead
		e.Name = str(o.GetDisplayName())
	case models.Groupable:
		e.Kind, hidden = bot.GroupOwner, groupMemberRead
		e.Name = str(o.GetDisplayName())
	default: // a kind that is newer than the SDK
		if name, ok := o.GetAdditionalData()["displayName"].(*string); ok {
			e.Name = str(name)
		}
	}
	if e.Name == "" && e.Mail == "" && e.UPN == "" {
		e.Hidden = hidden
	}
	return e
}

// people returns the users among owners.
func people(owners []bot.OwnerEntry) []bot.OwnerEntry {
	var users []bot.OwnerEntry
	for _, o := range owners {
		if o.Kind == bot.UserOwner {
			users = append(users, o)
		}
	}
	return users
}
