package format

// DatabasePageSize reads the page size, in bytes, from the first 100 bytes of a database
// file. It does not check the value.
//
// https://sqlite.org/fileformat2.html#page_size
func DatabasePageSize(header []byte) uint32 {
	n := uint32(header[16])<<8 | uint32(header[17])
	if n == 1 {
		return 65536
	}
	return n
}
