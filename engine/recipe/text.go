package recipe

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tengil/tengil/engine"
)

// parseSize parses "512M", "2G", "1.5G", "4096": a number of bytes or of powers
// of 1024. "2GB" and "2GiB" mean 2G.
func parseSize(s string) (engine.Size, error) {
	bad := fmt.Errorf("wanted a size such as \"512M\" or \"2G\", got %q", s)
	number := strings.TrimRight(s, "KMGTkmgtiBb")
	unit := engine.Size(1)
	switch strings.ToUpper(s[len(number):]) {
	case "", "B":
	case "K", "KB", "KIB":
		unit = engine.KiB
	case "M", "MB", "MIB":
		unit = engine.MiB
	case "G", "GB", "GIB":
		unit = engine.GiB
	case "T", "TB", "TIB":
		unit = engine.TiB
	default:
		return 0, bad
	}
	if number == "" || len(number) > 20 || strings.Trim(number, "0123456789.") != "" {
		return 0, bad
	}
	r, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, bad
	}
	r.Mul(r, new(big.Rat).SetInt64(int64(unit)))
	if !r.IsInt() || !r.Num().IsInt64() {
		return 0, fmt.Errorf("%w, which is not a whole number of bytes, or too many", bad)
	}
	n := engine.Size(r.Num().Int64())
	if number == s {
		return n, checkBytes(n)
	}
	return n, nil
}

// checkBytes refuses numbers of bytes that are too small for anything that has a
// size: whoever writes 512 for memory means 512M.
func checkBytes(n engine.Size) error {
	if n == 0 || n >= 64*engine.KiB {
		return nil
	}
	return fmt.Errorf("wanted a size such as \"512M\" or \"2G\", got %d, which are bytes (did you mean \"%[1]dM\"?)", int64(n))
}

// parseDuration parses "30s", "5m", "1h30m".
func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("wanted a duration such as \"30s\" or \"5m\", got %q", s)
	}
	return d, nil
}

// checkText refuses what no step can use: NUL, broken UTF-8, tengil's own marks.
func checkText(s string) error {
	switch {
	case strings.ContainsRune(s, 0):
		return errors.New("the text holds a NUL character")
	case !utf8.ValidString(s):
		return errors.New("the text is not valid UTF-8")
	case strings.Contains(s, markerBegin), strings.Contains(s, markerEnd):
		return errors.New("the text holds the character U+E000 or U+E001, which tengil keeps for itself")
	}
	return nil
}

// quotedList returns `"a", "b"`.
func quotedList(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = strconv.Quote(n)
	}
	return strings.Join(quoted, ", ")
}
