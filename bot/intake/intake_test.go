package intake

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"rehome/policy"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing")

// Every shape that feeds speak, as it comes and as it is understood.
func TestEachFeedIsUnderstood(t *testing.T) {
	file, err := os.Open("testdata/alerts.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	var out strings.Builder
	enc := json.NewEncoder(&out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	for rec, err := range Records(file) {
		if err != nil {
			t.Fatalf("line %d: %v", rec.Line, err)
		}
		got := Read(rec.Raw)
		if len(got.Faults) > 0 || len(got.Alerts) == 0 {
			t.Fatalf("line %d: %v", rec.Line, got.Faults)
		}
		for _, a := range got.Alerts {
			if err := enc.Encode(struct {
				Line           int
				Shape          Shape
				Key, Finding   string
				LeftOut, Notes []Fault
				Violation      policy.Violation
			}{rec.Line, a.Shape, a.Key(), a.Finding(), got.LeftOut, got.Notes, a.Violation}); err != nil {
				t.Fatal(err)
			}
		}
	}
	golden(t, "alerts.golden.json", out.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); if the new one is right, run with -update\n%s", path, diff)
	}
}

// Whatever is wrong is said with the path of the field as it was sent.
func TestEveryFaultNamesItsFieldAndTheWayOut(t *testing.T) {
	canonical := func(extra string) string {
		return `{"id": "X-1", "source": {"system": "other"}, "title": "t", ` + extra + `}`
	}
	for name, tc := range map[string]struct{ record, want string }{
		"nothing":             {"  ", "the record is empty; send one JSON object"},
		"a list":              {"[1]", "the record is not a JSON object; send {…}, one for each violation"},
		"cut off":             {`{"id": "X-1", "title": "AAD En`, "the JSON ends too early; the record was cut off on its way here, send it again whole"},
		"not JSON":            {`{"id": nope}`, "this is not JSON: invalid character 'o' in literal null (expecting 'u'), after byte 7; fix the record where it was written"},
		"two objects":         {`{"id": "1"} {"id": "2"}`, "more text follows the JSON object, at byte 13; send one object in each record"},
		"not UTF-8":           {"{\"id\": \"\xff\"}", "the record is not UTF-8; save it as UTF-8 and send it again"},
		"a member twice":      {canonical(`"app": {"appId": "1", "AppID": "2"}`), "app.AppID is there twice; send it once"},
		"too deep":            {strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40), strings.Repeat("a.", 32) + "a is nested more than 32 deep; send the violation without what was wrapped around it"},
		"unknown shape":       {`{"hello": "world"}`, "this is none of the shapes understood here: " + understood},
		"nothing of its own":  {`{"title": "t"}`, "id is missing; add it; source is missing; add it; neither app nor credential is there; add what is known of either, such as app.appId or credential.store.uri"},
		"no system":           {`{"id": "1", "source": {}, "title": "t", "app": {}}`, "source.system is missing; add it"},
		"unknown system":      {`{"id": "1", "source": {"system": "jira"}, "title": "t", "app": {}}`, "source.system must be one of s360, entra-recommendation, azure-monitor, defender-for-cloud, sentinel, key-vault, trueconfig, assist-sg-update, slack, other"},
		"no GUID":             {canonical(`"app": {"appId": "hunter2-hunter2"}`), "app.appId is not a GUID; send it as 00000000-0000-0000-0000-000000000000"},
		"party":               {canonical(`"app": {"party": "2P"}`), "app.party must be one of 1P, 3P"},
		"time of another age": {canonical(`"app": {}, "dueDateTime": "0001-01-01T00:00:00Z"`), "dueDateTime is outside the years 2000 to 2100; send the right time, or leave it out"},
		"no time":             {canonical(`"app": {}, "dueDateTime": "soon"`), "dueDateTime must be a time such as 2026-11-18T07:00:00Z"},
		"long title":          {`{"id": "1", "source": {"system": "other"}, "title": "` + strings.Repeat("ä", 501) + `", "app": {}}`, "title is longer than 500 characters; send the title alone"},
		"thumbprint":          {canonical(`"credential": {"thumbprint": "ABCD"}`), "credential.thumbprint must be a SHA-1 or SHA-256 thumbprint: 40 or 64 hex digits, or the same in base64"},
		"object as text":      {canonical(`"app": "mine"`), "app must be a JSON object"},
		"text as object":      {canonical(`"app": {"displayName": {"en": "x"}}`), "app.displayName must be a text"},
		"count":               {canonical(`"app": {"secretCount": -1}`), "app.secretCount must be a whole number from 0 up"},
		"hand-off":            {canonical(`"app": {}, "handoff": {"from": "someone", "option": 3}`), "handoff.from must be one of assist-sg-update; handoff.option must be one of 1, 2"},
		"S360 GUID":           {`{"KpiActionItemId": "K", "Title": "t", "CustomDimensions": {"AppId": "x"}}`, "CustomDimensions.AppId is not a GUID; send it as 00000000-0000-0000-0000-000000000000"},
		"S360 without title":  {`{"KpiActionItemId": "K"}`, "Title is missing; add it"},
		"CloudEvents 0.3":     {`{"specversion": "0.3", "id": "1", "source": "s", "type": "t", "data": {}}`, "specversion must be 1.0"},
		"event without data":  {`{"specversion": "1.0", "id": "1", "source": "s", "type": "t"}`, "data is missing; add it"},
		"event of XML":        {`{"specversion": "1.0", "id": "1", "source": "s", "type": "t", "datacontenttype": "text/xml", "data": "<a/>"}`, "datacontenttype must be application/json"},
		"event in an event":   {`{"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": {"specversion": "1.0"}}`, "data this is none of the shapes understood here: " + understood},
		"fault inside data":   {`{"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": ` + canonical(`"app": {"appId": "x"}`) + `}`, "data.app.appId is not a GUID; send it as 00000000-0000-0000-0000-000000000000"},
		"other Event Grid":    {`{"id": "1", "topic": "/t", "eventType": "Microsoft.Storage.BlobCreated", "data": {}}`, "eventType is not an event of Key Vault (Microsoft.KeyVault.…), the only Event Grid events understood here"},
		"expiry in ms":        {`{"specversion": "1.0", "id": "1", "source": "s", "type": "Microsoft.KeyVault.CertificateExpired", "data": {"Id": "https://v.vault.azure.net/certificates/a", "EXP": "1797724800000"}}`, "data.EXP is outside the years 2000 to 2100; send the right time, or leave it out"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode([]byte(tc.record))
			if err == nil {
				t.Fatal("was taken")
			}
			if diff := cmp.Diff(tc.want, err.Error()); diff != "" {
				t.Error(diff)
			}
			var m *Malformed
			if !errors.As(err, &m) || len(m.Faults) == 0 {
				t.Errorf("%T says nothing about fields", err)
			}
		})
	}
}

