package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
)

type verifyCmd struct {
	replicaArg
	JSON  bool `name:"json" help:"Print the result as a JSON object."`
	Quiet bool `short:"q" help:"Print only what is wrong."`
}

// Help is shown below the synopsis.
func (*verifyCmd) Help() string {
	return `Every file of every level is read to its end. What is checked:

	- each file's size, checksum, page order and TXIDs
	- that no TXID is missing: none that only snapshots hold
	- that a file of a higher level has the pages that level 0 says, as far as level 0 still has them, and those of the levels between; a snapshot, the whole database
	- that the newest TXID can be restored

Nothing is written, and nothing is stored locally: it takes 16 bytes of memory for each page of the database. Files that retention removes meanwhile are no mistake.

Examples:

	walvfs verify s3://bucket/app

	# From cron, which sends mail if there is output.
	0 4 * * 0  walvfs verify --quiet s3://bucket/app

Exit statuses: 0 all is right, 1 it could not be read, 2 wrong command line or configuration, 3 no replica at the URL, 4 something is wrong, 130 interrupted.`
}

// Validate finds mistakes before anything is done.
func (c *verifyCmd) Validate() error { return c.check() }

func (c *verifyCmd) Run(a *app) error {
	store, _, err := c.open(a)
	if err != nil {
		return err
	}
	defer store.Close()
	start := time.Now()
	v := &verifier{store: store, say: func(p problem) {
		if !c.JSON {
			fmt.Fprintln(a.stdout, p)
		}
	}}
	progress := a.newProgress(c.Quiet, "verifying "+store.String())
	err = v.run(a.ctx, progress.update)
	progress.end()
	if err != nil {
		return err
	}
	v.result.DurationMS = time.Since(start).Milliseconds()
	return c.done(a, &v.result)
}

func (c *verifyCmd) done(a *app, r *verified) error {
	var err error
	switch {
	case c.JSON:
		err = a.printJSON(r)
	case !r.OK:
		_, err = fmt.Fprintf(a.stdout, "%s: damaged: %s found in %s (%s); %s\n", r.Replica,
			count(len(r.Problems), "problem"), count(r.Files, "file"), humanize.IBytes(uint64(r.Bytes)), r.restorable())
	case !c.Quiet:
		_, err = fmt.Fprintf(a.stdout, "%s: ok: %s, %s; the newest state is TXID %s of %s, with %s pages of %d bytes\n", r.Replica,
			count(r.Files, "file"), humanize.IBytes(uint64(r.Bytes)), r.TXID, r.Time.Format(time.RFC3339), humanize.Comma(int64(r.Pages)), r.PageSize)
	}
	if err == nil && !r.OK {
		err = errDamaged
	}
	return err
}

// verified is what --json prints.
type verified struct {
	Replica    string      `json:"replica"`
	OK         bool        `json:"ok"`
	Problems   []problem   `json:"problems"`
	Files      int         `json:"files"`
	Bytes      int64       `json:"bytes"`
	TXID       format.TXID `json:"txid"`            // the newest
	Restorable format.TXID `json:"restorable_txid"` // the newest that can be restored
	Time       time.Time   `json:"time,omitzero"`
	PageSize   uint32      `json:"page_size"`
	Pages      uint32      `json:"pages"`
	DurationMS int64       `json:"duration_ms"`
}

func (r *verified) restorable() string {
	switch r.Restorable {
	case 0:
		return "nothing can be restored"
	case r.TXID:
		return "the newest state, TXID " + r.TXID.String() + ", can be restored"
	}
	return "TXID " + r.Restorable.String() + " is the newest that can be restored"
}

// problem is one thing that is wrong.
type problem struct {
	Key     string `json:"key,omitempty"` // the object's
	Problem string `json:"problem"`
}

func (p problem) String() string {
	if p.Key == "" {
		return p.Problem
	}
	return p.Key + ": " + p.Problem
}

// verifier is one run of verify.
type verifier struct {
	store  storage.Store
	say    func(problem)
	result verified

	bad     map[format.FileInfo]bool
	sizes   map[format.FileInfo]uint32 // of pages, in bytes
	removed bool                       // by retention, meanwhile
}

func (v *verifier) run(ctx context.Context, progress func(restore.Progress)) error {
	files, err := restore.ListFiles(ctx, v.store)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return noReplica(v.store)
	}
	v.result.Replica, v.result.Problems = v.store.String(), []problem{}
	v.bad, v.sizes = map[format.FileInfo]bool{}, map[format.FileInfo]uint32{}
	if err := v.contents(ctx, files, progress); err != nil {
		return err
	}
	if v.removed {
		if files, err = restore.ListFiles(ctx, v.store); err != nil {
			return err
		}
		files = slices.DeleteFunc(files, func(f format.FileInfo) bool { return f.MaxTXID > v.result.TXID })
	}
	v.chain(files)
	v.result.OK = len(v.result.Problems) == 0
	return nil
}

