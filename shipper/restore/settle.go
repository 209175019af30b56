package restore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore/internal/disk"
)

// A replaced database is about to be replaced. It is locked: no connection has it open,
// and none can open it.
type replaced struct {
	place       *place
	file        *os.File
	disk        disk.File // the same file
	placeholder bool      // created only to be locked
}

func (o *replaced) close() {
	if o != nil {
		disk.Close(o.file)
	}
}

// settle moves the whole database into the main file: it treats a hot journal and a
// write-ahead log as SQLite does, in the same order, so that SQLite continues the work
// after a crash. A log that is not SQLite's or not of this database stays: if the file is
// not a database that SQLite can read, because it is encrypted or no database at all,
// nothing needs protection. settle returns those logs.
func (o *replaced) settle() (loose []string, err error) {
	if err := o.rollBack(); err != nil {
		return nil, err
	}
	foreign, err := o.checkpoint()
	if err != nil {
		return nil, err
	}
	if !foreign {
		header, err := o.header()
		if err != nil || isSQLite(header) {
			return nil, err
		}
	}
	for _, suffix := range []string{"-journal", "-wal"} {
		if info, err := os.Lstat(o.place.path + suffix); err == nil && info.Size() > 0 {
			loose = append(loose, suffix)
		}
	}
	return loose, nil
}

const sqliteMagic = "SQLite format 3\x00"

func isSQLite(header []byte) bool { return bytes.HasPrefix(header, []byte(sqliteMagic)) }

// pageSizeIn returns the page size in a database header, 0 if absent.
func pageSizeIn(header []byte) int64 {
	size := int64(binary.BigEndian.Uint16(header[16:]))
	if size == 1 {
		size = 64 << 10
	}
	if !powerOfTwo(size, 512) {
		return 0
	}
	return size
}

// header reads the first 100 bytes of the main file, zeros beyond its end.
func (o *replaced) header() ([]byte, error) {
	b := make([]byte, 100)
	if _, err := o.file.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, o.fail("read", err)
	}
	return b, nil
}

// rollBack plays back a hot journal.
func (o *replaced) rollBack() error {
	log, info, err := o.openLog("-journal")
	if log == nil || err != nil {
		return err
	}
	defer log.Close()
	header, err := o.header()
	if err != nil {
		return err
	}
	const remedy = "open the database once with SQLite, which recovers it"
	j, err := openHotJournal(log, info.Size(), pageSizeIn(header))
	if err != nil {
		return &Error{"read", log.Name(), disk.Pathless(err), remedy}
	}
	if j == nil {
		return nil
	}
	if err := j.playBack(o.truncate, o.write); err != nil {
		return o.failLog("play back", log, err)
	}
	return o.endLog(log)
}

// checkpoint copies the committed pages of a write-ahead log to the main file. The log is
// foreign if it does not belong to this database.
func (o *replaced) checkpoint() (foreign bool, err error) {
	log, _, err := o.openLog("-wal")
	if log == nil || err != nil {
		return false, err
	}
	defer log.Close()
	frames, commit := map[uint32]uint32{}, uint32(0)
	begun := map[uint32]uint32{} // frames of a transaction whose end may be missing
	h, err := format.ScanWAL(log, func(n uint32, f format.Frame, _ []byte) error {
		begun[f.Page] = n
		if f.Commit != 0 {
			commit = f.Commit
			maps.Copy(frames, begun)
			clear(begun)
		}
		return nil
	})
	if errors.Is(err, format.ErrWALHeader) || err == nil && commit == 0 {
		return false, nil // SQLite treats it as empty
	}
	if err != nil {
		return false, o.failLog("read", log, err)
	}
	if ours, err := o.owns(log, h, frames[1]); !ours || err != nil {
		return true, err
	}
	page := make([]byte, h.PageSize)
	for _, number := range slices.Sorted(maps.Keys(frames)) {
		if number > commit {
			continue
		}
		if _, err := log.ReadAt(page, format.FrameOffset(h.PageSize, frames[number])+format.FrameHeaderSize); err != nil {
			return false, o.failLog("read", log, err)
		}
		if err := o.write(page, int64(number-1)*int64(h.PageSize)); err != nil {
			return false, err
		}
	}
	if err := o.truncate(int64(commit) * int64(h.PageSize)); err != nil {
		return false, err
	}
	return false, o.endLog(log)
}

// owns reports whether page 1, from its frame or from the main file, belongs to a
// database with the log's page size.
func (o *replaced) owns(log *os.File, h format.WALHeader, frame uint32) (bool, error) {
	header, err := o.header()
	if err == nil && frame != 0 {
		if _, err = log.ReadAt(header, format.FrameOffset(h.PageSize, frame)+format.FrameHeaderSize); err != nil {
			err = o.failLog("read", log, err)
		}
	}
	return err == nil && isSQLite(header) && pageSizeIn(header) == int64(h.PageSize), err
}

// openLog opens a log of the database, nil if it is missing or empty.
func (o *replaced) openLog(suffix string) (*os.File, fs.FileInfo, error) {
	name := o.place.path + suffix
	f, err := os.OpenFile(name, os.O_RDWR|disk.NoFollow, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, &Error{"open", name, disk.Pathless(err), "walvfs must be able to recover the old database"}
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = disk.ErrForeign
	}
	if err != nil {
		f.Close()
		return nil, nil, &Error{"open", name, disk.Pathless(err), ""}
	}
	if info.Size() == 0 {
		f.Close()
		return nil, nil, nil
	}
	return f, info, nil
}

// endLog first makes the main file durable, and then empties the log.
func (o *replaced) endLog(log *os.File) error {
	if err := o.place.step(o.disk.Sync); err != nil {
		return o.fail("sync", err)
	}
	file := o.place.hooks.Wrap(log.Name(), log)
	if err := o.place.step(func() error { return file.Truncate(0) }); err != nil {
		return o.failLog("truncate", log, err)
	}
	if err := o.place.step(file.Sync); err != nil {
		return o.failLog("sync", log, err)
	}
	return nil
}

func (o *replaced) write(page []byte, offset int64) error {
	err := o.place.step(func() error {
		_, err := o.disk.WriteAt(page, offset)
		return err
	})
	if err != nil {
		return o.fail("write", err)
	}
	return nil
}

// truncate does not touch a file that already has that size: not even its times change.
func (o *replaced) truncate(size int64) error {
	info, err := o.file.Stat()
	if err == nil && info.Size() != size {
		err = o.place.step(func() error { return o.disk.Truncate(size) })
	}
	if err != nil {
		return o.fail("truncate", err)
	}
	return nil
}

func (o *replaced) fail(op string, err error) error {
	return &Error{op, o.place.path, disk.Pathless(err), ""}
}

func (o *replaced) failLog(op string, log *os.File, err error) error {
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	return &Error{op, log.Name(), disk.Pathless(err), fmt.Sprintf("%s is still whole with it", o.place.path)}
}
