package intake

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

// pieces opens a file and returns its records.
func pieces(t *testing.T, name, content string, mapped ...string) (*File, []Piece) {
	t.Helper()
	m, err := ParseMapping(mapped)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(strings.NewReader(content), name, m)
	if err != nil {
		t.Fatal(err)
	}
	var all []Piece
	for rec, err := range f.Records() {
		all = append(all, Piece{rec, err})
	}
	return f, all
}

// one returns the alert of the only record.
func one(t *testing.T, all []Piece) Alert {
	t.Helper()
	if len(all) != 1 {
		t.Fatalf("%d records", len(all))
	}
	got := all[0].reading()
	if len(got.Faults) > 0 || len(got.Alerts) != 1 {
		t.Fatalf("%+v", got)
	}
	return got.Alerts[0]
}

const s360Header = "KPI Action Item Id,Title,App Id,App Display Name,AppHomeTenantId,Cloud Type,SLA State,Current Due Date,Assigned To,ActionOwnerAlias,Service Name,Colour\n"

func TestAnS360ExportIsReadByItsColumns(t *testing.T) {
	f, all := pieces(t, "export.csv", "\ufeff"+s360Header+
		`KAI-1,AAD Entra Apps cloud mismatches with Cert Cloud,3F6B2A10-8C4D-4E21-9A7B-5D0E6C1F2A01,"Contoso ""Ledger"", Sync",a0000000-0000-4000-8000-0000000000a2,Fairfax,OutOfSla,2026-12-01,okafor,rivera,Contoso Ledger,blue`)
	if f.Kind != "S360 export" || f.Columns[11] != (Column{"Colour", ""}) || f.Columns[2] != (Column{"App Id", "CustomDimensions.AppId"}) {
		t.Errorf("%s %+v", f.Kind, f.Columns)
	}
	a := one(t, all)
	v := a.Violation
	if a.Shape != S360 || a.Finding() != "s360/KAI-1" || v.App.AppID != "3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a01" || v.App.DisplayName != `Contoso "Ledger", Sync` ||
		v.App.Cloud != "Fairfax" || v.SLAState != "OutOfSla" || v.Due.IsZero() || v.Owner.Alias != "rivera" || v.Assignee.Alias != "okafor" {
		t.Errorf("%+v", v)
	}
}

// The inventory is a list of all apps: those with secrets only are findings, of
// the others it says that they are not.
func TestACredentialInventoryIsReadAsFindings(t *testing.T) {
	f, all := pieces(t, "app-credential-inventory.csv", "DisplayName,AppId,SecretCount,CertCount,SecretsOnly\r\n"+
		"'=Fabrikam Relay,9c1a7e44-1d22-4b0f-8f6e-70aa51c3be14,2,0,True\r\n"+
		"Contoso Ledger,3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a01,0,1,False\r\n")
	if f.Kind != "app credential inventory" || len(all) != 2 {
		t.Fatalf("%s, %d records", f.Kind, len(all))
	}
	a, b := one(t, all[:1]), one(t, all[1:])
	if a.Finding() != "other/APP-09/9c1a7e44-1d22-4b0f-8f6e-70aa51c3be14" || !a.Violation.App.SecretsOnly || a.Violation.App.SecretCount != 2 ||
		a.Violation.App.DisplayName != "=Fabrikam Relay" || a.Violation.Over() {
		t.Errorf("%+v", a.Violation)
	}
	if !b.Violation.Over() || b.Violation.App.CertCount != 1 {
		t.Errorf("%+v", b.Violation)
	}
	l := open(t)
	became, err := l.Intake.Take(t.Context(), func(r Record) string { return fmt.Sprintf("import x:%d", r.Line) }, all)
	if err != nil || became[0].Opened != 1 || became[1].Ignored != 1 || became[1].Line != 3 {
		t.Errorf("%+v %v", became, err)
	}
	if said := became[1].String(); said != "nothing to do; it is resolved and no conversation is about it" {
		t.Error(said)
	}
}

func TestOurOwnColumnsAndAMapping(t *testing.T) {
	f, all := pieces(t, "x.csv", "Nr;source.system;title;Application;Wer;dueDateTime;credential.endDateTime\n"+
		"7;trueconfig;Rotate your keyCredentials in Microsoft Entra ID;3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a01;rivera;2026-12-01 08:30:00;2027-01-01T00:00:00Z\n",
		"Nr=id", "Application=app.appId", "Wer=-")
	v := one(t, all).Violation
	if f.Kind != "CSV of violations" || v.ID != "7" || v.Source.System != "trueconfig" || v.App.AppID == "" || v.Due.Hour() != 8 || v.Cred.End.IsZero() || v.Owner.Alias != "" {
		t.Errorf("%s %+v", f.Kind, v)
	}
	_, all = pieces(t, "x.csv", "id,title,app.displayName\n1,t,Ledger\n")
	if v := one(t, all).Violation; v.Source.System != "other" {
		t.Errorf("%+v", v.Source)
	}
}

