package vfstest

import (
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
)

// restarts are the events of a run, and how many pages its next start may upload.
var restarts = []struct {
	name string
	most uint64
	do   func(r *dbtest.Run)
}{
	{"clean close", 0, func(r *dbtest.Run) {
		r.Conn.Close()
	}},
	{"clean close after checkpoints", 0, func(r *dbtest.Run) {
		dbtest.Exec(r.T, r.Conn, "PRAGMA wal_checkpoint(TRUNCATE)", "UPDATE t SET x = 1 WHERE rowid = 7")
		dbtest.Settled(r.T, r.Path)
		r.Conn.Close()
	}},
	{"close during an outage", 10, func(r *dbtest.Run) {
		dbtest.Down(r.Store)
		dbtest.Exec(r.T, r.Conn, "UPDATE t SET x = randomblob(400) WHERE rowid BETWEEN 100 AND 110")
		dbtest.Checkpoint(r.T, r.Conn, sqlite3.CHECKPOINT_TRUNCATE)
		dbtest.Exec(r.T, r.Conn, "UPDATE t SET x = randomblob(400) WHERE rowid BETWEEN 200 AND 210")
		r.Conn.Close()
		r.Store.SetBefore(nil)
	}},
	{"crash when idle", 0, func(r *dbtest.Run) {
		dbtest.Save(r.T, r.Path).Crash(r.T, r.Store, r.Path, r.Conn)
	}},
	{"crash with commits", 10, func(r *dbtest.Run) {
		dbtest.Down(r.Store)
		dbtest.Exec(r.T, r.Conn, "UPDATE t SET x = randomblob(400) WHERE rowid BETWEEN 100 AND 110")
		dbtest.Save(r.T, r.Path).Crash(r.T, r.Store, r.Path, r.Conn)
	}},
	{"crash with a transaction under way", 10, func(r *dbtest.Run) {
		dbtest.Down(r.Store)
		dbtest.Exec(r.T, r.Conn, "UPDATE t SET x = randomblob(400) WHERE rowid BETWEEN 100 AND 110", dbtest.Spilling, "BEGIN", dbtest.ManyRows)
		dbtest.Save(r.T, r.Path).Crash(r.T, r.Store, r.Path, r.Conn)
	}},
	{"crash after resets", 20, func(r *dbtest.Run) {
		dbtest.Down(r.Store)
		for _, rows := range []string{"10 AND 15", "100 AND 110", "200 AND 210", "300 AND 305"} {
			dbtest.Exec(r.T, r.Conn, "UPDATE t SET x = randomblob(400) WHERE rowid BETWEEN "+rows)
			dbtest.Checkpoint(r.T, r.Conn, sqlite3.CHECKPOINT_FULL)
		}
		dbtest.Save(r.T, r.Path).Crash(r.T, r.Store, r.Path, r.Conn)
	}},
	{"two crashes during an outage", 25, func(r *dbtest.Run) {
		for _, rows := range []string{"10 AND 15", "100 AND 110"} {
			dbtest.Down(r.Store)
			dbtest.Exec(r.T, r.Conn, "UPDATE t SET x = randomblob(400) WHERE rowid BETWEEN "+rows)
			dbtest.Checkpoint(r.T, r.Conn, sqlite3.CHECKPOINT_FULL)
			dbtest.Exec(r.T, r.Conn, "UPDATE t SET x = 1 WHERE rowid = 300")
			dbtest.Checkpoint(r.T, r.Conn, sqlite3.CHECKPOINT_FULL)
			dbtest.Exec(r.T, r.Conn, "UPDATE t SET x = 2 WHERE rowid = 300")
			d := dbtest.Save(r.T, r.Path)
			d.Crash(r.T, r.Store, r.Path, r.Conn)
			dbtest.Down(r.Store)
			r.Open()
		}
		dbtest.Save(r.T, r.Path).Crash(r.T, r.Store, r.Path, r.Conn)
	}},
	{"crash after growth and shrinking", 60, func(r *dbtest.Run) {
		dbtest.Down(r.Store)
		for _, q := range []string{"INSERT INTO t VALUES (randomblob(100000))", "DELETE FROM t WHERE rowid > 450", "INSERT INTO t VALUES ('x')"} {
			dbtest.Exec(r.T, r.Conn, q)
			dbtest.Checkpoint(r.T, r.Conn, sqlite3.CHECKPOINT_FULL)
		}
		dbtest.Save(r.T, r.Path).Crash(r.T, r.Store, r.Path, r.Conn)
	}},
	{"crash after a truncation", dbtest.WholeDatabase, func(r *dbtest.Run) {
		dbtest.Down(r.Store)
		dbtest.Exec(r.T, r.Conn, "UPDATE t SET x = randomblob(400) WHERE rowid BETWEEN 100 AND 110")
		dbtest.Checkpoint(r.T, r.Conn, sqlite3.CHECKPOINT_TRUNCATE)
		dbtest.Save(r.T, r.Path).Crash(r.T, r.Store, r.Path, r.Conn)
	}},
	{"crash without syncs", dbtest.WholeDatabase, func(r *dbtest.Run) {
		dbtest.Exec(r.T, r.Conn, "PRAGMA synchronous=off", "UPDATE t SET x = 1 WHERE rowid = 7")
		dbtest.Settled(r.T, r.Path)
		dbtest.Save(r.T, r.Path).Crash(r.T, r.Store, r.Path, r.Conn)
	}},
	{"clean close without syncs", 0, func(r *dbtest.Run) {
		dbtest.Exec(r.T, r.Conn, "PRAGMA synchronous=off", "UPDATE t SET x = 1 WHERE rowid = 7")
		dbtest.Settled(r.T, r.Path)
		r.Conn.Close()
	}},
	{"the state file lost its state", dbtest.WholeDatabase, func(r *dbtest.Run) {
		d := dbtest.Save(r.T, r.Path)
		d[statefile.Suffix] = d[statefile.Suffix][:len(d[statefile.Suffix])-3]
		d.Crash(r.T, r.Store, r.Path, r.Conn)
	}},
	{"the WAL was lost", dbtest.WholeDatabase, func(r *dbtest.Run) {
		dbtest.Exec(r.T, r.Conn, "PRAGMA wal_checkpoint(FULL)")
		d := dbtest.Save(r.T, r.Path)
		delete(d, "-wal")
		d.Crash(r.T, r.Store, r.Path, r.Conn)
	}},
	{"foreign commit while closed", dbtest.WholeDatabase, func(r *dbtest.Run) {
		r.Conn.Close()
		plain := dbtest.Open(r.T, "file:"+r.Path)
		dbtest.Exec(r.T, plain, "UPDATE t SET x = 'theirs' WHERE rowid = 300")
		plain.Close()
	}},
	{"foreign rollback journal while closed", dbtest.WholeDatabase, func(r *dbtest.Run) {
		r.Conn.Close()
		plain := dbtest.Open(r.T, "file:"+r.Path)
		dbtest.Exec(r.T, plain, "PRAGMA journal_mode=delete", "UPDATE t SET x = 'theirs' WHERE rowid = 300", "VACUUM")
		plain.Close()
	}},
	{"foreign commit after a crash", dbtest.WholeDatabase, func(r *dbtest.Run) {
		dbtest.Save(r.T, r.Path).Crash(r.T, r.Store, r.Path, r.Conn)
		plain := dbtest.Open(r.T, "file:"+r.Path)
		dbtest.Exec(r.T, plain, "UPDATE t SET x = 'theirs' WHERE rowid = 300")
		plain.Close()
	}},
	{"foreign commit in the same WAL", 3, func(r *dbtest.Run) {
		dbtest.Save(r.T, r.Path).Crash(r.T, r.Store, r.Path, r.Conn)
		plain := dbtest.Open(r.T, "file:"+r.Path)
		dbtest.Exec(r.T, plain, "UPDATE t SET x = 'theirs' WHERE rowid = 300")
		d := dbtest.Save(r.T, r.Path)
		plain.Close()
		d.Write(r.T, r.Path)
	}},
	{"an older state file", dbtest.WholeDatabase, func(r *dbtest.Run) {
		older := dbtest.Save(r.T, r.Path)[statefile.Suffix]
		dbtest.Exec(r.T, r.Conn, "PRAGMA wal_checkpoint(FULL)", "UPDATE t SET x = randomblob(400) WHERE rowid BETWEEN 100 AND 110",
			"PRAGMA wal_checkpoint(FULL)", "UPDATE t SET x = 1 WHERE rowid = 300")
		// The replica is not ahead of the older file, so the file is the replica's past.
		d := dbtest.Save(r.T, r.Path)
		d[statefile.Suffix] = older
		d.Crash(r.T, r.Store, r.Path, r.Conn)
	}},
}

// testRestart: after a restart or a crash, the VFS uploads only changed pages, or every
// page if it cannot prove that no other page changed.
func testRestart(t *testing.T) {
	for _, test := range restarts {
		t.Run(test.name, func(t *testing.T) {
			r := dbtest.NewRun(t)
			if test.name == "an older state file" {
				dbtest.Down(r.Store)
			}
			test.do(r)
			r.RequireShips(test.most)
		})
	}
}
