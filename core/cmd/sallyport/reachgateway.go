package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-gateway/sallyport/core/client"
	"github.com/sallyport-gateway/sallyport/core/spelling"
)

// gatewayFlags say which gateway a command is about, and how it gets a token
// for it.
type gatewayFlags struct {
	url, token, helper, file *string
}

// whichHelp says how a command finds the gateway.
const whichHelp = "The gateway is the one of --url or " + urlVar + ", with the token of --token or " + tokenVar + "; without a URL it is the one that\n" +
	"runs on this machine over the data of the configuration, with its administrator's token."

func addGatewayFlags(cmd *cobra.Command) gatewayFlags {
	return gatewayFlags{
		url:    cmd.Flags().String("url", "", "`URL` of the gateway (default: "+urlVar+")"),
		token:  cmd.Flags().String("token", "", "the `token`; - reads it from standard input (default: "+tokenVar+")"),
		helper: cmd.Flags().String("helper", "", "a shell `command` that prints the token, in place of --token"),
		file:   localFlag(cmd),
	}
}

// gateway is the one that the flags name; Model is empty.
func (g gatewayFlags) gateway(ctx context.Context, stdin io.Reader) (client.Gateway, error) {
	var out client.Gateway
	address, local := cmp.Or(*g.url, os.Getenv(urlVar)), ""
	if *g.url == "" && *g.file != "" || address == "" {
		var err error
		if address, local, err = localGateway(ctx, *g.file); err != nil {
			return out, err
		}
	}
	var err error
	if out.URL, err = client.CheckURL(address); err != nil {
		return out, usageError{fmt.Errorf("%s %w", address, err)}
	}
	switch {
	case *g.token != "" && *g.helper != "":
		return out, usageError{errors.New("--token or --helper, not both")}
	case *g.token == "-":
		b, err := io.ReadAll(io.LimitReader(stdin, 4<<10))
		if err != nil {
			return out, fmt.Errorf("standard input: %w", err)
		}
		if out.Token.Text = strings.TrimSpace(string(b)); out.Token.Text == "" {
			return out, usageError{errors.New("--token -: standard input is empty")}
		}
	case *g.token != "":
		out.Token.Text = *g.token
	case *g.helper != "":
		out.Token.Command = *g.helper
	case local != "":
		if _, err := client.ReadToken(local); err == nil {
			out.Token.File = local
		} else if !errors.Is(err, fs.ErrNotExist) {
			return out, err
		}
	default:
		out.Token.Text = os.Getenv(tokenVar)
	}
	if local != "" && out.Token == (client.Token{}) {
		out.Token.Text = os.Getenv(tokenVar)
	}
	return out, nil
}

// askMe asks the gateway who the token speaks for.
func askMe(ctx context.Context, g client.Gateway, out any) error {
	token, err := g.Token.Read(ctx)
	if err != nil {
		return err
	}
	if token == "" {
		return fmt.Errorf("there is no token for %s: set %s, or give --token", g.URL, tokenVar)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err = remote{g.URL, token}.do(ctx, http.MethodGet, "/me", nil, out)
	if r, ok := errors.AsType[refusal](err); ok && r.status == http.StatusUnauthorized {
		err = fmt.Errorf("%w: %w", errToken, err)
	}
	return err
}

// errToken is a token that the gateway refuses.
var errToken = errors.New("the token is not good: ask an administrator of the gateway for one (`sallyport token create`)")

// demoModel is the model of the built-in configuration.
const demoModel = "databricks-demo"

// errNoModel is a model that the gateway does not list for the caller.
var errNoModel = errors.New("no such model")

// chooseModel finds the model that an agent is to use: the one asked for, or
// the first that speaks the agent's dialect itself, or the first. What should be known about
// it is a note. With errNoModel the model that was asked for is returned too: an
// alias of a surface, which the gateway does not list, may answer to it.
func chooseModel(ctx context.Context, a client.Agent, g client.Gateway, asked string) (name, note string, err error) {
	var s myself
	if err := askMe(ctx, g, &s); err != nil {
		if errors.Is(err, errToken) {
			return "", "", err
		}
		if asked == "" {
			return "", "", fmt.Errorf("which model? give --model; the gateway could not be asked what there is: %w", err)
		}
		return asked, fmt.Sprintf("it could not be checked that the gateway has the model %s: %v", asked, err), nil
	}
	if asked != "" {
		if slices.ContainsFunc(s.Models, func(m myModel) bool { return m.answersTo(asked) }) {
			return asked, "", nil
		}
		hint := "you may use " + cmp.Or(strings.Join(s.names(), ", "), "none")
		if near := spelling.Nearest(asked, s.names()); near != "" {
			hint = fmt.Sprintf("did you mean %s?", near)
		}
		return asked, "", fmt.Errorf("%w: %s has no model %s for %s; %s", errNoModel, g.URL, asked, s.Name, hint)
	}
	if len(s.Models) == 0 {
		return "", "", fmt.Errorf("%s may use no model at %s", s.Name, g.URL)
	}
	if i := slices.IndexFunc(s.Models, func(m myModel) bool { return slices.Contains(m.Native, a.Surface) }); i >= 0 {
		return s.Models[i].Name, "", nil
	}
	if name = s.Models[0].Name; name == demoModel {
		note = demoModel + " is a set of rules, not a language model: it shows that the gateway works, and cannot do an agent's work; name another model with --model once there is one"
	}
	return name, note, nil
}
