package intake

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"rehome/policy"
)

// keyMembers are names under which feeds and careless scripts send key
// material. key and secretText are Microsoft Graph's (keyCredential,
// passwordCredential); an alert has use for none of them.
var keyMembers = map[string]bool{
	"key": true, "secrettext": true, "privatekey": true, "private_key": true, "password": true, "passphrase": true,
	"clientsecret": true, "client_secret": true, "secretvalue": true, "pfx": true, "pfxblob": true, "pkcs12": true,
	"connectionstring": true, "accountkey": true, "accesstoken": true, "access_token": true, "refresh_token": true,
	"pwd": true, "sastoken": true, "sharedaccesskey": true, "clientassertion": true, "client_assertion": true,
}

// jwkMembers are the private members of a JSON Web Key (RFC 7518, section 6).
var jwkMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

const (
	leftOutKey = "looks like key material and was left out; it must never be in an alert"
	removed    = policy.Removed
)

// leaveSecrets says that a text held secrets, which are left out.
func (r *reading) leaveSecrets(at string, found []string) {
	if len(found) > 0 {
		r.leave(at, "held what looks like "+strings.Join(found, " and ")+", which was left out; treat it as exposed and replace it")
	}
}

// secretName reports whether a member's name is itself a secret: what a PEM file
// looks like to whoever takes it for JSON.
func secretName(name string) bool {
	_, found := policy.Scrub(name)
	return len(found) > 0
}

// maybeKeys reports whether there may be key material in an object. Nearly all
// alerts have none, and this is quickly said.
func maybeKeys(o object) bool {
	for name, m := range o {
		if keyMembers[name] || name == "kty" || name == "data_base64" || secretName(m.name) || maybeKey(m.value) {
			return true
		}
		if text, ok := m.value.(string); ok && keyMembers[fold(text)] {
			return true
		}
	}
	return false
}

func maybeKey(v any) bool {
	switch v := v.(type) {
	case string:
		trimmed := strings.TrimSpace(v)
		return secretName(v) || trimmed != "" && (trimmed[0] == '{' || trimmed[0] == '[')
	case object:
		return maybeKeys(v)
	case []any:
		return slices.ContainsFunc(v, maybeKey)
	}
	return false
}

// scrub takes key material out of an object before anybody reads it, and says
// where it was.
func (r *reading) scrub(at string, o object) {
	if r.scrubPair(at, o) {
		return
	}
	_, jwk := o["kty"].value.(string)
	for _, name := range slices.Sorted(maps.Keys(o)) {
		m := o[name]
		path := join(at, m.name)
		if _, found := policy.Scrub(m.name); len(found) > 0 {
			delete(o, name)
			r.leaveSecrets(path, found)
			continue
		}
		secret := keyMembers[name] || jwk && slices.Contains(jwkMembers, name)
		if text, ok := m.value.(string); secret && (!ok || text != "") && m.value != nil {
			delete(o, name)
			r.leave(path, leftOutKey)
			continue
		}
		if name == "data_base64" {
			o[name] = member{m.name, r.scrubBase64(path, m.value)}
			continue
		}
		o[name] = member{m.name, r.scrubValue(path, m.value)}
	}
}

