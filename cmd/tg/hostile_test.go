package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// Bad input is normal input: a file that people write for tg and that is not what
// it should be is one clear error with its place, before any node is asked.
func TestHostileInput(t *testing.T) {
	big := strings.Repeat(" ", maxInputFile) + "{}"
	deep := strings.Repeat("[", 1<<20)
	anywhere := []struct{ name, file, want string }{ // in whichever file
		{"a byte order mark", "\ufeff{}", ":1:1: the file begins with a byte order mark"},
		{"text in UTF-16", "\xff\xfe{\x00}\x00", ":1:1: wanted text in UTF-8, got the byte 0xff"},
		{"a NUL", "{\n \x00}", ":2:2: wanted text in UTF-8, got the byte 0x00"},
		{"binary", "\x7fELF\x01\x02", ":1:5: wanted text in UTF-8, got the byte 0x01"},
		{"an escape", "\x1b[2J", ":1:1: wanted text in UTF-8, got the byte 0x1b"},
		{"more than 4 MB", big, "is larger than 4M"},
		{"JSON that is cut off", `{"a": `, ":1:7: the file ends too early"},
		{"JSON with a comma too much", "{\n\"a\": 1,}", ":2:7: invalid character"},
		{"two values of JSON", "{}\n{}", "there is something after the end"},
		{"a key that stands twice", "{\"a\": \"1\",\n \"a\": \"2\"}", `:2:2: "a" stands twice`},
		{"a million brackets", `{"a":` + deep, "brackets nest deeper than 100"},
	}
	for _, f := range []struct {
		name string
		read func(file string) error
		more []struct{ name, file, want string }
	}{
		{"configuration", readConfig, []struct{ name, file, want string }{
			{"a field that is misspelt", `{"defualt": "pve1"}`, `:1:2: unknown field "defualt" (did you mean "default"?)`},
			{"a field of a host that is misspelt", `{"hosts": {"a": {"adress": "x"}}}`, `unknown field "adress" (did you mean "address"?); there are address,`},
			{"a number for a name", "{\n\"default\": 3}", ":2:13: default is a JSON number; wanted a string"},
			{"a list of hosts", `{"hosts": []}`, "hosts is a JSON array; wanted an object"},
			{"a list for all", `[]`, "the file is a JSON array; wanted an object"},
			{"a default that is no host", `{"default": "b", "hosts": {"a": {"address": "x"}}}`, `default is "b", but hosts has ["a"]`},
			{"a host without an address", `{"hosts": {"a": {}}}`, `host "a" has no address`},
			{"a host without a name", `{"hosts": {"": {"address": "x"}}}`, `"" is no name of a host`},
			{"a host that is an option", `{"hosts": {"--host": {"address": "x"}}}`, `"--host" is no name of a host`},
			{"an empty file", "", ":1:1: the file ends too early"},
			{"a limit that overflows", `{"hosts": {"a": {"address": "x", "limits": {"downloads": 99999999999999999999}}}}`, "wanted a whole number"},
		}},
		{"option values", func(file string) error { _, err := parseValues(nil, file); return err }, []struct{ name, file, want string }{
			{"an object in an object", "{\n\"a\": {}}", `:2:1: option "a" is neither a string nor a number nor true or false`},
			{"a list", `{"a": [1]}`, `option "a" is neither a string`},
			{"null", `{"a": null}`, `option "a" is neither a string`},
			{"a line without an equals sign", "a=1\nb\n", `:2:1: the line is "b"; wanted key=value`},
			{"a line without a key", "=1\n", `:1:1: the line is "=1"; wanted key=value`},
			{"an option twice", "a=1\n\na=2\n", `:3:1: option "a" is given twice`},
			{"a line of 1 MB", strings.Repeat("x", 1<<20), `:1:1: the line is "xxx`},
		}},
		{"facts", func(file string) error { _, err := readFacts(file); return err }, []struct{ name, file, want string }{
			{"nothing in it", "{}", "node and pve are needed"},
			{"a field that is misspelt", `{"node": "a", "pve": "9.1", "pols": []}`, `unknown field "pols" (did you mean "pools"?)`},
			{"text for a number", `{"node": "a", "pve": "9.1", "cores": "4"}`, "cores is a JSON string; wanted a whole number"},
			{"an object for a list", `{"node": "a", "pve": "9.1", "pools": {}}`, "pools is a JSON object; wanted a list"},
			{"a size that overflows", `{"node": "a", "pve": "9.1", "memory": 1e300}`, "memory"},
			{"a list for all", `[]`, "the file is a JSON array; wanted an object"},
		}},
	} {
		t.Run(f.name, func(t *testing.T) {
			count := 0
			for _, c := range append(anywhere[:len(anywhere):len(anywhere)], f.more...) {
				if f.name == "option values" && !strings.HasPrefix(strings.TrimSpace(c.file), "{") && strings.Contains(c.want, "JSON") {
					continue
				}
				count++
				t.Run(c.name, func(t *testing.T) {
					file := filepath.Join(t.TempDir(), "tengil", "config.json")
					if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(file, []byte(c.file), 0o600); err != nil {
						t.Fatal(err)
					}
					err := f.read(file)
					got := strings.ReplaceAll(text(err), file, "FILE")
					if !strings.HasPrefix(got, "FILE") || !strings.Contains(got, c.want) {
						t.Errorf("error is %q, want one of the file that holds %q", got, c.want)
					}
					if len(got) > 500 || !utf8.ValidString(got) || strings.ContainsAny(got, "\x00\x1b") {
						t.Errorf("error is not for people: %.600q", got)
					}
				})
			}
			t.Logf("%d cases", count)
		})
	}
}

// readConfig reads the file as the configuration of a session.
func readConfig(file string) error {
	s := &session{getenv: func(name string) string {
		if name == "XDG_CONFIG_HOME" {
			return filepath.Dir(filepath.Dir(file))
		}
		return ""
	}}
	_, err := s.config()
	return err
}

func FuzzInputFile(f *testing.F) {
	for _, s := range []string{`{"default": "a", "hosts": {"a": {"address": "x", "limits": {"starts": 1}}}}`, "a=1\n# b\n", `{"node": "a", "pve": "9", "pools": [{"size": 1}]}`, "[[{", `{"a": "\u0000"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if checkText(data) != nil {
			return
		}
		var c config
		_ = decodeInput(data, &c)
		values, err := parseValuesFile(data)
		if err != nil && !strings.ContainsRune("0123456789", rune(err.Error()[0])) {
			t.Errorf("the error has no place: %v", err)
		}
		for key := range values {
			if key == "" && !strings.HasPrefix(strings.TrimSpace(string(data)), "{") {
				t.Errorf("an option without a name: %q", values)
			}
		}
	})
}
