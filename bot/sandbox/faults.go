package sandbox

import (
	"io"
	"net/http"
	"strconv"
	"time"
)

// Fault is one thing that goes wrong with one call. The zero Fault is none.
type Fault struct {
	Kind FaultKind
	// Delay is Slow's wait, LateVisible's time out of sight, and RateLimited's Retry-After
	// (default one second; below zero, Slack does not say how long).
	Delay time.Duration
}

// FaultKind names what goes wrong, and on which side of the work.
type FaultKind int

// What can go wrong. "Before" means that nothing happened in the workspace, "after" that it did and
// only the answer was lost: the two that a client cannot tell apart.
const (
	NoFault     FaultKind = iota
	RateLimited           // 429 with Retry-After, nothing done
	FailBefore            // 500, nothing done
	FailAfter             // done, then 500
	DropBefore            // the connection breaks, nothing done
	DropAfter             // done, then the connection breaks
	Hang                  // no answer until the client gives up, nothing done
	Slow                  // done and answered after Delay
	Truncate              // done; the answer breaks off in the middle
	LateVisible           // done and answered, but history and replies do not show it for Delay
	Flap                  // socket.connect only: hello, disconnect (link_disabled), close
	NoPing                // socket.connect only: the server never pings
)

var faultNames = [...]string{"", "fault: rate limited", "fault: 500 before", "fault: 500 after", "fault: dropped before",
	"fault: dropped after", "fault: hung", "fault: slow", "fault: truncated", "fault: late visible", "fault: flap", "fault: no ping"}

// String is how [Call].Error names the fault.
func (k FaultKind) String() string {
	if k < 0 || int(k) >= len(faultNames) {
		return "fault: unknown"
	}
	return faultNames[k]
}

// after reports whether the work is done but its answer is not given properly.
func (k FaultKind) after() bool { return k == FailAfter || k == DropAfter || k == Truncate }

func (f Fault) lateness() time.Duration {
	if f.Kind == LateVisible {
		return f.Delay
	}
	return 0
}

func (w *Workspace) faultFor(method string) Fault {
	w.mu.Lock()
	w.counts[method]++
	n := w.counts[method]
	w.mu.Unlock()
	if w.cfg.Fault == nil {
		return Fault{}
	}
	return w.cfg.Fault(method, n)
}

// before plays the part of a fault that comes ahead of the work; false means that it replaced it.
func (w *Workspace) before(rw http.ResponseWriter, r *http.Request, f Fault) bool {
	switch f.Kind {
	case RateLimited:
		if f.Delay >= 0 {
			wait := max(f.Delay, time.Second)
			rw.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
		}
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(http.StatusTooManyRequests)
		_, _ = rw.Write([]byte(`{"ok":false,"error":"ratelimited"}`))
		return false
	case FailBefore:
		http.Error(rw, "Internal Server Error", http.StatusInternalServerError)
		return false
	case DropBefore:
		drop(rw)
		return false
	case Hang:
		_, _ = io.Copy(io.Discard, http.MaxBytesReader(rw, r.Body, maxRequest)) // only then net/http notices that the client has gone
		select {
		case <-r.Context().Done():
		case <-w.ctx.Done():
		}
		return false
	case Slow:
		return w.pause(r.Context(), f.Delay)
	case NoFault, FailAfter, DropAfter, Truncate, LateVisible, Flap, NoPing: // not here
	}
	return true
}

// after plays the part of a fault that spoils the answer to work that was done.
func (w *Workspace) after(rw http.ResponseWriter, f Fault, body []byte) {
	switch f.Kind {
	case FailAfter:
		http.Error(rw, "Internal Server Error", http.StatusInternalServerError)
	case DropAfter:
		drop(rw)
	case Truncate:
		rw.Header().Set("Content-Type", "application/json; charset=utf-8")
		rw.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = rw.Write(body[:len(body)/2]) // net/http breaks the connection off, as the length promised more
	case NoFault, RateLimited, FailBefore, DropBefore, Hang, Slow, LateVisible, Flap, NoPing: // not here
	}
}

// drop breaks the connection without an answer.
func drop(rw http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(rw).Hijack(); err == nil {
		_ = conn.Close()
		return
	}
	rw.WriteHeader(http.StatusBadGateway) // a writer without a connection (a recorder, HTTP/2) can only refuse
}
