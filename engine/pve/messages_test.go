package pve

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"github.com/tengil/tengil/engine"
)

func sentinels() map[string]error {
	return map[string]error{
		"ErrNoSuchCT": ErrNoSuchCT, "ErrExists": ErrExists, "ErrLockTimeout": ErrLockTimeout, "ErrRunning": ErrRunning,
		"ErrNotRunning": ErrNotRunning, "ErrNoQuorum": ErrNoQuorum, "ErrNotFound": ErrNotFound, "ErrOSUnknown": ErrOSUnknown,
		"ErrRegistry": ErrRegistry, "ErrDenied": ErrDenied, "ErrBusy": ErrBusy, "ErrNoSpace": ErrNoSpace, "ErrChanged": ErrChanged,
		"ErrProtected": ErrProtected, "ErrDataset": ErrDataset, "ErrStart": ErrStart, "ErrStop": ErrStop,
		"ErrInterrupted": ErrInterrupted, "ErrArchive": ErrArchive, "ErrUnpack": ErrUnpack,
		"ErrNoPasswd": ErrNoPasswd, "ErrVolumeFile": ErrVolumeFile, "ErrDigest": ErrDigest, "ErrNoBlob": ErrNoBlob, "ErrLocked": ErrLocked,
		"ErrReadOnly": ErrReadOnly, "ErrTooMany": ErrTooMany, "ErrManifest": ErrManifest,
	}
}

func checkMeaning(t *testing.T, text string, err error, means string) {
	t.Helper()
	for name, sentinel := range sentinels() {
		if got, want := errors.Is(err, sentinel), name == means || means == "ErrTooMany" && name == "ErrRegistry"; got != want {
			t.Errorf("%q: is %s: %v, want %v", text, name, got, want)
		}
	}
	transient := means == "ErrLockTimeout" || means == "ErrRegistry" || means == "ErrTooMany"
	if got := errors.Is(err, engine.ErrTransient); got != transient {
		t.Errorf("%q: is transient: %v, want %v", text, got, transient)
	}
}

func TestExplainCapturedMessages(t *testing.T) {
	type message struct {
		Command, Stderr, Means string
		Exit                   int
	}
	for _, m := range captured[message](t, "messages.json") {
		exit := &engine.ExitError{Argv: []string{m.Command}, Exit: m.Exit, Stderr: []byte(m.Stderr)}
		err := Explain(fmt.Errorf("apply: %w", exit))
		checkMeaning(t, m.Stderr, err, m.Means)
		if got, want := err.Error(), "apply: "+exit.Error(); got != want {
			t.Errorf("text is %q, want %q", got, want)
		}
		var back *engine.ExitError
		if !errors.As(err, &back) || back != exit {
			t.Errorf("%q: the *engine.ExitError is gone", m.Stderr)
		}
	}
}

// Written from the sources of pve-cluster, pve-storage, ZFS and containers/image.
func TestClassifyMessagesFromTheSources(t *testing.T) {
	for _, c := range []struct{ stderr, means string }{
		{"cluster not ready - no quorum?\n", "ErrNoQuorum"},
		{"unable to create CT 101 - error with cfs lock 'storage-nas': got lock request timeout\n", "ErrLockTimeout"},
		{"unable to create CT 101 - Error while extracting OCI image: IO error: No space left on device (os error 28)\n", "ErrNoSpace"},
		{"cannot create 'tank/a': out of space\n", "ErrNoSpace"},
		{`time="t" level=fatal msg="reading manifest latest in docker.io/library/x: toomanyrequests: You have reached your pull rate limit"`, "ErrTooMany"},
		{`time="t" level=fatal msg="reading manifest v1 in ghcr.io/a/b: error parsing HTTP 429 response body: unexpected end of JSON input: \"\""`, "ErrTooMany"},
		{`time="t" level=fatal msg="reading manifest v1 in ghcr.io/a/b: error parsing HTTP 403 response body: invalid character '<' looking for beginning of value"`, "ErrDenied"},
		{`time="t" level=fatal msg="Error parsing manifest for image: unexpected end of JSON input"`, "ErrManifest"},
		{`time="t" level=fatal msg="fetching target platform image: received unexpected HTTP status: 503 Service Unavailable"`, "ErrRegistry"},
		{`time="t" level=fatal msg="reading blob sha256:00: Get \"https://cdn/\": net/http: TLS handshake timeout"`, "ErrRegistry"},
		{`time="t" level=fatal msg="reading manifest v1 in ghcr.io/a/b: unauthorized: authentication required"`, "ErrDenied"},
		{"VM 100 already exists on node 'pve2'\n", "ErrExists"},
		{`time="t" level=fatal msg="writing blob: Digest did not match, expected sha256:00, got sha256:01"`, "ErrDigest"},
		{"cannot create 'tank/a': pool is read-only\n", "ErrReadOnly"},
		{"rm: cannot remove '/srv/f': Read-only file system\n", "ErrReadOnly"},
		{"unable to open file '/etc/pve/nodes/pve/lxc/101.conf.tmp.20383' - Permission denied\n", "ErrNoQuorum"},
		{"mkdir: cannot create directory ‘/etc/pve/priv/tengil/notes’: Permission denied\n", "ErrNoQuorum"},
		{"sh: 1: /srv/f: Permission denied\n", ""},
		{"process unauthorized 500 OK\n", ""},
	} {
		checkMeaning(t, c.stderr, Classify(c.stderr, "", 1), c.means)
	}
}

func TestClassifyLooksAtTheEndOfStandardOutput(t *testing.T) {
	stdout := "CT is locked (x)\n1\n2\n3\n4\nunable to create CT 1 - can't lock file '/x' - got timeout\n"
	checkMeaning(t, stdout, Classify("", stdout, 255), "ErrLockTimeout")
	if err := Classify("CT is locked (backup)", "", 0); err != nil {
		t.Errorf("a command that succeeded is classified as %v", err)
	}
}

func TestLockedErrorNamesTheLock(t *testing.T) {
	err := Explain(&engine.ExitError{Exit: 255, Stderr: []byte("CT is locked (snapshot-delete)\n")})
	var locked *LockedError
	if !errors.As(err, &locked) || locked.Lock != "snapshot-delete" {
		t.Errorf("error is %#v", err)
	}
}

func TestNotFoundIsErrNotExist(t *testing.T) {
	for _, err := range []error{ErrNoSuchCT, ErrNotFound} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v does not wrap fs.ErrNotExist", err)
		}
	}
	plain := errors.New("x")
	if got := Explain(plain); got != plain {
		t.Errorf("another error came back as %v", got)
	}
}

func TestARegistrySaysWhenToComeAgain(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"toomanyrequests: retry-after: 1.5s, allowed: 44000/minute": 1500 * time.Millisecond,
		"toomanyrequests: Retry-After: 249.9µs, allowed: 9/minute":  249900 * time.Nanosecond,
		"toomanyrequests: retry-after: soon":                        0,
		"toomanyrequests: You have reached your pull rate limit":    0,
	} {
		var busy *engine.BusyError
		err := Classify(`level=fatal msg="`+text+`"`, "", 1)
		if !errors.As(err, &busy) || busy.After != want || !errors.Is(err, engine.ErrTransient) || !errors.Is(err, ErrRegistry) {
			t.Errorf("%s: %#v, want %s", text, err, want)
		}
	}
}
