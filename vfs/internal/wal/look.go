package wal

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/statefile"
)

// Found describes the files of a database when it is opened, before any connection writes
// to them.
type Found struct {
	WAL   format.WALHeader // zero if there is no WAL, or an empty one
	Last  uint32           // frames of it up to the last commit
	Err   error            // why the WAL cannot be read
	Size  int64            // of the database file, bytes
	MTime time.Time        // of the database file

	// Settled: a write to the database file after the look changes MTime.
	Settled bool
}

// Look reads a whole WAL.
func Look(database string) (f Found) {
	var info fs.FileInfo
	now := time.Now()
	if info, f.Err = os.Stat(database); f.Err != nil {
		return f
	}
	f.Size, f.MTime, f.Settled = info.Size(), info.ModTime().UTC(), statefile.Settled(info, now)
	wal, err := os.Open(database + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return f
	}
	if err == nil {
		defer wal.Close()
		f.WAL, f.Last, _, err = format.LastCommit(wal)
	}
	if errors.Is(err, format.ErrWALHeader) {
		return Found{Size: f.Size, MTime: f.MTime, Settled: f.Settled} // SQLite takes it for empty, too
	}
	f.Err = err
	return f
}

// ErrReset means that the WAL started over, and this process did not see it.
var ErrReset = errors.New("the WAL was reset outside of this VFS")

// FrameChecksum reads the checksum of frame n of a WAL, zeros if the WAL ends before it.
// It fails with [ErrReset] if the WAL has been reset.
func FrameChecksum(database string, h format.WALHeader, n uint32) (sum [2]uint32, err error) {
	wal, err := os.Open(database + "-wal")
	if err != nil {
		return sum, err
	}
	defer wal.Close()
	var b [format.FrameHeaderSize]byte
	if _, err := wal.ReadAt(b[:], format.FrameOffset(h.PageSize, n)); err != nil && err != io.EOF {
		return sum, err
	}
	if salt, _, err := Salt(wal); err != nil || salt != h.Salt {
		return sum, ErrReset
	}
	return format.ParseFrame(b[:]).Checksum, nil
}

// CutFrames returns the number of frames of a WAL up to the boundary at which a file was
// cut. It reports false if the file was cut from another WAL.
func CutFrames(h format.LTXHeader, wal format.WALHeader) (frames int64, ok bool) {
	if wal.Salt.IsZero() || h.WALSalt1 != wal.Salt.Salt1() || h.WALSalt2 != wal.Salt.Salt2() {
		return 0, false
	}
	return (h.WALOffset + h.WALSize - format.WALHeaderSize) / (format.FrameHeaderSize + int64(wal.PageSize)), true
}
