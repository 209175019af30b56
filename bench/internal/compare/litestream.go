package compare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// litestreamVersion is the version of Litestream in the comparisons.
const litestreamVersion = "v0.5.18"

// litestreamProgram returns the program on PATH if it has that version, and otherwise
// builds the program from its module.
func litestreamProgram(l *lender) string {
	if path, err := exec.LookPath("litestream"); err == nil {
		out, err := exec.CommandContext(l.Context(), path, "version").Output()
		if err == nil && "v"+strings.TrimPrefix(strings.TrimSpace(string(out)), "v") == litestreamVersion {
			return path
		}
	}
	path := storagetest.Litestream(l)
	if !strings.Contains(filepath.Base(path), litestreamVersion) {
		l.Fatalf("expected Litestream %s, got %s", litestreamVersion, path)
	}
	return path
}

// litestream is a process that replicates databases.
type litestream struct {
	cmd *exec.Cmd
	log *bytes.Buffer
}

// startLitestream starts Litestream for all databases of a run, and returns when each of
// them has a snapshot.
func startLitestream(ctx context.Context, bin, dir string, p *place, databases int, interval time.Duration) (*litestream, error) {
	config := filepath.Join(dir, "litestream.yml")
	if err := os.WriteFile(config, litestreamConfig(dir, p, databases, interval), 0o600); err != nil {
		return nil, err
	}
	s := &litestream{cmd: exec.CommandContext(ctx, bin, "replicate", "-config", config), log: &bytes.Buffer{}}
	s.cmd.Env = append(os.Environ(), p.used.Env...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	if err := waitForReplicas(ctx, p, databases); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// litestreamConfig sets only what to replicate, and an interval if there is one.
func litestreamConfig(dir string, p *place, databases int, interval time.Duration) []byte {
	var b bytes.Buffer
	b.WriteString("dbs:\n")
	for i := range databases {
		fmt.Fprintf(&b, "  - path: %s\n", databasePath(dir, i))
		if interval > 0 {
			fmt.Fprintf(&b, "    monitor-interval: %s\n", interval)
		}
		fmt.Fprintf(&b, "    replica:\n      url: %s\n", replicaURL(p.used, i))
		if interval > 0 {
			fmt.Fprintf(&b, "      sync-interval: %s\n", interval)
		}
	}
	return b.Bytes()
}

// waitForReplicas waits until each database has a snapshot in the store, which appears
// about a second after the first file. Then the start is over.
func waitForReplicas(ctx context.Context, p *place, databases int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for i := range databases {
		store, err := p.store(ctx, i)
		if err != nil {
			return err
		}
		for {
			files, err := replica.All(ctx, store)
			if err == nil && slices.ContainsFunc(files, func(f replica.File) bool { return f.Level == format.LevelSnapshot }) {
				break
			}
			select {
			case <-ctx.Done():
				store.Close()
				return fmt.Errorf("no snapshot of database %d: %w", i, errors.Join(ctx.Err(), err))
			case <-time.After(20 * time.Millisecond):
			}
		}
		store.Close()
	}
	return nil
}

// stop ends Litestream as a service manager does: Litestream uploads the remaining
// changes.
func (s *litestream) stop() error {
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("litestream replicate: %w\n%s", err, s.log)
	}
	return nil
}

// litestreamRestore restores the first database.
func litestreamRestore(ctx context.Context, bin string, p *place, target string) error {
	cmd := exec.CommandContext(ctx, bin, "restore", "-o", target, p.used.URL)
	cmd.Env = append(os.Environ(), p.used.Env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("litestream restore: %w\n%s", err, out)
	}
	return nil
}
