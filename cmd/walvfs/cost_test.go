package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
)

func TestPriceOf(t *testing.T) {
	for _, c := range []struct{ url, endpoint, want string }{
		{"s3://bucket/app", "", s3Price.store},
		{"s3://bucket.s3.eu-west-1.amazonaws.com/app", "", s3Price.store},
		{"s3://bucket.0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com/app", "", r2Price.store},
		{"s3://bucket/app", "https://0123.r2.cloudflarestorage.com", r2Price.store},
		{"s3://bucket.s3.us-west-004.backblazeb2.com/app", "", b2Price.store},
		{"s3://bucket/app", "s3.us-west-004.backblazeb2.com/", b2Price.store},
		{"s3://bucket/app", "http://localhost:9000", ""},
		{"s3://bucket.localhost:9000/app", "", ""},
		{"s3://bucket.nyc3.digitaloceanspaces.com/app", "", ""},
		{"gs://bucket/app", "", gcsPrice.store},
		{"file:///backup/app", "", ""},
	} {
		if p, ok := priceOf(c.url, c.endpoint); p.store != c.want || ok != (c.want != "") {
			t.Errorf("%s at %q: %q", c.url, c.endpoint, p.store)
		}
	}
}

func TestEstimate(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	file := func(level int, lo, hi format.TXID, age time.Duration) replica.File {
		return replica.File{FileInfo: format.FileInfo{Level: level, MinTXID: lo, MaxTXID: hi, Size: 1 << 29}, Written: now.Add(-age)}
	}
	for name, c := range map[string]struct {
		files replica.Files
		want  int
	}{
		// Level 0 of 101 to 190 was removed, but had been uploaded.
		"a day":    {replica.Files{file(1, 1, 100, 25*time.Hour), file(1, 101, 190, 5*time.Hour), file(0, 191, 191, time.Hour), file(0, 192, 192, 0)}, 93},
		"young":    {replica.Files{file(0, 1, 1, 2*time.Hour), file(0, 2, 2, time.Hour)}, 24},
		"just now": {replica.Files{file(0, 1, 1, time.Second)}, 24},
		"quiet":    {replica.Files{file(9, 1, 7, 48*time.Hour), file(0, 7, 7, 30*time.Hour)}, 0},
		"pruned":   {replica.Files{file(9, 1, 1000, 12*time.Hour), file(0, 1001, 1001, 0)}, 6},
	} {
		if got := uploadsADay(c.files, now); got != c.want {
			t.Errorf("%s: %d uploads a day, want %d", name, got, c.want)
		}
	}
	files := replica.Files{file(0, 1, 1, 48*time.Hour), file(0, 2, 2001, time.Hour)}
	c := estimate(s3Price, files, 1000, now)
	if c.StorageMonth != 0.023 || c.UploadsDay != 2000 || c.UploadsMonth != 0.3 || fmt.Sprintf("%.6f", c.Restore) != "0.000405" {
		t.Errorf("got %+v", c)
	}
}
