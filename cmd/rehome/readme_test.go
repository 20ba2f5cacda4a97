package main

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/spf13/cobra"
)

// The README and the pages of deploy/ name files, headings, commands and flags.
// These tests hold them to what there is, so that they cannot drift from it.

// pages are the Markdown files that people read on their way through the
// repository, by their path from its root. Policy files and what tests read are
// written in Markdown as well, and are no pages.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	root := os.DirFS(filepath.Join("..", ".."))
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules" || d.Name() == "testdata" || name == "policy/data"):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".md":
			return nil
		}
		content, err := fs.ReadFile(root, name)
		all[name] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if all["README.md"] == "" || all["deploy/README.md"] == "" {
		t.Fatalf("the pages are not found: only %d are", len(all))
	}
	return all
}

var (
	fence   = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	inline  = regexp.MustCompile("`[^`\n]+`")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
)

// anchors are what a page's headings can be linked to as, in the way of GitHub:
// letters, digits and dashes in lower case, and a dash for each space.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		all[strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, m[1])] = true
	}
	return all
}

// Every link from a page to something in the repository leads to a file or folder
// that is there and, behind a #, to a heading of it.
func TestReadmeAndItsPagesLeadSomewhere(t *testing.T) {
	all, count := pages(t), 0
	for page, text := range all {
		prose := inline.ReplaceAllString(fence.ReplaceAllString(text, ""), "")
		for _, m := range link.FindAllStringSubmatch(prose, -1) {
			to, at, anchored := strings.Cut(m[1], "#")
			if strings.Contains(to, ":") {
				continue // an address of the world
			}
			count++
			target := page
			if to != "" {
				target = path.Join(path.Dir(page), to)
			}
			if _, err := os.Stat(filepath.Join("..", "..", filepath.FromSlash(target))); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
			} else if anchored && !anchors(all[target])[at] {
				t.Errorf("%s links to %s, and %s has no such heading", page, m[1], target)
			}
		}
	}
	if count < 40 {
		t.Errorf("only %d links are found: is the pattern still right?", count)
	}
}

// A command as a page writes it: in a fence or between backticks, the words and
// flags behind the program's name. In Slack there is a slash before that.
var commandLine = regexp.MustCompile("(?m)(?:^|[\\s`]|[^\\s`]/)rehome((?: +[a-z][a-z-]*)+)([^`\n&|;#]*)")

// Every command that a page shows exists, and so does every flag it is shown with.
func TestReadmeAndItsPagesNameCommandsThatExist(t *testing.T) {
	root, count := (&program{}).root(), 0
	for page, text := range pages(t) {
		text = strings.ReplaceAll(text, "\\\n", " ")
		code := append(fence.FindAllString(text, -1), inline.FindAllString(fence.ReplaceAllString(text, ""), -1)...)
		for _, m := range commandLine.FindAllStringSubmatch(strings.Join(code, "\n"), -1) {
			count++
			c, _, err := root.Find(strings.Fields(m[1]))
			if err != nil || c == root {
				t.Errorf("%s names the command %q, which the program does not have", page, "rehome"+m[1])
				continue
			}
			for word := range strings.FieldsSeq(m[1] + m[2]) {
				if name, is := strings.CutPrefix(word, "--"); is && !takes(c, name) {
					t.Errorf("%s shows %s with --%s, which it does not take", page, c.CommandPath(), name)
				}
			}
		}
	}
	if count < 50 {
		t.Errorf("only %d commands are found: is the pattern still right?", count)
	}
}

// takes reports whether a command takes a flag, its own or one of all commands.
func takes(c *cobra.Command, flag string) bool {
	c.InitDefaultHelpFlag()
	flag, _, _ = strings.Cut(flag, "=")
	return c.Flags().Lookup(flag) != nil || c.InheritedFlags().Lookup(flag) != nil
}