// Faults of a row name its line and the column.
func TestFaultsNameTheLineAndTheColumn(t *testing.T) {
	_, all := pieces(t, "x.csv", s360Header+
		"KAI-1,t,nope,,,,,,,,,\n"+
		"\n"+
		"KAI-2,\"over\ntwo lines\",,,,,,31/12/2026,,,,\n"+
		"KAI-3,too few\n"+
		"KAI-4,a \"bare\" quote,,,,,,,,,,\n"+
		",no id,,,,,,,,,,\n"+
		"KAI-5,fine,,,,,,,,,,\n")
	want := []string{
		"2: App Id is not a GUID; send it as 00000000-0000-0000-0000-000000000000",
		"4: Current Due Date must be a time such as 2026-11-18T07:00:00Z or a date such as 2026-11-18",
		"6: the row has 2 cells where there are 12 columns; put cells that hold a ',' in quotes",
		"7: the quotes of this row are wrong (line 7, byte 9); put cells that hold quotes in quotes, and double the quotes in them",
		"8: KPI Action Item Id is missing; add it",
		"9: ",
	}
	got := make([]string, 0, len(all))
	for _, p := range all {
		said := ""
		if faults := p.reading().Faults; len(faults) > 0 {
			said = (&Malformed{Faults: faults}).Error()
		}
		got = append(got, fmt.Sprintf("%d: %s", p.Line, said))
	}
	same(t, want, got)
}

// A row that cannot be read is kept with its text and its line, as a small file
// that can be corrected, and read again: also when the columns were mapped.
func TestARowThatCannotBeReadIsKeptAsItCame(t *testing.T) {
	const (
		app        = "3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a01"
		head, kept = "Nr;title;App;Wer\n", "id;title;app.appId;Wer\n"
	)
	for name, c := range map[string]struct {
		rest string // of the file, behind line 2
		line int    // that the row begins on
		want string // as which the row is kept, or what it begins with
		says string
	}{
		"bare quotes":        {"7;a \"bare\" quote;;\n", 3, `7;a "bare" quote;;`, "(line 3, byte 5)"},
		"over two lines":     {"7;\"a\r\nb\" c\";;\r\n", 3, "7;\"a\r\nb\" c\";;", "(line 4, byte 2)"},
		"behind blank lines": {"\r\n\n7;few\n", 5, "7;few", "2 cells"},
		"never closed":       {"7;\"open;;\n8;more;;", 3, "7;\"open;;\n8;more;;", "(line 4, byte 9)"},
		"far too long":       {"7;\"" + strings.Repeat("long ", MaxRecord/4), 3, "7;\"long long ", "never closed"},
		"with a secret":      {"7;a \"bare\" -----BEGIN PRIVATE KEY-----MIIEcanary;;\n", 3, `[left out: it looks like a part of a private key]`, "quotes"},
		"with a password":    {"7;a \"bare\" password=canary;;\n", 3, `7;a "bare" password=[removed];;`, "quotes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, all := pieces(t, "x.csv", head+"6;fine;"+app+";x\n"+c.rest, "Nr=id", "App=app.appId")
			l := open(t)
			if _, err := l.Intake.Take(t.Context(), func(r Record) string { return fmt.Sprintf("import x.csv:%d", r.Line) }, all); err != nil {
				t.Fatal(err)
			}
			q := l.quarantined(t)
			if len(q) != 1 {
				t.Fatalf("%d are in quarantine, want the one row", len(q))
			}
			if body := string(q[0].Body); !strings.HasPrefix(body, kept+c.want) || strings.Contains(body, "canary") ||
				!strings.Contains(q[0].Why, c.says) || q[0].Source != fmt.Sprint("import x.csv:", c.line) {
				t.Errorf("%s is kept as %.200q, because %q", q[0].Source, body, q[0].Why)
			}
			if became, err := l.Intake.Reread(t.Context(), q); err != nil || !became[0].Quarantined || became[0].Opened != 0 {
				t.Errorf("read again it became %v, %v", became, err)
			}
			q[0].Body = []byte(kept + "7;corrected;" + app + ";x\n") // as a later version may read it
			if became, err := l.Intake.Reread(t.Context(), q); err != nil || became[0].Opened != 1 || len(l.quarantined(t)) != 0 {
				t.Errorf("corrected it became %v, %v", became, err)
			}
		})
	}
}

