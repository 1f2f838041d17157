package lab

import (
	"bytes"
	"context"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A replayer replays a transcript on a node.
type replayer struct {
	*node
	t     *testing.T
	tr    transcript
	notes stepNotes
	runs  map[int]*stepRun // steps that were begun
	set   map[string]bool  // numbers that commands name
	// digests are the digests of the lab's images by those of the captured ones,
	// as they became known.
	digests map[string]string
}

// A stepRun is a step at work.
type stepRun struct {
	cut       context.CancelFunc // drops its session
	done      chan struct{}
	exit      int
	out, errs lossyBuffer
	pid       int
}

func newReplayer(t *testing.T, tr transcript, notes stepNotes) *replayer {
	return &replayer{node: capturedNode(t, tr), t: t, tr: tr, notes: notes, runs: map[int]*stepRun{}, set: numbersOf(tr), digests: map[string]string{}}
}

// close ends what the transcript left running.
func (r *replayer) close() {
	for _, run := range r.runs {
		run.cut()
		<-run.done
	}
	r.life.finish()
	r.background.Wait()
}

func (r *replayer) note(i int) stepNote {
	if n := r.notes[i]; n != nil {
		return *n
	}
	return stepNote{}
}

// step comes to a step, and returns the steps that have ended with it: itself
// unless others run beside it, and those that were to run until then.
func (r *replayer) step(i int) (ended []int) {
	r.prepare(i)
	for j := i + 1; j < len(r.tr.Steps); j++ {
		if n := r.notes[j]; n != nil && n.from == i && i > 0 {
			r.begin(j)
		}
	}
	r.begin(i)
	if r.note(i).until == 0 {
		r.end(i)
		ended = append(ended, i)
	}
	for j := range i {
		if n := r.notes[j]; n != nil && n.until == i && i > 0 {
			r.end(j)
			ended = append(ended, j)
		}
	}
	synctest.Wait() // for units that they left behind
	return ended
}

// prepare does what happened before a step.
func (r *replayer) prepare(i int) {
	note := r.note(i)
	time.Sleep(note.wait)
	for _, script := range note.before {
		var out bytes.Buffer
		if exit := r.exec(r.t.Context(), []string{"sh", "-c", script}, rootEnv(), rootHome, eofReader{}, &out, &out); exit != 0 {
			r.t.Fatalf("%s: before step %d: %q: exit %d: %s", r.tr.name, i, script, exit, out.String())
		}
	}
	if note.hold != "" {
		release, err := r.lock(r.t.Context(), note.hold, 0)
		if err != nil {
			r.t.Fatal(err)
		}
		time.AfterFunc(time.Second, release)
	}
}

// end waits until a step has ended.
func (r *replayer) end(i int) {
	if r.tr.Steps[i].Exit == nil {
		r.drop(i)
	}
	<-r.runs[i].done
}

// begin starts a step, unless it was, and lets it go as far as it gets without
// waiting for anything.
func (r *replayer) begin(i int) *stepRun {
	if run := r.runs[i]; run != nil {
		return run
	}
	s, note := r.tr.Steps[i], r.note(i)
	ctx, cut := context.WithCancel(r.t.Context())
	run := &stepRun{cut: cut, done: make(chan struct{})}
	r.runs[i] = run
	beside := note.from > 0 || note.until > 0
	if beside || s.Exit == nil {
		r.slow(s)
	}
	stdin := ""
	if s.Stdin != nil {
		stdin = *s.Stdin
	}
	argv := make([]string, len(s.Argv))
	for k, a := range s.Argv {
		argv[k] = r.translate(a)
	}
	ctx = withPID(ctx, func(pid int) { run.pid = pid })
	go func() {
		defer close(run.done)
		exit, ours := r.helper(argv)
		if note.skip {
			exit, ours = -1, true
		}
		if !ours {
			exit = r.exec(ctx, argv, rootEnv(), rootHome, strings.NewReader(stdin), &run.out, &run.errs)
		}
		run.exit = exit
	}()
	if beside || s.Exit == nil {
		synctest.Wait()
	}
	return run
}

// slow makes the work of a step that others run beside take as long as theirs.
func (r *replayer) slow(s transcriptStep) {
	pause := 5 * time.Second
	if s.Exit == nil {
		pause = 2 * time.Duration(s.Millis) * time.Millisecond
	}
	text := strings.Join(s.Argv, " ")
	r.faults.add(Fault{
		Match: func(argv []string) bool { return argv[0] == "pct" && strings.Contains(text, strings.Join(argv, " ")) },
		When:  During, Do: Pause, For: pause,
	})
}

// drop drops the session of a step after the time at which the captured one was
// dropped.
func (r *replayer) drop(i int) {
	time.Sleep(time.Duration(r.tr.Steps[i].Millis) * time.Millisecond)
	if r.note(i).dies {
		for _, row := range r.pids.all() {
			if strings.HasPrefix(row.args, "task ") {
				r.pids.find(row.pid).signal(syscall.SIGKILL)
			}
		}
	}
	run := r.runs[i]
	run.out.close()
	run.errs.close()
	run.cut()
}

// A lossyBuffer keeps what is written until it is closed.
type lossyBuffer struct {
	mu     sync.Mutex
	b      strings.Builder
	closed bool
}

func (l *lossyBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.b.Write(b)
	}
	return len(b), nil
}

