package sshhost

import (
	"errors"
	"fmt"
	"strings"
)

// errNUL: no program can be given a NUL byte, which ends a string in C.
var errNUL = errors.New("holds a NUL byte")

// quote returns argv as words of a POSIX shell that expand to exactly argv. It
// refuses what cannot arrive unchanged, and a program name that is empty or
// could be taken for an option.
func quote(argv []string) (string, error) {
	if len(argv) == 0 || argv[0] == "" {
		return "", errors.New("no program to run")
	}
	if strings.HasPrefix(argv[0], "-") {
		return "", fmt.Errorf("program name %q starts with a dash", argv[0])
	}
	words := make([]string, len(argv))
	for i, arg := range argv {
		if strings.ContainsRune(arg, 0) {
			return "", fmt.Errorf("argument %d of %q: %w", i, argv[0], errNUL)
		}
		words[i] = word(arg)
	}
	return strings.Join(words, " "), nil
}

// word quotes one string that holds no NUL. The quotes are closed between CR and
// LF, because shells that take scripts with CRLF drop that CR even inside quotes.
func word(s string) string {
	s = strings.ReplaceAll(s, "'", `'\''`)
	s = strings.ReplaceAll(s, "\r\n", "\r''\n")
	return "'" + s + "'"
}

// quotePath quotes an absolute path.
func quotePath(name string) (string, error) {
	if !strings.HasPrefix(name, "/") {
		return "", fmt.Errorf("path %q is not absolute", name)
	}
	if strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("path %q: %w", name, errNUL)
	}
	return word(name), nil
}

// quoteGlob quotes an absolute pattern in which * alone is special.
func quoteGlob(pattern string) (string, error) {
	if _, err := quotePath(pattern); err != nil {
		return "", err
	}
	parts := strings.Split(pattern, "*")
	for i, p := range parts {
		if p != "" {
			parts[i] = word(p)
		}
	}
	return strings.Join(parts, "*"), nil
}