// In the text of a row nobody can tell what was in the column of a password.
func TestARowWithAColumnForKeyMaterialIsNotKept(t *testing.T) {
	_, all := pieces(t, "x.csv", "id,title,Client Secret\n7,a \"bare\" quote,canary\n8,canary\n9,\"canary\n")
	for _, p := range all {
		if got := p.reading(); len(got.Faults) != 1 || string(got.Clean) != "id,title,Client Secret\n[left out: a column is for key material]" {
			t.Errorf("line %d is kept as %q", p.Line, got.Clean)
		}
	}
	if len(all) != 3 {
		t.Errorf("%d rows", len(all))
	}
}

// What was kept of other things than rows is not taken for a file.
func TestWhatIsNoRowIsReadAgainAsARecord(t *testing.T) {
	for _, kept := range []string{"", "title", "no JSON", "id,title\n", "id,title\n1,a\n2,b\n", `["7","few"]`, "{"} {
		if _, is := rowIn([]byte(kept)); is || len(again([]byte(kept)).Faults) == 0 {
			t.Errorf("%q is taken for a row, or let go", kept)
		}
	}
}

func TestFilesThatCannotBeReadSayWhatToDo(t *testing.T) {
	for name, tc := range map[string]struct {
		file, content string
		mapped        []string
		want          string
	}{
		"nothing known":     {"x.csv", "a,b\n1,2\n", nil, `none of the columns a, b means anything here; map them, as in --map "a=app.appId"`},
		"empty":             {"x.csv", "", nil, "the file is empty"},
		"UTF-16":            {"x.csv", "\xff\xfei\x00d\x00", nil, "save it as UTF-8"},
		"no such column":    {"x.csv", "id,title\n", []string{"App=app.appId"}, `there is no column "App" to map; the columns are id, title`},
		"no such path":      {"x.csv", "id,title,App\n", []string{"App=app.id"}, `the column "App" cannot be mapped to "app.id"; in this file the paths are app.appId,`},
		"a column twice":    {"x.csv", "id,title,ID\n", nil, `the columns "id" and "ID" both fill id; map one of them to -`},
		"a mapping of JSON": {"x.json", "{}", []string{"a=id"}, "is JSON, which has no columns to map"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := ParseMapping(tc.mapped)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = Open(strings.NewReader(tc.content), tc.file, m); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v", err)
			}
		})
	}
	for _, pair := range []string{"", "a", "=b", "a="} {
		if _, err := ParseMapping([]string{pair}); err == nil {
			t.Errorf("%q was taken", pair)
		}
	}
	if _, err := ParseMapping([]string{"a=id", "a=title"}); err == nil {
		t.Error("a column mapped twice was taken")
	}
}

// What a file is, it says by its name, or else by how it begins.
func TestAFileIsKnownByItsNameOrItsBeginning(t *testing.T) {
	for name, want := range map[string]string{"a.ndjson": "NDJSON or JSON", "a.JSON": "NDJSON or JSON", "-": "NDJSON or JSON"} {
		f, all := pieces(t, name, violation("1", ""))
		if f.Kind != want {
			t.Errorf("%s is %s", name, f.Kind)
		}
		one(t, all)
	}
	if f, _ := pieces(t, "-", "id,title\n1,t\n"); f.Kind != "CSV of violations" {
		t.Errorf("CSV from a pipe is %s", f.Kind)
	}
}

// A quote that is never closed would be a cell as large as the rest of the file.
func TestAQuoteThatIsNeverClosedEndsTheFile(t *testing.T) {
	_, all := pieces(t, "x.csv", "id,title\n1,fine\n2,\"open\n"+strings.Repeat("3,more\n", 1<<18))
	if len(all) != 2 || all[1].Line != 3 || all[1].Err == nil || !strings.Contains(all[1].Err.Error(), "never closed") {
		t.Errorf("%d records, %+v", len(all), all[len(all)-1].Err)
	}
	_, all = pieces(t, "x.csv", "id,title\n2,\"open\n")
	if len(all) != 1 || all[0].Err == nil {
		t.Errorf("%+v", all)
	}
}

