package tool

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/internal/fault"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	toolv1 "github.com/sallyport-gateway/sallyport/sdk/proto/tool/v1"
)

// chunkBytes is the most that one piece of a file or body holds. Most answers
// are small, so the first is read with less room.
const (
	chunkBytes      = 64 << 10
	firstChunkBytes = 4 << 10
)

// serve runs one Host call to its end. A panic below is an error of this call:
// the gateway lives on.
func (j *job) serve(ctx context.Context, call *toolv1.HostCall) (end *toolv1.HostEnd, err error) {
	defer func() {
		if v := recover(); v != nil {
			end, err = nil, fault.Caught(j.desk.log, "host call", v)
		}
	}()
	h, end := j.desk.host, &toolv1.HostEnd{}
	switch c := call.GetCall().(type) {
	case *toolv1.HostCall_Object:
		o, err := h.Object(ctx, c.Object.GetKind(), c.Object.GetName())
		end.Answer = &toolv1.HostEnd_Object{Object: encodeObject(o)}
		return end, err
	case *toolv1.HostCall_Query:
		return end, j.query(ctx, c.Query)
	case *toolv1.HostCall_Generate:
		return end, j.generate(ctx, c.Generate)
	case *toolv1.HostCall_Embed:
		vs, err := h.Embed(ctx, c.Embed.GetModel(), c.Embed.GetInput())
		end.Answer = &toolv1.HostEnd_Vectors{Vectors: encodeVectors(vs)}
		return end, err
	case *toolv1.HostCall_Exec:
		o, err := h.Exec(ctx, Program{Language: c.Exec.GetLanguage(), Code: c.Exec.GetCode()})
		end.Answer = &toolv1.HostEnd_Output{Output: &toolv1.Output{
			Stdout: fault.Text(o.Stdout), Stderr: fault.Text(o.Stderr), Error: fault.Text(o.Error), Truncated: o.Truncated,
		}}
		return end, err
	case *toolv1.HostCall_List:
		es, err := h.List(ctx, c.List.GetDir())
		end.Answer = &toolv1.HostEnd_Entries{Entries: encodeEntries(es)}
		return end, err
	case *toolv1.HostCall_Open:
		f, err := h.Open(ctx, c.Open.GetPath())
		if err != nil {
			return nil, err
		}
		return end, j.bytes(ctx, &toolv1.Head{}, f)
	case *toolv1.HostCall_Fetch:
		return end, j.fetch(ctx, c.Fetch)
	case *toolv1.HostCall_Progress:
		return end, h.Progress(ctx, Progress{Message: c.Progress.GetMessage(), Fraction: c.Progress.GetFraction()})
	}
	return nil, apierror.New(apierror.Unsupported, "This gateway is older than the plugin and does not offer what it asked for. Update the gateway.")
}

func (j *job) query(ctx context.Context, c *toolv1.QueryCall) error {
	q := Query{SQL: c.GetSql(), Args: engine.DecodeArgs(c.GetArgs()), MaxRows: int(c.GetMaxRows()), MaxBytes: c.GetMaxBytes()}
	for b, err := range j.desk.host.Query(ctx, q) {
		if err != nil {
			return err
		}
		for piece, size := range engine.EncodeBatch(b) {
			if err := j.piece(ctx, &toolv1.HostPiece{Piece: &toolv1.HostPiece_Batch{Batch: piece}}, size); err != nil {
				return err
			}
		}
	}
	return nil
}

func (j *job) generate(ctx context.Context, body []byte) error {
	r, err := openresponses.ParseRequest(body)
	if err != nil {
		return err
	}
	for ev, err := range j.desk.host.Generate(ctx, r) {
		if err != nil {
			return err
		}
		b := ev.AppendJSON(nil)
		if err := j.piece(ctx, &toolv1.HostPiece{Piece: &toolv1.HostPiece_Event{Event: b}}, int64(len(b))); err != nil {
			return err
		}
	}
	return nil
}

func (j *job) fetch(ctx context.Context, c *toolv1.FetchCall) error {
	in, err := j.desk.host.Fetch(ctx, c.GetTarget(), Outbound{
		Method: c.GetMethod(), Path: c.GetPath(), Query: c.GetQuery(), Header: decodeHeader(c.GetHeader()), Body: c.GetBody(),
	})
	if err != nil {
		return err
	}
	return j.bytes(ctx, &toolv1.Head{Status: int64(in.Status), Header: encodeHeader(in.Header)}, in.Body)
}

// bytes sends a head and what r holds, and closes r. Closing it is also what
// ends a Read that is under way when the plugin does not want the rest.
func (j *job) bytes(ctx context.Context, head *toolv1.Head, r io.ReadCloser) error {
	if r != nil {
		closing := sync.OnceFunc(func() { _ = r.Close() }) // what was read is what counts
		defer closing()
		defer context.AfterFunc(ctx, closing)()
	}
	if err := j.piece(ctx, &toolv1.HostPiece{Piece: &toolv1.HostPiece_Head{Head: head}}, 0); err != nil || r == nil {
		return err
	}
	buf := make([]byte, firstChunkBytes)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if err := j.piece(ctx, &toolv1.HostPiece{Piece: &toolv1.HostPiece_Chunk{Chunk: buf[:n]}}, int64(n)); err != nil {
				return err
			}
		}
		if n == len(buf) && n < chunkBytes {
			buf = make([]byte, chunkBytes)
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case ctx.Err() != nil:
			return fault.Canceled(context.Cause(ctx))
		case err != nil:
			return err
		}
	}
}
