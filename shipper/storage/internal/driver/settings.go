package driver

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/walvfs/walvfs/shipper/storage"
)

// Settings are how objects are stored. The URL's query and the options use the same names
// in all drivers.
type Settings struct {
	SSE          string // S3: AES256, aws:kms or aws:kms:dsse; empty: the bucket's default
	KMSKeyID     string
	CustomerKey  string // 32 raw bytes; a secret
	StorageClass string
}

// Names of the query's parameters. Each driver accepts those it supports.
const (
	ParamSSE             = "sse"
	ParamKMSKeyID        = "sse-kms-key-id"
	ParamCustomerKeyPath = "sse-customer-key-path"
	ParamStorageClass    = "storage-class"
	ParamRequestPayer    = "request-payer" // S3
	ParamUserProject     = "user-project"  // GCS
)

// ReadSettings reads settings from the options, then the query, then the environment.
func ReadSettings(q url.Values, opts storage.Options) (Settings, error) {
	s := Settings{
		SSE:          cmp.Or(opts.SSE, q.Get(ParamSSE)),
		KMSKeyID:     cmp.Or(opts.SSEKMSKeyID, q.Get(ParamKMSKeyID)),
		StorageClass: cmp.Or(opts.StorageClass, q.Get(ParamStorageClass)),
	}
	path := cmp.Or(opts.SSECustomerKeyPath, q.Get(ParamCustomerKeyPath))
	named := s.SSE != "" || s.KMSKeyID != ""
	var err error
	switch {
	case named && (path != "" || opts.SSECustomerKey != ""):
		err = errors.New("the service encrypts with one key: name sse or sse-kms-key-id, or a customer key, not both")
	case path != "" && opts.SSECustomerKey != "":
		err = errors.New("sse-customer-key and sse-customer-key-path: name one of them")
	case opts.SSECustomerKey != "":
		s.CustomerKey, err = parseKey("sse-customer-key", opts.SSECustomerKey)
	case path != "":
		s.CustomerKey, err = readKey(path)
	case !named && os.Getenv(storage.EnvCustomerKey) != "":
		s.CustomerKey, err = parseKey(storage.EnvCustomerKey, os.Getenv(storage.EnvCustomerKey))
	}
	return s, err
}

const customerKeySize = 32

// parseKey parses a customer key. Its errors never repeat the key.
func parseKey(name, text string) (string, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(key) != customerKeySize {
		return "", fmt.Errorf("%s: expected %d bytes in base64, as openssl rand -base64 %d prints them", name, customerKeySize, customerKeySize)
	}
	return string(key), nil
}

func readKey(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", ParamCustomerKeyPath, err)
	}
	if len(data) == customerKeySize {
		return string(data), nil
	}
	return parseKey(ParamCustomerKeyPath+": "+path, string(data))
}

// NoSettings refuses options that a driver does not support.
func NoSettings(opts storage.Options) error {
	opts.Unconditional = false
	if opts != (storage.Options{}) {
		return errors.New("access keys, endpoint, region, encryption and storage class are for object stores")
	}
	return nil
}

// instead returns what to write instead of a parameter that a driver does not have.
func instead(scheme, param string) string {
	switch {
	case param == "sse-customer-key":
		return "; a URL is no place for a key: write sse-customer-key-path=FILE, or set " + storage.EnvCustomerKey
	case scheme == "file" && strings.HasPrefix(param, ParamSSE):
		return "; encrypt the file system"
	case scheme == "gs" && param == ParamSSE:
		return "; Google encrypts every object: name a key of your own by sse-kms-key-id or sse-customer-key-path"
	case scheme == "gs" && param == ParamRequestPayer:
		return "; write user-project=PROJECT to name the project that pays"
	case scheme == "s3" && param == ParamUserProject:
		return "; write request-payer=requester"
	}
	return ""
}
