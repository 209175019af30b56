package replica_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// A listing begins at the requested TXID in level 0, and has every file of the other
// levels.
func TestList(t *testing.T) {
	store, r := newReplica(t)
	putAs(t, store, "0000/notes.txt", []byte("not ours"))
	putAs(t, store, "0001/0000000000000001-0000000000000002.ltx.tmp", []byte("not ours"))
	for _, test := range []struct {
		from format.TXID
		want []string
	}{
		{0, []string{"0/1-1", "0/2-2", "0/3-3", "0/4-4", "0/5-5", "0/6-6", "0/7-7", "0/8-8", "1/1-4", "1/5-8", "9/1-4"}},
		{7, []string{"0/7-7", "0/8-8", "1/1-4", "1/5-8", "9/1-4"}},
		{9, []string{"1/1-4", "1/5-8", "9/1-4"}},
	} {
		files, err := replica.Collect(r.List(t.Context(), test.from))
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "from "+test.from.String(), files.Infos(), test.want...)
	}
	files, err := replica.Collect(r.ListLevel(t.Context(), 1, 5))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "level 1", files.Infos(), "1/5-8")
}

// Files of another level replace a damaged file, and lead to the same TXID.
func TestPlanWithout(t *testing.T) {
	_, r := newReplica(t)
	p, err := r.Plan(t.Context(), replica.Target{})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "plan", p.Apply, "9/1-4", "1/5-8")
	if p, err = p.Without(p.Apply[1]); err != nil {
		t.Fatal(err)
	}
	equal(t, "without level 1", p.Apply, "9/1-4", "0/5-5", "0/6-6", "0/7-7", "0/8-8")
	if p, err = p.Without(p.Apply[0]); err != nil {
		t.Fatal(err)
	}
	equal(t, "without the snapshot", p.Apply, "1/1-4", "0/5-5", "0/6-6", "0/7-7", "0/8-8")
	if _, err = p.Without(p.Apply[2]); err == nil {
		t.Error("there is a plan without TXID 6")
	}
}

// A file's time is the time in its header. A damaged header does not prevent a search,
// unless its TXID may be the answer.
func TestTXIDAt(t *testing.T) {
	store, r := newReplica(t)
	at := func(n int64) time.Time { return time.UnixMilli(n * 1_000_000) }
	plan := func(n int64) (format.TXID, error) {
		p, err := r.Plan(t.Context(), replica.Target{Timestamp: at(n).Add(time.Second)})
		if err != nil {
			return 0, err
		}
		return p.TXID(), nil
	}
	for n := int64(1); n <= 8; n++ {
		if txid, err := plan(n); err != nil || txid != format.TXID(n) {
			t.Errorf("at %d: TXID %s, %v", n, txid, err)
		}
	}
	damage := func(level int, txid format.TXID) {
		key := store.Layout().Key(level, txid, txid)
		b := get(t, store, key)
		clear(b[:4])
		store.Delete(t.Context(), key)
		putAs(t, store, key, b)
	}
	damage(0, 4) // level 1 has it, too
	damage(0, 6)
	for n := int64(1); n <= 8; n++ {
		txid, err := plan(n)
		if bad, ok := errors.AsType[*replica.Damaged](err); ok && bad.File.MaxTXID == 6 && n >= 5 && n <= 7 {
			continue // 5 may be 6, and level 0 does not lead to 7
		}
		if err != nil || txid != format.TXID(n) {
			t.Errorf("at %d: TXID %s, %v", n, txid, err)
		}
	}
}

// Finding a time among a thousand files takes only a few consecutive requests.
func TestTXIDAtInFewRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &storagetest.Memory{}
		r := replica.New(store, replica.Options{})
		const n = 1000
		put(t, store, "", store.Layout(), 9, encode(t, 1, 1, 1, 1))
		for txid := format.TXID(2); txid <= n; txid++ {
			put(t, store, "", store.Layout(), 0, encode(t, txid, txid, 1, 1))
		}
		files, err := r.Files(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		store.SetBefore(func(context.Context, string, string) error {
			time.Sleep(30 * time.Millisecond)
			return nil
		})
		for txid := format.TXID(1); txid <= n; txid += 37 {
			began := time.Now()
			got, err := r.TXIDAt(t.Context(), files, time.UnixMilli(int64(txid)*1_000_000+1))
			if rounds := time.Since(began) / (30 * time.Millisecond); err != nil || got != txid || rounds > 3 {
				t.Fatalf("TXID %s: %s, %v, after %d rounds", txid, got, err, rounds)
			}
		}
	})
}

