package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// translator reads server-sent events whose data is {"t":"text"}: each is a
// piece of text.
type translator struct{}

func (translator) Begin(_ context.Context, t provider.Turn) (provider.Exchange, error) {
	up := &provider.Upstream{Method: "POST", Path: "chat", Stream: true}
	switch t.Model {
	case "exit-in-begin":
		os.Exit(7)
	case "panic-in-begin":
		panic("in begin")
	case "crash-in-begin":
		go panic("in a goroutine of its own")
		select {}
	case "hoard": // descriptors that no connection explains
		for range 200 {
			r, w, err := os.Pipe()
			if err != nil {
				return nil, err
			}
			hoard = append(hoard, r, w)
		}
	case "hang-in-begin":
		time.Sleep(time.Hour)
	case "environ":
		up.Body = []byte(strings.Join(os.Environ(), "\n"))
	case "stdin":
		up.Body, _ = io.ReadAll(os.Stdin)
	case "print":
		fmt.Println("a stray print")
	case "flood":
		for range 200_000 {
			fmt.Fprintln(os.Stderr, "more than anybody wants to read")
		}
	case "child":
		c := exec.Command(os.Args[0], "sleep")
		if err := c.Start(); err != nil {
			return nil, err
		}
		up.Body = []byte(fmt.Sprint(c.Process.Pid))
	default:
		up.Body = t.Request.AppendJSON(nil)
	}
	return &exchange{model: t.Model, up: up}, nil
}

var hoard []*os.File

type exchange struct {
	model string
	up    *provider.Upstream
}

func (x *exchange) Upstream() *provider.Upstream { return x.up }

func (x *exchange) Decode(_ context.Context, r provider.Reply) iter.Seq2[openresponses.Event, error] {
	return func(yield func(openresponses.Event, error) bool) {
		out := provider.NewOutput(yield)
		sc := bufio.NewScanner(r.Body)
		sc.Buffer(nil, 8<<20)
		for sc.Scan() {
			text, ok := strings.CutPrefix(sc.Text(), `data: {"t":"`)
			if !ok {
				continue
			}
			text = strings.TrimSuffix(text, `"}`)
			if x.model == "panic-in-decode" {
				panic("in decode")
			}
			if !out.Text(text) {
				return
			}
		}
		if err := sc.Err(); err != nil {
			out.Fail(apierror.Wrap(apierror.UpstreamFailed, err, "The provider cut its reply."))
			return
		}
		out.Usage(openresponses.Usage{Input: 1, Output: 1})
		out.Finish(openresponses.Terminal{Status: openresponses.StatusCompleted})
	}
}
