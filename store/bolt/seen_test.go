package bolt_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"rehome/store"
	"rehome/store/bolt"
)

// A bubble's clock begins on 1 January 2000, so that a store which is opened in
// a bubble, outside, and in another bubble sees a clock that is set forward by
// decades and back.
func TestAClockThatIsSetForwardOrBackForgetsNoKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rehome.db")
	const known = 20
	fresh := func(t *testing.T, s *bolt.Store, event string) bool {
		t.Helper()
		got, err := s.Apply(context.Background(), store.Input{Event: event, At: time.Now(), Step: did(event)})
		if err != nil {
			t.Fatal(err)
		}
		return got.Fresh
	}
	// live has enough come in for all old keys to be dropped, were they old.
	live := func(t *testing.T, s *bolt.Store, when string) {
		t.Helper()
		for i := range 2 * known {
			fresh(t, s, fmt.Sprint(when, " ", i))
		}
	}
	remembers := func(t *testing.T, s *bolt.Store, when string) {
		t.Helper()
		for i := range known {
			if fresh(t, s, fmt.Sprint("known ", i)) {
				t.Errorf("%s: event %d was taken for a new one", when, i)
			}
		}
	}
	synctest.Test(t, func(t *testing.T) {
		s := openAt(t, path)
		for i := range known {
			fresh(t, s, fmt.Sprint("known ", i))
		}
	})
	s := openAt(t, path)
	live(t, s, "years later")
	remembers(t, s, "years later")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := openAt(t, path)
		live(t, s, "set back")
		remembers(t, s, "set back")
		time.Sleep(47 * time.Hour) // virtual
		live(t, s, "almost two days later")
		remembers(t, s, "almost two days later")
		time.Sleep(2 * time.Hour) // virtual
		live(t, s, "after two days")
		live(t, s, "after two days, again")
		if !fresh(t, s, "known 0") {
			t.Error("a key is kept for more than two days of a store that is open")
		}
	})
}
