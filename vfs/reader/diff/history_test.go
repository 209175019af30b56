package diff_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"
	"go.uber.org/goleak"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
	"github.com/walvfs/walvfs/vfs/reader/diff"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A fataler is a [testing.T] or a rapid.T.
type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// A history is a database in a plain file, and a replica with a file for each state. The
// files have only the pages whose bytes differ, which are fewer than a writer's.
type history struct {
	t      fataler
	store  *storagetest.Memory
	path   string
	conn   *sqlite3.Conn
	states [][]byte // of TXID 1, 2, ...

	columns int // number of added columns
}

// newHistory keeps the content of the store.
func newHistory(t fataler, store *storagetest.Memory, dir string) *history {
	t.Helper()
	h := &history{t: t, store: store, path: filepath.Join(dir, "app.db")}
	conn, err := sqlite3.Open("file:" + h.path)
	if err != nil {
		t.Fatal(err)
	}
	h.conn = conn
	h.exec("PRAGMA journal_mode=MEMORY", "PRAGMA synchronous=OFF")
	return h
}

func (h *history) close() { h.conn.Close() }

func (h *history) exec(sql ...string) {
	h.t.Helper()
	for _, q := range sql {
		if err := h.conn.Exec(q); err != nil {
			h.t.Fatalf("%s: %v", q, err)
		}
	}
}

// commit uploads the state to the replica, and returns its TXID.
func (h *history) commit(sql ...string) format.TXID {
	h.t.Helper()
	h.exec(sql...)
	txid := h.state()
	if txid > 1 {
		h.put(format.LevelRaw, txid, txid)
	} else {
		h.put(format.LevelSnapshot, 1, 1)
	}
	return txid
}

// state records the state, and returns its TXID.
func (h *history) state() format.TXID {
	h.t.Helper()
	now, err := os.ReadFile(h.path)
	if err != nil {
		h.t.Fatal(err)
	}
	h.states = append(h.states, now)
	return format.TXID(len(h.states))
}

// put writes a file.
func (h *history) put(level int, from, to format.TXID) {
	h.t.Helper()
	now := h.states[to-1]
	size := dbtest.PageSize(now)
	var b bytes.Buffer
	enc, err := format.NewEncoder(&b, format.LTXHeader{PageSize: uint32(size), Commit: uint32(len(now) / size), MinTXID: from, MaxTXID: to, Timestamp: 1000 * int64(to)})
	if err != nil {
		h.t.Fatal(err)
	}
	for at := 0; at < len(now); at += size {
		page := now[at : at+size]
		changed := from == 1
		for txid := from; txid <= to && !changed; txid++ {
			old, new := h.states[txid-2], h.states[txid-1]
			if at+size <= len(new) {
				changed = at+size > len(old) || !bytes.Equal(old[at:at+size], new[at:at+size])
			}
		}
		if changed {
			if err := enc.Page(uint32(at/size+1), page); err != nil {
				h.t.Fatal(err)
			}
		}
	}
	if _, err := enc.Close(); err != nil {
		h.t.Fatal(err)
	}
	key := h.store.Layout().Key(level, from, to)
	if err := h.store.Create(context.Background(), key, bytes.NewReader(b.Bytes()), storage.Attrs{}); err != nil {
		h.t.Fatal(err)
	}
}

// remove deletes a file.
func (h *history) remove(level int, from, to format.TXID) {
	h.store.Delete(context.Background(), h.store.Layout().Key(level, from, to))
}

// damage changes a byte in the middle of a file.
func (h *history) damage(level int, from, to format.TXID) {
	h.t.Helper()
	ctx, key := context.Background(), h.store.Layout().Key(level, from, to)
	body, attrs, err := h.store.Open(ctx, key, 0, -1)
	if err != nil {
		h.t.Fatal(err)
	}
	b, err := io.ReadAll(body)
	if err == nil {
		b[len(b)/2] ^= 1
		h.remove(level, from, to)
		err = h.store.Create(ctx, key, bytes.NewReader(b), attrs)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// moment opens the replica at a TXID.
func (h *history) moment(txid format.TXID) *sqlite3.Conn {
	h.t.Helper()
	conn, err := sqlite3.Open(fmt.Sprintf("file:%s.db?vfs=replica&replica=%s&txid=%s", txid, url.QueryEscape(h.store.String()), txid))
	if err != nil {
		h.t.Fatal(err)
	}
	return conn
}

// restored opens a state as a plain database.
func (h *history) restored(txid format.TXID, dir string) *sqlite3.Conn {
	h.t.Helper()
	path := filepath.Join(dir, fmt.Sprintf("%s.db", txid))
	if err := os.WriteFile(path, h.states[txid-1], 0o600); err != nil {
		h.t.Fatal(err)
	}
	conn, err := sqlite3.Open("file:" + path)
	if err != nil {
		h.t.Fatal(err)
	}
	return conn
}

// A compared is the changes of all tables, as text, and the notes.
type compared struct {
	rows  map[string][]string
	notes []string
}

// compare compares two states through the replica.
func (h *history) compare(from, to format.TXID, then func(*diff.Diff)) compared {
	h.t.Helper()
	a, b := h.moment(from), h.moment(to)
	defer a.Close()
	defer b.Close()
	got := compared{rows: map[string][]string{}}
	d, err := diff.New(context.Background(), a, b, diff.Options{Note: func(s string) { got.notes = append(got.notes, s) }})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, t := range d.Tables {
		err := d.Rows(context.Background(), t, func(c diff.Change) error {
			got.rows[t.Name] = append(got.rows[t.Name], shown(c))
			return nil
		})
		if err != nil {
			h.t.Fatal(err)
		}
	}
	if then != nil {
		then(d)
	}
	return got
}

func shown(c diff.Change) string {
	return strings.Join([]string{c.Op.String(), show(c.Old), show(c.New)}, " ")
}

func show(values []any) string {
	if values == nil {
		return "-"
	}
	var s []string
	for _, v := range values {
		switch v := v.(type) {
		case []byte:
			s = append(s, fmt.Sprintf("x'%x'", v))
		default:
			s = append(s, fmt.Sprintf("%T:%v", v, v))
		}
	}
	return strings.Join(s, "|")
}
