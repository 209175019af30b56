package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

func TestMain(m *testing.M) {
	testscript.Main(storagetest.WithTools(m), map[string]func(){"walvfs": func() {
		storage.Register("stalled", openStalled)
		main()
	}})
}

// TestScript runs the command lines of testdata/script. There, URLs of the scheme
// stalled: are replicas in a directory whose downloads stop halfway. It has these
// commands:
//
//	mkreplica DIR    write a replica of a small database to DIR, and the
//	                 database as it was at each TXID to 1.db, 2.db, ...
//	mklevel DIR LEVEL MIN MAX [HOW]
//	                 add a compacted file to a replica, which agrees with
//	                 level 0 unless HOW is "wrong", which changes a byte of a
//	                 page, or "lacking", which leaves a page out
//	same FILE FILE   compare two files
//	flip FILE N      change a bit of byte N of a file
//	cut FILE N       remove the last N bytes of a file
//	wait-for FILE    wait until a file exists
//	use FILE         open a database in WAL mode until the script ends
//	integrity FILE   run PRAGMA integrity_check
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("REPLICA", "file://"+env.WorkDir+"/replica")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"mkreplica": mkreplica,
			"mklevel":   mklevel,
			"same":      same,
			"flip":      flip,
			"cut":       cut,
			"wait-for":  waitFor,
			"use":       use,
			"integrity": integrity,
		},
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
	})
}
