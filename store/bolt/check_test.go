package bolt_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rehome/conversation"
	"rehome/policy"
	"rehome/store"
	"rehome/store/bolt"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// lively puts a store at path that has something in every bucket: RH-1 to RH-9,
// of which RH-1 to RH-3 were over and are forgotten.
func lively(t *testing.T, path string) {
	t.Helper()
	s, err := bolt.Open(path, forTests)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}()
	for n := 1; n <= 9; n++ {
		effects := []conversation.Effect{conversation.Record{Text: fmt.Sprint("opened ", n)}, conversation.Remember{Key: fmt.Sprint("k", n), Value: "v"}}
		status := conversation.Closed
		if n > 3 {
			status = conversation.Asking
			effects = append(effects, conversation.Show{Card: "root"})
		}
		_, err := s.Apply(t.Context(), store.Input{Event: fmt.Sprint("e", n), Finding: fmt.Sprint("f", n), At: noon, Step: func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
			c.Status, c.Updated = status, noon
			c.Facts = policy.Facts{{Name: policy.AppID, Value: fmt.Sprint("app", n), From: policy.FromAlert}}
			c.Threads = []conversation.Thread{{Place: conversation.Place{Channel: "C1", Anchor: fmt.Sprint(n, ".0")}}}
			return c, effects
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	waiting, err := s.Outbox(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Settle(t.Context(), store.Settled{Delivery: waiting[0], Outcome: store.Outcome{Abandoned: true, Error: "is_archived"}}); err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{"{}", "{}", "[]", "x"} {
		if _, err := s.ApplyAll(t.Context(), store.Batch{Quarantine: []store.Quarantined{{At: noon.AddDate(2, 0, 0), Source: "http", Why: "no title", Body: []byte(body)}}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Discard(t.Context(), noon.AddDate(2, 0, 0), 3); err != nil {
		t.Fatal(err)
	}
	if f, err := s.Forget(t.Context(), noon.AddDate(1, 0, 0), noon.AddDate(2, 0, 0)); err != nil || f.Conversations != 3 || f.Entries != 3 {
		t.Fatalf("Forget = %+v, %v", f, err)
	}
}

func examined(t *testing.T, path string) bolt.Examined {
	t.Helper()
	found, err := bolt.Examine(path)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestNothingIsWrongWithAStoreThatWasUsed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rehome.db")
	lively(t, path)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found := examined(t, path)
	if len(found.Problems)+len(found.Notes) > 0 {
		t.Errorf("found %+v %+v", found.Problems, found.Notes)
	}
	if found.Conversations != 6 || found.Deliveries != 5 || found.Abandoned != 1 || found.Quarantined != 2 || found.BackupOf != nil || found.Schema != 3 {
		t.Errorf("counted %+v", found)
	}
	if j := found.Journal; j.Entries != 10 || j.Last != 13 || len(j.Hash) != 64 || j.At == nil || !j.At.Equal(noon.AddDate(2, 0, 0)) {
		t.Errorf("the journal is %+v", j)
	}
	if n := len(found.Did); n != 4 || !strings.Contains(found.Did[0].Text, "was discarded") || !strings.HasPrefix(found.Did[3].Text, "RH-3 was forgotten") {
		t.Errorf("what was done to it is %+v", found.Did)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("examining it changed it, %v", err)
	}
	if err := openAt(t, path).Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

// Whatever disagrees with something else is found and named, alone.
func TestWhatDisagreesIsFound(t *testing.T) {
	type (
		putting  = func(bucket string, key []byte, body ...[]byte)
		deleting = func(bucket string, key []byte)
	)
	zero := make([]byte, 32)
	number := func(n uint64) []byte { return bolt.Number(n) }
	for name, test := range map[string]struct {
		meddle func(put putting, del deleting)
		where  string
		what   string
	}{
		"a thread leads to another": {func(put putting, _ deleting) { put("threads", bolt.ThreadKey("C1", "4.0"), number(5)) }, "record 0243 31342e30 in threads", "names RH-5"},
		"a thread leads nowhere":    {func(put putting, _ deleting) { put("threads", bolt.ThreadKey("C9", "4.0"), number(1)) }, "in threads", "names RH-1, which has no such thread"},
		"a thread is not known":     {func(_ putting, del deleting) { del("threads", bolt.ThreadKey("C1", "4.0")) }, "conversation RH-4", "threads"},
		"an app leads to another":   {func(put putting, _ deleting) { put("apps", bolt.AppKey("app4", 5), number(5)) }, "in apps", "names RH-5"},
		"an app is not known":       {func(_ putting, del deleting) { del("apps", bolt.AppKey("app4", 4)) }, "conversation RH-4", "its app"},
		"a finding leads nowhere":   {func(put putting, _ deleting) { put("findings", []byte("f4"), number(1)) }, "in findings", "names RH-1, which is not there"},
		"an event of the future":    {func(put putting, _ deleting) { put("seen", []byte("e4"), number(10)) }, "in seen", "names RH-10, which never was"},
		"an event without an age":   {func(put putting, _ deleting) { put("seen", []byte("e99"), number(4)) }, "the event keys", "10 are known, and 9 by their age"},
		"an age without an event":   {func(_ putting, del deleting) { del("seen", []byte("e4")) }, "in seen-by-age", "not known"},
		"a delivery of nobody": {func(put putting, _ deleting) {
			put("deliveries", number(2), []byte(`{"conversation":1,"kind":"show","effect":{}}`))
		}, "delivery 2", "it is of RH-1, which is not there"},
		"a delivery of another kind": {func(put putting, _ deleting) {
			put("deliveries", number(2), []byte(`{"conversation":4,"kind":"shout","effect":{}}`))
		}, "the file", `"shout"`},
		"a delivery of the future": {func(put putting, _ deleting) {
			put("deliveries", number(77), []byte(`{"conversation":4,"kind":"show","effect":{}}`))
		}, "delivery 77", "was not given out yet: the last is 6"},
		"no quarantine by digest": {func(_ putting, del deleting) { del("quarantined-as", bolt.SameAs("http", []byte("{}"))) }, "quarantined record 1", "would not be known"},
		"a digest of nothing":     {func(put putting, _ deleting) { put("quarantined-as", zero, number(3)) }, "in quarantined-as", "is not there"},
		"an entry is changed": {func(put putting, _ deleting) {
			put("journal", number(5), zero, []byte(`{"conversation":5,"text":"opened 5"}`))
		}, "journal entry 5", "does not follow"},
		"an entry is taken out":        {func(_ putting, del deleting) { del("journal", number(10)) }, "journal entry 11", "does not follow"},
		"the first entry is taken out": {func(_ putting, del deleting) { del("journal", number(4)) }, "journal entry 5", "does not follow"},
		"the last entry is taken out":  {func(_ putting, del deleting) { del("journal", number(13)) }, "the journal", "it ends with entry 12, and 13 were written"},
		"the journal's cut is changed": {func(put putting, _ deleting) { put("meta", []byte("journal-cut"), number(3), zero) }, "journal entry 4", "does not follow"},
		"a name that is another's":     {func(put putting, _ deleting) { put("conversations", number(4), number(4), []byte(`{"id":"RH-5"}`)) }, "conversation RH-4", "calls itself RH-5"},
		"a conversation is no JSON":    {func(put putting, _ deleting) { put("conversations", number(4), number(4), []byte(`{`)) }, "conversation RH-4", "unexpected end"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "rehome.db")
			lively(t, path)
			if err := bolt.Meddle(path, test.meddle); err != nil {
				t.Fatal(err)
			}
			found := examined(t, path)
			for _, p := range found.Problems {
				if strings.Contains(p.Where, strings.ReplaceAll(test.where, " 31342e30", "31342e30")) && strings.Contains(p.What, test.what) && p.Do != "" {
					return
				}
			}
			t.Errorf("found %+v, want that %s: %s", found.Problems, test.where, test.what)
		})
	}
}

// One flipped byte in whichever record is one problem, which names the record.
func TestAFlippedByteIsOneProblem(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rehome.db")
	lively(t, path)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for where, mark := range map[string]string{
		"conversation RH-4": `"id":"RH-4"`, "journal entry 4": "opened 4", "delivery 3": `"line":"RH-6/0"`, "abandoned delivery 1": "is_archived",
		"quarantined record 2": "W10=", "record 6b34 in remembered": "k4\x01",
	} {
		t.Run(where, func(t *testing.T) {
			// bbolt leaves old pages lying about: each copy is flipped.
			flipped := []byte(mark)
			if flipped[len(mark)-2] ^= 1; mark == "k4\x01" {
				flipped = []byte("k4\x02")
			}
			broken := bytes.ReplaceAll(whole, []byte(mark), flipped)
			if bytes.Equal(whole, broken) {
				t.Fatalf("%q is not in the file", mark)
			}
			if err := os.WriteFile(path, broken, 0o600); err != nil {
				t.Fatal(err)
			}
			found := examined(t, path)
			if len(found.Problems) != 1 || found.Problems[0].Where != where || !strings.Contains(found.Problems[0].Do, "rehome restore") {
				t.Errorf("found %+v, want one problem, in %s", found.Problems, where)
			}
		})
	}
}

// Whatever page is zeroed or overwritten: it is a problem or is not used, and
// examining ends in either case.
func TestADamagedPageIsAProblem(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rehome.db")
	lively(t, path)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	clean := examined(t, path)
	page := os.Getpagesize()
	noise := bytes.Repeat([]byte{0xa5, 0x5a, 0xff}, page)[:page]
	bad := 0
	for n := range usedPages(t, path) {
		for _, what := range [][]byte{make([]byte, page), noise, whole[:page]} {
			broken := bytes.Clone(whole)
			copy(broken[n*page:], what)
			if err := os.WriteFile(path, broken, 0o600); err != nil {
				t.Fatal(err)
			}
			found := examined(t, path)
			if len(found.Problems) > 0 {
				bad++
			} else if found.Conversations != clean.Conversations || found.Journal != clean.Journal && found.Journal.Hash != clean.Journal.Hash {
				t.Errorf("page %d: nothing is wrong with %+v, which was %+v", n, found, clean)
			}
		}
	}
	if bad < 15 {
		t.Errorf("%d damaged pages were problems, want those that are used", bad)
	}
}

func TestAFileThatIsNoStoreIsAProblemAndNoneIsAnError(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "rehome.db")
	if _, err := bolt.Examine(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := bolt.Examine(dir); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Errorf("a folder: %v", err)
	}
	for name, content := range map[string][]byte{"it is empty": nil, "damaged": []byte("hello\n")} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if found := examined(t, path); len(found.Problems) != 1 || !strings.Contains(found.Problems[0].What, name) {
			t.Errorf("%q: found %+v, want that it is %q", content, found.Problems, name)
		}
	}
	lively(t, filepath.Join(dir, "held.db"))
	openAt(t, filepath.Join(dir, "held.db"))
	if _, err := bolt.Examine(filepath.Join(dir, "held.db")); !errors.Is(err, bolt.ErrLocked) {
		t.Errorf("a store that is held: %v, want ErrLocked", err)
	}
}

func TestTheSentinelIsExaminedToo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rehome.db")
	lively(t, path)
	if err := os.WriteFile(path+".id", []byte(hex.EncodeToString(make([]byte, 16))), 0o600); err != nil {
		t.Fatal(err)
	}
	if found := examined(t, path); len(found.Problems) != 1 || found.Problems[0].Where != "the sentinel" {
		t.Errorf("found %+v, want the sentinel", found.Problems)
	}
	if err := os.Remove(path + ".id"); err != nil {
		t.Fatal(err)
	}
	if found := examined(t, path); len(found.Problems) != 0 || len(found.Notes) != 1 || found.Notes[0].Where != "the sentinel" {
		t.Errorf("found %+v %+v, want a note of the sentinel", found.Problems, found.Notes)
	}
}

// Whatever few bytes are damaged: examining ends, and what it calls clean has in
// it what was there.
func TestDamageIsFoundOrHarmless(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rehome.db")
	bulky(t, path)
	if _, err := bolt.Compact(path); err != nil { // so that most of the file is in use
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	clean, page := examined(t, path), os.Getpagesize()
	used := usedPages(t, path) * page
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewSource(seed))
	bad := 0
	const rounds = 300
	for range rounds {
		broken := bytes.Clone(whole)
		for range 1 + r.Intn(4) {
			at := r.Intn(used - 8)
			if r.Intn(2) == 0 { // where a page says what it is
				at = at/page*page + r.Intn(64)
			}
			for i := range 1 + r.Intn(8) {
				broken[at+i] = byte(r.Intn(256))
			}
		}
		if err := os.WriteFile(path, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		found := examined(t, path)
		if len(found.Problems) > 0 {
			bad++
			continue
		}
		if found.Conversations != clean.Conversations || found.Deliveries != clean.Deliveries || found.Quarantined != clean.Quarantined || found.Journal.Hash != clean.Journal.Hash {
			t.Errorf("nothing is wrong with %+v, which was %+v", found, clean)
		}
	}
	if bad < rounds/2 {
		t.Errorf("%d of %d damaged files have a problem", bad, rounds)
	}
}

// What would send bbolt in circles, or through pages that are not there, is found
// before it does.
func TestPagesThatDoNotFormATreeAreFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rehome.db")
	bulky(t, path)
	if _, err := bolt.Compact(path); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	branch := 2 * page
	for ; binary.NativeEndian.Uint16(whole[branch+8:]) != 0x01; branch += page {
		if branch+page == len(whole) {
			t.Fatal("the file has no branch page")
		}
	}
	meta := whole[16:]
	if other := whole[page+16:]; binary.NativeEndian.Uint64(other[48:]) > binary.NativeEndian.Uint64(meta[48:]) {
		meta = other // of the later transaction
	}
	freeList := int(binary.NativeEndian.Uint64(meta[32:])) * page
	small := smallBucket(t, whole, int(binary.NativeEndian.Uint64(meta[16:]))*page)
	for name, test := range map[string]struct {
		damage func(b []byte)
		say    string
	}{
		"a page is below itself": {func(b []byte) {
			copy(b[branch+16+8:], b[branch:branch+8]) // its first child is its own number
		}, "is used twice"},
		"a page goes on for ever":  {func(b []byte) { binary.NativeEndian.PutUint32(b[branch+12:], 1<<31) }, "goes on for 2147483648 pages"},
		"the free list does":       {func(b []byte) { binary.NativeEndian.PutUint32(b[freeList+12:], 1<<31) }, "goes on for 2147483648 pages"},
		"a child is not there":     {func(b []byte) { binary.NativeEndian.PutUint64(b[branch+16+8:], 1<<40) }, "is named, and there are"},
		"more elements than room":  {func(b []byte) { binary.NativeEndian.PutUint16(b[branch+10:], 0xffff) }, "for which it has no room"},
		"an element that is large": {func(b []byte) { binary.NativeEndian.PutUint32(b[branch+16+4:], 1<<30) }, "an element ends at"},
		"a small bucket, likewise": {func(b []byte) {
			binary.NativeEndian.PutUint16(b[small+10:], 0xffff)
		}, "a small bucket with 65535 elements, for which it has no room"},
		"a small bucket that is none": {func(b []byte) { binary.NativeEndian.PutUint16(b[small+8:], 0x01) }, "a small bucket that is not a leaf"},
		"a page of another kind":      {func(b []byte) { binary.NativeEndian.PutUint16(b[branch+8:], 0x40) }, "is neither branch nor leaf"},
	} {
		t.Run(name, func(t *testing.T) {
			broken := bytes.Clone(whole)
			test.damage(broken)
			if err := os.WriteFile(path, broken, 0o600); err != nil {
				t.Fatal(err)
			}
			if found := examined(t, path); len(found.Problems) != 1 || !strings.Contains(found.Problems[0].What, test.say) {
				t.Errorf("found %+v, want that it %q", found.Problems, test.say)
			}
			s, err := bolt.Open(path, forTests)
			if err == nil {
				_ = s.Close()
			}
			if !errors.Is(err, bolt.ErrDamaged) || !strings.Contains(err.Error(), test.say) {
				t.Errorf("Open = %v, want ErrDamaged saying %q", err, test.say)
			}
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// smallBucket returns where the page of a bucket begins that is within the leaf
// page at root.
func smallBucket(t *testing.T, file []byte, root int) int {
	t.Helper()
	for i := range int(binary.NativeEndian.Uint16(file[root+10:])) {
		element := root + 16 + i*16
		value := element + int(binary.NativeEndian.Uint32(file[element+4:])) + int(binary.NativeEndian.Uint32(file[element+8:]))
		if file[element]&1 != 0 && binary.NativeEndian.Uint64(file[value:]) == 0 {
			return value + 16
		}
	}
	t.Fatal("the file has no small bucket")
	return 0
}
