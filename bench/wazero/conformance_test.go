package main

import (
	"testing"

	"github.com/walvfs/walvfs/vfs/vfstest"
)

// The VFS works on this engine as on the main engine.
func TestConformance(t *testing.T) { vfstest.Run(t) }
