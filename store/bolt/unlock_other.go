//go:build !linux && !darwin

package bolt

import "os"

// unlock does nothing: elsewhere the file is let go of when the process ends.
func unlock(*os.File) {}
