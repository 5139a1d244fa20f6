package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sallyport-gateway/sallyport/core/client"
	"github.com/sallyport-gateway/sallyport/core/spelling"
)

// agentNames are the agents for which ok holds.
func agentNames(ok func(client.Agent) bool) []string {
	var out []string
	for _, a := range client.Agents() {
		if ok(a) {
			out = append(out, a.Name)
		}
	}
	return out
}

// agentArg is the coding agent that the first argument names.
func agentArg(args []string, names []string) (client.Agent, error) {
	if len(args) == 0 {
		return client.Agent{}, usageError{errors.New("which client? " + strings.Join(names, ", "))}
	}
	a, ok := client.Named(args[0])
	if !ok || !strings.Contains(" "+strings.Join(names, " ")+" ", " "+a.Name+" ") {
		hint := "there is " + strings.Join(names, ", ")
		if near := spelling.Nearest(args[0], names); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		return a, usageError{fmt.Errorf("unknown client %q; %s", args[0], hint)}
	}
	return a, nil
}

func setupCommand() *cobra.Command {
	names := agentNames(func(client.Agent) bool { return true })
	cmd := &cobra.Command{
		Use:   "setup CLIENT",
		Short: "configure a coding agent for the gateway: " + strings.Join(names, ", "),
		Long: "Write the coding agent's own configuration for the gateway and a model. What else is in its files stays as it is, with order\n" +
			"and comments; --undo takes back what was written. What the agent has no file for is printed as instructions.\n\n" + whichHelp + "\n\n" +
			"The token is kept in a file that only you may read, outside of the agent's own files where the agent can run a helper that\n" +
			"prints it (`sallyport token`). With --helper it is not kept at all.",
		Example:   "  sallyport setup claude --model databricks-claude-sonnet-4-5\n  sallyport setup codex --dry-run\n  sallyport setup codex --undo",
		ValidArgs: names,
	}
	flags := addGatewayFlags(cmd)
	model := cmd.Flags().String("model", "", "`name` of the model (default: the first you may use that speaks the agent's dialect)")
	small := cmd.Flags().String("small-model", "", "`name` of a model for titles and other small work (default: the same)")
	unlisted := cmd.Flags().Bool("unlisted", false, "write also a model that the gateway does not list for you: a name that an alias of the surface answers to, or a model that is still to come")
	profile := cmd.Flags().String("profile", "", "write a profile of that `name` in place of the default (Codex)")
	trust := cmd.Flags().Bool("trust-folders", false, "switch off that the agent asks whether to trust a folder, in which it then reads its files (Gemini CLI)")
	dry := cmd.Flags().Bool("dry-run", false, "print what would change, with --undo too, and change nothing")
	project := cmd.Flags().Bool("project", false, "write the file of the project in the working directory, which holds no token")
	undo := cmd.Flags().Bool("undo", false, "take back what an earlier setup wrote")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		a, err := agentArg(args, names)
		if err != nil {
			return err
		}
		if len(args) > 1 {
			return usageError{fmt.Errorf("one client at a time: what is %q?", args[1])}
		}
		place, err := client.Here()
		if err != nil {
			return err
		}
		if *undo {
			return undoSetup(cmd, place, a, *project, *dry)
		}
		g, err := flags.gateway(cmd.Context(), cmd.InOrStdin())
		if err != nil {
			return err
		}
		name, note, err := chooseModel(cmd.Context(), a, g, *model)
		switch {
		case errors.Is(err, errNoModel) && *unlisted:
			note = err.Error()
		case errors.Is(err, errNoModel):
			return fmt.Errorf("%w; nothing was written (--unlisted writes it all the same: a name that an alias of the surface answers to, or a model that is still to come)", err)
		case err != nil:
			return err
		}
		g.Model, g.Small = name, *small
		s := client.Setup{Agent: a, Gateway: g, Place: place, Project: *project, Profile: *profile, TrustFolders: *trust}
		plan, err := s.Plan()
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		if *dry {
			if err := s.Preview(out, plan); err != nil {
				return err
			}
		} else if err := s.Apply(plan); err != nil {
			return err
		}
		if !*dry {
			for _, f := range plan.Files {
				fmt.Fprintln(out, "wrote", f.Path)
			}
			switch {
			case len(plan.Files) == 0:
			case plan.Manual:
				fmt.Fprintf(out, "Take it back with: %s --undo\n", again(a, *project))
			default:
				fmt.Fprintf(out, "%s uses %s at %s. Take it back with: %s --undo\n", a.Title, name, g.URL, again(a, *project))
			}
		}
		if note != "" {
			plan.Notes = append(plan.Notes, "note: "+note)
		}
		for _, n := range plan.Notes {
			fmt.Fprintln(out, n)
		}
		return nil
	}
	return cmd
}

// again is the command line of a setup of that agent.
func again(a client.Agent, project bool) string {
	s := "sallyport setup " + a.Name
	if project {
		s += " --project"
	}
	return s
}

func undoSetup(cmd *cobra.Command, place client.Place, a client.Agent, project, dry bool) error {
	done, err := client.Undo(place, a, project, dry)
	out := cmd.OutOrStdout()
	told := func(did, would string) string {
		if dry {
			return would
		}
		return did
	}
	for _, d := range done {
		switch {
		case d.Removed:
			fmt.Fprintln(out, told("removed", "would remove"), d.Path)
		case d.Merged:
			fmt.Fprintf(out, "%s of %s what setup had written; it was changed since, and the changes stay\n", told("took out", "would take out"), d.Path)
			if len(d.Kept) > 0 {
				fmt.Fprintf(out, "%s as changed since: %s\n", told("left", "would leave"), strings.Join(d.Kept, ", "))
			}
		default:
			fmt.Fprintln(out, told("restored", "would restore"), d.Path)
		}
	}
	if errors.Is(err, client.ErrNotSetUp) {
		return fmt.Errorf("%s: %w", again(a, project), err)
	}
	return err
}
