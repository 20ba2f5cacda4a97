package bolt_test

import (
	"errors"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"rehome/store"
)

// A disk that refuses. One call after the other of a scribe fails, as strace
// makes it. The scribe has to stop at once, saying that it cannot know what was
// written, and a restart has to find all that was acknowledged, and to take what
// is sent again once.

func TestADiskThatRefusesStopsTheStoreAndARestartKnowsWhatItSaid(t *testing.T) {
	lot := rand.New(rand.NewSource(seed(t)))
	for _, fault := range []string{"fdatasync:error=EIO", "pwrite64:error=ENOSPC", "pwrite64:error=EIO", "ftruncate:error=ENOSPC", "fsync:error=EIO"} {
		t.Run(fault, func(t *testing.T) {
			stopped, unopened, clean := 0, 0, 0
			for _, at := range places(lot) {
				out, said := refused(t, fault, at)
				switch {
				case strings.Contains(out, "cannot open:"):
					unopened++
				case strings.Contains(out, "stopped:"):
					stopped++
					if !strings.Contains(out, store.ErrUncertain.Error()) || strings.Contains(out, "went on") || strings.Count(out, "\n") != len(said)+1 {
						t.Errorf("call %d: the scribe said\n%s\nwant that it stops, once and for all, not knowing what was written", at, out)
					}
				default:
					clean++
				}
				if clean == 5 {
					break // there is no such call any more
				}
			}
			if stopped == 0 && (strings.HasPrefix(fault, "fdatasync") || strings.HasPrefix(fault, "pwrite64")) {
				t.Error("no call failed while the scribe was writing")
			}
			t.Logf("%d calls failed: %d when the store was made, %d later", stopped+unopened, unopened, stopped)
		})
	}
}

// places are which calls are to fail, counted from 1: the first, which make the
// file, and some of those that follow, or with -all each.
func places(lot *rand.Rand) (at []int) {
	if *everything {
		for n := range 10_000 {
			at = append(at, n+1)
		}
		return at
	}
	return []int{1 + lot.Intn(3), 4 + lot.Intn(4), 8 + lot.Intn(8), 8 + lot.Intn(24)}
}

// refused runs a scribe one call of which fails (strace counts for each thread)
// and audits what it leaves.
func refused(t *testing.T, fault string, at int) (out string, said map[string]bool) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "var", "rehome.db")
	name, _, _ := strings.Cut(fault, ":")
	c := tracer(t, path, "-o", os.DevNull, "-e", "trace="+name, "-e", fmt.Sprintf("inject=%s:when=%d", fault, at))
	text, err := c.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	out, said = string(text), map[string]bool{}
	for line := range strings.Lines(out) {
		if line = strings.TrimSuffix(line, "\n"); !strings.Contains(line, ":") {
			said[line] = true
		}
	}
	if failed := strings.Contains(out, ":"); failed != (err != nil) {
		t.Errorf("%s, call %d: the scribe ended with %v and said\n%s", fault, at, err, out)
	}
	if err := audit(t.Context(), path, said, true, true); err != nil {
		t.Errorf("%s, call %d, after a restart: %v\nthe scribe had said\n%s", fault, at, err, out)
	}
	return out, said
}
