package bot

import (
	"sync"
	"time"
)

// settle is how long a message whose fate is unknown is given to appear, from
// when it is known here that it is unknown, unless Bot.Settle says otherwise:
// longer than any request of ours lives.
const settle = 20 * time.Second

// unsure knows since when the fate of deliveries is unknown: since the request
// broke, or since a process that did not send it itself found it begun. That is
// kept by the clock that nobody sets. By the one on the wall, a clock that is set
// ahead ends the wait before the message can be seen, and it is sent twice.
type unsure struct {
	mu    sync.Mutex
	since map[uint64]time.Time // by delivery
}

// begin notes that a delivery's fate is unknown from now on.
func (u *unsure) begin(id uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.since[id] = time.Now()
}

// left returns how long of settle must still be waited before a delivery is
// looked for. When that is nothing, its wait is over and forgotten.
func (u *unsure) left(id uint64, settle time.Duration) time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	since, known := u.since[id]
	if !known {
		since = time.Now()
		u.since[id] = since
	}
	left := settle - time.Since(since)
	if left <= 0 {
		delete(u.since, id)
	}
	return max(0, left)
}
