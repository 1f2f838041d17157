package lab

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// realSkopeo runs the machine's skopeo in the machine's network, on the node's
// files: what it is told of paths is turned into paths of the machine, and back in
// what it prints.
func realSkopeo(p *proc) int {
	n := p.node
	argv := []string{"skopeo"}
	for flag, name := range map[string]string{"--policy": "policy.json", "--registries-conf": "registries.conf"} {
		if at := n.host("/etc/containers/" + name); exists(at) {
			argv = append(argv, flag, at)
		}
	}
	argv = append(argv, n.skopeoArgs(p.argv[1:])...)
	// The namespace is the first file beside the streams.
	cmd := exec.CommandContext(p.ctx, "nsenter", append([]string{"--net=/proc/self/fd/3", "--"}, argv...)...)
	cmd.ExtraFiles = []*os.File{n.lxc.Network}
	cmd.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + n.host(rootHome), "TMPDIR=" + n.host("/var/tmp"),
		"XDG_RUNTIME_DIR=" + n.host("/run"), "LC_ALL=C",
	}
	back := strings.NewReplacer(n.dir+"/root", "")
	out, errs := &lineWriter{to: p.stdout, back: back}, &lineWriter{to: p.stderr, back: back}
	cmd.Stdout, cmd.Stderr = out, errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return p.failf(exitNotFound, "skopeo: %v", err)
	}
	go func() { // ends with the pipe, or when the caller's stdin does
		_, _ = io.Copy(in, p.stdin)
		_ = in.Close()
	}()
	err = errors.Join(cmd.Wait(), out.flush(), errs.flush())
	var exit *exec.ExitError
	switch {
	case p.ctx.Err() != nil:
		return exitKilled
	case errors.As(err, &exit):
		return exit.ExitCode()
	case err != nil:
		return p.failf(1, "skopeo: %v", err)
	}
	return 0
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// skopeoArgs turns the paths in skopeo's arguments into the machine's.
func (n *node) skopeoArgs(args []string) []string {
	out := make([]string, 0, len(args))
	path := false
	for _, a := range args {
		flag, value, inline := strings.Cut(a, "=")
		takes := isSkopeoPath(flag)
		switch {
		case path:
			a = n.skopeoPath(a)
		case takes && inline:
			a = flag + "=" + n.skopeoPath(value)
		case !strings.HasPrefix(a, "-"):
			a = n.skopeoImage(a)
		}
		path = takes && !inline
		out = append(out, a)
	}
	return out
}

// isSkopeoPath reports whether a flag of skopeo takes a path.
func isSkopeoPath(flag string) bool {
	switch strings.TrimPrefix(flag, "--") {
	case "authfile", "src-authfile", "dest-authfile", "policy", "tmpdir", "registries.d", "digestfile", "cert-dir", "src-cert-dir",
		"dest-cert-dir", "shared-blob-dir", "src-shared-blob-dir", "dest-shared-blob-dir":
		return strings.HasPrefix(flag, "--")
	}
	return false
}

func (n *node) skopeoPath(name string) string {
	at, err := n.real(absolute(rootHome, name))
	if err != nil {
		return n.host(name)
	}
	return at
}

// skopeoImage turns the path in the name of an image on the node's disk.
func (n *node) skopeoImage(name string) string {
	for _, transport := range []string{"oci-archive:", "oci:", "docker-archive:", "dir:"} {
		rest, ok := strings.CutPrefix(name, transport)
		if !ok {
			continue
		}
		file, ref, tagged := strings.Cut(rest, ":")
		file = n.skopeoPath(file)
		if tagged {
			file += ":" + ref
		}
		return transport + file
	}
	return name
}

// A lineWriter hands lines on with paths of the machine turned back.
type lineWriter struct {
	to   io.Writer
	back *strings.Replacer
	rest []byte
}

func (w *lineWriter) Write(b []byte) (int, error) {
	w.rest = append(w.rest, b...)
	i := bytes.LastIndexByte(w.rest, '\n') + 1
	if i == 0 {
		return len(b), nil
	}
	_, err := io.WriteString(w.to, w.back.Replace(string(w.rest[:i])))
	w.rest = append([]byte(nil), w.rest[i:]...)
	return len(b), err
}

// flush hands on what has no end of line.
func (w *lineWriter) flush() error {
	_, err := io.WriteString(w.to, w.back.Replace(string(w.rest)))
	w.rest = nil
	return err
}

// copyFiles copies a tree with owners, modes and all else that a snapshot keeps.
func copyFiles(to, from string) error {
	out, err := exec.CommandContext(context.Background(), "cp", "-a", "--reflink=auto", from+"/.", to).CombinedOutput()
	if err != nil {
		return errors.Join(err, errors.New(string(out)))
	}
	return nil
}
