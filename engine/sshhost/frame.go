package sshhost

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
)

// A mark is what no program prints: see the package comment.
type mark string

func newMark() mark {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, crypto/rand
	return mark("\x1etg" + hex.EncodeToString(b[:]))
}

// The records that a mark introduces; each ends its line.
func (m mark) start() string { return string(m) + "s\n" }
func (m mark) exit() string  { return string(m) + "e " }
func (m mark) end() string   { return string(m) + "z\n" }

// define is the shell line that puts the mark in $m, in two halves.
func (m mark) define() string {
	half := len(m) / 2
	return "m='" + string(m[:half]) + "'; m=$m'" + string(m[half:]) + "'\n"
}

// watch is the first part of a frame; see the package comment. Protocol on
// standard input, by line: a length and that many bytes; 0, the input is
// complete; ok, leave. When the second part is gone, writing to it fails, and
// there is nothing left to signal.
const watch = `{
trap '' TERM
while read -r n; do
	case $n in
	ok) exit 0 ;;
	0) echo 0 || exit 0 ;;
	*) { echo "$n" && head -c "$n"; } || exit 0 ;;
	esac
done
kill -TERM 0
`

// again ends watch where there is input: a program that was being started at the
// first signal surely gets the second.
const again = `sleep 1
kill -TERM 0
`

// feed writes the input that watch passes on, without its lengths. Whatever ends
// it but the mark of a complete input, it does not close its output: tail stays in
// its place for as long as anybody can read there (it looks for that since
// coreutils 8.28).
const feed = `trap "exec tail -f /dev/null" EXIT
while read -r n && [ "$n" != 0 ]; do head -c "$n" || exit; done
[ "$n" != 0 ] || trap - EXIT
`

// stay lets a shell go on after SIGTERM, to clean up and report; its children get
// the signal all the same. $k tells that it came. (The lab's shell has no such traps,
// and ends with its channel.)
const stay = "k=; trap k=1 TERM 2>/dev/null\n"

// ignore keeps a shell and what it starts from SIGTERM.
const ignore = "trap '' TERM 2>/dev/null\n"

// onPipe cleans up when the shell itself writes to a connection that is gone: what a
// program died of, or why the script gives up.
func onPipe(cleanUp string) string {
	return "trap " + word(cleanUp+"; exit 141") + " PIPE 2>/dev/null\n"
}

// frame returns the script that runs body, any shell text, and then after, whose
// standard error is told apart from that of body. $s is the status of body in after.
// Only with input does body have a standard input to speak of.
//
// Body stands right of feed, together with what reports its end, because a
// pipeline waits for all its parts, and feed may wait for input for ever. They
// are a pipeline of their own because the shell of the lab ends a pipe only when all
// that stands left of it has ended. Feed has a session of its own, so that no signal
// for the process group of the program ends it. The
// start mark comes from the subshell of body, which dies of SIGTERM: a client that
// has seen it can cancel, and be sure that what body starts gets the signal too.
func frame(m mark, input bool, body, after string) string {
	var b strings.Builder
	b.WriteString("LC_ALL=C.UTF-8; export LC_ALL\n")
	b.WriteString(m.define())
	b.WriteString(stay)
	b.WriteString(watch)
	if input {
		b.WriteString(again)
	}
	b.WriteString("} 2>/dev/null | {\n" + stay)
	if input {
		b.WriteString("{ setsid sh -c " + word(feed) + " || sleep 0.1; } 2>/dev/null | {\n" + stay)
	}
	b.WriteString("(\nprintf '%ss\\n' \"$m\"; printf '%ss\\n' \"$m\" >&2\n")
	b.WriteString("[ -z \"$k\" ] || exit 143\n" + body + "\n)\n")
	b.WriteString("s=$?\n")
	b.WriteString("printf '%se %s\\n' \"$m\" \"$s\" >&2\n")
	b.WriteString(after)
	b.WriteString("printf '%sz\\n' \"$m\"; printf '%sz\\n' \"$m\" >&2\n")
	if input {
		b.WriteString("}\n")
	}
	b.WriteString("}\n")
	return b.String()
}
