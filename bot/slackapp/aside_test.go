package slackapp

import (
	"context"
	"errors"
	"testing"

	"rehome/store"
)

// stuck is a store on a disk that takes its time, and then fails.
type stuck struct {
	store.Store
	asked, goOn chan struct{}
}

func (s *stuck) ApplyAll(context.Context, store.Batch) ([]store.Applied, error) {
	s.asked <- struct{}{}
	<-s.goOn
	return nil, errors.New("no disk")
}

// What cannot be read comes again while it is being written down. It is not
// acknowledged for that it was heard of: the disk may fail yet.
func TestWhatIsKeptAsideIsOnDiskBeforeItsRepeatIsAcknowledged(t *testing.T) {
	s := &stuck{store.NewMem(), make(chan struct{}, 2), make(chan struct{})}
	d, _ := newWire(t).doors(s)
	said := make(chan error, 2)
	deliver := func() { said <- d.keepAside(t.Context(), "socket", "events_api", []byte(`{"no":"event"}`)) }
	go deliver()
	<-s.asked
	go deliver()
	select {
	case <-s.asked:
	case err := <-said:
		t.Errorf("the repeat is answered with %v before anything is on disk", err)
		said <- err
	}
	close(s.goOn)
	for range 2 {
		if err := <-said; err == nil {
			t.Error("what failed to be written down is acknowledged")
		}
	}
}
