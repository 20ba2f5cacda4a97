package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"rehome/store/bolt"
)

func TestMain(m *testing.M) {
	testscript.Main(tidy{m}, programs)
}

// tidy runs the tests and looks whether a goroutine has outlived them: every one
// has a parent that waits for it.
type tidy struct{ *testing.M }

func (t tidy) Run() int {
	code := t.M.Run()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections() // the tests' own
	// The clock behind the colours of code ends by itself, some seconds after its
	// last use. Nobody can wait for it.
	clock := goleak.IgnoreAnyFunction("github.com/dlclark/regexp2.runClock")
	if err := goleak.Find(clock); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// Each script is a story at a terminal. The program in it is the real one, in a
// process of its own.
func TestScripts(t *testing.T) {
	// Whatever waits for ever is killed a little before the test's own deadline. A
	// shorter one fails on a busy machine with the race detector: minutes are usual.
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		Setup: func(e *testscript.Env) error {
			// A port somebody else has, and a store somebody else holds.
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			e.Defer(func() { _ = l.Close() })
			e.Setenv("BUSY", l.Addr().String())
			held := filepath.Join(e.WorkDir, "held.db")
			st, err := bolt.Open(held, bolt.Options{})
			if err != nil {
				return err
			}
			e.Defer(func() { _ = st.Close() })
			e.Setenv("HELD", held)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":   exits,
			"oneline": oneline,
			"field":   field,
			"damage":  damage,
			"flip":    flip,
		},
	})
}

// exits CODE rehome ARGS… runs the program and checks its exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE rehome ARGS…")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("it ended with %s, want %s", got, args[0])
	}
}

// oneline checks that standard error is one line of the program's own that says
// each of the texts.
func oneline(ts *testscript.TestScript, neg bool, args []string) {
	said := ts.ReadFile("stderr")
	if strings.Count(said, "\n") != 1 || !strings.HasPrefix(said, "rehome: ") || strings.Contains(said, "Usage:") {
		ts.Fatalf("standard error is not one line of ours:\n%s", said)
	}
	for _, text := range args {
		if strings.Contains(said, text) == neg {
			ts.Fatalf("standard error and %q: %s", text, said)
		}
	}
}

// flip FILE TEXT damages the last byte of a text, wherever it is in a file.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: flip FILE TEXT")
	}
	path := ts.MkAbs(args[0])
	content, err := os.ReadFile(path)
	ts.Check(err)
	text := args[1]
	broken := bytes.ReplaceAll(content, []byte(text), append([]byte(text[:len(text)-1]), text[len(text)-1]^1))
	if bytes.Equal(broken, content) {
		ts.Fatalf("%s has no %q", args[0], text)
	}
	ts.Check(os.WriteFile(path, broken, 0o600))
}

// field PATH VALUE checks a value of the JSON on standard output. The path has
// the names and indexes on the way, with dots between; the value is compared as
// JSON, or as a text.
func field(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: field PATH VALUE")
	}
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
	for name := range strings.SplitSeq(args[0], ".") {
		v = step(v, name)
	}
	got, err := json.Marshal(v)
	ts.Check(err)
	text, _ := v.(string)
	if (string(got) == args[1] || text == args[1] && text != "") == neg {
		ts.Fatalf("%s is %s, not %s", args[0], got, args[1])
	}
}

func step(v any, name string) any {
	switch v := v.(type) {
	case map[string]any:
		return v[name]
	case []any:
		if name == "#" {
			return len(v)
		}
		for i := range v {
			if name == string(rune('0'+i)) {
				return v[i]
			}
		}
	}
	return nil
}
