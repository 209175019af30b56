// Command wazero is command bench on the older engine of SQLite: go-sqlite3 v0.32 and
// before run SQLite's Wasm build on wazero. This module replaces only go-sqlite3, with
// v0.32.0. It runs the VFS's conformance suite and, by default, compares the cost of
// commits:
//
//	go test ./...
//	go run . -json wazero.json -html wazero.html
//
// It has all flags of bench. It sets up wazero's compilation cache, as a program should
// that is pinned to this engine, and measures the start-up with and without the cache.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/ncruces/go-sqlite3"
	_ "github.com/ncruces/go-sqlite3/embed"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/walvfs/walvfs/bench/internal/compare"
)

// noCache in the environment starts the program without the cache.
const noCache = "WALVFS_BENCH_NO_CACHE"

func main() {
	if os.Getenv(noCache) == "" {
		if err := useCache(); err != nil {
			fmt.Fprintln(os.Stderr, "wazero:", err)
			os.Exit(1)
		}
	}
	compare.StartUps = []compare.StartUp{
		{Name: "start-up with the compilation cache"},
		{Name: "start-up without it", Env: []string{noCache + "=1"}},
	}
	// Later flags win.
	os.Args = slices.Insert(os.Args, 1, "-workload=commit-1-normal,commit-8-normal", "-store=versitygw", "-peers=plain,walvfs,litestream")
	compare.Main()
}

// useCache makes wazero keep the machine code of SQLite for the next process. The program
// must call it before the first connection.
func useCache() error {
	dir, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	cache, err := wazero.NewCompilationCacheWithDir(filepath.Join(dir, "walvfs", "wazero"))
	if err != nil {
		return err
	}
	// Everything except the cache is go-sqlite3's default.
	sqlite3.RuntimeConfig = wazero.NewRuntimeConfig().
		WithMemoryLimitPages(4096). // 256 MiB a connection
		WithCoreFeatures(api.CoreFeaturesV2).
		WithCompilationCache(cache)
	return nil
}
