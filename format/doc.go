// Package format reads and writes the bytes that walvfs handles: SQLite's WAL and WAL
// index, LTX files, the keys of a replica's files, and the plan that turns these files
// into a database again. All I/O goes through the io.Reader, io.ReaderAt and io.Writer
// that a caller passes. The package links neither SQLite nor a network client.
//
// # The write-ahead log
//
// A WAL is a header followed by frames. A frame is a header followed by one page. All
// integers are big-endian, except that the checksum reads its input in the byte order
// that the magic number names.
//
//	WAL      0        32            56           32+24+P        n counts from 1
//	         | header | frame 1 hdr | page       | frame 2 hdr | page ...
//
//	header   0       4         8           12         16    20    24      28     32
//	         | magic | 3007000 | page size | sequence | salt-1 salt-2 | checksum |
//
//	frame    0      4               8     12    16      20     24
//	         | page | commit size   | salt-1 salt-2 | checksum | page bytes ...
//	                  pages, or 0
//
// A frame belongs to the log if it has the salts of the header and its checksum is
// the running checksum of everything before it. A frame whose commit size is not
// zero ends a transaction. See https://sqlite.org/fileformat2.html#walformat.
//
// # The WAL index
//
// The header of the WAL index names the newest committed frame. The index holds two
// copies of the header, in the byte order of the machine: if a reader finds both equal,
// it has not read a header that was half written. See https://sqlite.org/walformat.html.
//
//	         0         4   8        12     13        14     16      20
//	48 bytes | version | - | change | init | big-end | page | mxFrame | nPage |
//	         24               32       40      48
//	         | frame checksum | salts  | checksum |
//
// # LTX files
//
// The encoding is that of github.com/superfly/ltx. This package adds the rules that a
// replica needs beyond it. README.md specifies the bucket byte for byte.
//
//	         0       100                                      -16       end
//	         | header | pages, ascending | end | page index | trailer |
//
//	page     0      4       6                 10
//	         | page | flags | compressed size | LZ4 block ...
//
// To write an LTX file, read it back, and choose the files of a restore:
//
//	enc, err := format.NewEncoder(w, format.LTXHeader{
//		PageSize: 4096, Commit: 1, MinTXID: 1, MaxTXID: 1,
//		Timestamp: time.Now().UnixMilli(),
//		WALOffset: format.WALHeaderSize,
//	})
//	err = enc.Page(1, page)
//	checksum, err := enc.Close()
//
//	h, trailer, err := format.Decode(r, func(h format.LTXHeader, pgno uint32, page []byte) error {
//		_, err := db.WriteAt(page, int64(pgno-1)*int64(h.PageSize))
//		return err
//	})
//
//	files, err := format.Plan(listing, 0) // in the order in which to apply them
package format
