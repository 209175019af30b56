package main

import (
	"encoding/hex"
	"math"
	"strconv"
	"strings"

	"github.com/ncruces/go-sqlite3"
)

// A sqlValue is a value that a statement returned.
type sqlValue struct {
	kind  sqlite3.Datatype
	bytes []byte // of a text or a blob, valid until the next row
	text  string // of a number
}

func valueOf(stmt *sqlite3.Stmt, column int) sqlValue {
	v := sqlValue{kind: stmt.ColumnType(column)}
	switch v.kind {
	case sqlite3.INTEGER:
		v.text = strconv.FormatInt(stmt.ColumnInt64(column), 10)
	case sqlite3.FLOAT:
		v.text = formatReal(stmt.ColumnFloat(column))
	case sqlite3.TEXT:
		v.bytes = stmt.ColumnRawText(column)
	case sqlite3.BLOB:
		v.bytes = stmt.ColumnRawBlob(column)
	}
	return v
}

// formatReal returns the shortest text that reads as this number and not as an integer.
// SQL and JSON have no other spelling of infinity.
func formatReal(f float64) string {
	switch size := math.Abs(f); {
	case math.IsInf(f, 0):
		return strconv.FormatFloat(math.Copysign(9, f), 'f', -1, 64) + "e999"
	case size != 0 && (size < 1e-6 || size >= 1e21):
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// blobLiteral returns a blob as an SQL literal.
func blobLiteral(b []byte) string { return "X'" + hex.EncodeToString(b) + "'" }

// tabEscapes are the escapes of PostgreSQL's COPY.
var tabEscapes = strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`)

func tabValue(v sqlValue) string {
	switch v.kind {
	case sqlite3.NULL:
		return `\N`
	case sqlite3.BLOB:
		return blobLiteral(v.bytes)
	case sqlite3.TEXT:
		return tabEscapes.Replace(string(v.bytes))
	}
	return v.text
}

// csvValue distinguishes an empty text from NULL, which encoding/csv does not.
func csvValue(v sqlValue) string {
	switch v.kind {
	case sqlite3.NULL:
		return ""
	case sqlite3.BLOB:
		return blobLiteral(v.bytes)
	case sqlite3.TEXT:
		s := string(v.bytes)
		if s == "" || strings.ContainsAny(s, "\",\r\n") || s[0] == ' ' || s[len(s)-1] == ' ' {
			return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
		}
		return s
	}
	return v.text
}
