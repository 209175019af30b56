package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/walvfs/walvfs/vfs/reader/diff"
)

// diffJSON writes one object per line.
type diffJSON struct {
	out *bufio.Writer
	enc *json.Encoder
}

func newDiffJSON(w io.Writer) *diffJSON {
	out := bufio.NewWriter(w)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return &diffJSON{out, enc}
}

func (w *diffJSON) begin(s *diffStates) error { return w.enc.Encode(s) }

func (w *diffJSON) schema(s diff.SchemaChange) error {
	sql := func(text string) *string {
		if text == "" {
			return nil
		}
		return &text
	}
	return w.enc.Encode(struct {
		Type string  `json:"type"`
		Kind string  `json:"kind"`
		Name string  `json:"name"`
		On   string  `json:"table"`
		Old  *string `json:"old"` // null if the object was created
		New  *string `json:"new"` // null if the object was dropped
	}{"schema", s.Kind, s.Name, s.On, sql(s.Old), sql(s.New)})
}

func (w *diffJSON) row(t *diff.Table, c diff.Change) error {
	key := jsonRow{}
	for _, f := range t.RowKey(c) {
		key.names, key.values = append(key.names, f.Name), append(key.values, f.Value)
	}
	return w.enc.Encode(struct {
		Type  string   `json:"type"`
		Table string   `json:"table"`
		Key   jsonRow  `json:"key"`
		Old   *jsonRow `json:"old,omitempty"`
		New   *jsonRow `json:"new,omitempty"`
	}{c.Op.String(), t.Name, key, jsonRowOf(t.Columns[0], c.Old), jsonRowOf(t.Columns[1], c.New)})
}

func (w *diffJSON) counts(n diffCounts) error { return w.enc.Encode(n) }
func (w *diffJSON) end() error                { return w.out.Flush() }

// A jsonRow is an object with the columns in their order.
type jsonRow struct {
	names  []string
	values []any
}

func jsonRowOf(names []string, values []any) *jsonRow {
	if values == nil {
		return nil
	}
	return &jsonRow{names, values}
}

// MarshalJSON implements [json.Marshaler].
func (r jsonRow) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, name := range r.names {
		if i > 0 {
			b.WriteByte(',')
		}
		quoted, err := jsonText(name)
		if err != nil {
			return nil, err
		}
		b.Write(quoted)
		b.WriteByte(':')
		value, err := jsonValue(r.values[i])
		if err != nil {
			return nil, err
		}
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func jsonValue(v any) ([]byte, error) {
	switch v := v.(type) {
	case int64:
		return strconv.AppendInt(nil, v, 10), nil
	case float64:
		return []byte(formatReal(v)), nil
	case string:
		if !utf8.ValidString(v) {
			return json.Marshal(map[string]string{"text_base64": base64.StdEncoding.EncodeToString([]byte(v))})
		}
		return jsonText(v)
	case []byte:
		return json.Marshal(map[string]string{"base64": base64.StdEncoding.EncodeToString(v)})
	}
	return []byte("null"), nil
}

// jsonText does not escape the characters of HTML.
func jsonText(s string) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(s)
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), err
}
