// Package intake takes alerts in: a record in one of the shapes that violation
// feeds speak becomes a [policy.Violation], and that a conversation.
//
//	file, standard input                 POST /v1/violations
//	   │  Open, Records                     │  Door: who it is, what it is, how much
//	   ▼                                    ▼
//	one record ◄────────────────────────────┘
//	   │  Read       recognised by what is in it, checked field by field
//	   ▼
//	Alert            the violation, the keys it is known by
//	   │  Intake     where it opens; all records of a request in one transaction
//	   ▼
//	conversation, or quarantine for what could not be read
//
// The shapes are the canonical violation, a CloudEvents 1.0 envelope around any
// of the others, an S360 action item, an Entra recommendation with its impacted
// resources, an alert of Azure Monitor, an assessment of Defender for Cloud, a
// security alert of Sentinel, and a Key Vault event of Azure Event Grid in
// either of its two schemas. Feeds disagree about spelling, so member names
// match in any case and without the spaces around them; what a member says is
// taken literally or refused, never guessed.
//
// Key material and other secrets have no place in an alert. They are taken out
// before anything else looks at the record: by the names of the members that
// hold them, and anywhere else by what they look like (see [policy.Scrub]). Their
// place is said, and neither notes nor errors ever quote what a field held.
//
// A finding is known by its source and its id there. Whether a record about it
// is news is judged by what the finding was last heard as, except where the
// record says itself which event it is or when it was observed.
//
// Whom an alert names is kept with the finding for as long as package
// conversation says; what is in quarantine is kept as it came, and with it the
// people that it names, until it is read or discarded.
package intake

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"rehome/policy"
)

// An Alert is a violation that was understood. A record may hold several.
type Alert struct {
	Violation policy.Violation
	Shape     Shape
	Event     string   // names the CloudEvents envelope and the place in it, "" without one
	Notes     []string // what was left out or read in a way worth knowing; a sentence each, beginning with the field's path
}

// Shape names the form a record was recognised as.
type Shape string

// The shapes that are understood.
const (
	Canonical    Shape = "canonical violation"
	S360         Shape = "S360 action item"
	Entra        Shape = "Entra recommendation"
	AzureMonitor Shape = "Azure Monitor alert"
	Defender     Shape = "Defender for Cloud assessment"
	Sentinel     Shape = "Sentinel security alert"
	KeyVault     Shape = "Key Vault event"
)

// understood is what an unknown record is compared to in its error.
const understood = "send a canonical violation (id, source, title, app or credential), an S360 action item (KpiActionItemId), " +
	"an Entra recommendation (recommendationType, impactedResources), an Azure Monitor alert in the common schema (schemaId), " +
	"a Defender for Cloud assessment (type Microsoft.Security/assessments), a Sentinel alert (SystemAlertId), " +
	"a Key Vault event of Event Grid, or one of these as the data of a CloudEvents 1.0 envelope"

// MaxRecord is the size of the largest record that is read, in bytes: Event
// Grid's limit for one event.
const MaxRecord = 1 << 20

// A Reading is what was made of one record.
type Reading struct {
	Alerts  []Alert
	Faults  []Fault // why the record, or a part of it, is no alert; the parts that are stand in Alerts
	LeftOut []Fault // what was left out of the alerts: key material, addresses that are none, text that was cut
	Notes   []Fault // what was read in a way worth knowing
	Ignored []Fault // what is understood and no violation
	Clean   []byte  // of a record with faults: the record without its key material, to be kept
}

// Read reads one record. It never fails: whatever is wrong is in the reading's
// faults, which name the fields by their path, such as app.appId or
// CustomDimensions.AppId.
func Read(record []byte) Reading {
	if len(record) > MaxRecord {
		return Reading{Faults: []Fault{{"", "the record is over 1 MiB; send one violation in each record"}}, Clean: kept(record, true)}
	}
	root, err := parse(record)
	if err != nil {
		return Reading{Faults: Faults(err), Clean: kept(record, false)}
	}
	r := &reading{}
	if maybeKeys(root) {
		r.scrub("", root)
	}
	var got Reading
	got.Alerts = decode(fields{r, "", root})
	got.Faults, got.LeftOut, got.Notes, got.Ignored = r.faults, r.leftOut, r.notes, r.ignored
	if len(got.Faults) > 0 {
		got.Clean = cleaned(record, root, r)
	}
	return got
}

