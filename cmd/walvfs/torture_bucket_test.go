package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

type digest [sha256.Size]byte

// A bucket is the test's knowledge of a replica. It grows with the replica, and must never
// turn out to be wrong.
type bucket struct {
	replica *storagetest.Replica // without a proxy
	store   storage.Store
	rng     *rand.Rand

	mirror  string                 // a database that holds each TXID in turn
	tip     format.TXID            // the mirror's TXID
	objects map[string]digest      // by key
	states  map[format.TXID]digest // of the database at each TXID
	journal []int64                // IDs of the commits in the newest TXID
	drained map[commit]bool        // commits confirmed to be in the replica
}

func newBucket(t *testing.T, r *storagetest.Replica, rng *rand.Rand) *bucket {
	return &bucket{
		replica: r,
		store:   r.Open(t),
		rng:     rng,
		mirror:  filepath.Join(t.TempDir(), "mirror.db"),
		objects: map[string]digest{},
		states:  map[format.TXID]digest{},
		drained: map[commit]bool{},
	}
}

// check checks the files added since the last check.
func (b *bucket) check(t *testing.T) {
	t.Helper()
	all, err := replica.All(t.Context(), b.store)
	if err != nil {
		t.Fatal(err)
	}
	files := all.Infos()
	b.checkLog(t, files)
	slices.SortFunc(files, func(x, y format.FileInfo) int { return int(x.MaxTXID) - int(y.MaxTXID) })
	for _, f := range files {
		content := b.read(t, f)
		if f.Level == format.LevelRaw && f.MaxTXID > b.tip {
			b.apply(t, f, content)
		}
	}
	for c := range b.drained {
		if len(b.journal) < c.n || b.journal[c.n-1] != c.id {
			t.Errorf("commit %d was said to be in the replica, which ends at commit %d", c.n, len(b.journal))
		}
	}
}

// checkLog is invariant 4: no file follows a gap.
func (b *bucket) checkLog(t *testing.T, files []format.FileInfo) {
	t.Helper()
	var raw []format.TXID
	for _, f := range files {
		if f.Level == format.LevelRaw {
			if f.MinTXID != f.MaxTXID {
				t.Errorf("%s holds more than one TXID", f)
			}
			raw = append(raw, f.MaxTXID)
		}
	}
	slices.Sort(raw)
	for i := 1; i < len(raw); i++ {
		if raw[i] != raw[i-1]+1 {
			t.Errorf("TXID %s follows TXID %s", raw[i], raw[i-1])
		}
	}
	for _, f := range files {
		if _, err := format.Plan(files, f.MaxTXID); err != nil {
			t.Errorf("TXID %s: %v", f.MaxTXID, err)
		}
	}
}

