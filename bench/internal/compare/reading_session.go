package compare

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/shirou/gopsutil/v4/process"

	"github.com/walvfs/walvfs/bench/readers"
)

// readingSession is a peer's turn in a round.
type readingSession struct {
	options *readingOptions
	report  *ReadingReport
	peer    readingPeer
	round   int

	line    *timeline
	process *readerProcess
}

// A readingStep is an order and its name in the report. A step without a name is measured
// together with the next step.
type readingStep struct {
	name  string
	order readers.Order
}

// run starts processes that read: one opens the database and looks up rows, one opens a
// scattered schema, one scans, and two are idle.
func (s *readingSession) run(ctx context.Context, main, scattered *readingData) error {
	rng := rand.New(rand.NewPCG(uint64(s.round), 2))
	first := fmt.Sprintf("SELECT id, length(data) FROM item WHERE id = %d", main.rows/2+int64(s.round))
	steps := []readingStep{{"open, first row", readers.Order{Open: 1, SQL: first}}}
	for range 20 {
		steps = append(steps, readingStep{"a cold row", readers.Order{SQL: fmt.Sprintf("SELECT hex(substr(data, 1, 8)) FROM item WHERE id = %d", 1+rng.Int64N(main.rows))}})
	}
	for range 3 {
		steps = append(steps,
			readingStep{"1,000 rows in order", readers.Order{SQL: fmt.Sprintf("SELECT count(*), sum(id), max(data) IS NULL FROM (SELECT id, data FROM item WHERE id >= %d ORDER BY id LIMIT 1000)", 1+rng.Int64N(main.rows-1000))}},
			readingStep{"1,000 rows of random keys", readers.Order{SQL: fmt.Sprintf("SELECT count(*), hex(max(key)), sum(length(value)) FROM (SELECT key, value FROM word WHERE key >= x'%02x' ORDER BY key LIMIT 1000)", rng.IntN(128))}})
	}
	// Another moment of the same snapshot. The local file has only the newest moment.
	txid := len(main.times) / 2
	then := readingStep{"another moment, first row", readers.Order{At: main.times[txid].Add(500 * time.Millisecond), SQL: "SELECT txid FROM moment"}}
	if err := s.session(ctx, main, func() error {
		if err := s.do(main, steps...); err != nil || s.peer.Name == localFile {
			return err
		}
		return s.expect(then, fmt.Sprint(txid))
	}); err != nil {
		return err
	}
	if err := s.session(ctx, scattered, func() error {
		return s.do(scattered, readingStep{"open, first row, scattered schema", readers.Order{Open: 1, SQL: fmt.Sprintf("SELECT id, length(data) FROM item WHERE id = %d", scattered.rows/2)}})
	}); err != nil {
		return err
	}
	if s.peer.Name == walvfsReader {
		last := len(main.times) - 1
		if err := s.session(ctx, main, func() error {
			return s.expect(readingStep{"diff of the last commit", readers.Order{Since: main.times[last-1], Until: main.times[last]}}, fmt.Sprint(main.changed))
		}); err != nil {
			return err
		}
	}
	rows := s.options.scan / (readingPageSize / 4)
	if err := s.session(ctx, main, func() error {
		if err := s.do(main, readingStep{"", readers.Order{Open: 1, SQL: first}}); err != nil {
			return err
		}
		return s.do(main, readingStep{"scan", readers.Order{SQL: fmt.Sprintf("SELECT count(*), sum(id), sum(length(data)) FROM item WHERE id <= %d", rows)}})
	}); err != nil || s.peer.Name == localFile || s.round > 0 {
		return err
	}
	for _, n := range []int{1, 100} {
		if err := s.idle(ctx, main, n); err != nil {
			return err
		}
	}
	return nil
}

// session runs steps in a process of their own.
func (s *readingSession) session(ctx context.Context, d *readingData, steps func() error) error {
	return lend(ctx, func(l *lender) (err error) {
		s.line = &timeline{latency: s.options.latency}
		if s.process, err = s.peer.start(l.Context(), d, s.line.far(l, d.near)); err != nil {
			return err
		}
		if err := steps(); err != nil {
			s.process.cmd.Process.Kill()
			s.process.close()
			return err
		}
		return s.process.close()
	})
}

// do carries steps out. It fails if an answer differs from that of the local file.
func (s *readingSession) do(d *readingData, steps ...readingStep) error {
	if s.peer.Name == localFile {
		return s.each(steps, func(step readingStep, a readers.Answer) string {
			if d.answers == nil {
				d.answers = map[string]string{}
			}
			d.answers[step.order.SQL] = a.Row
			return ""
		})
	}
	return s.each(steps, func(step readingStep, a readers.Answer) string { return wrong(a.Row, d.answers[step.order.SQL]) })
}

func (s *readingSession) expect(step readingStep, want string) error {
	return s.each([]readingStep{step}, func(_ readingStep, a readers.Answer) string { return wrong(a.Row, want) })
}

func wrong(got, want string) string {
	if got == want {
		return ""
	}
	return fmt.Sprintf("wrong answer: %.60q, and not %.60q", got, want)
}

// each carries steps out and records their results. A failure of another peer is a
// result, too.
func (s *readingSession) each(steps []readingStep, check func(readingStep, readers.Answer) string) error {
	for _, step := range steps {
		step.order.Limit = s.options.limit
		a, err := s.process.do(step.order)
		if err != nil {
			return err
		}
		asked := s.line.take()
		if a.Error == "" {
			a.Error = check(step, a)
		}
		if a.Error != "" && s.peer.module == "" {
			return fmt.Errorf("%s: %s", step.order.SQL, a.Error)
		}
		if step.name == "" {
			continue
		}
		r := s.report.reading(step.name, s.peer.Name)
		switch {
		case a.Over:
			r.Over++
		case a.Error != "":
			r.Errors = append(r.Errors, a.Error)
			continue
		}
		r.Seconds, r.Memory = append(r.Seconds, a.Seconds), append(r.Memory, s.memory())
		if s.peer.Name != localFile {
			r.Traffic = append(r.Traffic, asked)
		}
	}
	return nil
}

// memory returns the resident size of the process, in bytes.
func (s *readingSession) memory() float64 {
	p, err := process.NewProcess(int32(s.process.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	m, err := p.MemoryInfo()
	if err != nil {
		return 0
	}
	return float64(m.RSS)
}

// idle counts the requests of idle connections that have read something.
func (s *readingSession) idle(ctx context.Context, d *readingData, n int) error {
	return s.session(ctx, d, func() error {
		// Some peers load all indexes for each connection.
		a, err := s.process.do(readers.Order{Open: n, Limit: 5 * s.options.limit})
		if err != nil {
			return err
		}
		r := s.report.reading(fmt.Sprintf("idle for %s, connections: %d", s.options.idle, n), s.peer.Name)
		if a.Error != "" {
			r.Errors = append(r.Errors, a.Error)
			return nil
		}
		sleep(ctx, time.Second) // for requests under way
		s.line.take()
		if !sleep(ctx, s.options.idle) {
			return ctx.Err()
		}
		r.Traffic, r.Memory = append(r.Traffic, s.line.take()), append(r.Memory, s.memory())
		return nil
	})
}
