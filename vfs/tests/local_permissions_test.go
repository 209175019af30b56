//go:build linux

package tests

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
)

func (l *local) chmod(path string, mode os.FileMode) {
	l.Helper()
	if err := os.Chmod(path, mode); err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { os.Chmod(path, 0o700) }) // otherwise a directory cannot be removed
}

// TestReadOnlyDirectory: in a directory in which no file can be created, SQLite can do
// the same with a replicated database as with a plain database.
func TestReadOnlyDirectory(t *testing.T) {
	statements := []string{
		"SELECT count(*) FROM t", "INSERT INTO t VALUES (1)", "BEGIN IMMEDIATE", "UPDATE t SET x = 2", "COMMIT", "ROLLBACK",
		"SELECT count(*) FROM t", "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA integrity_check",
	}
	for _, test := range []struct {
		name    string
		mode    string
		keepWAL bool
		fails   bool // SQLite returns an error
	}{
		{"with a WAL that is there", "wal", true, false},
		{"without a WAL", "wal", false, true},
		{"in rollback mode", "delete", false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			testLocal(t, func(l *local) {
				other := filepath.Join(l.dir, "plain.db")
				for _, path := range []string{l.path, other} {
					conn := open(t, "file:"+path)
					exec(t, conn, "PRAGMA journal_mode="+test.mode, "CREATE TABLE t (x)", manyRows)
					if _, err := conn.FileControl("main", sqlite3.FCNTL_PERSIST_WAL, test.keepWAL); err != nil {
						t.Fatal(err)
					}
					conn.Close()
				}
				l.chmod(l.dir, 0o555)
				conn, plain := l.open("close_timeout=10ms"), open(t, "file:"+other)
				if failed := l.requireAsPlain(conn, plain, statements...); (failed > 1) != test.fails {
					t.Errorf("%d statements fail", failed)
				}
				if test.fails {
					eventually(t, "the status says why", func() bool {
						st, _ := dbtest.Status(l.path)
						return st.State == shipper.Retrying && errors.Is(st.Err, sqlite3.READONLY)
					})
					l.requireLogged("level=WARN", "replication failed") // at first, a statement above may block replication
				} else {
					l.settle()
					l.requireLogged("level=WARN", "writing the state file failed", "permission denied")
				}
				if got, want := code(conn.Close()), code(plain.Close()); got != want {
					t.Errorf("close: %s, without replication %s", got, want)
				}
				l.chmod(l.dir, 0o755)
				if test.fails {
					conn = l.open()
					exec(t, conn, "INSERT INTO t VALUES (1)")
					l.settle()
					conn.Close()
				}
			})
		})
	}
}

// TestDirectoryTurnsReadOnly: an open database still works. Replication writes the state
// file in place, so the next start recognizes the replica.
func TestDirectoryTurnsReadOnly(t *testing.T) {
	testLocal(t, func(l *local) {
		conn := l.begin()
		l.chmod(l.dir, 0o555)
		for range 3 {
			exec(t, conn, "UPDATE t SET x = randomblob(500) WHERE rowid % 20 = 0")
			l.settle()
			checkpoint(t, conn, sqlite3.CHECKPOINT_TRUNCATE)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		if refused := l.log.With("level=WARN", "writing the state file failed"); len(refused) > 0 {
			t.Errorf("the state file is not written in place: %s", refused)
		}
		l.chmod(l.dir, 0o755)
		conn = l.open()
		exec(t, conn, "INSERT INTO t VALUES ('after a restart')")
		l.settle()
		conn.Close()
		l.requireContinuity()
	})
}

// TestReadOnlyDirectoryForSpool: a snapshot that cannot be spooled next to the database
// waits until it can.
func TestReadOnlyDirectoryForSpool(t *testing.T) {
	testLocal(t, func(l *local) {
		conn := open(t, "file:"+l.path)
		exec(t, conn, "PRAGMA journal_mode=wal", "CREATE TABLE t (x)", "INSERT INTO t SELECT randomblob(3000) FROM generate_series(1, 2000)")
		if _, err := conn.FileControl("main", sqlite3.FCNTL_PERSIST_WAL, true); err != nil {
			t.Fatal(err)
		}
		conn.Close()
		l.chmod(l.dir, 0o555)
		conn = l.open()
		for range 50 {
			exec(t, conn, "UPDATE t SET x = randomblob(3000) WHERE rowid = 1")
		}
		eventually(t, "the status says why", func() bool {
			st, _ := dbtest.Status(l.path)
			return st.State == shipper.Retrying && errors.Is(st.Err, os.ErrPermission) && strings.Contains(st.Err.Error(), ".walvfs-")
		})
		l.requireLogged("replication failed and will be tried again", "permission denied")
		checkpoint(t, conn, sqlite3.CHECKPOINT_TRUNCATE)
		l.chmod(l.dir, 0o755)
		l.settle()
		conn.Close()
		l.requireNoSpool()
	})
}

// TestStateFileNotReadable: replication ignores a state file that it cannot read. The
// application continues, and replication continues when that is safe.
func TestStateFileNotReadable(t *testing.T) {
	testLocal(t, func(l *local) {
		conn := l.begin()
		conn.Close()
		l.chmod(l.path+statefile.Suffix, 0)
		conn = l.open()
		exec(t, conn, "UPDATE t SET x = randomblob(500) WHERE rowid % 20 = 0")
		requireForgotten(t, l.path, l.log)
		exec(t, conn, "PRAGMA wal_checkpoint(TRUNCATE)", "INSERT INTO t VALUES (1)")
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		l.chmod(l.path+statefile.Suffix, 0o600)
		conn = l.open()
		exec(t, conn, "INSERT INTO t VALUES (2)")
		l.settle()
		conn.Close()
	})
}

// TestStateFileReadOnly: replication makes a state file writable that its owner can read,
// but not write. No state is lost.
func TestStateFileReadOnly(t *testing.T) {
	testLocal(t, func(l *local) {
		conn := l.begin()
		for range 2 {
			conn.Close()
			l.chmod(l.path+statefile.Suffix, 0o400)
			conn = l.open()
			exec(t, conn, "INSERT INTO t VALUES (1)")
			l.settle()
			l.chmod(l.path+statefile.Suffix, 0o400)
			exec(t, conn, "PRAGMA wal_checkpoint(TRUNCATE)", "INSERT INTO t VALUES (2)")
			l.settle()
		}
		conn.Close()
		l.requireContinuity()
	})
}

// The log reports an unreadable state file: only an operator can correct its permissions.
func TestStateFileNotReadableIsSaid(t *testing.T) {
	testLocal(t, func(l *local) {
		conn := l.begin()
		conn.Close()
		l.chmod(l.path+statefile.Suffix, 0)
		conn = l.open()
		exec(t, conn, "INSERT INTO t VALUES (1)")
		requireForgotten(t, l.path, l.log)
		conn.Close()
		if len(l.log.With(statefile.Suffix, "permission denied")) == 0 {
			t.Errorf("the log does not say that the state file cannot be read:\n%s", l.log.With(""))
		}
	})
}
