//go:build !unix

package tests

func quiet() {}