func (v *verifier) found(f format.FileInfo, message string, args ...any) {
	p := problem{Problem: fmt.Sprintf(message, args...)}
	if f != (format.FileInfo{}) {
		p.Key = keyOf(v.store, f)
		v.bad[f] = true
	}
	v.result.Problems = append(v.result.Problems, p)
	v.say(p)
}

// contents reads all files and compares them.
func (v *verifier) contents(ctx context.Context, files []format.FileInfo, progress func(restore.Progress)) error {
	slices.SortFunc(files, func(f, g format.FileInfo) int {
		return cmp.Or(cmp.Compare(f.MaxTXID, g.MaxTXID), cmp.Compare(f.Level, g.Level), cmp.Compare(f.MinTXID, g.MinTXID))
	})
	newest := files[len(files)-1].MaxTXID
	at := restore.Progress{TXID: newest, TotalFiles: len(files)}
	for _, f := range files {
		at.TotalBytes += f.Size
	}
	v.result.TXID = newest
	state := &replay{problem: v.found}
	for f := range readAhead(ctx, v.store, files) {
		switch gone, err := v.failed(ctx, f); {
		case err != nil:
			return err
		case gone:
			continue
		}
		at.Files++
		at.Bytes += f.Size
		progress(at)
		if f.err != nil {
			continue
		}
		v.sizes[f.FileInfo] = f.header.PageSize
		if f.MaxTXID == newest && v.result.Time.IsZero() {
			v.result.Time = time.UnixMilli(f.header.Timestamp).UTC()
			v.result.PageSize, v.result.Pages = f.header.PageSize, f.header.Commit
		}
		state.file(f)
	}
	v.result.Files, v.result.Bytes = at.Files, at.Bytes
	return ctx.Err()
}

// failed looks at why a file could not be read: it may be damaged, which is what
// we are here to find, gone, or out of reach, which proves nothing.
func (v *verifier) failed(ctx context.Context, f *fileHashes) (gone bool, err error) {
	switch {
	case f.err == nil:
		return false, nil
	case errors.Is(f.err, format.ErrCorrupt):
		v.found(f.FileInfo, "%s", strings.TrimPrefix(f.err.Error(), "format: "))
		return false, nil
	case !errors.Is(f.err, storage.ErrNotExist):
		return false, fmt.Errorf("read %s/%s: %w", v.store, keyOf(v.store, f.FileInfo), f.err)
	}
	key := keyOf(v.store, f.FileInfo)
	for o, err := range v.store.List(ctx, key, "") {
		if err != nil {
			return false, err
		}
		if o.Key == key {
			v.found(f.FileInfo, "it is listed, but does not exist")
			return false, nil
		}
	}
	v.removed = true
	return true, nil
}

// chain checks what the keys tell, and finds the newest TXID that a restore gives
// as it was: one whose restore takes none of the files that are wrong.
func (v *verifier) chain(files []format.FileInfo) {
	for _, h := range holes(files) {
		v.found(format.FileInfo{}, "%s", h)
	}
	if err := v.restorable(files, v.result.TXID); err == nil {
		v.result.Restorable = v.result.TXID
		return
	} else {
		v.found(format.FileInfo{}, "TXID %s, the newest, cannot be restored: %v", v.result.TXID, err)
	}
	for _, txid := range slices.Backward(format.Restorable(files)) {
		if v.restorable(files, txid) == nil {
			v.result.Restorable = txid
			return
		}
	}
}

// restorable finds a mistake in the files that a restore takes.
func (v *verifier) restorable(files []format.FileInfo, txid format.TXID) error {
	plan, err := format.Plan(files, txid)
	if err != nil {
		return err
	}
	for i, f := range plan {
		if v.bad[f] {
			return fmt.Errorf("that takes %s", keyOf(v.store, f))
		}
		if i == 0 || f.MinTXID == 1 {
			continue
		}
		// Of a file that came while others were read, the size is not known.
		before, size := v.sizes[plan[i-1]], v.sizes[f]
		if before != size && before != 0 && size != 0 {
			return fmt.Errorf("pages have %d bytes in %s and %d in %s", before, keyOf(v.store, plan[i-1]), size, keyOf(v.store, f))
		}
	}
	return nil
}
