package main

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
)

// pricesOf is when the prices below were looked up.
const pricesOf = "autumn 2026"

// price is a price list, in US dollars.
type price struct {
	store string
	put   float64 // per 1,000 requests that write or list
	get   float64 // per 1,000 requests that read
	month float64 // per GiB
}

var (
	s3Price  = price{"S3 Standard in us-east-1", 0.005, 0.0004, 0.023}
	r2Price  = price{"Cloudflare R2", 0.0045, 0.00036, 0.015}
	gcsPrice = price{"Google Cloud Storage in a single region", 0.005, 0.0004, 0.020}
	b2Price  = price{"Backblaze B2", 0, 0, 0.00695}
)

// priceOf returns the price of a store, recognized by its URL or by a separate endpoint.
func priceOf(replica, endpoint string) (price, bool) {
	u, err := url.Parse(replica)
	if err != nil {
		return price{}, false
	}
	host := u.Hostname()
	if endpoint != "" {
		host = "." + strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(endpoint, "http://"), "https://"), "/")
	}
	switch {
	case u.Scheme == "gs":
		return gcsPrice, true
	case u.Scheme != "s3" || u.Port() != "":
		return price{}, false
	case strings.HasSuffix(host, ".r2.cloudflarestorage.com"):
		return r2Price, true
	case strings.HasSuffix(host, ".backblazeb2.com"):
		return b2Price, true
	case strings.HasSuffix(host, ".storage.googleapis.com"):
		return gcsPrice, true
	case strings.Contains(host, ".") && !strings.Contains(host, ".amazonaws.com"):
		return price{}, false // a service without a known price, or a bucket with dots
	}
	return s3Price, true
}

// cost is an estimate in US dollars.
type cost struct {
	Store        string  `json:"store"`
	Prices       string  `json:"prices_of"`
	StorageMonth float64 `json:"storage_month"`
	UploadsDay   int     `json:"uploads_day"`
	UploadsMonth float64 `json:"uploads_month"`
	Restore      float64 `json:"restore"` // once, without data transfer
}

// estimate assumes that a restore makes a listing, and one request for each of its files.
func estimate(p price, files replica.Files, restoreFiles int, now time.Time) *cost {
	var bytes int64
	for _, f := range files {
		bytes += f.Size
	}
	lists := 1 + len(files)/1000
	uploads := uploadsADay(files, now)
	return &cost{
		Store:        p.store,
		Prices:       pricesOf,
		StorageMonth: p.month * float64(bytes) / (1 << 30),
		UploadsDay:   uploads,
		UploadsMonth: p.put * float64(uploads) * 30 / 1000,
		Restore:      p.put*float64(lists)/1000 + p.get*float64(restoreFiles)/1000,
	}
}

// uploadsADay counts the uploads of the last 24 hours. Each TXID was one upload, even if
// its level 0 file has been removed since. If no older file is left, the remaining files
// are taken as typical, unless they span less than an hour.
func uploadsADay(files replica.Files, now time.Time) int {
	const day = 24 * time.Hour
	since := now.Add(-day)
	var tip, before format.TXID
	oldest := files[0]
	compacted := 0
	for _, f := range files {
		tip = max(tip, f.MaxTXID)
		if f.Written.Before(oldest.Written) {
			oldest = f
		}
		switch {
		case f.Written.Before(since):
			before = max(before, f.MaxTXID)
		case f.Level > format.LevelRaw:
			compacted++
		}
	}
	if before != 0 {
		return int(tip-before) + compacted
	}
	uploads := int(tip-oldest.MaxTXID) + 1 + compacted
	return int(float64(uploads) * float64(day) / float64(max(now.Sub(oldest.Written), time.Hour)))
}

func dollars(d float64) string {
	if d > 0 && d < 0.01 {
		return "<$0.01"
	}
	return fmt.Sprintf("$%.2f", d)
}