// Decode reads a record that holds one alert. Its error is a [*Malformed].
func Decode(record []byte) (Alert, error) {
	got := Read(record)
	switch {
	case len(got.Faults) > 0:
		return Alert{}, &Malformed{Faults: got.Faults}
	case len(got.Ignored) > 0:
		return Alert{}, &Malformed{Faults: got.Ignored}
	case len(got.Alerts) != 1:
		return Alert{}, malformed("", fmt.Sprintf("the record holds %d violations where one is expected; take one of them", len(got.Alerts)))
	}
	a := got.Alerts[0]
	for _, f := range append(got.LeftOut, got.Notes...) {
		a.Notes = append(a.Notes, f.String())
	}
	return a, nil
}

// decode recognises a record by the members that only one shape has.
func decode(f fields) []Alert {
	switch {
	case f.has("specversion"):
		return cloudEvent(f)
	case f.has("eventType") && f.has("data"):
		return f.only(KeyVault, keyVaultEventGrid(f))
	case f.has("@odata.context") && f.has("value"): // a list as Graph returns it
		var alerts []Alert
		for _, one := range f.list("value") {
			alerts = append(alerts, bare(one)...)
		}
		return alerts
	}
	return bare(f)
}

// bare decodes a record without an envelope.
func bare(f fields) []Alert {
	switch {
	case f.has("KpiActionItemId"), f.has("CustomDimensions"):
		return f.only(S360, s360(f))
	case f.has("schemaId"), f.holds("data", "essentials"):
		return f.only(AzureMonitor, azureMonitor(f))
	case f.has("recommendationType"), f.has("impactedResources"), f.has("recommendationId"):
		return entraRecommendation(f)
	case isAssessment(f):
		return f.only(Defender, defender(f))
	case f.has("SystemAlertId"), f.has("AlertName"):
		return f.only(Sentinel, sentinel(f))
	case f.has("title"), f.has("app"), f.has("credential"):
		return f.only(Canonical, canonical(f))
	}
	f.fault("", "this is none of the shapes understood here: "+understood)
	return nil
}

// only returns the violation as the one alert of a record, unless something is
// wrong with it or it is none.
func (f fields) only(shape Shape, v policy.Violation) []Alert {
	if len(f.faults) > 0 || len(f.ignored) > 0 {
		return nil
	}
	return []Alert{{Shape: shape, Violation: v}}
}

// Finding returns the key a violation is known by in the system that found it:
// the same finding never opens a second conversation.
func (a Alert) Finding() string {
	return key(a.Violation.Source.System + "/" + a.Violation.ID)
}

// Key returns the key of this delivery of the alert, which a repeated delivery
// keeps: that of its CloudEvents envelope (source and id), or else the finding
// and a digest of what is said of it, so that only what is new is worked.
func (a Alert) Key() string {
	if a.Event != "" {
		return "ce:" + a.Event
	}
	said, err := json.Marshal(a.Violation)
	if err != nil {
		said = []byte(a.Violation.Title) // unreachable: texts, numbers and times of this century
	}
	return "find:" + a.Finding() + "@" + digest(string(said))
}

// digest returns 32 hex digits that stand for the texts, in this order.
func digest(texts ...string) string {
	h := sha256.New()
	for _, t := range texts {
		_, _ = io.WriteString(h, strconv.Itoa(len(t))+":"+t)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// key shortens keys that the store would refuse (at most 512 bytes); nobody
// reads those.
func key(s string) string {
	if len(s) <= 400 {
		return s
	}
	return s[:strings.LastIndexByte(s[:64], '/')+1] + "sha256-" + digest(s)
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

func (f Fault) String() string {
	if f.Field == "" {
		return f.Message
	}
	return f.Field + " " + f.Message
}

func (m *Malformed) Error() string {
	said := make([]string, len(m.Faults))
	for i, f := range m.Faults {
		said[i] = f.String()
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
