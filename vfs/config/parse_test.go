package config

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/walvfs/walvfs/shipper/storage"
)

// someKeys are the credentials that lookup returns.
var someKeys = storage.Options{AccessKeyID: "AKIA", SecretAccessKey: `s: "e" # c${ret}`}

// parsed holds files, and their settings of /data/app.db.
var parsed = map[string]struct {
	file string
	want DB
}{
	"issue": {`
access-key-id: $KEY
secret-access-key: ${SECRET}
dbs:
  - path: /data/app.db
    replicas:
      - url: s3://${BUCKET}/app
        endpoint: https://storage.example.com
        region: eu
        force-path-style: true
`, DB{URL: "s3://bucket/app", Options: storage.Options{
		AccessKeyID: someKeys.AccessKeyID, SecretAccessKey: someKeys.SecretAccessKey,
		Endpoint: "https://storage.example.com", Region: "eu", PathStyle: true,
	}}},
	"single replica, keys of its own": {`
access-key-id: other
secret-access-key: other
dbs:
  - path: /data/app.db
    restore-if-db-not-exists: true
    replica:
      url: s3://bucket/app
      access-key-id: $KEY
      secret-access-key: $SECRET
      sync-interval: 5s
`, DB{URL: "s3://bucket/app", Options: someKeys, Interval: 5 * time.Second, RestoreIfMissing: true}},
	"inherited": {`
region: eu
endpoint: storage.example.com
sync-interval: 0s
force-path-style: false
dbs: [{path: /data/app.db, replica: {url: "s3://bucket/app?region=us"}}]
`, DB{URL: "s3://bucket/app?force-path-style=false&region=us", Interval: -1, Options: storage.Options{Endpoint: "storage.example.com", Region: "eu"}}},
	"keys at the top are not for gs": {`
access-key-id: $KEY
secret-access-key: $SECRET
dbs: [{path: /data/app.db, replica: {url: "gs://bucket/app"}}]
`, DB{URL: "gs://bucket/app"}},
	"encryption": {`
sse: AES256
storage-class: STANDARD_IA
request-payer: requester
dbs:
  - path: /data/app.db
    replica: {url: s3://bucket/app, sse-customer-algorithm: AES256, sse-customer-key: $KEY, storage-class: ONEZONE_IA}
`, DB{URL: "s3://bucket/app", Options: storage.Options{SSECustomerKey: "AKIA", StorageClass: "ONEZONE_IA", RequestPayer: "requester"}}},
	"encryption at the top": {`
sse-kms-key-id: alias/app
sse-customer-key-path: ""
dbs: [{path: /data/app.db, replica: {url: "s3://bucket/app"}}]
`, DB{URL: "s3://bucket/app", Options: storage.Options{SSEKMSKeyID: "alias/app"}}},
	"no url": {`
dbs:
  - path: /data/app.db
    replica: {type: s3, bucket: bucket, path: a/b c, skip-verify: false}
`, DB{URL: "s3://bucket/a/b%20c"}},
	"directory": {`
dbs:
  - path: sqlite:///data/app.db
    replica: {path: /backup/app}
`, DB{URL: "file:///backup/app"}},
	"Litestream's own business": {`
addr: ":9090"
logging: {level: debug}
dbs:
  - path: &path /data/app.db
    meta-path: /x
    monitor-interval: 1s
    busy-timeout: 5s
    replica: {type: file, path: *path, validation-interval: 1h, storage-class:}
`, DB{URL: "file:///data/app.db"}},
	"dollars": {`
dbs: [{path: /data/app.db, replica: {url: "s3://bucket/$$a$/$EMPTY"}}]
`, DB{URL: "s3://bucket/$a$/"}},
}

