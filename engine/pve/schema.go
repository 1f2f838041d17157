package pve

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

//go:embed schema.json
var schemaJSON []byte

// An Option is the schema of one option, or of one key of a property string.
type Option struct {
	Type       string            `json:"type"` // string, integer, number, boolean
	Format     string            `json:"format"`
	Pattern    string            `json:"pattern"`
	Enum       []string          `json:"enum"`
	EnumItems  []string          `json:"enum_items"` // of a list joined with ";"
	Minimum    *float64          `json:"minimum"`
	Maximum    *float64          `json:"maximum"`
	MinLength  int               `json:"minLength"`
	MaxLength  int               `json:"maxLength"`
	Properties map[string]Option `json:"properties"` // of a property string
	Required   bool              `json:"required"`   // of a key in a property string
	DefaultKey bool              `json:"default_key"`
	Index      *struct {
		Min int `json:"min"`
		Max int `json:"max"`
	} `json:"index"` // of a numbered family
	Since string `json:"since"` // first pve-container version
	// Refused are keys that set --delete does not take.
	Refused []string `json:"refused"`
}

type schema struct {
	Config map[string]Option `json:"config"`
	Create map[string]Option `json:"create"` // Config included once loaded
	Set    map[string]Option `json:"set"`    // Config included once loaded
	Raw    struct {
		Allowed            []string `json:"allowed"`
		AllowedPrefixes    []string `json:"allowed_prefixes"`
		DeprecatedPrefixes []string `json:"deprecated_prefixes"`
	} `json:"raw"`
}

// loadSchema parses the embedded schema once.
var loadSchema = sync.OnceValue(func() schema {
	var s schema
	if err := json.Unmarshal(schemaJSON, &s); err != nil {
		panic("embedded schema.json: " + err.Error())
	}
	for _, extra := range []map[string]Option{s.Create, s.Set} {
		maps.Copy(extra, s.Config)
	}
	return s
})

// Schema returns the options of "create" or "set", by name; numbered families
// have keys like "mp[n]". Other commands have none. The map is shared: do not
// change it.
func Schema(command string) map[string]Option {
	s := loadSchema()
	switch command {
	case "create":
		return s.Create
	case "set":
		return s.Set
	}
	return nil
}

// Family splits a numbered option: "mp3" is "mp[n]" and 3. Other names come back
// as they are, with -1.
func Family(key string) (name string, index int) {
	digits := strings.TrimLeft(key, "abcdefghijklmnopqrstuvwxyz_")
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 || digits == key || strconv.Itoa(n) != digits {
		return key, -1
	}
	return strings.TrimSuffix(key, digits) + "[n]", n
}

// lookup finds an option of a command. With command "" only config options count.
func lookup(command, key string) (Option, bool) {
	name, n := Family(key)
	s := loadSchema()
	options := s.Config
	if command != "" {
		options = Schema(command)
	}
	o, ok := options[name]
	return o, ok && (o.Index == nil) == (n < 0) && (o.Index == nil || n <= o.Index.Max)
}

// KnownOption reports whether a guest config may hold the key.
func KnownOption(key string) bool {
	if slices.Contains([]string{"parent", "snaptime", "snapstate", "vmstate"}, key) {
		return true
	}
	_, ok := lookup("", key)
	return ok
}

// RawKeyAllowed reports whether PVE keeps an lxc.* line with the key
// (is_valid_lxc_conf_key in Config.pm).
func RawKeyAllowed(key string) bool {
	raw := loadSchema().Raw
	hasPrefix := func(p string) bool { return strings.HasPrefix(key, p) }
	return slices.Contains(raw.Allowed, key) ||
		slices.ContainsFunc(raw.AllowedPrefixes, hasPrefix) ||
		slices.ContainsFunc(raw.DeprecatedPrefixes, hasPrefix)
}

// ErrBadBoolean is what the command line itself says about a boolean that is none.
var ErrBadBoolean = errors.New("400 unable to parse boolean option")

// ErrUnknownOption is wrapped for an option that a command or version does not
// have; pct says "Unknown option: KEY" and "400 unable to parse option" then.
var ErrUnknownOption = errors.New("unknown option")

