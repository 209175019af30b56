package shipper

// SetLarge changes the size from which on a file that holds every page is not
// compacted, and returns what undoes that.
func SetLarge(size int64) (undo func()) {
	old := large
	large = size
	return func() { large = old }
}
