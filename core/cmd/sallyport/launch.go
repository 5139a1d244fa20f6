package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sallyport-gateway/sallyport/core/client"
)

func launchCommand() *cobra.Command {
	names := agentNames(client.Agent.Launchable)
	cmd := &cobra.Command{
		Use:   "launch CLIENT [-- ARGUMENTS]",
		Short: "start a coding agent for the gateway, without changing a file: " + strings.Join(names, ", "),
		Long: "Start a coding agent that uses the gateway and a model for this one run: by its environment, and by options before your\n" +
			"arguments. None of its files is changed. Signals go to the agent, and its exit code is that of this command.\n\n" + whichHelp,
		Example:   "  sallyport launch claude\n  sallyport launch codex --model databricks-gpt-5-2 -- exec \"what is in this directory?\"",
		ValidArgs: names,
	}
	flags := addGatewayFlags(cmd)
	model := cmd.Flags().String("model", "", "`name` of the model (default: the first you may use that speaks the agent's dialect)")
	small := cmd.Flags().String("small-model", "", "`name` of a model for titles and other small work (default: the same)")
	unlisted := cmd.Flags().Bool("unlisted", false, "start also with a model that the gateway does not list for you: a name that an alias of the surface answers to")
	cmd.Flags().SetInterspersed(true)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		own, theirs := args, []string(nil)
		if n := cmd.ArgsLenAtDash(); n >= 0 {
			own, theirs = args[:n], args[n:]
		}
		a, err := agentArg(own, names)
		if err != nil {
			if known, ok := client.Named(a.Name); ok {
				return usageError{fmt.Errorf("%s cannot be started for one run: use `sallyport setup %s`", known.Title, known.Name)}
			}
			return err
		}
		if len(own) > 1 {
			return usageError{fmt.Errorf("put the arguments of %s behind --: sallyport launch %s -- %s", a.Title, a.Name, strings.Join(own[1:], " "))}
		}
		path, err := exec.LookPath(a.Program)
		if err != nil {
			return fmt.Errorf("%s is not installed: there is no program %s in PATH", a.Title, a.Program)
		}
		place, err := client.Here()
		if err != nil {
			return err
		}
		g, err := flags.gateway(cmd.Context(), cmd.InOrStdin())
		if err != nil {
			return err
		}
		name, note, err := chooseModel(cmd.Context(), a, g, *model)
		switch {
		case errors.Is(err, errNoModel) && *unlisted:
		case errors.Is(err, errNoModel):
			return fmt.Errorf("%w; %s was not started (--unlisted starts it, for a name that an alias of the surface answers to)", err, a.Title)
		case err != nil:
			return err
		}
		if note != "" {
			fmt.Fprintln(cmd.ErrOrStderr(), "sallyport: warning:", note+"; starting anyway")
		}
		g.Model, g.Small = name, *small
		l, err := client.Setup{Agent: a, Gateway: g, Place: place}.Launch(theirs)
		if err != nil {
			return err
		}
		if l.Prepare == nil {
			return become(path, append([]string{a.Program}, l.Args...), l.Environ(os.Environ()))
		}
		dir, err := os.MkdirTemp("", "sallyport-"+a.Name+"-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		more, err := l.Prepare(dir)
		if err != nil {
			return err
		}
		return child(path, l.Args, l.Environ(os.Environ(), more...))
	}
	return cmd
}

// child runs a program with this one's terminal and passes on the signals
// that come to this process alone.
func child(path string, args, env []string) error {
	cmd := exec.Command(path, args...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, os.Stdin, os.Stdout, os.Stderr
	stop, pass := signals()
	defer stop()
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	passed := make(chan struct{})
	go func() {
		defer close(passed)
		pass(cmd.Process, ended)
	}()
	err := cmd.Wait()
	close(ended)
	<-passed
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return exitCode(codeOf(e.ProcessState))
	}
	return err
}
