package sshhost

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tengil/tengil/engine"
)

const (
	// maxAnswer is how much all answers of a Batch may hold together.
	maxAnswer = 64 << 20
	// maxParallel is how many commands of a Batch run at once on the node.
	maxParallel = 8
)

// Batch implements engine.Host. Commands run side by side, with no input; files
// are read meanwhile, many by one process. All answers together may have 64 MiB.
// For an AskFile, what is not a regular file is an error; a glob leaves it out, as
// it does with names that start with a dot.
func (h *Host) Batch(ctx context.Context, asks []engine.Ask) (*engine.Answers, error) {
	q := newQuestions(asks)
	if len(q.asked) == 0 {
		return engine.NewAnswers(q.refused), nil
	}
	m := newMark()
	reply, err := h.sendBatch(ctx, m, q.script())
	if err != nil {
		return nil, err
	}
	return q.answers(m, reply)
}

// sendBatch runs a script of any length. A long one goes over standard input,
// because it is too long for an argument.
func (h *Host) sendBatch(ctx context.Context, m mark, script string) ([]byte, error) {
	ctx, cancel := h.within(ctx)
	defer cancel()
	j := job{name: "batch", body: script, mark: m}
	if len(script) > maxScript/2 {
		j.body = "script=$(cat)\neval \"$script\" </dev/null"
		j.stdin = strings.NewReader(script)
	}
	var answer bounded
	j.stdout = &answer
	r, err := h.do(ctx, j)
	if err != nil {
		return nil, h.overdue(ctx, err)
	}
	if r.status != 0 {
		return nil, fmt.Errorf("batch on %s: exit status %d: %s", h.name, r.status, strings.TrimSpace(string(r.stderr)))
	}
	return answer.b, nil
}

// questions are the asks of one Batch, each once, sorted out by how they are
// answered. The indexes of runs and globs stand in the script and in the reply.
type questions struct {
	asked   []engine.Ask
	runs    []engine.Ask
	files   []engine.Ask
	globs   []engine.Ask
	quoted  map[string]string        // by Key
	refused map[string]engine.Answer // by Key; what could not be asked
}

func newQuestions(asks []engine.Ask) *questions {
	q := &questions{quoted: map[string]string{}, refused: map[string]engine.Answer{}}
	for _, a := range engine.NewAnswers(nil).Missing(asks) {
		list, text, err := &q.runs, "", error(nil)
		switch {
		case a.File() != "":
			list = &q.files
			text, err = quotePath(a.File())
		case a.Glob() != "":
			list = &q.globs
			text, err = quoteGlob(a.Glob())
		default:
			text, err = quote(a.Argv())
		}
		if err != nil {
			q.refused[a.Key()] = engine.Answer{Err: err}
			continue
		}
		q.quoted[a.Key()] = text
		*list = append(*list, a)
		q.asked = append(q.asked, a)
	}
	return q
}

// batchLib are the functions that a batch is written with. Records of the reply
// begin with the mark and a letter:
//
//	g INDEX   the files that follow are of this glob
//	c         the files that follow are outputs of commands
//	m r       names, each ended by NUL: missing, not regular
//	n         names of files and of the separator, in the order of what follows
//	d         the separator: content of the next file
//	k x       the files since n were all read; they were not, and follow one by one
//	o STATUS  name; then two d: content, and what head said
//
// Contents are sent without their length, because neither sysfs nor a file that
// is being replaced has the length that stat tells. They are read with head, which
// takes a quarter of the time of cat, as it collects small files in one buffer.
//
// What send is given is kept in $f1, $f2 …, as adding to "$@" would copy all of it
// each time.
const batchLib = `printf '%sd\n' "$m" >"$d/sep" || exit
run() {
	i=$1
	shift
	( exec "$@" ) >"$d/$i.o" 2>"$d/$i.e" </dev/null
	echo $? >"$d/$i.s"
}
tell() {
	printf '%s%s\n' "$m" "$1"
	shift
	printf '%s\0' "$@"
}
send() {
	tell n "$@"
	if head -qc "$max" "$@" 2>/dev/null; then
		printf '%sk\n' "$m"
		return
	fi
	printf '%sx\n' "$m"
	for f in "$@"; do
		[ "$f" != "$d/sep" ] || continue
		head -qc "$max" "$f" >"$d/one" 2>"$d/why"
		tell "o $?" "$f"
		cat "$d/sep" "$d/one" "$d/sep" "$d/why"
	done
}
files() {
	why=$1 c=0 args=
	shift
	for f; do
		if [ -f "$f" ]; then
			c=$((c+1))
			eval "f$c=\$f"
			args="$args \"\$d/sep\" \"\$f$c\""
			if [ "$c" -ge 200 ]; then
				eval "send $args"
				c=0 args=
			fi
		elif [ "$why" ]; then
			# It may have been made since: then it was missing.
			if [ -e "$f" ] && [ ! -f "$f" ]; then tell r "$f"; else tell m "$f"; fi
		fi
	done
	[ "$c" -eq 0 ] || eval "send $args"
}
`

// script returns the shell text that answers q. Each worker runs every eighth
// command, as POSIX shells cannot wait for whichever job ends first.
func (q *questions) script() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%sd=$(%smktemp -d 2>/dev/null || mktemp -d /run/tg.XXXXXXXX) || exit\n", stay, ignore)
	b.WriteString(onPipe(`rm -rf "$d"`))
	fmt.Fprintf(&b, "max=%d\n%s", maxAnswer+1, batchLib)
	for w := range min(maxParallel, len(q.runs)) {
		b.WriteString("{\n")
		for i := w; i < len(q.runs); i += maxParallel {
			fmt.Fprintf(&b, "run %d %s\n", i, q.quoted[q.runs[i].Key()])
		}
		b.WriteString("} &\n")
	}
	if len(q.files) > 0 {
		b.WriteString("files why")
		for _, a := range q.files {
			b.WriteString(" " + q.quoted[a.Key()])
		}
		b.WriteString("\n")
	}
	for i, a := range q.globs {
		fmt.Fprintf(&b, "printf '%%sg %d\\n' \"$m\"\nfiles '' %s\n", i, q.quoted[a.Key()])
	}
	if len(q.runs) > 0 {
		b.WriteString("wait\nprintf '%sc\\n' \"$m\"\nfiles why")
		for i := range q.runs {
			fmt.Fprintf(&b, ` "$d/%d.o" "$d/%d.e" "$d/%d.s"`, i, i, i)
		}
		b.WriteString("\n")
	}
	b.WriteString(ignore + "rm -rf \"$d\"\nexit 0\n")
	return b.String()
}

var errTooLarge = errors.New("answer too large")

// bounded keeps what is written to it, or fails.
type bounded struct{ b []byte }

func (w *bounded) Write(p []byte) (int, error) {
	if len(w.b)+len(p) > maxAnswer {
		return 0, fmt.Errorf("%w: wanted at most %d MiB", errTooLarge, maxAnswer>>20)
	}
	w.b = append(w.b, p...)
	return len(p), nil
}
