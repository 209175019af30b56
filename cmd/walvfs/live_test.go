package main

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// A copy of a database has its pages, and leaves no trace beside it: neither when
// it is in use, with commits in its log, nor when it is not.
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
	if wrong, err := integrityCheck(t.Context(), copied); err != nil || len(wrong) != 0 {
		t.Errorf("the copy: %v, %v", wrong, err)
	}
	// So it is when who had it open has crashed.
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

// Pages that differ are explained by the TXIDs that come after the restored one,
// also while we wait, and by nothing else.
func TestLiveAhead(t *testing.T) { synctest.Test(t, testLiveAhead) }

func testLiveAhead(t *testing.T) {
	h := newHistory(3, 6)
	store := &storagetest.Memory{Name: "test"}
	for txid := format.TXID(1); txid <= 5; txid++ {
		h.write(t, store, 0, txid, txid, h.file(txid, txid))
	}
	differ := func(from, to format.TXID) map[uint32]bool {
		pages := map[uint32]bool{}
		for number := range max(len(h.states[from]), len(h.states[to])) {
			if at := func(s state) []byte {
				if number < len(s) {
					return s[number]
				}
				return nil
			}; !bytes.Equal(at(h.states[from]), at(h.states[to])) {
				pages[uint32(number)+1] = true
			}
		}
		return pages
	}
	for _, c := range []struct {
		name     string
		restored format.TXID
		differ   map[uint32]bool
		later    bool // the last TXID comes while we wait
		left     bool
	}{
		{"equal", 3, map[uint32]bool{}, false, false},
		{"ahead by two", 3, differ(3, 5), false, false},
		{"ahead, and the replica gets there", 5, differ(5, 6), true, false},
		{"the replica is stuck", 5, differ(5, 6), false, true},
		{"wrong", 3, map[uint32]bool{1: true, 2: true, 3: true, 4: true, 5: true}, false, true},
	} {
		l := &liveComparison{store: store, result: restore.Result{TXID: c.restored}}
		if c.later {
			l.wait = time.Minute
			go func() {
				time.Sleep(l.wait / 2)
				h.write(t, store, 0, 6, 6, h.file(6, 6))
			}()
		}
		had := len(c.differ)
		txid, err := l.explain(t.Context(), c.differ)
		if err != nil || len(c.differ) > 0 != c.left {
			t.Errorf("%s: of %d pages %d are left, up to TXID %s, %v", c.name, had, len(c.differ), txid, err)
		}
		if c.later {
			if err := store.Delete(t.Context(), store.Layout().Key(0, 6, 6)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Pages that the database lost since differ, too.
func TestLiveShrank(t *testing.T) {
	page := bytes.Repeat([]byte{1}, testPageSize)
	h := &history{states: []state{nil, {page, page, page}, {page}}, changed: []map[uint32]bool{nil, {1: true, 2: true, 3: true}, {}}}
	store := &storagetest.Memory{Name: "test"}
	h.write(t, store, 0, 1, 1, h.file(1, 1))
	l := &liveComparison{store: store, result: restore.Result{TXID: 1}}
	differ := map[uint32]bool{2: true, 3: true}
	if _, err := l.explain(t.Context(), differ); err != nil || len(differ) != 2 {
		t.Errorf("before it was shipped: %v, %v", differ, err)
	}
	h.write(t, store, 0, 2, 2, h.file(2, 2))
	if _, err := l.explain(t.Context(), differ); err != nil || len(differ) != 0 {
		t.Errorf("after: %v, %v", differ, err)
	}
}
