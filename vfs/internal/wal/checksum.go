package wal

import "encoding/binary"

// fillChecksum changes a page as its checkpoint will: go-sqlite3 uses 8 reserved bytes of
// each page for a checksum, and fills them in when the page reaches the database file, so
// the checksums in the WAL are stale.
//
// https://sqlite.org/cksumvfs.html
func fillChecksum(page []byte) {
	var s1, s2 uint32
	body, sum := page[:len(page)-8], page[len(page)-8:]
	for ; len(body) >= 8; body = body[8:] {
		s1 += binary.LittleEndian.Uint32(body) + s2
		s2 += binary.LittleEndian.Uint32(body[4:]) + s1
	}
	binary.LittleEndian.PutUint32(sum, s1)
	binary.LittleEndian.PutUint32(sum[4:], s2)
}
