package bot

import (
	"sync"
	"time"
)

// settle is the default of Bot.Settle. It is longer than any request of ours
// lasts, so that a message that was sent has arrived by then.
const settle = 20 * time.Second

// unsure knows since when it is not known whether a delivery was sent: since its
// request broke off, or since this process found it begun by an earlier one. It
// goes by the monotonic clock: if the wall clock were used and were set ahead, the
// wait would end before the message can be found, and it would be sent twice.
type unsure struct {
	mu    sync.Mutex
	since map[uint64]time.Time // by delivery
}

// begin notes that from now on it is not known whether a delivery was sent.
func (u *unsure) begin(id uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.since[id] = time.Now()
}

// left returns how much of settle is left before a delivery may be looked for. It
// begins the wait when none has begun. When nothing is left it forgets the wait.
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
