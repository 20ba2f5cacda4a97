package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// doctor says what is wrong with a set-up and the fix, line by line. It looks at
// the same things as serve, in the same way, and asks only what is configured;
// it changes nothing and posts nothing. doctor_checks.go has what is looked at.

// A finding is one line of doctor.
type finding struct {
	Area  string `json:"area"`
	State string `json:"state"` // ok, warn, fail
	What  string `json:"what"`
	Fix   string `json:"fix,omitempty"`
}

// What a finding may be.
const (
	fine   = "ok"
	warned = "warn" // it works, and not as well as it could
	broken = "fail" // it does not work until that is mended
)

// checkup is one run of doctor.
type checkup struct {
	*program
	settings settings
	found    []finding
}

func (c *checkup) ok(area, what string, args ...any) {
	c.found = append(c.found, finding{area, fine, fmt.Sprintf(what, args...), ""})
}

func (c *checkup) warn(area, fix, what string, args ...any) {
	c.found = append(c.found, finding{area, warned, fmt.Sprintf(what, args...), fix})
}

func (c *checkup) fail(area, fix, what string, args ...any) {
	c.found = append(c.found, finding{area, broken, fmt.Sprintf(what, args...), fix})
}

// refuse notes an error of ours: they read "what; what to do".
func (c *checkup) refuse(area string, err error, otherwise string) {
	text := oneLine(err.Error())
	what, fix, said := strings.Cut(text, "; ")
	if !said {
		what, fix = text, otherwise
	}
	c.fail(area, fix, "%s", what)
}

func (p *program) doctorCommand() *cobra.Command {
	var format *choice
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Say what is wrong with this set-up, and the fix, line by line",
		Long: `doctor looks at what serve would use: the settings, the tokens and what Slack
lets them do, the channels, whether their history can be read (without it a
message could be sent twice), the directories, the store, who may send alerts, the
policy in force, and this machine's clock. It asks Slack and the directories, with
the credentials that are configured, and changes and posts nothing. It works
beside a running rehome, and needs the same variables as serve: what systemd hands
to the service is not seen from a shell (deploy/README.md has the lines).

It exits with 1 when something has to be mended.`,
		Example: `  rehome doctor
  rehome doctor --config /etc/rehome/rehome.yaml --format json`,
		Args: args(0, 0, "flags only"),
		RunE: func(c *cobra.Command, _ []string) error { return p.doctor(c.Context(), format.value) },
	}
	format = choiceFlag(c, "format", "how to print it", "text", "json")
	return c
}

// checkWithin bounds each thing that is asked about.
const checkWithin = 10 * time.Second

func (p *program) doctor(ctx context.Context, format string) error {
	ctx, stop := untilSignal(ctx)
	defer stop()
	c := &checkup{program: p}
	for _, look := range []func(context.Context){
		c.checkSettings, c.checkPolicy, c.checkSlack, c.checkIntake, c.checkDirectories, c.checkStore,
	} {
		if ctx.Err() != nil {
			return errors.New("interrupted; not everything was looked at")
		}
		look(ctx)
	}
	failures := c.count(broken)
	if format == "json" {
		if err := p.writeJSON(struct {
			OK       bool      `json:"ok"`
			Findings []finding `json:"findings"`
		}{failures == 0, c.found}); err != nil {
			return err
		}
	} else {
		c.print()
	}
	if failures > 0 {
		return &exit{code: failed}
	}
	return nil
}

func (c *checkup) count(state string) (n int) {
	for _, f := range c.found {
		if f.State == state {
			n++
		}
	}
	return n
}

// Looks of a line, at a terminal.
var looks = map[string]struct{ sign, colour string }{
	fine: {"✓", "32"}, warned: {"!", "33"}, broken: {"✗", "31"},
}

// print is for people: gathered by area with signs at a terminal, one line for
// each finding elsewhere, so that grep finds whole ones.
func (c *checkup) print() {
	width, atTerminal := terminal(c.out)
	if !atTerminal {
		for _, f := range c.found {
			line := fmt.Sprintf("%-4s  %-9s  %s", f.State, f.Area, f.What)
			if f.Fix != "" {
				line += " → " + f.Fix
			}
			fmt.Fprintln(c.out, line)
		}
		fmt.Fprintln(c.out, c.summary())
		return
	}
	plain := c.env("NO_COLOR") != "" || c.env("TERM") == "dumb"
	paint := func(code, s string) string {
		if plain {
			return s
		}
		return "\x1b[" + code + "m" + s + "\x1b[0m"
	}
	area := ""
	for _, f := range c.found {
		if f.Area != area {
			area = f.Area
			fmt.Fprintf(c.out, "\n%s\n", paint("1", strings.ToUpper(area[:1])+area[1:]))
		}
		look := looks[f.State]
		fmt.Fprintf(c.out, "  %s %s\n", paint(look.colour, look.sign), hang(f.What, width, 4))
		if f.Fix != "" {
			fmt.Fprintf(c.out, "    %s %s\n", paint(look.colour, "→"), hang(f.Fix, width, 6))
		}
	}
	fmt.Fprintf(c.out, "\n%s\n", paint("1", c.summary()))
}

func (c *checkup) summary() string {
	failures, warnings := c.count(broken), c.count(warned)
	switch {
	case failures == 0 && warnings == 0:
		return "All is well."
	case failures == 0:
		return fmt.Sprintf("It works; %s could be better.", count(warnings, "thing"))
	case warnings == 0:
		return fmt.Sprintf("%s to mend.", count(failures, "thing"))
	}
	return fmt.Sprintf("%s to mend, and %d more that could be better.", count(failures, "thing"), warnings)
}

// hang breaks a text at spaces and indents what follows the first line.
func hang(s string, width, indent int) string {
	room := max(width-indent, 30)
	var b strings.Builder
	at := 0
	for i, word := range strings.Fields(s) {
		n := len([]rune(word))
		switch {
		case i > 0 && at+1+n > room:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			at = 0
		case i > 0:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += n
	}
	return cmp.Or(b.String(), s)
}
