//go:build unix

package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sallyport-gateway/sallyport/core/scaffold"
)

func pluginNewCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "new tool|provider NAME",
		Short: "begin a plugin: a small one that works, with its test and README",
		Example: "  sallyport plugin new tool weather --lang go\n" +
			"  sallyport plugin new provider acme --lang python",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usageError{fmt.Errorf("plugin new takes two arguments: tool or provider, and its name")}
			}
			return nil
		},
	}
	lang := cmd.Flags().String("lang", "go", "language: go, python, node")
	dir := cmd.Flags().String("dir", "", "directory to make (default ./NAME)")
	sdk := cmd.Flags().String("sdk", "", "directory of Sallyport's sources (default $SALLYPORT_SDK, or the one above this program)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p := scaffold.Plugin{Kind: args[0], Name: args[1], Lang: *lang, Dir: *dir}
		if err := p.Validate(); err != nil {
			return usageError{err}
		}
		var err error
		if p.SDK, err = scaffold.FindSDK(cmp.Or(*sdk, os.Getenv("SALLYPORT_SDK"))); err != nil {
			return err
		}
		made, files, err := scaffold.Write(p)
		if err != nil {
			return err
		}
		w := cmd.OutOrStdout()
		for _, f := range files {
			fmt.Fprintln(w, filepath.Join(made, f))
		}
		fmt.Fprintf(w, "\nHow to build, test and add it is in %s.\n", filepath.Join(made, "README.md"))
		return nil
	}
	return cmd
}
