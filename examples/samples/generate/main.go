// Command generate writes the sample tables, from another seed if asked:
//
//	go run ./examples/samples/generate --seed 7 --dir ./sallyport-data/samples
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/sallyport-gateway/sallyport/examples/samples"
)

func main() {
	seed := flag.Uint64("seed", samples.Seed, "seed of the random rows")
	dir := flag.String("dir", "./sallyport-data/samples", "directory to write to")
	flag.Parse()
	if err := samples.Write(*dir, *seed); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("wrote the sample tables to", *dir)
}