// read returns the content of a file, and checks that it has not changed.
func (b *bucket) read(t *testing.T, f format.FileInfo) []byte {
	t.Helper()
	key := b.store.Layout().Key(f.Level, f.MinTXID, f.MaxTXID)
	r, _, err := b.store.Open(t.Context(), key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	now := sha256.Sum256(content)
	if was, ok := b.objects[key]; ok && was != now {
		t.Errorf("%s has changed", key)
	}
	b.objects[key] = now
	return content
}

// apply brings the mirror to the next TXID, and checks invariant 1 for it.
func (b *bucket) apply(t *testing.T, f format.FileInfo, content []byte) {
	t.Helper()
	if f.MaxTXID == b.tip+1 {
		applyFile(t, b.mirror, f, content)
	} else {
		// The files in between have been compacted.
		os.Remove(b.mirror)
		b.restore(t, b.mirror, f.MaxTXID)
	}
	label := "TXID " + f.MaxTXID.String()
	journal := readBank(t, "file:"+b.mirror+"?mode=ro&immutable=1", label, b.rng.IntN(3) == 0)
	if !hasPrefix(journal, b.journal) {
		t.Errorf("%s is at commit %d, which does not follow commit %d of the TXID before", label, len(journal), len(b.journal))
	}
	b.tip, b.journal = f.MaxTXID, journal
	b.states[f.MaxTXID] = digestOf(t, b.mirror)
}

func applyFile(t *testing.T, path string, f format.FileInfo, content []byte) {
	t.Helper()
	db, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	h, _, err := format.Decode(bytes.NewReader(content), func(_ format.LTXHeader, pgno uint32, page []byte) error {
		_, err := db.WriteAt(page, int64(pgno-1)*int64(len(page)))
		return err
	})
	if err == nil {
		err = db.Truncate(int64(h.Commit) * int64(h.PageSize))
	}
	if err != nil {
		t.Fatalf("%s: %v", f, err)
	}
}

func (b *bucket) restore(t *testing.T, path string, txid format.TXID) {
	t.Helper()
	if _, err := restore.Restore(t.Context(), b.store, path, restore.Options{TXID: txid}); err != nil {
		t.Fatalf("restore TXID %s: %v", txid, err)
	}
	os.Remove(path + "-walvfs")
}

// checkRestore restores some TXIDs and the newest TXID with both programs.
func (b *bucket) checkRestore(t *testing.T) {
	t.Helper()
	if b.tip == 0 {
		return
	}
	b.restoreBoth(t, b.tip)
	b.restoreBoth(t, 1+format.TXID(b.rng.Uint64N(uint64(b.tip))))
}

func (b *bucket) restoreBoth(t *testing.T, txid format.TXID) {
	t.Helper()
	want, ok := b.states[txid]
	if !ok {
		return
	}
	dir, err := os.MkdirTemp("", "walvfs-torture-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ours, theirs := filepath.Join(dir, "ours.db"), filepath.Join(dir, "theirs.db")
	b.restore(t, ours, txid)
	b.litestream(t, "restore", "-o", theirs, "-txid", txid.String(), b.replica.URL)
	for _, path := range []string{ours, theirs} {
		if digestOf(t, path) != want {
			t.Errorf("TXID %s: %s differs from the files applied one by one", txid, filepath.Base(path))
		}
	}
}

func (b *bucket) litestream(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), storagetest.Litestream(t), args...)
	cmd.Env = slices.Concat(os.Environ(), b.replica.Env)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("litestream %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func digestOf(t *testing.T, path string) digest {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(content)
}

func hasPrefix(whole, prefix []int64) bool {
	return len(whole) >= len(prefix) && slices.Equal(whole[:len(prefix)], prefix)
}

// readBank fails unless a database is in the state after a commit, and returns the IDs in
// its journal.
func readBank(t *testing.T, uri, label string, thorough bool) (journal []int64) {
	t.Helper()
	conn, err := sqlite3.Open(uri)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if thorough {
		if got := queryText(t, conn, "PRAGMA integrity_check"); got != "ok" {
			t.Errorf("%s: integrity_check: %s", label, got)
		}
	}
	if queryText(t, conn, "SELECT count(*) FROM sqlite_schema") == "0" {
		return nil // the schema is one commit
	}
	if got := queryText(t, conn, "SELECT sum(balance) FROM account"); got != fmt.Sprint(tortureMoney) {
		t.Errorf("%s: the accounts hold %s, not %d", label, got, tortureMoney)
	}
	stmt, _, err := conn.Prepare("SELECT n, id FROM journal ORDER BY n")
	if err != nil {
		t.Fatalf("%s: %v", label, err)
	}
	defer stmt.Close()
	for stmt.Step() {
		journal = append(journal, stmt.ColumnInt64(1))
		if n := stmt.ColumnInt(0); n != len(journal) {
			t.Fatalf("%s: row %d of the journal is numbered %d", label, len(journal), n)
		}
	}
	if err := stmt.Err(); err != nil {
		t.Fatalf("%s: %v", label, err)
	}
	return journal
}

func queryText(t *testing.T, conn *sqlite3.Conn, sql string) (text string) {
	t.Helper()
	stmt, _, err := conn.Prepare(sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	defer stmt.Close()
	if stmt.Step() {
		text = stmt.ColumnText(0)
	}
	if err := stmt.Err(); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return text
}

// newestRestorable restores the newest TXID, as after the loss of a machine. It reports
// false if the replica is empty.
func (b *bucket) newestRestorable(t *testing.T, path string) bool {
	t.Helper()
	files, err := replica.All(context.Background(), b.store)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		return false
	}
	if _, err := restore.Restore(t.Context(), b.store, path, restore.Options{}); err != nil {
		t.Fatal(err)
	}
	return true
}
