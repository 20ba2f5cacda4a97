//go:build linux || darwin

package bolt

import (
	"os"
	"syscall"
	"time"
)

// lockAlone locks a folder against everybody else, and reports whether nobody
// had a lock on it.
func lockAlone(folder *os.File) bool {
	return syscall.Flock(int(folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

// lockSharedWithin is how long to wait for whoever has a folder alone: nobody of
// us has it for longer than it takes to remove a few files.
const lockSharedWithin = time.Second

// lockShared locks a folder so that nobody gets it alone, in the place of a lock
// that is on it, and reports whether that could be.
func lockShared(folder *os.File) bool {
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.Flock(int(folder.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
		if err == nil {
			return true
		}
		if time.Since(began) > lockSharedWithin {
			return false
		}
	}
}
