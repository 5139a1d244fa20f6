//go:build cgo

package main

import (
	"math"
	"strconv"
	"time"

	duckdb "github.com/duckdb/duckdb-go-bindings"
)

const (
	micro = 1_000_000
	nano  = 1_000_000_000
	day   = 24 * 60 * 60
)

// time writes dates and times as ISO 8601; the infinities as words.
func (r *row) time(c *column, i uint64) {
	r.buf = append(r.buf, '"')
	switch c.t.id {
	case duckdb.TypeDate:
		d := at[int32](c.data, i)
		if !r.infinite(int64(d), math.MaxInt32) {
			r.date(int64(d) * day)
		}
	case duckdb.TypeTimestamp, duckdb.TypeTimestampTZ:
		r.stamp(at[int64](c.data, i), micro, c.t.id == duckdb.TypeTimestampTZ)
	case duckdb.TypeTimestampS:
		r.stamp(at[int64](c.data, i), 1, false)
	case duckdb.TypeTimestampMS:
		r.stamp(at[int64](c.data, i), 1000, false)
	case duckdb.TypeTimestampNS:
		r.stamp(at[int64](c.data, i), nano, false)
	case duckdb.TypeTime:
		r.clock(at[int64](c.data, i), micro)
	case duckdb.TypeTimeNS:
		r.clock(at[int64](c.data, i), nano)
	case duckdb.TypeTimeTZ:
		// 40 bits of microseconds, 24 of an offset that is stored reversed so
		// that the values sort.
		bits := at[uint64](c.data, i)
		r.clock(int64(bits>>24), micro)
		r.offset(16*60*60 - 1 - int64(bits&(1<<24-1)))
	case duckdb.TypeInterval:
		type interval struct {
			months, days int32
			micros       int64
		}
		v := at[interval](c.data, i)
		r.duration(int64(v.months), int64(v.days), v.micros)
	}
	r.buf = append(r.buf, '"')
}

func (r *row) infinite(v, most int64) bool {
	switch v {
	case most:
		r.buf = append(r.buf, "infinity"...)
	case -most:
		r.buf = append(r.buf, "-infinity"...)
	default:
		return false
	}
	return true
}

// date writes the day of a time in seconds since 1970. Years beyond four
// digits carry a sign, and the year before 1 is 0.
func (r *row) date(seconds int64) {
	t := time.Unix(seconds, 0).UTC()
	if y := t.Year(); y < 0 || y > 9999 {
		if y >= 0 {
			r.buf = append(r.buf, '+')
		}
		r.buf = strconv.AppendInt(r.buf, int64(y), 10)
		r.buf = t.AppendFormat(r.buf, "-01-02")
		return
	}
	r.buf = t.AppendFormat(r.buf, "2006-01-02")
}

// stamp writes v units of 1/per second since 1970.
func (r *row) stamp(v, per int64, zone bool) {
	if r.infinite(v, math.MaxInt64) {
		return
	}
	seconds, rest := v/per, v%per
	if rest < 0 {
		seconds, rest = seconds-1, rest+per
	}
	r.date(seconds)
	r.buf = append(r.buf, 'T')
	r.clock(((seconds%day+day)%day)*per+rest, per)
	if zone {
		r.buf = append(r.buf, 'Z')
	}
}

func (r *row) two(v int64) { r.buf = append(r.buf, byte('0'+v/10), byte('0'+v%10)) }

// clock writes the time of a day in units of 1/per second. 24:00:00 is one.
func (r *row) clock(v, per int64) {
	s := v / per
	r.two(s / 3600)
	r.buf = append(r.buf, ':')
	r.two(s / 60 % 60)
	r.buf = append(r.buf, ':')
	r.two(s % 60)
	r.fraction(v%per, per)
}

// fraction writes .rest without trailing zeros, nothing for zero.
func (r *row) fraction(rest, per int64) {
	if rest == 0 {
		return
	}
	r.buf = append(r.buf, '.')
	for per /= 10; rest > 0; per /= 10 {
		r.buf = append(r.buf, byte('0'+rest/per))
		rest %= per
	}
}

func (r *row) offset(seconds int64) {
	sign := byte('+')
	if seconds < 0 {
		sign, seconds = '-', -seconds
	}
	r.buf = append(r.buf, sign)
	r.two(seconds / 3600)
	r.buf = append(r.buf, ':')
	r.two(seconds / 60 % 60)
	if seconds%60 != 0 {
		r.buf = append(r.buf, ':')
		r.two(seconds % 60)
	}
}

// duration writes an ISO 8601 duration. Months, days and microseconds have
// signs of their own, as the type keeps them apart.
func (r *row) duration(months, days, micros int64) {
	part := func(v int64, unit byte) {
		if v != 0 {
			r.buf = append(strconv.AppendInt(r.buf, v, 10), unit)
		}
	}
	r.buf = append(r.buf, 'P')
	start := len(r.buf)
	part(months/12, 'Y')
	part(months%12, 'M')
	part(days, 'D')
	if micros != 0 {
		r.buf = append(r.buf, 'T')
		part(micros/(3600*micro), 'H')
		part(micros/(60*micro)%60, 'M')
		if rest := micros % (60 * micro); rest != 0 {
			if rest < 0 {
				r.buf, rest = append(r.buf, '-'), -rest
			}
			r.buf = strconv.AppendInt(r.buf, rest/micro, 10)
			r.fraction(rest%micro, micro)
			r.buf = append(r.buf, 'S')
		}
	}
	if len(r.buf) == start {
		r.buf = append(r.buf, "T0S"...)
	}
}
