package tests

import (
	"os"
	"testing"

	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

func TestMain(m *testing.M) { os.Exit(storagetest.WithTools(m).Run()) }
