package bolt_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rehome/store"
	"rehome/store/bolt"
	"rehome/store/storetest"
)

// forTests maps little, so that growing past the map is tested too, and does
// not wait for locks.
var forTests = bolt.Options{MapSize: 1 << 20, LockTimeout: 20 * time.Millisecond}

func openAt(t *testing.T, path string) *bolt.Store {
	t.Helper()
	s, err := bolt.Open(path, forTests)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func TestBoltKeepsTheContract(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) }) // after the store is closed
	storetest.Run(t, func(t *testing.T) store.Store {
		return openAt(t, filepath.Join(t.TempDir(), "rehome.db"))
	})
}

func TestBoltOutlivesItsProcess(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) }) // after the store is closed
	storetest.RunReopened(t, func(t *testing.T) storetest.Open {
		path := filepath.Join(t.TempDir(), "rehome.db")
		return func(t *testing.T) store.Store { return openAt(t, path) }
	})
}

func TestBoltDoesWhatMemDoes(t *testing.T) {
	seed := time.Now().UnixNano()
	for i := range int64(3) {
		path := filepath.Join(t.TempDir(), "rehome.db")
		storetest.Compare(t, seed+i, 100, func(t *testing.T, was store.Store) store.Store {
			if was != nil {
				if err := was.Close(); err != nil {
					t.Fatal(err)
				}
				for _, p := range examined(t, path).Problems {
					// Two conversations that claim one root, and the later lets it go:
					// only here.
					if !strings.Contains(p.What, "one of its threads") {
						t.Fatalf("%+v", p)
					}
				}
			}
			s := openAt(t, path)
			if err := s.Verify(t.Context()); err != nil {
				t.Fatal(err)
			}
			return s
		})
	}
}
