//go:build !vfs

package main

import "log"

func main() { log.Fatal("built without -tags vfs, and so without Litestream's VFS") }
