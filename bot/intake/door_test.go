package intake

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"rehome/bot"
	"rehome/conversation"
	"rehome/policy"
	"rehome/store"
	"rehome/store/bolt"
)

const token = "token-of-the-tests-0f3c2a9be001"

// A lobby is a door with a bot and a real store behind it.
type lobby struct {
	*Door
	store store.Store
	log   *bytes.Buffer
}

func open(t testing.TB, set ...func(*Door)) lobby {
	t.Helper()
	s, err := bolt.Open(filepath.Join(t.TempDir(), "rehome.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return openOn(t, s, set...)
}

func openOn(t testing.TB, s store.Store, set ...func(*Door)) lobby {
	t.Helper()
	p := policy.Default()
	log := &bytes.Buffer{}
	d := Door{
		Intake: &Intake{
			Bot: bot.New(bot.Bot{Policy: p, Store: s}), Infer: p.Infer,
			Route: func(policy.Violation, policy.Facts) conversation.Place {
				return conversation.Place{Channel: "C0TRIAGE"}
			},
		},
		Tokens: []string{token},
		Log:    slog.New(slog.NewTextHandler(&locked{w: log}, nil)),
	}
	for _, f := range set {
		f(&d)
	}
	door, err := NewDoor(d)
	if err != nil {
		t.Fatal(err)
	}
	return lobby{door, s, log}
}

type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// request makes an authentic request; headers come in pairs.
func request(kind, body string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/v1/violations", strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", kind)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func (l lobby) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	l.ServeHTTP(w, r)
	return w
}

// sends posts and returns the answer to a 202.
func (l lobby) sends(t testing.TB, kind, body string, headers ...string) Answer {
	t.Helper()
	w := l.do(request(kind, body, headers...))
	if w.Code != http.StatusAccepted {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	var a Answer
	d := json.NewDecoder(w.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		t.Fatal(err)
	}
	return a
}

func (l lobby) conversations(t testing.TB) (all []conversation.Conversation) {
	t.Helper()
	err := l.store.List(t.Context(), func(c conversation.Conversation) bool {
		all = append(all, c)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (l lobby) quarantined(t testing.TB) []store.Quarantined {
	t.Helper()
	all, err := l.store.Quarantined(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// violation is a canonical violation; extra members begin with a comma.
func violation(id, extra string) string {
	return `{"id": "` + id + `", "source": {"system": "s360"}, "title": "AAD Entra Apps cloud mismatches with Cert Cloud", "app": {"appId": "3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a01", "displayName": "Contoso Ledger"}` + extra + `}`
}

func event(id, data string) string {
	return `{"specversion": "1.0", "id": "` + id + `", "source": "/contoso/posture", "type": "com.contoso.violation", "data": ` + data + `}`
}

func same(t testing.TB, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got) %s", diff)
	}
}

// Whatever way it is sent in, it is the same violation, and durable when it is
// answered.
func TestEveryWayToSendOpensAConversation(t *testing.T) {
	const j = "application/json"
	for name, tc := range map[string]struct {
		kind, body string
		headers    []string
		opens      int
	}{
		"a record":                      {kind: j, body: violation("1", ""), opens: 1},
		"a record that spans lines":     {kind: j + "; charset=utf-8", body: "{\n" + violation("1", "")[1:], opens: 1},
		"a list":                        {kind: j, body: "[" + violation("1", "") + ",\n" + violation("2", "") + "]", opens: 2},
		"an empty list":                 {kind: j, body: "[]"},
		"NDJSON":                        {kind: "application/x-ndjson", body: violation("1", "") + "\n\n" + violation("2", "") + "\n", opens: 2},
		"NDJSON under the name of JSON": {kind: j, body: violation("1", "") + "\n" + violation("2", "") + "\n", opens: 2},
		"an event":                      {kind: "application/cloudevents+json", body: event("e1", violation("1", "")), opens: 1},
		"a batch of events":             {kind: "application/cloudevents-batch+json; charset=UTF-8", body: "[" + event("e1", violation("1", "")) + "," + event("e2", violation("2", "")) + "]", opens: 2},
		"an event that says it is JSON": {kind: j, body: "[" + event("e1", violation("1", "")) + "]", opens: 1},
		"an event in binary mode": {kind: j, body: violation("1", ""), opens: 1, headers: []string{
			"ce-specversion", "1.0", "ce-id", "e1", "ce-source", "/contoso/posture", "ce-type", "com.contoso.violation", "ce-time", "2026-11-18T07:00:00Z"}},
		"a Key Vault event in binary mode": {kind: j, body: `{"Id": "https://kv.vault.azure.cn/certificates/a", "EXP": "1797724800"}`, opens: 1, headers: []string{
			"ce-specversion", "1.0", "ce-id", "e1", "ce-source", "/subscriptions/x", "ce-type", "Microsoft.KeyVault.CertificateNearExpiry"}},
		"a recommendation": {kind: j, opens: 2, body: `{"id": "t_x.staleAppCreds", "recommendationType": "staleAppCreds", "displayName": "Remove unused credentials", "impactedResources": [
			{"id": "a", "subjectId": "3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a01", "resourceType": "app"}, {"id": "b", "subjectId": "3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a02", "resourceType": "app"}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			l := open(t)
			a := l.sends(t, tc.kind, tc.body, tc.headers...)
			if a.Accepted != tc.opens || a.Duplicates+a.Quarantined+len(a.Errors) > 0 || len(a.Conversations) != tc.opens {
				t.Errorf("%+v", a)
			}
			kept := l.conversations(t)
			if len(kept) != tc.opens {
				t.Errorf("%d are kept", len(kept))
			}
			for _, c := range kept {
				if c.Threads[0].Channel != "C0TRIAGE" || len(c.Facts) == 0 {
					t.Errorf("%+v", c)
				}
			}
			again := l.sends(t, tc.kind, tc.body, tc.headers...)
			if again.Duplicates != tc.opens || again.Accepted != 0 || again.Updated != 0 {
				t.Errorf("the same again: %+v", again)
			}
		})
	}
}

func TestTheAnswerIsWhatTheContractSays(t *testing.T) {
	l := open(t)
	w := l.do(request("application/json", "["+violation("1", "")+`, {"id": "2", "source": {"system": "s360"}, "title": "t", "app": {"appId": "nope"}}]`))
	same(t, `{"accepted":1,"duplicates":0,"updated":0,"ignored":0,"quarantined":1,"conversations":["RH-1"],`+
		`"errors":[{"index":1,"field":"app.appId","message":"is not a GUID; send it as 00000000-0000-0000-0000-000000000000"}]}`+"\n", w.Body.String())
	same(t, "application/json; charset=utf-8", w.Header().Get("Content-Type"))
}

// The words in which a finding was last heard are no news, and other words are.
// An event is known by its source and id, whatever it carries.
func TestDuplicateIdsWithOtherContent(t *testing.T) {
	t.Run("canonical", func(t *testing.T) {
		l := open(t)
		l.sends(t, "application/json", violation("1", ""))
		a := l.sends(t, "application/json", violation("1", `, "dueDateTime": "2026-12-24T00:00:00Z"`))
		same(t, Answer{Duplicates: 1, Updated: 1, Conversations: []string{"RH-1"}, Errors: []Said{}}, a)
		if c := l.conversations(t)[0]; c.Facts.Value(policy.DueDate) != "2026-12-24T00:00:00Z" {
			t.Errorf("the new due date was not heard: %+v", c.Facts)
		}
	})
	t.Run("in one request", func(t *testing.T) {
		l := open(t)
		a := l.sends(t, "application/json", "["+violation("1", "")+","+violation("1", `, "severity": "High"`)+","+violation("1", "")+"]")
		same(t, Answer{Accepted: 1, Duplicates: 2, Updated: 2, Conversations: []string{"RH-1"}, Errors: []Said{}}, a)
		a = l.sends(t, "application/json", violation("1", ""))
		same(t, Answer{Duplicates: 1, Conversations: []string{"RH-1"}, Errors: []Said{}}, a)
	})
	t.Run("event", func(t *testing.T) {
		l := open(t)
		l.sends(t, "application/cloudevents+json", event("e1", violation("1", "")))
		a := l.sends(t, "application/cloudevents+json", event("e1", violation("2", "")))
		same(t, Answer{Duplicates: 1, Conversations: []string{"RH-1"}, Errors: []Said{}}, a)
	})
	t.Run("another event about the finding", func(t *testing.T) {
		l := open(t)
		l.sends(t, "application/cloudevents+json", event("e1", violation("1", "")))
		a := l.sends(t, "application/cloudevents+json", event("e2", violation("1", "")))
		same(t, Answer{Duplicates: 1, Conversations: []string{"RH-1"}, Errors: []Said{}}, a)
	})
	t.Run("source and id cannot be shifted", func(t *testing.T) {
		l := open(t)
		l.sends(t, "application/cloudevents+json", `{"specversion": "1.0", "source": "/a#b", "id": "c", "type": "t", "data": `+violation("1", "")+`}`)
		a := l.sends(t, "application/cloudevents+json", `{"specversion": "1.0", "source": "/a", "id": "b#c", "type": "t", "data": `+violation("2", "")+`}`)
		if a.Accepted != 1 {
			t.Errorf("%+v", a)
		}
	})
}

// Resolved upstream closes, found again reopens, also in the same words and on
// the same day; what only repeats what was last heard has no effect.
func TestAFindingIsResolvedAndComesBack(t *testing.T) {
	l := open(t)
	a := l.sends(t, "application/json", violation("1", `, "status": "resolved"`))
	if a.Accepted != 0 || a.Ignored != 1 || len(l.conversations(t)) != 0 {
		t.Fatalf("what was over before it was heard of: %+v", a)
	}
	found, fixed := violation("1", ""), violation("1", `, "status": "resolved"`)
	for i, said := range []struct {
		words  string
		news   int
		closed bool
	}{
		{found, 0, false}, {found, 0, false},
		{fixed, 1, true}, {fixed, 0, true},
		{found, 1, false}, {found, 0, false},
		{fixed, 1, true}, {found, 1, false},
	} {
		before := journal(t, l.store, "RH-1")
		a := l.sends(t, "application/json", said.words)
		after := journal(t, l.store, "RH-1")
		if a.Updated != said.news || i > 0 && (len(after) > len(before)) != (said.news > 0) {
			t.Errorf("%d: updated %d, want %d; the journal went from %d to %d lines", i, a.Updated, said.news, len(before), len(after))
		}
		c := l.conversations(t)
		if len(c) != 1 || (c[0].Status == conversation.Closed) != said.closed {
			t.Fatalf("%d: %d conversations, the first is %s", i, len(c), c[0].Status)
		}
	}
}

// The warning and the expiry are two events of Event Grid about one certificate.
func TestACertificateThatExpiresIsTheOneThatWasAboutTo(t *testing.T) {
	grid := func(id, kind, at, object string) string {
		return `{"id": "` + id + `", "topic": "/subscriptions/s/resourceGroups/r/providers/Microsoft.KeyVault/vaults/contoso-kv", "subject": "ledger", "eventType": "Microsoft.KeyVault.` + kind +
			`", "eventTime": "` + at + `", "data": {"Id": "` + object + `", "VaultName": "contoso-kv", "ObjectType": "Certificate", "ObjectName ": "ledger", "Version": " 0f3c", "EXP": "1797724800"}}`
	}
	cloud := func(id, kind, at, object string) string {
		return `{"specversion": "1.0", "id": "` + id + `", "source": "/subscriptions/s/resourceGroups/r/providers/Microsoft.KeyVault/vaults/contoso-kv", "type": "Microsoft.KeyVault.` + kind +
			`", "time": "` + at + `", "data": {"Id": "` + object + `", "ObjectType": "Certificate", "EXP": 1797724800}}`
	}
	for name, shape := range map[string]func(id, kind, at, object string) string{"Event Grid's schema": grid, "CloudEvents": cloud} {
		t.Run(name, func(t *testing.T) {
			l := open(t)
			near := shape("e1", "CertificateNearExpiry", "2026-11-20T00:00:00Z", "https://contoso-kv.vault.azure.net/certificates/ledger/0f3c")
			l.sends(t, "application/json", near)
			a := l.sends(t, "application/json", shape("e2", "CertificateExpired", "2026-12-20T00:00:00Z", "https://Contoso-KV.vault.azure.net/certificates/ledger/0f3c"))
			a.Notes = nil
			same(t, Answer{Duplicates: 1, Updated: 1, Conversations: []string{"RH-1"}, Errors: []Said{}}, a)
			c := l.conversations(t)[0]
			same(t, "Microsoft.KeyVault.CertificateExpired", c.Facts.Value(policy.Violated))
			l.sends(t, "application/json", shape("e0", "CertificateNearExpiry", "2026-11-19T00:00:00Z", "https://contoso-kv.vault.azure.net/certificates/ledger/0f3c"))
			same(t, "Microsoft.KeyVault.CertificateExpired", l.conversations(t)[0].Facts.Value(policy.Violated)) // older news
			if a := l.sends(t, "application/json", shape("e3", "CertificateExpired", "2026-12-20T00:00:00Z", "https://contoso-kv.vault.azure.net/certificates/relay/0f3c")); a.Accepted != 1 {
				t.Errorf("another certificate of the vault: %+v", a)
			}
		})
	}
}

func journal(t testing.TB, s store.Store, id string) []store.Entry {
	t.Helper()
	all, err := s.Journal(t.Context(), id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	return all
}

// Who has no valid token learns nothing, and nothing of theirs is read.
func TestNothingIsReadWithoutAValidToken(t *testing.T) {
	for name, value := range map[string]string{
		"none": "", "empty": "Bearer ", "wrong": "Bearer nope", "longer": "Bearer " + token + "x", "shorter": "Bearer " + token[1:],
		"another scheme": "Basic " + token, "no scheme": token, "two": "Bearer " + token + " " + token, "a JWT nobody asked for": "Bearer a.b.c",
	} {
		t.Run(name, func(t *testing.T) {
			l := open(t)
			r := httptest.NewRequest(http.MethodPost, "/v1/violations", iotest.ErrReader(errors.New("was read")))
			r.ContentLength = 1 << 40
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Authorization", value)
			w := l.do(r)
			if w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") == "" {
				t.Errorf("%d %v", w.Code, w.Header())
			}
			if len(value) > 10 && strings.Contains(l.log.String(), value[7:]) {
				t.Error("the log holds the token")
			}
		})
	}
}

func TestSeveralTokensAreGoodDuringARotation(t *testing.T) {
	l := open(t, func(d *Door) { d.Tokens = []string{"old", "new"} })
	for i, bearer := range []string{"old", "new"} {
		l.sends(t, "application/json", violation(fmt.Sprint(i), ""), "Authorization", "bearer "+bearer)
	}
	if _, err := NewDoor(Door{Intake: l.Intake, Tokens: []string{"", "new"}}); err == nil {
		t.Error("an empty token was taken")
	}
	none := open(t, func(d *Door) { d.Tokens = nil })
	if w := none.do(request("application/json", violation("1", ""))); w.Code != http.StatusServiceUnavailable {
		t.Errorf("without any token configured: %d", w.Code)
	}
}

type verifier func(string) (string, error)

func (v verifier) Verify(_ context.Context, token string) (string, error) { return v(token) }

func TestATokenThatCannotBeCheckedIsNotABadToken(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want int
	}{
		{nil, http.StatusAccepted},
		{errors.New("expired"), http.StatusUnauthorized},
		{fmt.Errorf("%w: no route", ErrUnsure), http.StatusServiceUnavailable},
	} {
		l := open(t, func(d *Door) { d.Entra = verifier(func(string) (string, error) { return "app", tc.err }) })
		w := l.do(request("application/json", violation("1", ""), "Authorization", "Bearer a.b.c"))
		if w.Code != tc.want || tc.want == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "" {
			t.Errorf("%v: %d %v", tc.err, w.Code, w.Header())
		}
		l.sends(t, "application/json", violation("2", "")) // the bearer token is as good as before
	}
}

func TestOnlyTypesThatAreSpokenAreRead(t *testing.T) {
	l := open(t)
	for _, headers := range [][]string{
		{"Content-Type", ""}, {"Content-Type", "text/plain"}, {"Content-Type", "application/xml"}, {"Content-Type", "application/json; charset=latin1"},
		{"Content-Type", "application/cloudevents+xml"}, {"Content-Type", "application/vnd.contoso+json"}, {"Content-Type", "multipart/form-data; boundary=x"},
		{"Content-Type", "application/json;;;"}, {"Content-Type", "text/xml", "ce-specversion", "1.0"}, {"Content-Encoding", "gzip"},
	} {
		r := request("application/json", violation("1", ""), headers...)
		if w := l.do(r); w.Code != http.StatusUnsupportedMediaType {
			t.Errorf("%q: %d", headers, w.Code)
		}
	}
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
		if w := l.do(httptest.NewRequest(method, "/v1/violations", nil)); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST, OPTIONS" {
			t.Errorf("%s: %d %v", method, w.Code, w.Header())
		}
	}
	if n := len(l.conversations(t)); n != 0 {
		t.Errorf("%d conversations", n)
	}
}

func TestALimitIsSaidInTheUnitsPeopleUse(t *testing.T) {
	for n, want := range map[int64]string{1000: "1000 bytes", 1 << 10: "1 KiB", 1<<20 + 1: "1048577 bytes", 3 << 19: "1536 KiB", 16 << 20: "16 MiB", 1 << 30: "1 GiB"} {
		if got := sizeOf(n); got != want {
			t.Errorf("%d is said as %q, want %q", n, got, want)
		}
	}
}

func TestWhatIsTooMuchIsRefusedWhole(t *testing.T) {
	l := open(t)
	huge := strings.Repeat(" ", 16<<20) + violation("1", "")
	r := request("application/json", huge)
	if w := l.do(r); w.Code != http.StatusRequestEntityTooLarge || !strings.Contains(w.Body.String(), "larger than 16 MiB; send it in parts") {
		t.Errorf("with a length: %d %s", w.Code, w.Body)
	}
	r = request("application/json", huge)
	r.ContentLength = -1 // chunked
	if w := l.do(r); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("without a length: %d", w.Code)
	}
	million := "[" + strings.Repeat("{},", 1_000_000) + violation("1", "") + "]"
	w := l.do(request("application/json", million))
	if w.Code != http.StatusRequestEntityTooLarge || !strings.Contains(w.Body.String(), "more than 10000 records") {
		t.Errorf("a million elements: %d %s", w.Code, w.Body)
	}
	if w = l.do(request("application/x-ndjson", strings.Repeat("1\n", 10_001))); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("lines: %d", w.Code)
	}
	if n := len(l.conversations(t)) + len(l.quarantined(t)); n != 0 {
		t.Errorf("%d were kept nevertheless", n)
	}
	if l.held.free != l.MaxHeld {
		t.Errorf("%d bytes were not given back", l.MaxHeld-l.held.free)
	}
}

// What is authentic and cannot be read is kept and said, and takes nothing else
// with it.
func TestWhatCannotBeReadIsQuarantined(t *testing.T) {
	const j = "application/json"
	good := violation("good", "")
	for name, tc := range map[string]struct {
		kind, body  string
		accepted    int
		index       int
		field, said string // of the first error
		kept        string // in quarantine
	}{
		"truncated":            {kind: j, body: violation("1", "")[:60], said: "the JSON ends too early", kept: violation("1", "")[:60]},
		"truncated over lines": {kind: j, body: "{\n\"id\": \"1\",\n\"title\": \"t", said: "the JSON ends too early", kept: "{\n\"id\": \"1\",\n\"title\": \"t"},
		"a list cut off":       {kind: j, body: "[" + good + `, {"id": "1", "ti`, accepted: 1, index: 1, said: "is not closed", kept: `{"id": "1", "ti`},
		"a line cut off":       {kind: "application/x-ndjson", body: good + "\n" + `{"id": "1", "ti` + "\n" + violation("3", ""), accepted: 2, index: 1, said: "the JSON ends too early", kept: `{"id": "1", "ti`},
		"no JSON":              {kind: j, body: "<alert/>", said: "not a JSON object", kept: "<alert/>"},
		"a number":             {kind: j, body: "[1," + good + "]", accepted: 1, said: "not a JSON object", kept: "1"},
		"not UTF-8":            {kind: j, body: "[{\"id\": \"\xff\"}," + good + "]", accepted: 1, said: "not UTF-8", kept: "{\"id\": \"\xff\"}"},
		"wrong GUID":           {kind: j, body: violation("1", `, "credential": {"keyId": "1234"}`), field: "credential.keyId", said: "is not a GUID"},
		"zero date":            {kind: j, body: violation("1", `, "dueDateTime": "0001-01-01T00:00:00Z"`), field: "dueDateTime", said: "outside the years"},
		"30 February":          {kind: j, body: violation("1", `, "dueDateTime": "2026-02-30T00:00:00Z"`), field: "dueDateTime", said: "must be a time"},
		"no id":                {kind: j, body: `{"source": {"system": "s360"}, "title": "t", "app": {}}`, field: "id", said: "is missing"},
		"a member twice":       {kind: j, body: violation("1", `, "title": "another"`), field: "title", said: "is there twice"},
		"deep":                 {kind: j, body: strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100), said: "nested more than 32 deep", field: strings.Repeat("a.", 32) + "a"},
		"no envelope":          {kind: "application/cloudevents+json", body: good, field: "specversion", said: "is missing"},
		"an envelope of old":   {kind: "application/cloudevents-batch+json", body: `[{"specversion": "0.3", "id": "1", "source": "/s", "type": "t", "data": {}}]`, field: "specversion", said: "must be 1.0"},
		"too large a record":   {kind: j, body: `[{"a": "` + strings.Repeat("x", MaxRecord) + `"},` + good + "]", accepted: 1, said: "over 1 MiB"},
		"resources that are no apps": {kind: j, accepted: 1, field: "impactedResources[0].resourceType", said: "neither an application", body: `{"id": "t_x.y", "recommendationType": "y", "displayName": "D", "impactedResources": [
			{"id": "a", "subjectId": "3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a01", "resourceType": "user"}, {"id": "b", "subjectId": "3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a02", "resourceType": "app"}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			l := open(t)
			a := l.sends(t, tc.kind, tc.body)
			if a.Accepted != tc.accepted || a.Quarantined != 1 || len(a.Errors) == 0 {
				t.Fatalf("%+v", a)
			}
			if e := a.Errors[0]; e.Index != tc.index || e.Field != tc.field || !strings.Contains(e.Message, tc.said) {
				t.Errorf("%+v", e)
			}
			kept := l.quarantined(t)
			if len(kept) != 1 || kept[0].Source != "http" || !strings.Contains(kept[0].Why, tc.said) || kept[0].At.IsZero() {
				t.Fatalf("%+v", kept)
			}
			if tc.kept != "" && string(kept[0].Body) != tc.kept {
				t.Errorf("kept is %s", kept[0].Body)
			}
			if len(kept[0].Body) == 0 || len(kept[0].Body) > maxKept+100 {
				t.Errorf("%d bytes are kept", len(kept[0].Body))
			}
		})
	}
}

func TestAnEmptyRequestIsSaidAndKeepsNothing(t *testing.T) {
	l := open(t)
	for _, kind := range []string{"application/json", "application/x-ndjson", "application/cloudevents+json"} {
		a := l.sends(t, kind, " \n ")
		if len(a.Errors) != 1 || !strings.Contains(a.Errors[0].Message, "holds no record") || a.Quarantined != 0 {
			t.Errorf("%s: %+v", kind, a)
		}
	}
	if n := len(l.quarantined(t)); n != 0 {
		t.Errorf("%d are in quarantine", n)
	}
}

// After a correction, what was kept is taken in and let go; the rest stays.
func TestQuarantineIsReadAgain(t *testing.T) {
	l := open(t)
	l.sends(t, "application/json", `[{"id": "1"}, {"id": "2"}]`)
	kept := l.quarantined(t)
	kept[1].Body = []byte(violation("2", "")) // as if rehome had learnt to read it
	became, err := l.Intake.Reread(t.Context(), kept)
	if err != nil {
		t.Fatal(err)
	}
	if !became[0].Quarantined || became[1].Opened != 1 || became[1].String() != "RH-1 opened" {
		t.Errorf("%+v", became)
	}
	if rest := l.quarantined(t); len(rest) != 1 || rest[0].ID != kept[0].ID {
		t.Errorf("%+v", rest)
	}
}

// An event in binary mode that is kept can be read again.
func TestABinaryEventIsKeptWithItsAttributes(t *testing.T) {
	l := open(t)
	l.sends(t, "application/json", violation("1", `, "dueDateTime": "soon"`), "ce-specversion", "1.0", "ce-id", "e%201", "ce-source", "/s", "ce-type", "t")
	kept := l.quarantined(t)
	if len(kept) != 1 {
		t.Fatalf("%+v", kept)
	}
	kept[0].Body = bytes.Replace(kept[0].Body, []byte("soon"), []byte("2026-12-01T00:00:00Z"), 1)
	became, err := l.Intake.Reread(t.Context(), kept)
	if err != nil || became[0].Opened != 1 {
		t.Fatalf("%+v %v", became, err)
	}
	a := l.sends(t, "application/cloudevents+json", `{"specversion": "1.0", "id": "e 1", "source": "/s", "type": "t", "data": `+violation("9", "")+`}`)
	if a.Duplicates != 1 {
		t.Errorf("the event is not known by its source and id: %+v", a)
	}
}

const canary = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC-canary"

// Key material is dropped wherever it stands and however broken the record is:
// it is in no conversation, in no quarantine, in no log and in no answer.
func TestKeyMaterialIsNeverKept(t *testing.T) {
	pem := `-----BEGIN PRIVATE KEY-----\n` + canary + `\n-----END PRIVATE KEY-----`
	base64d := event("e", "1")
	base64d = strings.Replace(base64d, `"data": 1`, `"data_base64": "`+b64(violation("1", `, "credential": {"keyId": "nope", "secretText": "`+canary+`"}`))+`"`, 1)
	for name, tc := range map[string]struct {
		body     string
		accepted int
		field    string
	}{
		"in its member":        {violation("1", `, "credential": {"key": "`+canary+`"}`), 1, "credential.key"},
		"a secret":             {violation("1", `, "credential": {"secretText": "`+canary+`"}`), 1, "credential.secretText"},
		"in a text":            {violation("1", `, "description": "see `+pem+`"`), 1, "description"},
		"without an end":       {violation("1", `, "raw": "-----BEGIN RSA PRIVATE KEY-----`+canary+`"`), 1, "raw"},
		"a JSON Web Key":       {violation("1", `, "raw": {"kty": "RSA", "n": "x", "d": "`+canary+`"}`), 1, "raw.d"},
		"a pair":               {violation("1", `, "raw": [{"key": "secretText", "value": "`+canary+`"}]`), 1, "raw[0].value"},
		"JSON in a text":       {violation("1", `, "raw": "{\"secretText\": \"`+canary+`\"}"`), 1, "raw.secretText"},
		"a name":               {violation("1", `, "-----BEGIN PRIVATE KEY-----`+canary+`": 1`), 1, "[a private key]"},
		"of what is wrong too": {violation("1", `, "dueDateTime": "soon", "credential": {"key": "`+canary+`"}`), 0, "dueDateTime"},
		"in base64":            {base64d, 0, "data_base64.credential.keyId"},
		"cut off":              {violation("1", `, "credential": {"key": "`+canary)[:len(violation("1", `, "credential": {"key": "`+canary))-1], 0, ""},
		"cut off in a text":    {`{"id": "1", "note": "-----BEGIN PRIVATE KEY-----` + canary, 0, ""},
		"in no JSON":           {"password=" + canary + ";", 0, ""},
		"in JSON in text cut":  {`{"id": "1", "raw": "{\"secretText\": \"` + canary + `\", `, 0, ""},
		"a PEM file":           {strings.ReplaceAll(pem, `\n`, "\n"), 0, ""},
		"a member twice":       {violation("1", `, "credential": {"key": ["`+canary+`"], "key": "b"}`), 0, "credential.key"},
		"too large":            {`{"key": "` + canary + `", "a": "` + strings.Repeat("x", MaxRecord) + `"}`, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := open(t)
			w := l.do(request("application/json", tc.body))
			var a Answer
			if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || a.Accepted != tc.accepted || len(a.Errors) == 0 || a.Errors[0].Field != tc.field {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			all, err := json.Marshal(l.conversations(t))
			if err != nil {
				t.Fatal(err)
			}
			for where, text := range map[string]string{"the answer": w.Body.String(), "the log": l.log.String(), "a conversation": string(all)} {
				if strings.Contains(text, "canary") {
					t.Errorf("%s holds it: %s", where, text)
				}
			}
			for _, q := range l.quarantined(t) {
				if strings.Contains(string(q.Body)+q.Why, "canary") || strings.Contains(unb64(string(q.Body)), "canary") {
					t.Errorf("quarantine holds it: %.500s", q.Body)
				}
			}
		})
	}
}

// Secrets are known by what they look like, too: in any text of any feed, in a
// cell, in a header, in what cannot be read at all.
func TestSecretsInFreeTextAreNeverKept(t *testing.T) {
	tail := "canary" + strings.Repeat("aB3_", 7)
	secrets := map[string]string{
		"a client secret":             "abc" + "8Q~" + tail,
		"an older client secret":      "Zz9-" + "canary" + "~" + "qW4.eR5_tY6-uI7oP8aS9dF0",
		"a PFX":                       b64("\x30\x82\x09\xd1\x02\x01\x03\x30\x82\x09\x97\x06\x09"+strings.Repeat("x", 50)) + "canary",
		"a private key":               "-----BEGIN EC PRIVATE KEY-----" + "canary",
		"a private key without a PEM": "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC" + "canary0123456789",
		"a bearer JWT":                "Bearer " + "eyJ" + "hbGciOiJSUzI1NiJ9" + ".eyJ" + "jYW5hcnkiOjF9" + ".canary",
		"a connection string":         "AccountName=contoso;AccountKey=" + "canary0123456789+/==" + ";EndpointSuffix=core.windows.net",
		"a SAS":                       "https://contoso.blob.core.windows.net/c?sv=2025-01-05&sig=" + "canary%2Babc%3D",
	}
	const told = "X"
	places := map[string]struct{ kind, body string }{
		"a title":               {"application/json", `{"id": "1", "source": {"system": "other"}, "title": "Replace X today", "app": {"displayName": "a"}}`},
		"a name":                {"application/json", `{"id": "1", "source": {"system": "other"}, "title": "t", "app": {"displayName": "X"}}`},
		"an owner":              {"application/json", `{"id": "1", "source": {"system": "other"}, "title": "t", "owner": {"alias": "X"}, "app": {"displayName": "a"}}`},
		"an id":                 {"application/json", `{"id": "X", "source": {"system": "other"}, "title": "t", "app": {"displayName": "a"}}`},
		"an address":            {"application/json", `{"id": "1", "source": {"system": "other", "url": "https://contoso.example/?a=1&note=X"}, "title": "t", "app": {"displayName": "a"}}`},
		"a vault":               {"application/json", `{"id": "1", "source": {"system": "other"}, "title": "t", "credential": {"store": {"uri": "https://kv.vault.azure.net/secrets/a#X"}}}`},
		"a hand-over":           {"application/json", `{"id": "1", "source": {"system": "other"}, "title": "t", "app": {}, "handoff": {"from": "assist-sg-update", "option": 2, "confirmedBy": "X", "confirmed": {"app_name": "X"}}}`},
		"what nobody reads":     {"application/json", `{"id": "1", "source": {"system": "other"}, "title": "t", "app": {"displayName": "a"}, "notes": ["a", {"b": "see X"}]}`},
		"what is quarantined":   {"application/json", `{"id": "1", "source": {"system": "other"}, "title": "X", "app": {"appId": "nope"}}`},
		"a wrong value":         {"application/json", `{"id": "1", "source": {"system": "other"}, "title": "t", "app": {"appId": "X", "party": "X"}}`},
		"no JSON":               {"application/json", `{"id": "1", "note": "X`},
		"an S360 item":          {"application/json", `{"KpiActionItemId": "1", "Title": "t", "CustomDimensions": "{\"AppDisplayName\": \"X\"}"}`},
		"an Azure Monitor rule": {"application/json", `{"schemaId": "azureMonitorCommonAlertSchema", "data": {"essentials": {"alertId": "1", "alertRule": "t", "monitorCondition": "Fired", "description": "X"}, "customProperties": {"appName": "X"}}}`},
		"an event's data":       {"application/cloudevents+json", strings.Replace(event("e", "1"), `"data": 1`, `"data_base64": "X"`, 1)},
	}
	for place, at := range places {
		t.Run(place, func(t *testing.T) {
			for name, secret := range secrets {
				put := strings.ReplaceAll(at.body, told, secret)
				if place == "an event's data" {
					put = strings.ReplaceAll(at.body, told, b64(`{"id": "1", "source": {"system": "other"}, "title": "`+secret+`", "app": {"displayName": "a"}}`))
				}
				l := open(t)
				w := l.do(request(at.kind, put))
				if w.Code != http.StatusAccepted {
					t.Fatalf("%s: %d %s", name, w.Code, w.Body)
				}
				if !strings.Contains(w.Body.String(), "left out; treat it as exposed") && place != "no JSON" {
					t.Errorf("%s: the sender is not told: %s", name, w.Body)
				}
				l.holdsNothing(t, name, "canary", w.Body.String())
			}
		})
	}
	t.Run("a cell", func(t *testing.T) {
		for name, secret := range secrets {
			l := open(t)
			f, err := Open(strings.NewReader("id,source.system,title,app.displayName\n1,other,\"see "+secret+"\",\""+secret+"\"\n"), "a.csv", nil)
			if err != nil {
				t.Fatal(err)
			}
			var said strings.Builder
			for rec, err := range f.Records() {
				became, err := l.Intake.Take(t.Context(), func(Record) string { return "a.csv" }, []Piece{{rec, err}})
				if err != nil || became[0].Opened != 1 {
					t.Fatalf("%+v %v", became, err)
				}
				said.WriteString(became[0].String())
			}
			if !strings.Contains(said.String(), "title held what looks like") || !strings.Contains(said.String(), "app.displayName held what looks like") {
				t.Errorf("%s: nothing is said: %s", name, said.String())
			}
			l.holdsNothing(t, name, "canary", said.String())
		}
	})
}

// holdsNothing checks that a word is nowhere: not in what is kept, in the log,
// or in what was answered.
func (l lobby) holdsNothing(t *testing.T, name, word, answered string) {
	t.Helper()
	all, err := json.Marshal(l.conversations(t))
	if err != nil {
		t.Fatal(err)
	}
	held := map[string]string{"the answer": answered, "the log": l.log.String(), "a conversation": string(all)}
	for _, c := range l.conversations(t) {
		held["the journal"] += fmt.Sprint(journal(t, l.store, c.ID))
	}
	for _, q := range l.quarantined(t) {
		held["quarantine"] += string(q.Body) + q.Why + unb64(string(q.Body))
	}
	for where, text := range held {
		if strings.Contains(text, word) {
			t.Errorf("%s: %s has it: %s", name, where, text)
		}
	}
}

// A host that only begins like a vault's says nothing about a cloud.
func TestAVaultOfSomebodyElseProvesNothing(t *testing.T) {
	for _, tc := range []struct {
		body, host string
		note       string
	}{
		{`, "credential": {"store": {"uri": "https://contoso.vault.azure.net.evil.example/certificates/a"}}`, "contoso.vault.azure.net.evil.example",
			"the vault's address is not a Key Vault host; it has vault.azure.net inside a longer name, so do not sign in there"},
		{`, "credential": {"store": {"uri": "https://contoso-vault.azure.net/certificates/a"}}`, "contoso-vault.azure.net", "the vault's address is not a Key Vault host"},
		{`, "credential": {"store": {"uri": "https://portal.azure.com/certificates/a"}}`, "portal.azure.com", "the vault's address is not a Key Vault host"},
		{"@login.microsoftonline.us.evil.example/common", "login.microsoftonline.us.evil.example",
			"the authority's address is not a sign-in, Graph, portal or management host that shows a cloud; it has login.microsoftonline.us inside a longer name, so do not sign in there"},
		{"@portal.azure.cn.evil.example", "portal.azure.cn.evil.example", "the authority's address is not a sign-in, Graph, portal or management host that shows a cloud; it has portal.azure.cn inside a longer name, so do not sign in there"},
		{"@xmanagement.azure.com", "xmanagement.azure.com", "the authority's address is not a sign-in, Graph, portal or management host that shows a cloud"},
		{"@login.microsoftonline.us", "", ""},
		{`, "credential": {"store": {"uri": "https://contoso.vault.azure.net/certificates/a"}}`, "", ""},
		{`, "credential": {"store": {"type": "dSMS", "uri": "https://contoso.dsms.example/a"}}`, "", ""},
	} {
		l := open(t)
		body := violation("1", tc.body)
		if host, ok := strings.CutPrefix(tc.body, "@"); ok {
			body = strings.Replace(violation("1", ""), `"app": {`, `"app": {"authority": "https://`+host+`", `, 1)
		}
		a := l.sends(t, "application/json", body)
		said := ""
		if len(a.Notes) > 0 {
			said = a.Notes[0].Message
		}
		if said != tc.note {
			t.Errorf("%s: it is noted that %q", body, said)
		}
		c := l.conversations(t)[0]
		if tc.host == "" {
			continue
		}
		if cloud := c.Facts.Value(policy.CertCloud) + c.Facts.Value(policy.AppCloud); cloud != "" {
			t.Errorf("%s was taken to be in %s", tc.host, cloud)
		}
		root, _ := c.Card(conversation.RootKey, time.Now())
		if shown := fmt.Sprint(root); !strings.Contains(shown, tc.host) || !strings.Contains(shown, "not a ") {
			t.Errorf("the root says nothing of %s: %s", tc.host, shown)
		}
	}
}

// Titles and names stay values: no card makes a mention, a link or formatting
// of them.
func TestTextFromOutsideIsOnlyEverAValue(t *testing.T) {
	const evil = "<!channel> <@U0ADMIN> <https://evil.example|Contoso> *now*"
	l := open(t)
	body := strings.ReplaceAll(violation("1", `, "owner": {"alias": "`+evil+`"}, "service": {"name": "`+evil+`"}, "remediation": {"url": "javascript:alert(1)"}`), "Contoso Ledger", evil)
	a := l.sends(t, "application/json", strings.ReplaceAll(body, "AAD Entra Apps cloud mismatches with Cert Cloud", evil))
	if len(a.Errors) != 1 || a.Errors[0].Field != "remediation.url" {
		t.Errorf("%+v", a.Errors)
	}
	c := l.conversations(t)[0]
	same(t, evil, c.Violation.Title)
	shown := 0
	for _, key := range c.Keys() {
		card, _ := c.Card(key, time.Now())
		text, err := json.Marshal(card)
		if err != nil {
			t.Fatal(err)
		}
		var spans func(v any)
		spans = func(v any) {
			switch v := v.(type) {
			case map[string]any:
				kind, isSpan := v["Kind"].(float64)
				words, _ := v["Text"].(string)
				if isSpan && strings.Contains(words, "evil") {
					shown++
				}
				if isSpan && strings.Contains(words, "evil") && policy.SpanKind(kind) != policy.Value && policy.SpanKind(kind) != policy.Code {
					t.Errorf("%s says it as %v: %v", key, kind, v)
				}
				if url, _ := v["URL"].(string); strings.Contains(url, "evil") || strings.Contains(url, "javascript") {
					t.Errorf("%s links to %s", key, url)
				}
				for _, in := range v {
					spans(in)
				}
			case []any:
				for _, in := range v {
					spans(in)
				}
			}
		}
		var v any
		if err := json.Unmarshal(text, &v); err != nil {
			t.Fatal(err)
		}
		spans(v)
	}
	if shown == 0 {
		t.Error("it is shown nowhere, so nothing was proved")
	}
}

// failing is a store that cannot write.
type failing struct {
	store.Store
	err error
}

func (f failing) ApplyAll(context.Context, store.Batch) ([]store.Applied, error) { return nil, f.err }

func TestADoubtOfOurOwnIsA503(t *testing.T) {
	for err, after := range map[error]string{store.ErrFull: "30", store.ErrClosed: "5", store.ErrUncertain: "5", context.DeadlineExceeded: "5"} {
		l := openOn(t, failing{store.NewMem(), err})
		w := l.do(request("application/json", "["+violation("1", "")+`,{"id": "broken"}]`))
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != after {
			t.Errorf("%v: %d %v", err, w.Code, w.Header())
		}
		if strings.Contains(w.Body.String(), err.Error()) || !strings.Contains(l.log.String(), err.Error()) {
			t.Errorf("the sender hears %s, the log %s", w.Body, l.log)
		}
	}
	ready := errors.New("the store is being checked")
	l := open(t, func(d *Door) { d.Ready = func() error { return ready } })
	if w := l.do(request("application/json", violation("1", ""))); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("while starting: %d", w.Code)
	}
	ready = nil
	l.sends(t, "application/json", violation("1", ""))
}

func TestASourceThatSendsTooFastIsAskedToWait(t *testing.T) {
	now := time.Date(2026, 11, 18, 7, 0, 0, 0, time.UTC)
	l := open(t, func(d *Door) { d.Rate, d.Burst, d.Now = 0.5, 2, func() time.Time { return now } })
	send := func(from string) *httptest.ResponseRecorder {
		r := request("application/json", violation("1", ""))
		r.RemoteAddr = from + ":1234"
		return l.do(r)
	}
	for i, want := range []int{202, 202, 503} {
		if w := send("192.0.2.1"); w.Code != want || want == 503 && w.Header().Get("Retry-After") != "2" {
			t.Errorf("request %d: %d %v", i, w.Code, w.Header())
		}
	}
	if w := send("192.0.2.2"); w.Code != 202 {
		t.Errorf("another source: %d", w.Code)
	}
	now = now.Add(2 * time.Second)
	if w := send("192.0.2.1"); w.Code != 202 {
		t.Errorf("after waiting: %d", w.Code)
	}
	for i := range mostSources + 10 {
		now = now.Add(10 * time.Second)
		send(fmt.Sprintf("198.51.%d.%d", i/256, i%256))
	}
	if n := len(l.rates.of); n > mostSources {
		t.Errorf("%d sources are remembered", n)
	}
}

func TestBodiesShareTheirRoom(t *testing.T) {
	l := open(t, func(d *Door) { d.MaxBody, d.MaxHeld = 1<<10, 1<<10 })
	if !l.held.take(800) { // somebody else's
		t.Fatal("there is no room")
	}
	w := l.do(request("application/json", violation("1", `, "description": "`+strings.Repeat("x", 400)+`"`)))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d", w.Code)
	}
	l.held.give(800)
	l.sends(t, "application/json", violation("1", `, "description": "`+strings.Repeat("x", 400)+`"`))
	if l.held.free != 1<<10 {
		t.Errorf("%d bytes are free", l.held.free)
	}
}

// A body that does not come is given up; one that breaks off is not taken for a
// whole one.
func TestABodyThatDoesNotCome(t *testing.T) {
	l := open(t, func(d *Door) { d.Timeout = 100 * time.Millisecond })
	server := httptest.NewServer(l)
	defer server.Close()
	r, w := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/v1/violations", r)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = request("application/json", "").Header
	go func() { _, _ = w.Write([]byte("[" + violation("1", "") + ",")) }()
	res, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	_ = w.Close()
	if res.StatusCode != http.StatusRequestTimeout {
		t.Errorf("%s", res.Status)
	}

	broken := request("application/json", "")
	broken.Body = io.NopCloser(io.MultiReader(strings.NewReader("["+violation("1", "")+"]"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	broken.ContentLength = -1
	if w := l.do(broken); w.Code != http.StatusServiceUnavailable {
		t.Errorf("broken off: %d", w.Code)
	}
	if n := len(l.conversations(t)) + len(l.quarantined(t)); n != 0 {
		t.Errorf("%d were kept", n)
	}
}

func TestTheHandshakeOfWebhooks(t *testing.T) {
	l := open(t, func(d *Door) { d.Origins, d.Rate = []string{"eventgrid.azure.net", "events.contoso.example"}, 10 })
	ask := func(headers ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodOptions, "/v1/violations", nil)
		for i := 0; i+1 < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		return l.do(r)
	}
	called := false
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true }))
	defer server.Close()
	w := ask("WebHook-Request-Origin", "EventGrid.azure.net", "WebHook-Request-Rate", "120", "WebHook-Request-Callback", server.URL)
	if w.Code != 200 || w.Header().Get("WebHook-Allowed-Origin") != "eventgrid.azure.net" || w.Header().Get("WebHook-Allowed-Rate") != "600" || w.Header().Get("Allow") == "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if called {
		t.Error("the address to call back was called")
	}
	for _, origin := range []string{"evil.example", "eventgrid.azure.net.evil.example", "*", "eventgrid.azure.net\r\nx: y"} {
		w := ask("WebHook-Request-Origin", origin)
		if w.Code != http.StatusForbidden || w.Header().Get("WebHook-Allowed-Origin") != "" {
			t.Errorf("%q: %d %v", origin, w.Code, w.Header())
		}
	}
	if w := ask(); w.Code != http.StatusNoContent || w.Header().Get("WebHook-Allowed-Origin") != "" {
		t.Errorf("a plain OPTIONS: %d %v", w.Code, w.Header())
	}
}

