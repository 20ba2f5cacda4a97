package entra

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"strings"
	"time"
)

// The SDK rejects a whole answer when one value is not as the schema says: a
// thumbprint in hex, a day without a time, a null in a list. This file puts such a
// value into the form that the SDK reads, or makes it null.

var guidForm = regexp.MustCompile(`^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$`)

// repairs has the repair of each value that we read, by its name.
var repairs = map[string]func(any) any{
	"@odata.type": text, "@odata.nextLink": text, "id": text, "appId": text, "displayName": text, "mail": text,
	"userPrincipalName": text, "userType": text, "signInAudience": text, "usage": text, "type": text,
	"name": text, "issuer": text, "subject": text,
	"accountEnabled": truth, "keyId": guid, "appOwnerOrganizationId": guid,
	"startDateTime": moment, "endDateTime": moment, "customKeyIdentifier": keyIdentifier,
	"audiences": texts,
}

// lists has the names of the lists of objects that we read.
var lists = map[string]bool{"value": true, "keyCredentials": true, "passwordCredentials": true}

// repair returns a JSON object with its odd values repaired; false for anything
// that is not an object. Key material ("key", "secretText") is left out: nobody
// here reads it.
func repair(body []byte) ([]byte, bool) {
	var o map[string]any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&o); err != nil || o == nil || d.More() {
		return nil, false
	}
	mend(o)
	out, err := json.Marshal(o)
	return out, err == nil
}

func mend(o map[string]any) {
	delete(o, "key")
	delete(o, "secretText")
	delete(o, "hint")
	for name, v := range o {
		switch fix := repairs[name]; {
		case v == nil:
		case lists[name]:
			o[name] = objects(v)
		case fix != nil:
			o[name] = fix(v)
		}
	}
}

func text(v any) any {
	if s, ok := v.(string); ok {
		return s
	}
	return nil
}

func truth(v any) any {
	if b, ok := v.(bool); ok {
		return b
	}
	return nil
}

func guid(v any) any {
	s, _ := v.(string)
	if s = plainGUID(s); s != "" {
		return s
	}
	return nil
}

// objects keeps the objects of a list, repaired.
func objects(v any) any {
	list, _ := v.([]any)
	kept := []any{}
	for _, e := range list {
		if o, ok := e.(map[string]any); ok && o != nil {
			mend(o)
			kept = append(kept, o)
		}
	}
	return kept
}

func texts(v any) any {
	list, _ := v.([]any)
	kept := []any{}
	for _, e := range list {
		if s, ok := e.(string); ok {
			kept = append(kept, s)
		}
	}
	return kept
}

// momentForms are the forms of a time that have been seen. One without a zone is UTC.
var momentForms = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05", "2006-01-02"}

func moment(v any) any {
	s, _ := v.(string)
	for _, form := range momentForms {
		if t, err := time.Parse(form, strings.TrimSpace(s)); err == nil {
			return t.UTC().Format(time.RFC3339Nano)
		}
	}
	return nil
}

// keyIdentifier returns a certificate's thumbprint in base64. Graph sends the bytes in
// base64; portals, scripts and older records send hex, or hex in base64, and hex
// happens to be valid base64 of something else.
func keyIdentifier(v any) any {
	s, _ := v.(string)
	s = strings.TrimSpace(s)
	if b := thumbprintHex(s); b != nil {
		return base64.StdEncoding.EncodeToString(b)
	}
	s = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(s), "=")
	b, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil || len(b) == 0 {
		return nil
	}
	if inner := thumbprintHex(string(b)); inner != nil {
		b = inner
	}
	return base64.StdEncoding.EncodeToString(b)
}

// thumbprintHex returns the bytes of a SHA-1 or SHA-256 thumbprint written in hex,
// with or without colons and spaces, or nil for anything else.
func thumbprintHex(s string) []byte {
	s = strings.NewReplacer(":", "", " ", "").Replace(s)
	if len(s) != 40 && len(s) != 64 {
		return nil
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		return nil
	}
	return b
}
