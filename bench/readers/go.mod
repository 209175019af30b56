module github.com/walvfs/walvfs/bench/readers

go 1.26.0
