//go:build linux

package tests

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	osexec "os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
)

// Environment variables of a process that runs a test whose faults affect a whole
// process. The process is this test binary.
const (
	localDir     = "WALVFS_TEST_LOCAL_DIR"
	localReplica = "WALVFS_TEST_LOCAL_REPLICA"
)

// localDone is the last output of that process.
const localDone = "this test has run"

// A local is a test of an application whose own machine fails. It runs in a process of
// its own, which is not root, so that limits and permissions apply.
type local struct {
	*testing.T
	dir     string
	path    string // of the database
	replica replicaURL
	log     *logLines
}

// nobody is the owner of a test's files if root runs the tests: permissions do not apply
// to root.
const nobody = 65534

// testLocal runs a test in another process, and compares the replica with the database
// after that process has ended.
func testLocal(t *testing.T, body func(l *local)) {
	t.Helper()
	t.Parallel()
	if dir := os.Getenv(localDir); dir != "" {
		l := &local{T: t, dir: dir, path: filepath.Join(dir, "app.db"), replica: replicaURL(os.Getenv(localReplica)), log: &logLines{}}
		slog.SetDefault(slog.New(slog.NewTextHandler(l.log, nil)))
		signal.Ignore(syscall.SIGXFSZ) // by default, it ends the process
		body(l)
		fmt.Println(localDone)
		return
	}
	replica := storagetest.S3(t)
	dir, self := localPlace(t)
	cmd := osexec.Command(self, "-test.run=^"+strings.ReplaceAll(regexp.QuoteMeta(t.Name()), "/", "$/^")+"$", "-test.timeout=1m")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), replica.Env...)
	cmd.Env = append(cmd.Env, localDir+"="+dir, localReplica+"="+replica.URL, "HOME="+dir, "TMPDIR="+dir,
		"GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0") // otherwise it costs each process a second
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte(localDone)) {
		t.Fatalf("%v\n%s", err, out)
	}
	path := filepath.Join(dir, "app.db")
	store := replica.Open(t)
	requireEqual(t, store, path)
	_, conn := restored(t, store, 0)
	conn.Close()
}

// localPlace returns a directory and a test binary that another user can use.
func localPlace(t *testing.T) (dir, self string) {
	t.Helper()
	dir = t.TempDir()
	fatal := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	exe, err := os.Executable()
	fatal(err)
	self = filepath.Join(t.TempDir(), "vfs.test")
	if os.Link(exe, self) != nil { // self is on another file system
		b, err := os.ReadFile(exe)
		fatal(err)
		fatal(os.WriteFile(self, b, 0o755))
	}
	if os.Geteuid() != 0 {
		return dir, self
	}
	fatal(os.Chown(dir, nobody, nobody))
	for up := dir; up != os.TempDir() && up != filepath.Dir(up); up = filepath.Dir(up) {
		fatal(os.Chmod(up, 0o755))
	}
	fatal(os.Chmod(filepath.Dir(self), 0o755))
	return dir, self
}

func (l *local) open(params ...string) *sqlite3.Conn {
	l.Helper()
	return open(l.T, uri(l.path, l.replica, append(params, "_pragma=busy_timeout(5000)")...))
}

// begin opens the database, and ships its first rows.
func (l *local) begin() *sqlite3.Conn {
	l.Helper()
	conn := l.open()
	exec(l.T, conn, "CREATE TABLE t (x)", manyRows)
	l.settle()
	return conn
}

// limit makes every write beyond a size of a file fail, in bytes, as on a full disk,
// until lift is called.
func (l *local) limit(size uint64) (lift func()) {
	l.Helper()
	var old syscall.Rlimit
	set := func(r syscall.Rlimit) {
		l.Helper()
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &r); err != nil {
			l.Fatal(err)
		}
	}
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		l.Fatal(err)
	}
	set(syscall.Rlimit{Cur: size, Max: old.Max})
	return func() { set(old) }
}

func (l *local) size(path string) uint64 {
	l.Helper()
	info, err := os.Stat(path)
	if err != nil {
		l.Fatal(err)
	}
	return uint64(info.Size())
}

// settle waits until the replica has every commit.
func (l *local) settle() {
	l.Helper()
	hurried(l.T, l.path, "local")
}

