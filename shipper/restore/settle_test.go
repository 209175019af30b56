package restore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore/internal/disk"
)

// settled returns the database that settle makes from an image.
func settled(t *testing.T, i image, path string) ([]byte, error) {
	t.Helper()
	i.write(t, path)
	p := &place{path: path}
	old, err := p.lockOld()
	if err != nil {
		t.Fatal(err)
	}
	defer old.close()
	if _, err := old.settle(); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b, nil
}

// recovered returns the database that SQLite makes from an image.
func recovered(t *testing.T, i image, path string) ([]byte, error) {
	t.Helper()
	i.write(t, path)
	conn, err := sqlite3.Open("file:" + path)
	if err != nil {
		return nil, err
	}
	err = conn.Exec("SELECT count(*) FROM sqlite_schema")
	if err == nil {
		err = conn.Exec("PRAGMA wal_checkpoint")
	}
	if e := conn.Close(); err == nil {
		err = e
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// hotImages returns databases that an application left behind, by the way it ended.
func hotImages(t *testing.T) map[string]image {
	images := map[string]image{
		"wal":                    killedInWAL(t),
		"wal, closed":            hot(t, fill, inWAL, change, "PRAGMA wal_checkpoint(TRUNCATE)"),
		"wal, nothing committed": hot(t, fill, inWAL, "PRAGMA wal_checkpoint(TRUNCATE)", begin),
		"wal, half checkpointed": hot(t, fill, inWAL, change, "PRAGMA wal_checkpoint", change),
		"wal, shrunk":            hot(t, "PRAGMA auto_vacuum=incremental", fill, inWAL, "DELETE FROM t WHERE a>20", "PRAGMA incremental_vacuum"),
		"wal, shrunk and grown":  hot(t, inWAL, fill, "DELETE FROM t WHERE a>20; VACUUM", change, "INSERT INTO t SELECT a+500, b FROM t"),
		"journal":                killedInJournal(t),
		"journal, closed":        hot(t, fill, "PRAGMA journal_mode=persist", change),
		"journal, persistent":    hot(t, fill, "PRAGMA journal_mode=persist", change, begin),
		"journal, not synced":    hot(t, fill, "PRAGMA synchronous=off", begin),
		"journal, grown":         hot(t, "CREATE TABLE t(a PRIMARY KEY, b)", "PRAGMA cache_size=4; BEGIN", "INSERT INTO t SELECT value, hex(randomblob(300)) FROM generate_series(1, 300)"),
		"journal, shrunk":        hot(t, "PRAGMA auto_vacuum=incremental", fill, "PRAGMA cache_size=4; BEGIN; DELETE FROM t WHERE a>20; UPDATE t SET b=hex(randomblob(900))", "PRAGMA incremental_vacuum"),
	}
	for _, size := range []int{512, 1024, 65536} {
		page := fmt.Sprintf("PRAGMA page_size=%d", size)
		images[fmt.Sprintf("wal, pages of %d", size)] = hot(t, page, fill, inWAL, change, begin)
		images[fmt.Sprintf("journal, pages of %d", size)] = hot(t, page, fill, "INSERT INTO t SELECT a+200, b||b||b FROM t", begin)
	}
	both := killedInJournal(t)
	both["-wal"] = killedInWAL(t)["-wal"]
	images["the wal of another one"] = both
	return images
}

// settle does to a database, byte for byte, what SQLite does when it opens it after a
// crash and closes it, even if the log is damaged in any way.
func TestSettlesAsSQLiteDoes(t *testing.T) {
	const damages = 25
	for name, whole := range hotImages(t) {
		t.Run(name, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(3, 4))
			for n := range damages {
				i, what := whole, "whole"
				if n > 0 {
					i, what = damaged(whole, rnd)
				}
				dir := t.TempDir()
				want, theirs := recovered(t, i, filepath.Join(dir, "theirs.db"))
				got, ours := settled(t, i, filepath.Join(dir, "ours.db"))
				if theirs != nil {
					continue // no database exists
				}
				if ours != nil {
					t.Errorf("%s: %v", what, ours)
				} else if !bytes.Equal(got, want) {
					t.Errorf("%s: %d bytes, SQLite has %d; the first that differs is %d", what, len(got), len(want), firstDifference(got, want))
				}
			}
		})
	}
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// damaged changes a log.
func damaged(i image, rnd *rand.Rand) (image, string) {
	suffix := "-wal"
	if len(i["-wal"]) == 0 || len(i["-journal"]) > 0 && rnd.IntN(2) == 0 {
		suffix = "-journal"
	}
	log := bytes.Clone(i[suffix])
	if len(log) == 0 {
		return i, "nothing to damage"
	}
	at := rnd.IntN(len(log))
	if rnd.IntN(3) == 0 {
		at = rnd.IntN(min(len(log), 64)) // in its header
	}
	what := ""
	switch rnd.IntN(3) {
	case 0:
		log[at] ^= 1 << rnd.IntN(8)
		what = "flipped"
	case 1:
		log = log[:at]
		what = "cut off"
	case 2:
		clear(log[at:min(len(log), at+512)])
		what = "512 zeros"
	}
	d := image{}
	for s, b := range i {
		d[s] = b
	}
	d[suffix] = log
	return d, fmt.Sprintf("%s %s at %d", suffix, what, at)
}

// withSuper adds the name of a super-journal to a journal.
func withSuper(i image, super string) image {
	page := binary.BigEndian.Uint32(i["-journal"][24:])
	b := binary.BigEndian.AppendUint32(slices.Clone(i["-journal"]), format.LockPage(page))
	b = append(b, super...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(super)))
	sum := uint32(0)
	for _, c := range []byte(super) {
		sum += uint32(int8(c))
	}
	b = binary.BigEndian.AppendUint32(b, sum)
	return image{"": i[""], "-journal": append(b, disk.JournalMagic...)}
}

