package usage

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"

	"github.com/sallyport-gateway/sallyport/core/delta"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// Price is what a destination costs, in USD per million tokens, with at most
// six digits behind the point. Input and output must be set, to 0 where they
// cost nothing. Of the others, what is not set costs as much as what it would
// have been without a cache: reading from it and writing to it as input, the
// 1-hour write as the 5-minute one. Reasoning costs as output.
type Price struct {
	Input        *float64 `yaml:"input"`
	Output       *float64 `yaml:"output"`
	CacheRead    *float64 `yaml:"cache_read"`
	CacheWrite   *float64 `yaml:"cache_write"`    // to the cache of 5 minutes
	CacheWrite1h *float64 `yaml:"cache_write_1h"` // to the cache of 1 hour
}

// maxPrice is in USD per million tokens. It keeps a price an exact number of
// rates' unit and of DECIMAL(18,6).
const maxPrice = 1e6

// Validate says what is wrong with a price, naming the key.
func (p Price) Validate() error {
	for _, x := range []struct {
		key string
		usd *float64
	}{{"input", p.Input}, {"output", p.Output}, {"cache_read", p.CacheRead}, {"cache_write", p.CacheWrite}, {"cache_write_1h", p.CacheWrite1h}} {
		if x.usd == nil {
			continue
		}
		switch usd := *x.usd; {
		case math.IsNaN(usd) || usd < 0:
			return fmt.Errorf("%s: %v is no price; write USD per million tokens, 0 or more", x.key, usd)
		case usd > maxPrice:
			return fmt.Errorf("%s: %s is more than %d USD per million tokens", x.key, plain(usd), int64(maxPrice))
		default:
			if _, behind, _ := strings.Cut(plain(usd), "."); len(behind) > 6 {
				return fmt.Errorf("%s: %s has more than 6 digits behind the point", x.key, plain(usd))
			}
		}
	}
	switch {
	case p.Input == nil:
		return errors.New("input: is missing; write 0 if input costs nothing")
	case p.Output == nil:
		return errors.New("output: is missing; write 0 if output costs nothing")
	}
	return nil
}

// plain writes a number without an exponent.
func plain(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

// rates is a Price with nothing left out, in USD of 1e-12 per token, which is
// USD of 1e-6 per million tokens: the digits of a price without its point.
type rates struct {
	Input        delta.Unscaled `delta:"input" wire:"1"`
	Output       delta.Unscaled `delta:"output" wire:"2"`
	CacheRead    delta.Unscaled `delta:"cache_read" wire:"3"`
	CacheWrite   delta.Unscaled `delta:"cache_write" wire:"4"`
	CacheWrite1h delta.Unscaled `delta:"cache_write_1h" wire:"5"`
}

func (p *Price) rates() rates {
	var r rates
	if p.Input != nil {
		r.Input = rate(*p.Input)
	}
	if p.Output != nil {
		r.Output = rate(*p.Output)
	}
	r.CacheRead, r.CacheWrite = r.Input, r.Input
	if p.CacheRead != nil {
		r.CacheRead = rate(*p.CacheRead)
	}
	if p.CacheWrite != nil {
		r.CacheWrite = rate(*p.CacheWrite)
	}
	r.CacheWrite1h = r.CacheWrite
	if p.CacheWrite1h != nil {
		r.CacheWrite1h = rate(*p.CacheWrite1h)
	}
	return r
}

func rate(usd float64) delta.Unscaled {
	return delta.Unscaled(math.Round(min(max(usd, 0), maxPrice) * 1e6)) // NaN never gets here: Validate
}

// maxCost is the largest DECIMAL(18,12), in its last digit: a sum that would be
// larger stays there.
const maxCost = 1e18 - 1

// cost is what u costs, in USD of 1e-12.
func (r rates) cost(u openresponses.Usage) int64 {
	var sum int64
	for _, x := range [...]struct {
		tokens int64
		rate   delta.Unscaled
	}{
		{u.Input, r.Input},
		{u.CacheRead, r.CacheRead},
		{u.CacheWrite, r.CacheWrite},
		{u.CacheWrite1h, r.CacheWrite1h},
		{u.Output, r.Output},
		{u.Reasoning, r.Output},
	} {
		sum = addCost(sum, times(x.tokens, int64(x.rate)))
	}
	return sum
}

func times(tokens, rate int64) int64 {
	hi, lo := bits.Mul64(uint64(max(tokens, 0)), uint64(max(rate, 0)))
	if hi != 0 || lo > maxCost {
		return maxCost
	}
	return int64(lo)
}

func addCost(a, b int64) int64 { return min(a+b, maxCost) } // each is at most maxCost, so a+b is no overflow

// Cost is what attempts have cost together, in USD of 1e-12, as their call's row
// will say. It is not known when no attempt has a price.
func Cost(attempts []Attempt) (pico int64, known bool) {
	for i := range attempts {
		if p := attempts[i].Price; p != nil {
			pico, known = addCost(pico, p.rates().cost(tokensOf(attempts[i].Usage))), true
		}
	}
	return pico, known
}
