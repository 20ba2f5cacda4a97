//go:build linux || darwin

package bolt

import (
	"math"
	"syscall"
)

// freeOn returns how many bytes may be written to the disk that a folder is on.
// Where that cannot be found out, the disk is taken to be large.
func freeOn(folder string) int64 {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(folder, &disk); err != nil {
		return math.MaxInt64 / 2
	}
	return int64(min(disk.Bavail, math.MaxInt64/2/max(1, uint64(disk.Bsize)))) * int64(disk.Bsize)
}
