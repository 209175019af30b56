package s3

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

const acceptEncoding = "Accept-Encoding"

// leaveUnsigned keeps the header Accept-Encoding out of the signature: the front ends of
// several services change it, including Google's and Cloudflare's.
func leaveUnsigned(o *s3.Options) {
	type held struct{}
	before := middleware.FinalizeMiddlewareFunc("holdAcceptEncoding", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
		middleware.FinalizeOutput, middleware.Metadata, error,
	) {
		if req, ok := in.Request.(*smithyhttp.Request); ok {
			ctx = middleware.WithStackValue(ctx, held{}, req.Header.Get(acceptEncoding))
			req.Header.Del(acceptEncoding)
		}
		return next.HandleFinalize(ctx, in)
	})
	after := middleware.FinalizeMiddlewareFunc("sendAcceptEncoding", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
		middleware.FinalizeOutput, middleware.Metadata, error,
	) {
		if req, ok := in.Request.(*smithyhttp.Request); ok {
			if v, _ := middleware.GetStackValue(ctx, held{}).(string); v != "" {
				req.Header.Set(acceptEncoding, v) // without it, the transport would request gzip
			}
		}
		return next.HandleFinalize(ctx, in)
	})
	o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
		if err := stack.Finalize.Insert(before, "Signing", middleware.Before); err != nil {
			return err
		}
		return stack.Finalize.Insert(after, "Signing", middleware.After)
	})
}
