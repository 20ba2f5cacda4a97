package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"charm.land/glamour/v2"
	"charm.land/glamour/v2/styles"
	"github.com/spf13/cobra"

	"rehome/bot/intake"
	"rehome/policy"
)

// factFlags are guide's flags that state one fact each, in the contract's order.
var factFlags = []struct {
	name  string
	fact  policy.FactName
	takes string
	usage string
}{
	{"title", policy.Violated, "text", "the violation's `title`, as the alert shows it"},
	{"party", policy.PartyFact, "1P|3P", "first-party or third-party app"},
	{"app-tenant", policy.AppTenant, "tenant", "the `tenant` a 3P app is registered in: AME, CME, … USME"},
	{"sg-owner", policy.SGOwner, "tenant", "the `tenant` that owns a 1P app's security group"},
	{"cloud", policy.AppCloud, "cloud", "the app's `cloud`: Public, Mooncake or Fairfax"},
	{"option", policy.Option, "", "the way out: A|B, 1|2|3, move-cert|update-sg"},
	{"plane", policy.Plane, "", "for option 3: data-flow or control-plane"},
	{"app-id", policy.AppID, "", "the app's id, a `GUID`"},
	{"app-name", policy.AppName, "", "the app's `name`"},
	{"vault-uri", policy.VaultURI, "", "`address` of the vault the certificate is in"},
	{"authority", policy.AppAuthor, "", "login or Graph `address` the app uses"},
	{"store", policy.Vault, "", "where certificates are kept: KV or dSMS"},
}

// guideInput is what guide was called with.
type guideInput struct {
	stated        map[string]*string // by flag name
	alert         string
	handoffFrom   string
	handoffOption string
	format        *choice
}

func (p *program) guideCommand() *cobra.Command {
	in := guideInput{stated: map[string]*string{}}
	c := &cobra.Command{
		Use:   "guide [flags]",
		Short: "Work one violation here: questions, decision, steps",
		Long: `guide makes the same decision as the bot, in the terminal. What is not given as
a flag or by an alert is inferred where that is certain, and asked for when
somebody sits at the terminal. In a script it never asks: it says what is
missing and exits with 3.

Values are taken in any case and spacing, and under their usual other names
("first party", "21Vianet", "option a").

Exit codes: 0 a decision was made, 1 failed, 2 used wrongly, 3 a fact is missing
or two contradict each other.`,
		Example: `  # be asked everything
  rehome guide

  # a 3P app whose certificate is in a non-prod tenant: move it to PME
  rehome guide --title "AAD Entra Apps in Prod Tenants using certificates in Non-Prod Tenant" \
      --party 3P --app-tenant PME --option A

  # a 1P app: the vault's address says which cloud the certificate is in
  rehome guide --title "AAD Entra Apps cloud mismatches with Cert Cloud" --party 1P --sg-owner AME \
      --cloud Fairfax --vault-uri https://contoso-kv.vault.azure.net --option 2

  # an alert as it came, for a program
  rehome guide --alert alert.json --format json | jq '.steps[].title'

  # handed over by assist-sg-update, which chose to move the certificate
  rehome guide --handoff-from assist-sg-update --handoff-option 2 --sg-owner PME --cloud Mooncake`,
		Args: args(0, 0, "flags only"),
		RunE: func(c *cobra.Command, _ []string) error { return p.guide(c, in) },
	}
	for _, f := range factFlags {
		in.stated[f.name] = c.Flags().String(f.name, "", f.usage)
		p.completeFact(c, f.name, f.fact)
	}
	c.Flags().StringVar(&in.alert, "alert", "", "`file` with one alert in any shape the bot takes; - for standard input")
	c.Flags().StringVar(&in.handoffFrom, "handoff-from", "", "`guide` that hands the violation over: assist-sg-update")
	c.Flags().StringVar(&in.handoffOption, "handoff-option", "", "its choice: 1 update the security group, 2 move the certificate")
	complete(c, "handoff-from", []string{"assist-sg-update"})
	complete(c, "handoff-option", []string{"1\tupdate the security group", "2\tmove the certificate"})
	in.format = choiceFlag(c, "format", "how to print the decision", "markdown", "json")
	c.Flags().SortFlags = false
	return c
}

