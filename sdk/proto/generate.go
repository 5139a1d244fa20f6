// Package proto is the home of the contract between the gateway and its
// plugins: one directory a kind and major version, with the .proto file and
// the Go code made from it, and README.md with the rest of the protocol.
package proto

//go:generate sh generate.sh
