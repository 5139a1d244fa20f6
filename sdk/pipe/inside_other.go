//go:build !unix

package pipe

import "os"

// inside is not known here.
func inside(*os.File, []byte) (int, error) { return 0, nil }
