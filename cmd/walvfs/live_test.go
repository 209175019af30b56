package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// A copy of a database has its pages, and leaves no trace in its directory, both while
// the database is in use, with commits in its log, and when it is not.
func TestCopyLive(t *testing.T) {
	dir := t.TempDir()
	live := filepath.Join(dir, "a b?.db")
	db, err := sqlite3.Open(fileURI(live))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Exec(`PRAGMA journal_mode = wal; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (x); INSERT INTO t VALUES (randomblob(10000))`); err != nil {
		t.Fatal(err)
	}
	inUse := readDir(t, dir)
	copied := filepath.Join(t.TempDir(), "copy.db")
	if err := copyLive(t.Context(), live, copied); err != nil {
		t.Fatal(err)
	}
	if got := readDir(t, dir); !maps.Equal(got, inUse) {
		t.Errorf("the copy changed the files of a database in use")
	}
	if c, err := integrityCheck(t.Context(), copied); err != nil || len(c.wrong) != 0 {
		t.Errorf("the copy: %v, %v", c.wrong, err)
	}
	// The same holds after the application has crashed.
	crashed := t.TempDir()
	for name, content := range inUse {
		if err := os.WriteFile(filepath.Join(crashed, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := copyLive(t.Context(), filepath.Join(crashed, filepath.Base(live)), filepath.Join(t.TempDir(), "copy.db")); err != nil {
		t.Error(err)
	}
	if got := readDir(t, crashed); !maps.Equal(got, inUse) {
		t.Errorf("the copy changed the files of a database that was in use at a crash")
	}
	if err := db.Exec(`INSERT INTO t VALUES (1)`); err != nil {
		t.Errorf("after the copy: %v", err)
	}

	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	atRest := readDir(t, dir)
	if len(atRest) != 1 {
		t.Fatalf("%d files are there", len(atRest))
	}
	copied = filepath.Join(t.TempDir(), "copy.db")
	if err := copyLive(t.Context(), live, copied); err != nil {
		t.Fatal(err)
	}
	if got := readDir(t, dir); !maps.Equal(got, atRest) {
		t.Errorf("the copy changed the files of a database at rest")
	}
	l := &liveComparison{restored: live, copy: copied, result: restore.Result{PageSize: 4096}}
	if differ, err := l.compare(); err != nil || len(differ) != 0 {
		t.Errorf("pages %v of the copy differ: %v", differ, err)
	}
}

func readDir(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(e.Name(), "-shm") {
			b = nil // read marks come and go
		}
		files[e.Name()] = string(b)
	}
	return files
}

// liveTest is a live database in rollback mode, and a replica with the shipped states.
type liveTest struct {
	t      *testing.T
	store  *storagetest.Memory
	live   *sqlite3.Conn
	images map[format.TXID][]byte // shipped
	l      *liveComparison
}

// newLiveTest makes a database, ships it as TXID 1, and restores it.
func newLiveTest(t *testing.T) *liveTest {
	t.Helper()
	dir := t.TempDir()
	lt := &liveTest{t: t, store: &storagetest.Memory{Name: "test"}, images: map[format.TXID][]byte{}}
	lt.l = &liveComparison{store: lt.store, restored: filepath.Join(dir, "restored.db"), live: filepath.Join(dir, "app.db"), copy: filepath.Join(dir, "copy.db")}
	var err error
	if lt.live, err = sqlite3.Open(fileURI(lt.l.live)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lt.live.Close() })
	lt.exec(`CREATE TABLE t (id INTEGER PRIMARY KEY, x); WITH n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20) INSERT INTO t SELECT i, hex(zeroblob(1500)) FROM n`)
	lt.ship(0, 1, 1)
	if lt.l.result, err = restore.Restore(t.Context(), lt.store, lt.l.restored, restore.Options{}); err != nil {
		t.Fatal(err)
	}
	return lt
}

func (lt *liveTest) exec(sql string) {
	lt.t.Helper()
	if err := lt.live.Exec(sql); err != nil {
		lt.t.Fatal(err)
	}
}

// ship uploads the live database: the pages that have changed since a TXID.
func (lt *liveTest) ship(level int, lo, hi format.TXID) {
	lt.t.Helper()
	const size = 4096
	now, err := os.ReadFile(lt.l.live)
	if err != nil {
		lt.t.Fatal(err)
	}
	before := lt.images[lo-1]
	var b bytes.Buffer
	enc, err := format.NewEncoder(&b, format.LTXHeader{PageSize: size, Commit: uint32(len(now) / size), MinTXID: lo, MaxTXID: hi, Timestamp: int64(hi)})
	for at := 0; at < len(now) && err == nil; at += size {
		if page := now[at : at+size]; at >= len(before) || !bytes.Equal(page, before[at:at+size]) {
			err = enc.Page(uint32(at/size)+1, page)
		}
	}
	if err == nil {
		_, err = enc.Close()
	}
	if err == nil {
		err = lt.store.Create(lt.t.Context(), lt.store.Layout().Key(level, lo, hi), bytes.NewReader(b.Bytes()), storage.Attrs{})
	}
	if err != nil {
		lt.t.Fatal(err)
	}
	lt.images[hi] = now
}

// onListing calls do before each listing.
func (lt *liveTest) onListing(do func(n int)) {
	n := 0
	lt.store.SetBefore(func(_ context.Context, op, _ string) error {
		if op == "list" {
			n++
			do(n)
		}
		return nil
	})
}

// update returns the change of a row, and so of one page.
func update(id, n int) string {
	return fmt.Sprintf(`UPDATE t SET x = hex(zeroblob(1490)) || %d WHERE id = %d`, n, id)
}

// liveCases are events of a live database and its replica, and the expected results of a
// drill.
var liveCases = []struct {
	name               string
	prepare            func(lt *liveTest)
	problem, unchecked bool
}{
	{"equal", func(*liveTest) {}, false, false},
	{"ahead by two", func(lt *liveTest) {
		for txid := format.TXID(2); txid <= 3; txid++ {
			lt.exec(update(int(txid), 1))
			lt.ship(0, txid, txid)
		}
	}, false, false},
	{"ahead, in level 1 only", func(lt *liveTest) {
		lt.exec(update(7, 1))
		lt.exec(update(9, 1))
		lt.ship(1, 2, 4)
	}, false, false},
	{"ahead, in a snapshot only", func(lt *liveTest) {
		lt.exec(update(7, 1))
		lt.images[0] = nil
		lt.ship(9, 1, 4)
	}, false, false},
	{"not shipped yet", func(lt *liveTest) {
		lt.exec(update(7, 1))
		lt.onListing(func(n int) {
			if n == 3 {
				lt.ship(0, 2, 2)
			}
		})
	}, false, false},
	{"changed again before it was shipped", func(lt *liveTest) {
		lt.exec(update(7, 1))
		lt.onListing(func(n int) {
			if n == 3 {
				lt.exec(update(7, 2))
				lt.ship(0, 2, 2)
			}
		})
	}, false, false},
	{"shrunk", func(lt *liveTest) {
		lt.exec(`DELETE FROM t WHERE id > 3; VACUUM`)
		lt.ship(0, 2, 2)
	}, false, false},
	{"shrunk, and not shipped", func(lt *liveTest) { lt.exec(`DELETE FROM t WHERE id > 3; VACUUM`) }, true, false},
	{"grown", func(lt *liveTest) {
		lt.exec(`INSERT INTO t SELECT id + 100, x FROM t`)
		lt.ship(0, 2, 2)
	}, false, false},
	{"never shipped", func(lt *liveTest) { lt.exec(update(7, 1)) }, true, false},
	{"shipped as something else", func(lt *liveTest) {
		lt.exec(update(7, 1))
		lt.ship(0, 2, 2)
		lt.exec(update(7, 2)) // the same page, with other content
	}, true, false},
	{"a later file that is damaged", func(lt *liveTest) {
		lt.exec(update(7, 1))
		lt.ship(0, 2, 2)
		key := lt.store.Layout().Key(0, 2, 2)
		b := readObject(lt.t, lt.store, key)
		b[len(b)-1] ^= 1
		lt.store.Delete(lt.t.Context(), key)
		lt.store.Create(lt.t.Context(), key, bytes.NewReader(b), storage.Attrs{})
	}, true, false},
	{"changed too often", func(lt *liveTest) {
		lt.exec(update(7, 1))
		lt.onListing(func(n int) {
			lt.exec(update(7, 2*n))
			lt.ship(0, format.TXID(n)+1, format.TXID(n)+1)
			lt.exec(update(7, 2*n+1))
		})
	}, false, true},
}

// A differing page is right if, and only if, the live database is seen with the content
// that the replica has for it later, in any level, also during the wait.
func TestLive(t *testing.T) {
	for _, test := range liveCases {
		t.Run(test.name, func(t *testing.T) {
			lt := newLiveTest(t)
			test.prepare(lt)
			lt.l.wait = time.Hour // the wait ends when no page is left
			if test.problem || test.unchecked {
				lt.l.wait = 100 * time.Millisecond
			}
			c, err := lt.l.run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if (c.Problem != "") != test.problem || (c.Unchecked != "") != test.unchecked || (c.Differ == 0) != (test.name == "equal") {
				t.Errorf("%+v", c)
			}
		})
	}
}

func readObject(t *testing.T, store storage.Store, key string) []byte {
	t.Helper()
	r, _, err := store.Open(t.Context(), key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
