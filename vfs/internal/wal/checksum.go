package wal

import "encoding/binary"

// fillChecksum does to a page what its checkpoint will do: go-sqlite3 takes 8 reserved
// bytes a page for checksums, and fills them in when a page reaches the database file,
// so that those in the WAL are stale.
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
