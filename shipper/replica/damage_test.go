package replica_test

import (
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// If any byte of a file changes, a whole read finds it, or it does no harm. A partial
// read returns the original content or a Damaged, and no other error.
func TestEveryByte(t *testing.T) {
	whole := encode(t, 7, 9, 100, 1, 2, 50, 100)
	f := info(1, 7, 9, whole)
	harmless := 0
	for i := range whole {
		b := slices.Clone(whole)
		b[i] ^= 0x55
		store := &storagetest.Memory{}
		putAs(t, store, store.Layout().Key(1, 7, 9), b)
		r := replica.New(store, replica.Options{})
		pages := map[uint32]string{}
		_, _, err := r.Decode(t.Context(), f, func(_ format.LTXHeader, pgno uint32, page []byte) error {
			pages[pgno] = string(page)
			return nil
		})
		if err == nil {
			harmless++
			for _, pgno := range []uint32{1, 2, 50, 100} {
				if pages[pgno] != string(content(pgno, 9)) {
					t.Fatalf("byte %d: page %d is another one, and passes", i, pgno)
				}
			}
		}
		_, _, errEnds := r.Ends(t.Context(), f)
		x, errIndex := r.Index(t.Context(), f)
		errs := []error{err, errEnds, errIndex}
		if x != nil {
			page := make([]byte, pageSize)
			for e := range x.All() {
				errs = append(errs, r.Page(t.Context(), f, e, page))
			}
		}
		for _, err := range errs {
			if bad, ok := errors.AsType[*replica.Damaged](err); err != nil && (!ok || bad.File != f || !errors.Is(err, format.ErrCorrupt)) {
				t.Fatalf("byte %d: %v", i, err)
			}
		}
	}
	if harmless > len(whole)/20 {
		t.Errorf("%d of %d bytes can be changed", harmless, len(whole))
	}
}

// A truncated or extended file is damaged, wherever it ends.
func TestEveryLength(t *testing.T) {
	whole := encode(t, 7, 9, 100, 1, 2, 50, 100)
	for _, listed := range []bool{true, false} { // whether the listing has the size
		for n := range len(whole) + 3 {
			if n == len(whole) {
				continue
			}
			b := append(slices.Clone(whole), 0, 0, 0)[:n]
			f := info(1, 7, 9, whole)
			if listed {
				f.Size = int64(n)
			}
			store := &storagetest.Memory{}
			putAs(t, store, store.Layout().Key(1, 7, 9), b)
			r := replica.New(store, replica.Options{})
			_, _, err := r.Decode(t.Context(), f, nil)
			if _, ok := errors.AsType[*replica.Damaged](err); !ok {
				t.Errorf("%d of %d bytes: %v", n, len(whole), err)
			}
			for _, err := range []error{second(r.Header(t.Context(), f)), second(r.Trailer(t.Context(), f)), second(r.Index(t.Context(), f))} {
				if _, ok := errors.AsType[*replica.Damaged](err); err != nil && !ok {
					t.Errorf("%d of %d bytes: %v", n, len(whole), err)
				}
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }

// A file under another file's key is damaged.
func TestWrongKey(t *testing.T) {
	b := encode(t, 7, 9, 100, 1)
	store := &storagetest.Memory{}
	putAs(t, store, store.Layout().Key(1, 8, 9), b)
	r := replica.New(store, replica.Options{})
	f := info(1, 8, 9, b)
	_, _, errDecode := r.Decode(t.Context(), f, nil)
	for _, err := range []error{second(r.Header(t.Context(), f)), errDecode} {
		if _, ok := errors.AsType[*replica.Damaged](err); !ok {
			t.Errorf("%v", err)
		}
	}
}

// Wrong numbers in a small file do not make the package allocate memory.
func TestForgedNumbers(t *testing.T) {
	whole := encode(t, 7, 9, 1<<31, 1<<31)
	for name, forge := range map[string]func(b []byte){
		"index size":    func(b []byte) { binary.BigEndian.PutUint64(b[len(b)-format.PageIndexTail:], 1<<40) },
		"page size":     func(b []byte) { binary.BigEndian.PutUint32(b[format.LTXHeaderSize+6:], 1<<31) },
		"size of index": func(b []byte) { copy(b[len(b)-format.PageIndexTail-8:], "\xff\xff\xff\xff\xff\xff\x7f\x00") },
	} {
		b := slices.Clone(whole)
		forge(b)
		store := &storagetest.Memory{}
		putAs(t, store, store.Layout().Key(1, 7, 9), b)
		r := replica.New(store, replica.Options{})
		f := info(1, 7, 9, b)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := r.Decode(t.Context(), f, nil)
		_, errIndex := r.Index(t.Context(), f)
		errPage := r.Page(t.Context(), f, format.PageEntry{Number: 1, Offset: 100, Size: 1 << 40}, make([]byte, pageSize))
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
			t.Errorf("%s: %d bytes were allocated", name, n)
		}
		for _, err := range []error{errors.Join(err, errIndex), errPage} {
			if _, ok := errors.AsType[*replica.Damaged](err); !ok {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// A fault of the store is neither damage nor absence.
func TestFault(t *testing.T) {
	store, r := newReplica(t)
	files, err := r.Files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fault := errors.New("no route to host")
	store.SetBefore(func(context.Context, string, string) error { return fault })
	f := files[0].FileInfo
	_, _, errDecode := r.Decode(t.Context(), f, nil)
	_, errFiles := r.Files(t.Context())
	for _, err := range []error{second(r.Header(t.Context(), f)), second(r.Index(t.Context(), f)), errDecode, errFiles} {
		_, damaged := errors.AsType[*replica.Damaged](err)
		_, missing := errors.AsType[*replica.Missing](err)
		if damaged || missing || !errors.Is(err, fault) {
			t.Errorf("%v", err)
		}
		if _, ok := errors.AsType[*storage.Error](err); !ok {
			t.Errorf("%v does not name the object", err)
		}
	}
}

// The bytes at an entry's position must be its page: an index read alone may belong to
// another file.
func TestPageElsewhere(t *testing.T) {
	b := encode(t, 7, 9, 100, 1, 2, 50, 100)
	store := &storagetest.Memory{}
	putAs(t, store, store.Layout().Key(1, 7, 9), b)
	r := replica.New(store, replica.Options{})
	f := info(1, 7, 9, b)
	x, err := r.Index(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	e, _ := x.Find(50)
	page := make([]byte, pageSize)
	for name, wrong := range map[string]format.PageEntry{
		"number":           {Number: 51, Offset: e.Offset, Size: e.Size},
		"offset":           {Number: 50, Offset: e.Offset + 1, Size: e.Size - 1},
		"size, too small":  {Number: 50, Offset: e.Offset, Size: e.Size - 1},
		"size, too large":  {Number: 50, Offset: e.Offset, Size: e.Size + 1},
		"behind the end":   {Number: 50, Offset: f.Size, Size: e.Size},
		"negative":         {Number: 50, Offset: -1, Size: e.Size},
		"another's header": {Number: 50, Offset: 0, Size: e.Size},
	} {
		if err := r.Page(t.Context(), f, wrong, page); err == nil {
			t.Errorf("%s: it is taken", name)
		} else if _, ok := errors.AsType[*replica.Damaged](err); !ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := r.Page(t.Context(), f, e, page); err != nil || string(page) != string(content(50, 9)) {
		t.Error(err)
	}
}
