package main

import (
	"bufio"
	"io"
	"strconv"
	"strings"
	"unicode"

	"github.com/ncruces/go-sqlite3"
	"github.com/rivo/uniseg"
)

// tableWindow and tableWindowBytes bound the rows that determine the widths of columns:
// so the memory for a result of any size is bounded.
const (
	tableWindow      = 500
	tableWindowBytes = 1 << 20
)

// tableRows aligns columns. The first rows determine their widths; a wider value in a
// later row shifts the rest of its line.
type tableRows struct {
	out    *bufio.Writer
	header bool
	begun  bool // an earlier result was written

	names   []string
	widths  []int
	waiting [][]cell // nil once widths are known
	bytes   int      // of the waiting rows
	fixed   bool     // widths are known
}

// A cell is a value as displayed.
type cell struct {
	text   string
	number bool // aligned to the right
}

func newTableRows(w io.Writer, header bool) *tableRows {
	return &tableRows{out: bufio.NewWriter(w), header: header}
}

func (w *tableRows) begin(columns []string) error {
	if w.begun {
		w.out.WriteByte('\n')
	}
	*w = tableRows{out: w.out, header: w.header, begun: true, widths: make([]int, len(columns))}
	for i, name := range columns {
		w.names = append(w.names, shownText(name))
		if w.header {
			w.widths[i] = uniseg.StringWidth(w.names[i])
		}
	}
	return nil
}

func (w *tableRows) row(values []sqlValue) error {
	cells := make([]cell, len(values))
	for i, v := range values {
		cells[i] = cellOf(v)
	}
	if w.fixed {
		w.line(cells)
		return w.out.Flush()
	}
	for i, c := range cells {
		w.widths[i] = max(w.widths[i], uniseg.StringWidth(c.text))
		w.bytes += len(c.text)
	}
	w.waiting = append(w.waiting, cells)
	if len(w.waiting) < tableWindow && w.bytes < tableWindowBytes {
		return nil
	}
	return w.settle()
}

func (w *tableRows) end() error { return w.settle() }

// settle determines the widths, and writes the waiting rows.
func (w *tableRows) settle() error {
	if !w.fixed && w.header {
		names, rules := make([]cell, len(w.names)), make([]cell, len(w.names))
		for i, name := range w.names {
			number := len(w.waiting) > 0 && w.waiting[0][i].number
			names[i], rules[i] = cell{name, number}, cell{strings.Repeat("-", w.widths[i]), false}
		}
		w.line(names)
		w.line(rules)
	}
	for _, cells := range w.waiting {
		w.line(cells)
	}
	w.waiting, w.fixed = nil, true
	return w.out.Flush()
}

func (w *tableRows) line(cells []cell) {
	for i, c := range cells {
		pad := strings.Repeat(" ", max(0, w.widths[i]-uniseg.StringWidth(c.text)))
		last := i == len(cells)-1
		switch {
		case c.number:
			w.out.WriteString(pad + c.text)
		case last:
			w.out.WriteString(c.text)
		default:
			w.out.WriteString(c.text + pad)
		}
		if !last {
			w.out.WriteString("  ")
		}
	}
	w.out.WriteByte('\n')
}

func cellOf(v sqlValue) cell {
	switch v.kind {
	case sqlite3.NULL:
		return cell{"NULL", false}
	case sqlite3.BLOB:
		return cell{blobLiteral(v.bytes), false}
	case sqlite3.TEXT:
		return cell{shownText(string(v.bytes)), false}
	}
	return cell{v.text, true}
}

// shownText escapes characters that would break a line or control the terminal.
func shownText(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar }) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsControl(r) {
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}
