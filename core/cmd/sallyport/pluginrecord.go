//go:build unix

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/boot"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// maxRecorded is the longest request, and the longest reply, that is recorded,
// in bytes.
const maxRecorded = 32 << 20

func pluginRecordCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "record PATH --out DIR [--request FILE]",
		Short: "turn real dialogues with a provider into tests of its translator",
		Long: `Record dialogues of a translator plugin with its real provider, as golden *.txtar files.

Without --request it listens for POST /responses with OpenResponses requests, has the plugin translate each, calls the
provider, and streams the events of the answer back. With --request it does so once. Credentials, cookies, keys and account
ids are left out of the files. Read them all the same before you share them, and write above each what it shows.`,
		Args: someArgs(1, 1, "the path of a plugin"),
	}
	how := trialFlagsOf(cmd)
	baseURL := cmd.Flags().String("base-url", "", "`URL` of the provider (default: the one of the manifest)")
	key := cmd.Flags().String("key", "", "`env:VARIABLE` or file:PATH with the provider's key")
	listen := cmd.Flags().String("listen", "127.0.0.1:0", "`address` to take requests on")
	request := cmd.Flags().String("request", "", "`file` with one OpenResponses request")
	model := cmd.Flags().String("model", "", "the provider's own `name` of the model (default: the one in the request)")
	dir := cmd.Flags().String("out", "", "`directory` for the dialogues")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *dir == "" {
			return usageError{errors.New("--out is missing: the directory for the dialogues, such as testdata")}
		}
		secret, err := keyOf(*key)
		if err != nil {
			return fmt.Errorf("--key: %w", err)
		}
		settings, err := how.readSettings()
		if err != nil {
			return err
		}
		trial, running, err := how.start(cmd, args[0])
		if err != nil {
			return err
		}
		defer trial.Close() // what it copied is in a temporary directory
		defer running.Close()
		m := running.Provider
		if running.Description.Kind != boot.Provider || m.Offline {
			return errors.New("only a translator plugin that calls a provider has dialogues to record")
		}
		if err := os.MkdirAll(*dir, 0o755); err != nil {
			return err
		}
		r := &recorder{
			translator: running.Translator(), manifest: m, settings: settings, model: *model, dir: *dir, log: cmd.ErrOrStderr(),
		}
		if r.account, err = account(m.Name, cmp.Or(*baseURL, m.BaseURL), egress.Credential{Scheme: m.Credential.Scheme, Name: m.Credential.Name}, secret); err != nil {
			return fmt.Errorf("--base-url: %w", err)
		}
		if *request != "" {
			return r.once(cmd.Context(), *request, cmd.OutOrStdout())
		}
		return r.serve(cmd.Context(), *listen, cmd.OutOrStdout())
	}
	return cmd
}

// recorder is one `plugin record`.
type recorder struct {
	translator *provider.Client
	manifest   provider.Manifest
	settings   json.RawMessage
	account    *egress.Account
	model      string // "" means the request's
	dir        string
	log        io.Writer
}

// once records the dialogue of one request and prints its events.
func (r *recorder) once(ctx context.Context, path string, out io.Writer) error {
	body, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("--request: %w", err)
	}
	return r.dialogue(ctx, body, func(e openresponses.Event) error {
		_, err := fmt.Fprintf(out, "%s\n", e.AppendJSON(nil))
		return err
	})
}

// serve takes requests until ctx ends.
func (r *recorder) serve(ctx context.Context, address string, out io.Writer) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	fmt.Fprintf(out, "Recording into %s: POST http://%s/responses\n", r.dir, l.Addr())
	s := &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err = s.Shutdown(stop)
	if served := <-served; !errors.Is(served, http.ErrServerClosed) {
		return served
	}
	return err
}

// ServeHTTP implements http.Handler: POST …/responses.
func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodPost || !isResponses(req.URL.Path) {
		http.Error(w, "POST an OpenResponses request to /responses", http.StatusNotFound)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxRecorded))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	begun := false
	err = r.dialogue(req.Context(), body, func(e openresponses.Event) error {
		if !begun {
			begun = true
			w.Header().Set("Content-Type", "text/event-stream")
		}
		if _, err := fmt.Fprintf(w, "event: %s\ndata: %s\n\n", e.Type, e.AppendJSON(nil)); err != nil {
			return err
		}
		return http.NewResponseController(w).Flush()
	})
	if err == nil {
		return
	}
	j, jerr := json.Marshal(map[string]any{"error": apierror.From(err)})
	if jerr != nil {
		j = []byte(`{"error":{"code":"internal"}}`)
	}
	if begun {
		_, err = fmt.Fprintf(w, "event: error\ndata: %s\n\n", j)
	} else {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadGateway)
		_, err = w.Write(j)
	}
	if err != nil {
		fmt.Fprintln(r.log, "the client left:", err)
	}
}

func isResponses(path string) bool {
	const end = "/responses"
	return len(path) >= len(end) && path[len(path)-len(end):] == end
}

// dialogue has one request answered, gives the events to emit, and writes the
// dialogue down. An answer that is an error is a dialogue too.
func (r *recorder) dialogue(ctx context.Context, body []byte, emit func(openresponses.Event) error) error {
	request, err := openresponses.ParseRequest(body)
	if err != nil {
		return err
	}
	turn := provider.Turn{
		Op: provider.Generate, Model: cmp.Or(r.model, request.Model), Request: request,
		Account: provider.Account{Name: r.manifest.Name, Settings: r.settings},
	}
	ex, err := r.translator.Begin(ctx, turn)
	if err != nil {
		return errors.Join(err, r.write(ctx, turn, nil, nil, false))
	}
	up := ex.Upstream()
	if up == nil {
		return errors.New("the translator wants no HTTP request")
	}
	res, err := r.account.Do(ctx, egress.Request{Method: up.Method, Path: up.Path, Query: up.Query, Header: up.Header, Body: up.Body, Stream: up.Stream})
	if err != nil {
		return errors.Join(apierror.Wrap(apierror.UpstreamFailed, err, "%v", err), closed(ex))
	}
	defer res.Body.Close() // it was read, or its reader left
	kept := &keeper{from: res.Body}
	var failed error
	for e, err := range ex.Decode(ctx, provider.Reply{Status: res.Status, Header: res.Header, Body: kept}) {
		if err != nil {
			failed = err
			break
		}
		if err := emit(e); err != nil {
			return fmt.Errorf("the reader left: %w", err)
		}
	}
	if _, err := io.Copy(io.Discard, kept); err != nil && kept.end == nil {
		kept.end = err // the reply is written as far as it came
	}
	if kept.over {
		return errors.Join(failed, fmt.Errorf("the reply is longer than %d MiB and is not recorded", maxRecorded>>20))
	}
	return errors.Join(failed, r.write(ctx, turn, res, kept.bytes, kept.end != nil && !errors.Is(kept.end, io.EOF)))
}

// closed gives up an exchange that is not to be decoded.
func closed(ex provider.Exchange) error {
	if c, ok := ex.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// keeper keeps what is read through it.
type keeper struct {
	from  io.Reader
	bytes []byte
	end   error
	over  bool // there was more than may be kept
}

// Read implements io.Reader.
func (k *keeper) Read(p []byte) (int, error) {
	n, err := k.from.Read(p)
	if len(k.bytes)+n > maxRecorded {
		k.over = true
	} else {
		k.bytes = append(k.bytes, p[:n]...)
	}
	if err != nil {
		k.end = err
	}
	return n, err
}
