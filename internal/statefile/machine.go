package statefile

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"sync"
)

// MachineID returns the identifier of this machine, as in [Record.Machine], "" if it has
// none.
func MachineID() string { return machineID() }

// machineID reads the identifier once. The identifier is no secret, but the machine's own
// ID must stay one: machine-id(5) asks for a keyed hash of it. A container usually has no
// machine ID. Its root file system and the boot of its host identify it: its host name
// may also be that of a container in another cluster, which works with a clone of the
// volume.
//
// https://www.freedesktop.org/software/systemd/man/latest/machine-id.html
var machineID = sync.OnceValue(func() string {
	for _, name := range []string{"/etc/machine-id", "/var/lib/dbus/machine-id"} {
		b, _ := os.ReadFile(name)
		if id, err := hex.DecodeString(string(bytes.TrimSpace(b))); err == nil && len(id) == 16 {
			return hashMachine(id, "walvfs machine")
		}
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	mounts, merr := os.ReadFile("/proc/self/mountinfo")
	if err != nil || merr != nil {
		return ""
	}
	return hashMachine(append(boot, rootMount(mounts)...), "walvfs container")
})

// rootMount returns the fields of the root file system in /proc/self/mountinfo, which
// differ between containers.
//
// https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html
func rootMount(mounts []byte) (root []byte) {
	for line := range bytes.Lines(mounts) {
		if fields := bytes.Fields(line); len(fields) > 4 && string(fields[4]) == "/" {
			root = bytes.Join(fields[2:], []byte(" ")) // the last mount is on top; mount IDs change
		}
	}
	return root
}

func hashMachine(id []byte, application string) string {
	h := hmac.New(sha256.New, id)
	h.Write([]byte(application))
	return hex.EncodeToString(h.Sum(nil)[:16])
}
