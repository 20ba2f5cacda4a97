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

// In a terminal that can move its cursor, the arrow keys choose.
func TestTheArrowKeysChoose(t *testing.T) {
	screen, tty := openTerminal(t)
	env := map[string]string{"TERM": "xterm-256color"}
	code := make(chan int, 1)
	var errs lockedBuffer
	go func() {
		code <- run(context.Background(), []string{"guide", "--title", "tenant-mismatch", "--app-tenant", "PME", "--sg-owner", "PME", "--cloud", "Public"},
			func(name string) string { return env[name] }, stdio{tty, tty, &errs})
	}()
	screen.await("first-party (1P)")
	screen.await("have different policy tables") // it says why it asks
	screen.press("\x1b[B\r")                     // down to 3P
	screen.await("Which way out?")
	screen.press("\r") // the recommended one is first
	screen.await("Prod + PME")
	select {
	case c := <-code:
		if c != done {
			t.Errorf("it ended with %d: %s", c, errs.String())
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("it does not end:\n%s", screen.said())
	}
}

// Ctrl-C at a question ends with 3: a fact is still missing.
func TestCtrlCAtAQuestionDecidesNothing(t *testing.T) {
	screen, tty := openTerminal(t)
	code := make(chan int, 1)
	var errs lockedBuffer
	go func() {
		code <- run(context.Background(), []string{"guide", "--title", "tenant-mismatch"}, func(string) string { return "" }, stdio{tty, tty, &errs})
	}()
	screen.await("first-party (1P)")
	screen.press("\x03")
	select {
	case c := <-code:
		if c != missing || !strings.Contains(errs.String(), "stopped before the last question") {
			t.Errorf("it ended with %d: %s", c, errs.String())
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("it does not end:\n%s", screen.said())
	}
}
