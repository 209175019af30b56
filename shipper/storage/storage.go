// Package storage is the minimal interface of an object store for walvfs.
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
// Stores that are open at the same time share one client of their SDK, with its
// connections and its credentials, if only their bucket and path differ. So a process may
// have a store for each of ten thousand databases. The client uses the environment of the
// time when it was built: when the first store was opened or, for GCS, was first used.
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

// A Store holds the objects of one replica. All methods are safe for concurrent use, and
// every error that they return is an [*Error].
type Store interface {
	// List yields the objects whose keys begin with prefix and come after startAfter, in the
	// order of their keys, and fetches pages as the caller continues. An empty or missing
	// root yields nothing. An incomplete listing is an error, and so is a root that existed
	// before and is gone. After an error, which comes without an object, List yields nothing
	// more.
	List(ctx context.Context, prefix, startAfter string) iter.Seq2[Object, error]

	// Open reads length bytes of an object from offset; a negative length reads to the end.
	// It fails with [ErrNotExist] if the object does not exist. If the object ends earlier,
	// the reader returns fewer bytes, so a range past the object's end is empty: the caller
	// checks lengths.
	Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, Attrs, error)

	// Create writes an object, atomically, if and only if no object has that key; otherwise
	// it fails with [ErrExists] and changes nothing. A driver's SDK repeats requests whose
	// answer was lost, so the existing object may be the caller's own: read it back to find
	// out. After any other error, the object may or may not exist. If the body cannot be
	// read, it does not exist.
	Create(ctx context.Context, key string, body Body, attrs Attrs) error

	// Delete removes objects. A key that does not exist is no error.
	Delete(ctx context.Context, keys ...string) error

	// Layout returns this backend's layout of a replica's keys.
	Layout() format.Layout

	// String returns the replica's URL, without secrets.
	String() string

	// Close releases the store's connections, once no other store shares them. The store
	// must not be used after it.
	Close() error
}

// Object describes a listed object.
type Object struct {
	Key     string
	Size    int64     // bytes
	ModTime time.Time // by the store's clock; the file driver's is Attrs.Time
}

// Attrs are the attributes stored with an object, and a condition for creating it.
type Attrs struct {
	// Time is when the object's content was committed. S3 and GCS keep it in
	// the metadata "litestream-timestamp", the file driver as mtime.
	Time time.Time

	// WriteID distinguishes this write from every other. S3 and GCS keep it in the metadata
	// "walvfs-write-id"; the file driver does not keep it.
	WriteID string

	// Ready delays an object that may not be created yet, nil for no delay. Create calls it,
	// perhaps more than once, as late as possible before the object may come into being. If
	// it fails, Create creates no object, and its error wraps Ready's. Open does not set it.
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

// Body is an object's content, readable more than once so that an upload can be repeated.
// [*bytes.Reader] and [*io.SectionReader] are bodies.
type Body interface {
	io.ReaderAt
	Size() int64
}

// Errors that a caller can test for with [errors.Is].
var (
	// ErrExists: an object already has the key.
	ErrExists = errors.New("object already exists")

	// ErrNotExist: no object has the key.
	ErrNotExist = fs.ErrNotExist

	// ErrNoBucket: the bucket does not exist, or the directory is gone.
	ErrNoBucket = errors.New("bucket does not exist")

	// ErrPermission: credentials are missing, wrong, expired or insufficient.
	ErrPermission = fs.ErrPermission

	// ErrNoCondition: the store refuses put-if-absent.
	ErrNoCondition = errors.New("the store does not support put-if-absent")

	// ErrRefused: the store rejects the request, for none of the reasons above.
	ErrRefused = errors.New("the store rejects the request")
)

// Refused reports whether a store's error stays until an operator changes something, or
// credentials are renewed: [ErrPermission], [ErrNoBucket], [ErrNoCondition] or
// [ErrRefused]. The next retry can be much later. After any other error of a store, such
// as a broken connection or a busy service, a retry soon may help.
func Refused(err error) bool {
	if _, ok := errors.AsType[*Error](err); !ok {
		return false // from this machine: its own files may lack a permission, too
	}
	return errors.Is(err, ErrPermission) || errors.Is(err, ErrNoBucket) ||
		errors.Is(err, ErrNoCondition) || errors.Is(err, ErrRefused)
}

// Error says which operation on which object failed, why, and what may help.
type Error struct {
	Op   string // "list", "open", "create", "delete"
	URL  string // the replica's, without secrets
	Key  string // the object's, if any
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
