package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-gateway/sallyport/core/client"
	"github.com/sallyport-gateway/sallyport/core/sqlapi"
)

// The environment variables that name a gateway to reach over HTTP.
const (
	urlVar   = client.URLVar
	tokenVar = client.TokenVar
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
		return withLocal(cmd, file, f)
	}
	g, err := remoteGateway(address, token)
	if err != nil {
		return err
	}
	return f(g)
}

// remoteGateway is the gateway that the environment names.
func remoteGateway(address, token string) (remote, error) {
	if address == "" || token == "" {
		missing, there := urlVar, tokenVar
		if address != "" {
			missing, there = tokenVar, urlVar
		}
		return remote{}, usageError{fmt.Errorf("%s is set and %s is not: set both to ask a gateway over HTTP, or none", there, missing)}
	}
	u, err := client.CheckURL(address)
	if err != nil {
		return remote{}, usageError{fmt.Errorf("%s %w", urlVar, err)}
	}
	return remote{u, token}, nil
}

// remote is a gateway that is reached over HTTP.
type remote struct{ url, token string }

// replyLimit is the most bytes of an answer that are read: those of a result
// written as JSON strings, with room for its escapes.
const replyLimit = 4 * sqlapi.MaxBytes

// SQL implements querier.
func (g remote) SQL(ctx context.Context, s sqlapi.Statement) (*sqlapi.Reply, error) {
	reply := &sqlapi.Reply{}
	return reply, g.do(ctx, http.MethodPost, "/api/2.0/sql/statements", s, reply)
}

// do sends in, unless it is nil, and reads the answer into out.
func (g remote) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	ctx, cancel := context.WithTimeout(ctx, sqlapi.Wall+30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, g.url+path, body)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+g.token)
	req.Header.Set("User-Agent", "sallyport/"+version)
	resp, err := http.DefaultClient.Do(req)
	if unknown, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return fmt.Errorf("the certificate of %s: %w; with an authority of your own, name its certificate: SSL_CERT_FILE=ca.pem for sallyport and Codex on Linux, NODE_EXTRA_CA_CERTS=ca.pem for the agents that run on Node; elsewhere sallyport takes those that the system trusts", g.url, unknown)
	}
	if err != nil {
		return fmt.Errorf("the gateway does not answer: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, replyLimit+1))
	switch {
	case err != nil:
		return fmt.Errorf("the answer of %s: %w", g.url, err)
	case len(text) > replyLimit:
		return fmt.Errorf("the answer of %s is longer than %d MiB", g.url, replyLimit>>20)
	case resp.StatusCode != http.StatusOK:
		var e struct {
			Message string
			Error   json.RawMessage
		}
		_ = json.Unmarshal(text, &e) // what is no JSON has no message
		var inner struct{ Message string }
		_ = json.Unmarshal(e.Error, &inner)
		return refusal{resp.StatusCode, fmt.Errorf("%s answers with status %d: %s", g.url, resp.StatusCode, cmp.Or(e.Message, inner.Message, "no reason given; is it a Sallyport gateway?"))}
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("the answer of %s is not that of a Sallyport gateway: %w", g.url, err)
	}
	return nil
}

// refusal is an answer with a status other than 200.
type refusal struct {
	status int
	error
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
