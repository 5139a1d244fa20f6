package egress

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/secret"
)

// BenchmarkDo is one request that is relayed, and its whole answer, small and
// with 10 KiB each way. The service beside it allocates nothing.
func BenchmarkDo(b *testing.B) {
	for _, bench := range []struct {
		name string
		size int
	}{{"small", 40}, {"10KiB", 10 << 10}} {
		b.Run(bench.name, func(b *testing.B) {
			text := strings.Repeat("word ", bench.size/5)
			body := []byte(`{"model":"m","messages":[{"role":"user","content":"` + text + `"}]}`)
			answer := `{"content":[{"type":"text","text":"` + text + `"}],"usage":{"input_tokens":9,"output_tokens":4}}`
			e, err := New(Config{})
			if err != nil {
				b.Fatal(err)
			}
			a, err := e.Account(AccountConfig{Name: "p", BaseURL: "http://" + repeating(b, body, answer), Key: secret.Of(canary), Credential: Credential{Scheme: SchemeHeader, Name: "x-api-key"}})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(a.Close)
			h := http.Header{
				"Content-Type": {"application/json"}, "Content-Length": {"240"}, "Authorization": {"Bearer theirs"}, "Anthropic-Version": {"2023-06-01"},
				"User-Agent": {"claude-cli/2.1.197 (external, sdk-cli)"}, "X-Claude-Code-Session-Id": {"s-1"}, "Accept-Encoding": {"gzip"},
			}
			buf := make([]byte, 32<<10)
			b.ReportAllocs()
			for b.Loop() {
				res, err := a.Do(b.Context(), Request{Path: "v1/messages", Header: h, Relay: true, Body: body})
				if err != nil {
					b.Fatal(err)
				}
				n := 0
				for err == nil {
					var k int
					k, err = res.Body.Read(buf[n:])
					n += k
				}
				if res.Body.Close(); err != io.EOF || n != len(answer) {
					b.Fatalf("got %d bytes, %v", n, err)
				}
			}
		})
	}
}

// repeating answers every request that ends in body with answer, and says where.
func repeating(b *testing.B, body []byte, answer string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	reply := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nRequest-Id: req_1\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: " + strconv.Itoa(len(answer)) + "\r\n\r\n" + answer)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		buf, n := make([]byte, 64<<10), 0
		for {
			k, err := c.Read(buf[n:])
			if err != nil {
				return
			}
			if n += k; bytes.HasSuffix(buf[:n], body) {
				if _, err := c.Write(reply); err != nil {
					return
				}
				n = 0
			}
		}
	}()
	return l.Addr().String()
}
