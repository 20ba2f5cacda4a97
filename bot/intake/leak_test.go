package intake

import (
	"testing"

	"go.uber.org/goleak"
)

// Every goroutine has a parent that waits for it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
