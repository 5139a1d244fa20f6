//go:build !e2e

package lint_test

// everyDialect is whether what the dialects have in common is spoilt in each.
const everyDialect = false
