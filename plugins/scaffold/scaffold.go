// Package scaffold writes the beginning of a plugin, in Go or in Python, which builds
// and passes the conformance suite as it is.
package scaffold

import (
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Its plugins are also parts of tengil, and tested with it.
//
//go:embed registry-hello/main.go registry-hello/main_test.go registry-python.py
var files embed.FS

// Languages are those that a plugin can be begun in.
var Languages = []string{"go", "python"}

const goMod = `module %s

go 1.26.0
`

// Write makes the folder dir and in it a plugin of that name, whose scheme is the name
// without a leading "registry-". It returns the files and the commands that build and
// test the plugin. A folder that has something in it is refused.
func Write(dir, name, language string) (made, commands []string, err error) {
	scheme := strings.TrimPrefix(name, "registry-")
	read := func(file string) string {
		data, readErr := files.ReadFile(file)
		if readErr != nil {
			panic(readErr) // it is embedded right above
		}
		return string(data)
	}
	var all map[string]string
	switch language {
	case "go":
		own := strings.NewReplacer("registry-hello", name, "hello://", scheme+"://", `Scheme: "hello"`, fmt.Sprintf("Scheme: %q", scheme))
		all = map[string]string{
			"main.go":      own.Replace(read("registry-hello/main.go")),
			"main_test.go": own.Replace(read("registry-hello/main_test.go")),
			"go.mod":       fmt.Sprintf(goMod, name),
		}
		commands = []string{"cd " + dir, "go mod tidy", "go build", "tg plugins test ./" + name}
	case "python":
		own := strings.NewReplacer("registry-python", name, "python://", scheme+"://", `scheme="python"`, fmt.Sprintf("scheme=%q", scheme))
		all = map[string]string{name: own.Replace(read("registry-python.py"))}
		commands = []string{"cd " + dir, "tg plugins test ./" + name}
	default:
		return nil, nil, fmt.Errorf("language is %q; wanted %s", language, strings.Join(Languages, " or "))
	}
	if there, err := os.ReadDir(dir); err == nil && len(there) > 0 {
		return nil, nil, fmt.Errorf("%s has something in it: %w", dir, fs.ErrExist)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, nil, err
	}
	for _, file := range slices.Sorted(maps.Keys(all)) {
		perm := fs.FileMode(0o644)
		if file == name {
			perm = 0o755
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(all[file]), perm); err != nil {
			return nil, nil, err
		}
		made = append(made, filepath.Join(dir, file))
	}
	return made, commands, nil
}
