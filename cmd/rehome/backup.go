package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rehome/store/bolt"
)

func (p *program) backupCommand() *cobra.Command {
	var at string
	c := &cobra.Command{
		Use:   "backup [FILE]",
		Short: "Copy the store to a file while the bot runs, and check the copy",
		Long: `backup writes a copy of the store, as it is at one moment, to FILE; in a folder,
or beside the store when no FILE is named, to a new file with the time in its name.
The bot may run: it goes on meanwhile.

The copy is checked before it gets its name: structure, checksums, indexes, and the
journal's chain. Nothing is overwritten, and a copy that is not whole is not kept.
It is for its owner alone, as it holds all that the store does. Keep it on another
disk, and try now and then whether it can be restored (deploy/backup.md).

What a backup of the same name, but for the time in it, has left because it was
killed (NAME.unfinished-N) is removed first, and said.

The disk of the store needs room for one copy. A plain cp of a store in use is no
backup: it has parts of different moments.`,
		Example: `  rehome backup
  rehome backup /var/backups/rehome/
  rehome backup before-update.backup --format json | jq -r .journal.hash`,
		Args: args(0, 1, "one file or folder"),
	}
	checkedFlag(c, &at, "store", "the `store`, as bolt:PATH (REHOME_STORE; default "+defaultStore+")", checkStore)
	format := choiceFlag(c, "format", "how to print it", "text", "json")
	c.RunE = func(c *cobra.Command, args []string) error {
		var to string
		if len(args) > 0 {
			to = args[0]
		}
		return p.backup(c.Context(), at, to, format.value)
	}
	return c
}

func (p *program) backup(ctx context.Context, storeFlag, to, format string) (err error) {
	ctx, stop := untilSignal(ctx)
	defer stop()
	path, err := p.pathOf(storeFlag)
	if err != nil {
		return err
	}
	r, err := p.remembered(storeFlag) //nolint:contextcheck // only asks whether somebody listens beside the store, within a bound
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	now := p.now()
	if to, err = backupName(to, path, now); err != nil {
		return err
	}
	found, err := bolt.Backup(to, now, func(w io.Writer) error { return r.snapshot(ctx, w) })
	if ctx.Err() != nil {
		return errors.New("stopped; no backup was written")
	}
	if err != nil {
		return fmt.Errorf("no backup was written: %w", unwritten(seeAll(err, path), to))
	}
	if format == "json" {
		return p.writeJSON(found)
	}
	fmt.Fprintf(p.out, "%s is a whole backup of %s\n", to, path)
	p.printContents(found)
	p.printSwept(found.Swept)
	return nil
}

// seeAll says of a file that is damaged how to see all that is wrong with it.
func seeAll(err error, path string) error {
	if errors.Is(err, bolt.ErrDamaged) {
		return fmt.Errorf("%w; see all that is wrong with: rehome check %s", err, path)
	}
	return err
}

// unwritten says of a file that the system did not let us write where it was to
// be, and not what it was called meanwhile.
func unwritten(err error, path string) error {
	var system *fs.PathError
	if errors.As(err, &system) && (strings.HasPrefix(system.Path, path+bolt.Unfinished) || strings.HasPrefix(path, system.Path)) {
		return fmt.Errorf("%s cannot be written: %w; name a file in a folder that is there, has room, and that you may write", path, system.Err)
	}
	return asOwner(err)
}

// asOwner says of a file that the system did not let us use who may.
func asOwner(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w; run it as the user that the bot runs as", err)
	}
	return err
}

// backupName returns the file that a backup of the store at path goes to.
func backupName(to, path string, now time.Time) (string, error) {
	name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)) + "-" + now.UTC().Format("20060102T150405Z") + ".backup"
	if to == "" {
		return filepath.Join(filepath.Dir(path), name), nil
	}
	stat, err := os.Stat(to)
	switch {
	case err == nil && stat.IsDir():
		return filepath.Join(to, name), nil
	case strings.HasSuffix(to, string(filepath.Separator)):
		return "", fmt.Errorf("there is no folder %s; make it first: install -d -m 0700 %[1]s", to)
	}
	return to, nil
}

// printContents says what a file has in it.
func (p *program) printContents(f bolt.Examined) {
	fmt.Fprintf(p.out, "  %s, %s, %s waiting, %d given up, %d in quarantine\n",
		sizeOf(f.Size), count(f.Conversations, "conversation"), countOf(f.Deliveries, "delivery", "deliveries"), f.Abandoned, f.Quarantined)
	if f.Journal.At == nil {
		fmt.Fprintln(p.out, "  the journal is empty")
		return
	}
	fmt.Fprintf(p.out, "  journal entry %d is the last, of %s, hash %s\n", f.Journal.Last, timeOf(*f.Journal.At), f.Journal.Hash)
}

// printSwept says which files were in the way.
func (p *program) printSwept(files []string) {
	for _, file := range files {
		fmt.Fprintf(p.out, "  %s is removed: a command that was killed had left it\n", file)
	}
}

// sizeOf writes a number of bytes for people.
func sizeOf(n int64) string {
	const unit = 1000
	if n < unit {
		return fmt.Sprintf("%d bytes", n)
	}
	size, units := float64(n)/unit, "kMGT"
	for size >= unit && len(units) > 1 {
		size, units = size/unit, units[1:]
	}
	return fmt.Sprintf("%.1f %cB", size, units[0])
}

func countOf(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// pathOf returns the file of the store that a flag, the environment or
// rehome.yaml names.
func (p *program) pathOf(storeFlag string) (string, error) {
	s, err := p.settings()
	if err != nil {
		return "", err
	}
	return storePath(cmp.Or(storeFlag, s.Store))
}

// nobodyHolds refuses to change a store under a bot that runs.
func nobodyHolds(path string) error {
	r, ok := dialBeside(path)
	if !ok {
		return nil
	}
	return errors.Join(fmt.Errorf("a bot is running on %s; stop it first, such as with: systemctl stop rehome", path), r.Close())
}

func (d direct) snapshot(ctx context.Context, w io.Writer) error {
	s, ok := d.store.(*bolt.Store)
	if !ok {
		return errors.New("this store is in no file, so that there is nothing to copy")
	}
	f, err := s.Snapshot(ctx)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return errors.Join(err, f.Close())
}