// requireLogged fails unless the log contains, now or soon, exactly one line with all
// words.
func (l *local) requireLogged(words ...string) {
	l.Helper()
	eventually(l.T, fmt.Sprintf("the log says %q", words), func() bool { return len(l.log.With(words...)) > 0 })
	if n := len(l.log.With(words...)); n != 1 {
		l.Errorf("the log says %q %d times:\n%s", words, n, l.log.With(""))
	}
}

// requireContinuity fails if the whole database was uploaded again.
func (l *local) requireContinuity() {
	l.Helper()
	if again := l.log.With("uploading the whole database again"); len(again) > 0 {
		l.Errorf("continuity was lost: %s", again)
	}
}

// code returns SQLite's code of an error.
func code(err error) string {
	var e *sqlite3.Error
	if err == nil || !errors.As(err, &e) {
		return fmt.Sprint(err)
	}
	return fmt.Sprint(e.ExtendedCode())
}

// requireAsPlain runs statements on a replicated database and on a plain database in the
// same directory, and fails unless SQLite returns the same for both. It returns the
// number of failed statements.
func (l *local) requireAsPlain(conn, plain *sqlite3.Conn, statements ...string) (failed int) {
	l.Helper()
	for _, q := range statements {
		got, want := conn.Exec(q), plain.Exec(q)
		if code(got) != code(want) {
			l.Errorf("%s: %s, without replication %s", q, code(got), code(want))
		}
		if want != nil {
			failed++
		}
	}
	return failed
}

// TestDiskFull: an application whose disk is full gets the same error from SQLite as
// without replication. When the disk has room again, application and replication
// continue.
func TestDiskFull(t *testing.T) {
	for name, before := range map[string]string{
		"in the WAL":        "INSERT INTO t VALUES ('not checkpointed')",
		"at the WAL's head": "PRAGMA wal_checkpoint(FULL)",
		"without a WAL":     "PRAGMA wal_checkpoint(TRUNCATE)",
	} {
		t.Run(name, func(t *testing.T) {
			testLocal(t, func(l *local) {
				conn := l.open()
				plain := open(t, "file:"+filepath.Join(l.dir, "plain.db"))
				exec(t, plain, "PRAGMA journal_mode=wal")
				for _, c := range []*sqlite3.Conn{conn, plain} {
					exec(t, c, "CREATE TABLE t (x)", manyRows)
				}
				l.settle()
				exec(t, conn, before)
				exec(t, plain, before)
				for range 2 {
					lift := l.limit(0)
					failed := l.requireAsPlain(conn, plain,
						"INSERT INTO t VALUES (1)", "SELECT count(*) FROM t", "BEGIN IMMEDIATE", "UPDATE t SET x = 1", "COMMIT", "ROLLBACK",
						"PRAGMA wal_checkpoint(PASSIVE)", "INSERT INTO t VALUES (2)", "BEGIN IMMEDIATE", "COMMIT", "PRAGMA integrity_check")
					lift()
					if failed < 3 {
						t.Errorf("only %d statements failed", failed)
					}
					l.requireAsPlain(conn, plain, "INSERT INTO t VALUES (3)", "UPDATE t SET x = randomblob(300) WHERE rowid % 10 = 0")
					l.settle()
				}
				if st, _ := dbtest.Status(l.path); st.State != shipper.Streaming {
					t.Errorf("%+v", st)
				}
				conn.Close()
				l.requireContinuity()
			})
		})
	}
}

// TestOpenOnFullDisk: a database that is opened on a full disk behaves like a plain
// database, then and when the disk has room again.
func TestOpenOnFullDisk(t *testing.T) {
	testLocal(t, func(l *local) {
		other := filepath.Join(l.dir, "plain.db")
		begin := func() (conn, plain *sqlite3.Conn) { return l.open("close_timeout=10ms"), open(t, "file:"+other) }
		conn, plain := begin()
		exec(t, plain, "PRAGMA journal_mode=wal")
		l.requireAsPlain(conn, plain, "CREATE TABLE t (x)", manyRows)
		l.settle()
		for range 2 {
			conn.Close()
			plain.Close()
			lift := l.limit(0)
			conn, plain = begin()
			if failed := l.requireAsPlain(conn, plain, "SELECT count(*) FROM t", "INSERT INTO t VALUES (1)"); failed == 0 {
				t.Error("nothing failed")
			}
			conn.Close()
			plain.Close()
			conn, plain = begin()
			lift()
			l.requireAsPlain(conn, plain, "SELECT count(*) FROM t", "INSERT INTO t VALUES (2)")
			l.settle()
		}
		conn.Close()
	})
}

