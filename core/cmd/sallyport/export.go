//go:build unix

package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sallyport-gateway/sallyport/core/sqlapi"
	"github.com/sallyport-gateway/sallyport/core/usage"
)

// pageRows is how many rows of an export are asked for at once; fewer come when
// they are longer than an answer may be.
const pageRows = 10_000

func usageExportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "write the rows, or their sums, as CSV",
		Long: "Write every row of the usage table as CSV, oldest first, with all its columns: those of structs as struct.field, lists\n" +
			"and maps as JSON. With --by, write the sums instead. Tokens and money are written with all their digits.\n\n" +
			"Null and an empty text look alike. A text that begins with =, +, - or @, such as a user agent that somebody sent, stays\n" +
			"as it is: import it as text into a spreadsheet, which might take it for a formula.\n\n" + reachHelp,
		Example: "  sallyport usage export --csv --since 2026-11 --until 2026-11 -o november.csv\n  sallyport usage export --csv --by user,day",
		Args:    noArgs,
	}
	file := configFlag(cmd)
	selected := selectionFlags(cmd, "")
	cmd.Flags().Bool("csv", true, "write CSV, which is the only format")
	path := cmd.Flags().StringP("output", "o", "", "`file` to write, when all is there (default: standard output)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := selected()
		if err != nil {
			return err
		}
		if asCSV, _ := cmd.Flags().GetBool("csv"); !asCSV {
			return usageError{errors.New("--csv is the only format there is")}
		}
		return withSQL(cmd, *file, func(q querier) error {
			n := int64(0)
			err := toFile(*path, cmd.OutOrStdout(), func(w io.Writer) (err error) {
				if s.by != nil {
					n, err = s.exportSums(cmd.Context(), q, w)
				} else {
					n, err = s.exportRows(cmd.Context(), q, w, pageRows)
				}
				return err
			})
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.ErrOrStderr(), counted(int(n), "row"))
			return nil
		})
	}
	return cmd
}

// toFile calls write with the file at path, which has either all of it or what
// it had before; with stdout when there is no path. Only the user may read it:
// it says who did what.
func toFile(path string, stdout io.Writer, write func(io.Writer) error) error {
	if path == "" || path == "-" {
		return write(stdout)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".sallyport-export-*") // 0600
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// exportSums writes the lines of a report, without the total.
func (s selection) exportSums(ctx context.Context, q querier, w io.Writer) (int64, error) {
	t, err := query(ctx, q, sqlapi.Statement{Statement: s.sql(), RowLimit: sqlapi.MaxRows})
	if err != nil {
		return 0, err
	}
	if t.truncated || len(t.rows) == 0 {
		return 0, fmt.Errorf("there are more than %d lines: shorten the period, or sum by less", sqlapi.MaxRows)
	}
	t.rows = t.rows[:len(t.rows)-1]
	last := len(t.columns) - 1 // says which row is the total
	t.columns = t.columns[:last]
	for i := range t.rows {
		t.rows[i] = t.rows[i][:last]
	}
	return int64(len(t.rows)), t.writeCSV(w)
}

// exportRows writes all rows, a page at a time: each begins behind the last row
// of the one before, within one day, so that it reads that day's files only.
// Rows that are written meanwhile may be in it or not; none is in it twice.
func (s selection) exportRows(ctx context.Context, q querier, w io.Writer, rows int64) (int64, error) {
	head, err := query(ctx, q, sqlapi.Statement{Statement: "SELECT * FROM " + usage.UsageTable + " LIMIT 0"})
	if err != nil {
		return 0, err
	}
	flat := flatten("", "", head.columns)
	out := csv.NewWriter(w)
	names, exprs := make([]string, len(flat)), make([]string, len(flat))
	timeAt, idAt := -1, -1
	for i, f := range flat {
		names[i], exprs[i] = f.name, f.sql+` AS "`+strings.ReplaceAll(f.name, `"`, `""`)+`"`
		switch f.name {
		case "event_time":
			timeAt = i
		case "invocation_id":
			idAt = i
		}
	}
	if timeAt < 0 || idAt < 0 {
		return 0, fmt.Errorf("the table %s has no event_time or no invocation_id", usage.UsageTable)
	}
	if err := out.Write(names); err != nil {
		return 0, err
	}
	days, err := query(ctx, q, sqlapi.Statement{Statement: "SELECT DISTINCT event_date FROM " + usage.UsageTable + s.where() + " ORDER BY event_date", RowLimit: sqlapi.MaxRows})
	if err != nil {
		return 0, err
	}
	sql := "SELECT " + strings.Join(exprs, ", ") + " FROM " + usage.UsageTable + " WHERE event_date = :day"
	const order, after = " ORDER BY event_time, invocation_id", " AND event_time >= :time AND (event_time > :time OR invocation_id > :id)"
	n := int64(0)
	for _, day := range days.rows {
		page := sqlapi.Statement{Statement: sql + order, RowLimit: rows, Parameters: []sqlapi.Parameter{{Name: "day", Value: day[0], Type: "DATE"}}}
		for more := true; more; {
			t, err := query(ctx, q, page)
			if err != nil {
				return n, err
			}
			if err := t.writeRecords(out); err != nil {
				return n, err
			}
			n += int64(len(t.rows))
			if more = t.truncated && len(t.rows) > 0; more {
				last := t.rows[len(t.rows)-1]
				page.Statement = sql + after + order
				page.Parameters = append(page.Parameters[:1:1], sqlapi.Parameter{Name: "time", Value: last[timeAt], Type: "TIMESTAMP"}, sqlapi.Parameter{Name: "id", Value: last[idAt]})
			}
		}
	}
	out.Flush()
	return n, out.Error()
}

// flatColumn is a column, or a field of a struct, with the SQL that reads it.
type flatColumn struct{ name, sql string }

// flatten lists columns with structs opened, at any depth.
func flatten(prefix, from string, cs []sqlapi.Column) []flatColumn {
	var out []flatColumn
	for _, c := range cs {
		name, sql := prefix+c.Name, from+`"`+strings.ReplaceAll(c.Name, `"`, `""`)+`"`
		if fields := sqlapi.Fields(c.TypeText); fields != nil {
			out = append(out, flatten(name+".", sql+".", fields)...)
			continue
		}
		out = append(out, flatColumn{name, sql})
	}
	return out
}