func TestARecordOverTheLimitIsRefusedUnread(t *testing.T) {
	_, err := Decode(append([]byte(`{"id": "`), make([]byte, MaxRecord)...))
	if err == nil || !strings.Contains(err.Error(), "over 1 MiB") {
		t.Error(err)
	}
}

// Key material is left out wherever it stands, said, and never quoted.
func TestKeyMaterialIsDroppedAndSaid(t *testing.T) {
	const canary = "c0ffee-canary"
	record := `{"id": "X-1", "source": {"system": "other"}, "app": {},
		"title": "Look: -----BEGIN RSA PRIVATE KEY-----\nMIIE` + canary + `\n-----END RSA PRIVATE KEY----- found",
		"credential": {"key": "` + canary + `", "secretText": "` + canary + `", "subjectName": "-----BEGIN PRIVATE KEY-----` + canary + `"},
		"handoff": {"from": "assist-sg-update", "option": 2, "confirmed": {"Password": "` + canary + `", "app_cloud": "Public"}},
		"raw": {"keyCredentials": [{"Key": ["` + canary + `"]}]}}`
	a, err := Decode([]byte(record))
	if err != nil {
		t.Fatal(err)
	}
	all, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(all), canary) {
		t.Errorf("key material came through: %s", all)
	}
	want := []string{
		"credential.key looks like key material and was left out; it must never be in an alert",
		"credential.secretText looks like key material and was left out; it must never be in an alert",
		"credential.subjectName held what looks like a private key, which was left out; treat it as exposed and replace it",
		"handoff.confirmed.Password looks like key material and was left out; it must never be in an alert",
		"raw.keyCredentials[0].Key looks like key material and was left out; it must never be in an alert",
		"title held what looks like a private key, which was left out; treat it as exposed and replace it",
	}
	if diff := cmp.Diff(want, a.Notes); diff != "" {
		t.Error(diff)
	}
	if got := a.Violation.Title; got != "Look: [removed] found" {
		t.Errorf("title is %q", got)
	}
}

