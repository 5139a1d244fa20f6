package main

import (
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// reloaded is what a gateway says of a reload.
type reloaded struct {
	Restart  []string `json:"restart"`
	Warnings []string `json:"warnings"`
}

// reloadWith names the configuration in each `sallyport reload` of a text for
// the operator, who gave it with --config: whoever wrote the text did not know.
func reloadWith(text, file string) string {
	if file == "" {
		return text
	}
	return strings.ReplaceAll(text, "sallyport reload", "sallyport reload --config "+file)
}

func reloadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "have the running gateway read its configuration again",
		Long: "Have the running gateway read its configuration again. No request is dropped; a configuration with a mistake is refused, and\n" +
			"the gateway goes on with the old one.\n\n" +
			"With " + urlVar + " and " + tokenVar + " set, and without --config, the gateway is asked over HTTP, and the token must be an\n" +
			"administrator's. Else it is the one that runs over the data of the configuration.",
		Args: noArgs,
	}
	file := localFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		address, token := os.Getenv(urlVar), os.Getenv(tokenVar)
		var done reloaded
		var err error
		if *file != "" || address == "" && token == "" {
			done, err = reloadLocal(cmd, *file)
		} else {
			var g remote
			if g, err = remoteGateway(address, token); err == nil {
				err = g.do(cmd.Context(), http.MethodPost, "/api/2.0/sallyport/reload", nil, &done)
			}
		}
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		fmt.Fprintln(out, "the gateway has read its configuration again")
		for _, k := range done.Restart {
			fmt.Fprintf(out, "note: %s acts at the next start only\n", k)
		}
		for _, w := range done.Warnings {
			fmt.Fprintln(out, "warning:", reloadWith(w, *file))
		}
		return nil
	}
	return cmd
}
