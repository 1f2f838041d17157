package pve

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// NormalizeTags joins tags as PVE stores them: lower-case, each once, sorted,
// separated by ";".
func NormalizeTags(tags []string) string {
	var out []string
	for _, t := range tags {
		out = append(out, strings.ToLower(t))
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ";")
}

// ParseTags splits a tags value at the separators PVE takes: comma, semicolon, blank.
func ParseTags(s string) []string { return strings.FieldsFunc(s, isListSeparator) }

// CheckTag refuses what PVE refuses as a tag (pve-tag in JSONSchema.pm). Upper
// case is taken and stored in lower case.
func CheckTag(tag string) error {
	if tag == "" {
		return errors.New("tag is empty")
	}
	for i, r := range strings.ToLower(tag) {
		ok := 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '_' || i > 0 && strings.ContainsRune("-+.", r)
		if !ok {
			return fmt.Errorf("tag %q holds %q at byte %d; allowed are letters, digits, _ and, not in front, one of -+. too", tag, r, i)
		}
	}
	return nil
}