func (l *lossyBuffer) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

func (l *lossyBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// translate puts the lab's node and the numbers of its processes in the place of
// the captured ones.
func (r *replayer) translate(arg string) string {
	arg = r.renamed(arg)
	for captured, here := range r.digests {
		arg = strings.ReplaceAll(arg, captured, here)
	}
	for i, note := range r.notes {
		if run := r.runs[i]; note.pid != "" && run != nil {
			arg = regexp.MustCompile(`\b`+note.pid+`\b`).ReplaceAllString(arg, strconv.Itoa(run.pid))
		}
	}
	return arg
}

// diff compares a step that has ended with the captured one.
func (r *replayer) diff(i int) string {
	s, run := r.tr.Steps[i], r.runs[i]
	stable := func(text string) string {
		text = r.stable(s, text, r.set)
		for _, re := range r.note(i).ignore {
			text = re.ReplaceAllString(text, "")
		}
		return text
	}
	here, captured := strings.TrimSpace(run.out.String()), strings.TrimSpace(s.Stdout)
	if isDigest(here) && isDigest(captured) {
		r.digests[captured] = here
	}
	got := outcome{run.exit, stable(run.out.String()), stable(run.errs.String())}
	want := outcome{run.exit, stable(s.Stdout), stable(s.Stderr)}
	if s.Exit != nil {
		want.Exit = *s.Exit
	} else if strings.HasPrefix(got.Stdout, want.Stdout) {
		got.Stdout = want.Stdout // more of it was still under way
	}
	switch {
	case want.Exit < 0: // by a signal
		want.Exit = 128 - want.Exit
	case anyFailure(s.Argv) && want.Exit != 0 && got.Exit != 0:
		got.Exit = want.Exit
	}
	return cmp.Diff(want, got)
}

// anyFailure reports whether a program's exit status of a failure says nothing:
// what pct and its like return is what errno happens to be.
func anyFailure(argv []string) bool {
	switch argv[0] {
	case "pct", "pvesh", "pvesm":
		return len(argv) < 2 || argv[1] != "exec"
	}
	return false
}

// helper runs the one script of the transcripts that the node's shell has not the
// programs for: it puts lines in the place of the environment.
func (r *replayer) helper(argv []string) (exit int, ours bool) {
	env, ok := strings.CutPrefix(argv[min(1, len(argv)-1)], "NEWENV=")
	if !ok || argv[0] != "env" {
		return 0, false
	}
	file := r.guestDir() + "/" + argv[len(argv)-1] + ".conf"
	data, err := r.readFile(file)
	if err == nil {
		text := regexp.MustCompile(`(?m)^lxc\.environment\.runtime:.*\n`).ReplaceAllString(string(data), "")
		err = r.writeFile(file, []byte(text+env), 0o640)
	}
	if err != nil {
		return 1, true
	}
	return 0, true
}
