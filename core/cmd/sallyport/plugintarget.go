//go:build unix

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/core/secret"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// targetFlags name what a plugin under trial may fetch.
type targetFlags struct{ urls, keys, schemes *[]string }

func targetFlagsOf(cmd *cobra.Command) targetFlags {
	return targetFlags{
		urls:    cmd.Flags().StringArray("target", nil, "`NAME=URL` that the plugin may fetch; can be repeated"),
		keys:    cmd.Flags().StringArray("key", nil, "`NAME=env:VARIABLE` or NAME=file:PATH: the key of a target; can be repeated"),
		schemes: cmd.Flags().StringArray("credential", nil, "`NAME=SCHEME`, how a target takes its key: bearer (default), header:HEADER, query:PARAMETER"),
	}
}

// accounts makes an account of each target, as the gateway does.
func (f targetFlags) accounts() (map[string]*egress.Account, error) {
	urls, err := pairs("target", *f.urls)
	if err != nil {
		return nil, err
	}
	keys, err := pairs("key", *f.keys)
	if err != nil {
		return nil, err
	}
	schemes, err := pairs("credential", *f.schemes)
	if err != nil {
		return nil, err
	}
	for flag, m := range map[string]map[string]string{"key": keys, "credential": schemes} {
		for name := range m {
			if urls[name] == "" {
				return nil, usageError{fmt.Errorf("--%s %s=…: there is no --target %s", flag, name, name)}
			}
		}
	}
	accounts := make(map[string]*egress.Account, len(urls))
	for name, url := range urls {
		scheme, header, _ := strings.Cut(cmp.Or(schemes[name], egress.SchemeBearer), ":")
		key, err := keyOf(keys[name])
		if err != nil {
			return nil, fmt.Errorf("--key %s: %w", name, err)
		}
		if accounts[name], err = account(name, url, egress.Credential{Scheme: scheme, Name: header}, key); err != nil {
			return nil, fmt.Errorf("--target %s: %w", name, err)
		}
	}
	return accounts, nil
}

// account is a place to go to, named on the command line: it may be near.
func account(name, url string, cred egress.Credential, key secret.Value) (*egress.Account, error) {
	out, err := egress.New(egress.Config{Version: version})
	if err != nil {
		return nil, err
	}
	return out.Account(egress.AccountConfig{Name: name, BaseURL: url, Private: true, Credential: cred, Key: key})
}

// keyOf reads env:VARIABLE or file:PATH; "" is no key.
func keyOf(where string) (secret.Value, error) {
	var v secret.Value
	kind, name, _ := strings.Cut(where, ":")
	switch {
	case where == "":
		return v, nil
	case kind == "env" && name != "":
		v = secret.Env(name)
	case kind == "file" && name != "":
		v = secret.File(name)
	default:
		return v, usageError{errors.New("write env:VARIABLE or file:PATH; a key itself does not belong on a command line")}
	}
	return v, v.Resolve()
}

// fetcher is Host.Fetch over accounts.
func fetcher(accounts map[string]*egress.Account) func(context.Context, string, tool.Outbound) (*tool.Inbound, error) {
	return func(ctx context.Context, name string, r tool.Outbound) (*tool.Inbound, error) {
		a := accounts[name]
		if a == nil {
			return nil, apierror.New(apierror.Unsupported, "The target %q is not set: give --target %s=URL.", name, name)
		}
		if r.Method == "" {
			r.Method = http.MethodGet
			if r.Body != nil {
				r.Method = http.MethodPost
			}
		}
		res, err := a.Do(ctx, egress.Request{Method: r.Method, Path: r.Path, Query: r.Query, Header: r.Header, Body: r.Body, Plain: true})
		if err != nil {
			return nil, apierror.Wrap(apierror.UpstreamFailed, err, "The target %q: %v.", name, err)
		}
		return &tool.Inbound{Status: res.Status, Header: res.Header, Body: res.Body}, nil
	}
}

// handlers are the accounts as the kit wants them.
func handlers(accounts map[string]*egress.Account) map[string]http.Handler {
	hs := make(map[string]http.Handler, len(accounts))
	fetch := fetcher(accounts)
	for name := range accounts {
		hs[name] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			if len(body) == 0 {
				body = nil
			}
			in, err := fetch(r.Context(), name, tool.Outbound{
				Method: r.Method, Path: strings.TrimPrefix(r.URL.EscapedPath(), "/"), Query: r.URL.RawQuery, Header: r.Header, Body: body,
			})
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			defer in.Body.Close() // it was read, or its reader left
			for k, vs := range in.Header {
				w.Header()[k] = vs
			}
			w.WriteHeader(in.Status)
			_, _ = io.Copy(w, in.Body) // the reader is the kit itself
		})
	}
	return hs
}
