package intake

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// caller returns who sends: "token 1" for the first of Door.Tokens, or what the
// verifier says.
func (d *Door) caller(r *http.Request) (string, *refusal) {
	if len(d.Tokens) == 0 && d.Entra == nil {
		return "", later(time.Minute, "nobody may send alerts yet: set REHOME_INTAKE_TOKEN, or configure Entra", nil)
	}
	unknown := refuse(http.StatusUnauthorized, "send a valid token, as in: Authorization: Bearer …")
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", unknown
	}
	if n := among(d.Tokens, token); n > 0 {
		return "token " + strconv.Itoa(n), nil
	}
	if d.Entra == nil || strings.Count(token, ".") != 2 {
		return "", unknown
	}
	caller, err := d.Entra.Verify(r.Context(), token)
	switch {
	case errors.Is(err, ErrUnsure):
		return "", later(30*time.Second, "the token cannot be checked now", err)
	case err != nil:
		unknown.cause = err
		return "", unknown
	}
	return caller, nil
}

// among returns the place of a token in the list, from 1, or 0. How long it
// takes says nothing about the tokens, their length included.
func among(tokens []string, token string) int {
	sent, place := sha256.Sum256([]byte(token)), 0
	for i, t := range tokens {
		want := sha256.Sum256([]byte(t))
		place = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(sent[:], want[:]), i+1, place)
	}
	return place
}

// room is memory for bodies, in bytes.
type room struct {
	mu   sync.Mutex
	free int64
}

func (r *room) take(n int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n > r.free {
		return false
	}
	r.free -= n
	return true
}

func (r *room) give(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free += n
}

// sizeOf says a limit in bytes as people do: 16 MiB.
func sizeOf(n int64) string {
	for _, unit := range []struct {
		bytes int64
		name  string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= unit.bytes && n%unit.bytes == 0 {
			return strconv.FormatInt(n/unit.bytes, 10) + " " + unit.name
		}
	}
	return strconv.FormatInt(n, 10) + " bytes"
}

var errNoRoom = errors.New("no room for the body")

// holding reads a body and takes room for what it has read.
type holding struct {
	r    io.Reader
	room *room
	n    int64
}

func (h *holding) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	if !h.room.take(int64(n)) {
		return 0, errNoRoom
	}
	h.n += int64(n)
	return n, err
}

func (h *holding) giveBack() {
	h.room.give(h.n)
	h.n = 0
}

// rates keeps a bucket of requests for each source.
type rates struct {
	perSecond, burst float64
	mu               sync.Mutex
	of               map[string]bucket
}

type bucket struct {
	left float64
	at   time.Time
}

func newRates(perSecond float64, burst int) *rates {
	return &rates{perSecond: perSecond, burst: cmp.Or(float64(burst), math.Max(1, perSecond)), of: map[string]bucket{}}
}

// mostSources bounds what is remembered of sources. They have tokens, so there
// are few; when they are many, the full buckets are forgotten, which loses nothing.
const mostSources = 4096

// wait takes a request from a source's bucket, or returns how long until there
// is one.
func (r *rates) wait(source string, now time.Time) time.Duration {
	if r.perSecond <= 0 {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	b, known := r.of[source]
	if !known {
		r.sweep(now)
		b = bucket{r.burst, now}
	}
	b = r.filled(b, now)
	var wait time.Duration
	if b.left >= 1 {
		b.left--
	} else {
		wait = time.Duration((1 - b.left) / r.perSecond * float64(time.Second))
	}
	r.of[source] = b
	return wait
}

func (r *rates) filled(b bucket, now time.Time) bucket {
	return bucket{math.Min(r.burst, b.left+max(0, now.Sub(b.at).Seconds())*r.perSecond), now}
}

func (r *rates) sweep(now time.Time) {
	if len(r.of) < mostSources {
		return
	}
	for source, b := range r.of {
		if r.filled(b, now).left >= r.burst {
			delete(r.of, source)
		}
	}
}
