package intake

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A File is a file of alerts: CSV, NDJSON or JSON. It is read as its records are
// asked for and never held whole.
type File struct {
	Kind    string   // "NDJSON or JSON", "S360 export", "app credential inventory", "CSV of violations"
	Columns []Column // of a CSV file, in its order

	r    *bufio.Reader
	rows *rows
}

// A Column is a column of a CSV file and the path it fills.
type Column struct {
	Name string // as the header has it
	Path string // "" when it is left out
}

// Mapping says which path a column fills ("Application" → "app.appId"), over
// what its name alone would say. The path "-" leaves it out.
type Mapping map[string]string

// ParseMapping reads pairs such as "Application=app.appId".
func ParseMapping(pairs []string) (Mapping, error) {
	m := Mapping{}
	for _, pair := range pairs {
		column, to, ok := strings.Cut(pair, "=")
		column, to = strings.TrimSpace(column), strings.TrimSpace(to)
		if !ok || column == "" || to == "" {
			return nil, fmt.Errorf("%q maps no column; write COLUMN=PATH, as in \"Application=app.appId\", or COLUMN=- to leave it out", pair)
		}
		if _, twice := m[column]; twice {
			return nil, fmt.Errorf("the column %q is mapped twice; map it once", column)
		}
		m[column] = to
	}
	return m, nil
}

// Open looks at the beginning of a file to find out what it is. name tells CSV
// from JSON by its ending; without one that is known, the first byte does.
//
// The columns of a CSV file are known by their names, in any case and spacing:
// those of an S360 export, those of app-credential-inventory.csv, and the paths
// of the canonical violation (app.appId). A file without source.system is of
// the system "other".
func Open(r io.Reader, name string, m Mapping) (*File, error) {
	f := &File{r: bufio.NewReaderSize(r, 64<<10)}
	head, _ := f.r.Peek(4096)
	switch {
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		return nil, fmt.Errorf("%s is in UTF-16; save it as UTF-8 (in Excel: CSV UTF-8)", name)
	case !isCSV(name, head) && len(m) > 0:
		return nil, fmt.Errorf("%s is JSON, which has no columns to map; leave the mapping out", name)
	case !isCSV(name, head):
		f.Kind = "NDJSON or JSON"
		return f, nil
	}
	if bytes.HasPrefix(head, []byte("\ufeff")) {
		_, _ = f.r.Discard(len("\ufeff")) // it was peeked
	}
	var err error
	if f.rows, err = header(f.r, m); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	f.Kind, f.Columns = f.rows.layout.kind, f.rows.columns
	return f, nil
}

func isCSV(name string, head []byte) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".csv", ".tsv":
		return true
	case ".json", ".ndjson", ".jsonl":
		return false
	}
	first := trim(bytes.TrimPrefix(head, []byte("\ufeff")))
	return len(first) > 0 && first[0] != '{' && first[0] != '['
}

// Records yields the file's records in order, each with the line it begins on.
// A row of a CSV file comes as the JSON record it stands for.
func (f *File) Records() iter.Seq2[Record, error] {
	if f.rows == nil {
		return Records(f.r)
	}
	return f.rows.records
}

// A layout is what the columns of a kind of CSV file mean.
type layout struct {
	kind    string
	columns map[string]string // squashed name → path
	fill    func(row map[string]any, cell func(path string) string)
}

// squash leaves what matters of a column's name.
func squash(name string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			return c
		}
		return -1
	}, strings.ToLower(name))
}

func columns(paths ...string) map[string]string {
	m := make(map[string]string, len(paths))
	for _, p := range paths {
		m[squash(p)] = p
	}
	return m
}

var canonicalPaths = []string{
	"id", "source.system", "source.url", "title", "control.id", "control.name", "severity", "status", "detectedDateTime",
	"lastObservedDateTime", "dueDateTime", "etaDateTime", "slaState", "owner.alias", "owner.email", "owner.slackUserId",
	"assignee.alias", "assignee.email", "assignee.slackUserId", "service.id", "service.name", "app.appId", "app.objectId",
	"app.servicePrincipalObjectId", "app.displayName", "app.tenantId", "app.tenantName", "app.appOwnerOrganizationId",
	"app.cloud", "app.authority", "app.party", "app.sgOwnerTenant", "app.secretCount", "app.certCount", "app.secretsOnly",
	"credential.type", "credential.keyId", "credential.thumbprint", "credential.subjectName", "credential.usage",
	"credential.startDateTime", "credential.endDateTime", "credential.store.type", "credential.store.uri",
	"credential.store.resourceId", "credential.store.tenantId", "credential.store.tenantName", "credential.store.cloud",
	"remediation.url", "remediation.workItemUrl",
}

