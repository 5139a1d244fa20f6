//go:build unix

package main

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/sqlapi"
	"github.com/sallyport-gateway/sallyport/core/toolset"
	"github.com/sallyport-gateway/sallyport/core/usage"
)

func usageCommand() *cobra.Command {
	return group(&cobra.Command{Use: "usage", Short: "what models were called, by whom, and what it cost",
		Long: "What models were called, by whom, and what it cost: the table " + usage.UsageTable + ".\n\n" + reachHelp},
		usageReportCommand(), usageExportCommand())
}

// keys are what usage can be summed by, with the SQL of each. A user in several
// groups is in a row for each; rows do not name the group of all users.
var keys = []struct{ name, sql string }{
	{"user", "requester"},
	{"group", "unnest(coalesce(nullif(requester_groups, []), [NULL]))"},
	{"model", "endpoint_name"},
	{"tool", "coding_tool"},
	{"hosted", "CASE service_name WHEN '" + toolset.CodeType + "' THEN coalesce(mcp_metadata.tool_name, service_name) ELSE service_name END"}, // a row for each language
	{"day", "event_date"},
	{"month", "strftime(event_date, '%Y-%m')"},
}

// sums is what is summed, in the order of the columns behind the keys.
const sums = `count(*) FILTER (WHERE ` + requests + ` AND status IS DISTINCT FROM 'refused') AS requests,
  count(*) FILTER (WHERE service_type IS NOT NULL) AS hosted_tool_calls,
  coalesce(sum(input_tokens), 0) AS input_tokens,
  coalesce(sum(token_details.cache_read_input_tokens), 0) AS cached_input_tokens,
  coalesce(sum(output_tokens), 0) AS output_tokens,
  sum(cost_usd) AS cost_usd,
  count(*) FILTER (WHERE cost_usd IS NULL AND total_tokens > 0) AS requests_without_price,
  count(*) FILTER (WHERE token_source = 'estimated') AS requests_estimated,
  count(*) FILTER (WHERE ` + requests + ` AND status = 'refused') AS refused`

// requests are the rows of calls of models, of those that were refused too.
const requests = `service_type IS NULL AND coalesce(operation, 'generate') <> 'count_tokens'`

// Places of the sums behind the keys.
const (
	atRequests = iota
	atHosted
	atInput
	atCached
	atOutput
	atCost
	atUnpriced
	atEstimated
	atRefused
	sumCount
)

// selection is what the usage commands are asked for.
type selection struct {
	by           []string
	since, until string // days, both included; "" is open
}

// selectionFlags adds --by, --since and --until.
func selectionFlags(cmd *cobra.Command, by string) func() (selection, error) {
	var names []string
	for _, k := range keys {
		names = append(names, k.name)
	}
	keyFlag := cmd.Flags().String("by", by, "what to sum by: one or more of "+strings.Join(names, ", ")+"; tool is the coding tool, hosted the hosted tool, and group leaves out "+access.AccountUsers)
	since := cmd.Flags().String("since", "", "first `day` (2026-11-01) or month (2026-11), UTC")
	until := cmd.Flags().String("until", "", "last `day` or month, UTC")
	return func() (selection, error) {
		s := selection{}
		for _, k := range strings.FieldsFunc(*keyFlag, func(r rune) bool { return r == ',' || r == ' ' }) {
			if !slices.Contains(names, k) {
				return s, usageError{fmt.Errorf("--by %q: usage can be summed by %s", k, strings.Join(names, ", "))}
			}
			if slices.Contains(s.by, k) {
				return s, usageError{fmt.Errorf("--by names %s twice", k)}
			}
			s.by = append(s.by, k)
		}
		var err error
		if s.since, err = date("--since", *since, 0); err == nil {
			s.until, err = date("--until", *until, 1)
		}
		if err == nil && s.since != "" && s.until != "" && s.since > s.until {
			err = usageError{fmt.Errorf("--since %s is after --until %s", *since, *until)}
		}
		return s, err
	}
}

// date reads a day, or a month as its first day; with months 1 as its last.
func date(flag, text string, months int) (string, error) {
	if text == "" {
		return "", nil
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t.Format(time.DateOnly), nil
	}
	t, err := time.Parse("2006-01", text)
	if err != nil {
		return "", usageError{fmt.Errorf("%s %q is neither a day such as 2026-11-01 nor a month such as 2026-11", flag, text)}
	}
	if months > 0 {
		t = t.AddDate(0, months, -1)
	}
	return t.Format(time.DateOnly), nil
}

// where is the condition of the period, " WHERE …" or "".
func (s selection) where() string {
	var all []string
	if s.since != "" {
		all = append(all, "event_date >= DATE '"+s.since+"'")
	}
	if s.until != "" {
		all = append(all, "event_date <= DATE '"+s.until+"'")
	}
	if all == nil {
		return ""
	}
	return " WHERE " + strings.Join(all, " AND ")
}

