package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"rehome/bot/intake"
	"rehome/conversation"
	"rehome/policy"
	"rehome/store"
	"rehome/store/bolt"
)

// remembered is what can be asked about a store: of the file itself, or of the
// process that holds it.
type remembered interface {
	list(ctx context.Context) ([]listed, error)
	show(ctx context.Context, id string) (shown, error)
	outbox(ctx context.Context, failed bool) ([]waiting, error)
	quarantined(ctx context.Context) ([]keptAside, error)
	// snapshot writes a copy of the store's file as it is now.
	snapshot(ctx context.Context, w io.Writer) error
	taker
	// rehearse says what takeIn would, and keeps nothing.
	rehearse(ctx context.Context, from source, hear func(heard) error) error
	Close() error
}

// listed is a line of the worklist. Times are null when unknown.
type listed struct {
	ID      string              `json:"id"`
	Status  conversation.Status `json:"status"`
	Title   string              `json:"title"`
	App     string              `json:"app"`
	AppID   string              `json:"appId"`
	Owner   string              `json:"owner"`
	Source  string              `json:"source"`
	Due     *time.Time          `json:"due"`
	Opened  time.Time           `json:"opened"`
	Updated time.Time           `json:"updated"`
}

// shown is one conversation and what happened in it.
type shown struct {
	Conversation conversation.Conversation `json:"conversation"`
	Journal      []store.Entry             `json:"journal"`
}

// waiting is a delivery that has not gone out, or never will.
type waiting struct {
	store.Delivery
	What string `json:"what"`
}

// keptAside is a record that could not be read and is kept until it can.
type keptAside struct {
	ID     uint64    `json:"id"`
	At     time.Time `json:"at"`
	Last   time.Time `json:"last"` // when it last came
	Count  int       `json:"count"`
	Source string    `json:"source"`
	Why    string    `json:"why"`
	Body   string    `json:"body"`
}

// remembered finds out who holds the store and returns a way to ask about it.
func (p *program) remembered(storeFlag string) (remembered, error) {
	s, err := p.settings()
	if err != nil {
		return nil, err
	}
	path, err := storePath(cmp.Or(storeFlag, s.Store))
	if err != nil {
		return nil, err
	}
	if r, ok := dialBeside(path); ok {
		return r, nil
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, noStore(path)
	}
	st, err := openStore(path, bolt.Options{LockTimeout: time.Second})
	if err != nil {
		return nil, err
	}
	return direct{store: st}, nil
}

func noStore(path string) error {
	return fmt.Errorf("there is no store at %s; name it with --store or REHOME_STORE as bolt:PATH, or the settings that have it with --config", path)
}

// direct asks a store of this process.
type direct struct {
	store  store.Store
	intake *intake.Intake // nil where nothing is taken in
}

func (d direct) Close() error { return d.store.Close() }

func (d direct) list(ctx context.Context) ([]listed, error) {
	out := []listed{}
	err := d.store.List(ctx, func(c conversation.Conversation) bool {
		v := c.Violation
		line := listed{
			ID: c.ID, Status: c.Status, Title: cmp.Or(v.Title, c.Facts.Value(policy.Violated)),
			App: cmp.Or(v.App.DisplayName, c.Facts.Value(policy.AppName)), AppID: cmp.Or(v.App.AppID, c.Facts.Value(policy.AppID)),
			Owner: ownerOf(c), Source: v.Source.System, Opened: c.Opened, Updated: c.Updated,
		}
		if !v.Due.IsZero() {
			line.Due = &v.Due
		}
		out = append(out, line)
		return true
	})
	return out, err
}

func (d direct) show(ctx context.Context, id string) (shown, error) {
	c, err := d.store.Get(ctx, id)
	if err != nil {
		return shown{}, err
	}
	journal, err := d.store.Journal(ctx, id)
	return shown{c, list(journal)}, err
}

// outbox is what is about to be said. What is looked up again hours later is
// not: the conversation's root says that it is tried.
func (d direct) outbox(ctx context.Context, failed bool) ([]waiting, error) {
	all, err := d.store.Outbox(ctx, failed)
	out := []waiting{}
	for _, delivery := range all {
		if delivery.Effect == (conversation.Lookup{Late: true}) && !delivery.Abandoned {
			continue
		}
		out = append(out, waiting{delivery, whatOf(delivery.Effect)})
	}
	return out, err
}

func (d direct) quarantined(ctx context.Context) ([]keptAside, error) {
	all, err := d.store.Quarantined(ctx)
	return asKept(all), err
}

func asKept(all []store.Quarantined) []keptAside {
	out := []keptAside{}
	for _, q := range all {
		out = append(out, keptAside{q.ID, q.At, q.Last, q.Count, q.Source, q.Why, string(q.Body)})
	}
	return out
}

