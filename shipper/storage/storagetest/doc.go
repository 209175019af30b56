// Package storagetest tests storage drivers and provides real servers for the tests of
// all packages above them.
//
// # The suite
//
// Every driver passes [Run], which opens a fresh, empty store for each of its parts.
// [RunDenied] checks how an unusable store fails, for example with bad credentials.
//
//	func TestStore(t *testing.T) {
//		storagetest.Run(t, func(t *testing.T) storage.Store { ... })
//	}
//
// # Servers
//
// [S3] and [GCS] start a server once per test process and give each test a bucket of its
// own. [Litestream] returns the path of that program.
//
//	r := storagetest.S3(t)
//	store, err := storage.Open(ctx, r.URL, r.Options)  // or
//	r.Setenv(t)                                        // r.URL alone is now enough, or
//	cmd.Env = append(os.Environ(), r.Env...)           // in another process
//
// They are Go programs. The modules below tools/ pin them, to keep their dependencies out
// of the main module. The first test process that needs a program builds it into the
// user's cache directory, which takes minutes:
//
//	versitygw        Amazon S3, in front of a directory
//	fake-gcs-server  Google Cloud Storage, in memory
//	litestream       the second opinion on a replica
//	toxiproxy        connections that fail
//
// A package whose tests need them builds them before its tests begin:
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(storagetest.WithTools(m)) }
//
// A server that does not build or start fails the test; it never skips it. The servers
// listen on the loopback interface only and end with the test process, even if it
// crashes.
//
// # Faults
//
// [Memory] is a store that fails on demand. [Replica.Proxy] puts a proxy in front of a
// server, which may change, refuse, delay or lose requests and answers.
package storagetest