var s360Paths = []string{
	"KpiActionItemId", "KpiId", "KpiTitle", "Title", "ActionItemTitle", "TargetId", "ServiceName", "SLAState", "CurrentDueDate",
	"CurrentETA", "AssignedTo", "DelegatedAssignedTo", "LastUpdateTime", "URL", "CustomDimensions", "S360Dimensions",
	"CustomDimensions.AppId", "CustomDimensions.AppDisplayName", "CustomDimensions.AppHomeTenantId", "CustomDimensions.cloudType",
	"CustomDimensions.CertThumbprint", "CustomDimensions.CertSubjectName", "CustomDimensions.CertVaultUri",
	"S360Dimensions.ActionOwnerAlias", "S360Dimensions.ADOWorkItemHTMLUrl", "S360Dimensions.CloudType",
}

var violations = layout{
	kind: "CSV of violations", columns: columns(canonicalPaths...),
	fill: func(row map[string]any, cell func(string) string) {
		if cell("source.system") == "" {
			set(row, "source.system", "other")
		}
	},
}

// s360Export names the inner members without what is around them, too, as
// exports flatten them.
var s360Export = layout{kind: "S360 export", columns: func() map[string]string {
	m := columns(s360Paths...)
	for _, p := range s360Paths {
		if _, inner, ok := strings.Cut(p, "."); ok && m[squash(inner)] == "" {
			m[squash(inner)] = p
		}
	}
	return m
}(), fill: func(row map[string]any, cell func(string) string) {
	if cell("KpiActionItemId") == "" {
		set(row, "KpiActionItemId", "") // by which a row without one is known, too
	}
}}

// inventory is app-credential-inventory.csv (APP-09, step 1). A row is a
// finding when the app has secrets only; of any other app it says that there
// is nothing to do any more. The app is the finding, so its id is the row's.
var inventory = layout{
	kind: "app credential inventory",
	columns: map[string]string{
		"displayname": "app.displayName", "appid": "app.appId", "secretcount": "app.secretCount", "certcount": "app.certCount",
		"secretsonly": "app.secretsOnly", "objectid": "app.objectId", "tenantid": "app.tenantId", "owner": "owner.alias",
		"nearestsecretend": "credential.endDateTime",
	},
	fill: func(row map[string]any, cell func(string) string) {
		set(row, "source.system", "other")
		set(row, "control.id", "APP-09")
		set(row, "title", "APP-09: Workload Identity Federation & Certificate Credentials")
		if app := strings.ToLower(cell("app.appId")); app != "" {
			set(row, "id", "APP-09/"+app)
		}
		if strings.EqualFold(cell("app.secretsOnly"), "false") {
			set(row, "status", "resolved")
		}
		if owner := cell("owner.alias"); strings.Contains(owner, "@") {
			set(row, "owner", map[string]any{"email": owner})
		}
	},
}

// layoutOf returns the layout that columns are of.
func layoutOf(names []string, m Mapping) layout {
	has := map[string]bool{}
	for _, name := range names {
		has[squash(name)] = true
		if to := m[name]; to != "" {
			has[squash(to)] = true
		}
	}
	switch {
	case has["kpiactionitemid"]:
		return s360Export
	case has["secretsonly"] && has["appid"] && !has["id"]:
		return inventory
	}
	return violations
}

// rows reads the rows of a CSV file.
type rows struct {
	layout  layout
	columns []Column
	csv     *csv.Reader
	in      *meter
	head    []byte // the line of column names that says the same without a mapping; for what is kept
	unkept  string // why the text of no row is kept; "" when it may be
	inKey   bool   // a private key has begun in a row that cannot be read, and not ended
}

// header reads the first row of a CSV file and finds out what its columns fill.
func header(r *bufio.Reader, m Mapping) (*rows, error) {
	first, _ := r.Peek(r.Size())
	if end := bytes.IndexByte(first, '\n'); end >= 0 {
		first = first[:end]
	}
	s := &rows{in: &meter{r: r}}
	s.csv = csv.NewReader(s.in)
	s.csv.Comma = separator(first)
	s.csv.FieldsPerRecord = -1 // told apart below, by line
	s.csv.ReuseRecord = true
	s.in.next(0)
	names, err := s.csv.Read()
	switch {
	case errors.Is(err, io.EOF):
		return nil, errors.New("the file is empty; it should begin with a line of column names")
	case err != nil:
		return nil, fmt.Errorf("the line of column names cannot be read: %w", err)
	}
	names = slices.Clone(names)
	for i := range names {
		names[i] = oneLine(names[i])
	}
	s.layout = layoutOf(names, m)
	if err := s.name(names, m); err != nil {
		return nil, err
	}
	s.head = mappedHead(names, m, s.csv.Comma)
	for _, c := range s.columns {
		switch {
		case m[c.Name] == "-":
			s.unkept = "a column is not to be taken in"
		case keyMembers[fold(c.Name)] || keyMembers[squash(c.Name)] || c.Path == "" && forSecrets.MatchString(c.Name):
			s.unkept = "a column is for key material"
		}
	}
	return s, nil
}

