package main

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"rehome/policy"
)

// Whoever leaves in the middle has made no decision, and nothing is taken by
// itself.
func TestAnEndOfInputChoosesNothing(t *testing.T) {
	pol := policy.Default()
	need := pol.Decide(policy.Facts{{Name: policy.Violated, Value: pol.Titles()[0].Text, From: policy.FromAnswer}}, time.Now()).Need
	if need == nil {
		t.Fatal("nothing is asked")
	}
	for _, typed := range []string{"", "\n\n", "0\n9\n-1\n", "maybe"} {
		var out strings.Builder
		if c, err := askInLines(strings.NewReader(typed), &out, pol, *need); err == nil {
			t.Errorf("%q chose %+v", typed, c)
		}
	}
	// One answer takes one line and leaves the rest for the next question.
	in := strings.NewReader("2\nCME\n")
	var out strings.Builder
	c, err := askInLines(in, &out, pol, *need)
	rest, _ := io.ReadAll(in)
	if err != nil || c.Value != "3P" || string(rest) != "CME\n" {
		t.Errorf("%+v, %v, left %q", c, err, rest)
	}
	if !strings.Contains(out.String(), need.Why) {
		t.Errorf("it does not say why it asks:\n%s", out.String())
	}
}

// atTerminal starts guide at a terminal. However it goes, it has ended when the
// test has: its terminal is gone by then, and so is its patience.
func atTerminal(t *testing.T, env map[string]string, args ...string) (s *screen, ends func(code int)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	s, tty := openTerminal(t)
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, append([]string{"guide"}, args...), func(name string) string { return env[name] }, stdio{tty, tty, &s.errs})
	}()
	return s, func(want int) {
		t.Helper()
		select {
		case got := <-code:
			if got != want {
				t.Errorf("it ended with %d: %s", got, s.errs.String())
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("it does not end:\n%s", s.said())
		}
	}
}

// In a terminal that can move its cursor, the arrow keys choose.
func TestTheArrowKeysChoose(t *testing.T) {
	screen, ends := atTerminal(t, map[string]string{"TERM": "xterm-256color"}, "--title", "tenant-mismatch", "--app-tenant", "PME", "--sg-owner", "PME", "--cloud", "Public")
	screen.await("first-party (1P)")
	screen.await("have different policy tables") // it says why it asks
	screen.press("\x1b[B\r")                     // down to 3P
	screen.await("Which way out?")
	screen.press("\r") // the recommended one is first
	screen.await("Prod + PME")
	ends(done)
}

// Ctrl-C at a question ends with 3: a fact is still missing.
func TestCtrlCAtAQuestionDecidesNothing(t *testing.T) {
	screen, ends := atTerminal(t, nil, "--title", "tenant-mismatch")
	screen.await("first-party (1P)")
	screen.press("\x03")
	ends(missing)
	if said := screen.errs.String(); !strings.Contains(said, "stopped before the last question") {
		t.Error(said)
	}
}

// Without cursor movements, for screen readers and plain terminals: a number or
// the words. An empty line chooses nothing.
func TestAPlainTerminalIsAskedInLines(t *testing.T) {
	screen, ends := atTerminal(t, map[string]string{"TERM": "dumb"}, "--title", "tenant-mismatch")
	screen.await("Is this a first-party (1P) or a third-party (3P) app?")
	screen.press("\nperhaps\n")
	screen.await("That is not among the choices.")
	screen.press("third party\n")
	screen.await("Which tenant is the app registered in?")
	screen.press("CME\noption a\n")
	screen.await("Prod + CME")
	ends(done)
}

// For a program nothing is asked, terminal or not.
func TestJSONAsksNothingAtATerminal(t *testing.T) {
	screen, ends := atTerminal(t, map[string]string{"TERM": "dumb"}, "--title", "tenant-mismatch", "--format", "json")
	screen.await(`"outcome": "ask"`)
	ends(missing)
	if said := screen.errs.String(); !strings.Contains(said, "party is missing; give --party 1P") {
		t.Error(said)
	}
}
