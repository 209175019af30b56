//go:build !linux

package statefile

func birthOf(string) int64 { return 0 }
