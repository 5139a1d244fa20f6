//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/gateway"
	"github.com/sallyport-gateway/sallyport/core/store"
)

func tokenCommands() []*cobra.Command {
	return []*cobra.Command{tokenCreateCommand(), tokenListCommand(), tokenRevokeCommand()}
}

// withTokens calls f with the running gateway, or with its store.
func withTokens(ctx context.Context, file string, f func(gateway.Tokens) error) error {
	cfg, err := readConfig(file)
	if err != nil {
		return err
	}
	if t, err := gateway.Control(cfg.Data.Dir); err == nil {
		return f(t)
	}
	if err := dataHere(cfg, file); err != nil {
		return err
	}
	if err := gateway.CheckData(cfg.Data.Dir); err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	db, err := store.Open(ctx, cfg.Data.State, log)
	if err != nil {
		return err
	}
	defer db.Close()
	s, err := access.New(cfg.Access, db, log)
	if err != nil {
		return err
	}
	defer s.Close()
	return f(gateway.Direct(s))
}

func tokenCreateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "create",
		Short:   "make a token and print it; it is shown only this once",
		Example: "  sallyport token create --principal alice@example.com --lifetime 90d --comment laptop",
		Args:    noArgs,
	}
	file := configFlag(cmd)
	principal := cmd.Flags().StringP("principal", "p", "", "user or service `name` the token speaks for")
	comment := cmd.Flags().String("comment", "", "what it is for")
	lifetime := cmd.Flags().String("lifetime", "", "how long it is valid, such as 12h or 90d (default: 90d)")
	scopes := cmd.Flags().StringSlice("scopes", nil, "what it may be used for, such as ai-gateway,unity-catalog (default: all)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *principal == "" {
			return usageError{fmt.Errorf("--principal is missing: whose token is it?")}
		}
		life, err := duration(*lifetime)
		if err != nil {
			return usageError{err}
		}
		return withTokens(cmd.Context(), *file, func(t gateway.Tokens) error {
			secret, tok, err := t.CreateToken(cmd.Context(), gateway.TokenRequest{Principal: *principal, Comment: *comment, Lifetime: life, Scopes: *scopes})
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), secret)
			fmt.Fprintf(cmd.ErrOrStderr(), "token %s for %s, valid until %s UTC; it is not shown again\n", tok.ID, tok.Principal, day(tok.Expires))
			return nil
		})
	}
	return cmd
}

func tokenListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "list the tokens, never their text", Args: noArgs}
	file := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withTokens(cmd.Context(), *file, func(t gateway.Tokens) error {
			ts, err := t.ListTokens(cmd.Context())
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tPRINCIPAL\tCREATED\tEXPIRES\tLAST USED\tSCOPES\tCOMMENT")
			for _, k := range ts {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Principal, day(k.Created), day(k.Expires), day(k.LastUsed), strings.Join(k.Scopes, ","), k.Comment)
			}
			return w.Flush()
		})
	}
	return cmd
}

func tokenRevokeCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "revoke ID", Short: "make a token invalid, within a second", Args: oneToken}
	file := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withTokens(cmd.Context(), *file, func(t gateway.Tokens) error {
			if err := t.RevokeToken(cmd.Context(), args[0]); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "revoked", args[0])
			return nil
		})
	}
	return cmd
}

func oneToken(_ *cobra.Command, args []string) error {
	switch len(args) {
	case 0:
		return usageError{errors.New("which token? give the id that `sallyport token list` shows")}
	case 1:
		return nil
	}
	return usageError{errors.New("one token at a time: give one id")}
}

// duration reads a Go duration, or a number of days such as 90d.
func duration(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 && n < 36500 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("--lifetime %q is neither a duration such as 12h nor a number of days such as 90d", s)
	}
	return d, nil
}
