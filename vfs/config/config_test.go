package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/walvfs/walvfs/shipper"
)

func lookup(name string) (string, bool) {
	v, ok := map[string]string{
		"KEY":    "AKIA",
		"SECRET": `s: "e" # c${ret}`,
		"BUCKET": "bucket",
		"EMPTY":  "",
	}[name]
	return v, ok
}

// A setting that matters only to the replica's writer does not stop a reader.
func TestCheckWrite(t *testing.T) {
	c, err := parse("litestream.yml", []byte(`
exec: my-app
dbs:
  - path: /data/app.db
    replica: {url: s3://bucket/app}
  - path: /data/other.db
    replica: {url: s3://bucket/other}
`), lookup)
	if err != nil {
		t.Fatal(err)
	}
	db, _ := c.DB("/data/app.db")
	const want = "litestream.yml:2: exec: walvfs runs inside the application"
	if err := db.CheckWrite(); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
	db, _ = c.DB("/data/other.db")
	if err := db.CheckWrite(); err == nil {
		t.Error("the other database has nothing to say")
	}
}

// Levels and retention are Litestream's keys; a database may have its own snapshots.
func TestPolicy(t *testing.T) {
	c, err := parse("walvfs.yml", []byte(`
levels: [{interval: 10s}, {interval: 10m}]
snapshot: {interval: 1h, retention: 720h}
l0-retention: 1m
l0-retention-check-interval: 15s
dbs:
  - path: /data/app.db
    replica: {url: s3://bucket/app}
  - path: /data/other.db
    replica: {url: s3://bucket/other}
    snapshot: {interval: 0s}
`), lookup)
	if err != nil {
		t.Fatal(err)
	}
	want := shipper.Policy{
		Levels:    []time.Duration{10 * time.Second, 10 * time.Minute},
		Snapshots: time.Hour,
		KeepRaw:   time.Minute,
		Retention: 720 * time.Hour,
	}
	db, _ := c.DB("/data/app.db")
	if err := db.CheckWrite(); err != nil || !reflect.DeepEqual(db.Policy, want) {
		t.Errorf("%+v, %v", db.Policy, err)
	}
	db, _ = c.DB("/data/other.db")
	want.Snapshots = -1
	if !reflect.DeepEqual(db.Policy, want) {
		t.Errorf("%+v", db.Policy)
	}
	c, err = parse("walvfs.yml", []byte("retention: {enabled: false}\ndbs: [{path: /a, replica: {url: 's3://b'}}]"), lookup)
	if err != nil || !reflect.DeepEqual(c.DBs[0].Policy, shipper.Policy{Retention: -1}) {
		t.Errorf("%+v, %v", c, err)
	}
	c, err = parse("walvfs.yml", []byte("dbs: [{path: /a, replica: {url: 's3://b'}}]"), lookup)
	if err != nil || !reflect.DeepEqual(c.DBs[0].Policy, shipper.Policy{}) {
		t.Errorf("%+v, %v", c, err)
	}
	for _, bad := range []string{"levels: [{interval: 10s}, {interval: 5s}]", "levels: [{every: 10s}]", "retention: 24h", "snapshot: {retention: soon}"} {
		if _, err := parse("walvfs.yml", []byte(bad), lookup); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	write := func(name, url string) string {
		path := filepath.Join(dir, name)
		data := "dbs: [{path: /data/app.db, replica: {url: " + url + "}}]"
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	flag, env, byDefault := write("flag.yml", "s3://flag"), write("env.yml", "s3://env"), write("default.yml", "s3://default")
	none := filepath.Join(dir, "none.yml")
	for _, c := range []struct{ explicit, byDefault, env, want string }{
		{flag, byDefault, env, "s3://flag"},
		{"", byDefault, env, "s3://env"},
		{"", byDefault, "", "s3://default"},
		{"", none, "", ""},
	} {
		got, err := find(c.explicit, c.byDefault, func(string) string { return c.env })
		if err != nil {
			t.Fatal(err)
		}
		if db, ok := got.DB("/data/app.db"); db.URL != c.want || ok != (c.want != "") {
			t.Errorf("%+v: got %q", c, db.URL)
		}
	}
	if _, err := find(none, byDefault, os.Getenv); err == nil {
		t.Error("a file that was named and does not exist is no error")
	}
	if _, err := find("", byDefault, func(string) string { return none }); err == nil {
		t.Error("a file that the environment names and that does not exist is no error")
	}
}

// A database is found by any path to it, whether or not it exists.
func TestDB(t *testing.T) {
	dir := t.TempDir()
	real := filepath.Join(dir, "real")
	link := filepath.Join(dir, "link")
	if err := os.Mkdir(real, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, link); err != nil {
		t.Skip(err)
	}
	t.Chdir(dir)
	t.Setenv("HOME", dir)
	c, err := parse("walvfs.yml", []byte(`
dbs:
  - path: `+filepath.Join(link, "app.db")+`
    replica: {url: s3://bucket/app}
  - path: ~/home.db
    replica: {url: s3://bucket/home}
`), lookup)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(link, "app.db"):               "s3://bucket/app",
		filepath.Join(real, "app.db"):               "s3://bucket/app",
		"real/app.db":                               "s3://bucket/app",
		"link/../link/./app.db":                     "s3://bucket/app",
		"home.db":                                   "s3://bucket/home",
		"sqlite://" + filepath.Join(dir, "home.db"): "s3://bucket/home",
		"app.db":           "",
		"":                 "",
		"none/none/app.db": "",
	} {
		if db, ok := c.DB(path); db.URL != want || ok != (want != "") {
			t.Errorf("%q: got %q, want %q", path, db.URL, want)
		}
	}
}

// Keys at the top apply to every s3:// URL, and to no other URL.
func TestReplica(t *testing.T) {
	c, err := parse("walvfs.yml", []byte(`
region: top
dbs: [{path: /data/app.db, replica: {url: "s3://bucket/app", region: own}}]
`), lookup)
	if err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{"s3://bucket/app": "own", "s3://bucket/other": "top", "gs://bucket/app": "", "file:///app": ""} {
		if got := c.Replica(url).Region; got != want {
			t.Errorf("%s: region %q, want %q", url, got, want)
		}
	}
}
