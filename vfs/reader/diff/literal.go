package diff

import (
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Literal returns a value as SQL that evaluates to the same value of the same type.
//
// https://sqlite.org/lang_expr.html#literal_values_constants_
func Literal(v any) string {
	switch v := v.(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return real(v)
	case string:
		return text(v)
	case []byte:
		return "X'" + hex.EncodeToString(v) + "'"
	}
	return "NULL"
}

func real(v float64) string {
	switch {
	case math.IsInf(v, 1):
		return "9e999"
	case math.IsInf(v, -1):
		return "-9e999"
	}
	s := strconv.FormatFloat(v, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}

// text protects a string from shells and editors, which end it at a zero byte, and change
// carriage returns and bytes that are not UTF-8.
func text(v string) string {
	if !utf8.ValidString(v) {
		return "CAST(X'" + hex.EncodeToString([]byte(v)) + "' AS TEXT)"
	}
	odd := func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r == 0x7f }
	if !strings.ContainsFunc(v, odd) {
		return quoted(v)
	}
	var parts []string
	for len(v) > 0 {
		i := strings.IndexFunc(v, odd)
		if i < 0 {
			i = len(v)
		}
		if i > 0 {
			parts = append(parts, quoted(v[:i]))
		}
		n := i
		var codes []string
		for n < len(v) && odd(rune(v[n])) && len(codes) < 100 {
			codes = append(codes, fmt.Sprint(v[n]))
			n++
		}
		if len(codes) > 0 {
			parts = append(parts, "char("+strings.Join(codes, ",")+")")
		}
		v = v[n:]
	}
	return concat(parts)
}

// concat joins expressions as a tree, because SQLite limits the depth of expressions.
func concat(parts []string) string {
	if len(parts) == 1 {
		return parts[0]
	}
	n := len(parts) / 2
	return "(" + concat(parts[:n]) + "||" + concat(parts[n:]) + ")"
}

func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
