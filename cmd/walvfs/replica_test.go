package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/walvfs/walvfs/format"
)

// commits are the commits in the replica that mkreplica writes.
var commits = []string{
	`CREATE TABLE t (id INTEGER PRIMARY KEY, text)`,
	`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 500) INSERT INTO t SELECT i, 'row ' || i FROM n`,
	`UPDATE t SET text = 'changed' WHERE id % 100 = 7`,
	`DELETE FROM t WHERE id > 250; VACUUM`,
	`CREATE INDEX i ON t (text)`,
}

var firstCommit = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)

// mkreplica writes a level 0 file for each commit, a second apart, and a snapshot of the
// second.
func mkreplica(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: mkreplica DIR")
	}
	src := ts.MkAbs("mkreplica.db")
	db, err := sqlite3.Open("file:" + src)
	ts.Check(err)
	defer db.Close()

	var before []byte
	for i, sql := range commits {
		ts.Check(db.Exec(sql))
		now, err := os.ReadFile(src)
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(fmt.Sprintf("%d.db", i+1)), now, 0o600))
		txid := format.TXID(i + 1)
		writeLTX(ts, args[0], format.LevelRaw, txid, txid, before, now)
		if i == 1 {
			writeLTX(ts, args[0], format.LevelSnapshot, 1, txid, nil, now)
		}
		before = now
	}
	ts.Check(db.Close())
	ts.Check(os.Remove(src))
}

// mklevel writes a compacted file of states that mkreplica wrote.
func mklevel(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 {
		ts.Fatalf("usage: mklevel DIR LEVEL MIN MAX [wrong|lacking]")
	}
	var n [3]int
	for i := range n {
		var err error
		n[i], err = strconv.Atoi(args[i+1])
		ts.Check(err)
	}
	level, lo, hi := n[0], n[1], n[2]
	var before []byte
	if lo > 1 {
		before = readBytes(ts, fmt.Sprintf("%d.db", lo-1))
	}
	now := readBytes(ts, fmt.Sprintf("%d.db", hi))
	const pageSize = 4096
	last := len(now) - pageSize // the last changed page
	for last > 0 && last < len(before) && bytes.Equal(before[last:last+pageSize], now[last:last+pageSize]) {
		last -= pageSize
	}
	switch how := append(args, "")[4]; how {
	case "wrong":
		now[last+100] ^= 1
	case "lacking":
		before = append(before, make([]byte, max(0, last+pageSize-len(before)))...)
		copy(before[last:], now[last:last+pageSize])
	}
	writeLTX(ts, args[0], level, format.TXID(lo), format.TXID(hi), before, now)
}

// writeLTX writes the pages in which a database changed.
func writeLTX(ts *testscript.TestScript, dir string, level int, lo, hi format.TXID, before, now []byte) {
	const pageSize = 4096
	var b bytes.Buffer
	at := firstCommit.Add(time.Duration(hi-1) * time.Second)
	enc, err := format.NewEncoder(&b, format.LTXHeader{
		PageSize:  pageSize,
		Commit:    uint32(len(now) / pageSize),
		MinTXID:   lo,
		MaxTXID:   hi,
		Timestamp: at.UnixMilli(),
	})
	ts.Check(err)
	for i := 0; i < len(now); i += pageSize {
		page := now[i : i+pageSize]
		if lo > 1 && i < len(before) && bytes.Equal(page, before[i:i+pageSize]) {
			continue
		}
		ts.Check(enc.Page(uint32(i/pageSize)+1, page))
	}
	_, err = enc.Close()
	ts.Check(err)

	name := ts.MkAbs(filepath.Join(dir, filepath.FromSlash(format.LayoutDecimal.Key(level, lo, hi))))
	ts.Check(os.MkdirAll(filepath.Dir(name), 0o700))
	ts.Check(os.WriteFile(name, b.Bytes(), 0o600))
	ts.Check(os.Chtimes(name, at, at))
}

func readBytes(ts *testscript.TestScript, name string) []byte {
	b, err := os.ReadFile(ts.MkAbs(name))
	ts.Check(err)
	return b
}

// same is cmp for files that are not text.
func same(ts *testscript.TestScript, neg bool, args []string) {
	a, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	b, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	if bytes.Equal(a, b) == neg {
		ts.Fatalf("%s and %s: equal is %t", args[0], args[1], !neg)
	}
}

func flip(ts *testscript.TestScript, _ bool, args []string) {
	change(ts, args, func(b []byte, n int) []byte {
		b[n] ^= 1
		return b
	})
}

func cut(ts *testscript.TestScript, _ bool, args []string) {
	change(ts, args, func(b []byte, n int) []byte { return b[:len(b)-n] })
}

func change(ts *testscript.TestScript, args []string, how func(b []byte, n int) []byte) {
	name := ts.MkAbs(args[0])
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	b, err := os.ReadFile(name)
	ts.Check(err)
	ts.Check(os.WriteFile(name, how(b, n), 0o600))
}

func waitFor(ts *testscript.TestScript, _ bool, args []string) {
	for start := time.Now(); !exists(ts.MkAbs(args[0])); time.Sleep(time.Millisecond) {
		if time.Since(start) > time.Minute {
			ts.Fatalf("%s does not come", args[0])
		}
	}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// use keeps a database open in the test's process, not the command's.
func use(ts *testscript.TestScript, _ bool, args []string) {
	db, err := sqlite3.Open("file:" + ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Defer(func() { ts.Check(db.Close()) })
	ts.Check(db.Exec(`PRAGMA journal_mode = wal; CREATE TABLE IF NOT EXISTS used (x)`))
}

func integrity(ts *testscript.TestScript, neg bool, args []string) {
	db, err := sqlite3.Open("file:" + ts.MkAbs(args[0]))
	ts.Check(err)
	defer db.Close()
	stmt, _, err := db.Prepare(`PRAGMA integrity_check`)
	ts.Check(err)
	defer stmt.Close()
	if ok := stmt.Step() && stmt.ColumnText(0) == "ok"; ok == neg {
		ts.Fatalf("integrity_check of %s: ok is %t", args[0], ok)
	}
}
