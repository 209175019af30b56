package reader

import (
	"bytes"
	"runtime"
	"testing"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// A snapshot whose header has the time when it was made does not date its TXID, even if a
// view has the snapshot: the level 0 file does.
func TestTimeOfASnapshot(t *testing.T) {
	store := &storagetest.Memory{Name: "app"}
	for txid := format.TXID(1); txid <= 5; txid++ {
		put(t, store, format.LevelRaw, encode(t, txid, txid, 1, []format.TXID{txid}))
	}
	var b bytes.Buffer
	enc, err := format.NewEncoder(&b, format.LTXHeader{PageSize: testPageSize, Commit: 1, MinTXID: 1, MaxTXID: 3, Timestamp: 9000})
	if err == nil {
		err = enc.Page(1, content(1, 3))
	}
	if err == nil {
		_, err = enc.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	put(t, store, format.LevelSnapshot, b.Bytes())
	s := testSource(store)
	v, err := s.at(t.Context(), replica.Target{TXID: 3})
	if err != nil || v.time != time.UnixMilli(9000) {
		t.Fatalf("the snapshot is not read: %v, %v", v, err)
	}
	if at, err := s.at(t.Context(), replica.Target{Timestamp: time.UnixMilli(3500)}); err != nil || at.txid != 3 {
		t.Errorf("%v, %v", at, err)
	}
	runtime.KeepAlive(v)
}
