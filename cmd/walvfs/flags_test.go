package main

import (
	"io"
	"slices"
	"testing"
)

func TestGoFlags(t *testing.T) {
	k := newParser(&cli{}, &app{stdout: io.Discard, stderr: io.Discard})
	for _, c := range []struct{ args, want []string }{
		{[]string{"restore", "-force"}, []string{"restore", "--force"}},
		{[]string{"restore", "--force"}, []string{"restore", "--force"}},
		{[]string{"restore", "-txid=5", "-o", "x"}, []string{"restore", "--txid=5", "-o", "x"}},
		{[]string{"restore", "-o=x=y"}, []string{"restore", "-o", "x=y"}},
		{[]string{"restore", "-qo", "x"}, []string{"restore", "-qo", "x"}},
		{[]string{"restore", "-oforce"}, []string{"restore", "-oforce"}},
		{[]string{"restore", "-", "force"}, []string{"restore", "-", "force"}},
		{[]string{"restore", "--", "-force"}, []string{"restore", "--", "-force"}},
		{[]string{"-help"}, []string{"--help"}},
	} {
		if got := goFlags(k.Model, c.args); !slices.Equal(got, c.want) {
			t.Errorf("%q became %q, want %q", c.args, got, c.want)
		}
	}
}
