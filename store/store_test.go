package store_test

import (
	"testing"

	"rehome/store"
	"rehome/store/storetest"
)

func TestMemKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return store.NewMem() })
}