func TestThumbprintsComeOutAsUpperHex(t *testing.T) {
	const want = "BB5D1064437D8720A5C53078185E6A361A78B10A"
	raw, _ := hash(want)
	for _, in := range []string{want, strings.ToLower(want), "BB:5D:10:64:43:7D:87:20:A5:C5:30:78:18:5E:6A:36:1A:78:B1:0A",
		base64.StdEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw)} {
		a, err := Decode([]byte(`{"id": "1", "source": {"system": "other"}, "title": "t", "credential": {"thumbprint": "` + in + `"}}`))
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if got := a.Violation.Cred.Thumbprint; got != want {
			t.Errorf("%s became %s", in, got)
		}
	}
}

func TestTextFromOutsideCannotBreakALine(t *testing.T) {
	a, err := Decode([]byte(`{"id": "1", "source": {"system": "other"}, "title": " a\n\tb\u202ec\u0000d ", "app": {"displayName": "` + strings.Repeat("x", 1500) + `"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if a.Violation.Title != "a bc d" {
		t.Errorf("title is %q", a.Violation.Title)
	}
	if n := len([]rune(a.Violation.App.DisplayName)); n != maxText {
		t.Errorf("name has %d characters", n)
	}
	if diff := cmp.Diff([]string{"app.displayName was longer than 1000 characters and was cut"}, a.Notes); diff != "" {
		t.Error(diff)
	}
}

func TestAddressesThatAreNotWebAddressesAreLeftOut(t *testing.T) {
	for _, in := range []string{"javascript:alert(1)", "https://user@contoso.example/", "//contoso.example", "ftp://contoso.example", "not an address", "https://"} {
		a, err := Decode([]byte(`{"id": "1", "source": {"system": "other", "url": "` + in + `"}, "title": "t", "app": {}}`))
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if a.Violation.Source.URL != "" || len(a.Notes) != 1 {
			t.Errorf("%s came through as %q with notes %q", in, a.Violation.Source.URL, a.Notes)
		}
	}
}

func TestAnEventMayCarryItsDataInBase64(t *testing.T) {
	inner := base64.StdEncoding.EncodeToString([]byte(`{"id": "1", "source": {"system": "other"}, "title": "t", "app": {}, "credential": {"key": "x"}}`))
	a, err := Decode([]byte(`{"specversion": "1.0", "id": "e", "source": "/s", "type": "t", "time": "2026-11-18T07:00:00Z", "data_base64": "` + inner + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	if a.Key() != "ce:"+digest("/s", "e") || a.Finding() != "other/1" {
		t.Errorf("keys are %q and %q", a.Key(), a.Finding())
	}
	if !a.Violation.Detected.Equal(time.Date(2026, 11, 18, 7, 0, 0, 0, time.UTC)) {
		t.Errorf("detected %v", a.Violation.Detected)
	}
	if len(a.Notes) != 1 || !strings.HasPrefix(a.Notes[0], "data_base64.credential.key ") {
		t.Errorf("notes are %q", a.Notes)
	}
}

// A key is bounded, and two long ones do not become the same.
func TestLongKeysAreShortenedButStayApart(t *testing.T) {
	long := func(end string) Alert {
		return Alert{Violation: policy.Violation{ID: strings.Repeat("x", 900) + end, Source: policy.ViolationFrom{System: "other"}}}
	}
	a, b := long("1"), long("2")
	if len(a.keyNow(time.Now())) > 512 || a.Key() == b.Key() || a.Finding() == b.Finding() {
		t.Errorf("%q and %q", a.Key(), b.Key())
	}
}

// Whatever comes in: no panic, no half-read violation, no key material; and what
// was understood means the same when it is sent on in the canonical shape.
func FuzzDecode(f *testing.F) {
	samples, err := os.ReadFile("testdata/alerts.ndjson")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(samples)) {
		f.Add([]byte(line))
	}
	f.Add([]byte(`{"id": "1", "source": {"system": "other"}, "title": "-----BEGIN PRIVATE KEY-----", "credential": {"key": 1}}`))
	f.Fuzz(func(t *testing.T, record []byte) {
		a, err := Decode(record)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") || err.Error() == "" {
				t.Fatalf("error is not one line: %q", err)
			}
			return
		}
		v := a.Violation
		if v.ID == "" || v.Title == "" || v.Source.System == "" || a.Shape == "" || len(a.Key()) > 512 || len(a.Finding()) > 512 {
			t.Fatalf("half a violation: %+v", a)
		}
		sent, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(sent), "PRIVATE KEY-----") {
			t.Fatalf("key material came through: %s", sent)
		}
		if a.Shape != Canonical || len(sent) > MaxRecord {
			return
		}
		again, err := Decode(sent)
		if err != nil && !strings.Contains(err.Error(), "neither app nor credential") {
			t.Fatalf("%v: %s", err, sent)
		}
		if diff := cmp.Diff(v, again.Violation); err == nil && diff != "" {
			t.Fatal(diff)
		}
	})
}