// A time in the future names no state yet, unless the replica's own clock is past it.
func TestTXIDAtInTheFuture(t *testing.T) {
	store, r := newReplica(t)
	soon := time.Now().Add(time.Hour)
	_, err := r.Plan(t.Context(), replica.Target{Timestamp: soon})
	if e, ok := errors.AsType[*storage.Error](err); !ok || !strings.Contains(e.Error(), "is in the future") || e.Hint == "" {
		t.Errorf("an hour from now: %v", err)
	}
	ahead := format.TXID(soon.UnixMilli()/1_000_000 + 10) // each TXID takes 1000 s
	for _, txid := range []format.TXID{ahead, ahead + 10} {
		put(t, store, "", store.Layout(), 9, encode(t, 1, txid, 1, 1))
	}
	for at, want := range map[format.TXID]format.TXID{ahead - 1: 8, ahead: ahead, ahead + 5: ahead, ahead + 10: ahead + 10, ahead + 11: 0} {
		p, err := r.Plan(t.Context(), replica.Target{Timestamp: time.UnixMilli(1_000_000 * int64(at))})
		if (want == 0) != (err != nil) || err == nil && p.TXID() != want {
			t.Errorf("%d after the replica's newest state but one: %v, %v; want %d", at-ahead, p.Apply, err, want)
		}
	}
}

// A listed file that no longer exists is a Missing, which names the file.
func TestMissing(t *testing.T) {
	store, r := newReplica(t)
	files, err := r.Files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f := files[3].FileInfo
	if there, err := r.Exists(t.Context(), f); !there || err != nil {
		t.Error(there, err)
	}
	store.Delete(t.Context(), r.Key(f))
	if there, err := r.Exists(t.Context(), f); there || err != nil {
		t.Error(there, err)
	}
	_, errHeader := r.Header(t.Context(), f)
	_, errIndex := r.Index(t.Context(), f)
	_, _, errDecode := r.Decode(t.Context(), f, nil)
	for _, err := range []error{errHeader, errIndex, errDecode} {
		if e, ok := errors.AsType[*replica.Missing](err); !ok || e.File != f || !errors.Is(err, storage.ErrNotExist) {
			t.Errorf("%v", err)
		}
	}
}

// The tip is the newest file, of the lowest level, with the data that distinguishes it
// from others.
func TestTip(t *testing.T) {
	store, r := newReplica(t)
	lists := 0
	store.SetBefore(func(_ context.Context, op, _ string) error {
		if op == "list" {
			lists++
		}
		return nil
	})
	for _, test := range []struct {
		from  format.TXID
		lists int
	}{{0, 1}, {3, 1}, {8, 1}, {20, 2}} {
		lists = 0
		tip, err := r.Tip(t.Context(), test.from)
		if err != nil || tip.Level != 0 || tip.MaxTXID != 8 || tip.Header.MaxTXID != 8 || tip.Checksum == 0 || tip.Time.UnixMilli() != 8_000_000 || lists != test.lists {
			t.Errorf("from %s: %+v, %v, with %d listings", test.from, tip, err, lists)
		}
	}
	tip, err := r.Raw(t.Context(), 3)
	if err != nil || tip.MaxTXID != 3 {
		t.Errorf("%+v, %v", tip, err)
	}
	if tip, err := r.Raw(t.Context(), 9); tip != nil || err != nil {
		t.Errorf("%+v, %v", tip, err)
	}
	for _, test := range []struct {
		txid format.TXID
		sum  format.Checksum
		want bool
	}{{3, tip.Checksum, true}, {3, tip.Checksum + 1, false}, {9, 1, true}} {
		if ok, err := r.Follows(t.Context(), test.txid, test.sum); ok != test.want || err != nil {
			t.Errorf("%+v: %t, %v", test, ok, err)
		}
	}
	if tip, err := replica.New(&storagetest.Memory{}, replica.Options{}).Tip(t.Context(), 0); tip != nil || err != nil {
		t.Errorf("of nothing: %+v, %v", tip, err)
	}
}

