package storage

import "net/url"

// A Placer is a store that can tell better than its URL whether another store is the same
// replica: a URL has several spellings, and with other options the same URL can mean
// another replica.
type Placer interface {
	// Place returns the same text for the same replica, and a different text for another
	// replica. It makes no request.
	Place() string
}

// A Bucketer is a store that can tell better than its URL which stores share its bucket.
type Bucketer interface {
	// Bucket returns the same text for replicas in the same bucket at the same
	// endpoint, or on the same file system. It makes no request.
	Bucket() string
}

// A Wrapper is a store that adds something to another store, such as counters.
type Wrapper interface{ Unwrap() Store }

// as finds an optional interface of a store that may be wrapped.
func as[T any](s Store) (found T, ok bool) {
	for {
		if found, ok = s.(T); ok {
			return found, true
		}
		w, wraps := s.(Wrapper)
		if !wraps {
			return found, false
		}
		s = w.Unwrap()
	}
}

// Place returns the place of a store: the place of a [Placer], or the store's URL.
func Place(s Store) string {
	if p, ok := as[Placer](s); ok {
		return p.Place()
	}
	return s.String()
}

// Bucket returns what a store shares with its neighbours: the bucket of a [Bucketer], or
// scheme and host of the store's URL, or the whole URL if it has no host. Buckets of the
// same name at two endpoints are different buckets.
func Bucket(s Store) string {
	if b, ok := as[Bucketer](s); ok {
		return b.Bucket()
	}
	if u, err := url.Parse(s.String()); err == nil && u.Host != "" {
		return u.Scheme + "://" + u.Host
	}
	return s.String()
}
