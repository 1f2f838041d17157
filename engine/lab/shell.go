package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// The shells of a node: root's login shell, which sshd starts, and sh.
const (
	shellBash = syntax.LangBash
	shellSh   = syntax.LangPOSIX
)

// A shell is one run of a shell script on the node.
type shell struct {
	node *node
	name string // for messages: bash, sh
	umask

	mu       sync.Mutex
	ended    bool
	programs sync.WaitGroup
}

// shell runs args[0] as a script with the parameters args[1:], $0 first, and
// returns its exit status. All programs of it, also in the background, have
// ended when it returns.
func (n *node) shell(ctx context.Context, lang syntax.LangVariant, args, env []string, dir string,
	stdin io.Reader, stdout, stderr io.Writer) int {
	s := &shell{node: n, name: "bash", umask: umask{mask: maskOf(ctx).get()}}
	if lang == shellSh {
		s.name = "sh"
	}
	script, err := syntax.NewParser(syntax.Variant(lang)).Parse(strings.NewReader(args[0]), "")
	if err != nil {
		fmt.Fprintf(stderr, "%s: -c: %v\n", s.name, err)
		return 2
	}
	params := []string{"--"}
	if len(args) > 2 {
		params = append(params, args[2:]...)
	}
	r, err := interp.New(
		interp.Env(expand.ListEnviron(env...)),
		interp.Params(params...),
		interp.StdIO(stdin, stdout, stderr),
		interp.CallHandler(s.call),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return s.exec }),
		interp.OpenHandler(s.open),
		interp.ReadDirHandler2(s.readDir),
		interp.StatHandler(s.stat),
		interp.AccessHandler(s.access),
	)
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", s.name, err)
		return 2
	}
	r.Dir = dir // set without interp.Dir, which looks for it on the lab's machine
	ctx, end := context.WithCancel(withGroup(withMask(ctx, &s.umask)))
	err = r.Run(ctx, script)
	end()
	s.wait()
	var status interp.ExitStatus
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	case errors.Is(err, context.Canceled):
		return exitKilled
	}
	fmt.Fprintf(stderr, "%s: %v\n", s.name, err)
	return 2
}

// wait waits for programs in the background, whose context has ended.
func (s *shell) wait() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.programs.Wait()
}

// begin counts a program; false when the shell has ended.
func (s *shell) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	s.programs.Add(1)
	return true
}

// call makes programs of the builtins that the interpreter does not have.
func (s *shell) call(_ context.Context, args []string) ([]string, error) {
	switch args[0] {
	case "kill", "umask", "ulimit":
		return append([]string{"/usr/bin/" + args[0]}, args[1:]...), nil
	}
	return args, nil
}

func (s *shell) exec(ctx context.Context, args []string) error {
	hc := interp.HandlerCtx(ctx)
	if !s.begin() {
		return interp.ExitStatus(exitKilled)
	}
	defer s.programs.Done()
	if _, ok := s.node.program(args[0]); !ok {
		s.node.record.add(args, exitNotFound, false)
		if s.name == "sh" {
			fmt.Fprintf(hc.Stderr, "sh: %d: %s: not found\n", hc.Pos.Line(), args[0])
		} else {
			fmt.Fprintf(hc.Stderr, "%s%s: command not found\n", s.at(hc), args[0])
		}
		return interp.ExitStatus(exitNotFound)
	}
	var env []string
	for name, v := range hc.Env.Each {
		if v.Exported && v.Kind == expand.String {
			env = append(env, name+"="+v.Str)
		}
	}
	stdin := hc.Stdin
	if f, ok := stdin.(*os.File); stdin == nil || ok && f == nil {
		stdin = eofReader{}
	}
	if exit := s.node.exec(ctx, args, env, hc.Dir, stdin, hc.Stdout, hc.Stderr); exit != 0 {
		return interp.ExitStatus(exit & 0xff)
	}
	return nil
}

// at begins a message of the shell itself.
func (s *shell) at(hc interp.HandlerContext) string {
	if s.name == "sh" {
		return fmt.Sprintf("sh: %d: ", max(hc.Pos.Line(), 1))
	}
	return fmt.Sprintf("bash: line %d: ", max(hc.Pos.Line(), 1))
}

// said words err as the shell would: the interpreter prints a *fs.PathError as
// "Op Path: Err".
func (s *shell) said(hc interp.HandlerContext, name string, err error) error {
	return &fs.PathError{Op: strings.TrimSuffix(s.at(hc), " "), Path: name, Err: errors.New(strerror(err))}
}

