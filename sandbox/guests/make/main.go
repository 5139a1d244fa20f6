// Command make makes the guests of the sandbox:
//
//	go run ./sandbox/guests/make -out bin/guests -compile
//
// It is quick when nothing has changed. Its exit status is 0 also when a guest
// was left out because the machine lacks something; it then says what to install.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/sallyport-gateway/sallyport/sandbox/guests"
)

func main() {
	out := flag.String("out", "", "directory for the guests and their manifest")
	only := flag.String("only", "", "make only these, as sql,shell; DIR then has no others")
	compile := flag.Bool("compile", false, "also compile them to machine code, in DIR/"+guests.CompiledDir)
	flag.Parse()
	if *out == "" || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: go run ./sandbox/guests/make -out DIR")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var names []string
	if *only != "" {
		names = strings.Split(*only, ",")
	}
	if err := guests.Make(ctx, *out, os.Stdout, names...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if *compile {
		if err := guests.Compile(ctx, *out, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