func TestParse(t *testing.T) {
	for name, c := range parsed {
		t.Run(name, func(t *testing.T) {
			got, err := parse("walvfs.yml", []byte(c.file), lookup)
			if err != nil {
				t.Fatal(err)
			}
			db, ok := got.DB("/data/app.db")
			c.want.Path = "/data/app.db"
			if !ok || len(got.DBs) != 1 {
				t.Fatalf("databases are %v", got.DBs)
			}
			if err := db.CheckWrite(); err != nil {
				t.Error(err)
			}
			if db.Path != c.want.Path || db.URL != c.want.URL || db.Options != c.want.Options || db.Interval != c.want.Interval || db.RestoreIfMissing != c.want.RestoreIfMissing {
				t.Errorf("got  %#v\nwant %#v", db, c.want)
			}
			if got := (db.Options.SecretAccessKey); got != c.want.Options.SecretAccessKey {
				t.Errorf("the secret differs")
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	for file, want := range map[string]string{
		"bds: []":                      `walvfs.yml:1: at the top: unknown key "bds": did you mean "dbs"?`,
		"\n\nacces-key-id: x":          `walvfs.yml:3: at the top: unknown key "acces-key-id": did you mean "access-key-id"?`,
		"url: s3://bucket/app":         `walvfs.yml:1: at the top: unknown key "url": it belongs to a replica, under replicas of a database`,
		"path: /x":                     `it belongs to a database, under dbs`,
		"xyzzyx: 1":                    `walvfs.yml:1: at the top: unknown key "xyzzyx"`,
		"region: a\nregion: b":         `walvfs.yml:2: region: it is there already, in line 1`,
		"region: [a]":                  `walvfs.yml:1: region: expected a single value`,
		"<<: {}":                       `merge keys are not read`,
		"- a":                          `walvfs.yml:1: at the top: expected keys and values`,
		"dbs: x":                       `walvfs.yml:1: dbs: expected a list`,
		"region: a\n---\na: b":         `walvfs.yml:2: a second document begins here`,
		"region: a\n b: c":             `walvfs.yml:2: not YAML: mapping values are not allowed in this context`,
		"region: *hush":                `walvfs.yml:1: not YAML: an alias without its anchor`,
		"region: ${NO_SUCH}":           `walvfs.yml:1: region: the environment variable NO_SUCH is not set`,
		"region: ${KEY":                `walvfs.yml:1: region: after ${`,
		"region: $hush":                `walvfs.yml:1: region: the environment variable after $ is not set`,
		"force-path-style: yep":        `walvfs.yml:1: force-path-style: expected true or false`,
		"sync-interval: 5":             `walvfs.yml:1: sync-interval: expected a duration`,
		"access-key-id: x":             `walvfs.yml:1: access-key-id and secret-access-key belong together`,
		"skip-verify: true":            `walvfs.yml:1: skip-verify: walvfs verifies certificates`,
		"sse-customer-algorithm: hush": `walvfs.yml:1: sse-customer-algorithm: expected AES256`,
		"age: {recipients: [x]}":       `encrypted replicas cannot be read`,

		"dbs:\n  - replica: {url: s3://b}": `walvfs.yml:2: a database: its path is missing`,
		"dbs:\n  - path: /a":               `walvfs.yml:2: a database: it needs one replica, and has 0`,
		"dbs:\n  - dir: /a":                `walvfs.yml:2: dir: directories are not searched`,
		"dbs: [{path: /a, replicas: [{url: s3://b}, {url: s3://c}]}]":                     `it needs one replica, and has 2`,
		"dbs: [{path: /a, replicas: [{url: s3://b}], replica: {path: /}}]":                `it needs one replica, and has 2`,
		"dbs: [{path: /a, replica: {path: /x}}, {path: /b/../a}]":                         `a database: /a is there already`,
		"dbs: [{path: /a, replica: {bucket: b}}]":                                         `a replica: its url is missing`,
		"dbs: [{path: /a, replica: {type: s3, bucket: 'arn:aws:s3:eu:1:accesspoint/a'}}]": `an access point is named by its alias`,
		"dbs: [{path: /a, replica: {url: 's3://arn:aws:s3:eu:1:accesspoint/a/p'}}]":       `an access point is named by its alias`,
		"dbs: [{path: /a, replica: {url: 'gs://b', sse: AES256}}]":                        `are for s3:// URLs`,
		"dbs: [{path: /a, replica: {type: s3}}]":                                          `a replica: a bucket is needed`,
		"dbs: [{path: /a, replica: {url: b}}]":                                            `a replica: url: expected file:///dir`,
		"dbs: [{path: /a, replica: {url: 's3://b', bucket: c}}]":                          `write one or the other`,
		"dbs: [{path: /a, replica: {url: 's3://b', type: gs}}]":                           `it contradicts the URL`,
		"dbs: [{path: /a, replica: {url: 'sftp://b'}}]":                                   `walvfs has file, s3 and gs`,
		"dbs: [{path: /a, replica: {type: abs, bucket: b}}]":                              `walvfs has file, s3 and gs`,
		"dbs: [{path: /a, replica: {url: 's3://b', account-key: hush}}]":                  `account-key: it is of a kind of store`,
		"dbs: [{path: /a, replica: {url: 'gs://b', region: x}}]":                          `are for s3:// URLs`,
		"dbs: [{path: /a, replica: {urll: 's3://b'}}]":                                    `a replica: unknown key "urll": did you mean "url"?`,
		"dbs: [{path: /a, replica: {url: 's3://b', dbs: []}}]":                            `it belongs at the top of the file`,
	} {
		_, err := parse("walvfs.yml", []byte(file), lookup)
		if err == nil {
			t.Errorf("%q: accepted, want %q", file, want)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v\nwant %q", file, err, want)
		} else if strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: the error repeats a value: %v", file, err)
		}
	}
}

// All errors are reported at once.
func TestParseAllErrors(t *testing.T) {
	_, err := parse("walvfs.yml", []byte("bds: 1\nskip-verify: true\nforce-path-style: 7\n"), lookup)
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("want three lines, got: %v", err)
	}
}

// Errors contain no secrets, whatever is wrong with a line.
func TestSecretsAreNotRepeated(t *testing.T) {
	for _, value := range []string{
		"*hush/7", "&hush/7", "!hush/7 [", "!!hush/7", "hush/7: x: y", "@hush/7", "`hush/7", "[hush/7]", "{hush/7: x}", `"hush/7`,
		"'hush/7' x", "%hush/7", "|hush/7", "$hush7", "${hush/7}", "x$hush", "- hush/7", "\thush/7", "hush/7\n  hush/7: x",
	} {
		for _, file := range []string{
			"access-key-id: x\nsecret-access-key: " + value + "\nbad: [\n",
			"secret-access-key: " + value + "\nnone: 1",
			"dbs: [{path: /a, replica: {url: 's3://b'}, secret-access-key: " + value + "}]\nnone: 1",
			"skip-verify: " + value + "\nnone: 1",
			"sync-interval: " + value + "\nnone: 1",
			"secret-access-key:" + value,
			"dbs: [{path: /a, replica: {url: " + value + "}}]\nnone: 1",
		} {
			_, err := parse("walvfs.yml", []byte(file), lookup)
			if err == nil {
				t.Errorf("accepted: %s", file)
			} else if strings.Contains(err.Error(), "hush") {
				t.Errorf("%q: %v", file, err)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("dbs: [{path: /a, replica: {url: s3://b}}]"))
	f.Add([]byte("a: &a [*a]\nb: {<<: *a}"))
	f.Add([]byte("dbs:\n- path: ${KEY}\n  replicas:\n  - type: s3\n    bucket: b\n    path: $SECRET\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parse("walvfs.yml", data, lookup)
		if err != nil {
			return
		}
		for _, db := range c.DBs {
			if !filepath.IsAbs(db.Path) || !strings.Contains(db.URL, ":") {
				t.Errorf("%q: accepted %#v", data, db)
			}
			if _, ok := c.DB(db.Path); !ok {
				t.Errorf("%q: %q is not found", data, db.Path)
			}
		}
	})
}

func FuzzSecret(f *testing.F) {
	f.Add("", "")
	f.Add("*", "")
	f.Add("[", ": x")
	f.Fuzz(func(t *testing.T, before, after string) {
		if strings.ContainsAny(before+after, "\r\n\u0085\u2028\u2029") {
			return // the next text is a line of its own
		}
		file := "access-key-id: x\nsecret-access-key: " + before + "hush/7" + after + "\nnone: 1\n"
		_, err := parse("walvfs.yml", []byte(file), lookup)
		if err != nil && strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: %v", file, err)
		}
	})
}
