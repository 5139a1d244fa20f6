package pluginhost

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// hostileTargets is what testdata/hostile and testdata/hostile.py are told.
type hostileTargets struct {
	Gateway                int
	TCP, UDP               string
	Sockets                []string
	Read, Write            []string
	Own, Lock, Other, Data string
	Canary                 string
}

// furnishHostile makes what the plugins try to reach.
func furnishHostile(t *testing.T, home, plugindir string, h *Host) hostileTargets {
	t.Helper()
	data := filepath.Join(home, "sallyport-data")
	ssh := filepath.Join(home, "home", ".ssh")
	for _, dir := range []string{data, ssh} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var files []string
	for _, path := range []string{filepath.Join(data, "admin-token"), filepath.Join(data, "state.db"), filepath.Join(ssh, "id_ed25519"), filepath.Join(home, "gateway.yaml")} {
		if err := os.WriteFile(path, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, path)
	}
	control := filepath.Join(data, "control.sock")
	c, err := net.Listen("unix", control)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tcp.Close() })
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { udp.Close() })
	go answerDNS(udp)

	sockets := []string{control}
	err = filepath.WalkDir(h.run.path, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type()&fs.ModeSocket != 0 {
			sockets = append(sockets, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(sockets) < 2 {
		t.Fatalf("no socket of the honest plugin below %s", h.run.path)
	}
	return hostileTargets{
		Gateway: os.Getpid(), TCP: tcp.Addr().String(), UDP: udp.LocalAddr().String(), Sockets: sockets,
		Read: append(files, "/etc/passwd", "/etc/hosts"), Write: append(files, filepath.Join(data, "new"), filepath.Join(os.TempDir(), "new")),
		Own: filepath.Join(plugindir, "tool-hostile"), Lock: filepath.Join(plugindir, "plugins.lock"), Other: filepath.Join(plugindir, "provider-echo"),
		Data: data, Canary: canary,
	}
}

// answerDNS answers every question with an address, and anything else with
// itself.
func answerDNS(c net.PacketConn) {
	buf := make([]byte, 2048)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		reply := buf[:n]
		var m dnsmessage.Message
		if m.Unpack(reply) == nil && len(m.Questions) == 1 {
			m.Response, m.Additionals = true, nil
			q := m.Questions[0]
			if q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1}, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}}}
			}
			if b, err := m.Pack(); err == nil {
				reply = b
			}
		}
		c.WriteTo(reply, from)
	}
}
