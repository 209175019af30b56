package format

import "encoding/binary"

// Frame is the header of a WAL frame, 24 bytes before a page.
type Frame struct {
	Page     uint32    // number of the page that follows
	Commit   uint32    // database size in pages after the commit that ends with this frame; 0 if no commit does
	Salt     Salt      // the WAL's, or an earlier WAL's if the frame is left over from it
	Checksum [2]uint32 // of everything up to and including this frame's page
}

// ParseFrame parses the first [FrameHeaderSize] bytes of b and panics if there are fewer.
// It checks nothing: any 24 bytes are a frame header, and [ScanWAL] finds the frames that
// belong to the log.
func ParseFrame(b []byte) Frame {
	_ = b[FrameHeaderSize-1]
	return Frame{
		Page:     binary.BigEndian.Uint32(b),
		Commit:   binary.BigEndian.Uint32(b[4:]),
		Salt:     Salt(b[8:16]),
		Checksum: [2]uint32{binary.BigEndian.Uint32(b[16:]), binary.BigEndian.Uint32(b[20:])},
	}
}

// AppendTo appends the frame header's 24 bytes to b, with its checksum unchanged.
func (f Frame) AppendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, f.Page)
	b = binary.BigEndian.AppendUint32(b, f.Commit)
	b = append(b, f.Salt[:]...)
	b = binary.BigEndian.AppendUint32(b, f.Checksum[0])
	return binary.BigEndian.AppendUint32(b, f.Checksum[1])
}

// Chain returns the checksum that frame f with this page must have after the checksum sum
// of the previous frame or the header. It covers the page number, the commit size and the
// page, but not the salts.
func (h WALHeader) Chain(sum [2]uint32, f Frame, page []byte) [2]uint32 {
	var b [8]byte
	binary.BigEndian.PutUint32(b[:], f.Page)
	binary.BigEndian.PutUint32(b[4:], f.Commit)
	return WALChecksum(h.BigEndian, WALChecksum(h.BigEndian, sum, b[:]), page)
}
