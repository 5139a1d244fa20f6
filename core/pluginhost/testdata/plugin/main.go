// Plugin is every plugin the tests of pluginhost need. The name it is started
// under, "<kind>-<name>", says what it is and how it misbehaves at start; what
// a provider does in an exchange is said by the turn's model name.
package main

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "sleep" { // somebody's child
		time.Sleep(time.Hour)
	}
	kind, name, _ := strings.Cut(filepath.Base(os.Args[0]), "-")
	misbehave(name, len(os.Args) > 1 && os.Args[1] == "describe")
	switch kind {
	case "provider":
		m := provider.Manifest{
			Name: name, Version: "1.2.3", Ops: []provider.Op{provider.Generate}, Credential: provider.Credential{Scheme: "none"},
			Requires: provider.Requires{Programs: name == "parent"},
		}
		if strings.HasPrefix(name, "front") {
			provider.Serve(withSurface(m), front{})
			return
		}
		provider.Serve(m, translator{})
	case "tool":
		tool.Serve(tool.Manifest{Type: name, Version: "1.2.3"}, tooling{})
	case "engine":
		engine.Serve(engine.Manifest{Name: name, Version: "1.2.3", Dialect: "none"}, sql{})
	}
}

// certificate is what a plugin that insists on TLS says in its handshake.
func certificate() string {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		panic(err)
	}
	der, err := x509.CreateCertificate(nil, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{}, public, private)
	if err != nil {
		panic(err)
	}
	return base64.RawStdEncoding.EncodeToString(der)
}

// misbehave does what the plugin's name says, before anything is served.
func misbehave(name string, describing bool) {
	switch {
	case describing && name == "mute":
		os.Exit(0)
	case describing && name == "garbage":
		fmt.Println("hello there")
		os.Exit(0)
	case describing && name == "loud":
		for {
			fmt.Println(strings.Repeat("x", 1<<16))
		}
	case describing && name == "old":
		fmt.Println(`{"kind":"provider","protocol":7,"manifest":{"name":"old"}}`)
		os.Exit(0)
	case describing && name == "strange":
		fmt.Println(`{"kind":"oracle","protocol":1,"manifest":{"name":"strange"}}`)
		os.Exit(0)
	case describing && name == "badname":
		fmt.Println(`{"kind":"provider","protocol":1,"manifest":{"name":"../x"}}`)
		os.Exit(0)
	case describing && name == "silent":
		os.Exit(3)
	case describing && name == "fails":
		fmt.Fprintln(os.Stderr, "my reason")
		os.Exit(4)
	case describing && name == "speaks":
		fmt.Println("half a line")
		os.Exit(3)
	case describing && name == "informs":
		fmt.Fprintln(os.Stderr, `{"@level":"info","@message":"all is well"}`)
		os.Exit(3)
	case describing && name == "sleeps":
		time.Sleep(time.Hour)
	case describing:
		return
	}
	switch name {
	case "exits":
		fmt.Fprintln(os.Stderr, "cannot find my heart")
		os.Exit(3)
	case "prints":
		fmt.Println("debug")
	case "hangs":
		fmt.Fprintln(os.Stderr, "thinking")
		time.Sleep(time.Hour)
	case "version":
		fmt.Println("1|2|unix|/nowhere|grpc|")
		time.Sleep(time.Hour)
	case "certified":
		fmt.Printf("1|1|unix|%s/nobody|grpc|%s\n", os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), certificate())
		time.Sleep(time.Hour)
	case "panics":
		panic("no luck today")
	case "chatty":
		fmt.Fprintln(os.Stderr, `{"@level":"warn","@message":"structured","answer":42}`)
		fmt.Fprintln(os.Stderr, `{"@level":1,"@message":2,"@timestamp":{}}`) // crashes who trusts the types
		fmt.Fprintln(os.Stderr, "plain line")
	}
}
