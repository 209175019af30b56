// Package verify reads a whole replica and checks it.
//
//	result, err := verify.Run(ctx, store, verify.Options{})
//
// Run reads every file of every level to its end, and checks:
//
//   - each file by itself: its size, checksum, page order, page index and TXIDs
//   - that no TXID is missing between two others
//   - that the files agree: a file of a higher level has the same pages as the levels below
//     it, as far as their files still exist, and a snapshot has the whole database
//   - that the newest TXID can be restored
//
// For each damaged file, the result says which TXIDs can only be restored with that file.
// Often no TXID depends on it, because another level holds the same TXIDs. An intact file
// that contradicts other levels is worse than a damaged file: a restore uses it without
// noticing.
//
// Run writes nothing. It reads up to 8 files at a time, and takes 16 bytes of memory for each page
// of the database and for each page of these files.
package verify

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
)

// Options sets how to verify. The zero value is silent.
type Options struct {
	// Found is called with each problem when Run finds it, if not nil.
	Found func(Problem)

	// Progress is called after each file, if not nil.
	Progress func(Progress)

	// Logger gets a warning for each download that is resumed; nil is silent.
	Logger *slog.Logger
}

// Progress is how far a run has come.
type Progress struct {
	TXID  format.TXID // the newest TXID
	Files int         // read
	Bytes int64       // read

	TotalFiles int
	TotalBytes int64
}

// Result is the result of a run. walvfs verify --json prints it as JSON.
type Result struct {
	Replica    string      `json:"replica"`
	OK         bool        `json:"ok"` // without problems
	Problems   []Problem   `json:"problems"`
	Files      int         `json:"files"`
	Bytes      int64       `json:"bytes"`
	TXID       format.TXID `json:"txid"`            // the newest TXID
	Restorable format.TXID `json:"restorable_txid"` // the newest restorable TXID, 0 if none
	Lost       int         `json:"lost_txids"`      // TXIDs that would be restorable if no file were damaged
	Time       time.Time   `json:"time,omitzero"`   // of the newest TXID
	PageSize   uint32      `json:"page_size"`       // bytes
	Pages      uint32      `json:"pages"`           // size of the database in pages
	DurationMS int64       `json:"duration_ms"`
}

// Problem is one problem of a replica.
type Problem struct {
	Key     string `json:"key,omitempty"` // the object's key
	Problem string `json:"problem"`

	// Cost says what cannot be restored, or is restored wrongly, because of the object. It
	// is known at the end: the result has it in the first problem with each object.
	Cost string `json:"cost,omitempty"`
}

func (p Problem) String() string {
	if p.Key == "" {
		return p.Problem
	}
	return p.Key + ": " + p.Problem
}

// Run verifies a replica. It fails if reading the replica failed, which proves nothing,
// and with [replica.ErrNone] if there is no replica. The result holds the problems.
func Run(ctx context.Context, store storage.Store, opts Options) (*Result, error) {
	if opts.Found == nil {
		opts.Found = func(Problem) {}
	}
	if opts.Progress == nil {
		opts.Progress = func(Progress) {}
	}
	start := time.Now()
	v := &verifier{
		opts:   opts,
		from:   replica.New(store, replica.Options{Patience: patience, Logger: opts.Logger}),
		result: Result{Replica: store.String(), Problems: []Problem{}},
		bad:    map[format.FileInfo]int{},
		sizes:  map[format.FileInfo]uint32{},
	}
	if err := v.run(ctx); err != nil {
		return nil, err
	}
	v.result.OK = len(v.result.Problems) == 0
	v.result.DurationMS = time.Since(start).Milliseconds()
	return &v.result, nil
}

// patience is how long a download may stall.
const patience = 2 * time.Minute

// found records a problem, with a file if it concerns one.
func (v *verifier) found(f format.FileInfo, message string, args ...any) {
	p := Problem{Problem: fmt.Sprintf(message, args...)}
	if f != (format.FileInfo{}) {
		p.Key = v.from.Key(f)
		if _, ok := v.bad[f]; !ok {
			v.bad[f] = len(v.result.Problems)
		}
	}
	v.result.Problems = append(v.result.Problems, p)
	v.opts.Found(p)
}

// refused records a problem with a file that a restore notices, too, and avoids.
func (v *verifier) refused(f format.FileInfo, message string, args ...any) {
	v.damaged = append(v.damaged, f)
	v.found(f, message, args...)
}
