package vfs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestConverge(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn := open(t, uri(path, store))
	exec(t, conn, "CREATE TABLE t (x)", "INSERT INTO t VALUES (1)")
	settled(t, path)
	if got := query(t, conn, "PRAGMA journal_mode"); got != "wal" {
		t.Errorf("journal_mode is %s", got)
	}
	for range 20 {
		exec(t, conn, "INSERT INTO t SELECT randomblob(1000) FROM generate_series(1, 20)")
		settled(t, path)
	}
	exec(t, conn, "DELETE FROM t", "VACUUM")
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if _, err := os.Stat(path + suffix); err == nil {
			t.Errorf("%s is left after the last close", suffix)
		}
	}
	requireEqual(t, store, path)
}

func TestPageSizeIsTheApplications(t *testing.T) {
	for _, size := range []string{"512", "1024", "4096", "65536"} {
		t.Run(size, func(t *testing.T) {
			store := newReplica(t)
			path := filepath.Join(t.TempDir(), "app.db")
			conn := open(t, uri(path, store))
			exec(t, conn, "PRAGMA page_size="+size, "PRAGMA auto_vacuum=incremental",
				"CREATE TABLE t (x)", "INSERT INTO t VALUES (randomblob(100000))")
			settled(t, path)
			exec(t, conn, "INSERT INTO t VALUES (randomblob(100000))")
			if got := query(t, conn, "PRAGMA page_size"); got != size {
				t.Errorf("page_size is %s", got)
			}
			if got := query(t, conn, "PRAGMA auto_vacuum"); got != "2" {
				t.Errorf("auto_vacuum is %s", got)
			}
			if got := query(t, conn, "PRAGMA journal_mode"); got != "wal" {
				t.Errorf("journal_mode is %s", got)
			}
			conn.Close()
			requireEqual(t, store, path)
		})
	}
}

func TestRefused(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn := open(t, uri(path, store))
	exec(t, conn, "CREATE TABLE t (x)")
	for pragma, want := range map[string]string{
		"PRAGMA journal_mode=delete":    "stays in WAL mode",
		"PRAGMA locking_mode=EXCLUSIVE": "lock replication out",
	} {
		if err := conn.Exec(pragma); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", pragma, err, want)
		}
	}
	exec(t, conn, "PRAGMA journal_mode=wal", "PRAGMA locking_mode=normal")
}
