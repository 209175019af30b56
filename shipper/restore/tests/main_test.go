// Package tests has the tests of package restore that need the drivers of cloud stores,
// or compare it with Litestream on them. They are apart from it because "go mod tidy"
// asks of a program for all that the tests of the packages need that it imports.
package tests

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(storagetest.WithTools(m)) }
