package config

import "testing"

func TestBelowBase(t *testing.T) {
	for _, test := range []struct{ base, file, want string }{
		{"s3://bucket/base", "app.db", "s3://bucket/base/app.db"},
		{"s3://bucket/base/", "app.db", "s3://bucket/base/app.db"},
		{"s3://bucket", "app.db", "s3://bucket/app.db"},
		{"s3://bucket/base?endpoint=https://h&region=r", "a?b#c%20.db", "s3://bucket/base/a%3Fb%23c%2520.db?endpoint=https://h&region=r"},
		{"s3://bucket/a%20b", "ü.db", "s3://bucket/a%20b/%C3%BC.db"},
		{"bucket/base", "app.db", ""},
		{"s3://user:hunter2@b\x7f", "app.db", ""},
	} {
		got, err := belowBase(test.base, test.file)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s and %s: %s, %v, want %s", test.base, test.file, got, err, test.want)
		}
	}
}
