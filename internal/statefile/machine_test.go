package statefile

import "testing"

// Two containers of one host have different root file systems, and all processes of a
// container have the same.
func TestRootMount(t *testing.T) {
	const (
		a = "612 540 0:58 / / rw,relatime - overlay overlay rw,lowerdir=/l,upperdir=/a/diff,workdir=/a/work\n613 612 0:61 / /proc rw - proc proc rw\n"
		b = "712 640 0:58 / / rw,relatime - overlay overlay rw,lowerdir=/l,upperdir=/b/diff,workdir=/b/work\n713 712 0:61 / /proc rw - proc proc rw\n"
		c = "912 840 0:58 / / rw,relatime - overlay overlay rw,lowerdir=/l,upperdir=/a/diff,workdir=/a/work\n"
	)
	if string(rootMount([]byte(a))) == string(rootMount([]byte(b))) {
		t.Error("two containers have one root")
	}
	if string(rootMount([]byte(a))) != string(rootMount([]byte(c))) {
		t.Error("a container has two roots")
	}
	if got := rootMount([]byte("nothing")); got != nil {
		t.Errorf("got %q", got)
	}
}
