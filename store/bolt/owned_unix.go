//go:build linux || darwin

package bolt

import (
	"os"
	"syscall"
)

// ownedAs gives a file that root made to whoever owns another, so that the bot
// can open it.
func ownedAs(path, like string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	var owner syscall.Stat_t
	if err := syscall.Stat(like, &owner); err != nil {
		return &os.PathError{Op: "stat", Path: like, Err: err}
	}
	return os.Chown(path, int(owner.Uid), int(owner.Gid))
}
