package gateway

import (
	"net"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/config"
)

func TestURL(t *testing.T) {
	t.Parallel()
	tests := []struct {
		public, cert string
		addr         net.TCPAddr
		want         string
	}{
		{"", "", net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}, "http://127.0.0.1:8080"},
		{"", "c.pem", net.TCPAddr{IP: net.IPv4(10, 0, 0, 7), Port: 8443}, "https://10.0.0.7:8443"},
		{"", "", net.TCPAddr{IP: net.IPv6unspecified, Port: 8080}, "http://127.0.0.1:8080"},
		{"https://gw.example.com", "", net.TCPAddr{IP: net.IPv4zero, Port: 8080}, "https://gw.example.com"},
	}
	for _, tt := range tests {
		g := &Gateway{cfg: &config.Config{PublicURL: tt.public, Listen: config.Listen{TLS: config.TLS{Cert: tt.cert}}}}
		if got := g.URL(&tt.addr); got != tt.want {
			t.Errorf("URL(%v) = %q, want %q", &tt.addr, got, tt.want)
		}
	}
}