func TestAFileThatFailsEndsTheRecords(t *testing.T) {
	f, err := Open(io.MultiReader(strings.NewReader("id,title,app.appId\n1,t,\n"), iotest.ErrReader(errors.New("the disk is gone"))), "x.csv", nil)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, err := range f.Records() {
		if n++; n == 2 && (err == nil || !strings.Contains(err.Error(), "the disk is gone")) {
			t.Error(err)
		}
	}
	if n != 2 {
		t.Errorf("%d records", n)
	}
}

// A hundred thousand lines go by without being held.
func TestALargeFileIsNotHeld(t *testing.T) {
	const lines = 100_000
	r, w := io.Pipe()
	go func() {
		_, _ = io.WriteString(w, s360Header)
		for i := range lines {
			_, _ = fmt.Fprintf(w, "KAI-%d,AAD Entra Apps cloud mismatches with Cert Cloud,3f6b2a10-8c4d-4e21-9a7b-5d0e6c1f2a01,Ledger,,Fairfax,OutOfSla,2026-12-01,okafor,rivera,Contoso Ledger,%s\n", i, strings.Repeat("x", 200))
		}
		_ = w.Close()
	}()
	f, err := Open(r, "x.csv", nil)
	if err != nil {
		t.Fatal(err)
	}
	before, n := heap(), 0
	for rec, err := range f.Records() {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == lines {
			if rec.Line != lines+1 || rec.Index != lines-1 {
				t.Errorf("the last is line %d, record %d", rec.Line, rec.Index)
			}
			if grown := heap() - before; grown > 4<<20 {
				t.Errorf("%d bytes more are held at the end", grown)
			}
		}
	}
	if n != lines {
		t.Errorf("%d records", n)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Any bytes under any header: it ends, lines only grow, every record is JSON, and
// what is none is kept.
func FuzzCSV(f *testing.F) {
	f.Add(s360Header + "KAI-1,t,,,,,,,,,,\n")
	f.Add("DisplayName;AppId;SecretsOnly\n\"a;b\";c;True\n")
	f.Add("id\ttitle\n\"\n")
	f.Add("id,title\r\n\r\n1,a\"b\r\n2,\"c\"d\n3\n")
	f.Fuzz(func(t *testing.T, content string) {
		file, err := Open(strings.NewReader(content), "x.csv", nil)
		if err != nil {
			return
		}
		line, n := 1, 0
		for rec, err := range file.Records() {
			if rec.Line < line {
				t.Fatalf("went back from line %d to %d", line, rec.Line)
			}
			if line = rec.Line; err == nil && !json.Valid(rec.Raw) {
				t.Fatalf("line %d is %q", line, rec.Raw)
			}
			if n++; n > len(content) {
				t.Fatal("more records than bytes")
			}
			if got := (Piece{rec, err}).reading(); len(got.Faults) > 0 {
				if len(got.Clean) == 0 {
					t.Fatalf("nothing of line %d is kept", line)
				}
				again(got.Clean)
			}
		}
	})
}

// What a broken row is kept for is to be read again, and never at the price of
// keeping a key, or what the operator said is not to be taken in.
func TestABrokenRowIsNotKeptWhereItsTextMayBeASecret(t *testing.T) {
	line := strings.Repeat("canary", 10) + "Ab12"
	for name, c := range map[string]struct {
		file string
		m    Mapping
	}{
		"a key without quotes":         {"id,title,app.appId\nKAI-1,t,-----BEGIN PRIVATE KEY-----\n" + line + "\n" + line[:20] + "\n-----END PRIVATE KEY-----\n", nil},
		"a key in a row of bad quotes": {"id,title,app.appId\nKAI-1,t\"x,-----BEGIN RSA PRIVATE KEY-----\n" + line + "\n" + line[:20] + "\n-----END RSA PRIVATE KEY-----\n", nil},
		"a line of one alone":          {"id,title,app.appId\n" + line + "\n", nil},
		"a column left out by mapping": {"id,title,app.appId,Salary\nKAI-1,t\"x,,canary 90000\n", Mapping{"Salary": "-"}},
		"a column named for secrets":   {"id,title,app.appId,Client Secret Value\nKAI-1,t\"x,,canary\n", nil},
	} {
		f, err := Open(strings.NewReader(c.file), "a.csv", c.m)
		if err != nil {
			t.Fatal(err)
		}
		rows := 0
		for rec, err := range f.Records() {
			rows++
			got := Piece{rec, err}.reading()
			if kept := string(got.Clean) + string(rec.Raw); strings.Contains(kept, "canary") {
				t.Errorf("%s: line %d is kept as %q", name, rec.Line, kept)
			}
		}
		if rows == 0 {
			t.Errorf("%s: no row was read", name)
		}
	}
}
