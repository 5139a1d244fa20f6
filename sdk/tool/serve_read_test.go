package tool_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// file is a reader that says when it was closed.
type file struct {
	io.Reader
	closed chan struct{}
	once   sync.Once
}

func newFile(r io.Reader) *file { return &file{Reader: r, closed: make(chan struct{})} }

func (f *file) Close() error {
	f.once.Do(func() { close(f.closed) })
	return nil
}

func TestHostFilesAndTargets(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("0123456789abcdef", 4<<20/16)
	f, b := newFile(strings.NewReader(big)), newFile(strings.NewReader(big))
	want := tool.Outbound{Method: "POST", Path: "search", Query: "q=1", Header: http.Header{"Accept": {"a", "b"}}, Body: []byte(big)}
	during(t, tool.Service{
		Open: func(_ context.Context, path string) (io.ReadCloser, error) {
			if path != "/a.txt" {
				return nil, apierror.New(apierror.NotFound, "There is no %s.", path)
			}
			return f, nil
		},
		Fetch: func(_ context.Context, target string, r tool.Outbound) (*tool.Inbound, error) {
			if target == "empty" {
				return &tool.Inbound{Status: 204}, nil
			}
			return &tool.Inbound{Status: 201, Header: http.Header{"X-A": {"1", "2"}}, Body: b}, check("gateway fetch", r, want, nil)
		},
	}, func(ctx context.Context, h *tool.Host) error {
		if _, err := h.Open(ctx, "/b.txt"); !apierror.Is(err, apierror.NotFound) {
			return apierror.New(apierror.Invalid, "Open of a missing file: %v, want not_found", err)
		}
		r, err := h.Open(ctx, "/a.txt")
		if err != nil {
			return err
		}
		got, err := io.ReadAll(r)
		if err := check("length of the file", len(got), len(big), err); err != nil || string(got) != big {
			return errors.Join(err, errors.New("the file changed"))
		}
		if err := r.Close(); err != nil {
			return err
		}
		if err := r.Close(); !errors.Is(err, fs.ErrClosed) {
			return apierror.New(apierror.Invalid, "closing twice: %v", err)
		}
		in, err := h.Fetch(ctx, "search", want)
		if err != nil {
			return err
		}
		got, err = io.ReadAll(in.Body)
		if string(got) != big {
			return errors.New("the body changed")
		}
		empty, err2 := h.Fetch(ctx, "empty", tool.Outbound{})
		if err2 != nil {
			return err2
		}
		none, err2 := io.ReadAll(empty.Body)
		return errors.Join(
			check("status", []int{in.Status, empty.Status}, []int{201, 204}, err),
			check("header", in.Header, http.Header{"X-A": {"1", "2"}}, nil),
			check("empty body", len(none), 0, err2))
	})
	within(t, f.closed, "closing the file")
	within(t, b.closed, "closing the body")
}

func TestReadErrorReachesTheAuthor(t *testing.T) {
	t.Parallel()
	cut := apierror.New(apierror.UpstreamFailed, "The reply was cut.")
	during(t, tool.Service{Open: func(context.Context, string) (io.ReadCloser, error) {
		return newFile(io.MultiReader(strings.NewReader("begun"), failing{cut})), nil
	}}, func(ctx context.Context, h *tool.Host) error {
		r, err := h.Open(ctx, "/a")
		if err != nil {
			return err
		}
		got, err := io.ReadAll(r)
		if !apierror.Is(err, apierror.UpstreamFailed) {
			return apierror.New(apierror.Invalid, "err = %v, want upstream_failed", err)
		}
		return check("what came before", string(got), "begun", nil)
	})
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestClosingStopsTheReadUnderWay(t *testing.T) {
	t.Parallel()
	pr, pw := io.Pipe()
	defer pw.Close()
	f := newFile(pr)
	during(t, tool.Service{Open: func(context.Context, string) (io.ReadCloser, error) {
		return struct {
			io.Reader
			io.Closer
		}{f, closers{f, pr}}, nil
	}}, func(ctx context.Context, h *tool.Host) error {
		r, err := h.Open(ctx, "/a")
		if err != nil {
			return err
		}
		reading := make(chan error)
		go func() {
			_, err := r.Read(make([]byte, 1))
			reading <- err
		}()
		if err := r.Close(); err != nil {
			return err
		}
		if err := <-reading; !errors.Is(err, fs.ErrClosed) {
			return apierror.New(apierror.Invalid, "the read gave %v, want closed", err)
		}
		<-f.closed // while the call goes on
		return nil
	})
}

// closers closes several.
type closers []io.Closer

func (cs closers) Close() error {
	var errs []error
	for _, c := range cs {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
