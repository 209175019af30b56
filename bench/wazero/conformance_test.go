package main

import (
	"testing"

	"github.com/walvfs/walvfs/vfs/vfstest"
)

// The VFS does on this engine what it does on the main one.
func TestConformance(t *testing.T) { vfstest.Run(t) }
