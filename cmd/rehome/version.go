package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"rehome/policy"
)

func (p *program) versionCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "version",
		Short: "Which rehome, which Go, and which policy",
		Long: `version prints which rehome this is, the Go it was built with, and the policy that
the settings name, with the digest that every reply bears.`,
		Example: `  rehome version
  rehome version --config /etc/rehome/rehome.yaml --format json | jq -r .policy.digest`,
		Args: args(0, 0, "no words"),
	}
	format := choiceFlag(c, "format", "how to print it", "text", "json")
	c.RunE = func(*cobra.Command, []string) error {
		_, pol, err := p.configured()
		if err != nil {
			return err
		}
		return p.version(pol.Version(p.now()), format.value)
	}
	return c
}

func (p *program) version(v policy.Version, format string) error {
	module, revision := built()
	if format == "json" {
		return p.writeJSON(struct {
			Version  string         `json:"version"`
			Revision string         `json:"revision"`
			Go       string         `json:"go"`
			Policy   policy.Version `json:"policy"`
		}{module, revision, runtime.Version(), v})
	}
	fmt.Fprintf(p.out, "rehome %s\n", module)
	if revision != "" {
		fmt.Fprintf(p.out, "commit %s\n", revision)
	}
	_, err := fmt.Fprintf(p.out, "%s %s/%s\npolicy %s %s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, v.Version, v.Digest)
	return err
}

// built returns what the Go tool wrote down when it built the program.
func built() (module, revision string) {
	b, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown)", ""
	}
	dirty := ""
	for _, s := range b.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = " with changes"
		}
	}
	if revision != "" {
		revision += dirty
	}
	return cmp.Or(b.Main.Version, "(devel)"), revision
}
