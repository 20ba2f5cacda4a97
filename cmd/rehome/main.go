// Command rehome helps the owners of Entra apps put a certificate where it
// belongs. It is a Slack bot (serve), the same bot with a workspace in the box
// (demo), and the same decision in a terminal (guide).
//
// The program is a value: run is told everything it may know of the outside,
// and every subcommand is a file of this package.
//
//	main.go        run, and how errors become exit codes
//	root.go        the command line, and what subcommands share
//	settings.go    the environment and rehome.yaml
//	guide*.go      one violation, decided in a terminal
//	policy.go      the tables and playbooks in force
//	bot.go         a store, a policy, a chat and a bot put together
//	demo.go        … against the sandbox
//	serve.go       … against Slack
//	ready.go       whether it can do its work, as /readyz says; asked.go remembers how Slack answered
//	crew.go        what runs, and the order in which it ends
//	doctor*.go     what is wrong with a set-up, and the fix
//	remembered.go  list, show, outbox: from the file, or over socket.go from whoever holds it
//	backup.go      … and the store's tools: backup, restore, check, compact; keep.go forgets
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"rehome/bot"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Getenv, stdio{os.Stdin, os.Stdout, os.Stderr}))
}

// Exit codes; part of the outward contract.
const (
	done    = 0
	failed  = 1
	misused = 2
	missing = 3 // guide: somebody has to say something
)

// run is the program. It returns the exit code. When ctx ends, serve and demo
// shut down in order; env is asked by name for each variable it needs.
func run(ctx context.Context, args []string, env func(string) string, io stdio) int {
	p := &program{env: env, stdio: io, now: time.Now}
	return p.run(ctx, args)
}

func (p *program) run(ctx context.Context, args []string) int {
	root := p.root() //nolint:contextcheck // each command gets ctx from ExecuteContext
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return done
	}
	var e *exit
	if !errors.As(err, &e) {
		e = &exit{failed, err}
		if !p.started { // cobra refused the words before any command saw them
			e.code = misused
		}
	}
	if e.err != nil {
		fmt.Fprintln(p.err, "rehome: "+oneLine(err.Error()))
	}
	return e.code
}

// program is one run of the program.
type program struct {
	stdio
	env     func(string) string
	now     func() time.Time
	config  string // --config
	started bool   // a command began; before that, every error is a misuse

	keyboard *keyboard // what guide's questions are answered on

	change func(*bot.Bot) // makes serve's bot another one; nil but in tests, to see them fail
}

type stdio struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

// canAsk reports whether somebody sits at a terminal and can be asked.
func (s stdio) canAsk() bool {
	_, in := terminal(s.in)
	_, out := terminal(s.out)
	return in && out
}

// terminal returns the width of the terminal that v is, if it is one.
func terminal(v any) (width int, ok bool) {
	f, ok := v.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 {
		width = 80
	}
	return width, true
}

// exit is an error with an exit code of its own. Without an err, everything has
// been said.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return "exit " + fmt.Sprint(e.code)
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

// wrong says that the program was used wrongly, and how to use it.
func wrong(format string, args ...any) error { return &exit{misused, fmt.Errorf(format, args...)} }

// oneLine keeps an error on its line, whatever went into it: no line breaks, and
// nothing a terminal would obey.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '\n' {
			return r
		}
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
	var lines []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}
