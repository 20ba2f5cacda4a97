package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A TenantEntry is what a deployment knows of one tenant id.
type TenantEntry struct {
	Name    string `json:"name"` // as the tables write it, or another word such as Corp
	Cloud   Cloud  `json:"cloud"`
	NonProd bool   `json:"nonProd,omitempty"`
}

// ParseTenants reads a tenant map: a JSON object of tenant id → name, cloud and
// nonProd. Each error says the line and what to do, and all of them are joined.
func ParseTenants(content []byte) (map[string]TenantEntry, error) {
	t := tenantReader{content: bytes.TrimPrefix(content, []byte("\uFEFF"))}
	t.d = json.NewDecoder(bytes.NewReader(t.content))
	out := map[string]TenantEntry{}
	if err := t.read(out); err != nil {
		t.errs = append(t.errs, err)
	}
	if len(t.errs) > 0 {
		return nil, errors.Join(t.errs...)
	}
	return out, nil
}

// A tenantReader reads entry by entry, so that an error has a line.
type tenantReader struct {
	content []byte
	d       *json.Decoder
	errs    []error
}

// read fills out. It returns an error where reading cannot go on.
func (t *tenantReader) read(out map[string]TenantEntry) error {
	const shape = `write {"<tenant id>": {"name": "AME", "cloud": "Public"}, …}`
	if first, err := t.d.Token(); err != nil || first != json.Delim('{') {
		return t.at("the tenant map is not a JSON object", shape)
	}
	for t.d.More() {
		name, err := t.d.Token()
		if err != nil {
			return t.at("the JSON cannot be read ("+err.Error()+")", shape)
		}
		id := strings.ToLower(fmt.Sprint(name))
		before := t.line()
		var raw json.RawMessage
		if err := t.d.Decode(&raw); err != nil {
			return t.at("the JSON cannot be read ("+err.Error()+")", shape)
		}
		entry, err := tenantEntry(raw)
		switch {
		case err != nil:
			t.errs = append(t.errs, fmt.Errorf("line %d: tenant %s: %w", before, id, err))
		case !isGUID(id):
			t.errs = append(t.errs, fmt.Errorf("line %d: %q is not a tenant id; write it as 00000000-0000-0000-0000-000000000000", before, clean(id)))
		case out[id] != TenantEntry{}:
			t.errs = append(t.errs, fmt.Errorf("line %d: tenant %s is there twice; remove one of the entries", before, id))
		default:
			out[id] = entry
		}
	}
	if _, err := t.d.Token(); err != nil {
		return t.at("the JSON ends too early", "close it with }")
	}
	if _, err := t.d.Token(); !errors.Is(err, io.EOF) {
		return t.at("there is more after the closing }", "remove what follows it")
	}
	return nil
}

func (t *tenantReader) at(what, fix string) error {
	return fmt.Errorf("line %d: %s; %s", t.line(), what, fix)
}

func (t *tenantReader) line() int {
	read := min(t.d.InputOffset(), int64(len(t.content)))
	return 1 + bytes.Count(t.content[:read], []byte("\n"))
}

// tenantEntry reads one entry. A tenant that a table lists must be in the
// table's cloud, since a wrong map would make every later answer wrong.
func tenantEntry(raw json.RawMessage) (TenantEntry, error) {
	var entry TenantEntry
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&entry); err != nil {
		return entry, fmt.Errorf("%w; an entry has name, cloud and nonProd", err)
	}
	p := Default()
	if clean(entry.Name) == "" {
		return entry, errors.New(`it has no name; write "name": "AME"`)
	}
	name, err := p.Canonical(AppTenant, entry.Name)
	if err != nil {
		return entry, err
	}
	entry.Name = name
	cloud, err := p.Canonical(AppCloud, string(entry.Cloud))
	if err != nil {
		return entry, fmt.Errorf("cloud %q is not known; write Public, Mooncake or Fairfax", clean(string(entry.Cloud)))
	}
	entry.Cloud = Cloud(cloud)
	if row, outcome := p.Lookup(ThirdParty, entry.Name, entry.Cloud); outcome == Conflict {
		return entry, fmt.Errorf("%s is in %s (%s), not in %s; correct the name or the cloud", entry.Name, row.Cloud, row.File, entry.Cloud)
	}
	return entry, nil
}
