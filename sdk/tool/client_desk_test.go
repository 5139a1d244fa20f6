package tool_test

import (
	"context"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/plugintest"
	toolv1 "github.com/sallyport-gateway/sallyport/sdk/proto/tool/v1"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// A plugin that asks and never reads holds up the ends of its Host calls. They
// count, so it has its stream ended; it does not fill the gateway.
func TestPluginThatNeverReads(t *testing.T) {
	const asked = 20_000 // several times what the connection holds
	var sent atomic.Int64
	done := make(chan struct{}, 1)
	silent := func(st grpc.BidiStreamingServer[toolv1.ToPlugin, toolv1.ToGateway]) error {
		for id := range uint64(asked) {
			call := &toolv1.HostCall{Id: id, Call: &toolv1.HostCall_Progress{Progress: &toolv1.ProgressCall{Message: "still here"}}}
			if err := st.Send(&toolv1.ToGateway{Frame: &toolv1.ToGateway_Host{Host: call}}); err != nil {
				return err
			}
			sent.Add(1)
			select { // the gateway does what it was asked before it is asked again
			case <-done:
			case <-st.Context().Done():
				return st.Context().Err()
			}
		}
		<-st.Context().Done()
		return nil
	}
	conn, _ := plugintest.Conn(t, func(s *grpc.Server) { toolv1.RegisterToolServer(s, &foreign{call: silent}) })
	before, high := runtime.NumGoroutine(), 0
	host := tool.NewHost(tool.Service{Progress: func(context.Context, tool.Progress) error { // one at a time
		high = max(high, runtime.NumGoroutine())
		done <- struct{}{}
		return nil
	}})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := tool.NewClient(conn).Call(ctx, tool.Call{}, host)
	if high > before+100 {
		t.Errorf("%d goroutines at the most, from %d; want no more for each of the plugin's calls", high, before)
	}
	cause := ""
	if e := apierror.From(err); e.Unwrap() != nil {
		cause = e.Unwrap().Error()
	}
	if !apierror.Is(err, apierror.Internal) || !strings.Contains(cause, "more than 32 Host calls without their end") {
		t.Errorf("Call = %v (%s) after %d Host calls, want the rule it broke", err, cause, sent.Load())
	}
}

// A plugin that keeps to the bound may use all of it, all the time.
func TestHostCallsAtTheBound(t *testing.T) {
	t.Parallel()
	c := connect(t, calls(func(ctx context.Context, _ tool.Call, h *tool.Host) (tool.Result, error) {
		failed := make(chan error, 64)
		for range cap(failed) {
			go func() {
				var err error
				for n := 0; n < 40 && err == nil; n++ {
					err = h.Progress(ctx, tool.Progress{})
				}
				failed <- err
			}()
		}
		for range cap(failed) {
			if err := <-failed; err != nil {
				return tool.Result{}, err
			}
		}
		return tool.Text("done"), nil
	}))
	if _, err := c.Call(t.Context(), tool.Call{}, tool.NewHost(tool.Service{Progress: func(context.Context, tool.Progress) error { return nil }})); err != nil {
		t.Errorf("Call = %v", err)
	}
}
