package ratelimit

import (
	"strconv"
	"time"
)

// per is the length of a budget's periods: those of the calendar, in UTC.
type per uint8

const (
	day per = iota
	week
	month
)

func perOf(s string) per {
	switch s {
	case "day":
		return day
	case "week":
		return week
	}
	return month
}

// number tells which period t is in: they are numbered in order.
func (p per) number(t time.Time) int64 {
	days := t.Unix() / 86400
	if t.Unix()%86400 < 0 {
		days--
	}
	switch p {
	case day:
		return days
	case week: // 1970-01-01 was a Thursday, and weeks begin on Monday
		n := days + 3
		if n < 0 {
			n -= 6
		}
		return n / 7
	}
	y, m, _ := t.UTC().Date()
	return int64(y)*12 + int64(m) - 1
}

// begins is the first moment of the period of that number.
func (p per) begins(number int64) time.Time {
	switch p {
	case day:
		return time.Unix(number*86400, 0).UTC()
	case week:
		return time.Unix((number*7-3)*86400, 0).UTC()
	}
	return time.Date(int(number/12), time.Month(number%12)+1, 1, 0, 0, 0, 0, time.UTC)
}

// call names the period of that number in a sentence: "on 21 November 2026".
func (p per) call(number int64) string {
	from := p.begins(number)
	switch p {
	case day:
		return "on " + date(from)
	case week:
		return "in the week from " + date(from)
	}
	return "in " + from.Month().String() + " " + strconv.Itoa(from.Year())
}

func (p per) adjective() string { return [...]string{"daily", "weekly", "monthly"}[p] }

func date(t time.Time) string { return t.Format("2 January 2006") }
