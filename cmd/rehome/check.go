package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"rehome/store/bolt"
)

func (p *program) checkCommand() *cobra.Command {
	var at string
	c := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Say what is wrong with a store or a backup, and what to do",
		Long: `check reads all of the store, or of FILE, a store or a backup: its structure, the
checksum of every record, whether the indexes agree with what they lead to, the
sentinel beside it, and the journal's chain, in which a changed or missing entry
shows. It prints one line for each problem, with what to do, and changes nothing.

The bot may run: then a copy of its store as it is now is checked. That needs room
for two copies for a while, beside the store. What a check that was killed has left
of that (STORE.unfinished-N) is removed, and said.

The journal's last hash stands for all that came before: a backup whose hash you
wrote down has the same journal that it had then.

Exit codes: 0 nothing is wrong, 1 something is.`,
		Example: `  rehome check
  rehome check /var/backups/rehome/rehome-20261121T030000Z.backup
  rehome check --format json | jq -r '.problems[] | .where + ": " + .what'`,
		Args: args(0, 1, "one file"),
	}
	checkedFlag(c, &at, "store", "the `store`, as bolt:PATH (REHOME_STORE; default "+defaultStore+")", checkStore)
	format := choiceFlag(c, "format", "how to print it", "text", "json")
	c.RunE = func(c *cobra.Command, args []string) (err error) {
		var path string
		switch {
		case len(args) > 0 && at != "":
			return wrong("rehome check takes a file or --store, not both")
		case len(args) > 0:
			path = args[0]
		default:
			if path, err = p.pathOf(at); err != nil {
				return err
			}
		}
		return p.check(c.Context(), path, format.value)
	}
	return c
}

func (p *program) check(ctx context.Context, path, format string) error {
	ctx, stop := untilSignal(ctx)
	defer stop()
	found, err := examine(ctx, path)
	switch {
	case ctx.Err() != nil:
		return errors.New("stopped; nothing is known")
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w; name a store or a backup, or the store with --store or REHOME_STORE as bolt:PATH, or the settings that have it with --config", err)
	case err != nil:
		return fmt.Errorf("it cannot be checked: %w", asOwner(err))
	}
	if format == "json" {
		err = p.writeJSON(found)
	} else {
		p.printExamined(found)
	}
	if err == nil && len(found.Problems) > 0 {
		return &exit{code: failed} // all is said
	}
	return err
}

// examine examines a file or, when somebody holds it, a copy of it.
func examine(ctx context.Context, path string) (found bolt.Examined, err error) {
	r, ok := dialBeside(path) //nolint:contextcheck // only asks whether somebody listens beside the store, within a bound
	if !ok {
		return bolt.Examine(path)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	copied, err := bolt.NewDraft(path)
	if err != nil {
		return found, err
	}
	defer copied.Discard()
	if err := errors.Join(r.snapshot(ctx, copied), copied.Close()); err != nil {
		return found, err
	}
	found, err = bolt.ExamineCopy(copied.Name(), path)
	found.Swept = copied.Swept
	return found, err
}

func (p *program) printExamined(f bolt.Examined) {
	kind := "a store"
	if f.BackupOf != nil {
		kind = "a backup of " + timeOf(*f.BackupOf)
	}
	for _, problem := range f.Problems {
		fmt.Fprintf(p.out, "%s: %s; %s\n", problem.Where, oneLine(problem.What), problem.Do)
	}
	for _, note := range f.Notes {
		fmt.Fprintf(p.out, "note: %s: %s; %s\n", note.Where, oneLine(note.What), note.Do)
	}
	p.printSwept(f.Swept)
	if len(f.Problems) > 0 {
		fmt.Fprintf(p.out, "%s: %s found\n", f.Path, count(len(f.Problems), "problem"))
		return
	}
	fmt.Fprintf(p.out, "%s is %s, and nothing is wrong with it\n", f.Path, kind)
	p.printContents(f)
	if len(f.Did) == 0 {
		return
	}
	fmt.Fprintln(p.out, "  what was done to it:")
	for _, e := range f.Did {
		fmt.Fprintf(p.out, "    %s  %s\n", timeOf(e.At), cutAt(oneLine(cmp.Or(e.Text, e.Event)), 200))
	}
}
