package delta

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/parquet-go/parquet-go"
)

// leafValue turns a Go value into a value of a Parquet column of type t. It
// handles the exact types; kinds of named types are resolved by the caller.
func leafValue(t Type, v any) (parquet.Value, error) {
	switch x := v.(type) {
	case string:
		return stringValue(t, x)
	case int64:
		return intValue(t, x)
	case int:
		return intValue(t, int64(x))
	case int32:
		return intValue(t, int64(x))
	case int16:
		return intValue(t, int64(x))
	case int8:
		return intValue(t, int64(x))
	case uint64:
		return uintValue(t, x)
	case uint:
		return uintValue(t, uint64(x))
	case uint32:
		return intValue(t, int64(x))
	case uint16:
		return intValue(t, int64(x))
	case uint8:
		return intValue(t, int64(x))
	case float64:
		return floatValue(t, x)
	case float32:
		if t == Float {
			return parquet.FloatValue(x), nil
		}
		return floatValue(t, float64(x))
	case bool:
		if t == Boolean {
			return parquet.BooleanValue(x), nil
		}
	case []byte:
		switch t {
		case Binary:
			return parquet.ByteArrayValue(append(make([]byte, 0, len(x)), x...)), nil
		case String:
			return stringValue(t, string(x))
		}
	case time.Time:
		return timeValue(t, x)
	case *big.Rat:
		if d, ok := t.(Decimal); ok {
			return decimalOfRat(d, x)
		}
	case *big.Int:
		if d, ok := t.(Decimal); ok {
			return decimalOfRat(d, new(big.Rat).SetInt(x))
		}
	case json.Number:
		return stringNumber(t, x)
	case Unscaled:
		return x.value(t)
	}
	return parquet.Value{}, mismatch(t, v)
}

// value is the decimal as a value of type t. It allocates nothing up to 18
// digits.
func (u Unscaled) value(t Type) (parquet.Value, error) {
	d, ok := t.(Decimal)
	if !ok {
		return parquet.Value{}, mismatch(t, u)
	}
	if d.Precision > 18 {
		return unscaledValue(d, big.NewInt(int64(u))), nil
	}
	return unscaledInt(d, int64(u)), u.fits(d)
}

// fits refuses what has more digits than d, which has at most 18.
func (u Unscaled) fits(d Decimal) error {
	if most := pow10s[d.Precision]; int64(u) >= most || int64(u) <= -most {
		return fmt.Errorf("%s has more digits than %s", decimalText(d, big.NewInt(int64(u))), typeName(d))
	}
	return nil
}

// pow10s are the powers of ten that an int64 holds.
var pow10s = func() (p [19]int64) {
	p[0] = 1
	for i := range p[1:] {
		p[i+1] = 10 * p[i]
	}
	return p
}()

// unscaledInt is unscaledValue for at most 18 digits.
func unscaledInt(d Decimal, n int64) parquet.Value {
	if d.Precision <= 9 {
		return parquet.Int32Value(int32(n))
	}
	return parquet.Int64Value(n)
}

func mismatch(t Type, v any) error {
	return fmt.Errorf("a %T is no value of type %s", v, typeName(t))
}

func typeName(t Type) string {
	switch t.(type) {
	case Struct:
		return "struct"
	case Array:
		return "array"
	case Map:
		return "map"
	}
	return fmt.Sprint(t.encode())
}

// textBytes is the value of a string column. Readers refuse a file with text
// that is not UTF-8, so one bad value must not spoil the table. The bytes are
// only read, and only until the batch is written.
func textBytes(s string) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return unsafe.Slice(unsafe.StringData(s), len(s))
}

func stringValue(t Type, s string) (parquet.Value, error) {
	switch t {
	case String:
		return parquet.ByteArrayValue(textBytes(s)), nil
	case Binary:
		return parquet.ByteArrayValue([]byte(s)), nil
	}
	if d, ok := t.(Decimal); ok {
		if n, ok := shortDecimal(s, d); ok {
			return Unscaled(n).value(d)
		}
		r, ok := new(big.Rat), decimalNumber.MatchString(s)
		if ok {
			r, ok = r.SetString(s)
		}
		if !ok {
			return parquet.Value{}, fmt.Errorf("%q is no decimal number", shorten(s))
		}
		return decimalOfRat(d, r)
	}
	if t == Date {
		day, err := time.Parse(time.DateOnly, s)
		if err != nil {
			return parquet.Value{}, fmt.Errorf("%q is no date; write it as 2006-01-02", shorten(s))
		}
		return timeValue(t, day)
	}
	return parquet.Value{}, mismatch(t, s)
}

// decimalNumber bounds what big.Rat is given: it would hold 1e999999999.
var decimalNumber = regexp.MustCompile(`^[+-]?[0-9.]{1,100}([eE][+-]?[0-9]{1,3})?$`)

