package compare

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
)

// Puts are bare PUTs of one round: the least possible lag of any replica, on this
// machine, on this store, at this pace.
//
// They have their own turn after the peers, so that they are from the same minute, take
// nothing from any peer, and have the size of the peers' files. Everything else is as for
// a peer: an empty replica, proxies before it, a sending process, walvfs's storage
// driver, the workload's pace, and the same way to notice an answer.
type Puts struct {
	Round int    `json:"round"`
	Size  int64  `json:"bytes"`
	Times string `json:"times"` // in nanoseconds, an encoded HDR histogram

	times *hdrhistogram.Histogram // decoded
}

// sizeOfPuts returns the size of the peers' level 0 files, 0 if no lag is known.
func sizeOfPuts(runs []*Run) int64 {
	var sizes []float64
	for _, r := range runs {
		if r.lag != nil && r.FileSize > 0 {
			sizes = append(sizes, float64(r.FileSize))
		}
	}
	return int64(spread(sizes).Median)
}

// put takes the turn of bare PUTs.
func (j job) put(ctx context.Context, size int64) (p *Puts, err error) {
	err = lend(ctx, func(l *lender) error {
		place := j.store.place(l)
		sent, err := putInChild(l.Context(), place, spec{
			Workload: j.workload, Replicas: []string{place.used.URL}, Duration: j.duration, PutSize: size,
		})
		if err != nil {
			return err
		}
		h, err := matchPuts(sent, place.arrivals(l.Context(), len(sent)+1))
		if err != nil {
			return err
		}
		encoded, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
		p = &Puts{Round: j.round, Size: size, Times: base64.StdEncoding.EncodeToString(encoded), times: h}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s, bare PUTs on %s: %w", j.workload.Name, j.store.Name, err)
	}
	return p, nil
}

// putInChild returns when each PUT began.
func putInChild(ctx context.Context, p *place, s spec) ([]int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	app, err := startApp(ctx, s, p.used.Env)
	if err != nil {
		return nil, err
	}
	defer func() { cancel(); app.cmd.Wait() }()
	var o outcome
	if err := errors.Join(app.answer(&o), app.order("go")); err != nil {
		return nil, err
	}
	if err := app.answer(&o); err != nil {
		return nil, err
	}
	return o.Sent, app.close()
}

// putHere is the sending process. It does not count its first PUT, which opens the
// connection: the connections of a replica are open, too, since the database was filled.
func putHere(s spec, orders *json.Decoder, answers *json.Encoder) error {
	ctx := context.Background()
	store, err := storage.Open(ctx, s.Replicas[0], storage.Options{})
	if err != nil {
		return err
	}
	defer store.Close()
	body := make([]byte, s.PutSize)
	rand.Read(body)
	put := func(n int64) error {
		id := format.TXID(n)
		return store.Create(ctx, store.Layout().Key(0, id, id), bytes.NewReader(body),
			storage.Attrs{Time: time.Now(), WriteID: rand.Text()})
	}
	if err := errors.Join(put(1), answers.Encode(outcome{}), waitFor(orders, "go")); err != nil {
		return err
	}
	var o outcome
	start := time.Now()
	for n := int64(0); ; n++ {
		due := max(s.Workload.due(n), time.Since(start)) // one after another
		if due >= s.Duration {
			break
		}
		time.Sleep(time.Until(start.Add(due)))
		o.Sent = append(o.Sent, time.Now().UnixNano())
		if err := put(n + 2); err != nil {
			return err
		}
	}
	return errors.Join(answers.Encode(o), waitFor(orders, "close"))
}

// arrivals waits for at least as many arrivals: those in a directory are noticed late.
func (p *place) arrivals(ctx context.Context, atLeast int) []arrival {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for len(p.meter.Arrivals()) < atLeast && sleep(ctx, watchEvery) {
	}
	return p.meter.Arrivals()
}

// matchPuts pairs the start of each PUT, of TXIDs from 2 on, with its arrival.
func matchPuts(sent []int64, seen []arrival) (*hdrhistogram.Histogram, error) {
	at := map[string]time.Time{}
	for _, a := range seen {
		at[a.file] = a.at
	}
	h := newHistogram()
	for i, began := range sent {
		id := format.TXID(i + 2)
		end, ok := at[format.FileInfo{MinTXID: id, MaxTXID: id}.String()]
		if !ok {
			return nil, fmt.Errorf("PUT %d was not seen in the store", i)
		}
		_ = h.RecordValue(max(1, end.Sub(time.Unix(0, began)).Nanoseconds()))
	}
	return h, nil
}

// latencyInPuts returns a transaction's latency in bare PUTs, at the median.
func latencyInPuts(r *Run) float64 {
	if p := percentile(r.puts, 50); p > 0 {
		return percentile(r.latency, 50) / p
	}
	return 0
}

// lagInPuts returns a run's lag in bare PUTs of its round, at the median.
func lagInPuts(r *Run) float64 {
	if p := percentile(r.puts, 50); p > 0 {
		return percentile(r.lag, 50) / p
	}
	return 0
}
