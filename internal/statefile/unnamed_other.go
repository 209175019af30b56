//go:build !linux

package statefile

import (
	"errors"
	"os"
)

func createUnnamed(string, traits) (*os.File, error) { return nil, errors.ErrUnsupported }

func tempUnnamed(string) (*os.File, error) { return nil, errors.ErrUnsupported }