// The error distinguishes a missing replica from a replica in another form, and names the
// replicas below a path.
func TestForeign(t *testing.T) {
	b := encode(t, 1, 1, 1, 1)
	for _, test := range []struct {
		name string
		keys []string
		none bool
		want string // of the error, "" if the replica is read
	}{
		{"nothing", nil, true, "no replica here"},
		{"other files", []string{"readme.txt"}, true, "no replica here"},
		{"keys of another store", []string{"ltx/0/0000000000000001-0000000000000001.ltx"}, false, ""},
		{"Litestream 0.3", []string{"generations/0123456789abcdef/snapshots/00000000.snapshot.lz4"}, false, "Litestream before 0.5"},
		{"no path", []string{"app/0000/0000000000000001-0000000000000001.ltx", "b/old/generations/x/y"}, true, "replicas below: app, b/old (name one of them: memory:///app)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := &storagetest.Memory{}
			for _, key := range test.keys {
				putAs(t, store, key, b)
			}
			r := replica.New(store, replica.Options{})
			files, err := r.Files(t.Context())
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if h, err := r.Header(t.Context(), files[0].FileInfo); err != nil || h.Commit != 1 || !r.Foreign() {
					t.Errorf("%v, %v, foreign %t", h, err, r.Foreign())
				}
				return
			}
			if errors.Is(err, replica.ErrNone) != test.none || err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// Below finds the replicas below a path whatever else is there, with one request each.
func TestBelow(t *testing.T) {
	var lists int
	store := &storagetest.Memory{}
	b := encode(t, 1, 1, 1, 1)
	for _, key := range []string{
		"0000/0000000000000001-0000000000000001.ltx", // its own
		"a/0000/0000000000000001-0000000000000001.ltx", "a/0000/0000000000000002-0000000000000002.ltx", "a/0009/0000000000000001-0000000000000002.ltx",
		"a/sub/ltx/0/0000000000000001-0000000000000001.ltx", "a/sub/ltx/9/0000000000000001-0000000000000001.ltx",
		"a0/0000/0000000000000001-0000000000000001.ltx", "b.txt", "old/generations/0/wal/1.lz4", "z/0000/nothing.ltx",
	} {
		putAs(t, store, key, b)
	}
	before := store.Before
	store.SetBefore(func(_ context.Context, op, _ string) error {
		if op == "list" {
			lists++
		}
		return nil
	})
	defer store.SetBefore(before)
	var got []string
	for path, err := range replica.Below(t.Context(), store, 0) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, path)
	}
	if want := []string{"a", "a/sub", "a0", "old"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if lists != 6 {
		t.Errorf("%d requests", lists)
	}
}

// An index finds every page that the file has, and no other, whatever the page numbers
// are.
func TestIndex(t *testing.T) {
	const commit = 200_000
	var sparse []uint32
	for pgno := uint32(3); pgno <= commit; pgno += 1 + pgno%97 {
		sparse = append(sparse, pgno)
	}
	for name, b := range map[string][]byte{
		"snapshot": encode(t, 1, 7, 5000, numbers(5000)...),
		"sparse":   encode(t, 7, 7, commit, sparse...),
		"one":      encode(t, 7, 7, commit, 64),
		"empty":    encode(t, 7, 7, commit),
	} {
		t.Run(name, func(t *testing.T) {
			store := &storagetest.Memory{}
			h, _ := format.ParseLTXHeader(b)
			f := info(3, h.MinTXID, h.MaxTXID, b)
			putAs(t, store, store.Layout().Key(3, h.MinTXID, h.MaxTXID), b)
			r := replica.New(store, replica.Options{})
			x, err := r.Index(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			has := map[uint32]bool{}
			page := make([]byte, pageSize)
			if _, _, err := r.Decode(t.Context(), f, func(_ format.LTXHeader, pgno uint32, want []byte) error {
				has[pgno] = true
				e, ok := x.Find(pgno)
				if !ok {
					t.Fatalf("page %d is not found", pgno)
				}
				if len(has)%101 == 1 {
					if err := r.Page(t.Context(), f, e, page); err != nil || !bytes.Equal(page, want) {
						t.Errorf("page %d: %v", pgno, err)
					}
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if x.Len() != len(has) {
				t.Errorf("%d pages, want %d", x.Len(), len(has))
			}
			for pgno := uint32(0); pgno <= 5001; pgno++ {
				if _, ok := x.Find(pgno); ok != has[pgno] {
					t.Errorf("page %d: %t", pgno, ok)
				}
			}
			n, last := 0, uint32(0)
			for e := range x.From(300) {
				if n++; e.Number < 300 || e.Number <= last || !has[e.Number] {
					t.Fatalf("page %d after %d", e.Number, last)
				}
				last = e.Number
			}
			for pgno := range has {
				if pgno < 300 {
					n++
				}
			}
			if n != len(has) {
				t.Errorf("%d pages from 300 on and before, want %d", n, len(has))
			}
		})
	}
}
