package delta

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Table properties that this package acts on, with the protocol's defaults.
// Source: Delta protocol, "Table Properties", and the reference
// implementation's documentation of them.
const (
	propAppendOnly         = "delta.appendOnly"                   // false; rows are never deleted
	propCheckpointInterval = "delta.checkpointInterval"           // 10 commits
	propLogRetention       = "delta.logRetentionDuration"         // interval 30 days
	propLogCleanup         = "delta.enableExpiredLogCleanup"      // true
	propFileRetention      = "delta.deletedFileRetentionDuration" // interval 1 week
	propStatsColumns       = "delta.dataSkippingNumIndexedCols"   // 32 leaf columns; -1 is all
	propStatsNames         = "delta.dataSkippingStatsColumns"     // names instead of a number
	propTargetFileSize     = "delta.targetFileSize"               // 128 MiB
)

// harmless are further properties a new table may have: they ask nothing of a
// writer.
var harmless = []string{
	"delta.autoOptimize.autoCompact", "delta.autoOptimize.optimizeWrite", "delta.checkpoint.writeStatsAsJson",
	"delta.compatibility.symlinkFormatManifest.enabled", "delta.randomizeFilePrefixes", "delta.sampleRetentionDuration",
	"delta.setTransactionRetentionDuration", "delta.tuneFileSizesForRewrites",
}

type properties struct {
	appendOnly         bool
	checkpointInterval int64
	logRetention       time.Duration
	logCleanup         bool
	fileRetention      time.Duration
	statsColumns       int      // -1 is all
	statsNames         []string // nil when not set
	targetFileSize     int64    // bytes
}

// parseProperties reads the properties of a table. One that cannot be read is
// an error: its default might delete what it should keep.
func parseProperties(m map[string]string) (properties, error) {
	p := properties{
		checkpointInterval: 10, logRetention: 30 * 24 * time.Hour, logCleanup: true,
		fileRetention: 7 * 24 * time.Hour, statsColumns: 32, targetFileSize: 128 << 20,
	}
	for name, text := range m {
		var err error
		switch name {
		case propAppendOnly:
			p.appendOnly, err = strconv.ParseBool(strings.ToLower(text))
		case propCheckpointInterval:
			p.checkpointInterval, err = strconv.ParseInt(text, 10, 64)
			if err == nil && p.checkpointInterval < 1 {
				err = fmt.Errorf("it is at least 1")
			}
		case propLogRetention:
			p.logRetention, err = parseInterval(text)
		case propLogCleanup:
			p.logCleanup, err = strconv.ParseBool(strings.ToLower(text))
		case propFileRetention:
			p.fileRetention, err = parseInterval(text)
		case propStatsColumns:
			p.statsColumns, err = strconv.Atoi(text)
		case propStatsNames:
			p.statsNames = []string{}
			for n := range strings.SplitSeq(text, ",") {
				p.statsNames = append(p.statsNames, strings.Trim(strings.TrimSpace(n), "`"))
			}
		case propTargetFileSize:
			p.targetFileSize, err = parseBytes(text)
		}
		if err != nil {
			return properties{}, fmt.Errorf("table property %s = %q: %w", name, text, err)
		}
	}
	return p, nil
}

// checkNew refuses properties of a new table that would need a higher
// protocol, or that are not known at all.
func checkNew(m map[string]string) error {
	acted := []string{propAppendOnly, propCheckpointInterval, propLogRetention, propLogCleanup, propFileRetention, propStatsColumns, propStatsNames, propTargetFileSize}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if strings.HasPrefix(name, "delta.") && !slices.Contains(acted, name) && !slices.Contains(harmless, name) {
			return fmt.Errorf("%w: table property %s is unknown or needs more than writer version %d", ErrUnsupported, name, writerVersion)
		}
	}
	_, err := parseProperties(m)
	return err
}

// wants says which columns have statistics: i counts them, path is their name.
func (p properties) wants(i int, path string) bool {
	if p.statsNames != nil {
		return slices.ContainsFunc(p.statsNames, func(n string) bool { return path == n || strings.HasPrefix(path, n+".") })
	}
	return p.statsColumns < 0 || i < p.statsColumns
}

// parseInterval reads "interval 7 days", "1 week" or "interval 1 day 12 hours".
func parseInterval(text string) (time.Duration, error) {
	units := map[string]time.Duration{
		"microsecond": time.Microsecond, "millisecond": time.Millisecond, "second": time.Second, "minute": time.Minute,
		"hour": time.Hour, "day": 24 * time.Hour, "week": 7 * 24 * time.Hour,
	}
	words := strings.Fields(strings.ToLower(text))
	if len(words) > 0 && words[0] == "interval" {
		words = words[1:]
	}
	bad := fmt.Errorf("write it as interval 7 days; units are weeks, days, hours, minutes and seconds")
	if len(words) == 0 || len(words)%2 != 0 {
		return 0, bad
	}
	var sum time.Duration
	for i := 0; i < len(words); i += 2 {
		n, err := strconv.ParseInt(words[i], 10, 64)
		unit := units[strings.TrimSuffix(words[i+1], "s")]
		if err != nil || unit == 0 || n < 0 || n > int64(100*365*24*time.Hour/unit) {
			return 0, bad
		}
		sum += time.Duration(n) * unit
	}
	return sum, nil
}

// parseBytes reads "134217728", "128mb" or "1g".
func parseBytes(text string) (int64, error) {
	s := strings.TrimSuffix(strings.ToLower(strings.TrimSpace(text)), "b")
	shift := 0
	for suffix, by := range map[string]int{"k": 10, "m": 20, "g": 30} {
		if strings.HasSuffix(s, suffix) {
			s, shift = strings.TrimSuffix(s, suffix), by
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil || n < 1 || n > 1<<40>>shift {
		return 0, fmt.Errorf("write a number of bytes, or one such as 128mb")
	}
	return n << shift, nil
}
