//go:build !unix

package statefile

import "io/fs"

const openFlags = 0

func linksOf(fs.FileInfo) uint64 { return 1 }

func ownerOf(fs.FileInfo) (name string, other bool) { return "", false }

func makeWritable(string) bool { return false }
