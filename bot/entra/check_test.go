package entra

import (
	"strings"
	"testing"

	"rehome/bot/sandbox/graph"
)

// A directory that lacks a permission names it, and one that refuses the sign-in
// says so; the others are asked all the same.
func TestCheckNamesWhatEachDirectoryLacks(t *testing.T) {
	for name, c := range map[string]struct {
		granted []string
		missing string
	}{
		"everything":      {[]string{graph.ApplicationRead, graph.UserRead, graph.GroupMemberRead}, ""},
		"all of it":       {[]string{graph.DirectoryRead}, ""},
		"no people":       {[]string{graph.ApplicationRead, graph.GroupMemberRead}, "User.Read.All"},
		"people alone":    {[]string{graph.UserRead}, "Application.Read.All GroupMember.Read.All"},
		"nothing granted": {[]string{}, "Application.Read.All User.Read.All GroupMember.Read.All"},
	} {
		t.Run(name, func(t *testing.T) {
			r := overLoopback(t, func(_ *Config, g *graph.Config) { g.Tenants[0].Permissions = c.granted })
			all := r.Check(t.Context())
			if len(all) != 2 || all[0].Directory != r.Names()[0] || strings.Join(all[0].Missing, " ") != c.missing || all[0].Err != nil || all[1].Missing != nil {
				t.Errorf("it says %+v", all)
			}
		})
	}
}

func TestCheckSaysWhyADirectoryCannotBeAsked(t *testing.T) {
	r := overLoopback(t, nil)
	r.tenants[1].adapter.SetBaseUrl("http://127.0.0.1:1/v1.0")
	all := r.Check(t.Context())
	if all[0].Err != nil || all[1].Err == nil || strings.Contains(all[1].Err.Error(), "Bearer") {
		t.Errorf("it says %+v", all)
	}
}
