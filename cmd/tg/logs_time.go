package main

import (
	"regexp"
	"strings"
	"time"

	"github.com/tengil/tengil/engine/pve"
)

// Times as applications write them near the beginning of a line: as RFC 3339 has it
// with some liberty (Go, PostgreSQL, nginx and most others), and as web servers do.
var (
	isoTime = regexp.MustCompile(`(\d{4})[-/](\d\d)[-/](\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?\d* ?(Z|UTC|GMT|[+-]\d\d:?\d\d)?`)
	webTime = regexp.MustCompile(`\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}`)
)

// timeWithin is how far into a line its time begins at most.
const timeWithin = 80

// timeIn returns the time that a line tells. zone is for one that names none; nil if
// nobody knows it.
func timeIn(line string, zone *time.Location) (time.Time, bool) {
	if at := webTime.FindStringIndex(line); at != nil && at[0] < timeWithin {
		t, err := time.Parse("02/Jan/2006:15:04:05 -0700", line[at[0]:at[1]])
		return t, err == nil
	}
	at := isoTime.FindStringSubmatchIndex(line)
	if at == nil || at[0] >= timeWithin {
		return time.Time{}, false
	}
	part := func(i int) string {
		if at[2*i] < 0 {
			return ""
		}
		return line[at[2*i]:at[2*i+1]]
	}
	switch name := part(6); name {
	case "":
	case "Z", "UTC", "GMT":
		zone = time.UTC
	default:
		t, err := time.Parse("-0700", strings.ReplaceAll(name, ":", ""))
		if err != nil {
			return time.Time{}, false
		}
		zone = t.Location()
	}
	if zone == nil {
		return time.Time{}, false
	}
	text := part(1) + "-" + part(2) + "-" + part(3) + " " + part(4)
	if fraction := part(5); fraction != "" {
		text += "." + fraction
	}
	t, err := time.ParseInLocation(time.DateTime, text, zone)
	return t, err == nil
}

// zoneOf returns the time zone of a container's application: UTC where its environment
// has none; nil where it names one that this machine does not know.
func zoneOf(conf *pve.Config) *time.Location {
	for _, kv := range conf.Env {
		if name, ok := strings.CutPrefix(kv, "TZ="); ok {
			zone, err := time.LoadLocation(strings.TrimPrefix(name, ":"))
			if err != nil {
				return nil
			}
			return zone
		}
	}
	return time.UTC
}
