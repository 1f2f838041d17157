package launch

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/plugins/registryv1"
)

// A child is a plugin's process for go-plugin (runner.Runner), which sees of its
// standard output nothing but the line of the handshake.
type child struct {
	cmd   *exec.Cmd
	log   func(level, text string)
	stdin io.Closer // ends with tg, however that ends

	line     *io.PipeReader // the handshake
	lineTo   *io.PipeWriter
	drained  sync.WaitGroup // what it prints is read to its end
	exited   chan struct{}  // closed when it has ended and exit is set
	exit     error
	mu       sync.Mutex
	refused  error    // why its handshake is none
	last     []string // what it printed last
	lastSize int
	told     int // lines that were logged
	begun    bool
	killed   bool
}

func newChild(cmd *exec.Cmd, log func(level, text string)) *child {
	r := &child{cmd: cmd, log: log, exited: make(chan struct{})}
	r.line, r.lineTo = io.Pipe()
	return r
}

// Start implements runner.Runner.
func (r *child) Start(context.Context) error {
	var files []*os.File
	pipe := func() (*os.File, *os.File, error) {
		from, to, err := os.Pipe()
		files = append(files, from, to)
		return from, to, err
	}
	in, stdin, err1 := pipe()
	stdout, out, err2 := pipe()
	stderr, errOut, err3 := pipe()
	err := errors.Join(err1, err2, err3)
	if err == nil {
		r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = in, out, errOut
		alone(r.cmd)
		err = r.begin()
	}
	if err != nil {
		for _, f := range files {
			_ = f.Close()
		}
		close(r.exited)
		_ = r.lineTo.Close()
		return err
	}
	for _, f := range []*os.File{in, out, errOut} {
		_ = f.Close()
	}
	r.stdin = stdin
	r.drained.Go(func() { r.readOut(stdout) })
	r.drained.Go(func() { r.readErr(stderr) })
	go func() {
		err := r.cmd.Wait()
		// What it has started and left may hold the pipes open.
		soon := time.Now().Add(time.Second)
		_ = stdout.SetReadDeadline(soon)
		_ = stderr.SetReadDeadline(soon)
		r.drained.Wait()
		_ = stdin.Close()
		r.exit = err
		close(r.exited)
	}()
	return nil
}

// begin starts the program, unless Kill came first.
func (r *child) begin() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.killed {
		return errors.New("it was ended before it had begun")
	}
	err := start(r.cmd)
	r.begun = err == nil
	return err
}

// start starts a program that has just been written. Another process that is being
// started at this moment may have inherited the open file, for an instant.
func start(cmd *exec.Cmd) error {
	for try := 0; ; try++ {
		err := cmd.Start()
		if !errors.Is(err, syscall.ETXTBSY) || try == 50 {
			return err
		}
		time.Sleep(5 * time.Millisecond)
		*cmd = exec.Cmd{Path: cmd.Path, Args: cmd.Args, Env: cmd.Env, Dir: cmd.Dir,
			Stdin: cmd.Stdin, Stdout: cmd.Stdout, Stderr: cmd.Stderr, SysProcAttr: cmd.SysProcAttr}
	}
}

const (
	maxGarbage = 64 << 10 // printed before the handshake
	maxLine    = 16 << 10 // more of a line is cut off
	maxLog     = 2000     // lines that become events
	maxLast    = 2000     // bytes kept of what it printed last
)

// lines calls each with every line of f until the end.
func lines(f *os.File, each func(string)) {
	defer f.Close()
	b := bufio.NewReaderSize(f, maxLine)
	for cut := false; ; {
		line, more, err := b.ReadLine()
		if err != nil {
			return
		}
		if !cut {
			each(string(line))
		}
		cut = more
	}
}

// readOut looks for the handshake in what it prints; all else is its log.
func (r *child) readOut(f *os.File) {
	defer r.lineTo.Close() // so that what is refused is told by then
	garbage, done := 0, false
	lines(f, func(line string) {
		switch {
		case done:
			r.print(line)
		case handshakeBegins(line):
			done = true
			if err := checkHandshake(line); err != nil {
				r.refuse(err)
			} else {
				_, _ = io.WriteString(r.lineTo, line+"\n")
			}
			_ = r.lineTo.Close()
		default:
			r.print(line)
			if garbage += len(line) + 1; garbage > maxGarbage {
				done = true
				r.refuse(fmt.Errorf("it printed %d bytes that are no handshake, beginning with %q", garbage, engine.Shown(r.first(), 80)))
				_ = r.lineTo.Close()
			}
		}
	})
	if !done {
		r.refuse(errSilent)
	}
}