// An OptionError is one line of "400 Parameter verification failed.": print
// "KEY: REASON\n". The reason may have several lines and end in a newline, as
// PVE's does.
type OptionError struct{ Key, Reason string }

func (e *OptionError) Error() string { return e.Key + ": " + strings.TrimRight(e.Reason, "\n") }

// CheckOption checks a value as pct of the given pve-container version would
// before it does anything. The error is an *OptionError, ErrBadBoolean, or wraps
// ErrUnknownOption.
func CheckOption(version, command, key, value string) error {
	o, ok := lookup(command, key)
	if !ok || !exists(o, version) {
		return fmt.Errorf("%w: %s", ErrUnknownOption, key)
	}
	if o.Type == "boolean" {
		if _, err := ParseBool(value); err != nil {
			return ErrBadBoolean
		}
		return nil
	}
	if reason := (checker{version}).value(key, o, value); reason != "" {
		return &OptionError{key, reason}
	}
	return nil
}

func exists(o Option, version string) bool {
	return o.Since == "" || CompareVersions(version, o.Since) >= 0
}

type checker struct{ version string }

// value returns the reason against a value, "" if there is none (check_type and
// check_prop in JSONSchema.pm).
func (c checker) value(key string, o Option, value string) string {
	if reason := checkType(o, value); reason != "" {
		return reason
	}
	if o.MaxLength > 0 && len([]rune(value)) > o.MaxLength {
		return fmt.Sprintf("value may only be %d characters long", o.MaxLength)
	}
	if o.MinLength > 0 && len([]rune(value)) < o.MinLength {
		return fmt.Sprintf("value must be at least %d characters long", o.MinLength)
	}
	if o.Format != "" {
		if reason := c.format(key, o, value); reason != "" {
			return "invalid format - " + reason + "\n"
		}
		return ""
	}
	if !c.matches(key, o, value) {
		return "value does not match the regex pattern"
	}
	if len(o.Enum) > 0 && !slices.Contains(o.Enum, value) {
		return fmt.Sprintf("value '%s' does not have a value in the enumeration '%s'", value, strings.Join(o.Enum, ", "))
	}
	return checkRange(o, value)
}

func (c checker) matches(key string, o Option, value string) bool {
	if len(o.EnumItems) > 0 {
		return !slices.ContainsFunc(strings.Split(value, ";"), func(s string) bool { return !slices.Contains(o.EnumItems, s) })
	}
	if o.Pattern == "" {
		return true
	}
	pattern := o.Pattern
	if (key == "env" || key == "entrypoint") && CompareVersions(c.version, "6.1.8") < 0 {
		// Until 6.1.7 the pattern had \x10 in the place of \x0a: newlines passed.
		pattern = strings.ReplaceAll(pattern, `\x0a-\x1F`, `\x10-\x1F`)
	}
	return regexp.MustCompile(`^(?s:` + perlPattern(pattern) + `)$`).MatchString(value)
}

// perlPattern writes \w, \d as Perl means them for decoded text, and NUL.
func perlPattern(p string) string {
	p = strings.ReplaceAll(p, `[-_.\w\d]`, `[-_.\p{L}\p{M}\p{N}]`)
	p = strings.ReplaceAll(p, `\w`, `[\p{L}\p{M}\p{N}_]`)
	return strings.ReplaceAll(p, `\0`, `\x00`)
}

func checkType(o Option, value string) string {
	ok := true
	switch o.Type {
	case "integer":
		ok = regexp.MustCompile(`^[+-]?\d+$`).MatchString(value)
	case "number":
		ok = regexp.MustCompile(`^[+-]?(\d+\.\d+|\d+|\.\d+)$`).MatchString(value)
	case "boolean":
		_, err := ParseBool(value)
		ok = err == nil
	}
	if ok {
		return ""
	}
	return fmt.Sprintf("type check ('%s') failed - got '%s'", o.Type, value)
}

func checkRange(o Option, value string) string {
	n, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return ""
	}
	if o.Minimum != nil && n < *o.Minimum {
		return fmt.Sprintf("value must have a minimum value of %v", int64(*o.Minimum))
	}
	if o.Maximum != nil && n > *o.Maximum {
		return fmt.Sprintf("value must have a maximum value of %v", int64(*o.Maximum))
	}
	return ""
}
