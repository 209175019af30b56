package reader

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/walvfs/walvfs/shipper/replica"
)

// A disk caches parts of the replica's files in a directory. Processes share the parts,
// and restarts keep them. A part is a block of a file, in a file of its own, which is
// complete once it has its name:
//
//	sha256 of what follows   32 bytes
//	file checksum            8
//	file size                8
//	block number             8
//	block                    64 KiB, or fewer at the file's end
//
// A file with any other content is ignored and overwritten. Nothing is synced: after a
// power loss, blocks are missing or are ignored.
type disk struct {
	dir string
	max int64 // bytes
	log *slog.Logger

	mu      sync.Mutex
	written int64     // bytes written since the last call of bound; negative: never called
	until   time.Time // when to write again after a failure
	recent  []recentBlock
}

// A recentBlock was read or written recently. Without it, each frame of a scan would
// check its block again.
type recentBlock struct {
	path string
	b    []byte
}

// mostRecent is how many blocks are kept in memory.
const mostRecent = 16

const (
	blockSize   = 64 << 10
	blockHeader = sha256.Size + 24
	blockPrefix = "walvfs-"
	blockSuffix = ".block"
	blockTemp   = ".tmp"

	// boundEvery is the share of the cache that one process writes between two calls of
	// bound.
	boundEvery = 16

	// diskPause is how long nothing is written after a failure, such as a full disk.
	diskPause = time.Minute

	// keepTemp is how long a temporary file is left alone: another process writes it, or
	// has died.
	keepTemp = time.Hour
)

// openDisk returns nil if dir is empty.
func openDisk(dir string, most int64, log *slog.Logger) (*disk, error) {
	if dir == "" {
		return nil, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return &disk{dir: dir, max: most, log: log, written: -1}, nil
}

// id returns the part of a block's header after the sum, and the path of its file.
func (d *disk) id(f *file, block int64) (id []byte, path string) {
	id = binary.BigEndian.AppendUint64(id, uint64(f.checksum))
	id = binary.BigEndian.AppendUint64(id, uint64(f.info.Size))
	id = binary.BigEndian.AppendUint64(id, uint64(block))
	sum := sha256.Sum256(id)
	return id, filepath.Join(d.dir, blockPrefix+hex.EncodeToString(sum[:16])+blockSuffix)
}

// blockLength returns the length of a block in bytes.
func blockLength(f *file, block int64) int64 { return min(blockSize, f.info.Size-block*blockSize) }

// read returns a block, nil if it is not cached.
func (d *disk) read(f *file, block int64) []byte {
	id, path := d.id(f, block)
	d.mu.Lock()
	for _, r := range d.recent {
		if r.path == path {
			d.mu.Unlock()
			return r.b
		}
	}
	d.mu.Unlock()
	length := blockHeader + blockLength(f, block)
	info, err := os.Lstat(path) // reading a named pipe would never end
	if err != nil || !info.Mode().IsRegular() || info.Size() != length {
		return nil
	}
	b, err := os.ReadFile(path)
	if err != nil || int64(len(b)) != length {
		return nil
	}
	if sum := sha256.Sum256(b[sha256.Size:]); !bytes.Equal(sum[:], b[:sha256.Size]) || !bytes.Equal(id, b[sha256.Size:blockHeader]) {
		return nil
	}
	now := time.Now()
	os.Chtimes(path, now, now) // bound removes the least recently used blocks first
	d.remember(path, b[blockHeader:])
	return b[blockHeader:]
}

func (d *disk) remember(path string, b []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.recent) == mostRecent {
		d.recent = slices.Delete(d.recent, 0, 1)
	}
	d.recent = append(d.recent, recentBlock{path, b})
}

// write caches a block. A failure is logged, and costs no more than the block.
func (d *disk) write(f *file, block int64, b []byte) {
	d.mu.Lock()
	off := time.Now().Before(d.until)
	d.mu.Unlock()
	if off {
		return
	}
	id, path := d.id(f, block)
	err := d.create(path, id, b)
	if err != nil {
		if info, e := os.Lstat(path); e == nil && info.IsDir() {
			return // the directory blocks only this block
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.until = time.Now().Add(diskPause)
		d.log.Warn("writing the cache directory failed; continuing without it", "error", err)
		return
	}
	if d.written += blockHeader + int64(len(b)); d.written < 0 || d.written > d.max/boundEvery {
		d.bound()
		d.written = 0
	}
}

func (d *disk) create(path string, id, b []byte) error {
	t, err := os.CreateTemp(d.dir, blockPrefix+"*"+blockTemp)
	if err != nil {
		return err
	}
	body := append(slices.Clip(id), b...)
	sum := sha256.Sum256(body)
	_, err = t.Write(append(sum[:], body...))
	if e := t.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(t.Name(), path)
	}
	if err != nil {
		os.Remove(t.Name())
	}
	return err
}

// bound removes the least recently used blocks, so that the next call finds no more than
// the limit. It leaves other files alone.
func (d *disk) bound() {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return
	}
	type cached struct {
		name string
		size int64
		used time.Time
	}
	var all []cached
	total := int64(0)
	for _, e := range entries {
		temp := strings.HasSuffix(e.Name(), blockTemp)
		if !strings.HasPrefix(e.Name(), blockPrefix) || !temp && !strings.HasSuffix(e.Name(), blockSuffix) {
			continue
		}
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		if temp {
			if time.Since(info.ModTime()) > keepTemp {
				os.Remove(filepath.Join(d.dir, e.Name()))
			}
			continue
		}
		all = append(all, cached{e.Name(), info.Size(), info.ModTime()})
		total += info.Size()
	}
	slices.SortFunc(all, func(a, b cached) int { return a.used.Compare(b.used) })
	for _, c := range all {
		if total <= d.max-2*d.max/boundEvery {
			return
		}
		if os.Remove(filepath.Join(d.dir, c.name)) == nil {
			total -= c.size
		}
	}
}

// forget removes the blocks of a range.
func (d *disk) forget(f *file, offset, length int64) {
	for block := offset / blockSize; block*blockSize < offset+length; block++ {
		_, path := d.id(f, block)
		os.Remove(path)
		d.mu.Lock()
		d.recent = slices.DeleteFunc(d.recent, func(r recentBlock) bool { return r.path == path })
		d.mu.Unlock()
	}
}

// readFrom returns a range of a file. It reads missing blocks from the replica,
// consecutive blocks in one request.
func (d *disk) readFrom(ctx context.Context, r *replica.Replica, f *file, offset, length int64) ([]byte, error) {
	first := offset / blockSize
	last := (offset + length - 1) / blockSize
	blocks := make([][]byte, last-first+1)
	for i := range blocks {
		blocks[i] = d.read(f, first+int64(i))
	}
	for i := 0; i < len(blocks); i++ {
		end := i
		for end < len(blocks) && blocks[end] == nil {
			end++
		}
		if end == i {
			continue
		}
		begin := (first + int64(i)) * blockSize
		b, err := r.Read(ctx, f.info, begin, min((first+int64(end))*blockSize, f.info.Size)-begin)
		if err != nil {
			return nil, err
		}
		for ; i < end; i++ {
			n := blockLength(f, first+int64(i))
			blocks[i], b = b[:n], b[n:]
			d.write(f, first+int64(i), blocks[i])
			_, path := d.id(f, first+int64(i))
			d.remember(path, blocks[i])
		}
	}
	skip := offset - first*blockSize
	if len(blocks) == 1 {
		return bytes.Clone(blocks[0][skip : skip+length]), nil
	}
	return bytes.Join(blocks, nil)[skip : skip+length], nil
}