// errSilent is the refusal of a program that closes its standard output, mostly as it
// ends, without a handshake.
var errSilent = errors.New("it closed its standard output without a handshake")

func handshakeBegins(line string) bool {
	core, rest, ok := strings.Cut(strings.TrimSpace(line), "|")
	version, _, ok2 := strings.Cut(rest, "|")
	return ok && ok2 && isNumber(core) && isNumber(version)
}

func isNumber(s string) bool { _, err := strconv.Atoi(s); return err == nil }

// checkHandshake refuses what go-plugin would explain to its developers only.
func checkHandshake(line string) error {
	parts := strings.Split(strings.TrimSpace(line), "|")
	switch {
	case parts[0] != "1":
		return fmt.Errorf("its handshake has version %s; wanted 1", engine.Shown(parts[0], 20))
	case parts[1] != strconv.Itoa(registryv1.Version):
		return engine.WithHint(fmt.Errorf("it speaks version %s of the protocol of registries; this tg speaks version %d", engine.Shown(parts[1], 20), registryv1.Version),
			"use a version of the plugin, or of tg, that fits")
	case len(parts) < 5 || parts[4] != "grpc":
		return errors.New("it does not speak gRPC")
	case len(parts) < 6 || len(parts[5]) < 50:
		return errors.New("its handshake has no certificate; it must make one when PLUGIN_CLIENT_CERT is set")
	}
	return nil
}

// readErr reads what it logs: lines in the manner of go-hclog, or plain text.
func (r *child) readErr(f *os.File) {
	lines(f, func(line string) {
		var entry struct {
			Level   string `json:"@level"`
			Message string `json:"@message"`
		}
		if strings.HasPrefix(line, "{") && json.Unmarshal([]byte(line), &entry) == nil && entry.Message != "" {
			r.say(entry.Level, entry.Message)
			return
		}
		r.print(line)
	})
}

func (r *child) print(line string) { r.say("", line) }

// say logs a line, and keeps it for the error that may follow.
func (r *child) say(level, line string) {
	switch told := r.keep(line); {
	case told < maxLog:
		r.log(level, line)
	case told == maxLog:
		r.log("warn", "what it prints from here on is left out")
	}
}

// keep returns how many lines were kept before.
func (r *child) keep(line string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told++
	r.last = append(r.last, line[:min(len(line), maxLast)])
	for r.lastSize += min(len(line), maxLast); r.lastSize > maxLast && len(r.last) > 1; r.last = r.last[1:] {
		r.lastSize -= len(r.last[0])
	}
	return r.told - 1
}

func (r *child) first() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last[0]
}

// printed returns what it printed last, indented for an error.
func (r *child) printed() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := slices.DeleteFunc(slices.Clone(r.last), func(s string) bool { return strings.TrimSpace(s) == "" })
	if len(lines) == 0 {
		return ""
	}
	return ": " + strings.Join(lines, "\n    ")
}

func (r *child) refuse(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = err
}

func (r *child) refusal() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused
}

// ended reports how the process ended; ok is false if it has not.
func (r *child) ended() (string, bool) {
	select {
	case <-r.exited:
		if r.exit == nil {
			return "exit status 0", true
		}
		return r.exit.Error(), true
	default:
		return "", false
	}
}

// Stdout implements runner.Runner.
func (r *child) Stdout() io.ReadCloser { return r.line }

// Stderr implements runner.Runner: the log is read here.
func (r *child) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Wait implements runner.Runner.
func (r *child) Wait(context.Context) error {
	<-r.exited
	return r.exit
}

// Kill implements runner.Runner.
func (r *child) Kill(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.killed = true
	if _, over := r.ended(); r.begun && !over {
		kill(r.cmd.Process)
	}
	return nil
}

// Name implements runner.Runner.
func (r *child) Name() string { return r.cmd.Path }

// ID implements runner.Runner.
func (r *child) ID() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.begun {
		return ""
	}
	return strconv.Itoa(r.cmd.Process.Pid)
}

// Diagnose implements runner.Runner; what it would say is found out here.
func (r *child) Diagnose(context.Context) string { return "" }

// PluginToHost implements runner.Runner. A plugin listens here and nowhere else.
func (r *child) PluginToHost(network, address string) (string, string, error) {
	switch {
	case network == "unix":
		return network, address, nil
	case network == "tcp" && (strings.HasPrefix(address, "127.0.0.1:") || strings.HasPrefix(address, "[::1]:")):
		return network, address, nil
	}
	return "", "", fmt.Errorf("it listens at %q, %q; wanted a unix socket or a port of 127.0.0.1", engine.Shown(network, 20), engine.Shown(address, 100))
}

// HostToPlugin implements runner.Runner.
func (r *child) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
