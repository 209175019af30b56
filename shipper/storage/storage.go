// Package storage is what walvfs needs of an object store, and no more.
//
// A [Store] is one replica's root: a bucket and a path in it, or a directory.
// Keys are relative to it, use forward slashes and sort bytewise. Drivers
// register a URL scheme when they are imported, as image formats and
// database/sql drivers do, so that a program links only the SDKs it uses:
//
//	import _ "github.com/walvfs/walvfs/shipper/storage/s3"
//
//	store, err := storage.Open(ctx, "s3://bucket/app", storage.Options{})
//
// Stores that are open at the same time and configured alike, but for bucket and
// path, share one client of their SDK, with its connections and its credentials. So a
// process may have a store for each of ten thousand databases. The environment counts
// as it was when the first of them was opened.
//
// Every driver passes the suite of package storagetest.
package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"
	"time"

	"github.com/walvfs/walvfs/format"
)

// A Store holds the objects of one replica. All methods are safe for
// concurrent use. Every error that they return is an [*Error].
type Store interface {
	// List yields the objects whose keys begin with prefix and come after
	// startAfter, in the order of their keys, fetching page by page as the
	// caller goes on. An empty or missing root yields nothing. An answer that is
	// no whole listing is an error, and so is a root that was there before and is
	// gone. After an error, which has no object, nothing more is yielded.
	List(ctx context.Context, prefix, startAfter string) iter.Seq2[Object, error]

	// Open reads length bytes of an object from offset; a negative length
	// reads to the end. It fails with [ErrNotExist] if there is no such object.
	// Bytes that the object does not have are missing from the reader's end, so
	// a range past the object's end is empty: the caller checks lengths.
	Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, Attrs, error)

	// Create writes an object, atomically, if and only if no object has that
	// key; otherwise it fails with [ErrExists] and changes nothing. A driver's
	// SDK repeats requests whose answer was lost, so the object that exists may
	// be the caller's own: reading it back tells. Any other error leaves open
	// whether the object was written. A body that cannot be read leaves none.
	Create(ctx context.Context, key string, body Body, attrs Attrs) error

	// Delete removes objects. Keys that do not exist are no error.
	Delete(ctx context.Context, keys ...string) error

	// Layout is how this backend spells the keys of a replica.
	Layout() format.Layout

	// String returns the replica's URL, without secrets.
	String() string

	// Close releases the store's connections, once no other store shares them.
	// Nothing may be done with the store after it.
	Close() error
}

// Object is what a listing tells of an object.
type Object struct {
	Key     string
	Size    int64     // bytes
	ModTime time.Time // as the store says; the file driver's is Attrs.Time
}

// Attrs is what is stored with an object, beside its bytes, and when it may be.
type Attrs struct {
	// Time is when the object's content was committed. S3 and GCS keep it in
	// the metadata "litestream-timestamp", the file driver as mtime.
	Time time.Time

	// WriteID tells this write from every other. S3 and GCS keep it in the
	// metadata "walvfs-write-id"; the file driver does not keep it.
	WriteID string

	// Ready holds an object back that is not to be created yet, nil for none. Create
	// calls it, perhaps more than once, as late as it can before the object may come
	// into being. If it fails, no object is created, and the error wraps Ready's.
	// Open has none.
	Ready func() error
}

// AwaitReady waits until the object may be created.
func (a Attrs) AwaitReady() error {
	if a.Ready == nil {
		return nil
	}
	return a.Ready()
}

// Names of object metadata.
const (
	MetaTime    = "litestream-timestamp" // RFC 3339 with nanoseconds
	MetaWriteID = "walvfs-write-id"
)

// Body is an object's content, readable more than once so that an upload can
// be repeated. [*bytes.Reader] and [*io.SectionReader] are bodies.
type Body interface {
	io.ReaderAt
	Size() int64
}

// What a caller may decide on with [errors.Is].
var (
	// ErrExists: an object has the key already.
	ErrExists = errors.New("object already exists")

	// ErrNotExist: there is no object with that key.
	ErrNotExist = fs.ErrNotExist

	// ErrNoBucket: the bucket does not exist, or the directory is gone.
	ErrNoBucket = errors.New("bucket does not exist")

	// ErrPermission: credentials are missing, wrong, expired or not enough.
	ErrPermission = fs.ErrPermission

	// ErrNoCondition: the store refuses put-if-absent.
	ErrNoCondition = errors.New("the store does not support put-if-absent")

	// ErrRefused: the store rejects the request as it is, for a reason that is none
	// of the above.
	ErrRefused = errors.New("the store rejects the request")
)

// Refused reports whether a store gave an error that stays until a person changes
// something, or credentials are renewed: [ErrPermission], [ErrNoBucket],
// [ErrNoCondition] or [ErrRefused]. The next try may be much later. After any other
// error of a store, such as a broken connection or a busy service, a try soon can help.
func Refused(err error) bool {
	if _, ok := errors.AsType[*Error](err); !ok {
		return false // of this machine: its own files may lack a permission, too
	}
	return errors.Is(err, ErrPermission) || errors.Is(err, ErrNoBucket) ||
		errors.Is(err, ErrNoCondition) || errors.Is(err, ErrRefused)
}

// Error says which operation on which object failed, why, and what may help.
type Error struct {
	Op   string // "list", "open", "create", "delete"
	URL  string // the replica's, without secrets
	Key  string // the object's, if there is one
	Err  error
	Hint string // a remedy, if one is known
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", e.Op, e.URL)
	if e.Key != "" {
		fmt.Fprintf(&b, "/%s", e.Key)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	if e.Hint != "" {
		fmt.Fprintf(&b, " (%s)", e.Hint)
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }
