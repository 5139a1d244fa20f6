package sh

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var layouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05.999999999", "2006-01-02 15:04:05 -0700", "2006-01-02 15:04", "2006-01-02T15:04",
	"2006-01-02", "20060102", "2006/01/02", "01/02/2006", "2 Jan 2006", "Jan 2 2006", "Jan 2, 2006", time.RFC1123Z, time.RFC1123, time.UnixDate, "15:04:05", "15:04"}

var relative = regexp.MustCompile(`([+-]?\d+)\s*(sec|second|min|minute|hour|day|week|fortnight|month|year)s?(\s+ago)?`)

// parseTime reads what date -d takes, in UTC: a date, @seconds, now, yesterday,
// "3 days ago", "2024-01-31 +1 month".
func parseTime(s string, now time.Time) (time.Time, error) {
	t := now.UTC()
	rest := strings.TrimSpace(s)
	low := strings.ToLower(rest)
	if v, ok := strings.CutPrefix(rest, "@"); ok {
		sec, err := strconv.ParseFloat(v, 64)
		if err != nil {
			return t, fmt.Errorf("invalid date '%s'", s)
		}
		return time.UnixMilli(int64(sec * 1000)).UTC(), nil
	}
	low = strings.NewReplacer("yesterday", "-1 day", "tomorrow", "+1 day", "last ", "-1 ", "next ", "+1 ").Replace(low)
	var moves [][]string
	if relative.MatchString(low) {
		moves = relative.FindAllStringSubmatch(low, -1)
		low = strings.TrimSpace(relative.ReplaceAllString(low, ""))
		rest = low
	}
	midnight := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
	switch low {
	case "", "now":
	case "today":
	case "midnight":
		t = midnight
	default:
		ok := false
		for _, l := range layouts {
			for _, text := range []string{rest, strings.ToUpper(rest), strings.TrimSuffix(strings.TrimSuffix(rest, " UTC"), " utc")} {
				if v, err := time.Parse(l, text); err == nil && !ok {
					t, ok = v.UTC(), true
					if l == "15:04:05" || l == "15:04" {
						t = midnight.Add(v.Sub(time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)))
					}
				}
			}
		}
		if !ok {
			return t, fmt.Errorf("invalid date '%s'", s)
		}
	}
	for _, m := range moves {
		n, _ := strconv.Atoi(m[1])
		if m[3] != "" {
			n = -n
		}
		switch m[2] {
		case "sec", "second":
			t = t.Add(time.Duration(n) * time.Second)
		case "min", "minute":
			t = t.Add(time.Duration(n) * time.Minute)
		case "hour":
			t = t.Add(time.Duration(n) * time.Hour)
		case "day":
			t = t.AddDate(0, 0, n)
		case "week":
			t = t.AddDate(0, 0, 7*n)
		case "fortnight":
			t = t.AddDate(0, 0, 14*n)
		case "month":
			t = t.AddDate(0, n, 0)
		case "year":
			t = t.AddDate(n, 0, 0)
		}
	}
	return t, nil
}

func date(c *call) int {
	f := c.flags()
	at := f.StringP("date", "d", "", "this time, not now")
	from := f.StringP("reference", "r", "", "the time of this file")
	iso := f.StringP("iso-8601", "I", "", "ISO 8601: date, hours, minutes, seconds")
	f.Lookup("iso-8601").NoOptDefVal = "date"
	rfc := f.BoolP("rfc-email", "R", false, "as in e-mail")
	f.BoolP("utc", "u", false, "no effect: always UTC")
	args, err := c.parse(f)
	if err != nil {
		return c.leave(err)
	}
	t := time.Now().UTC()
	if *at != "" {
		if t, err = parseTime(*at, t); err != nil {
			return c.fail("%v", err)
		}
	}
	if *from != "" {
		fi, err := os.Stat(c.path(*from))
		if err != nil {
			return c.fail("'%s': %s", *from, reason(err))
		}
		t = fi.ModTime().UTC()
	}
	format := "%a %b %e %H:%M:%S UTC %Y"
	switch {
	case len(args) > 0 && strings.HasPrefix(args[0], "+"):
		format = args[0][1:]
	case len(args) > 0:
		return c.fail("invalid date '%s'; use +format", args[0])
	case *rfc:
		format = "%a, %d %b %Y %H:%M:%S +0000"
	case *iso != "":
		format = map[byte]string{'h': "%Y-%m-%dT%H+00:00", 'm': "%Y-%m-%dT%H:%M+00:00", 's': "%Y-%m-%dT%H:%M:%S+00:00", 'n': "%Y-%m-%dT%H:%M:%S,%N+00:00"}[(*iso)[0]]
		if format == "" {
			format = "%Y-%m-%d"
		}
	}
	c.line([]byte(strftime(format, t)))
	return 0
}

func strftime(format string, t time.Time) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		pad := byte(0)
		if strings.IndexByte("-_0^", format[i]) >= 0 && i+1 < len(format) {
			pad = format[i]
			i++
		}
		s := ""
		switch ch := format[i]; ch {
		case 'Y', 'G':
			y := t.Year()
			if ch == 'G' {
				y, _ = t.ISOWeek()
			}
			s = strconv.Itoa(y)
		case 'V':
			_, w := t.ISOWeek()
			s = fmt.Sprintf("%02d", w)
		case 'U':
			s = fmt.Sprintf("%02d", (t.YearDay()+6-int(t.Weekday()))/7)
		case 'u':
			s = strconv.Itoa((int(t.Weekday())+6)%7 + 1)
		case 'w':
			s = strconv.Itoa(int(t.Weekday()))
		case 'j':
			s = fmt.Sprintf("%03d", t.YearDay())
		case 'q':
			s = strconv.Itoa((int(t.Month()) + 2) / 3)
		case 's':
			s = strconv.FormatInt(t.Unix(), 10)
		case 'N':
			s = fmt.Sprintf("%09d", t.Nanosecond())
		case 'C':
			s = fmt.Sprintf("%02d", t.Year()/100)
		case 'n':
			s = "\n"
		case 't':
			s = "\t"
		case '%':
			s = "%"
		case 'P':
			s = strings.ToLower(t.Format("PM"))
		default:
			layout, ok := map[byte]string{'y': "06", 'm': "01", 'd': "02", 'e': "_2", 'H': "15", 'I': "03", 'k': "15", 'l': "3", 'M': "04", 'S': "05", 'p': "PM", 'a': "Mon", 'A': "Monday", 'b': "Jan", 'h': "Jan", 'B': "January",
				'F': "2006-01-02", 'T': "15:04:05", 'R': "15:04", 'D': "01/02/06", 'Z': "MST", 'z': "-0700", 'c': "Mon Jan _2 15:04:05 2006", 'x': "01/02/06", 'X': "15:04:05", 'r': "03:04:05 PM"}[ch]
			if !ok {
				s = "%" + string(ch)
				break
			}
			s = t.Format(layout)
		}
		switch pad {
		case '-':
			if t := strings.TrimLeft(s, "0 "); t != "" {
				s = t
			} else {
				s = "0"
			}
		case '_':
			for j := 0; j < len(s)-1 && s[j] == '0'; j++ {
				s = s[:j] + " " + s[j+1:]
			}
		case '^':
			s = strings.ToUpper(s)
		}
		b.WriteString(s)
	}
	return b.String()
}
