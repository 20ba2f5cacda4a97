package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// arrows says which room may know which. A room that is not listed may know
// nothing, so that adding one is a decision. "std" is always allowed.
var arrows = map[string][]string{
	"policy":                {},
	"conversation":          {"rehome/policy"},
	"store":                 {"rehome/conversation", "rehome/policy"},
	"store/storetest":       {"rehome/store", "rehome/conversation", "rehome/policy", "github.com/google/go-cmp"},
	"store/bolt":            {"rehome/store", "rehome/conversation", "rehome/policy", "go.etcd.io/bbolt"},
	"bot":                   {"rehome/conversation", "rehome/policy", "rehome/store"},
	"bot/slackapp":          {"rehome/bot", "rehome/conversation", "rehome/policy", "github.com/slack-go/slack", "github.com/gorilla/websocket", "golang.org/x/sync", "golang.org/x/time"},
	"bot/intake":            {"rehome/bot", "rehome/conversation", "rehome/policy"},
	"bot/intake/entratoken": {"rehome/bot/intake", "github.com/coreos/go-oidc"},
	"bot/entra":             {"rehome/bot", "rehome/conversation", "rehome/policy", "github.com/microsoftgraph", "github.com/microsoft", "github.com/Azure/azure-sdk-for-go", "golang.org/x/sync", "golang.org/x/time"},
	"bot/sandbox":           {"github.com/gorilla/websocket"},
	"bot/sandbox/graph":     {},
	"cmd/rehome":            {"*"},
}

// leaves may be imported by one room only: what touches the outside stays at
// the edge.
var leaves = map[string]string{
	"go.etcd.io/bbolt":                                 "store/bolt",
	"github.com/slack-go/slack":                        "bot/slackapp",
	"github.com/coreos/go-oidc":                        "bot/intake/entratoken",
	"github.com/microsoftgraph":                        "bot/entra",
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity": "bot/entra",
}

// TestArrows fails when a room imports what it must not know.
func TestArrows(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := map[string]bool{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, file)
		if d.IsDir() {
			if rel != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		room := path.Dir(filepath.ToSlash(rel))
		seen[room] = true
		allowed, listed := arrows[room]
		if !listed {
			t.Errorf("%s: the room %s is not in the table of arrows", rel, room)
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, im := range f.Imports {
			name, _ := strconv.Unquote(im.Path.Value)
			if why := forbidden(room, name, allowed); why != "" {
				t.Errorf("%s imports %s: %s", rel, name, why)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for room := range arrows {
		if !seen[room] {
			t.Errorf("the table of arrows lists %s, which has no code", room)
		}
	}
}

func forbidden(room, name string, allowed []string) string {
	for leaf, only := range leaves {
		if within(name, leaf) && room != only {
			return "only " + only + " may"
		}
	}
	std := !strings.Contains(strings.Split(name, "/")[0], ".") && !within(name, "rehome")
	if std {
		return ""
	}
	for _, a := range allowed {
		if a == "*" || (a == name) || (!strings.HasPrefix(a, "rehome/") && within(name, a)) {
			return ""
		}
	}
	return "the room " + room + " may not know it"
}

func within(name, module string) bool { return name == module || strings.HasPrefix(name, module+"/") }
