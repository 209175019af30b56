package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"

	"github.com/ncruces/go-sqlite3"
)

// lineRows writes a line for each row.
type lineRows struct {
	out       *bufio.Writer
	value     func(sqlValue) string
	separator string
	header    bool
	begun     bool // an earlier result was written
}

func newLineRows(w io.Writer, value func(sqlValue) string, separator string, header bool) *lineRows {
	return &lineRows{out: bufio.NewWriter(w), value: value, separator: separator, header: header}
}

func (w *lineRows) begin(columns []string) error {
	if w.begun {
		w.out.WriteByte('\n')
	}
	w.begun = true
	if !w.header {
		return nil
	}
	names := make([]sqlValue, len(columns))
	for i, name := range columns {
		names[i] = sqlValue{kind: sqlite3.TEXT, bytes: []byte(name)}
	}
	return w.row(names)
}

func (w *lineRows) row(values []sqlValue) error {
	for i, v := range values {
		if i > 0 {
			w.out.WriteString(w.separator)
		}
		w.out.WriteString(w.value(v))
	}
	return w.out.WriteByte('\n')
}

func (w *lineRows) end() error { return w.out.Flush() }

// jsonRows writes an array of objects for each result, one row per line.
type jsonRows struct {
	out   *bufio.Writer
	line  bytes.Buffer
	names [][]byte // of the columns, encoded
	rows  int
}

func newJSONRows(w io.Writer) *jsonRows { return &jsonRows{out: bufio.NewWriter(w)} }

func (w *jsonRows) begin(columns []string) error {
	w.rows, w.names = 0, nil
	seen := map[string]bool{}
	for _, name := range columns {
		unique := name
		for n := 1; seen[unique]; n++ {
			unique = fmt.Sprintf("%s:%d", name, n)
		}
		seen[unique] = true
		w.line.Reset()
		if err := w.encode(unique); err != nil {
			return err
		}
		w.names = append(w.names, bytes.Clone(w.line.Bytes()))
	}
	return w.out.WriteByte('[')
}

func (w *jsonRows) row(values []sqlValue) error {
	w.line.Reset()
	if w.rows++; w.rows > 1 {
		w.line.WriteString(",\n")
	}
	for i, v := range values {
		w.line.WriteByte("{,"[min(i, 1)])
		w.line.Write(w.names[i])
		w.line.WriteByte(':')
		if err := w.value(v); err != nil {
			return err
		}
	}
	w.line.WriteByte('}')
	_, err := w.out.Write(w.line.Bytes())
	return err
}

func (w *jsonRows) value(v sqlValue) error {
	switch v.kind {
	case sqlite3.NULL:
		w.line.WriteString("null")
	case sqlite3.BLOB:
		w.line.WriteString(`{"base64":"`)
		enc := base64.NewEncoder(base64.StdEncoding, &w.line)
		enc.Write(v.bytes)
		enc.Close()
		w.line.WriteString(`"}`)
	case sqlite3.TEXT:
		return w.encode(string(v.bytes))
	default:
		w.line.WriteString(v.text)
	}
	return nil
}

// encode appends a text.
func (w *jsonRows) encode(s string) error {
	enc := json.NewEncoder(&w.line)
	enc.SetEscapeHTML(false)
	err := enc.Encode(s)
	w.line.Truncate(max(0, w.line.Len()-1)) // the newline
	return err
}

func (w *jsonRows) end() error {
	w.out.WriteString("]\n")
	return w.out.Flush()
}
