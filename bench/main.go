// Command bench compares SQLite with and without a replica: alone, with walvfs, and
// with Litestream beside it. See README.md for what each figure means.
//
//	go run ./bench -quick
//	go run ./bench -workload cost -html cost.html
package main

import "github.com/walvfs/walvfs/bench/internal/compare"

func main() { compare.Main() }
