// Command faulty is a plugin with a fault of one's choice, for the tests of the
// kit: faulty KIND FAULT [describe], or a copy of it that is called KIND-FAULT.
// The fault "none" is a plugin that does everything right.
package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/boot"
)

// fault is the one that was chosen.
var fault string

func main() {
	if kind, fault, ok := strings.Cut(filepath.Base(os.Args[0]), "-"); ok {
		os.Args = append([]string{os.Args[0], kind, fault}, os.Args[1:]...)
	}
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: faulty tool|provider FAULT [describe]")
		os.Exit(2)
	}
	kind := os.Args[1]
	fault = os.Args[2]
	os.Args = append(os.Args[:1], os.Args[3:]...) // as if the program were the fault
	describe := len(os.Args) == 2 && os.Args[1] == "describe"
	h := boot.Handshake()
	gateway := os.Getenv(h.MagicCookieKey) == h.MagicCookieValue
	switch {
	case describe:
		beforeDescribe(gateway)
	case gateway:
		beforeServe()
	}
	switch kind {
	case boot.Tool:
		serveTool()
	case boot.Provider:
		serveProvider()
	}
	if gateway && !describe {
		afterServe()
	}
}

// beforeDescribe has the faults of describe.
func beforeDescribe(cookie bool) {
	switch fault {
	case "describe-prints":
		fmt.Println("loading …")
	case "describe-hangs":
		time.Sleep(time.Hour)
	case "describe-needs-cookie":
		if !cookie {
			panic("SALLYPORT_PLUGIN is not set")
		}
	}
}

// version of the manifest.
func version() string {
	if fault == "unstable-describe" {
		return fmt.Sprint("1.0.", rand.IntN(1<<30))
	}
	return "1.0.0"
}

// beforeServe has the faults of a start.
func beforeServe() {
	switch fault {
	case "crash-on-start":
		panic("no such table: cities")
	case "hang-before-handshake":
		time.Sleep(time.Hour)
	case "prints-before-handshake":
		fmt.Println("listening …")
	case "leaves-child":
		c := exec.Command("sleep", "300")
		if err := c.Start(); err != nil {
			panic(err)
		}
	}
}

// afterServe has the faults of an end.
func afterServe() {
	switch fault {
	case "ignores-shutdown":
		select {
		case <-time.After(time.Hour):
		}
	case "leaves-socket":
		path := filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "cache.db")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			panic(err)
		}
	}
}