func TestEventGridsOwnSchemaIsValidated(t *testing.T) {
	l := open(t)
	body := `[{"id": "1", "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {"validationCode": "512d38b6", "validationUrl": "https://rp.example/validate"}}]`
	w := l.do(request("application/json; charset=utf-8", body, "aeg-event-type", "SubscriptionValidation"))
	if w.Code != 200 || strings.TrimSpace(w.Body.String()) != `{"validationResponse":"512d38b6"}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	r := request("application/json", body, "aeg-event-type", "SubscriptionValidation")
	r.Header.Del("Authorization")
	if w := l.do(r); w.Code != http.StatusUnauthorized {
		t.Errorf("without a token: %d", w.Code)
	}
}

func TestWhatIsNoViolationIsSaidAndOpensNothing(t *testing.T) {
	l := open(t)
	a := l.sends(t, "application/cloudevents+json", `{"specversion": "1.0", "id": "1", "source": "/s", "type": "Microsoft.KeyVault.CertificateNewVersionCreated", "data": {"Id": "https://kv.vault.azure.net/certificates/a"}}`)
	if a.Ignored != 1 || a.Accepted+a.Quarantined != 0 || len(a.Notes) != 1 || len(l.conversations(t)) != 0 {
		t.Errorf("%+v", a)
	}
}

// A thousand wrong records do not make an answer of any size.
func TestAnAnswerIsBounded(t *testing.T) {
	l := open(t)
	var many strings.Builder
	for i := range 30 {
		fmt.Fprintf(&many, `,"m%d": {"key": "x"}`, i)
	}
	body := strings.Repeat(`{"id": "1"`+many.String()+"}\n", 200)
	a := l.sends(t, "application/x-ndjson", body)
	if len(a.Errors) != mostErrors || a.MoreErrors == 0 || a.Quarantined != 200 {
		t.Errorf("%d errors, %d more, %d in quarantine", len(a.Errors), a.MoreErrors, a.Quarantined)
	}
}

// Any bytes of any type: an answer that can be read, and no key material.
func FuzzDoor(f *testing.F) {
	kinds := []string{"application/json", "application/x-ndjson", "application/cloudevents+json", "application/cloudevents-batch+json", "text/plain"}
	for i, body := range []string{violation("1", ""), "[" + violation("1", "") + "]", event("e", violation("1", "")), "[{}", "3\n3", "\ufeff[", `{"key": "` + canary + `"`, "-----BEGIN PRIVATE KEY-----" + canary} {
		f.Add(i%len(kinds), body, i%2 == 0)
	}
	f.Fuzz(func(t *testing.T, kind int, body string, inHeaders bool) {
		l := openOn(t, store.NewMem(), func(d *Door) { d.MaxRecords = 50 })
		r := request(kinds[uint(kind)%uint(len(kinds))], body)
		if inHeaders {
			r.Header.Set("ce-specversion", "1.0")
			r.Header.Set("ce-id", "1")
			r.Header.Set("ce-source", "/s")
			r.Header.Set("ce-type", "t")
		}
		w := l.do(r)
		switch w.Code {
		case http.StatusAccepted, http.StatusUnsupportedMediaType, http.StatusRequestEntityTooLarge:
		default:
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if w.Code == http.StatusAccepted {
			var a Answer
			aside := 0
			for _, q := range l.quarantined(t) {
				aside += q.Count // what is the same is kept once
			}
			if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || a.Quarantined != aside || a.Accepted != len(l.conversations(t)) {
				t.Fatalf("%v %s", err, w.Body)
			}
		}
		for _, q := range l.quarantined(t) {
			if bytes.Contains(q.Body, []byte("BEGIN PRIVATE KEY-----"+canary)) {
				t.Fatalf("key material is kept: %s", q.Body)
			}
		}
	})
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// unb64 opens the base64 in a kept event.
func unb64(body string) string {
	var e struct {
		Data []byte `json:"data_base64"`
	}
	_ = json.Unmarshal([]byte(body), &e) // what is no event holds none
	return string(e.Data)
}
