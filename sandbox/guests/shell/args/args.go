// Package args gives the guest a program name before other packages look for
// it: pflag takes os.Args[0] while it is initialised, and a reactor has no
// arguments at all. The import path sorts before pflag's, and this package needs
// only os, so that it is initialised first. Source: Go specification, "Package
// initialization".
package args

import "os"

// Set says that there is a program name now.
var Set = set()

func set() bool {
	if len(os.Args) == 0 {
		os.Args = []string{"shell"}
	}
	return true
}