// sql sums by the keys; the last column says whether a row is the sum of all.
// Both are of one moment: they are one statement.
func (s selection) sql() string {
	from := " FROM " + usage.UsageTable + s.where()
	var names, exprs, nulls []string
	for _, k := range s.by {
		for _, key := range keys {
			if key.name == k {
				exprs = append(exprs, key.sql+` AS "`+k+`"`)
			}
		}
		names = append(names, `"`+k+`"`)
		nulls = append(nulls, "NULL")
	}
	total := "SELECT " + strings.Join(append(nulls, sums), ", ") + ", true AS total" + from
	if s.by == nil {
		return total
	}
	order := "cost_usd DESC NULLS LAST, input_tokens DESC, " + strings.Join(names, ", ")
	if s.by[0] == "day" || s.by[0] == "month" {
		order = strings.Join(names, ", ")
	}
	list := strings.Join(names, ", ")
	return "SELECT * FROM (SELECT " + list + ", " + sums + ", false AS total FROM (SELECT *, " + strings.Join(exprs, ", ") + from + ") AS calls GROUP BY " + list +
		" UNION ALL " + total + ") AS report ORDER BY total, " + order
}

func usageReportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "report",
		Short: "sum up requests, tokens and cost",
		Long: "Sum up requests, tokens and cost. A request is one call of a model; the tools that the gateway itself ran for it are\n" +
			"counted apart, and so are requests that a limit, a budget or a permission refused: no provider saw them. Cached input is a part of the input. Cost is in US dollars, to the cent; `usage export` has all digits.\n\n" + reachHelp,
		Example: "  sallyport usage report --by user,model --since 2026-11-01\n  sallyport usage report --by month",
		Args:    noArgs,
	}
	file := configFlag(cmd)
	selected := selectionFlags(cmd, "user")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := selected()
		if err != nil {
			return err
		}
		return withSQL(cmd, *file, func(q querier) error {
			t, err := query(cmd.Context(), q, sqlapi.Statement{Statement: s.sql(), RowLimit: sqlapi.MaxRows})
			if err != nil {
				return err
			}
			if t.truncated {
				return fmt.Errorf("the report has more than %d lines: shorten the period, or sum by less", sqlapi.MaxRows)
			}
			g, total, err := s.report(t)
			if err != nil {
				return err
			}
			if err := g.write(cmd.OutOrStdout()); err != nil {
				return err
			}
			for _, note := range s.notes(total) {
				fmt.Fprintln(cmd.ErrOrStderr(), note)
			}
			return nil
		})
	}
	return cmd
}

// report lays the sums out for people and gives those of all calls.
func (s selection) report(t *table) (g grid, total []*string, err error) {
	if len(t.rows) == 0 || len(t.columns) != len(s.by)+sumCount+1 {
		return g, nil, errors.New("the answer is not the sums that were asked for")
	}
	for _, k := range s.by {
		g.head, g.right = append(g.head, strings.ToUpper(k)), append(g.right, false)
	}
	for _, h := range []string{"REQUESTS", "HOSTED CALLS", "INPUT", "CACHED", "OUTPUT", "COST USD"} {
		g.head, g.right = append(g.head, h), append(g.right, true)
	}
	line := func(row []*string) []string {
		var out []string
		for _, v := range row[:len(s.by)] {
			out = append(out, "-")
			if v != nil {
				out[len(out)-1] = cell(*v)
			}
		}
		values := row[len(s.by):]
		for _, i := range []int{atRequests, atHosted, atInput, atCached, atOutput} {
			out = append(out, text(values[i]))
		}
		return append(out, cents(values[atCost]))
	}
	last := len(t.rows) - 1 // the sum of all
	for _, row := range t.rows[:last] {
		g.rows = append(g.rows, line(row))
	}
	total = t.rows[last][len(s.by):]
	g.foot = line(t.rows[last])
	if s.by == nil {
		g.rows, g.foot = [][]string{g.foot}, nil
	} else {
		g.foot[0] = "total"
		for i := 1; i < len(s.by); i++ {
			g.foot[i] = ""
		}
	}
	return g, total, nil
}

// notes says what a reader of the numbers alone might miss.
func (s selection) notes(total []*string) []string {
	var out []string
	if slices.Contains(s.by, "group") {
		out = append(out, "A user in several groups counts in each of them; the total counts every request once.")
	}
	if n, _ := strconv.Atoi(text(total[atRefused])); n > 0 {
		out = append(out, "Refused before any provider was asked, and so not among the requests: "+counted(n, "request")+". `usage export --by` has them for each row.")
	}
	if n, _ := strconv.Atoi(text(total[atUnpriced])); n > 0 {
		out = append(out, "Without a price, and so not in the cost: "+counted(n, "request")+" that used tokens. Set price at the destinations of their models; it holds for later requests.")
	}
	if n, _ := strconv.Atoi(text(total[atEstimated])); n > 0 {
		out = append(out, "With tokens that the gateway estimated, because the provider did not tell them: "+counted(n, "request")+".")
	}
	return out
}

func text(v *string) string {
	if v == nil {
		return "-"
	}
	return *v
}

// cents is an amount with two digits after the point, rounded half up; one
// that would vanish is "<0.01".
func cents(v *string) string {
	if v == nil {
		return "-"
	}
	amount, ok := new(big.Rat).SetString(*v)
	if !ok {
		return *v
	}
	if short := amount.FloatString(2); short != "0.00" || amount.Sign() == 0 {
		return short
	}
	return "<0.01"
}
