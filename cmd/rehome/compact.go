package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"rehome/store/bolt"
)

func (p *program) compactCommand() *cobra.Command {
	var at string
	c := &cobra.Command{
		Use:   "compact",
		Short: "Give back the room in the store's file that nothing is in",
		Long: `compact writes the store's file anew without its free pages. The file never
shrinks by itself: what is forgotten (keep: in rehome.yaml) leaves free pages, which
are used again, but make every commit slower while they are many. rehome check says
when it is worth it.

Stop the bot first. The new file is checked, and has the same in it as the old one,
before it takes its place; the disk needs room for it meanwhile.`,
		Example: `  systemctl stop rehome && rehome compact --store bolt:/var/lib/rehome/rehome.db && systemctl start rehome`,
		Args:    args(0, 0, "flags only"),
	}
	checkedFlag(c, &at, "store", "the `store`, as bolt:PATH (REHOME_STORE; default "+defaultStore+")", checkStore)
	format := choiceFlag(c, "format", "how to print it", "text", "json")
	c.RunE = func(*cobra.Command, []string) error { return p.compact(at, format.value) }
	return c
}

func (p *program) compact(at, format string) error {
	path, err := p.pathOf(at)
	if err != nil {
		return err
	}
	if err := nobodyHolds(path); err != nil {
		return err
	}
	done, err := bolt.Compact(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return noStore(path)
	case err != nil:
		return fmt.Errorf("the store was left as it is: %w", asOwner(seeAll(err, path)))
	}
	if format == "json" {
		return p.writeJSON(done)
	}
	fmt.Fprintf(p.out, "%s had %s and has %s now; %s went\n", path, sizeOf(done.Before), sizeOf(done.After), count(done.FreePages, "free page"))
	p.printSwept(done.Swept)
	return nil
}
