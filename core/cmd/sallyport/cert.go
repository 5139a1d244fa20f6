package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// The files of `sallyport cert`, all for their owner alone.
const (
	caCertFile   = "ca.pem"
	caKeyFile    = "ca-key.pem"
	leafCertFile = "cert.pem"
	leafKeyFile  = "key.pem"
)

// How long the certificates are valid. Some clients refuse a leaf of more than
// 825 days.
const (
	caLife   = 10 * 365 * 24 * time.Hour
	leafLife = 397 * 24 * time.Hour
)

func certCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cert",
		Short: "make a certificate authority and a server certificate",
		Long: "Make a certificate authority of your own and a server certificate signed by it: clients do not take a server whose certificate\n" +
			"is an authority's own. Run it again for a new server certificate; the authority stays, so that clients need not be told.",
		Example: "  sallyport cert --dir ./tls --host gateway.example.com --host 10.0.0.5",
		Args:    noArgs,
	}
	dir := cmd.Flags().String("dir", "sallyport-tls", "`directory` for the files")
	hosts := cmd.Flags().StringArray("host", nil, "`name` or address of the gateway, as clients write it; repeatable (default: localhost, 127.0.0.1, ::1)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		names := *hosts
		if len(names) == 0 {
			names = []string{"localhost", "127.0.0.1", "::1"}
		}
		for _, h := range names {
			if net.ParseIP(h) == nil && (h == "" || strings.ContainsAny(h, ":/ ") || strings.HasPrefix(h, ".")) {
				return usageError{fmt.Errorf("--host %q is neither a name nor an address; leave out scheme and port", h)}
			}
		}
		at, err := filepath.Abs(*dir)
		if err != nil {
			return err
		}
		fresh, err := writeCertificates(at, names, time.Now())
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		authority := "kept the authority"
		if fresh {
			authority = "made an authority"
		}
		ca := filepath.Join(at, caCertFile)
		fmt.Fprintf(out, "%s and made a certificate for %s, valid for %d days, in %s\n\n", authority, strings.Join(names, ", "), leafLife/(24*time.Hour), at)
		fmt.Fprintf(out, "In the gateway's configuration:\n\n  listen: {address: 0.0.0.0:8443, tls: {cert: %s, key: %s}}\n\n", filepath.Join(at, leafCertFile), filepath.Join(at, leafKeyFile))
		fmt.Fprintf(out, "Clients must know the authority (%s, nothing secret):\n\n", ca)
		fmt.Fprintf(out, "  export NODE_EXTRA_CA_CERTS=%s      # Claude Code, Gemini CLI, opencode, Copilot, Qwen Code\n", ca)
		fmt.Fprintf(out, "  export CODEX_CA_CERTIFICATE=%s     # Codex\n", ca)
		fmt.Fprintf(out, "  export SSL_CERT_FILE=%s            # sallyport, Python, curl, and Codex too; instead of the system's authorities\n", ca)
		return nil
	}
	return cmd
}

// writeCertificates makes the authority, unless dir has one, and the leaf.
func writeCertificates(dir string, hosts []string, now time.Time) (fresh bool, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return false, err
	}
	ca, caKey, err := readAuthority(dir)
	if errors.Is(err, fs.ErrNotExist) {
		fresh = true
		ca, caKey, err = makeAuthority(dir, now)
	}
	if err != nil {
		return fresh, err
	}
	if now.Add(leafLife).After(ca.NotAfter) {
		return fresh, fmt.Errorf("the authority in %s ends on %s, before a new certificate would: move %s and %s away to make a new one, which clients must be told of", dir, day(ca.NotAfter), caCertFile, caKeyFile)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fresh, err
	}
	leaf, err := template("Sallyport gateway", now, leafLife)
	if err != nil {
		return fresh, err
	}
	leaf.KeyUsage = x509.KeyUsageDigitalSignature
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return fresh, err
	}
	if err := writeKey(filepath.Join(dir, leafKeyFile), key); err != nil {
		return fresh, err
	}
	return fresh, writePEM(filepath.Join(dir, leafCertFile), "CERTIFICATE", der, 0o644)
}

func template(name string, now time.Time, life time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-time.Hour), // clocks differ
		NotAfter:              now.Add(life),
		BasicConstraintsValid: true,
	}, nil
}

func makeAuthority(dir string, now time.Time) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	ca, err := template("Sallyport authority of "+now.UTC().Format("2006-01-02"), now, caLife)
	if err != nil {
		return nil, nil, err
	}
	ca.IsCA, ca.MaxPathLenZero = true, true
	ca.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	if err != nil {
		return nil, nil, err
	}
	if err := writeKey(filepath.Join(dir, caKeyFile), key); err != nil {
		return nil, nil, err
	}
	if err := writePEM(filepath.Join(dir, caCertFile), "CERTIFICATE", der, 0o644); err != nil {
		return nil, nil, err
	}
	return readAuthority(dir)
}

func readAuthority(dir string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	der, err := readPEM(filepath.Join(dir, caCertFile), "CERTIFICATE")
	if err != nil {
		return nil, nil, err
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil || !ca.IsCA {
		return nil, nil, fmt.Errorf("%s is no authority's certificate", filepath.Join(dir, caCertFile))
	}
	if der, err = readPEM(filepath.Join(dir, caKeyFile), "EC PRIVATE KEY"); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil, fmt.Errorf("%s is there and its key %s is not: put the key back, or move the certificate away to make a new authority", filepath.Join(dir, caCertFile), caKeyFile)
		}
		return nil, nil, err
	}
	key, err := x509.ParseECPrivateKey(der)
	if err != nil || !key.PublicKey.Equal(ca.PublicKey) {
		return nil, nil, fmt.Errorf("%s is not the key of %s", filepath.Join(dir, caKeyFile), caCertFile)
	}
	return ca, key, nil
}

func readPEM(path, kind string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("%s holds no %s", path, kind)
	}
	return block.Bytes, nil
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(path, "EC PRIVATE KEY", der, 0o600)
}

// writePEM writes a file whole or not at all.
func writePEM(path, kind string, der []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".cert-*") // 0600
	if err != nil {
		return err
	}
	err = errors.Join(pem.Encode(f, &pem.Block{Type: kind, Bytes: der}), f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
