package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"rehome/bot"
	"rehome/bot/intake"
	"rehome/conversation"
	"rehome/policy"
	"rehome/store"
	"rehome/store/bolt"
)

// taker takes alerts in: of this process, or of the one that holds the store.
type taker interface {
	// takeIn takes a file in, a batch at a time and each in one transaction, and
	// says what became of it. After an error the batches heard of are in.
	takeIn(ctx context.Context, from source, hear func(heard) error) error
	// reread reads what is in quarantine again.
	reread(ctx context.Context, hear func(heard) error) error
	// discard lets go of what is in quarantine, by its numbers, and returns what
	// was there.
	discard(ctx context.Context, ids []uint64) ([]keptAside, error)
}

// source is a file of alerts. Its name tells what is in it, and where a record
// came from.
type source struct {
	name    string
	mapping intake.Mapping
	r       io.Reader
}

// heard is what a taker says, a batch at a time.
type heard struct {
	Kind    string          `json:"kind,omitempty"` // of the file; comes first
	LeftOut []string        `json:"leftOut,omitempty"`
	Became  []intake.Became `json:"became,omitempty"`
	End     bool            `json:"end,omitempty"` // over the socket: all has been said
	Error   string          `json:"error,omitempty"`
}

// A batch has no more records, and no more bytes, than this.
const (
	batchRecords = 1000
	batchBytes   = 8 << 20
)

