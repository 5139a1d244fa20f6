//go:build e2e

package gateway_test

// kills is how often each plugin is killed under load.
const kills = 17
