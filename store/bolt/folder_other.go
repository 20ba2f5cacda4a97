//go:build !linux && !darwin

package bolt

import "os"

// Elsewhere folders are not locked, and no draft that was left is removed.

func lockAlone(*os.File) bool { return false }

func lockShared(*os.File) bool { return false }
