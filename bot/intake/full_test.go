package intake

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"rehome/store"
	"rehome/store/bolt"
)

func openFull(t *testing.T, path string, limit int) (*bolt.Store, lobby) {
	t.Helper()
	s, err := bolt.Open(path, bolt.Options{MaxSize: limit, MapSize: limit})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, openOn(t, s)
}

// large is a violation that takes up room.
func large(n int) string {
	id := "KAI-" + strconv.Itoa(n)
	return violation(id, `, "description": "`+strings.Repeat("x", 3000)+`"`)
}

// flood sends alerts until they are sent away, and returns how many were taken.
func flood(t *testing.T, l lobby, from int) (to int) {
	t.Helper()
	for n := from; n < from+5000; n++ {
		w := l.do(request("application/json", large(n)))
		switch w.Code {
		case http.StatusAccepted:
			continue
		case http.StatusServiceUnavailable:
			if after, err := strconv.Atoi(w.Header().Get("Retry-After")); err != nil || after < 1 || !strings.Contains(w.Body.String(), "no room for more alerts") {
				t.Errorf("503 with Retry-After %q: %s", w.Header().Get("Retry-After"), w.Body)
			}
			return n
		}
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	t.Fatal("there is always room")
	return 0
}

func TestAStoreThatIsNearlyFullSendsAlertsAwayUntilThereIsRoom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rehome.db")
	s, l := openFull(t, path, 2<<20)
	aside := l.sends(t, "application/json", `{"what": "`+strings.Repeat("y", 600_000)+`"}`)
	if aside.Quarantined != 1 {
		t.Fatalf("%+v, want the record kept aside", aside)
	}
	first := flood(t, l, 0)
	if first < 10 {
		t.Fatalf("%d alerts of 3 kB fitted into 2 MiB", first)
	}

	// What is known is answered as ever, and what is under way goes on.
	if a := l.sends(t, "application/json", large(0)); a.Duplicates != 1 || a.Accepted != 0 {
		t.Errorf("an alert that was taken in, sent again: %+v", a)
	}
	if w := l.do(request("application/json", "["+large(1)+","+large(first+1)+"]")); w.Code != http.StatusServiceUnavailable {
		t.Errorf("one that is known with one that is not: %d, want all of it sent away", w.Code)
	}
	if w := l.do(request("application/json", `{"neither": "nor"}`)); w.Code != http.StatusServiceUnavailable {
		t.Errorf("a record for quarantine: %d, want 503", w.Code)
	}
	waits, err := s.Outbox(t.Context(), false)
	if err != nil || len(waits) < first {
		t.Fatalf("%d deliveries wait, %v", len(waits), err)
	}
	for some := range slices.Chunk(waits, 16) {
		var settled []store.Settled
		for _, d := range some {
			settled = append(settled, store.Settled{Delivery: d})
		}
		if err := s.Settle(t.Context(), settled...); err != nil {
			t.Fatalf("deliveries cannot be settled: %v", err)
		}
	}

	// Somebody drops what was kept aside: the door is open again by itself.
	kept, err := s.Quarantined(t.Context())
	if err != nil || len(kept) != 1 {
		t.Fatalf("%d records are kept aside, %v", len(kept), err)
	}
	if _, err := s.ApplyAll(t.Context(), store.Batch{Release: []uint64{kept[0].ID}}); err != nil {
		t.Fatal(err)
	}
	second := flood(t, l, first)
	if second <= first {
		t.Errorf("with 600 kB free again no alert was taken in")
	}

	// The limit is raised.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, l = openFull(t, path, 8<<20)
	for n := range second + 1 { // the sender comes again with all of them
		if a := l.sends(t, "application/json", large(n)); (a.Accepted == 1) != (n >= second) {
			t.Errorf("alert %d of %d, sent again: %+v", n, second, a)
		}
	}
	if got := len(l.conversations(t)); got != second+1 {
		t.Errorf("%d conversations of %d alerts", got, second+1)
	}
	if err := errors.Join(s.Room(), s.Verify(t.Context())); err != nil {
		t.Error(err)
	}
}

func TestOneEventAThousandTimesAtOnceIsOneConversation(t *testing.T) {
	l := open(t)
	event := `{"specversion": "1.0", "id": "e-1", "source": "/s360", "type": "violation", "data": ` + violation("KAI-1", "") + `}`
	const times = 1000
	answers := make([]Answer, times)
	var all sync.WaitGroup
	begin := make(chan struct{})
	for i := range times {
		all.Go(func() {
			<-begin
			answers[i] = l.sends(t, "application/cloudevents+json", event)
		})
	}
	close(begin)
	all.Wait()
	accepted, duplicates := 0, 0
	for _, a := range answers {
		accepted += a.Accepted
		duplicates += a.Duplicates
		if fmt.Sprint(a.Conversations) != "[RH-1]" {
			t.Errorf("an answer names %v", a.Conversations)
		}
	}
	if accepted != 1 || duplicates != times-1 {
		t.Errorf("%d were accepted, %d were duplicates; want 1 and %d", accepted, duplicates, times-1)
	}
	if got := len(l.conversations(t)); got != 1 {
		t.Errorf("%d conversations", got)
	}
	once := open(t)
	once.sends(t, "application/cloudevents+json", event)
	want, err1 := once.store.Journal(t.Context(), "RH-1")
	got, err2 := l.store.Journal(t.Context(), "RH-1")
	if err1 != nil || err2 != nil || len(want) == 0 || len(got) != len(want) {
		t.Errorf("%d journal entries (%v), of an alert sent once %d (%v)", len(got), err2, len(want), err1)
	}
	waits, err1 := l.store.Outbox(t.Context(), true)
	waited, err2 := once.store.Outbox(t.Context(), true)
	if err1 != nil || err2 != nil || len(waited) == 0 || len(waits) != len(waited) {
		t.Errorf("%d deliveries (%v), of an alert sent once %d (%v)", len(waits), err1, len(waited), err2)
	}
}
