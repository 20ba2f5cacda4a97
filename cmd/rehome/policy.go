package main

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"rehome/policy"
)

func (p *program) policyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "policy",
		Short: "The tables and playbooks in force",
		Long: `policy shows, checks and compares the files every decision is made from. They
are built in; a folder named by REHOME_POLICY (or policy: in rehome.yaml) lays its
own files over them.`,
		Example: `  rehome policy show 1P
  rehome policy check ./our-policy
  rehome policy diff ./our-policy`,
		Args: p.noSuchCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(p.policyShowCommand(), p.policyCheckCommand(), p.policyDiffCommand(), p.policyRouteCommand())
	return c
}

func (p *program) policyShowCommand() *cobra.Command {
	var format *choice
	c := &cobra.Command{
		Use:   "show [1P|3P|titles|playbooks|links|…]",
		Short: "Print a table, or the playbooks",
		Long: `show prints a policy file as it is in force. Without a name it prints the two
policy tables and lists what else there is.`,
		Example: `  rehome policy show
  rehome policy show 3P --format json
  rehome policy show playbooks/tenant-mismatch-1p-a`,
		Args: args(0, 1, "one name at most"),
		RunE: func(_ *cobra.Command, args []string) error {
			_, pol, err := p.configured()
			if err != nil {
				return err
			}
			return p.policyShow(pol, cmp.Or(append(args, "")...), format.value)
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return append(pagesOf(policy.Default().Files()), "playbooks"), cobra.ShellCompDirectiveNoFileComp
		},
	}
	format = choiceFlag(c, "format", "how to print it", "markdown", "json")
	return c
}

// page is a policy file without its ending: "1p", "playbooks/rotation".
func page(file string) string { return strings.TrimSuffix(file, path.Ext(file)) }

func pagesOf(files map[string][]byte) []string {
	var out []string
	for _, f := range slices.Sorted(maps.Keys(files)) {
		out = append(out, page(f))
	}
	return out
}

// policyShow prints the files that what names: all of them in a folder, one by
// its page, or the two policy tables for "".
func (p *program) policyShow(pol *policy.Policy, what, format string) error {
	files := pol.Files()
	var chosen []string
	for _, f := range slices.Sorted(maps.Keys(files)) {
		if strings.EqualFold(page(f), what) || strings.EqualFold(path.Dir(f), what) || strings.EqualFold(f, what) ||
			what == "" && (f == "1p.csv" || f == "3p.csv") {
			chosen = append(chosen, f)
		}
	}
	if len(chosen) == 0 {
		return wrong("there is no policy page %q; there are playbooks, %s", what, strings.Join(pagesOf(files), ", "))
	}
	if format == "json" {
		return p.policyJSON(pol, files, chosen)
	}
	v := pol.Version(p.now())
	fmt.Fprintf(p.out, "Policy %s (%s)\n", v.Version, v.Digest)
	if v.Stale != "" {
		fmt.Fprintf(p.out, "\n**%s**\n", v.Stale)
	}
	for _, f := range chosen {
		fmt.Fprintf(p.out, "\n## %s\n\n", f)
		if path.Ext(f) != ".csv" {
			fmt.Fprintf(p.out, "%s\n", bytes.TrimSpace(files[f]))
			continue
		}
		header, rows := table(files[f])
		printTable(p, header, rows)
	}
	if what == "" {
		fmt.Fprintf(p.out, "\nThere is more: rehome policy show playbooks, or one of %s.\n", strings.Join(pagesOf(files), ", "))
	}
	return nil
}

// policyJSON prints each table as a list of its rows by column, and each other
// file as its text.
func (p *program) policyJSON(pol *policy.Policy, files map[string][]byte, chosen []string) error {
	pages := map[string]any{}
	for _, f := range chosen {
		if path.Ext(f) != ".csv" {
			pages[f] = string(files[f])
			continue
		}
		header, rows := table(files[f])
		objects := []map[string]string{}
		for _, row := range rows {
			o := map[string]string{}
			for i, name := range header {
				o[name] = row[i]
			}
			objects = append(objects, o)
		}
		pages[f] = objects
	}
	return p.writeJSON(struct {
		Policy policy.Version `json:"policy"`
		Files  map[string]any `json:"files"`
	}{pol.Version(p.now()), pages})
}

