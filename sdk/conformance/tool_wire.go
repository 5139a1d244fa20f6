package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	toolv1 "github.com/sallyport-gateway/sallyport/sdk/proto/tool/v1"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// unknownField is a field that no version of a message has had so far.
func unknownField() []byte {
	b := protowire.AppendTag(nil, 15999, protowire.BytesType)
	return protowire.AppendString(b, "from a later version")
}

// newer is a connection whose messages carry fields that the plugin does not
// know, and one frame that it does not know.
type newer struct{ grpc.ClientConnInterface }

// NewStream implements grpc.ClientConnInterface.
func (n newer) NewStream(ctx context.Context, d *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	st, err := n.ClientConnInterface.NewStream(ctx, d, method, opts...)
	return &newerStream{ClientStream: st}, err
}

type newerStream struct {
	grpc.ClientStream
	sent int
}

// SendMsg implements grpc.ClientStream.
func (s *newerStream) SendMsg(m any) error {
	frame, ok := m.(*toolv1.ToPlugin)
	if !ok {
		return s.ClientStream.SendMsg(m)
	}
	s.sent++
	for _, inner := range []proto.Message{frame, frame.GetOpen(), frame.GetCall(), frame.GetPiece(), frame.GetEnd()} {
		if r := inner.ProtoReflect(); r.IsValid() {
			r.SetUnknown(unknownField())
		}
	}
	for _, d := range frame.GetOpen().GetDeclarations() {
		d.ProtoReflect().SetUnknown(unknownField())
	}
	if err := s.ClientStream.SendMsg(m); err != nil || s.sent > 1 {
		return err
	}
	later := &toolv1.ToPlugin{}
	later.ProtoReflect().SetUnknown(unknownField())
	return s.ClientStream.SendMsg(later)
}

// checkToolFields plays dialogues as a later gateway would.
func (c *checker) checkToolFields(ctx context.Context) {
	ts := c.opened()
	for _, t := range ts {
		p := c.process(ctx)
		if p == nil {
			return
		}
		within, cancel := c.within(ctx)
		var wrong complaints
		want, werr := c.transcript(within, p.conn, t, &wrong)
		got, err := c.transcript(within, newer{p.conn}, t, &wrong)
		cancel()
		sent := t.name() + ", with fields and a frame of a later version"
		if !c.alive(sent) {
			return
		}
		switch {
		case err != nil && werr == nil:
			c.find("unknown-field-refused", sent, err.Error())
		case got != want:
			c.find("unknown-field-refused", sent, difference(got, want))
		}
	}
}

func openFrame(ds []tool.Declaration) *toolv1.ToPlugin {
	req := &toolv1.OpenRequest{}
	for _, d := range ds {
		req.Declarations = append(req.Declarations, &toolv1.Declaration{
			Index: int64(d.Index), Name: d.Name, Description: d.Description, Object: d.Object, Spec: d.Spec,
		})
	}
	return &toolv1.ToPlugin{Frame: &toolv1.ToPlugin_Open{Open: req}}
}

func callFrame(call tool.Call) *toolv1.ToPlugin {
	return &toolv1.ToPlugin{Frame: &toolv1.ToPlugin_Call{Call: &toolv1.CallRequest{
		Id: call.ID, Function: call.Function, Arguments: call.Arguments, State: call.State, Attempt: int64(call.Attempt),
	}}}
}

// rawStream begins an Open or a Call without the sdk's client in between.
func rawStream(ctx context.Context, p *process, first *toolv1.ToPlugin) (grpc.BidiStreamingClient[toolv1.ToPlugin, toolv1.ToGateway], error) {
	client := toolv1.NewToolClient(p.conn)
	start := client.Call
	if first.GetOpen() != nil {
		start = client.Open
	}
	st, err := start(ctx)
	if err != nil {
		return nil, err
	}
	return st, st.Send(first)
}

// checkToolEnd looks at what comes after the last frame of a call: nothing.
func (c *checker) checkToolEnd(ctx context.Context) {
	ts := c.opened()
	for _, t := range ts {
		p := c.process(ctx)
		if p == nil {
			return
		}
		frames := []*toolv1.ToPlugin{openFrame(t.Declarations)}
		for _, call := range t.Sample() {
			frames = append(frames, callFrame(call))
		}
		for _, first := range frames {
			c.afterEnd(ctx, p, first)
		}
	}
}

func (c *checker) afterEnd(ctx context.Context, p *process, first *toolv1.ToPlugin) {
	ctx, cancel := c.within(ctx)
	defer cancel()
	st, err := rawStream(ctx, p, first)
	if err != nil {
		return // the process is looked at after the check
	}
	refusal := []byte(`{"code":"denied","message":"No."}`)
	last := false
	for {
		frame, err := st.Recv()
		if err != nil {
			return
		}
		if last {
			c.find("host-after-end", fmt.Sprintf("%v, and an error as answer to each Host call", cut(first.String(), 200)), "after the last frame came "+cut(frame.String(), 200))
			return
		}
		switch f := frame.GetFrame().(type) {
		case *toolv1.ToGateway_Host:
			end := &toolv1.ToPlugin{Frame: &toolv1.ToPlugin_End{End: &toolv1.HostEnd{Id: f.Host.GetId(), Error: refusal}}}
			if st.Send(end) != nil {
				return
			}
		case *toolv1.ToGateway_Opened, *toolv1.ToGateway_Result, *toolv1.ToGateway_Error:
			last = true
			time.AfterFunc(100*time.Millisecond, cancel) // the gateway ends it now
		}
	}
}

// cancels begins a call, answers nothing, and ends the stream from this side,
// which takes away everything the call was allowed: the plugin should end its
// side within a second. A plugin made with the Go sdk always does when the
// author's code heeds its context; of others nothing follows from silence, so
// for them capacity decides. It reports whether the checks can go on.
func (c *checker) cancels(ctx context.Context, sent string, first *toolv1.ToPlugin) bool {
	p := c.process(ctx)
	if p == nil {
		return false
	}
	ctx, cancel := c.within(ctx)
	defer cancel()
	st, err := rawStream(ctx, p, first)
	if err != nil {
		return c.alive(sent)
	}
	over := make(chan error, 1)
	asked := make(chan struct{}, 1)
	go func() {
		for {
			frame, err := st.Recv()
			if err != nil {
				over <- err
				return
			}
			if frame.GetHost() != nil {
				select {
				case asked <- struct{}{}:
				default:
				}
			}
		}
	}()
	select {
	case <-asked: // it waits for its Host
	case <-over: // it needed none
		return c.alive(sent)
	case <-time.After(300 * time.Millisecond): // or does something else for long
	}
	if err := st.CloseSend(); err != nil && !errors.Is(err, io.EOF) {
		return c.alive(sent)
	}
	begin := time.Now()
	select {
	case <-over:
	case <-time.After(stopWithin):
		if c.goProgram {
			c.find("ignores-cancel", sent+", canceled while its Host did not answer", fmt.Sprintf("still at work %v later", time.Since(begin).Round(time.Second)))
		}
	}
	return c.alive(sent)
}