// A transaction over several databases is committed when its super-journal is removed.
// Where SQLite's versions differ, Restore does not decide.
func TestSuperJournal(t *testing.T) {
	for name, content := range map[string]string{"exists": "/some/app.db-journal\x00", "removed": "", "größe": "x"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			super := filepath.Join(dir, name+"-mj1234")
			if content != "" {
				writeFiles(t, map[string]string{super: content})
			}
			i := withSuper(killedInJournal(t), super)
			got, err := settled(t, i, filepath.Join(dir, "ours.db"))
			if err != nil {
				t.Fatal(err)
			}
			want, err := recovered(t, i, filepath.Join(dir, "theirs.db"))
			if err != nil && content != "" {
				t.Fatal(err)
			}
			if content == "" {
				want = i[""] // with spilled pages, as after the commit
			}
			if !bytes.Equal(got, want) {
				t.Error("SQLite makes something else of it")
			}
		})
	}
	t.Run("empty", func(t *testing.T) {
		dir := t.TempDir()
		super := filepath.Join(dir, "mj")
		writeFiles(t, map[string]string{super: ""})
		_, err := settled(t, withSuper(killedInJournal(t), super), filepath.Join(dir, "app.db"))
		if err == nil || !strings.Contains(err.Error(), "open the database once with SQLite") {
			t.Error(err)
		}
	})
}

// A page that the database did not have before the transaction is not played back.
func TestPlayBackEndsAtTheOldSize(t *testing.T) {
	i := killedInJournal(t)
	journal := bytes.Clone(i["-journal"])
	pages := binary.BigEndian.Uint32(journal[16:]) / 2
	binary.BigEndian.PutUint32(journal[16:], pages)
	got, err := settled(t, image{"": i[""], "-journal": journal}, filepath.Join(t.TempDir(), "app.db"))
	if err != nil || len(got) != int(pages)*4096 {
		t.Errorf("%d bytes, %v; want %d pages", len(got), err, pages)
	}
}

// Logs that SQLite would not apply to the database remain.
func TestLooseLogs(t *testing.T) {
	wal := hot(t, "PRAGMA page_size=1024", fill, inWAL, change)["-wal"]
	for name, c := range map[string]struct {
		image image
		want  string
	}{
		"not a database":       {image{"": []byte("something"), "-wal": []byte("a log"), "-journal": []byte("another")}, "[-journal -wal]"},
		"of another page size": {image{"": hot(t, fill)[""], "-wal": noFirstPage(wal)}, "[-wal]"},
		"no logs":              {image{"": []byte("something")}, "[]"},
		"none of another one":  {image{"": hot(t, fill)[""], "-wal": []byte("a log")}, "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "app.db")
			c.image.write(t, path)
			old, err := (&place{path: path}).lockOld()
			if err != nil {
				t.Fatal(err)
			}
			defer old.close()
			loose, err := old.settle()
			if err != nil || fmt.Sprint(loose) != c.want {
				t.Errorf("%v, %v", loose, err)
			}
			checkFile(t, path, c.image[""])
		})
	}
}

// noFirstPage returns a WAL with one committed frame, of page 2.
func noFirstPage(wal []byte) []byte {
	h, err := format.ParseWALHeader(wal)
	if err != nil {
		panic(err)
	}
	page := make([]byte, h.PageSize)
	f := format.Frame{Page: 2, Commit: 2, Salt: h.Salt}
	f.Checksum = h.Chain(h.Checksum, f, page)
	return append(f.AppendTo(wal[:format.WALHeaderSize:format.WALHeaderSize]), page...)
}
