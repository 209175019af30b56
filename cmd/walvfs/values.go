package main

import (
	"encoding"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
)

// txidFlag is a TXID as users type it.
type txidFlag format.TXID

var _ encoding.TextUnmarshaler = (*txidFlag)(nil)

func (f *txidFlag) UnmarshalText(text []byte) error {
	txid, err := format.ParseTXID(string(text))
	if err != nil {
		return fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "format: "))
	}
	*f = txidFlag(txid)
	return nil
}

// timeFlag is a point in time as users type it; see [replica.ParseMoment].
type timeFlag struct{ time.Time }

var _ encoding.TextUnmarshaler = (*timeFlag)(nil)

func (f *timeFlag) UnmarshalText(text []byte) error {
	t, err := replica.ParseMoment(string(text), time.Now())
	if err != nil {
		return fmt.Errorf("%q is not a time: %w", text, err)
	}
	f.Time = t
	return nil
}

// printJSON prints one value for a script to read.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// count puts a number before a noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
