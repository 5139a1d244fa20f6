//go:build e2e && linux && !spark

package gatewaytest_test

import "testing"

func spark(*testing.T, string, string, string) string {
	return "not read by Spark, which needs Java 17 and downloads 400 MB: go test -tags e2e,spark"
}
