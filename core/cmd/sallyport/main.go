// Command sallyport is the gateway and the tools around it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sallyport-gateway/sallyport/core/spelling"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // who asks a second time does not want to wait
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole command: 0 is success, 1 a failure, 2 a wrong use.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:           "sallyport",
		Short:         "the self-hosted gateway through which agents reach models, tools and data",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetArgs(append([]string{}, args...)) // none are none, not those of this process
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(setupCommand(), launchCommand(), meCommand(), sqlCommand(), tokenCommand(), reloadCommand(), certCommand(), versionCommand())
	root.AddCommand(serverCommands()...)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	if code, ok := errors.AsType[exitCode](err); ok { // of a program that has said itself what was wrong
		return int(code)
	}
	if rest, ok := strings.CutPrefix(err.Error(), "unknown command "); ok && cmd == root { // cobra's own refusal
		if quoted, qerr := strconv.QuotedPrefix(rest); qerr == nil {
			word, _ := strconv.Unquote(quoted)
			err = unknownCommand(root, word)
		}
	}
	fmt.Fprintln(stderr, "sallyport:", err)
	if _, ok := errors.AsType[usageError](err); ok {
		fmt.Fprintf(stderr, "see `%s --help`\n", cmd.CommandPath())
		return 2
	}
	return 1
}

type usageError struct{ error }

// exitCode is how a program ended that ran in the place of a command.
type exitCode int

func (e exitCode) Error() string { return "exit code " + strconv.Itoa(int(e)) }

// group makes cmd the parent of subs: alone it prints its help, and a word that
// is none of them is a wrong use.
func group(cmd *cobra.Command, subs ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(subs...)
	cmd.DisableFlagsInUseLine = true
	cmd.FParseErrWhitelist.UnknownFlags = true // they are those of the command that was meant
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(cmd, args[0])
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

func unknownCommand(parent *cobra.Command, word string) error {
	var names []string
	for _, c := range parent.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	if near := spelling.Nearest(word, names); near != "" {
		return usageError{fmt.Errorf("unknown command %q for %q; did you mean %q?", word, parent.CommandPath(), near)}
	}
	return usageError{fmt.Errorf("unknown command %q for %q; there is %s", word, parent.CommandPath(), strings.Join(names, ", "))}
}

// noArgs is the Args of a command that takes none.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s takes no argument: what is %q?", cmd.CommandPath(), args[0])}
	}
	return nil
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "print the version", Args: noArgs,
		Run: func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), "sallyport version", version) },
	}
}
