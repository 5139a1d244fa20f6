package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
)

// What the gateway that runs lacks is told beside what is there by now.
func TestDoctorAsksTheGateway(t *testing.T) {
	t.Parallel()
	for more, want := range map[string]string{
		"code_execution: {guests: ./none}":               "note  gateway        GET /health of the one that runs says: code execution: no program can be run: there are no guests",
		"code_execution: {guests: ./none, offer: never}": "ok    gateway        GET /health of the one that runs says ok",
	} {
		file := configIn(t, shortDir(t), "listen: 127.0.0.1:0\n"+more+"\n")
		gatewaytest.Serve(t, file)
		if code, out, errs := command(t, "doctor", "--config", file); code != 0 || !strings.Contains(out, want) {
			t.Errorf("%s: exit code %d, %s\n%s\nwant %q", more, code, errs, out, want)
		}
	}
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	noDir := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(noDir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	damaged := t.TempDir()
	for name, text := range map[string]string{
		"manifest.json": `{"version": 1, "wazero": "v1.12.0", "guests": [{"language": "shell", "module": "shell.wasm", "module_sha256": "00", "image": "shell.wasm", "image_sha256": "00", "pages": 1}]}`, "shell.wasm": "x",
	} {
		if err := os.WriteFile(filepath.Join(damaged, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name, more string
		code       int
		want       []string
	}{
		{"all well", "listen: 127.0.0.1:0\ndata: ./new", 0, []string{
			"ok    kernel         landlock=", "ok    confinement    every plugin process is confined", "provider demo ", "will be made at the first start", "ok    listen ",
			"Nothing would stop `sallyport serve`.",
		}},
		{"port taken", "listen: " + taken.Addr().String(), 1, []string{"STOP  listen ", "address already in use"}},
		{"no data directory", "listen: 127.0.0.1:0\ndata: " + noDir, 1, []string{"STOP  data ", "is not a directory"}},
		{"configuration", "unconfined: perhaps", 1, []string{"STOP  configuration  ", `unconfined: "perhaps" is not known; write "unconfined: allow"`, "confinement"}},
		{"guests that are no guests", "listen: 127.0.0.1:0\ncode_execution: {guests: " + damaged + "}", 0, []string{
			"note  code           models run no programs: ", "shell: file \"shell.wasm\" is not what it was made as", "models lack python, sql, shell: `sallyport serve` starts without, and GET /health says degraded", "Nothing would stop `sallyport serve`.",
		}},
		{"guests that nobody is offered", "listen: 127.0.0.1:0\ncode_execution: {offer: never, guests: " + damaged + "}", 0, []string{
			"ok    code           models are offered to run no programs (offer: never); plugins can have them run in no language", "shell: file \"shell.wasm\"",
		}},
		{"unconfined", "listen: 127.0.0.1:0\nunconfined: allow", 0, []string{"note  confinement    unconfined: allow is set"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			code, out, errs := command(t, "doctor", "--config", configFile(t, tt.more))
			for _, want := range tt.want {
				if !strings.Contains(out, want) {
					t.Errorf("doctor lacks %q", want)
				}
			}
			wantErr := ""
			if tt.code != 0 {
				wantErr = fmt.Sprintf("sallyport: %d of these would stop `sallyport serve`\n", strings.Count(out, "STOP"))
			}
			if code != tt.code || errs != wantErr {
				t.Errorf("code %d, stderr %q, want %d, %q", code, errs, tt.code, wantErr)
			}
			if t.Failed() {
				t.Logf("%s", out)
			}
		})
	}
}