// The quick way to read JSON and the one that says what is wrong agree.
func FuzzQuick(f *testing.F) {
	samples, err := os.ReadFile("testdata/alerts.ndjson")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(samples)) {
		f.Add([]byte(line))
	}
	f.Add([]byte(` { "a" : [ ] , "b" : { } , "c" : [ -1.5e+3 , true , false , null , "\\\" \u00e9 \ud800" ] } `))
	f.Add([]byte(`{"a": 1, " A ": 2}`))
	f.Fuzz(func(t *testing.T, record []byte) {
		record = trim(record)
		if !json.Valid(record) || record[0] != '{' || !utf8.Valid(record) {
			return
		}
		want, err := slowly(record)
		got, ok := quick(record)
		if ok != (err == nil) || ok && !reflect.DeepEqual(want, got) {
			t.Fatalf("%s:\n%v %v\n%v", record, want, err, got)
		}
	})
}

func TestWhatIsOverIsKnownByItsIDAlone(t *testing.T) {
	for _, feed := range []struct{ name, over, open, body string }{
		{"Azure Monitor", "Resolved", "Fired", `{"schemaId": "azureMonitorCommonAlertSchema", "data": {"essentials": {"alertId": "/subscriptions/1/alerts/2", "alertRule": "Certificates",
			"severity": "Sev1", "monitorCondition": %q, "firedDateTime": "2026-11-20T00:00:00Z"}}}`},
		{"Defender for Cloud", "Healthy", "Unhealthy", `{"id": "/subscriptions/1/providers/Microsoft.Security/assessments/2", "name": "2", "type": "Microsoft.Security/assessments",
			"properties": {"displayName": "Certificates", "status": {"code": %q}}}`},
		{"Sentinel", "Resolved", "New", `{"SystemAlertId": "a-1", "AlertName": "Certificates", "AlertSeverity": "High", "Status": %q, "TimeGenerated": "2026-11-20T00:00:00Z", "Type": "SecurityAlert"}`},
	} {
		over := Read(fmt.Appendf(nil, feed.body, feed.over))
		if len(over.Faults) > 0 || len(over.Alerts) != 1 || !over.Alerts[0].Violation.Over() {
			t.Errorf("%s, %s: %d alerts, faults %v; want one that is over", feed.name, feed.over, len(over.Alerts), over.Faults)
		}
		if found := Read(fmt.Appendf(nil, feed.body, feed.open)); len(found.Faults) != 1 || !strings.Contains(found.Faults[0].Message, "neither an app") {
			t.Errorf("%s, %s: faults %v; want that it names nothing", feed.name, feed.open, found.Faults)
		}
	}
}
