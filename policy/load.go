package policy

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A loader reads the policy files into p and collects what is wrong with them.
// Reading goes on after an error, so that one run shows them all.
type loader struct {
	p    *Policy
	errs []error
}

// load reads the files in the order in which they build on each other.
func (l *loader) load() {
	l.loadMeta()
	l.p.words.init()
	l.loadTables()
	l.loadTitles()
	l.loadAliases()
	l.loadHosts()
	l.loadLinks()
	l.loadRequirements()
	l.loadPlaybooks()
}

// wrong notes an error: what is wrong, and what to do about it. The same error is
// noted once, however many playbooks share the file it is in.
func (l *loader) wrong(file string, line int, what, fix string) {
	err := fmt.Errorf("%s:%d: %s; %s", file, line, what, fix)
	if !slices.ContainsFunc(l.errs, func(e error) bool { return e.Error() == err.Error() }) {
		l.errs = append(l.errs, err)
	}
}

// A record is one line of a CSV file, its cells found by column name.
type record struct {
	file  string
	line  int
	cells map[string]string
}

func (r record) at() string { return fmt.Sprintf("%s:%d", r.file, r.line) }

// records reads a CSV file whose first line names its columns. Lines that begin
// with # are comments. A missing, unknown or doubled column and a line with too
// few or too many cells are errors; good lines are returned all the same.
func (l *loader) records(file string, columns ...string) []record {
	content, ok := l.text(file)
	if !ok {
		return nil
	}
	r := csv.NewReader(bytes.NewReader(content))
	r.Comment = '#'
	r.FieldsPerRecord = -1
	r.TrimLeadingSpace = true
	header, err := r.Read()
	if err != nil {
		l.wrong(file, 1, "there is no heading line", "make the first line "+strings.Join(columns, ","))
		return nil
	}
	before := len(l.errs)
	line, _ := r.FieldPos(0)
	if !l.header(file, line, header, columns) {
		return nil
	}
	var out []record
	for {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			if len(out) == 0 && len(l.errs) == before && needsRows[file] {
				l.wrong(file, line, "there is nothing below the heading line", "put the rows back; a table without rows decides nothing")
			}
			return out
		}
		if err != nil {
			line, what := csvError(err)
			l.wrong(file, line, what, "put double quotes around a cell that holds a comma, and write a quote inside it twice")
			return out
		}
		line, _ := r.FieldPos(0)
		if len(cells) != len(header) {
			l.wrong(file, line, fmt.Sprintf("there are %d cells where the heading names %d", len(cells), len(header)), "fill in every column, with nothing between two commas for an empty one")
			continue
		}
		row := record{file: file, line: line, cells: make(map[string]string, len(cells))}
		for i, name := range header {
			row.cells[name] = strings.TrimSpace(cells[i])
		}
		out = append(out, row)
	}
}

// needsRows are the tables that must have rows, since nothing can be decided or
// asked without them. It catches a file that was cut off after its heading.
var needsRows = map[string]bool{"1p.csv": true, "3p.csv": true, "titles.csv": true}

func csvError(err error) (line int, what string) {
	var parse *csv.ParseError
	if errors.As(err, &parse) {
		return parse.Line, "the line is not valid CSV (" + parse.Err.Error() + ")"
	}
	return 1, err.Error()
}

// header checks the heading line and trims its names in place.
func (l *loader) header(file string, line int, header, columns []string) bool {
	ok := true
	for i := range header {
		header[i] = strings.TrimSpace(header[i])
		if !slices.Contains(columns, header[i]) {
			l.wrong(file, line, fmt.Sprintf("unknown column %q", header[i]), "the columns are "+strings.Join(columns, ","))
			ok = false
		} else if slices.Contains(header[:i], header[i]) {
			l.wrong(file, line, fmt.Sprintf("column %q is there twice", header[i]), "remove one of them")
			ok = false
		}
	}
	for _, name := range columns {
		if !slices.Contains(header, name) {
			l.wrong(file, line, fmt.Sprintf("column %q is missing", name), "the columns are "+strings.Join(columns, ","))
			ok = false
		}
	}
	return ok
}

// text returns a file's content without a byte order mark. Every file is UTF-8.
func (l *loader) text(file string) ([]byte, bool) {
	content := bytes.TrimPrefix(l.p.files[file], []byte("\uFEFF"))
	if !utf8.Valid(content) {
		line := 1 + bytes.Count(content[:invalidUTF8(content)], []byte("\n"))
		l.wrong(file, line, "the file is not UTF-8", "save it as UTF-8")
		return nil, false
	}
	return content, true
}

func invalidUTF8(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(b)
}

// loadMeta reads policy.csv: one name and value a line.
func (l *loader) loadMeta() {
	const file = "policy.csv"
	p := l.p
	p.maxAge = 180
	values := map[string]record{}
	names := []string{"version", "max_age_days", "first_party_owner_tenants", "hint_owner_tenants", "invalid_sg_owners", "policy_owner"}
	for _, r := range l.records(file, "name", "value") {
		name := r.cells["name"]
		switch _, twice := values[name]; {
		case !slices.Contains(names, name):
			l.wrong(file, r.line, fmt.Sprintf("unknown name %q", name), "the names are "+strings.Join(names, ", "))
		case twice:
			l.wrong(file, r.line, fmt.Sprintf("%q is there twice", name), "remove one of the lines")
		default:
			values[name] = r
		}
	}
	for _, name := range names {
		if _, ok := values[name]; !ok {
			l.wrong(file, 1, fmt.Sprintf("%q is missing", name), "add a line "+name+",…")
		}
	}
	if r, ok := values["version"]; ok {
		p.version = r.cells["value"]
		reviewed, err := time.Parse(time.DateOnly, p.version)
		if err != nil {
			l.wrong(file, r.line, fmt.Sprintf("version %q is not a day", p.version), "write the day of the last review as 2026-04-30")
		}
		p.reviewed = reviewed
	}
	if r, ok := values["max_age_days"]; ok {
		days, err := strconv.Atoi(r.cells["value"])
		if err != nil || days < 1 {
			l.wrong(file, r.line, fmt.Sprintf("max_age_days %q is not a number of days", r.cells["value"]), "write a whole number from 1 up")
		}
		p.maxAge = days
	}
	p.firstPartyOwners = l.ids(values["first_party_owner_tenants"])
	p.hintOwners = l.ids(values["hint_owner_tenants"])
	p.invalidSGOwners = list(values["invalid_sg_owners"].cells["value"])
	p.owner = values["policy_owner"].cells["value"]
	if r, ok := values["policy_owner"]; ok && p.owner == "" {
		l.wrong(file, r.line, "policy_owner is empty", "say whom to ask when the tables have no row")
	}
}

// ids reads a list of tenant ids.
func (l *loader) ids(r record) map[string]bool {
	out := map[string]bool{}
	for _, id := range list(r.cells["value"]) {
		id = strings.ToLower(id)
		if !isGUID(id) {
			l.wrong(r.file, r.line, fmt.Sprintf("%q is not a tenant id", id), "write ids as 00000000-0000-0000-0000-000000000000, with ; between two of them")
			continue
		}
		out[id] = true
	}
	return out
}

// list splits a cell at semicolons.
func list(cell string) []string {
	var out []string
	for part := range strings.SplitSeq(cell, ";") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// isGUID reports whether s is a GUID in lower case with dashes, without braces.
func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if s[i] != '-' {
				return false
			}
		} else if !isLowerHex(s[i]) {
			return false
		}
	}
	return true
}

func isLowerHex(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' }