// shortDecimal is the digits without the point of a number that is written
// plainly, fits d, and has at most 18 digits: nearly all of them.
func shortDecimal(s string, d Decimal) (n int64, ok bool) {
	digits := strings.TrimPrefix(s, "-")
	if len(digits) > 19 {
		return 0, false
	}
	behind, count := -1, 0
	for _, c := range []byte(digits) {
		switch {
		case c == '.' && behind < 0:
			behind = 0
			continue
		case c < '0' || c > '9':
			return 0, false
		}
		n = 10*n + int64(c-'0')
		count++
		if behind >= 0 {
			behind++
		}
	}
	behind = max(behind, 0)
	if behind > d.Scale || count == 0 || count+d.Scale-behind > min(18, d.Precision) {
		return 0, false
	}
	for range d.Scale - behind {
		n *= 10
	}
	if len(digits) < len(s) {
		n = -n
	}
	return n, true
}

func shorten(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

func stringNumber(t Type, n json.Number) (parquet.Value, error) {
	switch t {
	case Double, Float:
		f, err := n.Float64()
		if err != nil {
			return parquet.Value{}, err
		}
		return floatValue(t, f)
	case Long, Integer, Short, Byte:
		i, err := n.Int64()
		if err != nil {
			return parquet.Value{}, err
		}
		return intValue(t, i)
	}
	return stringValue(t, string(n))
}

func intValue(t Type, i int64) (parquet.Value, error) {
	outside := func(low, high int64) (parquet.Value, error) {
		if i < low || i > high {
			return parquet.Value{}, fmt.Errorf("%d is outside the range of type %s", i, typeName(t))
		}
		return parquet.Int32Value(int32(i)), nil
	}
	switch t {
	case Long, Timestamp:
		return parquet.Int64Value(i), nil
	case Integer, Date:
		return outside(math.MinInt32, math.MaxInt32)
	case Short:
		return outside(math.MinInt16, math.MaxInt16)
	case Byte:
		return outside(math.MinInt8, math.MaxInt8)
	case Double:
		return parquet.DoubleValue(float64(i)), nil
	case Float:
		return parquet.FloatValue(float32(i)), nil
	}
	if d, ok := t.(Decimal); ok {
		return decimalOfRat(d, new(big.Rat).SetInt64(i))
	}
	return parquet.Value{}, mismatch(t, i)
}

func uintValue(t Type, u uint64) (parquet.Value, error) {
	if u > math.MaxInt64 {
		return parquet.Value{}, fmt.Errorf("%d is outside the range of type %s", u, typeName(t))
	}
	return intValue(t, int64(u))
}

func floatValue(t Type, f float64) (parquet.Value, error) {
	switch t {
	case Double:
		return parquet.DoubleValue(f), nil
	case Float:
		return parquet.FloatValue(float32(f)), nil
	}
	if d, ok := t.(Decimal); ok {
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return parquet.Value{}, fmt.Errorf("%v is no decimal number", f)
		}
		r, _ := new(big.Rat).SetString(strconv.FormatFloat(f, 'f', d.Scale, 64))
		return decimalOfRat(d, r)
	}
	return parquet.Value{}, mismatch(t, f)
}

func timeValue(t Type, x time.Time) (parquet.Value, error) {
	switch t {
	case Timestamp:
		return parquet.Int64Value(x.UnixMicro()), nil
	case Date:
		y, m, d := x.Date()
		return intValue(t, time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix()/86400)
	}
	return parquet.Value{}, mismatch(t, x)
}

// decimalOfRat refuses a number with more digits, before or behind the point,
// than d has: rounding is the caller's decision.
func decimalOfRat(d Decimal, r *big.Rat) (parquet.Value, error) {
	n := new(big.Rat).Mul(r, new(big.Rat).SetInt(pow10(d.Scale)))
	if !n.IsInt() {
		return parquet.Value{}, fmt.Errorf("%s has more than %d digits behind the point", shorten(r.FloatString(d.Scale+6)), d.Scale)
	}
	if n.Num().CmpAbs(pow10(d.Precision)) >= 0 {
		return parquet.Value{}, fmt.Errorf("%s has more digits than %s", shorten(r.FloatString(d.Scale)), typeName(d))
	}
	return unscaledValue(d, n.Num()), nil
}

func pow10(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

// unscaledValue is the decimal whose digits without the point are n.
func unscaledValue(d Decimal, n *big.Int) parquet.Value {
	switch {
	case d.Precision <= 9:
		return parquet.Int32Value(int32(n.Int64()))
	case d.Precision <= 18:
		return parquet.Int64Value(n.Int64())
	}
	b := make([]byte, decimalBytes(d.Precision))
	if n.Sign() < 0 { // two's complement
		n = new(big.Int).Add(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return parquet.FixedLenByteArrayValue(n.FillBytes(b))
}

// unscaled is the digits of a decimal value without the point.
func unscaled(v parquet.Value) *big.Int {
	switch v.Kind() {
	case parquet.Int32:
		return big.NewInt(int64(v.Int32()))
	case parquet.Int64:
		return big.NewInt(v.Int64())
	}
	return unscaledBytes(v.ByteArray())
}

func unscaledBytes(b []byte) *big.Int {
	n := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return n
}

// decimalText writes digits with the point in its place.
func decimalText(d Decimal, n *big.Int) string {
	s := new(big.Int).Abs(n).String()
	if d.Scale > 0 {
		if len(s) <= d.Scale {
			s = strings.Repeat("0", d.Scale-len(s)+1) + s
		}
		s = s[:len(s)-d.Scale] + "." + s[len(s)-d.Scale:]
	}
	if n.Sign() < 0 {
		s = "-" + s
	}
	return s
}
