package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/dustin/go-humanize"

	"github.com/walvfs/walvfs/vfs/reader/diff"
)

// diffText writes a difference for people.
type diffText struct {
	out  *bufio.Writer
	last string // table of the last row
}

func newDiffText(w io.Writer) *diffText { return &diffText{out: bufio.NewWriter(w)} }

func (w *diffText) begin(s *diffStates) error {
	_, err := fmt.Fprintf(w.out, "--- %s\n+++ %s\n", s.From, s.To)
	return err
}

func (w *diffText) schema(s diff.SchemaChange) error {
	what := "changed"
	switch {
	case s.Old == "":
		what = "created"
	case s.New == "":
		what = "dropped"
	}
	fmt.Fprintf(w.out, "\n%s %s: %s\n", s.Kind, shownText(s.Name), what)
	for _, sql := range []struct{ sign, text string }{{"-", s.Old}, {"+", s.New}} {
		if sql.text != "" {
			for line := range strings.Lines(sql.text) {
				fmt.Fprintf(w.out, "%s %s\n", sql.sign, shownText(strings.TrimRight(line, "\r\n")))
			}
		}
	}
	return nil
}

func (w *diffText) row(t *diff.Table, c diff.Change) error {
	if w.last != t.Name {
		w.last = t.Name
		fmt.Fprintf(w.out, "\ntable %s\n", shownText(t.Name))
	}
	var b strings.Builder
	switch c.Op {
	case diff.Inserted:
		b.WriteString("+ " + w.values(t, c, true))
	case diff.Deleted:
		b.WriteString("- " + w.values(t, c, false))
	case diff.Changed:
		var key, fields []string
		for _, f := range t.RowKey(c) {
			key = append(key, shownText(f.Name)+" = "+shortValue(f.Value, 0))
		}
		for _, f := range t.Fields(c) {
			at := firstDifference(f.Old, f.New)
			fields = append(fields, shownText(f.Name)+" "+shortValue(f.Old, at)+" -> "+shortValue(f.New, at))
		}
		b.WriteString("~ " + strings.Join(key, ", ") + ": " + strings.Join(fields, ", "))
	}
	b.WriteByte('\n')
	_, err := w.out.WriteString(b.String())
	return err
}

// values formats a whole row, beginning with its rowid if the rowid is its key.
func (w *diffText) values(t *diff.Table, c diff.Change, now bool) string {
	columns, values := t.Columns[0], c.Old
	if now {
		columns, values = t.Columns[1], c.New
	}
	var fields []string
	if key := t.RowKey(c); len(key) == 1 && key[0].Rowid {
		fields = append(fields, key[0].Name+" = "+shortValue(key[0].Value, 0))
	}
	for i, name := range columns {
		fields = append(fields, shownText(name)+" = "+shortValue(values[i], 0))
	}
	return strings.Join(fields, ", ")
}

func (w *diffText) counts(n diffCounts) error {
	_, err := fmt.Fprintf(w.out, "%s: %s inserted, %s changed, %s deleted\n", shownText(n.Table),
		humanize.Comma(n.Inserted), humanize.Comma(n.Updated), humanize.Comma(n.Deleted))
	return err
}

func (w *diffText) end() error { return w.out.Flush() }

// mostValue is how many characters of a value are shown, and beforeThat how many before
// the first character that differs.
const (
	mostValue  = 100
	beforeThat = 20
)

// shortValue formats a value as SQL on one line. A long value begins shortly before at.
func shortValue(v any, at int) string {
	var size int
	var unit string
	switch x := v.(type) {
	case string:
		if len(x) <= mostValue {
			break
		}
		size, unit = utf8.RuneCountInString(x), "character"
		v = excerpt(x, at)
	case []byte:
		if len(x) <= mostValue/2 {
			break
		}
		size, unit = len(x), "byte"
		from := max(0, min(at-beforeThat/2, len(x)-mostValue/2))
		v = x[from : from+mostValue/2]
	}
	shown := diff.Literal(v)
	if text, ok := v.(string); ok {
		shown = "'" + shownText(strings.ReplaceAll(text, "'", "''")) + "'"
	}
	if unit == "" {
		return shown
	}
	return fmt.Sprintf("%s… (%s)", shown, count(size, unit))
}

// excerpt returns a part of a text, cut between characters.
func excerpt(s string, at int) string {
	from := max(0, min(at-beforeThat, len(s)-mostValue))
	for from > 0 && !utf8.RuneStart(s[from]) {
		from--
	}
	end := min(len(s), from+mostValue)
	for end < len(s) && end > from && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[from:end]
}

// firstDifference returns where two texts or blobs differ, in bytes.
func firstDifference(a, b any) (n int) {
	x, y := bytesOf(a), bytesOf(b)
	for n < min(len(x), len(y)) && x[n] == y[n] {
		n++
	}
	return n
}

func bytesOf(v any) []byte {
	switch v := v.(type) {
	case string:
		return []byte(v)
	case []byte:
		return v
	}
	return nil
}
