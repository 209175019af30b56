//go:build !linux

package sidecar

func birthOf(string) int64 { return 0 }
