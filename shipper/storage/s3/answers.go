package s3

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/walvfs/walvfs/shipper/storage/internal/driver"
)

// The SDK accepts any XML, an HTML page, and no bytes at all as an empty answer: a
// listing without objects, or an object that was stored. These checks find that the
// service has not answered.

// wantETag checks the answer about an object, which always has an ETag.
func wantETag(etag *string) error {
	if etag == nil {
		return fmt.Errorf("%w: it has no ETag", driver.ErrForeign)
	}
	return nil
}

// wantRoot checks the root element of an answer's body.
func wantRoot(name string) func(*s3.Options) {
	check := middleware.DeserializeMiddlewareFunc("wantRoot", func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (
		middleware.DeserializeOutput, middleware.Metadata, error,
	) {
		out, meta, err := next.HandleDeserialize(ctx, in)
		resp, ok := out.RawResponse.(*smithyhttp.Response)
		if err != nil || !ok || resp.StatusCode/100 != 2 {
			return out, meta, err
		}
		return out, meta, checkRoot(resp, name)
	})
	return func(o *s3.Options) {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			return stack.Deserialize.Add(check, middleware.After)
		})
	}
}

// checkRoot reads a body up to its root element, and puts the bytes back.
func checkRoot(resp *smithyhttp.Response, name string) error {
	const most = 64 << 10
	var head bytes.Buffer
	body := resp.Body
	root, err := rootElement(io.TeeReader(io.LimitReader(body, most), &head))
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(&head, body), body}
	_, malformed := errors.AsType[*xml.SyntaxError](err)
	switch {
	case err == nil && root == name:
		return nil
	case err == nil:
		return fmt.Errorf("%w: expected a %s, and it is a document of another kind", driver.ErrForeign, name)
	case err == io.EOF || malformed:
		return fmt.Errorf("%w: expected a %s, and it is not XML", driver.ErrForeign, name)
	}
	return err // from the connection
}

func rootElement(r io.Reader) (string, error) {
	d := xml.NewDecoder(r)
	for {
		t, err := d.Token()
		if err != nil {
			return "", err
		}
		if e, ok := t.(xml.StartElement); ok {
			return e.Name.Local, nil
		}
	}
}