// mappedHead returns a line of column names that needs no mapping.
func mappedHead(names []string, m Mapping, comma rune) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.Comma = comma
	cells := slices.Clone(names)
	for i, name := range names {
		if to, mapped := m[name]; mapped {
			cells[i] = to
		}
	}
	_ = w.Write(cells) // into memory
	w.Flush()
	return b.Bytes()
}

// separator returns what separates the cells of the first line: European
// spreadsheets write semicolons.
func separator(line []byte) rune {
	best := ','
	for _, c := range ";\t" {
		if bytes.Count(line, []byte(string(c))) > bytes.Count(line, []byte(string(best))) {
			best = c
		}
	}
	return best
}

// name gives each column its path.
func (s *rows) name(names []string, m Mapping) error {
	taken, used := map[string]string{}, 0
	for _, name := range names {
		c := Column{Name: name, Path: s.layout.columns[squash(name)]}
		if to, mapped := m[name]; mapped {
			if c.Path = s.layout.columns[squash(to)]; c.Path == "" && to != "-" {
				return fmt.Errorf("the column %q cannot be mapped to %q; in this file the paths are %s", name, to, s.paths())
			}
			used++
		}
		if other, twice := taken[c.Path]; twice && c.Path != "" {
			return fmt.Errorf("the columns %q and %q both fill %s; map one of them to -", other, name, c.Path)
		}
		taken[c.Path] = name
		s.columns = append(s.columns, c)
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if used < len(m) && !slices.Contains(names, name) {
			return fmt.Errorf("there is no column %q to map; the columns are %s", name, strings.Join(names, ", "))
		}
	}
	if delete(taken, ""); len(taken) == 0 {
		return fmt.Errorf("none of the columns %s means anything here; map them, as in --map \"%s=app.appId\"", strings.Join(names, ", "), names[0])
	}
	return nil
}

func (s *rows) paths() string {
	return strings.Join(slices.Compact(slices.Sorted(maps.Values(s.layout.columns))), ", ")
}

// records yields a record for each row. One that cannot be read is yielded with
// its text under the names of the columns: a small CSV file of its own, which can
// be read again as it is, or corrected and imported.
func (s *rows) records(yield func(Record, error) bool) {
	filled := s.filled()
	for index, last := 0, 1; ; {
		s.in.next(s.csv.InputOffset())
		cells, err := s.csv.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		rec := Record{Index: index, columns: filled}
		var bad *csv.ParseError
		switch {
		case errors.Is(err, errRowTooLong):
			rec.Line, rec.Raw = last+1, begin(s.asFile())
			yield(rec, malformed("", "a row is over 1 MiB, or a quote that is opened in it is never closed; correct it and import the rest again"))
			return
		case errors.As(err, &bad):
			rec.Line, last, rec.Raw = bad.StartLine, bad.Line, s.asFile()
			if !yield(rec, malformed("", fmt.Sprintf("the quotes of this row are wrong (line %d, byte %d); put cells that hold quotes in quotes, and double the quotes in them", bad.Line, bad.Column))) {
				return
			}
			index++
			continue
		case err != nil:
			yield(rec, fmt.Errorf("reading: %w", err))
			return
		}
		rec.Line, _ = s.csv.FieldPos(0)
		last = rec.Line
		if blank(cells) {
			continue
		}
		index++
		if len(cells) == len(s.columns) {
			s.follow(s.text())
		}
		if rec.Raw, err = s.record(cells); !yield(rec, err) {
			return
		}
	}
}

// filled returns the column that fills each path, for faults.
func (s *rows) filled() map[string]string {
	filled := map[string]string{}
	for _, c := range s.columns {
		filled[c.Path] = c.Name
	}
	if s.layout.kind == inventory.kind {
		filled["id"] = filled["app.appId"]
	}
	delete(filled, "")
	return filled
}

// asFile returns the text of the row that was read last under the names of the
// columns. Where a column is for key material, or is not to be taken in, nobody can
// tell which part of the text is that, so that the names are all there is; and
// likewise where the row is a line of a private key that stands there without quotes.
func (s *rows) asFile() []byte {
	text, unkept := s.text(), s.unkept
	if s.follow(text) || oneOfAKey.Match(text) {
		unkept = cmp.Or(unkept, "it looks like a part of a private key")
	}
	if unkept != "" {
		return fmt.Appendf(slices.Clone(s.head), "[left out: %s]", unkept)
	}
	return slices.Concat(s.head, text)
}