// TestDiskFullAnywhere: the disk is full in the middle of a frame, a header, a
// checkpoint: whatever the limit is, the replica has every committed transaction, and no
// other.
func TestDiskFullAnywhere(t *testing.T) {
	testLocal(t, func(l *local) {
		conn := l.open("_pragma=wal_autocheckpoint(30)")
		exec(t, conn, "PRAGMA page_size=1024", "CREATE TABLE t (x)", spilling, manyRows)
		l.settle()
		failed, worked := 0, 0
		for n := uint64(0); n < 120; n++ {
			lift := l.limit(l.size(l.path+"-wal") + n*331%24000)
			err := conn.Exec("UPDATE t SET x = randomblob(400) WHERE rowid % 40 = " + fmt.Sprint(n%40))
			if err == nil {
				err = conn.Exec("INSERT INTO t VALUES (randomblob(900))")
			}
			if n%3 == 0 {
				conn.Exec("PRAGMA wal_checkpoint(TRUNCATE)")
			}
			lift()
			if err != nil {
				failed++
			} else {
				worked++
			}
			if n%10 == 9 {
				l.settle()
			}
		}
		if failed < 20 || worked < 20 {
			t.Errorf("%d transactions failed, %d did not", failed, worked)
		}
		exec(t, conn, "INSERT INTO t VALUES ('at last')")
		l.settle()
		conn.Close()
		l.requireContinuity()
	})
}

// TestDiskFullForCheckpoint: a database that cannot be checkpointed still commits to its
// WAL, and the replica has these commits. The test closes and opens it again on the full
// disk.
func TestDiskFullForCheckpoint(t *testing.T) {
	testLocal(t, func(l *local) {
		conn := l.open("_pragma=wal_autocheckpoint(5)")
		exec(t, conn, "CREATE TABLE t (x)", manyRows)
		l.settle()
		checkpoint(t, conn, sqlite3.CHECKPOINT_TRUNCATE)
		lift := l.limit(l.size(l.path) - 5*4096) // for its last rows, and for some 60 frames
		for range 2 {
			for range 10 {
				exec(t, conn, "UPDATE t SET x = randomblob(500) WHERE rowid IN (490, 499)")
			}
			l.settle()
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
			conn = l.open("_pragma=wal_autocheckpoint(5)")
			exec(t, conn, "INSERT INTO t VALUES ('after a restart')")
			l.settle()
		}
		if l.size(l.path+"-wal") == 0 {
			t.Error("the database was checkpointed")
		}
		lift()
		exec(t, conn, "INSERT INTO t VALUES ('at last')")
		l.settle()
		conn.Close()
		l.requireContinuity()
	})
}

// TestDiskFullForSpool: a snapshot without room next to the database waits for room. The
// application does not.
func TestDiskFullForSpool(t *testing.T) {
	testLocal(t, func(l *local) {
		plain := open(t, "file:"+l.path)
		exec(t, plain, "PRAGMA journal_mode=wal", "CREATE TABLE t (x)", "INSERT INTO t SELECT randomblob(3000) FROM generate_series(1, 2000)")
		plain.Close()
		lift := l.limit(5 << 20)
		conn := l.open()
		for range 50 {
			exec(t, conn, "UPDATE t SET x = randomblob(3000) WHERE rowid = 1")
		}
		eventually(t, "there is no room", func() bool {
			st, _ := dbtest.Status(l.path)
			return st.State == shipper.Retrying && errors.Is(st.Err, syscall.EFBIG) && strings.Contains(st.Err.Error(), ".walvfs-")
		})
		l.requireLogged("level=WARN", "replication failed and will be tried again", "file too large")
		l.requireNoSpool()
		exec(t, conn, "INSERT INTO t VALUES ('in the meantime')")
		lift()
		l.settle()
		conn.Close()
		l.requireNoSpool()
	})
}

// requireNoSpool fails if a temporary file is left.
func (l *local) requireNoSpool() {
	l.Helper()
	left, err := filepath.Glob(filepath.Join(l.dir, ".walvfs-*"))
	if err != nil || len(left) > 0 {
		l.Errorf("left: %s, %v", left, err)
	}
}