// completeFact offers the values that the policy in force has for a fact.
func (p *program) completeFact(c *cobra.Command, flag string, fact policy.FactName) {
	words := func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		_, pol, err := p.configured()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return valuesOf(pol, fact), cobra.ShellCompDirectiveNoFileComp
	}
	if err := c.RegisterFlagCompletionFunc(flag, words); err != nil {
		panic(err) // unreachable: the flag was defined above
	}
}

// fewValues are the facts that have a few fixed values, each with a word of help.
var fewValues = map[policy.FactName][]string{
	policy.PartyFact: {"1P\tfirst-party", "3P\tthird-party"},
	policy.AppCloud:  {string(policy.Public), string(policy.Mooncake), string(policy.Fairfax)},
	policy.Option:    {"A", "B", "1", "2", "3", "move-cert", "update-sg"},
	policy.Plane:     {"data-flow", "control-plane"},
	policy.Vault:     {"KV", "dSMS"},
}

// valuesOf lists what a fact can be; nothing where any word will do.
func valuesOf(p *policy.Policy, fact policy.FactName) []string {
	out := slices.Clone(fewValues[fact])
	if fact == policy.Violated {
		for _, t := range p.Titles() {
			out = append(out, t.Text+"\t"+t.Hint)
		}
	}
	if fact == policy.AppTenant || fact == policy.SGOwner {
		for _, row := range p.Rows(policy.ThirdParty) {
			out = append(out, row.Tenant+"\t"+string(row.Cloud))
		}
	}
	return out
}

// guide decides, asking where it may, and prints what came of it.
func (p *program) guide(c *cobra.Command, in guideInput) error {
	_, pol, err := p.configured()
	if err != nil {
		return err
	}
	facts, err := p.given(pol, in)
	if err != nil {
		return err
	}
	now := p.now()
	d := pol.Decide(facts, now)
	for d.Need != nil && p.canAsk() && in.format.value == "markdown" {
		answer, err := p.ask(c.Context(), pol, *d.Need)
		if err != nil {
			return err
		}
		facts = facts.With(policy.Fact{Name: d.Need.Fact, Value: answer.Value, From: policy.FromAnswer, Why: "answered here"})
		d = pol.Decide(facts, now)
	}
	if err := p.printDecision(d, in.format.value); err != nil {
		return err
	}
	if d.Need != nil {
		return &exit{missing, unanswered(d.Outcome, *d.Need)}
	}
	return nil
}

// given gathers the facts of the alert, the hand-off and the flags.
func (p *program) given(pol *policy.Policy, in guideInput) (policy.Facts, error) {
	var v policy.Violation
	if in.alert != "" {
		a, err := p.oneAlert(in.alert)
		if err != nil {
			return nil, err
		}
		v = a.Violation
		for _, note := range a.Notes {
			fmt.Fprintln(p.err, "rehome: note: "+note)
		}
	}
	if err := handOff(&v, in); err != nil {
		return nil, err
	}
	facts := pol.Infer(v)
	for _, f := range factFlags {
		stated := *in.stated[f.name]
		if stated == "" {
			continue
		}
		value, err := pol.Canonical(f.fact, stated)
		if err != nil {
			return nil, wrong("--%s: %w", f.name, err)
		}
		facts = facts.With(policy.Fact{Name: f.fact, Value: value, From: policy.FromAnswer, Why: "given as --" + f.name})
	}
	return facts, nil
}

