package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

func write(folder, name, kind string, der []byte) error {
	return os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

func template(name string, serial int64) *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{CommonName: name}, SerialNumber: big.NewInt(serial),
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour), BasicConstraintsValid: true}
}

// listeners gives what makes listeners: of TLS with one certificate for all, or of plain TCP.
func listeners(w *words) (func(address string) (net.Listener, error), error) {
	if w.tlsFolder == "" {
		return func(address string) (net.Listener, error) { return net.Listen("tcp", address) }, nil
	}
	host, _, err := net.SplitHostPort(w.address)
	if err != nil {
		return nil, err
	}
	own, err := makeCerts(w.tlsFolder, host)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{own}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	return func(address string) (net.Listener, error) { return tls.Listen("tcp", address, config) }, nil
}

// makeCerts makes what -dev-tls has: a CA and a certificate for this address, as files.
func makeCerts(folder, host string) (tls.Certificate, error) {
	var none tls.Certificate
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return none, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return none, err
	}
	ca, own := template("Development CA", 1), template(host, 2)
	ca.IsCA, ca.KeyUsage = true, x509.KeyUsageCertSign
	own.KeyUsage, own.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	own.IPAddresses, own.DNSNames = []net.IP{net.ParseIP("127.0.0.1")}, []string{"localhost"}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return none, err
	}
	ownDER, err := x509.CreateCertificate(rand.Reader, own, ca, key.Public(), caKey)
	if err != nil {
		return none, err
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return none, err
	}
	for _, file := range []struct {
		name, kind string
		der        []byte
	}{
		{"vault-ca.pem", "CERTIFICATE", caDER},
		{"vault-cert.pem", "CERTIFICATE", ownDER},
		{"vault-key.pem", "EC PRIVATE KEY", keyDER},
	} {
		if err := write(folder, file.name, file.kind, file.der); err != nil {
			return none, err
		}
	}
	return tls.Certificate{Certificate: [][]byte{ownDER}, PrivateKey: key}, nil
}
