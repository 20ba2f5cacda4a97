package bolt_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Crash images. What a scribe asks of the disk is traced and played back on a
// disk that loses power: at any point it has everything that was synced by
// then, and of the rest what it liked, in any order, some of it torn in the
// middle of a page. A store must open from every one of these and hold all that
// its writer was told is durable.

func TestAStoreOutlivesALossOfPowerAtAnyPoint(t *testing.T) {
	s := seed(t)
	images, failures := crashes(t, s, "")
	if len(failures) > 0 {
		t.Errorf("%d of %d images fail, such as: %v", len(failures), images, failures[0])
	}
	t.Logf("%d crash images, %d failures", images, len(failures))
	images, failures = crashes(t, s, rashEnv)
	if len(failures) == 0 {
		t.Errorf("%d images of a store that syncs nothing, and no failure: this test would not find one", images)
	}
	t.Logf("%d crash images with syncs off, %d failures", images, len(failures))
}

// crashes traces a scribe and returns how many images were made of what it did,
// and what was wrong with them.
func crashes(t *testing.T, seed int64, rash string) (images int, failures []error) {
	t.Helper()
	root := t.TempDir()
	path := filepath.Join(root, "var", "rehome.db") // the folder is made as well
	log := filepath.Join(t.TempDir(), "trace")
	c := tracer(t, path, "-xx", "-s", "16777216", "-o", log,
		"-e", "trace=openat,close,mkdirat,linkat,unlinkat,renameat,renameat2,pwrite64,ftruncate,fdatasync,fsync,write")
	if rash != "" {
		c.Env = append(c.Env, rash+"=1")
	}
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("the scribe: %v: %s", err, out)
	}
	calls := readTrace(t, log)
	if err := audit(t.Context(), path, saidIn(calls), false, true); err != nil {
		t.Fatalf("without a crash: %v", err)
	}
	lot := rand.New(rand.NewSource(seed))
	at := filepath.Join(t.TempDir(), "image")
	d := newDisk(root)
	for i, call := range calls {
		if rash != "" && len(failures) >= enough && !*everything {
			break
		}
		d.play(call)
		for range draws(lot, i, len(calls)) {
			images++
			d.image(t, lot, at)
			if err := audit(t.Context(), filepath.Join(at, "var", "rehome.db"), d.said, false, rash == ""); err != nil {
				failures = append(failures, fmt.Errorf("after call %d of %d, %s: %w", i+1, len(calls), call.name, err))
			}
		}
	}
	return images, failures
}

// Without -all, more images are made of the file's making than of what comes
// after, which is most of the trace and much alike.
const (
	making = 100 // calls
	sample = 200 // images of what comes after
	enough = 20  // failures with syncs off
)

// draws says how many images are made after call i of n.
func draws(lot *rand.Rand, i, n int) int {
	switch {
	case i < making:
		return 4
	case *everything:
		return 3
	case lot.Intn(max(1, n-making)) < sample:
		return 1
	}
	return 0
}

// A call is a system call as strace saw it. One that takes a while is two: its
// beginning and its end.
type call struct {
	name      string
	args      []string
	returned  int
	begun     bool // this is its beginning
	ended     bool // this is its end
	failed    bool
	coversAll *[]*change // what a sync covers; shared by its beginning and its end
}

var (
	callLine    = regexp.MustCompile(`^(\d+) +(\w+)\((.*)$`)
	resumedLine = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>(.*)$`)
	endOfCall   = regexp.MustCompile(`\) += (-?\d+)`)
)

// readTrace reads what strace wrote.
func readTrace(t *testing.T, log string) (calls []call) {
	t.Helper()
	f, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 256<<20)
	under := map[string]call{} // by thread
	for lines.Scan() {
		line := lines.Text()
		if m := resumedLine.FindStringSubmatch(line); m != nil {
			c := under[m[1]]
			c.begun, c.ended = false, true
			c.returns(m[3])
			calls = append(calls, c)
			continue
		}
		m := callLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		c := call{name: m[2], begun: true, coversAll: new([]*change)}
		text, unfinished := strings.CutSuffix(m[3], " <unfinished ...>")
		if !unfinished {
			c.ended = true
			c.returns(text)
			text = text[:endOfCall.FindStringIndex(text)[0]]
		}
		c.args = strings.Split(text, ", ") // no string in it has a comma: they are in hex
		calls = append(calls, c)
		under[m[1]] = c
	}
	if err := lines.Err(); err != nil || len(calls) == 0 {
		t.Fatalf("%d calls in the trace, %v", len(calls), err)
	}
	return calls
}

func (c *call) returns(text string) {
	m := endOfCall.FindStringSubmatch(text)
	if m == nil {
		c.failed = true // the process ended in it
		return
	}
	c.returned, _ = strconv.Atoi(m[1])
	c.failed = c.returned < 0
}

func (c *call) number(arg int) int {
	n, _ := strconv.Atoi(strings.TrimSpace(c.args[arg]))
	return n
}

// bytes returns a string argument: "\x68\x69".
func (c *call) bytes(arg int) []byte {
	b, _ := hex.DecodeString(strings.ReplaceAll(strings.Trim(c.args[arg], `"`), `\x`, ""))
	return b
}

