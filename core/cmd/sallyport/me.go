package main

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-gateway/sallyport/core/standing"
)

// myself is what the gateway says of a caller.
type myself struct {
	Name   string    `json:"name"`
	Kind   string    `json:"kind"`
	Admin  bool      `json:"admin"`
	Groups []string  `json:"groups"`
	Models []myModel `json:"models"`
	standing.Standing
}

type myModel struct {
	Name     string   `json:"name"`
	Surfaces []string `json:"surfaces"`
	Native   []string `json:"native"` // surfaces whose dialect it speaks itself
	Aliases  []string `json:"aliases"`
}

// answersTo tells whether name is the model's, with or without its schema, or one
// of its aliases, in which * stands for any text.
func (m myModel) answersTo(name string) bool {
	return m.Name == strings.TrimPrefix(name, "system.ai.") || slices.ContainsFunc(m.Aliases, func(alias string) bool {
		parts := strings.Split(alias, "*")
		for i, p := range parts {
			parts[i] = regexp.QuoteMeta(p)
		}
		ok, err := regexp.MatchString("^"+strings.Join(parts, ".*")+"$", name)
		return err == nil && ok
	})
}

func (s myself) names() []string {
	var out []string
	for _, m := range s.Models {
		out = append(out, m.Name)
	}
	return out
}

func meCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "me",
		Short: "who I am at the gateway: models, money spent and left, limits",
		Long:  "Show who the token speaks for, which models they may use, what they have spent and have left, and when that begins anew.\n\n" + whichHelp,
		Args:  noArgs,
	}
	flags := addGatewayFlags(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print the gateway's answer as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		g, err := flags.gateway(cmd.Context(), cmd.InOrStdin())
		if err != nil {
			return err
		}
		if *asJSON {
			var raw json.RawMessage
			if err := askMe(cmd.Context(), g, &raw); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", raw)
			return err
		}
		var s myself
		if err := askMe(cmd.Context(), g, &s); err != nil {
			return err
		}
		return s.write(cmd.OutOrStdout(), g.URL, time.Now())
	}
	return cmd
}

// write prints s for people; now is what times are told from.
func (s myself) write(out io.Writer, address string, now time.Time) error {
	who := s.Name
	if s.Admin {
		who += " (administrator)"
	}
	fmt.Fprintf(out, "%s at %s\n", who, address)
	if len(s.Groups) > 0 {
		fmt.Fprintf(out, "groups: %s\n", strings.Join(s.Groups, ", "))
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	if len(s.Budgets) > 0 {
		fmt.Fprintln(w, "\nBUDGET\tUSD\tSPENT\tLEFT\tWHEN SPENT\tRESETS")
		for _, b := range s.Budgets {
			then := "calls go on"
			if b.Then == "block" {
				then = "calls are refused"
			}
			fmt.Fprintf(w, "%s per %s\t%s\t%s\t%s\t%s\t%s\n", b.Scope, b.Per, money(b.USD), money(b.Spent), money(b.Left), then, reset(b.Resets, now))
		}
	}
	if len(s.Limits) > 0 {
		fmt.Fprintln(w, "\nLIMIT\tMODEL\tWHAT\tALLOWED\tUSED\tLEFT\tRESETS")
		for _, l := range s.Limits {
			line := func(what string, a *standing.Amount) {
				if a == nil {
					return
				}
				if l.Op != "" {
					what += " (" + l.Op + ")"
				}
				resets := "-"
				if l.Resets != nil {
					resets = reset(*l.Resets, now)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%d per %s\t%d\t%d\t%s\n", l.Scope, l.Model, what, a.Limit, l.Per, a.Used, a.Left, resets)
			}
			line("requests", l.Requests)
			tokens := "tokens"
			if len(l.Count) > 0 {
				tokens += " of " + strings.Join(l.Count, ", ")
			}
			line(tokens, l.Tokens)
		}
	}
	if len(s.Models) == 0 {
		fmt.Fprintln(w, "\nno models: an administrator can grant EXECUTE on one")
	} else {
		fmt.Fprintln(w, "\nMODEL\tSPEAKS\tALSO CALLED")
		for _, m := range s.Models {
			fmt.Fprintf(w, "%s\t%s\t%s\n", m.Name, dash(m.Native), dash(m.Aliases))
		}
	}
	return w.Flush()
}

func dash(list []string) string {
	if len(list) == 0 {
		return "-"
	}
	return strings.Join(list, ", ")
}

func money(usd float64) string {
	if usd != 0 && usd < 0.01 && usd > -0.01 {
		return strconv.FormatFloat(usd, 'g', 2, 64)
	}
	return strconv.FormatFloat(usd, 'f', 2, 64)
}

// reset is when something begins anew, in the reader's own time.
func reset(t, now time.Time) string {
	left := t.Sub(now)
	switch {
	case t.IsZero():
		return "-"
	case left <= 0:
		return "now"
	case left < time.Hour:
		return "in " + left.Round(time.Second).String()
	}
	return t.Local().Format("2006-01-02 15:04 MST")
}
