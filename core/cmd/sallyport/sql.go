package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sallyport-gateway/sallyport/core/sqlapi"
)

// maxStatement is the most bytes of a statement that are read from standard
// input; the engine takes fewer.
const maxStatement = 1 << 20

func sqlCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sql STATEMENT",
		Short: "run one SELECT over the tables",
		Long: "Run one SELECT over the tables and print its rows. - reads the statement from standard input.\n\n" + reachHelp + "\n\n" +
			"Without a flag the rows are aligned for people, with long values cut. --json prints a JSON array a row, --csv a header\n" +
			"and lines as RFC 4180 has them; both print every value whole, numbers with all digits. In CSV null and an empty text\n" +
			"look alike, lists and structs are JSON, and a value that begins with =, +, - or @ stays as it is: import it as text\n" +
			"into a spreadsheet, which might take it for a formula. A result that is cut without --limit is an error with both.",
		Example: "  sallyport sql \"SELECT country, count(*) AS n FROM main.sales.reviews GROUP BY country ORDER BY n DESC\"\n" +
			"  sallyport sql --json - < question.sql",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("give one statement, in quotes; - reads it from standard input")}
			}
			return nil
		},
	}
	file := localFlag(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print each row as a JSON array, on a line")
	asCSV := cmd.Flags().Bool("csv", false, "print CSV with a header")
	limit := cmd.Flags().Int64("limit", sqlapi.DefaultRows, fmt.Sprintf("most `rows` to print, up to %d", sqlapi.MaxRows))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *asJSON && *asCSV {
			return usageError{errors.New("--json or --csv, not both")}
		}
		if *limit < 1 || *limit > sqlapi.MaxRows {
			return usageError{fmt.Errorf("--limit %d is not between 1 and %d", *limit, sqlapi.MaxRows)}
		}
		sql, err := statement(args[0], cmd.InOrStdin())
		if err != nil {
			return err
		}
		return withSQL(cmd, *file, func(q querier) error {
			t, err := query(cmd.Context(), q, sqlapi.Statement{Statement: sql, RowLimit: *limit, ByteLimit: sqlapi.MaxBytes})
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			switch {
			case *asJSON:
				err = t.writeJSON(out)
			case *asCSV:
				err = t.writeCSV(out)
			default:
				err = t.write(out)
			}
			if err != nil {
				return err
			}
			asked := cmd.Flags().Changed("limit") && int64(len(t.rows)) == *limit
			if t.truncated && (*asJSON || *asCSV) && !asked { // who reads this may not read the standard error
				return fmt.Errorf("the result was cut after %d rows, at the most that one statement gives: filter or aggregate, or set --limit", len(t.rows))
			}
			fmt.Fprintln(cmd.ErrOrStderr(), t.count())
			return nil
		})
	}
	return cmd
}

// statement is the SQL of the argument, or of standard input.
func statement(arg string, stdin io.Reader) (string, error) {
	if arg == "-" {
		text, err := io.ReadAll(io.LimitReader(stdin, maxStatement+1))
		if err != nil {
			return "", fmt.Errorf("standard input: %w", err)
		}
		if len(text) > maxStatement {
			return "", fmt.Errorf("standard input: the statement is longer than %d bytes", maxStatement)
		}
		arg = string(text)
	}
	if strings.TrimSpace(arg) == "" {
		return "", usageError{errors.New("the statement is empty")}
	}
	return arg, nil
}
