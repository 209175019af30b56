package format_test

import (
	"bytes"
	"database/sql"
	"encoding/binary"
	"fmt"
	"hash/crc64"
	"os"
	"path/filepath"
	"testing"

	_ "github.com/ncruces/go-sqlite3/driver"
	"github.com/pierrec/lz4/v4"
	"github.com/superfly/ltx"

	"github.com/walvfs/walvfs/format"
)

var pageSizes = []uint32{512, 1024, 2048, 4096, 8192, 16384, 32768, 65536}

// openSQLite opens a database through one connection.
func openSQLite(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+filepath.ToSlash(path))
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	return db
}

func exec(t testing.TB, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.Exec(query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// liveWAL opens a database that keeps all its commits in its WAL: some small, one large,
// a rolled back one in between, and one not committed yet.
func liveWAL(t testing.TB, pageSize uint32) (db *sql.DB, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "live.db")
	db = openSQLite(t, path)
	exec(t, db, fmt.Sprintf("PRAGMA page_size=%d", pageSize))
	exec(t, db, "PRAGMA journal_mode=wal")
	exec(t, db, "PRAGMA wal_autocheckpoint=0")
	exec(t, db, "PRAGMA cache_size=3") // pages: spill early
	exec(t, db, "CREATE TABLE t (id INTEGER PRIMARY KEY, b BLOB)")
	for range 5 {
		exec(t, db, "INSERT INTO t (b) VALUES (randomblob(700))")
	}
	const many = "WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 40) INSERT INTO t (b) SELECT randomblob(?) FROM n"
	exec(t, db, many, pageSize/2)
	exec(t, db, "BEGIN IMMEDIATE")
	exec(t, db, many, pageSize/2)
	exec(t, db, "ROLLBACK")
	exec(t, db, "DELETE FROM t WHERE id % 3 = 0")
	exec(t, db, "BEGIN IMMEDIATE")
	exec(t, db, many, pageSize/2)
	return db, path
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// contents returns the contents of a database, after an integrity check.
func contents(t testing.TB, db *sql.DB) string {
	t.Helper()
	var check, all string
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&check); err != nil || check != "ok" {
		t.Fatalf("integrity_check: %q, %v", check, err)
	}
	if err := db.QueryRow("SELECT group_concat(id || ':' || hex(b), ' ') FROM (SELECT * FROM t ORDER BY id)").Scan(&all); err != nil {
		t.Fatal(err)
	}
	return all
}

// reencodeWAL returns a WAL's valid frames in a WAL with the other checksum order.
func reencodeWAL(t testing.TB, wal []byte) []byte {
	t.Helper()
	var h format.WALHeader
	var out []byte
	var sum [2]uint32
	_, err := format.ScanWAL(bytes.NewReader(wal), func(n uint32, f format.Frame, page []byte) error {
		if n == 1 {
			h, _ = format.ParseWALHeader(wal)
			h.BigEndian = !h.BigEndian
			out = h.AppendTo(nil)
			h, _ = format.ParseWALHeader(out)
			sum = h.Checksum
		}
		sum = h.Chain(sum, f, page)
		f.Checksum = sum
		out = append(f.AppendTo(out), page...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// page is a page's number and content.
type page struct {
	no   uint32
	data []byte
}

// somePages returns pages of text that differ and compress.
func somePages(pageSize uint32, numbers ...uint32) []page {
	var a []page
	for _, no := range numbers {
		data := bytes.Repeat(fmt.Appendf(nil, "page %d ", no), int(pageSize))[:pageSize]
		a = append(a, page{no, data})
	}
	return a
}

// libraryHeader converts the header to the library's type.
func libraryHeader(h format.LTXHeader) *ltx.Header {
	return &ltx.Header{
		Version: h.Version, Flags: h.Flags, PageSize: h.PageSize, Commit: h.Commit,
		MinTXID: ltx.TXID(h.MinTXID), MaxTXID: ltx.TXID(h.MaxTXID), Timestamp: h.Timestamp,
		PreApplyChecksum: ltx.Checksum(h.PreApplyChecksum),
		WALOffset:        h.WALOffset, WALSize: h.WALSize, WALSalt1: h.WALSalt1, WALSalt2: h.WALSalt2,
		NodeID: h.NodeID,
	}
}

// specLTX writes an LTX file from its specification alone, to check the encoder
// independently and to make files that no encoder writes. legacy selects the older
// encoding of pages.
func specLTX(t testing.TB, h format.LTXHeader, pages []page, legacy bool) []byte {
	t.Helper()
	hash := crc64.New(crc64.MakeTable(crc64.ISO))
	var out bytes.Buffer
	both := func(b []byte) { out.Write(b); hash.Write(b) }

	head, err := libraryHeader(h).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	both(head)
	var index []byte
	for _, p := range pages {
		offset := out.Len()
		if legacy {
			both(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(nil, p.no), 0))
			zw := lz4.NewWriter(&out)
			if err := zw.Apply(lz4.BlockSizeOption(lz4.Block64Kb)); err != nil {
				t.Fatal(err)
			}
			zw.Write(p.data)
			zw.Close()
		} else {
			block := make([]byte, lz4.CompressBlockBound(len(p.data)))
			n, err := lz4.CompressBlock(p.data, block, nil)
			if err != nil {
				t.Fatal(err)
			}
			both(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(nil, p.no), 1))
			both(binary.BigEndian.AppendUint32(nil, uint32(n)))
			out.Write(block[:n])
		}
		hash.Write(p.data)
		index = binary.AppendUvarint(index, uint64(p.no))
		index = binary.AppendUvarint(index, uint64(offset))
		index = binary.AppendUvarint(index, uint64(out.Len()-offset))
	}
	both(make([]byte, 6))
	index = append(index, 0)
	both(index)
	both(binary.BigEndian.AppendUint64(nil, uint64(len(index))))
	both(make([]byte, 8))
	out.Write(binary.BigEndian.AppendUint64(nil, hash.Sum64()|1<<63))
	return out.Bytes()
}

// encode writes an LTX file with the encoder.
func encode(t testing.TB, h format.LTXHeader, pages []page) []byte {
	t.Helper()
	var out bytes.Buffer
	enc, err := format.NewEncoder(&out, h)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		if err := enc.Page(p.no, p.data); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// decode reads an LTX file with the decoder.
func decode(b []byte) (h format.LTXHeader, pages []page, err error) {
	h, _, err = format.Decode(bytes.NewReader(b), func(_ format.LTXHeader, no uint32, data []byte) error {
		pages = append(pages, page{no, bytes.Clone(data)})
		return nil
	})
	return h, pages, err
}

// header returns the header of a file that holds TXIDs lo to hi.
func header(pageSize, commit uint32, lo, hi format.TXID) format.LTXHeader {
	return format.LTXHeader{
		Version:   ltx.Version,
		Flags:     ltx.HeaderFlagNoChecksum,
		PageSize:  pageSize,
		Commit:    commit,
		MinTXID:   lo,
		MaxTXID:   hi,
		Timestamp: 1_700_000_000_123,
		WALOffset: format.WALHeaderSize,
		NodeID:    42,
	}
}