// saidIn returns all that the scribe said.
func saidIn(calls []call) map[string]bool {
	d := newDisk("/")
	for _, c := range calls {
		d.hear(c)
	}
	return d.said
}

// A disk is what a trace does to one folder: what is safe, and what may be lost.
type disk struct {
	path  string // of the folder
	root  *node
	files map[int]*node // by descriptor
	moved []*change     // changes to folders that are not synced, oldest first
	said  map[string]bool
}

// A node is a file or a folder.
type node struct {
	folder  map[string]*node // names, as they are now; nil for a file
	safe    map[string]*node // names that are synced
	bytes   []byte           // what is synced
	changes []*change        // what is not, oldest first
}

// A change is a write, a truncation, or to names in a folder.
type change struct {
	at       int
	bytes    []byte // nil for a truncation to at
	in       *node  // folder
	add      map[string]*node
	remove   string
	isSynced bool
}

func newFolder() *node { return &node{folder: map[string]*node{}, safe: map[string]*node{}} }

func newDisk(path string) *disk {
	return &disk{path: path, root: newFolder(), files: map[int]*node{}, said: map[string]bool{}}
}

// hear notes what the scribe says. It counts from when it begins to say it.
func (d *disk) hear(c call) {
	if c.name == "write" && c.begun && c.number(0) == 1 {
		for line := range strings.Lines(string(c.bytes(1))) {
			d.said[strings.TrimSuffix(line, "\n")] = true
		}
	}
}

// lookUp returns a path's folder, its last name, and what is there.
func (d *disk) lookUp(path string) (in *node, name string, is *node) {
	rel, ok := strings.CutPrefix(path, d.path+"/")
	if !ok {
		if path == d.path {
			return nil, "", d.root
		}
		return nil, "", nil
	}
	in = d.root
	dir, name := filepath.Split(rel)
	for _, part := range strings.FieldsFunc(dir, func(r rune) bool { return r == '/' }) {
		if in = in.folder[part]; in == nil {
			return nil, "", nil
		}
	}
	return in, name, in.folder[name]
}

// name changes names in a folder: add is put there, remove taken away.
func (d *disk) name(in *node, add string, is *node, remove string) {
	if in == nil {
		return
	}
	c := &change{in: in, remove: remove, add: map[string]*node{}}
	delete(in.folder, remove)
	if add != "" {
		c.add[add], in.folder[add] = is, is
	}
	d.moved = append(d.moved, c)
}

// play does what a call did.
func (d *disk) play(c call) {
	d.hear(c)
	if c.begun {
		d.begin(c)
	}
	if c.ended && !c.failed {
		d.end(c)
	}
}

// begin does what may be on the disk from the beginning of a call.
func (d *disk) begin(c call) {
	switch c.name {
	case "close":
		delete(d.files, c.number(0))
	case "write":
		if f := d.files[c.number(0)]; f != nil { // the sentinel, in one piece
			f.changes = append(f.changes, &change{bytes: c.bytes(1)})
		}
	case "pwrite64":
		if f := d.files[c.number(0)]; f != nil {
			f.changes = append(f.changes, &change{bytes: c.bytes(1), at: c.number(3)})
		}
	case "ftruncate":
		if f := d.files[c.number(0)]; f != nil {
			f.changes = append(f.changes, &change{at: c.number(1)})
		}
	case "fsync", "fdatasync":
		f := d.files[c.number(0)]
		switch {
		case f == nil:
		case f.folder == nil:
			*c.coversAll = slices.Clone(f.changes)
		default:
			for _, m := range d.moved {
				if m.in == f {
					*c.coversAll = append(*c.coversAll, m)
				}
			}
		}
	}
}

