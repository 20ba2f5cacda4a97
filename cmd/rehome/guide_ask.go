package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"charm.land/huh/v2"

	"rehome/policy"
)

// errStopped is what ask returns when whoever was asked left.
var errStopped = &exit{missing, errors.New("stopped before the last question; give the answers as flags, or start again")}

// ask puts one question to whoever sits at the terminal.
func (p *program) ask(ctx context.Context, pol *policy.Policy, n policy.Need) (policy.Choice, error) {
	if p.env("ACCESSIBLE") != "" || p.env("TERM") == "dumb" {
		return askInLines(p.in, p.out, pol, n)
	}
	if tty, ok := p.in.(*os.File); ok && p.keyboard == nil {
		p.keyboard = newKeyboard(tty)
	}
	options := make([]huh.Option[string], 0, len(n.Choices))
	for _, c := range n.Choices {
		options = append(options, huh.NewOption(labelOf(c), c.Value))
	}
	question := huh.NewSelect[string]().Title(n.Prompt).Description(n.Why).Options(options...)
	keys := p.keyboard.turn()
	defer keys.over()
	if err := huh.NewForm(huh.NewGroup(question)).WithInput(keys).WithOutput(p.out).WithShowHelp(true).RunWithContext(ctx); err != nil {
		return policy.Choice{}, errStopped
	}
	value, _ := question.GetValue().(string)
	for _, c := range n.Choices {
		if c.Value == value {
			fmt.Fprintf(p.out, "%s %s\n", n.Prompt, c.Label)
			return c, nil
		}
	}
	return policy.Choice{}, errStopped
}

func labelOf(c policy.Choice) string {
	label := c.Label
	if c.Suggested {
		label += " (suggested)"
	}
	if c.Hint != "" {
		label += " – " + c.Hint
	}
	return label
}

// askInLines asks without moving the cursor, for screen readers and plain
// terminals. A number or the words of a choice are taken; an empty line is not,
// because nothing may be chosen by accident.
func askInLines(in io.Reader, out io.Writer, pol *policy.Policy, n policy.Need) (policy.Choice, error) {
	fmt.Fprintf(out, "%s\n%s\n", n.Prompt, n.Why)
	for i, c := range n.Choices {
		fmt.Fprintf(out, "  %d. %s\n", i+1, labelOf(c))
	}
	for {
		fmt.Fprintf(out, "Answer (1 to %d, or in words): ", len(n.Choices))
		line, err := readLine(in)
		line = strings.TrimSpace(line)
		if choice, ok := choiceOf(pol, n, line); ok {
			fmt.Fprintln(out)
			return choice, nil
		}
		if err != nil {
			fmt.Fprintln(out)
			return policy.Choice{}, errStopped
		}
		if line != "" {
			fmt.Fprintln(out, "That is not among the choices.")
		}
	}
}

// choiceOf reads an answer. Words come first: option "2" is not the second of
// three choices when the list begins with another.
func choiceOf(pol *policy.Policy, n policy.Need, typed string) (policy.Choice, bool) {
	if c, ok := pol.Match(n, typed); ok {
		return c, true
	}
	if i, err := strconv.Atoi(typed); err == nil && i >= 1 && i <= len(n.Choices) {
		return n.Choices[i-1], true
	}
	return policy.Choice{}, false
}

// readLine takes one line and not a byte more: the next question is for another
// reader of the same input.
func readLine(in io.Reader) (string, error) {
	var line []byte
	b := make([]byte, 1)
	for len(line) < 1000 {
		n, err := in.Read(b)
		if n == 1 && b[0] == '\n' {
			break
		}
		line = append(line, b[:n]...)
		if err != nil {
			return string(line), err
		}
	}
	return string(line), nil
}
