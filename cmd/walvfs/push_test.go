package main

import (
	"os"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/rogpeppe/go-internal/testscript"
)

// TestPushScript runs the command lines of testdata/push. In addition to the commands of
// [TestScript], it has:
//
//	sql FILE SQL           run statements on a database, which is created if necessary
//	apply FILE SCRIPT      run the statements in a file
//	ask FILE SQL ANSWER    compare the first column of the first row
//	hold FILE SQL          the same as sql, and stay in the transaction that it
//	                       leaves until the script ends
//	wait-ask FILE SQL ANSWER
//	                       wait until the answer equals ANSWER
func TestPushScript(t *testing.T) { runSQLScripts(t, "testdata/push") }

func runSQLScripts(t *testing.T, dir string) {
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
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
			"wait-for":  waitFor,
			"integrity": integrity,
			"sql":       runSQL,
			"apply":     applySQL,
			"ask":       askSQL,
			"wait-ask":  waitAsk,
			"hold":      holdSQL,
		},
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
	})
}

func openSQL(ts *testscript.TestScript, file string) *sqlite3.Conn {
	db, err := sqlite3.Open(fileURI(ts.MkAbs(file)) + "?_pragma=busy_timeout(10000)")
	ts.Check(err)
	ts.Check(db.BusyTimeout(10 * time.Second))
	return db
}

func runSQL(ts *testscript.TestScript, neg bool, args []string) {
	db := openSQL(ts, args[0])
	defer db.Close()
	ts.Check(db.Exec(args[1]))
}

// applySQL runs the statements in a file.
func applySQL(ts *testscript.TestScript, neg bool, args []string) {
	runSQL(ts, neg, []string{args[0], ts.ReadFile(args[1])})
}

func holdSQL(ts *testscript.TestScript, neg bool, args []string) {
	db := openSQL(ts, args[0])
	ts.Defer(func() { db.Close() })
	ts.Check(db.Exec(args[1]))
}

func answer(ts *testscript.TestScript, file, sql string) string {
	db := openSQL(ts, file)
	defer db.Close()
	stmt, _, err := db.Prepare(sql)
	ts.Check(err)
	defer stmt.Close()
	stmt.Step()
	text := stmt.ColumnText(0)
	ts.Check(stmt.Err())
	return text
}

func askSQL(ts *testscript.TestScript, neg bool, args []string) {
	if got := answer(ts, args[0], args[1]); (got == args[2]) == neg {
		ts.Fatalf("%s: %q is %q", args[0], args[1], got)
	}
}

func waitAsk(ts *testscript.TestScript, _ bool, args []string) {
	var got string
	for range 1000 {
		if got = answer(ts, args[0], args[1]); got == args[2] {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	ts.Fatalf("%s: %q stays %q", args[0], args[1], got)
}
