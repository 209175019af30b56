package format_test

import (
	"bytes"
	"fmt"
	"log"
	"time"

	"github.com/walvfs/walvfs/format"
)

// This example writes an LTX file and reads it back.
func Example() {
	var file bytes.Buffer
	enc, err := format.NewEncoder(&file, format.LTXHeader{
		PageSize:  512,
		Commit:    2, // pages
		MinTXID:   1,
		MaxTXID:   1,
		WALOffset: format.WALHeaderSize,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer enc.Abort()
	for pgno := uint32(1); pgno <= 2; pgno++ {
		if err := enc.Page(pgno, bytes.Repeat([]byte{byte(pgno)}, 512)); err != nil {
			log.Fatal(err)
		}
	}
	if _, err := enc.Close(); err != nil {
		log.Fatal(err)
	}

	h, _, err := format.Decode(&file, func(h format.LTXHeader, pgno uint32, page []byte) error {
		fmt.Printf("page %d of %d: %d bytes of %d\n", pgno, h.Commit, len(page), page[0])
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("TXID", h.MaxTXID)
	// Output:
	// page 1 of 2: 512 bytes of 1
	// page 2 of 2: 512 bytes of 2
	// TXID 0000000000000001
}

func ExampleScanWAL() {
	wal := exampleWAL()
	h, err := format.ScanWAL(bytes.NewReader(wal), func(n uint32, f format.Frame, page []byte) error {
		fmt.Printf("frame %d at byte %d: page %d, commit %d\n", n, format.FrameOffset(uint32(len(page)), n), f.Page, f.Commit)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("salts", h.Salt)
	// Output:
	// frame 1 at byte 32: page 1, commit 0
	// frame 2 at byte 568: page 2, commit 2
	// salts 0102030405060708
}

func ExampleLastCommit() {
	_, n, f, err := format.LastCommit(bytes.NewReader(exampleWAL()))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d frames are committed, the database has %d pages\n", n, f.Commit)
	// Output: 2 frames are committed, the database has 2 pages
}

// exampleWAL returns a WAL with one transaction that writes two pages.
func exampleWAL() []byte {
	h := format.WALHeader{PageSize: 512, Salt: format.Salt{1, 2, 3, 4, 5, 6, 7, 8}}
	wal := h.AppendTo(nil)
	h, _ = format.ParseWALHeader(wal) // with its checksum
	sum := h.Checksum
	for _, f := range []format.Frame{{Page: 1}, {Page: 2, Commit: 2}} {
		page := make([]byte, h.PageSize)
		f.Salt = h.Salt
		f.Checksum = h.Chain(sum, f, page)
		sum = f.Checksum
		wal = append(f.AppendTo(wal), page...)
	}
	return wal
}

var exampleFiles = []format.FileInfo{
	{Level: 9, MinTXID: 1, MaxTXID: 8, Time: time.Unix(800, 0)},
	{Level: 1, MinTXID: 7, MaxTXID: 10, Time: time.Unix(1000, 0)},
	{Level: 0, MinTXID: 11, MaxTXID: 11, Time: time.Unix(1100, 0)},
	{Level: 0, MinTXID: 13, MaxTXID: 13, Time: time.Unix(1300, 0)},
}

func ExamplePlan() {
	plan, err := format.Plan(exampleFiles, 11)
	fmt.Println(plan, err)

	_, err = format.Plan(exampleFiles, 9)
	fmt.Println(err)

	_, err = format.Plan(exampleFiles, 0)
	fmt.Println(err)
	// Output:
	// [9/0000000000000001-0000000000000008 1/0000000000000007-000000000000000a 0/000000000000000b-000000000000000b] <nil>
	// no file ends at TXID 0000000000000009 any more: the nearest that can be restored are 0000000000000008 and 000000000000000a
	// TXID 000000000000000c is missing between the files 0/000000000000000b-000000000000000b and 0/000000000000000d-000000000000000d: TXID 000000000000000b can be restored instead
}

func ExampleTXIDAt() {
	txid, err := format.TXIDAt(exampleFiles, time.Unix(1050, 0), nil)
	fmt.Println(txid, err)

	_, err = format.TXIDAt(exampleFiles, time.Unix(700, 0), nil)
	fmt.Println(err)
	// Output:
	// 000000000000000a <nil>
	// 1970-01-01T00:11:40Z is before the oldest state that can be restored: TXID 0000000000000008 of 1970-01-01T00:13:20Z
}

func ExampleLayout_Key() {
	fmt.Println(format.LayoutHex.Key(9, 1, 255))
	fmt.Println(format.LayoutDecimal.Key(9, 1, 255))
	// Output:
	// 0009/0000000000000001-00000000000000ff.ltx
	// ltx/9/0000000000000001-00000000000000ff.ltx
}