// ownerOf is whom a finding is held to be of: as the alert names them, or the
// first who was found.
func ownerOf(c conversation.Conversation) string {
	named := cmp.Or(c.Violation.Owner.Alias, c.Violation.Owner.Email)
	for _, o := range c.Owners {
		if o.State != conversation.NotTheirs {
			named = cmp.Or(named, o.ID)
		}
	}
	return named
}

// whatOf says in a few words what a delivery does.
func whatOf(e conversation.Effect) string {
	switch e := e.(type) {
	case conversation.Show:
		return fmt.Sprintf("show %s in thread %d", e.Card, e.In)
	case conversation.Tell:
		return fmt.Sprintf("tell %s: %s", e.To.ID, e.Text)
	case conversation.Gather:
		return "tell the owner " + e.To.ID
	case conversation.Lookup:
		if e.Late {
			return "look up again what could not be read"
		}
		return "look up the app and its owners"
	case conversation.Spread:
		return "tell the app's other conversations whose it is"
	case conversation.Report:
		return "report: " + e.Text.String()
	case conversation.Remember:
		return "remember " + e.Key // unreachable, as the next: both are written with the state and never delivered
	case conversation.Record:
		return "record " + e.Text
	}
	return ""
}

// idOf takes a conversation's id as people write it: RH-7, rh-7 or 7.
func idOf(word string) (string, error) {
	id := strings.ToUpper(strings.TrimSpace(word))
	if n := strings.TrimPrefix(id, "RH-"); n != "" && strings.Trim(n, "0123456789") == "" {
		return "RH-" + n, nil
	}
	return "", wrong("%q is not a conversation; write RH- and its number, such as RH-1", word)
}

// rememberedCommand makes a command that asks a store and prints the answer.
func (p *program) rememberedCommand(c *cobra.Command, ask func(ctx context.Context, r remembered, args []string, format string) error) *cobra.Command {
	var at string
	checkedFlag(c, &at, "store", "the `store`, as bolt:PATH (REHOME_STORE)", checkStore)
	format := choiceFlag(c, "format", "how to print it", "table", "json")
	c.RunE = func(c *cobra.Command, args []string) (err error) {
		r, err := p.remembered(at)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, r.Close()) }()
		return ask(c.Context(), r, args, format.value)
	}
	return c
}

const besideHelp = `It reads the store's file or, while serve or demo holds it, asks that process.`

func (p *program) listCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "list",
		Short:   "The worklist: every conversation, and where it stands",
		Long:    "list prints every conversation, oldest first, or with --quarantined the alerts that\ncould not be read and are kept until they can. The same from the same source is\nkept once and counted. Read them again, or discard them, with rehome import\n--quarantined.\n\n" + besideHelp,
		Example: "  rehome list\n  rehome list --format json | jq -r '.[] | select(.status == \"asking\") | .id'\n  rehome list --quarantined",
		Args:    args(0, 0, "no words"),
	}
	quarantined := c.Flags().Bool("quarantined", false, "the alerts that could not be read")
	return p.rememberedCommand(c, func(ctx context.Context, r remembered, _ []string, format string) error {
		if *quarantined {
			return p.listQuarantined(ctx, r, format)
		}
		all, err := r.list(ctx)
		if err != nil {
			return err
		}
		return printAll(p, format, all, "There are no conversations yet.", "ID\tSTATUS\tDUE\tAPP\tTITLE", func(l listed) []string {
			return []string{l.ID, string(l.Status), dayOf(l.Due), cmp.Or(l.App, l.AppID, "-"), cmp.Or(l.Title, "-")}
		})
	})
}

func (p *program) listQuarantined(ctx context.Context, r remembered, format string) error {
	all, err := r.quarantined(ctx)
	if err != nil {
		return err
	}
	return printAll(p, format, all, "Nothing is in quarantine.", "NUMBER\tLAST CAME\tTIMES\tFROM\tWHY", func(q keptAside) []string {
		return []string{fmt.Sprint(q.ID), timeOf(q.Last), fmt.Sprint(q.Count), q.Source, q.Why}
	})
}

func (p *program) showCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "show RH-n",
		Short:   "One conversation: what is known, asked and said, and its journal",
		Long:    "show prints one conversation with its journal.\n\n" + besideHelp,
		Example: "  rehome show RH-1042",
		Args: cobra.MatchAll(args(1, 1, "one conversation, such as RH-1"), func(_ *cobra.Command, args []string) error {
			_, err := idOf(args[0])
			return err
		}),
	}
	return p.rememberedCommand(c, func(ctx context.Context, r remembered, args []string, format string) error {
		id, err := idOf(args[0])
		if err != nil {
			return err
		}
		s, err := r.show(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("there is no conversation %s; see all with: rehome list", id)
		}
		if err != nil {
			return err
		}
		if format == "json" {
			return p.writeJSON(s)
		}
		return p.printShown(s)
	})
}

