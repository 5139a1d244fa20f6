package usage

import (
	"math"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/delta"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

func TestPriceValidate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		price Price
		want  string // in the error; "" for none
	}{
		{Price{}, "input: is missing"},
		{Price{Input: new(3.0)}, "output: is missing; write 0"},
		{Price{Input: new(0.0), Output: new(0.0)}, ""},
		{Price{Input: new(float64(3)), Output: new(float64(15)), CacheRead: new(0.3), CacheWrite: new(3.75), CacheWrite1h: new(6.0)}, ""},
		{Price{Input: new(float64(0.000001)), Output: new(float64(0.1))}, ""},
		{Price{Input: new(float64(999999.999999)), Output: new(float64(1e6))}, ""},
		{Price{Input: new(float64(0.0000001))}, "input: 0.0000001 has more than 6 digits"},
		{Price{Output: new(float64(1.2345678))}, "output: 1.2345678 has more than 6 digits"},
		{Price{Input: new(float64(-1))}, "input: -1 is no price"},
		{Price{Output: new(float64(math.NaN()))}, "output: NaN is no price"},
		{Price{CacheRead: new(math.Inf(1))}, "cache_read: +Inf is more than 1000000 USD per million tokens"},
		{Price{CacheWrite: new(-0.5)}, "cache_write: -0.5 is no price"},
		{Price{CacheWrite1h: new(1e6 + 1)}, "cache_write_1h: 1000001 is more than"},
	}
	for _, tt := range tests {
		err := tt.price.Validate()
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%+v: %v, want no error", tt.price, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%+v: %v, want one with %q", tt.price, err, tt.want)
		}
	}
}

func TestRates(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		price Price
		want  rates
	}{
		{"all set", Price{new(3.0), new(15.0), new(0.3), new(3.75), new(6.0)}, rates{3_000_000, 15_000_000, 300_000, 3_750_000, 6_000_000}},
		{"nothing of the cache", Price{Input: new(float64(3)), Output: new(float64(15))}, rates{3_000_000, 15_000_000, 3_000_000, 3_000_000, 3_000_000}},
		{"the 1-hour write as the 5-minute one", Price{Input: new(float64(3)), Output: new(float64(15)), CacheWrite: new(3.75)}, rates{3_000_000, 15_000_000, 3_000_000, 3_750_000, 3_750_000}},
		{"a cache for nothing", Price{Input: new(float64(3)), Output: new(0.0), CacheRead: new(0.0), CacheWrite: new(0.0)}, rates{Input: 3_000_000}},
		{"numbers that binary fractions do not have", Price{Input: new(float64(0.1)), Output: new(float64(0.000007)), CacheRead: new(2.675), CacheWrite: new(1.005), CacheWrite1h: new(123456.654321)}, rates{100_000, 7, 2_675_000, 1_005_000, 123_456_654_321}},
	}
	for _, tt := range tests {
		if err := tt.price.Validate(); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if got := tt.price.rates(); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// TestEveryPriceIsExact: each price of six digits is the integer of its digits.
func TestEveryPriceIsExact(t *testing.T) {
	t.Parallel()
	for i := int64(0); i < 5_000_000; i += 7 {
		if got := rate(float64(i) / 1e6); int64(got) != i {
			t.Fatalf("the price %d/1000000 has the rate %d", i, got)
		}
	}
}

func TestCost(t *testing.T) {
	t.Parallel()
	full := Price{new(3.0), new(15.0), new(0.3), new(3.75), new(6.0)}
	tests := []struct {
		name  string
		price Price
		usage openresponses.Usage
		want  int64 // USD of 1e-12
	}{
		{"nothing", full, openresponses.Usage{}, 0},
		{"one input token", full, openresponses.Usage{Input: 1}, 3_000_000},
		{"a million input tokens", full, openresponses.Usage{Input: 1e6}, 3e12},
		{"reasoning costs as output", full, openresponses.Usage{Output: 10, Reasoning: 5}, 15 * 15_000_000},
		{"each cache apart", full, openresponses.Usage{CacheRead: 1000, CacheWrite: 100, CacheWrite1h: 10}, 1000*300_000 + 100*3_750_000 + 10*6_000_000},
		{"a cache without prices", Price{Input: new(float64(2)), Output: new(float64(4))}, openresponses.Usage{Input: 1, CacheRead: 1, CacheWrite: 1, CacheWrite1h: 1, Output: 1}, 4*2_000_000 + 4_000_000},
		{"only the 5-minute write priced", Price{Input: new(float64(2)), CacheWrite: new(2.5)}, openresponses.Usage{CacheWrite: 1, CacheWrite1h: 1}, 2 * 2_500_000},
		{"the smallest price", Price{Input: new(float64(0.000001))}, openresponses.Usage{Input: 3}, 3},
		{"at the limit", Price{Input: new(float64(1))}, openresponses.Usage{Input: 999_999_999_999}, 999_999_999_999_000_000},
		{"over the limit", Price{Input: new(float64(1))}, openresponses.Usage{Input: 1e12}, maxCost},
		{"far over the limit", Price{Input: new(float64(1e6)), Output: new(float64(1e6))}, openresponses.Usage{Input: math.MaxInt64, Output: math.MaxInt64, Reasoning: math.MaxInt64}, maxCost},
		{"a sum over the limit", Price{Input: new(float64(1)), Output: new(float64(1))}, openresponses.Usage{Input: 6e11, Output: 6e11}, maxCost},
		{"less than nothing", full, openresponses.Usage{Input: -5, Output: 1}, 15_000_000},
	}
	for _, tt := range tests {
		if got := tt.price.rates().cost(tt.usage); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	if got := addCost(maxCost, maxCost); got != maxCost {
		t.Errorf("maxCost + maxCost = %d", got)
	}
	var _ delta.Unscaled = full.rates().Input
}
