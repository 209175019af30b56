package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
)

type dumpCmd struct {
	File string `arg:"" help:"An LTX file: a path, an object's URL, or, with --in, an object's key as ls prints it."`
	In   string `placeholder:"REPLICA" help:"The replica that has the object: its URL, or a database that the configuration file names."`

	Config string `env:"WALVFS_CONFIG" placeholder:"FILE" help:"The configuration file."`
	JSON   bool   `name:"json" help:"Print a JSON object."`
}

// Help is shown below the synopsis.
func (*dumpCmd) Help() string {
	return `walvfs dump prints and verifies the header of an LTX file, the place of each page as the page index has it, and the trailer. format/README.md explains the fields.

Examples:

	walvfs dump ltx/0/0000000000000001-0000000000000001.ltx
	walvfs dump s3://bucket/app/0009/0000000000000001-00000000000000ff.ltx
	walvfs dump --in s3://bucket/app 0009/0000000000000001-00000000000000ff.ltx
	walvfs dump --json app.ltx | jq '.pages | length'`
}

func (c *dumpCmd) Run(a *app) error {
	file, err := c.open(a)
	if err != nil {
		return err
	}
	defer file.close()
	d, err := dump(file)
	if err != nil {
		return fmt.Errorf("dump %s: %w", c.File, err)
	}
	if c.JSON {
		return a.printJSON(d)
	}
	return d.print(a)
}

// source is a file that dump reads in ranges.
type source struct {
	name  string
	read  func(offset, length int64) (io.ReadCloser, error)
	close func() error
}

func (c *dumpCmd) open(a *app) (*source, error) {
	if c.In == "" && !isURL(c.File) {
		return openLocal(c.File)
	}
	arg, key := replicaArg{Replica: c.In, Config: c.Config}, c.File
	if c.In == "" {
		var err error
		if arg.Replica, key, err = splitObject(c.File); err != nil {
			return nil, &usageError{err: err}
		}
	}
	store, _, err := arg.open(a)
	if err != nil {
		return nil, err
	}
	return &source{
		name: store.String() + "/" + key,
		read: func(offset, length int64) (io.ReadCloser, error) {
			r, _, err := store.Open(a.ctx, key, offset, length)
			return r, err
		},
		close: store.Close,
	}, nil
}

func openLocal(name string) (*source, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return &source{
		name: name,
		read: func(offset, length int64) (io.ReadCloser, error) {
			if length < 0 {
				length = 1<<63 - 1 - offset
			}
			return io.NopCloser(io.NewSectionReader(f, offset, length)), nil
		},
		close: f.Close,
	}, nil
}

// splitObject splits an object's URL into the replica's URL and the key, which is the
// longest end that parses as a key.
func splitObject(raw string) (replica, key string, err error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", "", errors.New("the object's URL cannot be parsed")
	}
	parts := strings.Split(u.Path, "/")
	for _, layout := range []format.Layout{format.LayoutDecimal, format.LayoutHex} {
		n := len(parts) - strings.Count(layout.Key(0, 1, 1), "/") - 1
		if n < 1 {
			continue
		}
		key := strings.Join(parts[n:], "/")
		if _, ok := layout.Parse(key); ok {
			u.Path, u.RawPath = strings.Join(parts[:n], "/"), ""
			return u.String(), key, nil
		}
	}
	return "", "", errors.New("the URL is not that of an LTX file of a replica: its key must be as in " + format.LayoutHex.Key(0, 1, 1) + " or " + format.LayoutDecimal.Key(0, 1, 1))
}

// dumped is the output of --json.
type dumped struct {
	File    string        `json:"file"`
	Size    int64         `json:"size"`
	Header  dumpedHeader  `json:"header"`
	Pages   []dumpedPage  `json:"pages"`
	Index   dumpedIndex   `json:"index"`
	Trailer dumpedTrailer `json:"trailer"`
}

type dumpedHeader struct {
	Flags            uint32          `json:"flags"`
	PageSize         uint32          `json:"page_size"`
	Commit           uint32          `json:"commit"` // pages
	MinTXID          format.TXID     `json:"min_txid"`
	MaxTXID          format.TXID     `json:"max_txid"`
	Time             time.Time       `json:"time"`
	PreApplyChecksum format.Checksum `json:"pre_apply_checksum"`
	WALOffset        int64           `json:"wal_offset"`
	WALSize          int64           `json:"wal_size"`
	WALSalt1         uint32          `json:"wal_salt1"`
	WALSalt2         uint32          `json:"wal_salt2"`
	NodeID           uint64          `json:"node_id,string"`
}

