package intake

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// keyMembers are names under which feeds and careless scripts send key
// material. key and secretText are Microsoft Graph's (keyCredential,
// passwordCredential); an alert has use for none of them.
var keyMembers = map[string]bool{
	"key": true, "secrettext": true, "privatekey": true, "private_key": true, "password": true,
	"clientsecret": true, "client_secret": true, "pfx": true, "pfxblob": true, "pkcs12": true,
}

// privateKey matches a PEM private key, also one whose end was cut off.
var privateKey = regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(-----END [A-Z0-9 ]*PRIVATE KEY-----|$)`)

// scrub takes key material out of an object before anybody reads it, and notes
// where it was.
func (r *reading) scrub(at string, o object) {
	for _, name := range slices.Sorted(maps.Keys(o)) {
		m := o[name]
		path := join(at, m.name)
		if text, ok := m.value.(string); keyMembers[name] && (!ok || text != "") && m.value != nil {
			delete(o, name)
			r.note(path, "looks like key material and was left out; it must never be in an alert")
			continue
		}
		o[name] = member{m.name, r.scrubValue(path, m.value)}
	}
}

func (r *reading) scrubValue(path string, v any) any {
	switch v := v.(type) {
	case string:
		if !strings.Contains(v, "PRIVATE KEY-----") {
			return v
		}
		clean := privateKey.ReplaceAllString(v, "[private key removed]")
		if clean != v {
			r.note(path, "held a private key, which was left out; treat that key as exposed and replace it")
		}
		return clean
	case object:
		r.scrub(path, v)
	case []any:
		for i := range v {
			v[i] = r.scrubValue(fmt.Sprintf("%s[%d]", path, i), v[i])
		}
	}
	return v
}
