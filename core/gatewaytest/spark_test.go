//go:build e2e && linux && spark

package gatewaytest_test

import (
	"fmt"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/delta/readertest"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
)

// spark compares what Spark says of the usage table in dir.
func spark(t *testing.T, module, file, dir string) string {
	t.Helper()
	const count, distinct, cost = "count(*)", "count(distinct invocation_id)", "sum(cost_usd)"
	got := readertest.Spark(t, module, "figures", dir, count, distinct, cost)
	row := gatewaytest.SQL(t, file, "SELECT CAST(count(*) AS VARCHAR), CAST(count(DISTINCT invocation_id) AS VARCHAR), CAST(sum(cost_usd) AS VARCHAR) FROM system.ai_gateway.usage")[0]
	for i, key := range []string{count, distinct, cost} {
		if !sameNumber(got[key], row[i]) {
			t.Errorf("Spark says %s is %v, the gateway %v", key, got[key], row[i])
		}
	}
	return fmt.Sprint("Spark says ", got)
}
