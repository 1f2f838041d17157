package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// A versionInfo says what tg was built from.
type versionInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Changed bool   `json:"changed,omitempty"` // the tree had changes that were not committed
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func (s *session) versionCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of tg",
		Args:  exactly(),
		RunE:  func(*cobra.Command, []string) error { return s.version() },
	}
}

// version prints the version of tg.
func (s *session) version() error {
	v := readVersion()
	if s.json() {
		return s.term.JSON(v)
	}
	s.printf("tg %s %s/%s %s%s\n", v.Version, v.OS, v.Arch, v.Go, commitOf(v))
	return nil
}

func commitOf(v versionInfo) string {
	switch {
	case v.Commit == "":
		return ""
	case v.Changed:
		return " (" + v.Commit + ", changed)"
	}
	return " (" + v.Commit + ")"
}

// readVersion reads what the Go toolchain wrote into the program.
func readVersion() versionInfo {
	v := versionInfo{Version: "(devel)", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, set := range info.Settings {
		switch set.Key {
		case "vcs.revision":
			v.Commit = set.Value[:min(12, len(set.Value))]
		case "vcs.modified":
			v.Changed = set.Value == "true"
		}
	}
	return v
}
