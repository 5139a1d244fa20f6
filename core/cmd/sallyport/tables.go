//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/sallyport-gateway/sallyport/core/gateway"
	"github.com/sallyport-gateway/sallyport/core/tables"
)

func tablesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tables",
		Short: "the tables that the gateway writes: rows, files, size, last commit",
		Long: "Show the tables that the gateway writes, with what is in their files now. PENDING rows are in the log and go into a file\n" +
			"within half a minute, or when somebody reads the table. The gateway of the configuration is asked; when it does not run,\n" +
			"its data is opened without it.",
		Args: noArgs,
	}
	file := configFlag(cmd)
	flush := cmd.Flags().Bool("flush", false, "put the pending rows into files first")
	asJSON := cmd.Flags().Bool("json", false, "print each table as a JSON object, on a line")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withData(cmd, *file, func(d gateway.Data) error {
			if *flush {
				if err := d.FlushTables(cmd.Context()); err != nil {
					return err
				}
			}
			infos, err := d.Tables(cmd.Context())
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if *asJSON {
				e := json.NewEncoder(out)
				for _, i := range infos {
					if err := e.Encode(i); err != nil {
						return err
					}
				}
				return nil
			}
			return listTables(out, infos)
		})
	}
	return cmd
}

func listTables(out io.Writer, infos []tables.Info) error {
	g := grid{
		head:  []string{"TABLE", "ROWS", "FILES", "SIZE", "VERSION", "LAST COMMIT", "PENDING"},
		right: []bool{false, true, true, true, true, false, true},
	}
	for _, i := range infos {
		g.rows = append(g.rows, []string{i.Name, strconv.FormatInt(i.Rows, 10), strconv.Itoa(i.Files), size(i.Bytes),
			strconv.FormatInt(i.Version, 10), day(i.LastCommit), strconv.FormatInt(i.Pending, 10)})
	}
	if err := g.write(out); err != nil {
		return err
	}
	for _, i := range infos {
		if i.Problem != "" {
			fmt.Fprintf(out, "%s: %s\n", i.Name, i.Problem)
		}
	}
	return nil
}
