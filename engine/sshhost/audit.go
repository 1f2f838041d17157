package sshhost

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"

	"github.com/tengil/tengil/engine"
)

// auditScript returns the shell text that appends a to the log once $s is known;
// "" for no audit. The directory is root's alone, so that the log is never open
// to others, not even before its mode is set.
func auditScript(log string, a *engine.Audit) (string, error) {
	if a == nil {
		return "", nil
	}
	line, err := auditLine(a)
	if err != nil {
		return "", err
	}
	name, dir := word(log), word(path.Dir(log))
	return "{ [ -d " + dir + " ] || mkdir -p -m 700 " + dir + "\n" +
		"[ -e " + name + " ] || { true >>" + name + " && chmod 600 " + name + "; }\n" +
		"printf '%s%s}\\n' " + word(line) + " \"$s\" >>" + name + "; } >&2 || echo 'append failed' >&2\n", nil
}

// auditLine returns the JSON of a up to the value of exit. JSON has no NUL and no
// newline of its own.
func auditLine(a *engine.Audit) (string, error) {
	b, err := json.Marshal(a)
	if err != nil {
		return "", fmt.Errorf("audit: %w", err)
	}
	return string(bytes.TrimSuffix(b, []byte("}"))) + `,"exit":`, nil
}
