//go:build race

package socket

// raced tells that the race detector is on. It sees in the calls of package net
// that what one goroutine sent comes before what another did when it had it.
const raced = true
