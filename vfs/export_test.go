package vfs

// HasConn reports whether replication has a connection to a database.
func HasConn(path string) bool {
	d := databases.find(path)
	d.connMu.Lock()
	defer d.connMu.Unlock()
	return d.conn != nil
}

// Refs returns the application's open connections to a database.
func Refs(path string) int {
	d := databases.find(path)
	databases.mu.Lock()
	defer databases.mu.Unlock()
	return d.refs
}
