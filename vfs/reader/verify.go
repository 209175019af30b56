package reader

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
)

// mostChecks is how many files are read whole at once.
const mostChecks = 4

// verify reads each file of the connection's view whole. It returns ok, or the damage in
// the words of package verify: a line for each file. The connection continues with other
// files that lead to the same TXID, which verify checks as well.
func (c *conn) verify() (string, error) {
	ctx := c.interrupt()
	checked := map[*file]bool{}
	var lines []string
	var out []format.FileInfo
	for {
		damage, err := c.source.check(ctx, c.view.files, checked)
		if err == nil && len(damage) == 0 {
			break
		}
		for _, d := range damage {
			out = append(out, d.File)
			lines = append(lines, fmt.Sprintf("%s: %s", c.source.replica.Key(d.File), strings.TrimPrefix(d.Err.Error(), "format: ")))
		}
		var v *view
		if err == nil {
			v, err = c.source.heal(ctx, c.view, out, damage[0])
		}
		switch {
		case errors.Is(err, errNoOthers):
			lines = append(lines, fmt.Sprintf("%v %s, and reads of damaged pages fail", errNoOthers, c.view.txid))
			return strings.Join(lines, "\n"), nil
		case err != nil:
			return "", err
		}
		c.view = v
	}
	if len(lines) == 0 {
		return "ok", nil
	}
	return strings.Join(lines, "\n"), nil
}

// check reads all files whole that are not in checked, and returns the damaged and
// missing files. It fails if the store does, which proves nothing.
func (s *source) check(ctx context.Context, files []*file, checked map[*file]bool) (damage []*replica.Damaged, err error) {
	found := make([]*replica.Damaged, len(files))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(mostChecks)
	for i, f := range files {
		if checked[f] {
			continue
		}
		checked[f] = true
		g.Go(func() (err error) {
			found[i], err = s.checkFile(ctx, f)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(found, func(d *replica.Damaged) bool { return d == nil }), nil
}

func (s *source) checkFile(ctx context.Context, f *file) (*replica.Damaged, error) {
	h, t, err := s.replica.Decode(ctx, f.info, nil)
	if err == nil && (h != f.header || t.FileChecksum != f.checksum) {
		err = s.damaged(f.info, errors.New("another file replaced it after the database was opened"))
	}
	if _, gone := errors.AsType[*replica.Missing](err); gone {
		err = s.damaged(f.info, errors.New("it no longer exists"))
	}
	d, ok := errors.AsType[*replica.Damaged](err)
	if !ok {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unfit == nil {
		s.unfit = map[listedFile]bool{}
	}
	s.unfit[listedFile{f.info, f.written}] = true
	return d, nil
}
