package pve

import (
	"bytes"
	"fmt"
	"path"
	"strconv"
	"strings"
)

// Files of a node about file systems.
const (
	FstabFile  = "/etc/fstab"   // what its owner wants mounted (fstab(5))
	MountsFile = "/proc/mounts" // what is mounted (proc(5))
)

// A Mounted file system is one line of MountsFile.
type Mounted struct{ Device, At, Kind, Options string }

// String is the line, without its end.
func (m Mounted) String() string {
	return fmt.Sprintf("%s %s %s %s 0 0", escapeOctal.Replace(m.Device), escapeOctal.Replace(m.At), m.Kind, m.Options)
}

// ParseMountTable reads MountsFile. A line that cannot be read is an error: what is
// mounted there would be taken for missing.
func ParseMountTable(data []byte) ([]Mounted, error) {
	text, ok := bytes.CutSuffix(data, []byte("\n"))
	if !ok {
		return nil, fmt.Errorf("%s: wanted whole lines, got %.80q", MountsFile, data[max(0, len(data)-60):])
	}
	var out []Mounted
	for i, line := range strings.Split(string(text), "\n") {
		f := strings.Split(line, " ")
		if len(f) != 6 || !path.IsAbs(unescapeOctal(f[1])) {
			return nil, fmt.Errorf("%s: line %d is %.80q; wanted a device, where it is mounted, a type, options and two numbers", MountsFile, i+1, line)
		}
		out = append(out, Mounted{unescapeOctal(f[0]), unescapeOctal(f[1]), f[2], f[3]})
	}
	return out, nil
}

// FstabMounts returns where FstabFile wants something mounted. As mount does, it
// passes over what is no entry, and what is mounted nowhere, such as swap.
func FstabMounts(data []byte) []string {
	var out []string
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 2 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if at := unescapeOctal(f[1]); path.IsAbs(at) {
			out = append(out, path.Clean(at))
		}
	}
	return out
}

// escapeOctal is how both files write what would end a field.
var escapeOctal = strings.NewReplacer(`\`, `\134`, " ", `\040`, "\t", `\011`, "\n", `\012`)

// unescapeOctal undoes it.
func unescapeOctal(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
