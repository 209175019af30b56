package compare

import (
	"slices"
	"time"
)

// pricesOf is when the prices below were looked up.
const pricesOf = "autumn 2026"

// Price is a store's price list, in US dollars.
type Price struct {
	Store string  `json:"store"`
	Write float64 `json:"write"` // per 1,000 requests that write or list
	Read  float64 `json:"read"`  // per 1,000 requests that read
	Month float64 `json:"month"` // per GB stored
}

// prices are published prices. Deleting, and traffic into the store or inside its region,
// are free at all of them.
var prices = []Price{
	{"S3 Standard, us-east-1", 0.005, 0.0004, 0.023},
	{"Cloudflare R2", 0.0045, 0.00036, 0.015},
	{"Google Cloud Storage, single region", 0.005, 0.0004, 0.020},
}

const (
	day         = 24 * time.Hour
	daysAMonth  = 30
	level3Every = time.Hour
	bytesAGB    = 1e9
)

// Bill is the cost of a replica.
type Bill struct {
	Price    Price   `json:"price"`
	Requests float64 `json:"requests_month"` // dollars a month
	Storage  float64 `json:"storage_month"`  // of the bytes stored when the run ended
}

// bill prices a day's requests, for a month.
func (p Price) bill(day Counts, stored int64) Bill {
	b := Bill{Price: p, Storage: float64(stored) / bytesAGB * p.Month}
	for _, c := range day {
		b.Requests += float64(c.Requests) / 1000 * p.of(c.Kind) * daysAMonth
	}
	return b
}

func (p Price) of(k Kind) float64 {
	switch k {
	case Put, Part, List:
		return p.Write
	case Get:
		return p.Read
	}
	return 0
}

// Day is a day of steady load. Frequent requests are scaled from the counted window.
// Requests of once an hour or once a day are added with that frequency, from one such
// event.
type Day struct {
	Peer   string  `json:"peer"`
	Window float64 `json:"window_s"` // counted

	Often  Counts `json:"often"`  // in the window: all but hourly and daily requests
	Hourly Counts `json:"hourly"` // a file of level 3, an estimate
	Daily  Counts `json:"daily"`  // a snapshot, as large as the first upload

	Day   Counts `json:"day"` // all requests in 24 hours
	Bills []Bill `json:"bills"`
}

// estimateDay estimates a day from a run.
func estimateDay(r *Run) Day {
	window := seconds(r.Counted)
	d := Day{Peer: r.Peer, Window: r.Counted}
	for _, c := range r.Traffic {
		if !isHourly(c) && c.Level != 9 {
			d.Often = append(d.Often, c)
		}
	}
	d.Hourly = estimateLevel3(d.Often, window)
	d.Daily = snapshotTraffic(r)
	d.Day = slices.Concat(
		scale(d.Often, float64(day)/float64(window)),
		scale(d.Hourly, float64(day)/float64(level3Every)),
		d.Daily)
	d.Day = merge(d.Day)
	for _, p := range prices {
		d.Bills = append(d.Bills, p.bill(d.Day, r.Stored))
	}
	return d
}

// isHourly reports whether a request makes a file of level 3: its own writes, and reads
// of the files of level 2.
func isHourly(c Count) bool {
	return c.Level == 3 && c.Kind != Delete || c.Level == 2 && c.Kind == Get
}

// estimateLevel3 assumes that an hour's file is at most as large as all files of level 2
// of that hour, and that it is made from them as these are made from files of level 1: by
// reading, or not.
func estimateLevel3(often Counts, window time.Duration) Counts {
	anHour := float64(level3Every) / float64(window)
	two := scale(atLevel(often, 2, Put), anHour)
	if len(two) == 0 {
		return nil
	}
	three := Counts{{Kind: Put, Level: 3, Requests: 1, Sent: two[0].Sent}}
	if len(atLevel(often, 1, Get)) > 0 {
		three = append(three, Count{Kind: Get, Level: 2, Requests: two[0].Requests, Received: two[0].Sent})
	}
	return three
}

// snapshotTraffic returns the upload of the whole database when replication began: the
// file of level 9, or the first file of level 0 if that is the only one.
func snapshotTraffic(r *Run) Counts {
	start := merge(slices.Concat(r.Start, r.WarmUp))
	if s := slices.Concat(atLevel(start, 9, Part), atLevel(start, 9, Put)); len(s) > 0 {
		return s
	}
	first := atLevel(r.Start, 0, Part)
	if len(first) == 0 {
		first = atLevel(r.Start, 0, Put)
	}
	for i := range first {
		first[i].Level = 9
	}
	return first
}

func atLevel(c Counts, level int, kind Kind) Counts {
	var at Counts
	for _, n := range c {
		if n.Level == level && n.Kind == kind {
			at = append(at, n)
		}
	}
	return at
}

// scale multiplies all counts.
func scale(c Counts, by float64) Counts {
	scaled := make(Counts, len(c))
	for i, n := range c {
		n.Requests = int64(float64(n.Requests)*by + 0.5)
		n.Sent = int64(float64(n.Sent) * by)
		n.Received = int64(float64(n.Received) * by)
		scaled[i] = n
	}
	return scaled
}

// merge adds up counts of the same kind and level.
func merge(c Counts) Counts {
	var merged Counts
	for _, n := range c {
		i := slices.IndexFunc(merged, func(m Count) bool { return m.Kind == n.Kind && m.Level == n.Level })
		if i < 0 {
			merged = append(merged, n)
			continue
		}
		merged[i].Requests += n.Requests
		merged[i].Sent += n.Sent
		merged[i].Received += n.Received
	}
	return merged
}