// end does what is done when a call returns.
func (d *disk) end(c call) {
	switch c.name {
	case "openat":
		in, name, is := d.lookUp(string(c.bytes(1)))
		if is == nil && in != nil && strings.Contains(c.args[2], "O_CREAT") {
			is = &node{}
			d.name(in, name, is, "")
		}
		delete(d.files, c.returned)
		if is != nil {
			d.files[c.returned] = is
		}
	case "mkdirat":
		in, name, _ := d.lookUp(string(c.bytes(1)))
		d.name(in, name, newFolder(), "")
	case "linkat":
		_, _, is := d.lookUp(string(c.bytes(1)))
		in, name, _ := d.lookUp(string(c.bytes(3)))
		d.name(in, name, is, "")
	case "renameat", "renameat2":
		_, old, is := d.lookUp(string(c.bytes(1)))
		in, name, _ := d.lookUp(string(c.bytes(3)))
		d.name(in, name, is, old)
	case "unlinkat":
		in, name, _ := d.lookUp(string(c.bytes(1)))
		d.name(in, "", nil, name)
	case "fsync", "fdatasync":
		for _, m := range *c.coversAll {
			m.isSynced = true
		}
		d.settle(d.files[c.number(0)])
	}
}

// settle makes safe what was synced.
func (d *disk) settle(f *node) {
	synced := func(c *change) bool { return c.isSynced }
	if f == nil {
		return
	}
	for _, c := range f.changes {
		if c.isSynced {
			f.bytes = c.done(f.bytes)
		}
	}
	f.changes = slices.DeleteFunc(f.changes, synced)
	for _, m := range d.moved {
		if m.isSynced {
			m.rename(m.in.safe)
		}
	}
	d.moved = slices.DeleteFunc(d.moved, synced)
}

// done returns what a file holds after a change.
func (c *change) done(b []byte) []byte {
	end := c.at + len(c.bytes)
	if c.bytes == nil && len(b) > c.at {
		return b[:c.at]
	}
	if end > len(b) {
		b = append(b, make([]byte, end-len(b))...)
	}
	copy(b[c.at:], c.bytes)
	return b
}

func (c *change) rename(names map[string]*node) {
	delete(names, c.remove)
	maps.Copy(names, c.add)
}

// image makes a folder of what may be left when the power goes now.
func (d *disk) image(t *testing.T, lot *rand.Rand, at string) {
	t.Helper()
	if err := os.RemoveAll(at); err != nil {
		t.Fatal(err)
	}
	// Which of the renamings have come through, in their order.
	left := map[*node]map[string]*node{}
	names := func(of *node) map[string]*node {
		if left[of] == nil {
			left[of] = map[string]*node{}
			maps.Copy(left[of], of.safe)
		}
		return left[of]
	}
	for _, m := range d.moved {
		if lot.Intn(2) == 0 {
			m.rename(names(m.in))
		}
	}
	var lay func(of *node, at string) error
	lay = func(of *node, at string) error {
		if of.folder == nil {
			return os.WriteFile(at, of.left(lot), 0o600)
		}
		if err := os.MkdirAll(at, 0o700); err != nil {
			return err
		}
		for name, is := range names(of) {
			if err := lay(is, filepath.Join(at, name)); err != nil {
				return err
			}
		}
		return nil
	}
	if err := lay(d.root, at); err != nil {
		t.Fatal(err)
	}
}

// sector is what a disk writes whole or not at all.
const sector = 512

// left returns what may be left of a file: what is synced, and of the rest some,
// in any order, some of that torn.
func (f *node) left(lot *rand.Rand) []byte {
	b := bytes.Clone(f.bytes)
	for _, i := range lot.Perm(len(f.changes)) {
		switch c := f.changes[i]; lot.Intn(3) {
		case 0:
			b = c.done(b)
		case 1:
			if c.bytes == nil {
				continue
			}
			for from := 0; from < len(c.bytes); from += sector {
				if lot.Intn(2) == 0 {
					part := change{at: c.at + from, bytes: c.bytes[from:min(from+sector, len(c.bytes))]}
					b = part.done(b)
				}
			}
		}
	}
	return b
}
