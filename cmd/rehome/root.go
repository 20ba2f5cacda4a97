package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "rehome",
		Short: "Put certificates back into the tenant and cloud of their app",
		Long: `rehome works violation alerts about Entra app credentials with the people who
own the apps: it asks what it cannot infer, decides by the policy tables, and
replies with steps in which every value is filled in.`,
		Example: `  rehome demo                                    see it at work in your browser
  rehome guide                                   work one violation here in the terminal
  rehome doctor                                  what is wrong with a set-up, and the fix
  rehome serve --config /etc/rehome/rehome.yaml  run the bot in Slack`,
		Args:              p.noSuchCommand,
		RunE:              func(c *cobra.Command, _ []string) error { return c.Help() },
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: func(*cobra.Command, []string) error { p.started = true; return nil },
	}
	root.SetIn(p.in)
	root.SetOut(p.out)
	root.SetErr(p.err)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return wrong("%w; see %s --help", err, c.CommandPath())
	})
	root.PersistentFlags().StringVar(&p.config, "config", "", "`file` with settings (REHOME_CONFIG)")
	root.AddCommand(p.demoCommand(), p.serveCommand(), p.guideCommand(), p.policyCommand(),
		p.importCommand(), p.listCommand(), p.showCommand(), p.outboxCommand(),
		p.backupCommand(), p.restoreCommand(), p.checkCommand(), p.compactCommand(), p.doctorCommand(), p.versionCommand())
	p.strictHelp(root)
	for _, c := range root.Commands() {
		c.DisableFlagsInUseLine = true
	}
	return root
}

// strictHelp lets help refuse what is no command; cobra's own succeeds.
func (p *program) strictHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	help, _, _ := root.Find([]string{"help"}) // it was added a line above
	explain := help.Run
	help.Run = nil
	help.RunE = func(c *cobra.Command, words []string) error {
		about, rest, err := root.Find(words)
		if err != nil {
			return wrong("%w; see rehome --help", err)
		}
		if err := p.noSuchCommand(about, rest); err != nil {
			return err
		}
		explain(c, words)
		return nil
	}
}

// noSuchCommand is the Args of commands that only have subcommands.
func (p *program) noSuchCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := "see " + c.CommandPath() + " --help"
	c.SuggestionsMinimumDistance = 2 // letters that may be wrong
	if like := c.SuggestionsFor(args[0]); len(like) > 0 {
		hint = "did you mean " + strings.Join(like, " or ") + "?"
	}
	return wrong("%s has no command %q; %s", c.CommandPath(), args[0], hint)
}

// args bounds the number of words after a command and says what they are.
func args(least, most int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return wrong("%s takes %s; see %s --help", c.CommandPath(), what, c.CommandPath())
		}
		return nil
	}
}

// choice is a flag that takes one of a few words, in any case.
type choice struct {
	value string
	from  []string
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return strings.Join(c.from, "|") }
func (c *choice) Set(s string) error {
	for _, v := range c.from {
		if strings.EqualFold(v, strings.TrimSpace(s)) {
			c.value = v
			return nil
		}
	}
	return fmt.Errorf("it takes %s", strings.Join(c.from, " or "))
}

// choiceFlag adds a flag whose first word is its default.
func choiceFlag(c *cobra.Command, name, usage string, from ...string) *choice {
	v := &choice{value: from[0], from: from}
	c.Flags().Var(v, name, usage)
	complete(c, name, from)
	return v
}

// checked is a flag whose value is judged before anything begins.
type checked struct {
	value *string
	check func(string) error
}

func (c *checked) String() string {
	if c.value == nil {
		return "" // cobra asks an empty one for its default
	}
	return *c.value
}
func (c *checked) Type() string { return "string" }
func (c *checked) Set(s string) error {
	*c.value = s
	return c.check(s)
}

// checkedFlag adds a flag that is empty unless it is given.
func checkedFlag(c *cobra.Command, into *string, name, usage string, check func(string) error) {
	c.Flags().Var(&checked{into, check}, name, usage)
}

// complete offers the words when the shell completes the flag.
func complete(c *cobra.Command, flag string, words []string) {
	if err := c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // unreachable: the flag was defined above
	}
}

// writeJSON prints v for programs. Angle brackets stay as they are: nobody puts
// this into a page.
func (p *program) writeJSON(v any) error {
	enc := json.NewEncoder(p.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
