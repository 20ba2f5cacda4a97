package bolt

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
)

// A Draft is a file on its way to a path: written beside it as
// PATH.unfinished-N, and moved there when it is whole. A process that is killed
// leaves its draft behind, which may be as large as the store.
//
// Whoever makes a draft holds a shared lock on the folder (flock, which ends
// with the process) for as long as the draft is there. So whoever gets that lock
// alone knows that every draft in the folder was left behind, and removes those
// of its own path. Where folders cannot be locked nothing is removed.
type Draft struct {
	*os.File          // for its owner alone (0600)
	Swept    []string // drafts of the same path that were left behind and are removed now

	folder *os.File // locked; nil where that cannot be
}

// NewDraft begins a file that is to be at path. Whoever gets it must Discard it
// when it has been moved there, or is of no more use.
func NewDraft(path string) (*Draft, error) {
	dir := filepath.Dir(path)
	d := &Draft{}
	d.folder, d.Swept = sweep(path)
	if d.folder != nil && !lockShared(d.folder) {
		// Somebody else's lock, who removes nothing while it is held.
		_ = d.folder.Close()
		d.folder = nil
	}
	var err error
	if d.File, err = os.CreateTemp(dir, filepath.Base(path)+Unfinished+"*"); err != nil {
		d.letGo()
		return nil, err
	}
	return d, nil
}

// Unfinished is in the names of drafts, behind the path they are for.
const Unfinished = ".unfinished-"

// Discard removes the draft, unless it was moved, and is to be called once.
func (d *Draft) Discard() {
	_ = os.Remove(d.Name())
	d.letGo()
}

func (d *Draft) letGo() {
	if d.folder != nil {
		_ = d.folder.Close() // and with it goes the lock
	}
}

// tidy removes what was left behind beside a store that is opened.
func tidy(path string, log *slog.Logger) {
	folder, gone := sweep(path)
	if folder != nil {
		_ = folder.Close()
	}
	if len(gone) > 0 {
		log.Info("unfinished files were left by a process that was killed, and are removed", "files", gone)
	}
}

// stamped is the time in the name of a backup.
var stamped = regexp.MustCompile(`\d{8}T\d{6}Z`)

// draftsOf matches the names of drafts of a path, of the files that belong to it
// (sentinel, backup before a migration), and of the same path with another time
// in its name.
func draftsOf(path string) *regexp.Regexp {
	name := stamped.ReplaceAllLiteralString(regexp.QuoteMeta(filepath.Base(path)), stamped.String())
	return regexp.MustCompile(fmt.Sprintf(`^%s(\.id|\.schema-\d+)?%s\d+$`, name, regexp.QuoteMeta(Unfinished)))
}

// sweep removes the drafts of a path that were left behind, when nobody makes any
// in its folder, and returns that folder, with the lock on it; nil when it cannot
// be opened. What cannot be removed is left for somebody who may.
func sweep(path string) (folder *os.File, gone []string) {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, nil
	}
	if !lockAlone(folder) {
		return folder, nil
	}
	left, _ := folder.ReadDir(-1) // as many as can be read
	drafts := draftsOf(path)
	for _, f := range left {
		at := filepath.Join(filepath.Dir(path), f.Name())
		if f.Type().IsRegular() && drafts.MatchString(f.Name()) && os.Remove(at) == nil {
			gone = append(gone, at)
		}
	}
	return folder, gone
}
