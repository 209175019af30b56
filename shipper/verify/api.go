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
// Often there are none, because another level holds them, too. A whole file that contradicts
// other levels is worse than a damaged file: a restore uses it and cannot notice.
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

// Options says how to verify. The zero value is silent.
type Options struct {
	// Found is called with each problem when it is found, if not nil.
	Found func(Problem)

	// Progress is called after each file, if not nil.
	Progress func(Progress)

	// Logger gets a warning for each download that is resumed; nil is silent.
	Logger *slog.Logger
}

// Progress is how far it is.
type Progress struct {
	TXID  format.TXID // the newest
	Files int         // read
	Bytes int64       // read

	TotalFiles int
	TotalBytes int64
}

// Result is what was found. Its JSON is what walvfs verify --json prints.
type Result struct {
	Replica    string      `json:"replica"`
	OK         bool        `json:"ok"` // nothing is wrong
	Problems   []Problem   `json:"problems"`
	Files      int         `json:"files"`
	Bytes      int64       `json:"bytes"`
	TXID       format.TXID `json:"txid"`            // the newest
	Restorable format.TXID `json:"restorable_txid"` // the newest that can be restored, 0 if none can
	Lost       int         `json:"lost_txids"`      // that could be restored if no file were damaged
	Time       time.Time   `json:"time,omitzero"`   // of the newest
	PageSize   uint32      `json:"page_size"`       // bytes
	Pages      uint32      `json:"pages"`           // size of the database
	DurationMS int64       `json:"duration_ms"`
}

// Problem is one thing that is wrong.
type Problem struct {
	Key     string `json:"key,omitempty"` // the object's
	Problem string `json:"problem"`

	// Cost is what cannot be restored, or comes out wrong, because of the object. It is known at the end: in
	// the result, of the first problem with each object.
	Cost string `json:"cost,omitempty"`
}

func (p Problem) String() string {
	if p.Key == "" {
		return p.Problem
	}
	return p.Key + ": " + p.Problem
}

// Run verifies a replica. It fails if the reading the replica failed, which proves nothing,
// and with [replica.ErrNone] if there is none. What is wrong is in the result.
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

// patience is how long a download may stand still.
const patience = 2 * time.Minute

// found notes a problem, with a file if there is one.
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

// refused notes a problem with a file that a restore finds, too, and goes around.
func (v *verifier) refused(f format.FileInfo, message string, args ...any) {
	v.damaged = append(v.damaged, f)
	v.found(f, message, args...)
}