// takeFile cuts a file into batches and gives each to take.
func takeFile(from source, hear func(heard) error, take func([]intake.Piece) ([]intake.Became, error)) error {
	f, err := intake.Open(from.r, from.name, from.mapping)
	if err != nil {
		return err
	}
	first := heard{Kind: f.Kind}
	for _, c := range f.Columns {
		if c.Path == "" {
			first.LeftOut = append(first.LeftOut, c.Name)
		}
	}
	if err := hear(first); err != nil {
		return err
	}
	var batch []intake.Piece
	size, in := 0, 0
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		became, err := take(batch)
		if err != nil {
			return fmt.Errorf("%s: %w; %d records before are in, and importing the file again does not double them", from.name, err, in)
		}
		in += len(batch)
		batch, size = nil, 0
		return hear(heard{Became: became})
	}
	for rec, err := range f.Records() {
		batch = append(batch, intake.Piece{Record: rec, Err: err})
		if size += len(rec.Raw); len(batch) == batchRecords || size >= batchBytes {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

func (d direct) takeIn(ctx context.Context, from source, hear func(heard) error) error {
	return takeFile(from, hear, func(batch []intake.Piece) ([]intake.Became, error) {
		return d.intake.Take(ctx, func(r intake.Record) string { return fmt.Sprintf("import %s:%d", from.name, r.Line) }, batch)
	})
}

func (d direct) reread(ctx context.Context, hear func(heard) error) error {
	all, err := d.store.Quarantined(ctx)
	if err != nil {
		return err
	}
	for at := 0; at < len(all); at += batchRecords {
		kept := all[at:min(at+batchRecords, len(all))]
		became, err := d.intake.Reread(ctx, kept)
		if err != nil {
			return err
		}
		for i := range became {
			became[i].Line = int(kept[i].ID) //nolint:gosec // counted from 1
		}
		if err := hear(heard{Became: became}); err != nil {
			return err
		}
	}
	return nil
}

// rehearse is takeIn without keeping anything.
func (d direct) rehearse(ctx context.Context, from source, hear func(heard) error) error {
	r, err := rehearsalOn(ctx, d.store)
	if err != nil {
		return err
	}
	in := &intake.Intake{Bot: r, Infer: d.intake.Infer, Route: router{}.by(policy.Default())}
	return direct{intake: in}.takeIn(ctx, from, hear)
}

func (d direct) discard(ctx context.Context, ids []uint64) ([]keptAside, error) {
	gone, err := d.store.Discard(ctx, time.Now(), ids...)
	return asKept(gone), err
}

// A rehearsal takes alerts in without keeping anything: it knows what is
// remembered, and what came before in the same run.
type rehearsal struct {
	store store.Store
	known map[string]string   // finding → its conversation
	heard map[string][32]byte // finding → what was said of it last in this run
}

func rehearsalOn(ctx context.Context, s store.Store) (rehearsal, error) {
	r := rehearsal{s, map[string]string{}, map[string][32]byte{}}
	err := s.List(ctx, func(c conversation.Conversation) bool {
		if c.Violation.ID != "" {
			r.known[intake.Alert{Violation: c.Violation}.Finding()] = c.ID
		}
		return ctx.Err() == nil
	})
	return r, errors.Join(err, ctx.Err())
}

func (r rehearsal) TakeIn(ctx context.Context, _ bot.Batch, alerts ...bot.Alert) ([]bot.Applied, error) {
	out := make([]bot.Applied, len(alerts))
	for i, a := range alerts {
		v := a.Opened.Violation
		id, known := r.known[a.Finding]
		if v.Over() && !known {
			continue // nothing is opened for what is over
		}
		text, err := json.Marshal(v)
		if err != nil {
			return nil, err // unreachable: texts, numbers and times of this century
		}
		said := sha256.Sum256(text)
		news := !known
		if before, heard := r.heard[a.Finding]; heard {
			news = before != said
		} else if known {
			c, err := r.store.Get(ctx, id)
			if err != nil {
				return nil, err
			}
			news = !c.HasHeard(v)
		}
		if !known {
			id = rehearsed
		}
		r.known[a.Finding], r.heard[a.Finding] = id, said
		out[i].Conversation.ID, out[i].Fresh, out[i].Again = id, news, known
	}
	return out, nil
}

// rehearsed is the id of every conversation that a rehearsal would open.
const rehearsed = "RH-?"

// dryRun is a taker that keeps nothing.
type dryRun struct{ remembered }

func (d dryRun) takeIn(ctx context.Context, from source, hear func(heard) error) error {
	return d.rehearse(ctx, from, hear)
}

func (d dryRun) reread(context.Context, func(heard) error) error {
	return wrong("--dry-run is for files; see what is in quarantine with: rehome list --quarantined")
}

func (d dryRun) discard(context.Context, []uint64) ([]keptAside, error) {
	return nil, wrong("--dry-run discards nothing; see what is in quarantine with: rehome list --quarantined")
}

// later stands for a workspace that cannot be reached from here: what is to be
// said waits in the store until serve says it.
type later struct {
	bot.Chat
	bot.People
}

type importInput struct {
	store, name        string
	mapping            []string
	discard            []uint
	dry, again, strict bool
	format             *choice
}

func (p *program) importCommand() *cobra.Command {
	var in importInput
	c := &cobra.Command{
		Use:   "import FILE…",
		Short: "Take in alerts from CSV, NDJSON or JSON files",
		Long: `import takes alerts in from files, or from standard input for -, and says what
each line became: a conversation, one that is known already, or not understood. What
is not understood is kept aside, and read again by --quarantined after an update;
rehome list --quarantined --format json has its text, to be corrected and imported.
What will never be understood is discarded by its number; the store's journal says
so. The same file twice has one effect.

The columns of a CSV file are known by their names: those of an S360 export, of
app-credential-inventory.csv, and the fields of a violation (app.appId). --map says
what another column is.

It writes into the store or, while serve or demo holds it, asks that process. What
people are told of it waits until the bot runs. --dry-run looks into the store as
well, so that it says what is known, and writes nothing.`,
		Example: `  rehome import --dry-run export.csv
  rehome import export.csv --map "Application=app.appId" --map "Team notes=-"
  az … | rehome import -
  rehome import --quarantined
  rehome import --quarantined --discard 3,7`,
		RunE: func(c *cobra.Command, files []string) error { return p.importAll(c.Context(), in, files) },
		Args: func(_ *cobra.Command, files []string) error {
			switch {
			case len(in.discard) > 0 && !in.again:
				return wrong("--discard goes with --quarantined: it takes the numbers that rehome list --quarantined shows")
			case in.again && len(files) > 0:
				return wrong("--quarantined takes no file: it reads what is in quarantine; see rehome import --help")
			case !in.again && len(files) == 0:
				return wrong("rehome import takes files with alerts, or - for standard input; see rehome import --help")
			}
			return nil
		},
	}
	f := c.Flags()
	checkedFlag(c, &in.store, "store", "the `store`, as bolt:PATH (REHOME_STORE; default "+defaultStore+")", checkStore)
	f.StringArrayVar(&in.mapping, "map", nil, "what a CSV column is: `COLUMN=FIELD`, or COLUMN=- to leave it out; may be repeated")
	f.StringVar(&in.name, "name", "", "for standard input: the `name` of the file it is, such as export.csv")
	f.BoolVar(&in.dry, "dry-run", false, "say what each line would become, and keep nothing")
	f.BoolVar(&in.again, "quarantined", false, "read again what is in quarantine")
	f.UintSliceVar(&in.discard, "discard", nil, "with --quarantined: let go of these for good, by their `numbers`")
	f.BoolVar(&in.strict, "strict", false, "exit with 1 when something was not understood")
	in.format = choiceFlag(c, "format", "how to print it", "text", "json")
	return c
}

// importAll takes the files in, one after the other. Ctrl-C needs no care: each
// batch is one transaction, and the same file again has no second effect.
func (p *program) importAll(ctx context.Context, in importInput, files []string) (err error) {
	mapping, err := intake.ParseMapping(in.mapping)
	if err != nil {
		return wrong("--map: %w", err)
	}
	into, done, err := p.taker(in) //nolint:contextcheck // only asks whether somebody listens beside the store, within a bound
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	if len(in.discard) > 0 {
		return p.discard(ctx, into, in)
	}
	r := newReport(p, in.dry, in.format.value == "json")
	r.again = in.again
	work := func() error {
		if in.again {
			return r.file("quarantine", 0, func(hear func(heard) error) error { return into.reread(ctx, hear) })
		}
		for _, file := range files {
			if err := p.importFile(ctx, into, r, cmp.Or(in.name, file), file, mapping); err != nil {
				return err
			}
		}
		return nil
	}
	failed := work()
	if err := errors.Join(failed, r.end()); err != nil {
		return err
	}
	if n := r.all.Quarantined; in.strict && n > 0 {
		return fmt.Errorf("%s not understood; see which with: rehome list --quarantined", count(n, "record"))
	}
	return nil
}

// discard lets go of what is in quarantine for good.
func (p *program) discard(ctx context.Context, from taker, in importInput) error {
	var ids []uint64
	for _, n := range in.discard {
		ids = append(ids, uint64(n))
	}
	gone, err := from.discard(ctx, ids)
	if err != nil {
		return err
	}
	if in.format.value == "json" {
		err = p.writeJSON(gone)
	}
	for _, q := range gone {
		if in.format.value != "json" {
			fmt.Fprintf(p.out, "%d from %s is discarded: %s\n", q.ID, oneLine(q.Source), cutAt(oneLine(q.Why), 200))
		}
		ids = slices.DeleteFunc(ids, func(id uint64) bool { return id == q.ID })
	}
	if err == nil && len(ids) > 0 {
		return fmt.Errorf("%v is not in quarantine; see what is with: rehome list --quarantined", ids)
	}
	return err
}

func (p *program) importFile(ctx context.Context, into taker, r *report, name, file string, mapping intake.Mapping) error {
	from, called, err := p.open(file)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	if file == "-" && name == "-" {
		name = called
	}
	var size int64
	if f, ok := from.(*os.File); ok {
		stat, err := f.Stat()
		if err != nil {
			return err
		}
		if stat.IsDir() {
			return fmt.Errorf("%s is a folder; name the files in it", file)
		}
		size = stat.Size()
	}
	stop := context.AfterFunc(ctx, func() { _ = from.Close() }) // ends a read that waits for more
	defer stop()
	err = r.file(name, size, func(hear func(heard) error) error {
		return into.takeIn(ctx, source{name, mapping, &gauge{from, &r.read}}, hear)
	})
	if ctx.Err() != nil {
		return errors.New("stopped; what was reported is in, and importing the file again does not double it")
	}
	return err
}

// taker finds out who takes alerts in: nobody for a rehearsal, the process that
// holds the store, or else this one.
func (p *program) taker(in importInput) (_ taker, done func() error, err error) {
	done = func() error { return nil }
	s, pol, err := p.configured()
	if err != nil {
		return nil, done, err
	}
	path, err := storePath(cmp.Or(in.store, s.Store))
	if err != nil {
		return nil, done, err
	}
	if r, ok := dialBeside(path); ok {
		if in.dry {
			return dryRun{r}, r.Close, nil
		}
		return r, r.Close, nil
	}
	if in.dry {
		return rehearseAlone(path, pol)
	}
	route, err := s.router()
	if err != nil {
		return nil, done, err
	}
	o := s.storeOptions()
	o.LockTimeout = time.Second
	st, err := openStore(path, o)
	if err != nil {
		return nil, done, err
	}
	b := bot.New(bot.Bot{Policy: pol, Store: st, Chat: later{}, People: later{}})
	return direct{st, &intake.Intake{Bot: b, Infer: pol.Infer, Route: route.by(pol)}}, st.Close, nil
}

// rehearseAlone rehearses on a store that nobody holds, or on none.
func rehearseAlone(path string, pol *policy.Policy) (taker, func() error, error) {
	in := &intake.Intake{Infer: pol.Infer}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return dryRun{direct{store.NewMem(), in}}, func() error { return nil }, nil
	}
	st, err := openStore(path, bolt.Options{LockTimeout: time.Second})
	if err != nil {
		return nil, func() error { return nil }, err
	}
	return dryRun{direct{st, in}}, st.Close, nil
}
