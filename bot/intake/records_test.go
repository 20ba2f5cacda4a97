package intake

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// read tells what Records makes of a file: "line: record" or "line! error".
func read(r io.Reader) []string {
	var out []string
	for rec, err := range Records(r) {
		if err != nil {
			out = append(out, fmt.Sprintf("%d! %v", rec.Line, err))
			continue
		}
		out = append(out, fmt.Sprintf("%d: %s", rec.Line, rec.Raw))
	}
	return out
}

func TestRecordsOfEveryKindOfFile(t *testing.T) {
	const lost = "the file was cut off, get it again whole"
	for name, tc := range map[string]struct {
		file string
		want []string
	}{
		"empty":                       {" \n\n", nil},
		"lines":                       {"{\"a\":1}\r\n\n{\"b\":2}\n", []string{`1: {"a":1}`, `3: {"b":2}`}},
		"no newline at the end":       {"{\"a\":1}\n{\"b\":2}", []string{`1: {"a":1}`, `2: {"b":2}`}},
		"byte order mark":             {"\ufeff{\"a\":1}\n", []string{`1: {"a":1}`}},
		"one object over lines":       {"\n{\n \"a\": \"}\"\n}\n", []string{"2: {\n \"a\": \"}\"\n}"}},
		"objects over lines":          {"{\n\"a\":1}\n{\n\"b\":2\n}{\"c\":\"\\\"\"}", []string{"1: {\n\"a\":1}", "3: {\n\"b\":2\n}", `5: {"c":"\""}`}},
		"a list":                      {"[\n{\"a\":1},\n{\"b\":\n[2]}]\n", []string{`2: {"a":1}`, "3: {\"b\":\n[2]}"}},
		"an empty list":               {"[]", nil},
		"a list of what is no record": {`[1, "a,]", null]`, []string{"1: 1", `1: "a,]"`, "1: null"}},
		"a bad line among good ones":  {"{\"a\":1}\n{\"b\":\n{\"c\":3}\n", []string{`1: {"a":1}`, `2: {"b":`, `3: {"c":3}`}},
		"a bad first line":            {"{\"a\": tru\n{\"b\":2}\n", []string{`1: {"a": tru`, `2: {"b":2}`}},
		"a first line cut off":        {"{\"a\": \"tr\n{\"b\":2}\n", []string{`1: {"a": "tr`, `2: {"b":2}`}},
		"no JSON at all":              {"id,title\n1,x\n", []string{"1: id,title", "2: 1,x"}},
		"an object cut off":           {"{\n\"a\": {\n", []string{"1! the record is not closed before the file ends; " + lost}},
		"a list cut off":              {"[{\"a\":1},\n", []string{`1: {"a":1}`, "2! the list ends without its closing bracket; " + lost}},
		"a list cut off in a record":  {"[{\"a\":1},\n{\"b\":", []string{`1: {"a":1}`, "2! the record is not closed before the file ends; " + lost}},
		"text after a list":           {"[{}]\n{}", []string{"1: {}", "2! more text follows the list; put every record between its brackets"}},
		"stray brackets":              {"{\n}\n]}],", []string{"1: {\n}", "3: ]", "3: }", "3: ]", "3: ,"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, read(strings.NewReader(tc.file))); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tc.want, read(iotest.OneByteReader(strings.NewReader(tc.file)))); diff != "" {
				t.Errorf("read byte by byte: %s", diff)
			}
		})
	}
}

// One record that is too large costs that record, whatever the file's kind.
func TestATooLargeRecordIsSaidAndTheNextFollows(t *testing.T) {
	huge := `{"a":"` + strings.Repeat("x", MaxRecord) + `"}`
	const said = "the record is over 1 MiB; send one violation in each record"
	for name, tc := range map[string]struct {
		file string
		want []string
	}{
		"lines": {huge + "\n{\"b\":2}\n", []string{"1! " + said, `2: {"b":2}`}},
		"list":  {"[" + huge + ",\n{\"b\":2}]", []string{"1! " + said, `2: {"b":2}`}},
		"last":  {"{\"b\":2}\n" + huge, []string{`1: {"b":2}`, "2! " + said}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, read(strings.NewReader(tc.file))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A feed's records come out as they go in, not when the next one does.
func TestARecordDoesNotWaitForTheNext(t *testing.T) {
	r, w := io.Pipe()
	got := make(chan Record)
	go func() {
		defer close(got)
		for rec := range Records(r) {
			got <- rec
		}
	}()
	for _, line := range []string{`{"a":1}`, `{"b":`, `{"c":3}`} {
		if _, err := io.WriteString(w, line+"\n"); err != nil {
			t.Fatal(err)
		}
		if rec := <-got; string(rec.Raw) != line {
			t.Errorf("%s came as %s", line, rec.Raw)
		}
	}
	_ = w.Close()
	if rec, more := <-got; more {
		t.Errorf("%s came after the end", rec.Raw)
	}
}

// However long a record is, no more of it is held than a record may have.
func TestARecordWithoutEndIsNotKept(t *testing.T) {
	const size = 64 << 20
	for _, head := range []string{`[{"a":"`, `{"a":"`} {
		endless := io.MultiReader(strings.NewReader(head), io.LimitReader(letters{}, size))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got := read(endless)
		runtime.ReadMemStats(&after)
		if len(got) != 1 || !strings.HasPrefix(got[0], "1! the record is ") {
			t.Errorf("%s: %q", head, got)
		}
		if held := after.TotalAlloc - before.TotalAlloc; held > size/2 {
			t.Errorf("%s: %d bytes were allocated for it", head, held)
		}
	}
}

type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestAReaderThatFailsEndsTheRecords(t *testing.T) {
	broken := errors.New("the disk is gone")
	got := read(io.MultiReader(strings.NewReader("{\"a\":1}\n"), iotest.ErrReader(broken)))
	if len(got) != 2 || got[0] != `1: {"a":1}` || !strings.Contains(got[1], "the disk is gone") {
		t.Errorf("%q", got)
	}
}

func TestWhoeverHasEnoughMayStop(t *testing.T) {
	for _, file := range []string{"{}\n{}\n", "[{},{}]", "{\n}\n{\n}\n"} {
		n := 0
		for range Records(strings.NewReader(file)) {
			n++
			break
		}
		if n != 1 {
			t.Errorf("%q: %d", file, n)
		}
	}
}

// Any bytes at all: it ends, places only grow, no record is over the limit.
func FuzzRecords(f *testing.F) {
	for _, seed := range []string{"{\"a\":1}\n{}", "[{},1,\"\\\"\"]", "{\n\"a\":1}{}]", "\ufeff[", "x\n\n,", "[\f"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		line, index := 1, 0
		for rec, err := range Records(bytes.NewReader(file)) {
			if rec.Line < line || rec.Index < index {
				t.Fatalf("went back from %d/%d to %d/%d", line, index, rec.Line, rec.Index)
			}
			if err == nil && (rec.Index != index || len(rec.Raw) == 0 || len(rec.Raw) > MaxRecord || !bytes.Contains(file, rec.Raw)) {
				t.Fatalf("record %d is %q", rec.Index, rec.Raw)
			}
			line, index = rec.Line, rec.Index+1
			if index > len(file)+1 {
				t.Fatal("more records than bytes")
			}
		}
	})
}
