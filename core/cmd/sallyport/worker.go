//go:build unix

package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/sallyport-gateway/sallyport/core/gateway"
	"github.com/sallyport-gateway/sallyport/sandbox/worker"
	"github.com/sallyport-gateway/sallyport/sdk/boot"
	"github.com/sallyport-gateway/sallyport/sdk/confine"
)

// workerCommand is what the gateway starts this program with, through the
// launcher, to run programs that models wrote.
func workerCommand() *cobra.Command {
	return &cobra.Command{
		Use: gateway.WorkerCommand, Hidden: true, Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if code := worker.Main(narrow); code != 0 {
				return exitCode(code)
			}
			return nil
		},
	}
}

// narrow takes away what the launcher left for loading the guests: every file,
// and the making of new ones in memory.
func narrow() error {
	_, err := confine.Apply(confine.Policy{AllowUnconfined: os.Getenv(boot.EnvUnconfined) == "allow"})
	return err
}
