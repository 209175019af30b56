package restore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/walvfs/walvfs/format"
)

// A preview predicts the restore, request for request, and does not touch the disk.
func TestPreview(t *testing.T) {
	s := newSource(t)
	s.random(20)
	s.ship(format.LevelSnapshot, 1, 12)
	s.ship(1, 13, 18)
	for name, opts := range map[string]Options{
		"newest":              {},
		"of level 1":          {TXID: 18},
		"older":               {TXID: 7},
		"to be gone on from":  {TXID: 18, Rewind: true},
		"the newest, rewound": {TXID: 20, Rewind: true},
	} {
		dir := t.TempDir()
		target := filepath.Join(dir, "app.db")
		p, err := Prepare(t.Context(), s.store, target, opts)
		if err != nil {
			t.Fatal(name, err)
		}
		if found, _ := os.ReadDir(dir); len(found) > 0 {
			t.Errorf("%s: %v was created", name, found)
		}
		e, err := p.Estimate(t.Context())
		if err != nil || e.Duration <= 0 || e.Sampled <= 0 || e.Sampled > p.Plan.Bytes() {
			t.Errorf("%s: estimate %+v, %v", name, e, err)
		}
		s.store.opens = nil
		r, err := Restore(t.Context(), s.store, target, opts)
		if err != nil {
			t.Fatal(name, err)
		}
		if got := len(s.store.opens); got != p.Reads {
			t.Errorf("%s: %d requests, and %d were foreseen", name, got, p.Reads)
		}
		if r.TXID != p.Header.MaxTXID || r.Pages != p.Header.Commit || r.PageSize != p.Header.PageSize || r.Files != len(p.Plan.Apply) || r.Bytes != p.Plan.Bytes() || r.Newest != p.Newest {
			t.Errorf("%s: %+v, and %+v was foreseen", name, r, p)
		}

		// Prepare finds a file that prevents the restore.
		if _, err := Prepare(t.Context(), s.store, target, opts); !errors.Is(err, ErrExists) {
			t.Errorf("%s: over a database: %v", name, err)
		}
		opts.Force = true
		if _, err := Prepare(t.Context(), s.store, target, opts); err != nil {
			t.Errorf("%s: forced: %v", name, err)
		}
	}
}

// A preview does not use a plan whose last file is damaged, and neither does a restore.
func TestPreviewOfDamage(t *testing.T) {
	s := newSource(t)
	s.random(20)
	key := s.ship(1, 1, 20)
	clear(s.store.objects[key][:4])
	p, err := Prepare(t.Context(), s.store, "", Options{})
	if err != nil || len(p.Plan.Apply) != 20 || p.Header.MaxTXID != 20 {
		t.Errorf("level 1 is damaged: %v, %v", p.Plan.Apply, err)
	}
	clear(s.store.objects[s.store.layout.Key(format.LevelRaw, 20, 20)][:4])
	_, err = Prepare(t.Context(), s.store, "", Options{})
	if e, ok := errors.AsType[*Error](err); !ok || !errors.Is(err, format.ErrCorrupt) || !strings.Contains(e.Hint, "0000000000000013") {
		t.Errorf("both are damaged: %v", err)
	}
}

// Write writes a database from its first byte to its last, or nothing.
func TestWrite(t *testing.T) {
	s := newSource(t)
	s.random(20)
	s.ship(format.LevelSnapshot, 1, 12)
	for _, txid := range []format.TXID{7, 12, 20} {
		dir := t.TempDir()
		var out bytes.Buffer
		r, err := Write(t.Context(), s.store, &out, dir, Options{TXID: txid})
		if err != nil || r.TXID != txid || !bytes.Equal(out.Bytes(), s.images[txid]) {
			t.Errorf("TXID %s: %+v with %d bytes, %v", txid, r, out.Len(), err)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("TXID %s: %v are left", txid, left)
		}
	}

	key := s.store.layout.Key(format.LevelRaw, 20, 20)
	whole := s.store.objects[key]
	s.store.objects[key] = bytes.Clone(whole)
	s.store.objects[key][len(whole)-20] ^= 1
	var out bytes.Buffer
	if _, err := Write(t.Context(), s.store, &out, t.TempDir(), Options{}); !errors.Is(err, format.ErrCorrupt) || out.Len() > 0 {
		t.Errorf("a damaged file: %d bytes, %v", out.Len(), err)
	}
	s.store.objects[key] = whole

	if _, err := Write(t.Context(), s.store, &out, filepath.Join(t.TempDir(), "none"), Options{}); err == nil || !strings.Contains(err.Error(), "a temporary file in ") || out.Len() > 0 {
		t.Errorf("no directory: %d bytes, %v", out.Len(), err)
	}
	r, w := io.Pipe()
	r.Close()
	if _, err := Write(t.Context(), s.store, w, t.TempDir(), Options{}); !errors.Is(err, io.ErrClosedPipe) || !strings.Contains(err.Error(), "write the database") {
		t.Errorf("a closed pipe: %v", err)
	}

	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("interrupted")
	stop := writerFunc(func(b []byte) (int, error) { cancel(cause); return len(b), nil })
	if _, err := Write(ctx, s.store, stop, t.TempDir(), Options{}); !errors.Is(err, cause) {
		t.Errorf("interrupted: %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
