package storagetest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

// tool is a program that tests run, pinned by the module in tools/<name>.
type tool struct {
	name string
	pkg  string
	path func() (string, error) // builds it, once per process
}

var (
	versitygw  = newTool("versitygw", "github.com/versity/versitygw/cmd/versitygw")
	fakeGCS    = newTool("fake-gcs-server", "github.com/fsouza/fake-gcs-server")
	litestream = newTool("litestream", "github.com/benbjohnson/litestream/cmd/litestream")
	toxiproxy  = newTool("toxiproxy", "github.com/Shopify/toxiproxy/v2/cmd/server")
)

// Tests runs the tests of a package: a [testing.M].
type Tests interface{ Run() int }

// WithTools returns tests that begin when all tools are built, in parallel: neither a
// test's deadline nor go test's -timeout runs meanwhile. If a tool does not build, the
// tests that need it fail.
func WithTools(tests Tests) Tests {
	return withTools{tests, []*tool{versitygw, fakeGCS, litestream, toxiproxy}}
}

type withTools struct {
	Tests
	tools []*tool
}

// toolsBuilt is an environment variable for processes started by tests: they may run as
// another user, have another cache directory, and must begin at once.
const toolsBuilt = "WALVFS_TEST_TOOLS_BUILT"

func (w withTools) Run() int {
	if os.Getenv(toolsBuilt) == "" {
		var building sync.WaitGroup
		for _, t := range w.tools {
			building.Go(func() { t.path() })
		}
		building.Wait()
		os.Setenv(toolsBuilt, "1")
	}
	return w.Tests.Run()
}

func newTool(name, pkg string) *tool {
	t := &tool{name: name, pkg: pkg}
	t.path = sync.OnceValues(t.build)
	return t
}

// build returns the path of the built program. Concurrent test processes wait for the
// first one's build, and no process sees an incomplete file.
func (t *tool) build() (string, error) {
	module, err := moduleDir(t.name)
	if err != nil {
		return "", err
	}
	name, err := t.fileName(module)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	bin := filepath.Join(cache, "walvfs-test", name)
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	if err := os.MkdirAll(filepath.Dir(bin), 0o755); err != nil {
		return "", err
	}
	fmt.Fprintf(os.Stderr, "building %s for the tests, once\n", name)
	begun := time.Now()
	unlock, err := lock(bin + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(bin); err == nil {
		return bin, nil // another process built it meanwhile
	}
	temp := fmt.Sprintf("%s.%d", bin, os.Getpid())
	defer os.Remove(temp)
	cmd := exec.Command("go", "build", "-C", module, "-trimpath", "-ldflags=-s -w", "-o", temp, t.pkg)
	// The tests' build settings do not apply to the tools.
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly -buildvcs=false", "CGO_ENABLED=0",
		"GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", t.pkg, err, out)
	}
	fmt.Fprintf(os.Stderr, "built %s in %s\n", name, time.Since(begun).Round(time.Second))
	return bin, os.Rename(temp, bin)
}

// fileName is the tool's name and version, and a digest of everything that a build
// depends on.
func (t *tool) fileName(module string) (string, error) {
	mod, err := os.ReadFile(filepath.Join(module, "go.mod"))
	if err != nil {
		return "", err
	}
	sum, err := os.ReadFile(filepath.Join(module, "go.sum"))
	if err != nil {
		return "", err
	}
	version := ""
	for line := range strings.Lines(string(mod)) {
		f := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(f) >= 2 && strings.HasPrefix(t.pkg+"/", f[0]+"/") && strings.HasPrefix(f[1], "v") {
			version = f[1]
		}
	}
	if version == "" {
		return "", fmt.Errorf("%s/go.mod does not require %s", module, t.pkg)
	}
	digest := sha256.Sum256(bytes.Join([][]byte{mod, sum, []byte(runtime.Version() + runtime.GOOS + runtime.GOARCH)}, nil))
	name := fmt.Sprintf("%s-%s-%x", t.name, version, digest[:4])
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return name, nil
}

// moduleDir finds tools/<name> next to this file. Tests built with -trimpath do not have
// the path of their sources; the go command does.
func moduleDir(name string) (string, error) {
	_, self, _, _ := runtime.Caller(0)
	dir := filepath.Join(filepath.Dir(self), "tools", name)
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
		return dir, nil
	}
	out, err := exec.Command("go", "list", "-f", "{{.Dir}}", "github.com/walvfs/walvfs/shipper/storage/storagetest").Output()
	if err != nil {
		return "", fmt.Errorf("finding the sources of the test tools: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "tools", name), nil
}
