package reader

import (
	"os"
	"strings"
	"testing"
)

// Each parameter and each PRAGMA is documented.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("api.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parameters {
		if !strings.Contains(string(text), "//\t"+p.name+"=") {
			t.Errorf("%s is not in api.go", p.name)
		}
	}
	source, err := os.ReadFile("pragma.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(source), "\n") {
		if name, ok := strings.CutPrefix(line, "\tcase \"walvfs_"); ok {
			name = "PRAGMA walvfs_" + strings.TrimSuffix(name, "\":")
			if !strings.Contains(string(text), "//\t"+name) {
				t.Errorf("%s is not in api.go", name)
			}
		}
	}
}