// pairName is what the key of a pair looks like when it is a name.
var pairName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9 _.-]{0,63}$`)

// scrubPair looks after {"key": "AppId", "value": "…"}, as Graph and Azure
// write lists of names and values: there the key is a name, and what matters is
// what it names.
func (r *reading) scrubPair(at string, o object) bool {
	for naming := range o {
		if naming != "key" && naming != "name" && naming != "value" && !strings.HasPrefix(naming, "@odata.") {
			return false
		}
	}
	name := o["name"]
	if _, has := o["key"]; has {
		name = o["key"]
	}
	value, paired := o["value"]
	text, named := name.value.(string)
	if !paired || !named || !pairName.MatchString(strings.TrimSpace(text)) {
		return false
	}
	path := join(at, value.name)
	if empty, ok := value.value.(string); keyMembers[fold(text)] && value.value != nil && (!ok || empty != "") {
		delete(o, "value")
		r.leave(path, leftOutKey)
		return true
	}
	o["value"] = member{value.name, r.scrubValue(path, value.value)}
	return true
}

func (r *reading) scrubValue(path string, v any) any {
	switch v := v.(type) {
	case string:
		return r.scrubString(path, v)
	case object:
		r.scrub(path, v)
	case []any:
		for i := range v {
			v[i] = r.scrubValue(fmt.Sprintf("%s[%d]", path, i), v[i])
		}
	}
	return v
}

// scrubString also looks into JSON that is sent as a text (Sentinel does).
func (r *reading) scrubString(path, s string) string {
	trimmed := strings.TrimSpace(s)
	looksJSON := trimmed != "" && (trimmed[0] == '{' || trimmed[0] == '[')
	if looksJSON {
		if o, err := parse([]byte(`{"in":` + trimmed + `}`)); err == nil {
			before := len(r.leftOut)
			inside := r.scrubValue(path, o["in"].value)
			if len(r.leftOut) == before && before < most {
				return s
			}
			b, err := json.Marshal(inside)
			if err != nil {
				return removed // unreachable: it came out of JSON
			}
			return string(b)
		}
	}
	clean, found := policy.Scrub(s)
	r.leaveSecrets(path, found)
	if looksJSON {
		return scrubNamed(clean)
	}
	return clean
}

// scrubBase64 looks into an event's data_base64. What is no JSON in there is
// nothing that an alert could have.
func (r *reading) scrubBase64(path string, v any) any {
	s, ok := v.(string)
	if !ok {
		return r.scrubValue(path, v)
	}
	if clean, found := policy.Scrub(s); len(found) > 0 {
		r.leaveSecrets(path, found) // a key file, instead of a record
		return clean
	}
	raw, err := base64.StdEncoding.DecodeString(oneLine(s))
	if err != nil {
		return scrubNamed(s)
	}
	o, err := parse(raw)
	if err != nil {
		return base64.StdEncoding.EncodeToString(scrubText(raw))
	}
	before := len(r.leftOut)
	r.scrub(path, o)
	if len(r.leftOut) == before && before < most {
		return s
	}
	clean, err := json.Marshal(o)
	if err != nil {
		return "" // unreachable: it came out of JSON
	}
	return base64.StdEncoding.EncodeToString(clean)
}

// What cannot be parsed is scrubbed as text, and rather too much than too little:
// from the start of a private key to the end of the text it stands in, and
// whatever follows a name that key material goes by.
var (
	textKey   = regexp.MustCompile(`(?s)-* ?BEGIN [A-Z0-9 ]*PRIVATE KEY[^"]*`)
	textNamed = regexp.MustCompile(`(?is)("(?:` + names() + `)\\*"\s*:\s*)("(?:[^"\\]|\\.)*"?|\\"(?:[^"\\]|\\[^"])*(?:\\")?|[\[{].*|[^,}\]\s]+)`)
	textLoose = regexp.MustCompile(`(?i)\b((?:` + names() + `)\s*[=:]\s*)([^\s,;"&}\]]+)`)
)

func names() string {
	return strings.Join(slices.Sorted(maps.Keys(keyMembers)), "|")
}

func scrubText(b []byte) []byte {
	return []byte(scrubNamed(string(b)))
}

func scrubNamed(s string) string {
	s = textKey.ReplaceAllString(s, removed)
	s, _ = policy.Scrub(s)
	s = textNamed.ReplaceAllString(s, `${1}"[removed]"`)
	return textLoose.ReplaceAllString(s, `${1}[removed]`)
}

// maxKept is how much of a record is kept that is too large to be read.
const maxKept = 64 << 10

// kept returns what is kept of a record that cannot be parsed: without key
// material and, of one that is too large, the beginning, which says so.
func kept(record []byte, tooLarge bool) []byte {
	if !tooLarge {
		return scrubText(record)
	}
	end := min(len(record), maxKept)
	for end > 0 && end < len(record) && !utf8.RuneStart(record[end]) {
		end--
	}
	return append(scrubText(record[:end]), "\n[cut here: the record is over 1 MiB]"...)
}

// cleaned returns a record without its key material: as it came when it has
// none, so that it can be read again to the letter.
func cleaned(record []byte, root object, r *reading) []byte {
	if len(r.leftOut) == 0 {
		return bytes.Clone(record)
	}
	b, err := json.Marshal(root)
	if err != nil {
		return scrubText(record) // unreachable: it came out of JSON
	}
	return b
}

// MarshalJSON writes the members under the names they came with, in an order
// that does not change.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	b.WriteByte('{')
	for i, name := range slices.Sorted(maps.Keys(o)) {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := enc.Encode(o[name].name); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := enc.Encode(o[name].value); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}