type dumpedPage struct {
	Page   uint32 `json:"page"`
	Offset int64  `json:"offset"`
	Size   int64  `json:"size"` // in the file, including the page's header
}

type dumpedIndex struct {
	Offset int64 `json:"offset"`
	Size   int64 `json:"size"`
}

type dumpedTrailer struct {
	PostApplyChecksum format.Checksum `json:"post_apply_checksum"`
	FileChecksum      format.Checksum `json:"file_checksum"`
}

// dump reads a file to its end, and then its page index.
func dump(file *source) (*dumped, error) {
	d := &dumped{File: file.name, Pages: []dumpedPage{}}
	body, err := file.read(0, -1)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	counted := &countingReader{Reader: body}
	h, t, err := format.Decode(counted, nil)
	if err != nil {
		return nil, err
	}
	d.Size = counted.n
	d.Header = dumpedHeader{h.Flags, h.PageSize, h.Commit, h.MinTXID, h.MaxTXID, time.UnixMilli(h.Timestamp).UTC(),
		h.PreApplyChecksum, h.WALOffset, h.WALSize, h.WALSalt1, h.WALSalt2, h.NodeID}
	d.Trailer = dumpedTrailer{t.PostApplyChecksum, t.FileChecksum}
	return d, d.readIndex(file)
}

// readIndex reads the page index, which has been compared with the pages.
func (d *dumped) readIndex(file *source) error {
	tail, err := readRange(file, d.Size-format.PageIndexTail, format.PageIndexTail)
	if err != nil {
		return err
	}
	if d.Index.Size, err = format.PageIndexSize(tail, d.Size); err != nil {
		return err
	}
	d.Index.Offset = d.Size - format.PageIndexTail - d.Index.Size
	index, err := readRange(file, d.Index.Offset, d.Index.Size)
	if err != nil {
		return err
	}
	return format.ParsePageIndex(index, func(e format.PageEntry) {
		d.Pages = append(d.Pages, dumpedPage{e.Number, e.Offset, e.Size})
	})
}

func readRange(file *source, offset, length int64) ([]byte, error) {
	r, err := file.read(offset, length)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

type countingReader struct {
	io.Reader
	n int64
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.n += int64(n)
	return n, err
}

func (d *dumped) print(a *app) error {
	w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	h := d.Header
	fmt.Fprintf(w, "file\t%s\t%s\n", d.File, humanize.IBytes(uint64(d.Size)))
	fmt.Fprintf(w, "flags\t%d\n", h.Flags)
	fmt.Fprintf(w, "page size\t%d bytes\n", h.PageSize)
	fmt.Fprintf(w, "commit\t%s\tsize of the database\n", count(int(h.Commit), "page"))
	fmt.Fprintf(w, "TXID\t%s to %s\n", h.MinTXID, h.MaxTXID)
	fmt.Fprintf(w, "time\t%s\n", h.Time.Format(time.RFC3339Nano))
	fmt.Fprintf(w, "WAL\t%s bytes at %s\tsalts %08x %08x\n", humanize.Comma(h.WALSize), humanize.Comma(h.WALOffset), h.WALSalt1, h.WALSalt2)
	fmt.Fprintf(w, "node ID\t%016x\n", h.NodeID)
	fmt.Fprintf(w, "database checksum\tbefore %s\tafter %s\n", h.PreApplyChecksum, d.Trailer.PostApplyChecksum)
	fmt.Fprintf(w, "file checksum\t%s\tverified\n", d.Trailer.FileChecksum)
	fmt.Fprintf(w, "page index\t%s bytes at %s\t%s\n", humanize.Comma(d.Index.Size), humanize.Comma(d.Index.Offset), count(len(d.Pages), "page"))
	if err := w.Flush(); err != nil {
		return err
	}
	if len(d.Pages) == 0 {
		return nil
	}
	w = tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "\nPAGE\tOFFSET\tSIZE\t\n")
	for _, p := range d.Pages {
		fmt.Fprintf(w, "%d\t%d\t%d\t\n", p.Page, p.Offset, p.Size)
	}
	return w.Flush()
}

// Validate finds mistakes before the command does anything.
func (c *dumpCmd) Validate() error {
	switch {
	case c.In != "" && isURL(c.In):
		return storage.Check(c.In)
	case c.In == "" && isURL(c.File):
		return storage.Check(c.File)
	}
	return nil
}
