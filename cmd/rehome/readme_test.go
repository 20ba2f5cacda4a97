package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	readmeLink    = regexp.MustCompile(`\]\(([^)#:]+)\)`)
	readmeCommand = regexp.MustCompile("(?m)^ *(?:go run \\./cmd/rehome|rehome) ([a-z]+)|`rehome ([a-z]+)")
)

// TestReadmeNamesWhatExists resolves every path and every command the README
// names, so that it cannot drift from the tree.
func TestReadmeNamesWhatExists(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	links := readmeLink.FindAllStringSubmatch(string(text), -1)
	if len(links) < 10 {
		t.Fatalf("only %d links found: is the pattern still right?", len(links))
	}
	for _, m := range links {
		if _, err := os.Stat(filepath.Join("..", "..", filepath.FromSlash(m[1]))); err != nil {
			t.Errorf("the README links to %s: %v", m[1], err)
		}
	}
	dir, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	for _, f := range dir {
		if strings.HasSuffix(f.Name(), ".go") && !strings.HasSuffix(f.Name(), "_test.go") {
			b, err := os.ReadFile(f.Name())
			if err != nil {
				t.Fatal(err)
			}
			source.Write(b)
		}
	}
	for _, m := range readmeCommand.FindAllStringSubmatch(string(text), -1) {
		if name := m[1] + m[2]; !strings.Contains(source.String(), `"`+name+" ") && !strings.Contains(source.String(), `"`+name+`"`) {
			t.Errorf("the README names the command %q, which the program does not have", name)
		}
	}
}
