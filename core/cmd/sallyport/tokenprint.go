package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-gateway/sallyport/core/client"
)

// tokenCommand prints a token when it has no sub-command: clients run it as
// their helper.
func tokenCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "token",
		Short: "print the token for a client; create, list and revoke access tokens",
		Long: "Without a sub-command, print the token of the file given by --file, or else of " + tokenVar + ": this is what `sallyport setup`\n" +
			"has clients run, so that their own files hold no token.\n\n" +
			"Create, list and revoke access tokens: through the running gateway's control socket, or in its database when none runs.",
	}, tokenCommands()...)
	file := cmd.Flags().String("file", "", "`file` that holds the token and nothing else")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		token := os.Getenv(tokenVar)
		if *file != "" {
			var err error
			if token, err = client.ReadToken(*file); err != nil {
				return err
			}
		}
		if token == "" {
			return usageError{errors.New("there is no token to print: set " + tokenVar + ", or give --file")}
		}
		fmt.Fprintln(cmd.OutOrStdout(), token)
		return nil
	}
	return cmd
}

// day is a time for people.
func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04")
}
