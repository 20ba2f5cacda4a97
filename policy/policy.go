// Package policy knows what a violation is, what can be said about it, and what
// is to be done: the tables that say where a certificate belongs, the playbooks
// that say how to get it there, and the steps from a handful of facts to a
// decision. It is pure: values in, values out, and it is told the time.
//
//	p := policy.Default()
//	facts := p.Infer(violation)            // what the alert says, and what follows from it
//	d := p.Decide(facts, now)              // one of seven outcomes, always
//	for d.Need != nil {                    // exactly one thing is asked at a time
//		choice, ok := p.Match(*d.Need, typed)
//		facts = facts.With(policy.Fact{Name: d.Need.Fact, Value: choice.Value, From: policy.FromAnswer})
//		d = p.Decide(facts, now)
//	}
//	fmt.Print(d.Markdown())
//
// What the policy says is in files anyone can edit, under data/:
//
//	policy.csv        version, greatest age, ids and words that mean something
//	titles.csv        violation title → what kind it is, or whose it is
//	3p.csv, 1p.csv    the policy tables (guide-cert-rehoming, "Policy Tables")
//	clouds.csv        host → cloud
//	aliases.csv       other ways to say a value
//	links.csv         every address a reply may show
//	requirements.md   what holds for every remediation
//	playbooks/*.md    the steps, with {blanks} that are filled in from facts
//	steps/*.md        texts of steps that stand in several playbooks
//
// Load reads them with a folder laid over the embedded ones and says everything
// that is wrong with them, by file and line. The format of a playbook is
// described at parsePlaybook.
package policy

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

//go:embed data
var embedded embed.FS

// A Policy is one set of policy files, read and checked. It never changes after
// it is made and may be used by many goroutines at once.
type Policy struct {
	files map[string][]byte

	version  string    // as written, e.g. 2026-04-30
	reviewed time.Time // version as a day in UTC
	maxAge   int       // days from one review to the next
	digest   string    // sha256:…
	owner    string    // whom to ask when the tables have no row

	firstPartyOwners map[string]bool // owner organisation ids that prove 1P
	hintOwners       map[string]bool // owner organisation ids that suggest 1P and prove nothing
	invalidSGOwners  []string        // SG owners for which no row can exist, because the group itself is wrong

	words  vocabulary
	titles titleTable
	hosts  []host
	tables tables

	links        map[string]*linkDef
	requirements []Requirement
	playbooks    map[string]*playbook // by scenario/party/option, see playbookKey

	tenants map[string]TenantEntry // by lower-case tenant id; WithTenants sets it
	byName  map[string]TenantEntry // the same by name; of two entries with one name, that of the smaller id
	mark    string                 // see Mark; "" without tenants
}

// Default returns the policy that is built in. All callers share one value.
func Default() *Policy { return builtIn() }

var builtIn = sync.OnceValue(func() *Policy {
	p, err := Load(nil)
	if err != nil {
		panic("the built-in policy is broken: " + err.Error()) // unreachable: a test loads it
	}
	return p
})

// Load reads the policy with the files of fsys laid over the built-in ones: a
// file that is there replaces the built-in file of the same path. fsys may be
// nil. A file this policy does not know is an error, because a misspelt name
// would otherwise silently change nothing. Each error reads
// "file:line: what is wrong; what to do", and all of them are joined.
func Load(fsys fs.FS) (*Policy, error) {
	files := builtInFiles()
	var errs []error
	if fsys != nil {
		errs = overlay(files, fsys)
	}
	l := &loader{p: &Policy{files: files, digest: digest(files)}, errs: errs}
	l.load()
	if len(l.errs) > 0 {
		return nil, errors.Join(l.errs...)
	}
	return l.p, nil
}

// Files returns the policy's files by path, for showing and comparing. The
// contents are copies.
func (p *Policy) Files() map[string][]byte {
	out := make(map[string][]byte, len(p.files))
	for name, content := range p.files {
		out[name] = slices.Clone(content)
	}
	return out
}