// text returns the row that was read last as it stands in the file.
func (s *rows) text() []byte { return bytes.Trim(s.in.row(s.csv.InputOffset()), "\r\n") }

// follow reports whether a row's text has a part of a private key, which may go on
// in the rows after it.
func (s *rows) follow(text []byte) bool {
	begins := bytes.Contains(text, []byte("KEY")) && keyBegins.Match(text)
	was := s.inKey
	s.inKey = (begins || was) && !keyEnds.Match(text)
	return begins || was
}

var (
	forSecrets = regexp.MustCompile(`(?i)secret|password|passwd|passphrase|pwd|token|pfx|private|key ?value`)
	keyBegins  = regexp.MustCompile(`(?i)BEGIN[A-Z0-9 ]*PRIVATE\s+KEY`)
	keyEnds    = regexp.MustCompile(`(?i)END[A-Z0-9 ]*PRIVATE\s+KEY`)
	oneOfAKey  = regexp.MustCompile(`^\s*[A-Za-z0-9+/]{32,}={0,2}\s*$`)
)

// rowIn returns the record of a row that was kept as a file of its own.
func rowIn(kept []byte) (Piece, bool) {
	if !isCSV("", kept) {
		return Piece{}, false
	}
	f, err := Open(bytes.NewReader(kept), ".csv", nil)
	if err != nil {
		return Piece{}, false
	}
	var rows []Piece
	for rec, err := range f.Records() {
		rows = append(rows, Piece{rec, err})
	}
	if len(rows) != 1 {
		return Piece{}, false
	}
	return rows[0], true
}

func blank(cells []string) bool {
	return !slices.ContainsFunc(cells, func(c string) bool { return strings.TrimSpace(c) != "" })
}

// record makes the JSON record that a row stands for.
func (s *rows) record(cells []string) ([]byte, error) {
	row := map[string]any{}
	if len(cells) != len(s.columns) {
		return s.asFile(), malformed("", fmt.Sprintf("the row has %d cells where there are %d columns; put cells that hold a %q in quotes", len(cells), len(s.columns), s.csv.Comma))
	}
	at := map[string]string{}
	for i, c := range s.columns {
		cell := plainCell(cells[i])
		if c.Path == "" || cell == "" {
			continue
		}
		if strings.HasSuffix(c.Path, "DateTime") {
			cell = withZone(cell)
		}
		at[c.Path] = cell
		set(row, c.Path, cell)
	}
	s.layout.fill(row, func(path string) string { return at[path] })
	text, err := json.Marshal(row)
	if err != nil {
		return nil, malformed("", "the row cannot be written as JSON") // unreachable: texts only
	}
	return text, nil
}

// plainCell is a cell without the apostrophe that keeps spreadsheets from
// taking it for a formula.
func plainCell(cell string) string {
	cell = strings.TrimSpace(cell)
	if rest, ok := strings.CutPrefix(cell, "'"); ok && rest != "" && strings.ContainsRune("=+-@", rune(rest[0])) {
		return rest
	}
	return cell
}

// withZone writes the times of spreadsheets and of PowerShell, which have no
// zone and are UTC, as the canonical violation has them. What is no time is
// left to be refused.
func withZone(cell string) string {
	for _, layout := range []string{time.DateOnly, "2006-01-02T15:04:05", time.DateTime} {
		if t, err := time.Parse(layout, cell); err == nil {
			return t.Format(time.RFC3339)
		}
	}
	return cell
}

// set puts a value in a row of nested objects.
func set(row map[string]any, path string, value any) {
	for {
		name, rest, nested := strings.Cut(path, ".")
		if !nested {
			row[name] = value
			return
		}
		in, ok := row[name].(map[string]any)
		if !ok {
			in = map[string]any{}
			row[name] = in
		}
		row, path = in, rest
	}
}

var errRowTooLong = errors.New("the row is too long")

// meter gives no more than is left, so that a quote that is never closed does
// not bring a whole file into memory, and holds what it gave of the row that is
// being read.
type meter struct {
	r    io.Reader
	left int
	held []byte
	from int64 // where in the input held begins
}

// next lets go of all before a place in the input, at which the next row begins.
func (m *meter) next(at int64) {
	m.left = MaxRecord
	m.held, m.from = m.held[at-m.from:], at
}

// row returns what there is of the row that was begun, up to a place in the input.
func (m *meter) row(to int64) []byte { return m.held[:to-m.from] }

func (m *meter) Read(p []byte) (int, error) {
	if m.left <= 0 {
		return 0, errRowTooLong
	}
	n, err := m.r.Read(p[:min(len(p), m.left)])
	m.left -= n
	m.held = append(m.held, p[:n]...)
	return n, err
}
