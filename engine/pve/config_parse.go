package pve

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"
)

// Lines of a guest config, as parse_pct_config in Config.pm matches them.
type configLines struct {
	pending, section, raw, plain, del *regexp.Regexp
}

// compiledLines compiles them when the first config is read.
var compiledLines = sync.OnceValue(newConfigLines)

func newConfigLines() configLines {
	return configLines{
		pending: regexp.MustCompile(`(?i)^\[pve:pending\]\s*$`),
		section: regexp.MustCompile(`(?i)^\[([a-z][a-z0-9_-]+)\]\s*$`),
		raw:     regexp.MustCompile(`^(lxc\.[a-z0-9_.-]+)(?::|\s*=)\s*(.*?)\s*$`),
		del:     regexp.MustCompile(`^delete:\s*(.*\S)\s*$`),
		plain:   regexp.MustCompile(`^([a-z][a-z_]*\d*):\s*(.+?)\s*$`),
	}
}

// ParseConfig reads a guest config. Like PVE it takes what it can: lines that it
// does not understand become Warnings. The only error is a file that is no text.
func ParseConfig(data []byte) (*Config, error) {
	text := string(data)
	if strings.ContainsRune(text, 0) {
		return nil, errors.New("guest config holds a NUL byte; wanted text")
	}
	p := configParser{re: compiledLines(), c: NewConfig(), in: &Section{Options: map[string]string{}}}
	main := p.in
	for line := range strings.SplitSeq(text, "\n") {
		if strings.TrimSpace(line) != "" {
			p.line(line)
		}
	}
	p.close()
	p.c.Section = *main
	return p.c, nil
}

type configParser struct {
	re      configLines
	c       *Config
	in      *Section // the section being read
	pending bool     // in is the pending section
}

func (p *configParser) line(line string) {
	switch {
	case p.re.pending.MatchString(line):
		p.close()
		p.in, p.pending = &Section{Options: map[string]string{}}, true
	case p.re.section.MatchString(line):
		p.close()
		p.in, p.pending = &Section{Name: p.re.section.FindStringSubmatch(line)[1], Options: map[string]string{}}, false
	case line[0] == '#':
		p.in.Description += DecodeDescription(line[1:]) + "\n"
	default:
		p.setting(line)
	}
}

func (p *configParser) setting(line string) {
	if m := p.re.raw.FindStringSubmatch(line); m != nil {
		p.rawLine(line, m[1], m[2])
		return
	}
	if m := p.re.del.FindStringSubmatch(line); m != nil {
		p.deletion(line, m[1])
		return
	}
	m := p.re.plain.FindStringSubmatch(line)
	if m == nil {
		p.unknown(line, "unable to parse config: "+line)
		return
	}
	if m[1] == "description" {
		p.in.Description += DecodeDescription(m[2]) + "\n"
		return
	}
	if !KnownOption(m[1]) {
		p.warn(fmt.Sprintf("unable to parse value of '%s' - unknown setting '%s'", m[1], m[1]))
	}
	p.in.Options[m[1]] = strings.TrimSpace(m[2]) // of "tags: " nothing is left
}

func (p *configParser) rawLine(line, key, value string) {
	switch {
	case key == EnvKey:
		p.in.Env = append(p.in.Env, value)
	case RawKeyAllowed(key):
		p.in.Raw = append(p.in.Raw, KV{key, value})
	default:
		p.unknown(line, "unable to parse config: "+line)
	}
}

func (p *configParser) deletion(line, keys string) {
	if !p.pending {
		p.unknown(line, "property 'delete' is only allowed in [pve:pending]")
		return
	}
	for _, k := range strings.FieldsFunc(keys, isListSeparator) {
		name, force := strings.CutPrefix(k, "!")
		if name != "" {
			p.c.PendingDelete[name] = force
		}
	}
}

func (p *configParser) unknown(line, why string) {
	p.in.Unknown = append(p.in.Unknown, line)
	p.warn(why)
}

func (p *configParser) warn(text string) { p.c.Warnings = append(p.c.Warnings, text) }

// close stores the section that was being read; the main one stays with the caller.
func (p *configParser) close() {
	switch {
	case p.pending:
		p.c.Pending = p.in.Options
		if p.in.Description != "" {
			p.c.Pending["description"] = p.in.Description
		}
		p.c.PendingEnv, p.c.PendingRaw = p.in.Env, p.in.Raw
	case p.in.Name != "":
		p.c.Snapshots = replaceSection(p.c.Snapshots, *p.in)
	}
}

func replaceSection(all []Section, s Section) []Section {
	for i := range all {
		if all[i].Name == s.Name {
			all[i] = s
			return all
		}
	}
	return append(all, s)
}

func isListSeparator(r rune) bool { return strings.ContainsRune(",; \t\x00", r) }

// EncodeDescription encodes one line of a description for a # line: control
// characters, bytes above 0x7e, ":" and "%" become %XX (encode_text in Tools.pm).
func EncodeDescription(line string) string {
	var b strings.Builder
	for i := range len(line) {
		c := line[i]
		if c < 0x20 || c >= 0x7f || c == ':' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// DecodeDescription undoes EncodeDescription. Percent signs that start no
// escape stay; bytes that make no UTF-8 become U+FFFD.
func DecodeDescription(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
			b.WriteByte(unhex(s[i+1])<<4 | unhex(s[i+2]))
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	out := b.String()
	if !utf8.ValidString(out) {
		out = strings.ToValidUTF8(out, "\uFFFD")
	}
	return out
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	}
	return c - '0'
}
