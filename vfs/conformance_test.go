package vfs_test

import (
	"testing"

	"github.com/walvfs/walvfs/vfs/vfstest"
)

func TestConformance(t *testing.T) { vfstest.Run(t) }
