package config

import (
	"errors"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/walvfs/walvfs/shipper/storage"
)

// replica is a replica as the file describes it.
type replica struct {
	settings
	line int
	kind string // Litestream's type
	url  string
	path string // in the bucket, or of the directory
}

// root reads the whole file.
func (p *parser) root(n *yaml.Node, c *Config) {
	var top settings
	var dbs []*yaml.Node
	p.mapping(n, "at the top", p.topKeys(&top, func(n *yaml.Node) { dbs = append(dbs, n) }), &top.writing)
	c.Defaults = top.storageOptions()
	p.checkKeys(n.Line, top.options)
	for _, n := range dbs {
		p.db(n, &top, c) // after the whole top, from which it inherits
	}
}

// db reads an element of dbs.
func (p *parser) db(n *yaml.Node, top *settings, c *Config) {
	db := DB{writing: slices.Clone(top.writing)}
	var name string
	var own policy
	var replicas []*yaml.Node
	add := func(n *yaml.Node) { replicas = append(replicas, n) }
	p.mapping(n, "a database", p.dbKeys(&db, &name, &own, func(_ string, n *yaml.Node) { add(n) }, p.sequence(add)), &db.writing)
	db.Policy = own.policy(top.policy)
	if name == "" {
		p.fail(n.Line, "a database: its path is missing")
		return
	}
	var err error
	if db.Path, err = absolute(name); err != nil {
		p.fail(n.Line, "a database: %v", err)
		return
	}
	if _, ok := c.DB(db.Path); ok {
		p.fail(n.Line, "a database: %s is there already", db.Path)
		return
	}
	if len(replicas) != 1 {
		p.fail(n.Line, "a database: it needs one replica, and has %d", len(replicas))
		return
	}
	r := replica{line: replicas[0].Line}
	p.mapping(replicas[0], "a replica", p.replicaKeys(&r), &db.writing)
	p.finish(&r, top, &db)
	c.DBs = append(c.DBs, db)
}

// finish makes a URL and options from the settings of the replica and the top.
func (p *parser) finish(r *replica, top *settings, db *DB) {
	u, err := r.parseURL(top)
	if err != nil {
		p.fail(r.line, "a replica: %v", err)
		return
	}
	if db.Interval = r.interval; db.Interval == 0 {
		db.Interval = top.interval
	}
	switch u.Scheme {
	case "s3":
		r.inherit(top)
		if r.pathStyle != nil && !*r.pathStyle {
			q := u.Query()
			q.Set("force-path-style", "false") // options cannot express it
			u.RawQuery = q.Encode()
		}
		db.Options = r.storageOptions()
		p.checkKeys(r.line, db.Options)
	default: // the settings at the top are Litestream's for S3
		if r.options != (storage.Options{}) || r.pathStyle != nil {
			p.fail(r.line, "a replica: access keys, endpoint, region, path style, encryption and storage class are for s3:// URLs (a gs:// URL has parameters for the last two)")
		}
	}
	db.URL = u.String()
}

func (r *replica) parseURL(top *settings) (*url.URL, error) {
	if r.url == "" {
		return r.build(top)
	}
	if strings.HasPrefix(r.url, "s3://arn:") {
		return nil, storage.Check(r.url)
	}
	u, err := url.Parse(r.url)
	switch {
	case err != nil || u.Scheme == "":
		return nil, errors.New("url: expected file:///dir, s3://bucket/path or gs://bucket/path")
	case r.path != "" || r.bucket != "":
		return nil, errors.New("url and path or bucket: the URL has both, so write one or the other")
	case r.kind != "" && r.kind != u.Scheme:
		return nil, errors.New("type: it contradicts the URL")
	}
	return u, checkKind(u.Scheme)
}

// build makes a URL from the keys that Litestream has instead of one.
func (r *replica) build(top *settings) (*url.URL, error) {
	switch r.kind {
	case "", "file":
		if r.path == "" || strings.Contains(r.path, "://") {
			return nil, errors.New("its url is missing")
		}
		dir, err := absolute(r.path)
		if err != nil {
			return nil, err
		}
		return &url.URL{Scheme: "file", Path: path.Join("/", filepath.ToSlash(dir))}, nil
	}
	if err := checkKind(r.kind); err != nil {
		return nil, err
	}
	bucket := r.bucket
	if bucket == "" {
		bucket = top.bucket
	}
	if strings.HasPrefix(bucket, "arn:") {
		return nil, storage.Check("s3://" + bucket)
	}
	if bucket == "" || strings.ContainsAny(bucket, "/?#@") {
		return nil, errors.New("a bucket is needed, or a url")
	}
	return &url.URL{Scheme: r.kind, Host: bucket, Path: path.Join("/", r.path)}, nil
}

// checkKind refuses the stores that only Litestream has. Other schemes may belong to the
// program's own drivers.
func checkKind(kind string) error {
	if slices.Contains([]string{"abs", "nats", "oss", "sftp", "webdav", "webdavs"}, kind) {
		return errors.New("unsupported store (walvfs has file, s3 and gs)")
	}
	return nil
}

// inherit takes settings from the top that the replica does not set. The encryption
// settings belong together: a replica that sets one of them inherits none of them.
func (s *settings) inherit(top *settings) {
	own, from := &s.options, &top.options
	for _, group := range [][]struct{ mine, top *string }{
		{{&own.AccessKeyID, &from.AccessKeyID}},
		{{&own.SecretAccessKey, &from.SecretAccessKey}},
		{{&own.Endpoint, &from.Endpoint}},
		{{&own.Region, &from.Region}},
		{{&own.StorageClass, &from.StorageClass}},
		{{&own.RequestPayer, &from.RequestPayer}},
		{{&own.SSE, &from.SSE}, {&own.SSEKMSKeyID, &from.SSEKMSKeyID}, {&own.SSECustomerKey, &from.SSECustomerKey}, {&own.SSECustomerKeyPath, &from.SSECustomerKeyPath}},
	} {
		said := false
		for _, v := range group {
			said = said || *v.mine != ""
		}
		for _, v := range group {
			if !said {
				*v.mine = *v.top
			}
		}
	}
	if s.pathStyle == nil {
		s.pathStyle = top.pathStyle
	}
}

func (s *settings) storageOptions() storage.Options {
	o := s.options
	o.PathStyle = s.pathStyle != nil && *s.pathStyle
	return o
}

func (p *parser) checkKeys(line int, o storage.Options) {
	if (o.AccessKeyID == "") != (o.SecretAccessKey == "") {
		p.fail(line, "access-key-id and secret-access-key belong together: set both or neither")
	}
}