// Version says which policy this is, and in Stale whether it was last reviewed
// too long before now.
func (p *Policy) Version(now time.Time) Version {
	v := Version{Version: p.version, Digest: p.digest}
	if days := int(now.Sub(p.reviewed).Hours() / 24); days > p.maxAge {
		v.Stale = fmt.Sprintf("policy reviewed %s is %d days old; it should be reviewed every %d days. Check with %s before acting on it.",
			p.version, days, p.maxAge, p.owner)
	}
	return v
}

// WithTenants returns the policy with tenant ids known by name. The ids are
// deployment configuration and never part of the policy files or its digest.
func (p *Policy) WithTenants(byID map[string]TenantEntry) *Policy {
	out := *p
	out.tenants = make(map[string]TenantEntry, len(byID))
	out.byName = make(map[string]TenantEntry, len(byID))
	all := sha256.New()
	fmt.Fprintln(all, p.digest)
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		entry := byID[id]
		out.tenants[strings.ToLower(id)] = entry
		fmt.Fprintf(all, "%q %q\n", strings.ToLower(id), fmt.Sprint(entry))
		if _, taken := out.byName[entry.Name]; !taken {
			out.byName[entry.Name] = entry
		}
	}
	out.mark = hex.EncodeToString(all.Sum(nil)[:8])
	return &out
}

// Mark returns 16 hexadecimal digits that change when anything changes that
// decisions depend on: the policy's files, or the tenants that are known by name.
// It is for comparing and not for showing.
func (p *Policy) Mark() string {
	if p.mark == "" {
		return strings.TrimPrefix(p.digest, "sha256:")[:16]
	}
	return p.mark
}

// builtInFiles returns the embedded files by their path inside data/.
func builtInFiles() map[string][]byte {
	files := map[string][]byte{}
	walk := func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := embedded.ReadFile(name)
		files[strings.TrimPrefix(name, "data/")] = content
		return err
	}
	if err := fs.WalkDir(embedded, "data", walk); err != nil {
		panic(err) // unreachable: the files are part of the program
	}
	return files
}

// maxFileSize bounds one policy file; the largest built-in one is a few KiB.
const maxFileSize = 1 << 20

// overlay replaces files by those of fsys. Names that begin with a dot are left
// alone: mounted folders keep their bookkeeping there.
func overlay(files map[string][]byte, fsys fs.FS) []error {
	var errs []error
	wrong := func(name, what string) {
		errs = append(errs, fmt.Errorf("%s:1: %s", name, what))
	}
	walk := func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			wrong(name, "it cannot be read ("+err.Error()+"); check that the folder exists and may be read")
			return nil //nolint:nilerr // kept in errs, so that every problem is named
		case name != "." && strings.HasPrefix(path.Base(name), "."):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir():
			if _, file := files[name]; file {
				wrong(name, "this is a folder where a file should be; remove it, or put the file in its place")
			}
			return nil
		}
		stat, err := fs.Stat(fsys, name) // follows a link, which the entry does not
		if err == nil && stat.IsDir() {
			return nil
		}
		if _, known := files[name]; !known {
			wrong(name, "this is not a policy file; remove it, or rename it to one of "+strings.Join(slices.Sorted(maps.Keys(files)), ", "))
			return nil
		}
		if err == nil && stat.Size() > maxFileSize {
			wrong(name, "it is larger than 1 MiB; no policy file is, so check what was put here")
			return nil
		}
		content, err := fs.ReadFile(fsys, name)
		if err != nil {
			wrong(name, "it cannot be read ("+err.Error()+"); check its permissions")
			return nil //nolint:nilerr // kept in errs
		}
		files[name] = content
		return nil
	}
	if err := fs.WalkDir(fsys, ".", walk); err != nil {
		wrong(".", "the folder cannot be read ("+err.Error()+"); check that it exists")
	}
	return errs
}

// digest is taken over every path and content, each with its length in front,
// so that no two sets of files share one by shifting bytes between them.
func digest(files map[string][]byte) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(h, "%d %s %d ", len(name), name, len(files[name]))
		h.Write(files[name])
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}
