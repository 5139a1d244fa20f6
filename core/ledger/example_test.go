package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/sallyport-gateway/sallyport/core/ledger"
)

func Example() {
	dir, err := os.MkdirTemp("", "ledger")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()

	// The gateway writes two records for each call to a model.
	l, err := ledger.Open(ledger.Config{Dir: dir})
	if err != nil {
		fmt.Println(err)
		return
	}
	l.Start(ctx, "resp_1", []byte(`{"model":"a"}`))
	l.Settle(ctx, "resp_1", []byte(`{"model":"a","tokens":12}`))
	l.Start(ctx, "resp_2", []byte(`{"model":"b"}`))
	if _, err := l.Settle(ctx, "resp_1", nil); errors.Is(err, ledger.ErrNotStarted) {
		fmt.Println("a call settles once")
	}
	l.Close() // or the process dies

	// The next process settles what is open, with a row that says so.
	var position uint64 // from the table's last transaction
	l, err = ledger.Open(ledger.Config{Dir: dir, After: position})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	for call, err := range l.Unsettled() {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("interrupted: %s %s\n", call.ID, call.Payload)
		seq, _ := l.Settle(ctx, call.ID, []byte(`{"status":"interrupted"}`))
		l.Sync(ctx, seq)
	}

	// The table's writer takes a batch, commits it with its position, and trims.
	for rec, err := range l.Replay(position + 1) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if rec.Kind == ledger.Settled {
			fmt.Printf("row %d: %s %s\n", rec.Seq, rec.ID, rec.Payload)
		}
		position = rec.Seq
	}
	if err := l.Trim(ctx, position); err != nil {
		fmt.Println(err)
	}

	// Output:
	// a call settles once
	// interrupted: resp_2 {"model":"b"}
	// row 2: resp_1 {"model":"a","tokens":12}
	// row 4: resp_2 {"status":"interrupted"}
}
