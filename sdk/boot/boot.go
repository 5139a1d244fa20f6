// Package boot is what every plugin's main goes through, whatever its kind:
// the describe sub-command, the handshake with the gateway, logging, and an end
// that comes when the gateway is gone. Authors call provider.Serve, tool.Serve
// or engine.Serve, which call this.
package boot

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
)

// Protocol is the version of the contract between gateway and plugin that this
// sdk speaks: the version number in go-plugin's handshake, and in the output of
// describe.
const Protocol = 1

// The kinds of plugins.
const (
	Provider = "provider" // translators, see sdk/provider
	Tool     = "tool"     // tool types, see sdk/tool
	Engine   = "engine"   // SQL engines, see sdk/engine
)

// Names of environment variables that the gateway sets for a plugin.
const (
	cookieKey   = "SALLYPORT_PLUGIN"
	cookieValue = "a-gate-is-known-by-who-may-pass"

	// EnvHostPID holds the process id of the gateway that started the plugin.
	// A plugin whose parent is another process ends itself.
	EnvHostPID = "SALLYPORT_HOST_PID"

	// EnvUnconfined is "allow" where the operator accepts a system that cannot
	// confine: a plugin that narrows its own children may then go on without.
	EnvUnconfined = "SALLYPORT_UNCONFINED"
)

// MaxMessage is the longest gRPC message either side takes, in bytes: a body
// of 32 MiB with room for what is around it.
const MaxMessage = 36 << 20

// Handshake is the go-plugin handshake of Sallyport's plugins. The cookie is no
// secret: it only tells a gateway's child from a program run by hand.
func Handshake() goplugin.HandshakeConfig {
	return goplugin.HandshakeConfig{ProtocolVersion: Protocol, MagicCookieKey: cookieKey, MagicCookieValue: cookieValue}
}

// Description is what `<plugin> describe` prints, as one line of JSON.
type Description struct {
	Kind     string          `json:"kind"`
	Protocol int             `json:"protocol"`
	Manifest json.RawMessage `json:"manifest"` // of the kind: provider.Manifest, tool.Manifest, engine.Manifest
}

// Plugin is a plugin program. Nil funcs mean the ability is not needed.
type Plugin struct {
	Kind     string
	Manifest any // marshals to the manifest of the kind

	// Register adds the services of the kind to the gRPC server.
	Register func(s *grpc.Server) error
	// Configure takes the operator's settings, a JSON object, before any other
	// call. Nil refuses any settings.
	Configure func(ctx context.Context, settings json.RawMessage) error
	// Drain is told that no new work will come.
	Drain func(ctx context.Context)
	// Close runs after the server has stopped: it removes what Register made.
	Close func()
}

// Main runs a plugin that has nothing to configure. It returns when the
// gateway has asked the plugin to end, and does not return when the program
// was started in another way.
func Main(kind string, manifest any, register func(s *grpc.Server) error) {
	Run(Plugin{Kind: kind, Manifest: manifest, Register: register})
}

// Run runs a plugin. See Main for when it returns.
func Run(p Plugin) {
	if code := p.run(os.Args, os.Getenv, os.Stdout, os.Stderr); code != 0 {
		os.Exit(code)
	}
}

func (p Plugin) run(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	name := filepath.Base(args[0])
	if len(args) == 2 && args[1] == "describe" {
		if err := p.describe(stdout); err != nil {
			fmt.Fprintf(stderr, "%s: describe: %v\n", name, err)
			return 1
		}
		return 0
	}
	if getenv(cookieKey) != cookieValue {
		fmt.Fprintf(stderr, "%s is a %s plugin of the Sallyport gateway, which starts it by itself.\n"+
			"Check it with `sallyport plugin test PATH`, add it with `sallyport plugin add PATH`.\n"+
			"`%s describe` prints what it offers.\n", name, p.Kind, name)
		return 2
	}
	return p.serve(getenv)
}

func (p Plugin) describe(w io.Writer) error {
	m, err := json.Marshal(p.Manifest)
	if err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	line, err := json.Marshal(Description{Kind: p.Kind, Protocol: Protocol, Manifest: m})
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}
