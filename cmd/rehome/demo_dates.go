package main

import (
	"regexp"
	"strconv"
	"time"
)

var relativeTime = regexp.MustCompile(`«([+-]\d{1,4})d( unix)?»`)

// asOf fills in the times of sample alerts: days before or after now, at
// midnight UTC.
func asOf(alerts string, now time.Time) string {
	today := now.UTC().Truncate(24 * time.Hour)
	return relativeTime.ReplaceAllStringFunc(alerts, func(s string) string {
		m := relativeTime.FindStringSubmatch(s)
		days, _ := strconv.Atoi(m[1]) // digits, by the pattern
		t := today.AddDate(0, 0, days)
		if m[2] != "" {
			return strconv.FormatInt(t.Unix(), 10)
		}
		return t.Format(time.RFC3339)
	})
}
