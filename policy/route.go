package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A RouteRule sends violations to a channel. A field that is empty fits every
// violation; all the others must fit. Words match in any case and spacing, and
// one that ends in * fits whatever begins like it.
type RouteRule struct {
	Service string `json:"service,omitempty"` // the service's id or name
	Tenant  string `json:"tenant,omitempty"`  // the app's tenant, or the one that owns its security group
	Cloud   string `json:"cloud,omitempty"`   // the app's: Public, Mooncake, Fairfax, or another word for them
	Title   string `json:"title,omitempty"`   // the violation's title or control
	Team    string `json:"team,omitempty"`    // alias or mail address of its owner or of who it is assigned to
	Channel string `json:"channel"`           // a channel id (C0123ABCD)
}

// Route returns the channel of the first rule that fits a violation, or other
// when none does, and why: "rule 2: the service is Contoso Ledger". A rule may
// name a cloud by every word that the policy has for it.
func (p *Policy) Route(rules []RouteRule, other string, v Violation, f Facts) (channel, why string) {
	for i, r := range rules {
		if because, fits := p.fits(r, v, f); fits {
			return r.Channel, fmt.Sprintf("rule %d: %s", i+1, strings.Join(because, ", "))
		}
	}
	if len(rules) == 0 {
		return other, "there are no routing rules"
	}
	return other, fmt.Sprintf("none of the %d routing rules fits", len(rules))
}

// CheckRoutes returns everything that is wrong with rules, joined. A bot does not
// start with a rule that could never do what it says.
func (p *Policy) CheckRoutes(rules []RouteRule) error {
	var errs []error
	wrong := func(i int, format string, args ...any) {
		errs = append(errs, fmt.Errorf("routing rule %d: "+format, append([]any{i + 1}, args...)...))
	}
	for i, r := range rules {
		bare := r
		bare.Channel = ""
		switch {
		case r.Channel == "":
			wrong(i, "it has no channel; give a channel id")
		case !channelForm(r.Channel):
			wrong(i, "%q is no channel id; copy it from the channel's details (C0123ABCD)", r.Channel)
		}
		if bare == (RouteRule{}) {
			wrong(i, "it asks for nothing and would take every violation; make its channel the default one")
		}
		if _, err := p.Canonical(AppCloud, r.Cloud); r.Cloud != "" && err != nil {
			wrong(i, "%w", err)
		}
		if slices.Contains(rules[:i], r) {
			wrong(i, "it is there twice")
		}
	}
	return errors.Join(errs...)
}

// channelForm reports whether a word looks like the id of a channel.
func channelForm(id string) bool {
	return len(id) >= 2 && len(id) <= 30 && (id[0] == 'C' || id[0] == 'G') &&
		strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == ""
}

// fits reports whether a rule fits a violation, and what made it fit, one phrase
// for each field of the rule that is not empty.
func (p *Policy) fits(r RouteRule, v Violation, f Facts) (because []string, fits bool) {
	for _, asked := range []struct {
		what, want string
		have       []string
	}{
		{"the service is", r.Service, []string{v.Service.ID, v.Service.Name}},
		{"the tenant is", r.Tenant, []string{f.Value(AppTenant), f.Value(SGOwner), v.App.TenantID}},
		{"the cloud is", p.cloudOf(r.Cloud), []string{f.Value(AppCloud)}},
		{"the title is", r.Title, []string{f.Value(Violated), v.Title, v.Control.ID, v.Control.Name}},
		{"it is with", r.Team, []string{v.Owner.Alias, v.Owner.Email, v.Assignee.Alias, v.Assignee.Email}},
	} {
		if asked.want == "" {
			continue
		}
		i := slices.IndexFunc(asked.have, func(have string) bool { return like(have, asked.want) })
		if i < 0 {
			return nil, false
		}
		because = append(because, asked.what+" "+clean(asked.have[i]))
	}
	return because, len(because) > 0
}

// like reports whether have is what a rule wants: the same in any case and
// spacing, or the same beginning where want ends in *.
func like(have, want string) bool {
	if begin, ok := strings.CutSuffix(clean(want), "*"); ok {
		return have != "" && strings.HasPrefix(key(have), key(begin))
	}
	return have != "" && key(have) == key(want)
}

// cloudOf returns a cloud as the tables spell it, or the word itself.
func (p *Policy) cloudOf(word string) string {
	if word == "" {
		return ""
	}
	if cloud, err := p.Canonical(AppCloud, word); err == nil {
		return cloud
	}
	return word
}
