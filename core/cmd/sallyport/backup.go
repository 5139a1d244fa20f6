//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-gateway/sallyport/core/backup"
	"github.com/sallyport-gateway/sallyport/core/gateway"
)

func backupCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "backup",
		Short: "copy the data, check a copy, and restore it",
		Long: "Copy the gateway's data (ledger, tables, state database) into a directory, while it runs or not; check such a copy; make a data directory of it again.\n" +
			"Not in a backup: the configuration file, secrets, plugins, the sample tables, a state database in Postgres.",
	}, backupCreateCommand(), backupVerifyCommand(), backupRestoreCommand())
}

func backupCreateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "create DIR",
		Short:   "make a backup in DIR, a new directory; the gateway may run",
		Example: "  sallyport backup create /backups/$(date +%F)",
		Args:    oneDirectory,
	}
	file := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := readConfig(*file)
		if err != nil {
			return err
		}
		r, err := gateway.Backup(cmd.Context(), cfg, version, args[0], progressOf(cmd.ErrOrStderr()))
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		fmt.Fprintf(out, "backup %s is complete: %s in %v\n", r.Dir, amount(r.Files, r.Bytes), r.Elapsed.Round(time.Millisecond))
		if r.Paused > 0 {
			fmt.Fprintf(out, "  commits to tables were held for %v; requests were not\n", r.Paused.Round(time.Millisecond))
		}
		contents(out, r)
		fmt.Fprintln(out, "  not in it: the configuration file, secrets, plugins, sample tables")
		return nil
	}
	return cmd
}

func backupVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "verify DIR", Short: "check that the backup in DIR is whole", Args: oneDirectory,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := backup.Verify(cmd.Context(), args[0], progressOf(cmd.ErrOrStderr()))
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "backup %s is whole: %s, checked in %v\n", args[0], amount(r.Files, r.Bytes), r.Elapsed.Round(time.Millisecond))
			fmt.Fprintf(out, "  made    %s by version %s\n", r.Created.UTC().Format("2006-01-02 15:04:05 UTC"), r.Program)
			contents(out, r)
			return nil
		},
	}
}

func backupRestoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore DIR",
		Short: "make the configured data directory from the backup in DIR",
		Long:  "Make the configured data directory, which must be empty or not exist, from the backup in DIR. The gateway must not run.",
		Args:  oneDirectory,
	}
	file := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := readConfig(*file)
		if err != nil {
			return err
		}
		r, err := gateway.Restore(cmd.Context(), cfg, args[0], progressOf(cmd.ErrOrStderr()))
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		fmt.Fprintf(out, "%s is restored from %s: %s in %v\n", cfg.Data.Dir, args[0], amount(r.Files, r.Bytes), r.Elapsed.Round(time.Millisecond))
		contents(out, r)
		start := "sallyport serve"
		if *file != "" {
			start += " --config " + *file
		}
		fmt.Fprintf(out, "start the gateway with `%s`; it makes a new admin-token, the old one still works\n", start)
		return nil
	}
	return cmd
}

func oneDirectory(_ *cobra.Command, args []string) error {
	switch len(args) {
	case 0:
		return usageError{errors.New("which directory? give that of the backup")}
	case 1:
		return nil
	}
	return usageError{errors.New("one backup at a time: give one directory")}
}

// contents has a line for each part of a backup.
func contents(out io.Writer, r backup.Report) {
	fmt.Fprintf(out, "  ledger  %s: %d records", amount(r.Log.Files, r.Log.Bytes), r.Log.Records)
	if r.Log.Open > 0 {
		fmt.Fprintf(out, ", %d calls under way, which a restored gateway records as interrupted", r.Log.Open)
	}
	fmt.Fprintln(out)
	for _, t := range r.Tables {
		fmt.Fprintf(out, "  table   %s, version %d: %s\n", strings.ReplaceAll(t.Name, "/", "."), t.Version, amount(t.Files, t.Bytes))
	}
	switch r.State.Engine {
	case "sqlite":
		fmt.Fprintf(out, "  state   SQLite, schema %d\n", r.State.Schema)
	case "none":
		fmt.Fprintln(out, "  state   none: there was no state database")
	default:
		fmt.Fprintf(out, "  state   %s\n", r.State.Hint)
	}
}

// progressOf writes a line every few seconds.
func progressOf(out io.Writer) func(backup.Progress) {
	const every = 2 * time.Second
	said := time.Now()
	return func(p backup.Progress) {
		if time.Since(said) < every {
			return
		}
		said = time.Now()
		fmt.Fprintf(out, "%s: %d of %d files, %s of %s\n", p.Step, p.Files, p.Of, size(p.Bytes), size(p.Total))
	}
}

func amount(files int, bytes int64) string {
	if files == 1 {
		return "1 file, " + size(bytes)
	}
	return fmt.Sprintf("%d files, %s", files, size(bytes))
}

// size is a number of bytes for people.
func size(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	v, i := float64(n), 0
	for v >= 999.5 && i < len(units)-1 {
		v, i = v/1000, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.3g %s", v, units[i])
}
