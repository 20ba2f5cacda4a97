package entra

import (
	"context"
	"sync"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoft/kiota-abstractions-go/serialization"
	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/models/odataerrors"

	"rehome/bot"
)

// A Check is what one directory lets the bot do.
type Check struct {
	Directory string
	Missing   []string // permissions to grant, for which an administrator has to consent
	Err       error    // why it could not be found out: the sign-in, the way there; may be shown
}

// nobody is an id that no object has. Graph judges the permission first, so that
// asking for it tells whether one may ask, and nothing else.
const nobody = "00000000-0000-0000-0000-000000000000"

var probes = []struct{ permission, path string }{
	{applicationRead, "{+baseurl}/applications/" + nobody + "{?%24select}"},
	{userRead, "{+baseurl}/users/" + nobody + "{?%24select}"},
	{groupMemberRead, "{+baseurl}/groups/" + nobody + "/transitiveMembers{?%24select}"},
}

// Check signs in to each directory and asks whether it may read what a look-up
// reads. It reads nothing.
func (d *Directory) Check(ctx context.Context) []Check {
	all := make([]Check, len(d.tenants))
	var wg sync.WaitGroup
	for i, t := range d.tenants {
		wg.Go(func() { all[i] = t.check(ctx) })
	}
	wg.Wait()
	return all
}

func (t *tenant) check(ctx context.Context) Check {
	c := Check{Directory: t.name}
	for _, p := range probes {
		_, r := ask(ctx, t, p.permission, func(ctx context.Context) (serialization.Parsable, error) {
			ri := abstractions.NewRequestInformationWithMethodAndUrlTemplateAndPathParameters(abstractions.GET, p.path, map[string]string{})
			ri.QueryParameters["%24select"] = "id"
			ri.Headers.TryAdd("Accept", "application/json")
			return t.adapter.Send(ctx, ri, models.CreateDirectoryObjectFromDiscriminatorValue,
				abstractions.ErrorMappings{"XXX": odataerrors.CreateODataErrorFromDiscriminatorValue})
		})
		switch {
		case r == nil || r.kind == bot.NoSuchApp:
		case r.kind == bot.Denied && r.permission != "":
			c.Missing = append(c.Missing, r.permission)
		default:
			c.Err = r
			return c
		}
	}
	return c
}
