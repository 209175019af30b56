// Command bench compares SQLite with and without a replica: alone, with walvfs, and with
// Litestream as a second process. See README.md for what each figure means.
//
//	go run -C bench . -quick
//	go run -C bench . -workload cost -html cost.html
package main

import "github.com/walvfs/walvfs/bench/internal/compare"

func main() { compare.Main() }
