package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"rehome/store/bolt"
)

func (p *program) restoreCommand() *cobra.Command {
	var to string
	c := &cobra.Command{
		Use:   "restore BACKUP",
		Short: "Make a store of a backup",
		Long: `restore makes a store of a backup: at the place of the store that the settings
name, or at --to. It checks the backup first, and refuses to overwrite a store or to
work beside a running bot: stop the bot and move a damaged store away, and keep it.

What was after the backup is lost to the bot, but not to the world, so that:

- What waited to be said when the backup was made, and what followed from it, may
  have been said since. From now on, each message that a conversation of the backup
  does not know to be posted is looked for in Slack before it is sent again. What
  cannot be looked for, such as a line that only one person sees, may come twice.
- Conversations that were opened since are gone. Their messages stay in Slack, and
  their buttons lead nowhere. New conversations get numbers at least 10,000 above,
  so that no number that people saw means something else.
- Answers given since are gone. Messages show them until the conversation moves on.
- Findings come again with their feed, and open conversations anew. Import what no
  feed repeats.

The store's journal says that it was restored, and of when. Make sure that no other
bot goes on with the lost store: both would speak.

To try a backup out, restore it to a place of its own and look into it; a bot
started on it would speak.`,
		Example: `  rehome restore /var/backups/rehome/rehome-20261121T030000Z.backup
  rehome restore last.backup --to /tmp/drill/rehome.db && rehome list --store bolt:/tmp/drill/rehome.db`,
		Args: args(1, 1, "one backup"),
	}
	c.Flags().StringVar(&to, "to", "", "where the store is to be: a `path` (default: where the settings have it)")
	format := choiceFlag(c, "format", "how to print it", "text", "json")
	c.RunE = func(_ *cobra.Command, args []string) error { return p.restore(args[0], to, format.value) }
	return c
}

func (p *program) restore(backup, to, format string) error {
	path, err := strings.TrimPrefix(to, "bolt:"), error(nil)
	if path == "" {
		if path, err = p.pathOf(""); err != nil {
			return err
		}
	}
	if err := nobodyHolds(path); err != nil {
		return err
	}
	r, err := bolt.Restore(backup, path, p.now())
	switch {
	case errors.Is(err, bolt.ErrExists):
		return fmt.Errorf("%s is there already, and nothing is overwritten; stop the bot and move it away (mv %[1]s %[1]s.damaged), or name another place with --to", path)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w; name a file that rehome backup wrote", err)
	case err != nil:
		return fmt.Errorf("nothing was restored: %w", unwritten(seeAll(err, backup), path))
	}
	if format == "json" {
		return p.writeJSON(r)
	}
	of := "a copy that does not say of when it is"
	if r.Of != "" {
		of = "a backup of " + r.Of
	}
	fmt.Fprintf(p.out, "%s is restored from %s, %s\n", path, backup, of)
	p.printContents(r.Examined)
	p.printSwept(r.Swept)
	if r.Deliveries > 0 {
		fmt.Fprintf(p.out, "  %s may have been made since; each message is looked for in Slack before it is sent again\n", countOf(r.Deliveries, "delivery", "deliveries"))
	}
	fmt.Fprintf(p.out, "  the next conversation will be %s, as numbers up to there may have been seen\n", r.Next)
	fmt.Fprintf(p.out, "\nNext: make sure that no bot goes on with the store that was lost, then\n")
	fmt.Fprintf(p.out, "  rehome outbox --store bolt:%s   shows what is about to be said\n", path)
	fmt.Fprintf(p.out, "  rehome serve --store bolt:%s    starts the bot\n", path)
	fmt.Fprintf(p.out, "  rehome import FILE…             takes in again what came since and no feed repeats\n")
	return nil
}
