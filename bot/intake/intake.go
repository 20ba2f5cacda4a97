// Package intake reads alerts: a record in one of the shapes that violation
// feeds speak goes in, a [policy.Violation] in its canonical form comes out.
//
//	file, standard input, request body
//	   │  Records    NDJSON, a JSON array, JSON objects one after the other
//	   ▼
//	one record
//	   │  Decode     recognised by what is in it, checked field by field
//	   ▼
//	Alert            the violation, the keys it is known by, what was left out
//
// The shapes are the canonical violation, a CloudEvents 1.0 envelope around any
// of the others, an S360 action item, and a Key Vault event of Azure Event Grid
// in either of its two schemas. Feeds disagree about spelling, so member names
// match in any case and without the spaces around them; what a member says is
// taken literally or refused, never guessed.
//
// Key material has no place in an alert. It is taken out before anything else
// looks at the record, its place is said in [Alert.Notes], and neither notes nor
// errors ever quote what a field held.
package intake

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"

	"rehome/policy"
)

// An Alert is a record that was understood.
type Alert struct {
	Violation policy.Violation
	Shape     Shape
	Event     string   // source and id of the CloudEvents envelope, "" without one
	Notes     []string // what was left out or read in a way worth knowing; a sentence each, beginning with the field's path
}

// Shape names the form a record was recognised as.
type Shape string

// The shapes that are understood.
const (
	Canonical Shape = "canonical violation"
	S360      Shape = "S360 action item"
	KeyVault  Shape = "Key Vault event"
)

// understood is what an unknown record is compared to in its error.
const understood = "send a canonical violation (id, source, title, app or credential), an S360 action item (KpiActionItemId), " +
	"a Key Vault event of Event Grid, or one of these as the data of a CloudEvents 1.0 envelope"

// MaxRecord is the size of the largest record that is read, in bytes: Event
// Grid's limit for one event.
const MaxRecord = 1 << 20

// Decode reads one record. Its error is a [*Malformed] that names every field
// at fault by its path, such as app.appId or CustomDimensions.AppId.
func Decode(record []byte) (Alert, error) {
	if len(record) > MaxRecord {
		return Alert{}, malformed("", "the record is over 1 MiB; send one violation in each record")
	}
	root, err := parse(record)
	if err != nil {
		return Alert{}, err
	}
	r := &reading{}
	r.scrub("", root)
	a := decode(fields{r, "", root})
	if len(r.faults) > 0 {
		return Alert{}, &Malformed{Faults: r.faults}
	}
	a.Notes = r.notes
	return a, nil
}

// decode recognises a record by the members that only one shape has.
func decode(f fields) Alert {
	switch {
	case f.has("specversion"):
		return cloudEvent(f)
	case f.has("eventType") && f.has("data"):
		return Alert{Shape: KeyVault, Violation: keyVaultEventGrid(f)}
	}
	return bare(f)
}

// bare decodes a record without an envelope.
func bare(f fields) Alert {
	switch {
	case f.has("KpiActionItemId"), f.has("CustomDimensions"):
		return Alert{Shape: S360, Violation: s360(f)}
	case f.has("title"), f.has("app"), f.has("credential"):
		return Alert{Shape: Canonical, Violation: canonical(f)}
	}
	f.fault("", "this is none of the shapes understood here: "+understood)
	return Alert{}
}

// Finding returns the key a violation is known by in the system that found it:
// the same finding never opens a second conversation.
func (a Alert) Finding() string {
	return key(a.Violation.Source.System + "/" + a.Violation.ID)
}

// Key returns the key of this delivery of the alert: the CloudEvents source and
// id, which a repeated delivery keeps, or else the finding.
func (a Alert) Key() string {
	if a.Event != "" {
		return key("event/" + a.Event)
	}
	return "alert/" + a.Finding()
}

// key shortens keys that the store would refuse (at most 512 bytes); nobody
// reads those.
func key(s string) string {
	if len(s) <= 400 {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return s[:strings.LastIndexByte(s[:64], '/')+1] + "sha256-" + hex.EncodeToString(sum[:])
}

// Malformed says why a record is no alert.
type Malformed struct {
	Faults []Fault // at least one, in the record's order of reading
}

// A Fault is what is wrong with one field.
type Fault struct {
	Field   string // its path in the record as sent; "" for the record itself
	Message string // what is wrong and what to send instead; never what the field held
}

func (m *Malformed) Error() string {
	said := make([]string, len(m.Faults))
	for i, f := range m.Faults {
		said[i] = f.Message
		if f.Field != "" {
			said[i] = f.Field + " " + f.Message
		}
	}
	return strings.Join(said, "; ")
}

func malformed(field, message string) error {
	return &Malformed{Faults: []Fault{{field, message}}}
}

// Faults returns what err says about fields, or err as one fault of the whole
// record.
func Faults(err error) []Fault {
	var m *Malformed
	if errors.As(err, &m) {
		return m.Faults
	}
	return []Fault{{Message: err.Error()}}
}
