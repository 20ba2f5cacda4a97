package entra

import (
	"slices"
	"sync"
	"time"

	"rehome/bot"
)

// mostKept bounds the memory of a cache. An entry is a few kilobytes.
const mostKept = 10_000

// A cache remembers answers of directories. Owners' names and mail are in it, so
// it is memory only and nothing of it is written anywhere.
type cache struct {
	mu   sync.Mutex
	kept map[string]kept
}

// kept is an answer: an entry, or why there is none.
type kept struct {
	entry  bot.AppEntry
	failed *bot.LookupError
	until  time.Time // it serves until then; an entry may be used for longer while the directory does not answer
}

// answer returns a copy, which the caller may change.
func (k kept) answer() (bot.AppEntry, *bot.LookupError) {
	if k.failed != nil {
		return bot.AppEntry{}, k.failed
	}
	e := k.entry
	e.Owners, e.PrincipalOwners = cloneOwners(e.Owners), cloneOwners(e.PrincipalOwners)
	e.Credentials, e.Gaps = slices.Clone(e.Credentials), slices.Clone(e.Gaps)
	return e, nil
}

func cloneOwners(owners []bot.OwnerEntry) []bot.OwnerEntry {
	owners = slices.Clone(owners)
	for i := range owners {
		owners[i].Members = cloneOwners(owners[i].Members)
	}
	return owners
}

func (c *cache) get(key string) (kept, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.kept[key]
	return k, ok
}

// put remembers k. When the cache is full it first drops what no longer serves, and
// then any others.
func (c *cache) put(key string, k kept, now time.Time, stale time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, there := c.kept[key]; !there && len(c.kept) >= mostKept {
		for old, o := range c.kept {
			if now.After(o.until.Add(stale)) || o.failed != nil && now.After(o.until) {
				delete(c.kept, old)
			}
		}
		for old := range c.kept {
			if len(c.kept) < mostKept {
				break
			}
			delete(c.kept, old)
		}
	}
	c.kept[key] = k
}
