package reader

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// silently changes a page of a file so that it decompresses to another page. Only the
// checksum of the whole file shows that.
func silently(t *testing.T, s *source, f *file, whole []byte, pgno uint32) []byte {
	t.Helper()
	e, ok, err := f.find(t.Context(), pgno)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	right, page := make([]byte, testPageSize), make([]byte, testPageSize)
	for i := e.Offset; i < e.End(); i++ {
		bad := bytes.Clone(whole)
		bad[i] ^= 1
		var d format.PageDecoder
		if s.replica.DecodePage(&d, f.info, e, whole[e.Offset:e.End()], right) != nil {
			t.Fatal("the intact page cannot be read")
		}
		if s.replica.DecodePage(&d, f.info, e, bad[e.Offset:e.End()], page) == nil && !bytes.Equal(page, right) {
			return bad
		}
	}
	t.Fatal("no damage is silent")
	return nil
}

func object(t *testing.T, store storage.Store, key string) ([]byte, storage.Attrs) {
	t.Helper()
	r, attrs, err := store.Open(t.Context(), key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b, attrs
}

// damagedReplica opens all files of a replica, and then damages one: one of its pages
// reads as another page. With others, other files lead to the same TXID.
func damagedReplica(t *testing.T, others bool) (c *conn, state []format.TXID, key string) {
	t.Helper()
	intact, state := largeReplica(t)
	if others {
		put(t, intact, 8, encode(t, 1, 2, uint32(len(state)), state))
	}
	store := &flipped{Memory: intact}
	s := testSource(store)
	t.Cleanup(func() { s.pages.cancel(); s.pages.background.Wait() })
	v := newestView(t, s)
	key = s.replica.Key(v.base.info)
	whole, attrs := object(t, intact, key)
	store.bytes, store.attrs = silently(t, s, v.base, whole, 9998), attrs
	store.key = key
	return &conn{source: s, view: v}, state, key
}

// verify finds a page that reads as another page. Reads avoid the file from then on,
// although every listing has it.
func TestVerify(t *testing.T) {
	c, state, key := damagedReplica(t, true)
	page := make([]byte, testPageSize)
	if err := c.source.pages.read(t.Context(), c.view, 9998, page); err != nil || bytes.Equal(page, content(9998, state[9997])) {
		t.Fatalf("the damage can be seen without a look at the whole file: %v", err)
	}
	got, err := c.ask("walvfs_verify", "")
	if err != nil || !strings.HasPrefix(got, key+": ") || !strings.Contains(got, "checksum") || strings.Contains(got, "\n") {
		t.Errorf("%q, %v", got, err)
	}
	requireState(t, c.source, c.view, state)
	if got, err := c.ask("walvfs_verify", ""); err != nil || got != "ok" {
		t.Errorf("of the other files: %q, %v", got, err)
	}
	again, err := c.source.replan(t.Context(), c.view)
	if err != nil {
		t.Fatal(err)
	}
	requireState(t, c.source, again, state)
}

// verify names a damaged file that nothing replaces, and the file's other pages stay
// readable.
func TestVerifyWithoutOthers(t *testing.T) {
	c, state, key := damagedReplica(t, false)
	for range 2 {
		got, err := c.ask("walvfs_verify", "")
		if lines := strings.Split(got, "\n"); err != nil || len(lines) != 2 || !strings.HasPrefix(lines[0], key+": ") || !strings.Contains(lines[1], "no other files lead to TXID 0000000000000002") {
			t.Errorf("%q, %v", got, err)
		}
	}
	if next, err := c.source.replan(t.Context(), c.view); err != nil || next.base.info != c.view.base.info {
		t.Errorf("%v", err)
	}
	state = state[:9000]
	page := make([]byte, testPageSize)
	for i, txid := range state {
		if err := c.source.pages.read(t.Context(), c.view, uint32(i+1), page); err != nil || !bytes.Equal(page, content(uint32(i+1), txid)) {
			t.Fatalf("page %d: %v", i+1, err)
		}
	}
}

// verify names a missing file and a replaced file. A store that fails proves nothing.
func TestVerifyOtherThanDamage(t *testing.T) {
	intact := &storagetest.Memory{Name: "app"}
	state := history(t, intact, 3, 40)
	s := testSource(intact)
	v := newestView(t, s)
	c := &conn{source: s, view: v}
	if got, err := c.ask("walvfs_verify", ""); err != nil || got != "ok" {
		t.Errorf("intact: %q, %v", got, err)
	}
	broken := errors.New("broken")
	intact.SetBefore(func(context.Context, string, string) error { return broken })
	if got, err := c.ask("walvfs_verify", ""); !errors.Is(err, broken) || got != "" {
		t.Errorf("a store that fails: %q, %v", got, err)
	}
	intact.SetBefore(nil)
	last := s.replica.Key(v.files[2].info)
	if err := intact.Delete(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	if got, err := c.ask("walvfs_verify", ""); err != nil || !strings.HasPrefix(got, last+": it no longer exists\n") {
		t.Errorf("gone: %q, %v", got, err)
	}
	put(t, intact, 0, encode(t, 3, 3, 40, append(state[1:], state[0]))) // of the same size, and intact
	if got, err := c.ask("walvfs_verify", ""); err != nil || !strings.HasPrefix(got, last+": another file replaced it") {
		t.Errorf("replaced: %q, %v", got, err)
	}
}