func (p *program) printShown(s shown) error {
	c := s.Conversation
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, oneLine(value))
		}
	}
	line(c.ID, cmp.Or(c.Violation.Title, c.Facts.Value(policy.Violated)))
	line("status", string(c.Status))
	line("opened", timeOf(c.Opened)+" by "+cmp.Or(c.By.ID, "an alert of "+cmp.Or(c.Violation.Source.System, "an unnamed source")))
	for _, f := range c.Known().Best() {
		line(string(f.Name), fmt.Sprintf("%s (%s: %s)", f.Value, f.From, f.Why))
	}
	for i, q := range c.Asked {
		said := string(q.State)
		if q.State == conversation.Answered {
			said = fmt.Sprintf("%s, says %s", q.Chosen.Label, cmp.Or(q.By.ID, "nobody"))
		}
		line(fmt.Sprintf("question %d", i+1), q.Need.Prompt+" "+said)
	}
	if reply, ok := c.CurrentReply(); ok {
		line("reply", string(reply.Decision.Outcome)+": "+reply.Decision.Summary.String())
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(p.out, "\nJournal")
	return p.columns("", len(s.Journal), func(i int) []string {
		e := s.Journal[i]
		return []string{"  " + timeOf(e.At), cmp.Or(e.By, "rehome"), e.Text}
	})
}

func (p *program) outboxCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "outbox",
		Short: "What is about to be said, and what could not be",
		Long: "outbox prints the deliveries that wait, oldest first, with when each is due: quiet\n" +
			"hours hold up direct messages. With --failed it adds those that were given up, and why.\n\n" + besideHelp,
		Example: "  rehome outbox --failed",
		Args:    args(0, 0, "no words"),
	}
	failed := c.Flags().Bool("failed", false, "also what was given up")
	return p.rememberedCommand(c, func(ctx context.Context, r remembered, _ []string, format string) error {
		all, err := r.outbox(ctx, *failed)
		if err != nil {
			return err
		}
		return printAll(p, format, all, "Nothing waits to be said.", "CONVERSATION\tDUE\tTRIES\tWHAT\tLAST ERROR", func(d waiting) []string {
			due := timeOf(d.Due)
			if d.Abandoned {
				due = "given up"
			}
			return []string{d.Conversation, due, fmt.Sprint(d.Attempts), d.What, d.LastError}
		})
	})
}

// printAll prints what there is, as JSON or as a table with a heading; without
// any, the table is a line that says none.
func printAll[T any](p *program, format string, all []T, none, heading string, row func(T) []string) error {
	if format == "json" {
		return p.writeJSON(all)
	}
	if len(all) == 0 {
		fmt.Fprintln(p.out, none)
		return nil
	}
	return p.columns(heading, len(all), func(i int) []string { return row(all[i]) })
}

// tableWidth is the most that a line of a table with a heading takes, in
// characters. --format json has everything.
const tableWidth = 120

// columns prints n rows under a heading, aligned, with each cell on one line.
func (p *program) columns(heading string, n int, row func(i int) []string) error {
	var rows [][]string
	if heading != "" {
		rows = append(rows, strings.Split(heading, "\t"))
	}
	for i := range n {
		cells := row(i)
		for k, cell := range cells {
			cells[k] = cutAt(strings.TrimRight(oneLineKeepingIndent(cell), " "), 100)
		}
		rows = append(rows, cells)
	}
	if heading != "" {
		fit(rows, tableWidth)
	}
	w := tabwriter.NewWriter(p.out, 0, 0, columnGap, ' ', 0)
	for _, cells := range rows {
		fmt.Fprintln(w, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	return w.Flush()
}

const columnGap = 2

// fit cuts the cells of the widest columns until a line has room in width.
func fit(rows [][]string, width int) {
	widths := make([]int, len(rows[0]))
	for _, cells := range rows {
		for k, cell := range cells {
			widths[k] = max(widths[k], utf8.RuneCountInString(cell))
		}
	}
	total := columnGap * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	for ; total > width; total-- {
		widths[slices.Index(widths, slices.Max(widths))]--
	}
	for _, cells := range rows {
		for k := range cells {
			cells[k] = cutAt(cells[k], widths[k])
		}
	}
}

func oneLineKeepingIndent(s string) string {
	trimmed := strings.TrimLeft(s, " ")
	return s[:len(s)-len(trimmed)] + oneLine(trimmed)
}

// cutAt keeps at most n characters and says that it cut.
func cutAt(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

func timeOf(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

func dayOf(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.UTC().Format(time.DateOnly)
}
