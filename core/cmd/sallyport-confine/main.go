// Sallyport-confine is started by the gateway in the place of a plugin. It
// reads from descriptor 3 what the plugin may have, gives up everything else,
// and becomes the plugin. It is a program of its own, and small, because every
// start of a plugin pays for it.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"syscall"

	"github.com/sallyport-gateway/sallyport/sdk/confine"
)

// descriptor is where the policy is: in arguments everybody could read it.
const descriptor = 3

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "sallyport-confine: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	in := os.NewFile(descriptor, "policy")
	if _, err := in.Stat(); err != nil {
		return fmt.Errorf("the gateway starts this program; by hand there is nothing for it to do")
	}
	var p confine.Program
	if err := json.NewDecoder(in).Decode(&p); err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	if err := in.Close(); err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	if p.Descriptor > 0 {
		syscall.CloseOnExec(p.Descriptor)
	}
	return confine.Become(p)
}