// table reads a policy file that Load has already found sound.
func table(content []byte) (header []string, rows [][]string) {
	r := csv.NewReader(bytes.NewReader(content))
	r.Comment, r.TrimLeadingSpace = '#', true
	all, err := r.ReadAll()
	if err != nil || len(all) == 0 {
		return nil, nil // unreachable: the policy was loaded from it
	}
	return all[0], all[1:]
}

func printTable(p *program, header []string, rows [][]string) {
	line := func(cells []string) {
		fmt.Fprintf(p.out, "| %s |\n", strings.Join(cells, " | "))
	}
	line(header)
	line(slices.Repeat([]string{"---"}, len(header)))
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = strings.ReplaceAll(cell, "|", `\|`)
		}
		line(cells)
	}
}

func (p *program) policyCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check [DIR]",
		Short: "Say everything that is wrong with a policy folder",
		Long: `check reads a policy folder as the bot would and prints each problem as
file:line: what is wrong; what to do. Without DIR it checks the policy in force.
It exits with 1 when there is a problem.`,
		Example: `  rehome policy check ./our-policy`,
		Args:    args(0, 1, "one folder at most"),
		RunE:    func(_ *cobra.Command, args []string) error { return p.policyCheck(args) },
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
	}
}

func (p *program) policyCheck(args []string) error {
	dir, folder, err := p.policyDir(args)
	if err != nil {
		return err
	}
	pol, err := policy.Load(folder)
	if err != nil {
		problems := problemsOf(err)
		for _, line := range problems {
			fmt.Fprintln(p.out, filepath.Join(dir, line))
		}
		return fmt.Errorf("%s found in %s; nothing is used from it until they are fixed", count(len(problems), "problem"), dir)
	}
	v := pol.Version(p.now())
	where := "the built-in policy"
	if dir != "" {
		where = dir
	}
	fmt.Fprintf(p.out, "%s is sound: version %s, %s, %s, %s\n", where, v.Version,
		count(len(pol.Rows(policy.FirstParty))+len(pol.Rows(policy.ThirdParty)), "policy row"), count(len(pol.Titles()), "title"), v.Digest)
	if v.Stale != "" {
		fmt.Fprintln(p.out, v.Stale)
	}
	return nil
}

// policyDir is the folder named on the command line, or else the one in force;
// "" and nil for the built-in policy.
func (p *program) policyDir(args []string) (dir string, folder fs.FS, err error) {
	if len(args) == 1 {
		folder, err = policyFolder(args[0])
		return args[0], folder, err
	}
	s, err := p.settings()
	if err != nil || s.Policy == "" {
		return "", nil, err
	}
	if folder, err = policyFolder(s.Policy); err != nil {
		err = inForce(err)
	}
	return s.Policy, folder, err
}

func (p *program) policyDiffCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "diff [DIR]",
		Short: "Compare a policy folder with what is built in",
		Long: `diff prints, as a unified diff, what a policy folder changes of the built-in
policy. Without DIR it compares the folder in force.`,
		Example: `  rehome policy diff ./our-policy`,
		Args:    args(0, 1, "one folder at most"),
		RunE:    func(_ *cobra.Command, args []string) error { return p.policyDiff(args) },
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
	}
}

func (p *program) policyDiff(args []string) error {
	dir, folder, err := p.policyDir(args)
	if err != nil {
		return err
	}
	if folder == nil {
		return wrong("the built-in policy is in force, so there is nothing to compare; name a folder, as in: rehome policy diff ./our-policy")
	}
	builtIn := policy.Default().Files()
	same := true
	for _, f := range slices.Sorted(maps.Keys(builtIn)) {
		theirs, err := fs.ReadFile(folder, f)
		if err != nil {
			continue // not laid over, or unreadable, which check says
		}
		if d := diff.Diff("built-in/"+f, builtIn[f], filepath.Join(dir, f), theirs); len(d) > 0 {
			same = false
			_, _ = p.out.Write(d)
		}
	}
	if same {
		fmt.Fprintf(p.out, "%s changes nothing of the built-in policy\n", dir)
	}
	return nil
}

// count says how many of something there are.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
