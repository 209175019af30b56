# The command walvfs, without a shell.
#
#	docker build -t walvfs .
#	docker run --rm -e AWS_ACCESS_KEY_ID -e AWS_SECRET_ACCESS_KEY walvfs info s3://bucket/app
#	docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" -w /data \
#		-e AWS_ACCESS_KEY_ID -e AWS_SECRET_ACCESS_KEY walvfs restore -o app.db s3://bucket/app
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
# With .git, from which Go records the version in the binary.
COPY . .
ARG TARGETOS TARGETARCH
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
	go build -trimpath -ldflags='-s -w' -o /out/walvfs ./cmd/walvfs

# It has CA certificates and time zones, and its user is nonroot, 65532.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/walvfs /usr/local/bin/walvfs
ENTRYPOINT ["/usr/local/bin/walvfs"]
