package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/walvfs/walvfs/shipper/restore"
)

// lineEvery is how often a restore logs its progress without a terminal, so that it does
// not flood a log.
const lineEvery = 10 * time.Second

// progress shows the progress of a restore or a verification: in a bar on a terminal, in
// lines elsewhere, and not at all if it is quiet.
type progress struct {
	out   io.Writer
	quiet bool
	title string

	mu      sync.Mutex
	bar     *progressbar.ProgressBar // nil before the first update, and without a terminal
	titled  bool                     // the title has been printed
	tty     bool
	columns int       // of the terminal
	next    time.Time // of the next line

	begun     time.Time // time of the first update, which had begunWith bytes
	begunWith int64
}

func (a *app) newProgress(quiet bool, title string) *progress {
	return &progress{
		out:     a.stderr,
		quiet:   quiet,
		title:   title,
		tty:     isTerminal(a.stderr) && a.getenv("TERM") != "dumb",
		columns: columns(a.stderr),
	}
}

// newTerminalProgress returns a progress for operations that usually take a moment: it
// shows nothing without a terminal.
func (a *app) newTerminalProgress(quiet bool, title string) *progress {
	p := a.newProgress(quiet, title)
	p.quiet = p.quiet || !p.tty
	return p
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// begin prints the title of a long operation, before the amount of work is known.
func (p *progress) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tty && !p.quiet && !p.titled {
		p.titled = true
		fmt.Fprintln(p.out, p.title)
	}
}

func (p *progress) update(r restore.Progress) {
	if p.quiet {
		return
	}
	p.begin()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tty {
		p.draw(r)
		return
	}
	p.line(r)
}

// settling is how long a bar waits for a meaningful rate: the first files may arrive at
// once.
const settling = 500 * time.Millisecond

func (p *progress) draw(r restore.Progress) {
	if p.bar == nil {
		p.bar, p.begun = newBar(p.out, r.TotalBytes, p.columns), time.Now()
	}
	if time.Since(p.begun) < settling {
		return
	}
	if p.bar.GetMax64() != r.TotalBytes { // another upload
		p.bar.ChangeMax64(r.TotalBytes)
	}
	_ = p.bar.Set64(r.Bytes)
}

// narrow is the width of a terminal in columns up to which a bar shows only the
// percentage: with more figures it would wrap.
const narrow = 60

func newBar(out io.Writer, total int64, columns int) *progressbar.ProgressBar {
	options := []progressbar.Option{
		progressbar.OptionSetWriter(out),
		progressbar.OptionThrottle(100 * time.Millisecond),
		progressbar.OptionFullWidth(),
		progressbar.OptionClearOnFinish(),
	}
	if columns <= narrow {
		options = append(options, progressbar.OptionSetElapsedTime(false), progressbar.OptionSetPredictTime(false))
	} else {
		options = append(options, progressbar.OptionSetPredictTime(true), progressbar.OptionShowBytes(true),
			progressbar.OptionShowCount(), progressbar.OptionUseIECUnits(true))
	}
	return progressbar.NewOptions64(total, options...)
}

// columns returns the width of a terminal, 80 if it is unknown.
func columns(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
			return n
		}
	}
	return 80
}

// line prints where the restore begins, and then its progress.
func (p *progress) line(r restore.Progress) {
	now := time.Now()
	switch {
	case p.next.IsZero():
		fmt.Fprintf(p.out, "%s: TXID %s, %s, %s\n", p.title, r.TXID, count(r.TotalFiles, "file"), humanize.IBytes(uint64(r.TotalBytes)))
	case now.Before(p.next):
		return
	default:
		fmt.Fprintf(p.out, "%d%%: %s of %s%s\n", 100*r.Bytes/max(r.TotalBytes, 1),
			humanize.IBytes(uint64(r.Bytes)), humanize.IBytes(uint64(r.TotalBytes)), p.pace(r, now))
	}
	p.next = now.Add(lineEvery)
	if p.begun.IsZero() {
		p.begun, p.begunWith = now, r.Bytes
	}
}

// pace returns the rate so far, and how long the rest takes at this rate.
func (p *progress) pace(r restore.Progress, now time.Time) string {
	rate := float64(r.Bytes-p.begunWith) / now.Sub(p.begun).Seconds()
	if rate <= 0 {
		return ""
	}
	left := time.Duration(float64(r.TotalBytes-r.Bytes) / rate * float64(time.Second))
	return fmt.Sprintf(", %s/s, %s left", humanize.IBytes(uint64(rate)), left.Round(time.Second))
}

// end removes the bar from the screen.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Exit()
		_ = p.bar.Clear()
	}
}

// logger writes warnings without tearing the bar.
func (p *progress) logger() *slog.Logger {
	if p.quiet {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(aboveBar{p}, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// aboveBar writes at the place of the bar, which is drawn again below.
type aboveBar struct{ p *progress }

func (w aboveBar) Write(b []byte) (int, error) {
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	if w.p.bar != nil {
		_ = w.p.bar.Clear()
	}
	return w.p.out.Write(b)
}
