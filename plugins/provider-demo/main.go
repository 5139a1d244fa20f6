// Command provider-demo is a model that needs no provider: a few rules that
// turn simple questions into calls of the functions on offer. It shows what
// the gateway does with no key and no network, and it says in every answer
// what it is.
package main

import "github.com/sallyport-gateway/sallyport/sdk/provider"

func main() { provider.Serve(manifest, translator{}) }

// manifest is what the core knows of this plugin without asking it.
var manifest = provider.Manifest{
	Name:       "demo",
	Version:    "0.1.0",
	Ops:        []provider.Op{provider.Generate},
	Offline:    true,
	Credential: provider.Credential{Scheme: "none"},
}
