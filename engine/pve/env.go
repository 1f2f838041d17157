package pve

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ControlChars returns the first control character of s and its byte index; the
// index is -1 if there is none. A tab is none, as PVE takes it; a byte that is no
// UTF-8, which pct cannot decode, counts as one and comes back as U+FFFD.
func ControlChars(s string) (rune, int) {
	for i, r := range s {
		if r != '\t' && unicode.IsControl(r) {
			return r, i
		}
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)) {
			return r, i
		}
	}
	return 0, -1
}

// CheckEnv refuses a variable that the env option cannot hold (Config.pm: names
// \w+, values without control characters but tab) or that would not arrive as
// given: the config parser trims blanks at the end of a line. The name must be
// one that shells take, so it starts with no digit.
func CheckEnv(name, value string) error {
	if err := CheckEnvName(name); err != nil {
		return err
	}
	if r, i := ControlChars(value); i >= 0 {
		return fmt.Errorf("value of %s holds the control character %U at byte %d, which Proxmox cannot store", name, r, i)
	}
	if strings.TrimRight(value, " \t") != value {
		return fmt.Errorf("value of %s ends in a blank, which Proxmox removes", name)
	}
	return nil
}

// CheckEnvName refuses a name that is no shell variable name.
func CheckEnvName(name string) error {
	if name == "" {
		return errors.New("variable name is empty")
	}
	for i, r := range name {
		ok := r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || i > 0 && '0' <= r && r <= '9'
		if !ok {
			return fmt.Errorf("variable name %q holds %q; allowed are letters, digits and _, no digit first", name, r)
		}
	}
	return nil
}

// MergeEnv returns the lines of image with the values of want in their place,
// followed by what want adds, in its order. Lines are "NAME=value".
func MergeEnv(image []string, want []KV) []string {
	value := make(map[string]string, len(want))
	for _, kv := range want {
		value[kv.Key] = kv.Value
	}
	var out []string
	seen := map[string]bool{}
	add := func(name, line string) {
		if !seen[name] {
			seen[name] = true
			out = append(out, line)
		}
	}
	for _, line := range image {
		name, _, _ := strings.Cut(line, "=")
		if v, ok := value[name]; ok {
			line = name + "=" + v
		}
		add(name, line)
	}
	for _, kv := range want {
		add(kv.Key, kv.Key+"="+value[kv.Key])
	}
	return out
}
