package ui

import (
	"fmt"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"
)

// Bytes returns n as people read it, in powers of 1024 as Proxmox counts: "402M", "1.2G".
func Bytes(n int64) string {
	v, unit := float64(n), ""
	for _, u := range []string{"K", "M", "G", "T"} {
		if v < 1024 {
			break
		}
		v, unit = v/1024, u
	}
	if unit == "" {
		return fmt.Sprintf("%dB", n)
	}
	if v < 10 {
		return fmt.Sprintf("%.1f%s", v, unit)
	}
	return fmt.Sprintf("%.0f%s", v, unit)
}

// Age returns in one word how long something has been: "34s", "12m", "3h", "40d".
func Age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// Took returns d as people read it: "0.4s", "34s", "2m04s", "1h02m".
func Took(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// fit returns s on one line, padded or cut to exactly width columns.
func fit(s string, width int) string {
	return runewidth.FillRight(cut(s, width), width)
}

// cut returns s on one line and at most width columns wide.
func cut(s string, width int) string {
	s, _, _ = strings.Cut(s, "\n")
	if width <= 0 {
		return ""
	}
	return runewidth.Truncate(s, width, "…")
}

// fitMiddle is fit for names, of which both ends tell one from another.
func fitMiddle(s string, width int) string {
	if runewidth.StringWidth(s) > width && width > 8 {
		tail := runewidth.TruncateLeft(s, runewidth.StringWidth(s)-width*2/3, "")
		s = runewidth.Truncate(s, width-1-runewidth.StringWidth(tail), "") + "…" + tail
	}
	return fit(s, width)
}

// plural returns "1 step", "2 steps".
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
