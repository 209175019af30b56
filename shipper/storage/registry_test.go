package storage_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/walvfs/walvfs/shipper/storage"
)

func TestOpenErrors(t *testing.T) {
	for _, c := range []struct{ url, want string }{
		{"", "cannot be parsed"},
		{"app.db", "cannot be parsed"},
		{"s3://key:hunter2@b\x7f", "cannot be parsed"},
		{"s3://b/100%.db?key=hunter2", "write %25"},
		{"s3://b/p", `import _ "github.com/walvfs/walvfs/shipper/storage/s3"`},
		{"gs://b/p", `import _ "github.com/walvfs/walvfs/shipper/storage/gcs"`},
		{"s3://arn:aws:s3:us-east-2:123456789012:accesspoint/my-ap/app", "access point is named by its alias"},
		{"ftp://b/p", "unknown scheme ftp:// (linked in: file)"},
		{"file://backups", "file:///backups"},
	} {
		_, err := storage.Open(t.Context(), c.url, storage.Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got %v, want %q", c.url, err, c.want)
		}
	}
}

func TestOptionsHideSecret(t *testing.T) {
	o := storage.Options{Region: "r", AccessKeyID: "AKIA", SecretAccessKey: "hunter2", SSECustomerKey: "hunter2"}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("open", "options", o)
	for _, s := range []string{fmt.Sprint(o), fmt.Sprintf("%+v", o), fmt.Sprintf("%#v", o), fmt.Sprintf("%+v", &o), log.String()} {
		if strings.Contains(s, "hunter2") || strings.Contains(s, "AKIA") {
			t.Errorf("shown: %s", s)
		}
	}
}
