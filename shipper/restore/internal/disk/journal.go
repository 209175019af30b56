package disk

// A rollback journal is a header, which occupies a sector, followed by records.
//
//	0       8         12      16      20       24          512
//	| magic | records | nonce | pages | sector | page size | records ...
//
//	record  0      4              4+page size
//	        | page | page bytes   | checksum |
//
// https://sqlite.org/fileformat2.html#the_rollback_journal
const (
	JournalMagic  = "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
	JournalHeader = 28 // bytes
)

// JournalChecksum is pager_cksum: of every 200th byte, from the end.
func JournalChecksum(nonce uint32, page []byte) uint32 {
	for i := len(page) - 200; i > 0; i -= 200 {
		nonce += uint32(page[i])
	}
	return nonce
}
