package pve

import "strings"

// ReplaceEnv returns a guest config with env ("NAME=value" lines) as the
// environment of its main section and every other line as it was. The lines go
// before the first raw lxc line or section, where PVE writes them: what follows a
// section header belongs to a snapshot or to the pending values.
func ReplaceEnv(data []byte, env []string) []byte {
	re := newConfigLines()
	var head, tail []string // before and after the place of the environment
	placed, sections := false, false
	for line := range strings.Lines(string(data)) {
		text := strings.TrimRight(line, "\n")
		sections = sections || re.pending.MatchString(text) || re.section.MatchString(text)
		m := re.raw.FindStringSubmatch(text)
		isEnv := !sections && m != nil && m[1] == EnvKey
		placed = placed || sections || m != nil || strings.TrimSpace(text) == ""
		switch {
		case isEnv:
		case placed:
			tail = append(tail, text+"\n")
		default:
			head = append(head, text+"\n")
		}
	}
	for _, e := range env {
		head = append(head, EnvKey+": "+e+"\n")
	}
	return []byte(strings.Join(head, "") + strings.Join(tail, ""))
}
