//go:build linux || darwin

package bolt

import (
	"os"
	"syscall"
)

// unlock lets go of a file that bbolt locked before it panicked. Closing it is
// not enough while it is still mapped.
func unlock(f *os.File) { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }
