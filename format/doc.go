// Package format is the bytes of walvfs: SQLite's WAL and WAL index, which it
// reads; LTX files, which it writes and reads; the keys under which a replica
// holds them; and the plan by which they become a database again. It does no
// I/O but through the io.Reader, io.ReaderAt and io.Writer it is given, and
// links neither SQLite nor a network.
//
// # The write-ahead log
//
// A WAL is a header and then frames, each a header and one page. All integers
// are big-endian; only the checksum reads its input in an order of its own,
// which the magic number tells.
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
// A frame belongs to the log if its salts are the header's and its checksum is
// the running one over everything before it. A frame whose commit size is not
// zero ends a transaction. See https://sqlite.org/fileformat2.html#walformat.
//
// # The WAL index
//
// Its header says which frame is the newest that is committed. It stands there
// twice, in the byte order of the machine, so that a reader who finds both
// copies equal has read neither halfway. See https://sqlite.org/walformat.html.
//
//	         0         4   8        12     13        14     16      20
//	48 bytes | version | - | change | init | big-end | page | mxFrame | nPage |
//	         24               32       40      48
//	         | frame checksum | salts  | checksum |
//
// # LTX files
//
// The encoding is that of github.com/superfly/ltx; this package adds what a
// replica demands beyond it, and README.md specifies the bucket byte for byte.
//
//	         0       100                                      -16       end
//	         | header | pages, ascending | end | page index | trailer |
//
//	page     0      4       6                 10
//	         | page | flags | compressed size | LZ4 block ...
//
// Writing one, reading it back, and choosing the files of a restore:
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