// handOff puts what the hand-off flags say into the violation.
func handOff(v *policy.Violation, in guideInput) error {
	switch {
	case in.handoffFrom == "" && in.handoffOption == "":
		return nil
	case !strings.EqualFold(strings.TrimSpace(in.handoffFrom), "assist-sg-update"):
		return wrong("--handoff-from: the only guide that hands violations over is assist-sg-update")
	}
	v.Handoff.From = "assist-sg-update"
	switch strings.TrimSpace(in.handoffOption) {
	case "1":
		v.Handoff.Option = 1
	case "2":
		v.Handoff.Option = 2
	default:
		return wrong("--handoff-option takes 1 (update the security group) or 2 (move the certificate)")
	}
	return nil
}

// oneAlert reads the file's only record.
func (p *program) oneAlert(file string) (intake.Alert, error) {
	r, name, err := p.open(file)
	if err != nil {
		return intake.Alert{}, err
	}
	defer func() { _ = r.Close() }()
	var first intake.Record
	n := 0
	for rec, err := range intake.Records(r) {
		if err != nil {
			return intake.Alert{}, fmt.Errorf("%s:%d: %w", name, rec.Line, err)
		}
		if n++; n > 1 {
			return intake.Alert{}, wrong("%s holds more than one alert and guide takes one; pick it, as in: sed -n %dp FILE | rehome guide --alert -", name, first.Line)
		}
		first = rec
	}
	if n == 0 {
		return intake.Alert{}, fmt.Errorf("%s holds no alert; it should hold one JSON object", name)
	}
	a, err := intake.Decode(first.Raw)
	if err != nil {
		return a, fmt.Errorf("%s:%d: %w", name, first.Line, err)
	}
	return a, nil
}

// open opens a file, or standard input for "-", and returns what to call it.
func (p *program) open(file string) (io.ReadCloser, string, error) {
	if file == "-" {
		return io.NopCloser(p.in), "standard input", nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, file, fmt.Errorf("%w; name a file with alerts, or - for standard input", err)
	}
	return f, file, nil
}

// printDecision prints Markdown as it is, or made up for a terminal.
func (p *program) printDecision(d policy.Decision, format string) error {
	if format == "json" {
		return p.writeJSON(contractOf(d))
	}
	text := d.Markdown()
	if width, ok := terminal(p.out); ok {
		if pretty, err := p.madeUp(text, min(width, 100)); err == nil {
			text = pretty
		}
	}
	_, err := fmt.Fprintln(p.out, strings.TrimRight(text, "\n"))
	return err
}

// madeUp returns Markdown as a terminal shows it. GLAMOUR_STYLE chooses another
// style; ours leaves the text in the terminal's own colour, which can be read on
// any background.
func (p *program) madeUp(text string, width int) (string, error) {
	style := styles.DarkStyleConfig
	style.Document.Color = nil
	option := glamour.WithStyles(style)
	switch {
	case p.env("NO_COLOR") != "" || p.env("TERM") == "dumb":
		option = glamour.WithStandardStyle(styles.NoTTYStyle)
	case p.env("GLAMOUR_STYLE") != "":
		option = glamour.WithStylePath(p.env("GLAMOUR_STYLE"))
	}
	r, err := glamour.NewTermRenderer(option, glamour.WithWordWrap(width))
	if err != nil {
		return "", err
	}
	return r.Render(text)
}

// unanswered says which flag would answer a need.
func unanswered(o policy.Outcome, n policy.Need) error {
	values := make([]string, 0, len(n.Choices))
	for _, c := range n.Choices {
		values = append(values, c.Value)
	}
	flag := ""
	for _, f := range factFlags {
		if f.fact == n.Fact {
			flag = "--" + f.name + " " + strings.Join(values, "|")
		}
	}
	switch {
	case n.Fact == policy.Violated:
		return errors.New("nothing says which violation it is; give --title (see: rehome policy show titles) or --alert")
	case o == policy.Conflict:
		return fmt.Errorf("two facts contradict each other; say which holds with %s", flag)
	}
	return fmt.Errorf("%s is missing; give %s", n.Fact, flag)
}
