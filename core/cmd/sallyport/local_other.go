//go:build !unix

package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
)

// errNoLocal is the lack of a gateway on a system that it does not run on.
var errNoLocal = usageError{errors.New("name the gateway: set " + urlVar + " and " + tokenVar)}

func serverCommands() []*cobra.Command { return nil }

func tokenCommands() []*cobra.Command { return nil }

func localFlag(*cobra.Command) *string { return new(string) }

func withLocal(*cobra.Command, string, func(querier) error) error { return errNoLocal }

func localGateway(context.Context, string) (address, tokenFile string, err error) {
	return "", "", errNoLocal
}

func reloadLocal(*cobra.Command, string) (reloaded, error) { return reloaded{}, errNoLocal }
