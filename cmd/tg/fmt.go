package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/engine/recipe"
)

func (s *session) fmtCmd() *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use:   "fmt FILE…",
		Short: "Format recipe files",
		Long: `Format recipe files in place, and print the names of those that changed. The file
"-" is standard input, formatted to standard output.`,
		Args: atLeast("FILE"),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"star"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(_ *cobra.Command, args []string) error { return s.fmt(args, check) },
	}
	cmd.Flags().BoolVar(&check, "check", false, "change nothing; end with status 1 if a file would change")
	return cmd
}

// fmt formats each file; one that cannot be formatted does not stop the others.
func (s *session) fmt(files []string, check bool) error {
	var errs []error
	changed := []string{}
	if s.json() && slices.Contains(files, "-") {
		return usagef("standard input is formatted to standard output, which --output json takes for itself")
	}
	for _, name := range files {
		if name == "-" {
			errs = append(errs, s.fmtStdin())
			continue
		}
		did, err := fmtFile(name, check)
		if err != nil {
			errs = append(errs, err)
		}
		if did {
			changed = append(changed, name)
			if !s.json() {
				s.printf("%s\n", name)
			}
		}
	}
	if s.json() {
		errs = append(errs, s.term.JSON(struct {
			Changed []string `json:"changed"`
		}{changed}))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if check && len(changed) > 0 {
		return statusError(exitFailed)
	}
	return nil
}

func (s *session) fmtStdin() error {
	src, err := io.ReadAll(s.term.In)
	if err != nil {
		return err
	}
	out, err := recipe.Format("standard input", src)
	if err != nil {
		return err
	}
	_, err = s.term.RawOut().Write(out)
	return err
}

// fmtFile formats a file and reports whether it was not formatted yet.
func fmtFile(name string, check bool) (changed bool, err error) {
	src, err := os.ReadFile(name)
	if err != nil {
		return false, err
	}
	out, err := recipe.Format(name, src)
	if err != nil || bytes.Equal(src, out) || check {
		return err == nil && !bytes.Equal(src, out), err
	}
	return true, replaceFile(name, out)
}

// replaceFile writes a file in one step and keeps its permissions.
func replaceFile(name string, data []byte) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".tg-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(info.Mode().Perm()), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %q: %w", name, err), os.Remove(f.Name()))
	}
	return nil
}
