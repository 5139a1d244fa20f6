package tool

import (
	"context"
	"io"
	"io/fs"
	"iter"
	"sync"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/internal/fault"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	toolv1 "github.com/sallyport-gateway/sallyport/sdk/proto/tool/v1"
)

// host gives the Host whose methods go to the gateway over this stream.
func (s *session) host() *Host {
	return NewHost(Service{
		Object: s.object, Query: s.query, Generate: s.generate, Embed: s.embed, Exec: s.exec,
		List: s.list, Open: s.open, Fetch: s.fetch, Progress: s.progress,
	})
}

func (s *session) object(ctx context.Context, kind, name string) (Object, error) {
	end, err := s.ask(ctx, &toolv1.HostCall{Call: &toolv1.HostCall_Object{
		Object: &toolv1.ObjectCall{Kind: fault.Text(kind), Name: fault.Text(name)},
	}})
	if err != nil {
		return Object{}, err
	}
	return decodeObject(end.GetObject()), nil
}

func (s *session) query(ctx context.Context, q Query) iter.Seq2[engine.Batch, error] {
	args, err := engine.EncodeArgs(q.Args)
	if err != nil {
		return func(yield func(engine.Batch, error) bool) {
			yield(engine.Batch{}, apierror.New(apierror.Invalid, "The query's arguments cannot be bound: %v.", err))
		}
	}
	call := func() *toolv1.HostCall {
		return &toolv1.HostCall{Call: &toolv1.HostCall_Query{Query: &toolv1.QueryCall{
			Sql: fault.Text(q.SQL), Args: args, MaxRows: int64(q.MaxRows), MaxBytes: q.MaxBytes,
		}}}
	}
	return streamed(ctx, s, call, func(p *toolv1.HostPiece) (engine.Batch, error) {
		if p.GetBatch() == nil {
			return engine.Batch{}, unexpected("a query")
		}
		return engine.DecodeBatch(p.GetBatch()), nil
	})
}

func (s *session) generate(ctx context.Context, r *openresponses.Request) iter.Seq2[openresponses.Event, error] {
	call := func() *toolv1.HostCall {
		return &toolv1.HostCall{Call: &toolv1.HostCall_Generate{Generate: r.AppendJSON(nil)}}
	}
	return streamed(ctx, s, call, func(p *toolv1.HostPiece) (openresponses.Event, error) {
		if p.GetEvent() == nil {
			return openresponses.Event{}, unexpected("a model call")
		}
		return openresponses.ParseEvent(p.GetEvent())
	})
}

// streamed is a Host call whose pieces the author loops over. The call begins
// with the loop, and leaving the loop stops the gateway's side.
func streamed[T any](ctx context.Context, s *session, call func() *toolv1.HostCall, decode func(*toolv1.HostPiece) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		a, err := s.begin(ctx, call())
		if err != nil {
			yield(zero, err)
			return
		}
		defer a.drop()
		for {
			piece, end, err := a.next(ctx)
			if err != nil {
				yield(zero, err)
				return
			}
			if end != nil {
				return
			}
			v, err := decode(piece)
			if !yield(v, err) || err != nil {
				return
			}
			a.used(piece)
		}
	}
}

func (s *session) embed(ctx context.Context, model string, in []string) ([][]float32, error) {
	end, err := s.ask(ctx, &toolv1.HostCall{Call: &toolv1.HostCall_Embed{
		Embed: &toolv1.EmbedCall{Model: fault.Text(model), Input: fault.Texts(in)},
	}})
	if err != nil {
		return nil, err
	}
	return decodeVectors(end.GetVectors()), nil
}

func (s *session) exec(ctx context.Context, p Program) (Output, error) {
	end, err := s.ask(ctx, &toolv1.HostCall{Call: &toolv1.HostCall_Exec{
		Exec: &toolv1.ExecCall{Language: fault.Text(p.Language), Code: fault.Text(p.Code)},
	}})
	if err != nil {
		return Output{}, err
	}
	o := end.GetOutput()
	return Output{Stdout: o.GetStdout(), Stderr: o.GetStderr(), Error: o.GetError(), Truncated: o.GetTruncated()}, nil
}

func (s *session) list(ctx context.Context, dir string) ([]Entry, error) {
	end, err := s.ask(ctx, &toolv1.HostCall{Call: &toolv1.HostCall_List{List: &toolv1.ListCall{Dir: fault.Text(dir)}}})
	if err != nil {
		return nil, err
	}
	return decodeEntries(end.GetEntries()), nil
}

func (s *session) open(ctx context.Context, path string) (io.ReadCloser, error) {
	_, b, err := s.read(ctx, &toolv1.HostCall{Call: &toolv1.HostCall_Open{Open: &toolv1.OpenCall{Path: fault.Text(path)}}})
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (s *session) fetch(ctx context.Context, target string, r Outbound) (*Inbound, error) {
	head, b, err := s.read(ctx, &toolv1.HostCall{Call: &toolv1.HostCall_Fetch{Fetch: &toolv1.FetchCall{
		Target: fault.Text(target), Method: fault.Text(r.Method), Path: fault.Text(r.Path), Query: fault.Text(r.Query),
		Header: encodeHeader(r.Header), Body: r.Body,
	}}})
	if err != nil {
		return nil, err
	}
	return &Inbound{Status: int(head.GetStatus()), Header: decodeHeader(head.GetHeader()), Body: b}, nil
}

func (s *session) progress(ctx context.Context, p Progress) error {
	_, err := s.ask(ctx, &toolv1.HostCall{Call: &toolv1.HostCall_Progress{
		Progress: &toolv1.ProgressCall{Message: fault.Text(p.Message), Fraction: p.Fraction},
	}})
	return err
}

// read makes a Host call that is answered by a head and bytes.
func (s *session) read(ctx context.Context, call *toolv1.HostCall) (*toolv1.Head, *body, error) {
	a, err := s.begin(ctx, call)
	if err != nil {
		return nil, nil, err
	}
	piece, end, err := a.next(ctx)
	if err == nil && (end != nil || piece.GetHead() == nil) {
		err = unexpected("a read")
	}
	if err != nil {
		a.drop()
		return nil, nil, err
	}
	a.used(piece)
	return piece.GetHead(), &body{
		answer: a,
		next:   func() (*toolv1.HostPiece, *toolv1.HostEnd, error) { return a.next(ctx) },
	}, nil
}

// body reads the bytes of an answer. Like the files of package os it may be
// closed while another goroutine reads, which ends that read.
type body struct {
	answer *answer
	next   func() (*toolv1.HostPiece, *toolv1.HostEnd, error)

	reading sync.Mutex
	piece   *toolv1.HostPiece // the one being read
	rest    []byte            // what is left of it
	err     error             // sticky
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	for len(b.rest) == 0 && b.err == nil && len(p) > 0 {
		if b.piece != nil {
			b.answer.used(b.piece)
			b.piece = nil
		}
		piece, end, err := b.next()
		switch {
		case err != nil:
			b.err = err
		case end != nil:
			b.err = io.EOF
		default:
			b.piece, b.rest = piece, piece.GetChunk()
		}
	}
	if len(b.rest) == 0 {
		return 0, b.err
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// Close gives up what was not read. Closing twice is an error, as for files.
func (b *body) Close() error {
	b.answer.mu.Lock()
	dropped := b.answer.dropped
	b.answer.mu.Unlock()
	if dropped {
		return fs.ErrClosed
	}
	b.answer.drop()
	return nil
}
