// Package tests holds the tests of package restore that need the drivers of cloud stores,
// or compare it with Litestream on them. They are separate because "go mod tidy"
// requires, for a program, everything that the tests of its imported packages need.
package tests

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(storagetest.WithTools(m)) }