func (s *shell) open(ctx context.Context, name string, flag int, perm fs.FileMode) (io.ReadWriteCloser, error) {
	hc := interp.HandlerCtx(ctx)
	abs := absolute(hc.Dir, name)
	of := Reads
	if flag&(os.O_WRONLY|os.O_RDWR) != 0 {
		of = Writes
		perm = 0o666 &^ s.get()
		s.node.record.add([]string{">", abs}, 0, !scratch(abs))
	}
	_, err := s.node.opens(ctx, of, abs)
	if err != nil {
		return nil, s.said(hc, name, err)
	}
	f, err := s.node.open(abs, flag, perm)
	if err != nil {
		return nil, s.said(hc, name, err)
	}
	if of == Writes && s.node.troubles.any() {
		return s.node.written(f, abs), nil
	}
	return f, nil
}

func (s *shell) readDir(_ context.Context, name string) ([]fs.DirEntry, error) {
	return s.node.readDir(name)
}

func (s *shell) stat(_ context.Context, name string, follow bool) (fs.FileInfo, error) {
	if follow {
		return s.node.stat(name)
	}
	return s.node.lstat(name)
}

// access says yes to root for all that exists, except to run what no one may.
func (s *shell) access(_ context.Context, name string, mode interp.AccessMode) error {
	fi, err := s.node.stat(name)
	if err != nil {
		return err
	}
	if mode&interp.AccessExec != 0 && !fi.IsDir() && fi.Mode()&0o111 == 0 {
		return fs.ErrPermission
	}
	return nil
}

// scratch reports whether a file is of no account for what a node holds.
func scratch(name string) bool {
	return within(name, "/tmp") || within(name, "/dev")
}

// A umask is the file mode creation mask of a shell and the programs it runs.
// The model keeps one for a whole script: a subshell's lasts.
type umask struct {
	mu   sync.Mutex
	mask fs.FileMode
}

func (u *umask) get() fs.FileMode {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.mask
}

type maskKey struct{}

func withMask(ctx context.Context, u *umask) context.Context {
	return context.WithValue(ctx, maskKey{}, u)
}

// maskOf returns the mask of the shell that runs a program; 022 outside a shell.
func maskOf(ctx context.Context) *umask {
	if u, ok := ctx.Value(maskKey{}).(*umask); ok {
		return u
	}
	return &umask{mask: 0o022}
}

// umaskProgram is the builtin umask.
func umaskProgram(p *proc) int {
	u := maskOf(p.ctx)
	if len(p.argv) < 2 {
		fmt.Fprintf(p.stdout, "%04o\n", u.get())
		return 0
	}
	m, err := strconv.ParseUint(p.argv[1], 8, 9)
	if err != nil {
		return p.failf(1, "umask: %s: invalid octal number", p.argv[1])
	}
	u.mu.Lock()
	u.mask = fs.FileMode(m)
	u.mu.Unlock()
	return 0
}

// builtinProgram is a builtin of the shell that is also a program, for those
// that are started without a shell.
func builtinProgram(p *proc) int {
	script := append([]string{path.Base(p.argv[0]) + ` "$@"`}, p.argv...)
	return p.node.shell(p.ctx, shellBash, script, p.env, p.dir, p.stdin, p.stdout, p.stderr)
}

// shProgram is sh and bash with -c.
func shProgram(p *proc) int {
	lang := shellSh
	if p.argv[0] == "bash" || p.argv[0] == "/bin/bash" {
		lang = shellBash
	}
	args := p.argv[1:]
	prefix := ""
	for len(args) > 0 && strings.HasPrefix(args[0], "-") && args[0] != "-c" {
		prefix += "set " + args[0] + "\n"
		args = args[1:]
	}
	if len(args) == 0 || args[0] != "-c" {
		script, err := p.script(args)
		if err != nil {
			return p.failf(exitNotFound, "%s: 0: cannot open %s: No such file", p.argv[0], args[0])
		}
		args = append([]string{"-c", script}, args...)
	}
	if len(args) < 2 {
		return p.failf(2, "%s: 0: -c requires an argument", p.argv[0])
	}
	rest := append([]string{prefix + args[1]}, args[2:]...)
	return p.node.shell(p.ctx, lang, rest, p.env, p.dir, p.stdin, p.stdout, p.stderr)
}

// script returns the script of a sh without -c: a file, or standard input.
func (p *proc) script(args []string) (string, error) {
	if len(args) == 0 || args[0] == "-s" {
		data, err := io.ReadAll(p.stdin)
		return string(data), err
	}
	data, err := p.node.readFile(p.abs(args[0]))
	return string(data), err
}

// wait waits; false means that ctx ended meanwhile.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
