package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-gateway/sallyport/core/gateway"
	"github.com/sallyport-gateway/sallyport/core/sqlapi"
)

// The environment variables that name a gateway to reach over HTTP.
const (
	urlVar   = "SALLYPORT_URL"
	tokenVar = "SALLYPORT_TOKEN"
)

// reachHelp says how the commands that read data get to it.
const reachHelp = "With " + urlVar + " and " + tokenVar + " set, and without --config, the gateway is asked over HTTP, with the rights of the\n" +
	"token's owner. Else the gateway of the configuration is asked as its operator, who may read everything; when it\n" +
	"does not run, its data is opened without it."

// querier runs SQL somewhere.
type querier interface {
	SQL(ctx context.Context, s sqlapi.Statement) (*sqlapi.Reply, error)
}

// withSQL calls f with the gateway that the environment names, or else as
// withData does.
func withSQL(cmd *cobra.Command, file string, f func(querier) error) error {
	address, token := os.Getenv(urlVar), os.Getenv(tokenVar)
	if file != "" || address == "" && token == "" {
		return withData(cmd, file, func(d gateway.Data) error { return f(d) })
	}
	if address == "" || token == "" {
		missing, there := urlVar, tokenVar
		if address != "" {
			missing, there = tokenVar, urlVar
		}
		return usageError{fmt.Errorf("%s is set and %s is not: set both to ask a gateway over HTTP, or none", there, missing)}
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return usageError{fmt.Errorf("%s is no URL such as http://127.0.0.1:8080", urlVar)}
	}
	return f(remote{strings.TrimRight(address, "/"), token})
}

// withData calls f with the gateway that runs over the data of the
// configuration. When none does, it opens one over it that serves nobody.
func withData(cmd *cobra.Command, file string, f func(gateway.Data) error) error {
	cfg, err := readConfig(file)
	if err != nil {
		return err
	}
	if running, err := gateway.Control(cfg.Data.Dir); err == nil {
		return f(running)
	}
	if _, err := os.Stat(cfg.Data.Dir); errors.Is(err, fs.ErrNotExist) && file == "" {
		return fmt.Errorf("there is no data in %s: start a gateway here with `sallyport serve`, or name the configuration of another one with --config", cfg.Data.Dir)
	}
	if cfg, err = load(file); err != nil {
		return err
	}
	level := slog.LevelError // what it says at its start is about serving
	g, err := gateway.New(cmd.Context(), cfg, version, slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level})))
	if err != nil {
		return err
	}
	err = f(g)
	return errors.Join(err, g.Close())
}

// remote is a gateway that is reached over HTTP.
type remote struct{ url, token string }

// replyLimit is the most bytes of an answer that are read: those of a result
// written as JSON strings, with room for its escapes.
const replyLimit = 4 * sqlapi.MaxBytes

// SQL implements querier.
func (g remote) SQL(ctx context.Context, s sqlapi.Statement) (*sqlapi.Reply, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, sqlapi.Wall+30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url+"/api/2.0/sql/statements", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+g.token)
	req.Header.Set("User-Agent", "sallyport/"+version)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the gateway does not answer: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, replyLimit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the answer of %s: %w", g.url, err)
	case len(text) > replyLimit:
		return nil, fmt.Errorf("the answer of %s is longer than %d MiB", g.url, replyLimit>>20)
	case resp.StatusCode != http.StatusOK:
		var e struct{ Message string }
		_ = json.Unmarshal(text, &e) // what is no JSON has no message
		return nil, fmt.Errorf("%s answers with status %d: %s", g.url, resp.StatusCode, cmp.Or(e.Message, "no reason given; is it a Sallyport gateway?"))
	}
	reply := &sqlapi.Reply{}
	if err := json.Unmarshal(text, reply); err != nil {
		return nil, fmt.Errorf("the answer of %s is not that of a Sallyport gateway: %w", g.url, err)
	}
	return reply, nil
}

// query runs s and gives its rows, or what is wrong with it.
func query(ctx context.Context, q querier, s sqlapi.Statement) (*table, error) {
	reply, err := q.SQL(ctx, s)
	if err != nil {
		return nil, err
	}
	if reply.Status.State != "SUCCEEDED" || reply.Manifest == nil || reply.Result == nil {
		if reply.Status.Error == nil {
			return nil, fmt.Errorf("the statement ended as %q", reply.Status.State)
		}
		return nil, errors.New(reply.Status.Error.Message)
	}
	t := &table{columns: reply.Manifest.Schema.Columns, truncated: reply.Manifest.Truncated}
	if err := json.Unmarshal(reply.Result.Data, &t.rows); err != nil {
		return nil, fmt.Errorf("the rows of the answer: %w", err)
	}
	for i, row := range t.rows {
		if len(row) != len(t.columns) {
			return nil, fmt.Errorf("row %d of the answer has %d values for %d columns", i+1, len(row), len(t.columns))
		}
	}
	return t, nil
}
