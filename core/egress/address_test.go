package egress

import (
	"net/netip"
	"testing"
)

func TestClassify(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want class
	}{
		{"8.8.8.8", public},
		{"2606:4700:4700::1111", public},
		{"127.0.0.1", loopback},
		{"127.255.255.254", loopback},
		{"::1", loopback},
		{"::ffff:127.0.0.1", loopback},
		{"64:ff9b::7f00:1", loopback}, // NAT64 of 127.0.0.1
		{"2002:7f00:1::", loopback},   // 6to4 of 127.0.0.1
		{"10.0.0.1", private},         //
		{"172.16.0.1", private},       //
		{"172.31.255.255", private},   //
		{"172.32.0.1", public},        //
		{"192.168.1.1", private},      //
		{"100.64.0.1", private},       // carrier-grade NAT
		{"::ffff:100.64.0.1", private},
		{"100.127.255.255", private},   //
		{"100.128.0.1", public},        //
		{"fd12:3456::1", private},      // unique local
		{"fec0::1", private},           // site-local
		{"::ffff:10.1.2.3", private},   //
		{"64:ff9b::a01:203", private},  // NAT64 of 10.1.2.3
		{"64:ff9b:1::1", private},      // local NAT64
		{"169.254.1.1", linkLocal},     //
		{"169.254.169.254", linkLocal}, // metadata of most clouds
		{"::ffff:169.254.169.254", linkLocal},
		{"2002:a9fe:a9fe::1", linkLocal},  // 6to4 of the same
		{"fe80::1", linkLocal},            //
		{"fe80::1%eth0", linkLocal},       //
		{"fd00:ec2::254", metadata},       // AWS
		{"100.100.100.200", metadata},     // Alibaba Cloud
		{"168.63.129.16", metadata},       // Azure
		{"192.0.0.192", metadata},         // Oracle
		{"0.0.0.0", unusable},             //
		{"0.1.2.3", unusable},             //
		{"::", unusable},                  //
		{"::7f00:1", unusable},            // IPv4-compatible
		{"224.0.0.1", unusable},           //
		{"ff02::1", unusable},             //
		{"255.255.255.255", unusable},     //
		{"240.0.0.1", unusable},           //
		{"192.0.2.1", unusable},           //
		{"198.18.0.1", unusable},          //
		{"2001:db8::1", unusable},         //
		{"2001:0:4136:e378::1", unusable}, // Teredo
	}
	for _, tt := range tests {
		if got := classify(netip.MustParseAddr(tt.in)); got != tt.want {
			t.Errorf("classify(%s) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestTargetAllows(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		base    string
		private bool
		addr    string
		ok      bool
	}{
		{"public name, public address", "https://api.example.com", false, "8.8.8.8", true},
		{"public name, loopback", "https://api.example.com", false, "127.0.0.1", false},
		{"public name, mapped loopback", "https://api.example.com", false, "::ffff:127.0.0.1", false},
		{"public name, private", "https://api.example.com", false, "10.0.0.5", false},
		{"public name, shared", "https://api.example.com", false, "100.64.1.1", false},
		{"public name, link-local", "https://api.example.com", false, "169.254.169.254", false},
		{"public name, unspecified", "https://api.example.com", false, "0.0.0.0", false},
		{"private name, private", "https://llm.corp.example.com", true, "10.0.0.5", true},
		{"private name, loopback", "https://llm.corp.example.com", true, "127.0.0.1", true},
		{"private name, metadata", "https://llm.corp.example.com", true, "169.254.169.254", false},
		{"private name, metadata in a private range", "https://llm.corp.example.com", true, "fd00:ec2::254", false},
		{"private name, unspecified", "https://llm.corp.example.com", true, "::", false},
		{"one label", "http://ollama:11434", false, "172.18.0.2", true},
		{"one label, metadata", "http://metadata", false, "169.254.169.254", false},
		{"localhost", "http://localhost:8080", false, "::1", true},
		{"under internal", "http://vllm.internal", false, "10.2.3.4", true},
		{"metadata's own name", "http://metadata.google.internal", false, "169.254.169.254", false},
		{"address itself", "http://127.0.0.1:9", false, "127.0.0.1", true},
		{"address itself, mapped", "http://127.0.0.1:9", false, "::ffff:127.0.0.1", true},
		{"mapped address written", "http://[::ffff:10.0.0.1]:9", false, "10.0.0.1", true},
		{"another loopback address", "http://127.0.0.1:9", false, "127.0.0.2", false},
		{"metadata written as an address", "http://169.254.169.254", false, "169.254.169.254", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tg, err := parseTarget(tt.base, tt.private)
			if err != nil {
				t.Fatalf("parseTarget: %v", err)
			}
			if err := tg.allows(netip.MustParseAddr(tt.addr)); (err == nil) != tt.ok {
				t.Errorf("allows(%s) = %v, want allowed %t", tt.addr, err, tt.ok)
			}
		})
	}
}
