package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func unameProgram(p *proc) int {
	o, _, exit, ok := p.options(grammar{names: "a s n r v m o"}, 1)
	if !ok {
		return exit
	}
	if len(o) == 0 {
		o["s"] = []string{""}
	}
	var out []string
	for _, f := range []struct{ name, value string }{
		{"s", "Linux"}, {"n", p.node.name}, {"r", kernelRelease},
		{"v", "#1 SMP PREEMPT_DYNAMIC PMX 6.17.13-2"}, {"m", "x86_64"}, {"o", "GNU/Linux"},
	} {
		if o.has(f.name) || o.has("a") {
			out = append(out, f.value)
		}
	}
	fmt.Fprintln(p.stdout, strings.Join(out, " "))
	return 0
}

func hostnameProgram(p *proc) int {
	switch strings.Join(p.argv[1:], " ") {
	case "", "-s":
		fmt.Fprintln(p.stdout, p.node.name)
	case "-f":
		fmt.Fprintln(p.stdout, p.node.name+".lab.local")
	default:
		return p.failf(1, "hostname: you must be root to change the host name")
	}
	return 0
}

func idProgram(p *proc) int {
	o, names, exit, ok := p.options(grammar{names: "u g n user group name"}, 1)
	one := o.has("u") || o.has("g") || o.has("user") || o.has("group")
	switch {
	case !ok:
		return exit
	case len(names) > 0 && names[0] != "root":
		return p.failf(1, "id: ‘%s’: no such user", names[0])
	case one && (o.has("n") || o.has("name")):
		fmt.Fprintln(p.stdout, "root")
	case one:
		fmt.Fprintln(p.stdout, 0)
	default:
		fmt.Fprintln(p.stdout, "uid=0(root) gid=0(root) groups=0(root)")
	}
	return 0
}

// cores is how many processors the node has.
const cores = 8

func nprocProgram(p *proc) int {
	_, names, exit, ok := p.options(grammar{names: "all"}, 1)
	switch {
	case !ok:
		return exit
	case len(names) > 0:
		return p.failf(1, "nproc: extra operand ‘%s’\nTry 'nproc --help' for more information.", names[0])
	}
	fmt.Fprintln(p.stdout, cores)
	return 0
}

func dateProgram(p *proc) int {
	o, names, exit, ok := p.options(grammar{names: "u utc universal I: iso-8601: d: date:"}, 1)
	if !ok {
		return exit
	}
	at := time.Now().UTC()
	if text := o.last("d") + o.last("date"); text != "" {
		sec, err := strconv.ParseInt(strings.TrimPrefix(text, "@"), 10, 64)
		if err != nil {
			return p.failf(1, "date: invalid date ‘%s’", text)
		}
		at = time.Unix(sec, 0).UTC()
	}
	format := "+%a %b %e %H:%M:%S UTC %Y"
	if o.has("I") || o.has("iso-8601") {
		format = "+%FT%T+00:00"
	}
	if len(names) > 0 {
		format = names[0]
	}
	fmt.Fprintln(p.stdout, strftime(strings.TrimPrefix(format, "+"), at))
	return 0
}

// strftime formats t as strftime(3) does, as far as scripts use it.
func strftime(format string, t time.Time) string {
	layouts := map[byte]string{
		'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'M': "04", 'S': "05", 'F': "2006-01-02", 'T': "15:04:05",
		'y': "06", 'e': "_2", 'a': "Mon", 'b': "Jan", 'z': "-0700", 'Z': "MST", 'j': "002",
	}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		switch c := format[i]; c {
		case 's':
			b.WriteString(strconv.FormatInt(t.Unix(), 10))
		case 'N':
			fmt.Fprintf(&b, "%09d", t.Nanosecond())
		case '%':
			b.WriteByte('%')
		default:
			b.WriteString(t.Format(layouts[c]))
		}
	}
	return b.String()
}

// interval reads how long sleep and timeout are to wait.
func interval(text string) (time.Duration, bool) {
	unit := time.Second
	if i := strings.IndexByte("smhd", (" " + text)[len(text)]); i >= 0 {
		unit = []time.Duration{time.Second, time.Minute, time.Hour, 24 * time.Hour}[i]
		text = text[:len(text)-1]
	}
	if text == "infinity" {
		text, unit = "1", 100*365*24*time.Hour
	}
	n, err := strconv.ParseFloat(text, 64)
	return time.Duration(n * float64(unit)), err == nil && n >= 0
}

// timeoutProgram is timeout DURATION COMMAND...; what runs ends at the signal, so that -k
// is never needed.
func timeoutProgram(p *proc) int {
	const failed, over = 125, 124
	_, args, exit, ok := p.options(grammar{names: "k: kill-after:", inOrder: true}, failed)
	if !ok {
		return exit
	}
	if len(args) < 2 {
		return p.failf(failed, "timeout: missing operand\nTry 'timeout --help' for more information.")
	}
	most, ok := interval(args[0])
	if !ok {
		return p.failf(failed, "timeout: invalid time interval ‘%s’\nTry 'timeout --help' for more information.", args[0])
	}
	ctx, cancel := context.WithTimeout(p.ctx, most)
	defer cancel()
	exit = p.node.exec(ctx, args[1:], p.env, p.dir, p.stdin, p.stdout, p.stderr)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) && p.ctx.Err() == nil {
		return over
	}
	return exit
}

func sleepProgram(p *proc) int {
	var total time.Duration
	for _, a := range p.argv[1:] {
		n, ok := interval(a)
		if !ok {
			return p.failf(1, "sleep: invalid time interval ‘%s’\nTry 'sleep --help' for more information.", a)
		}
		total += n
	}
	if !p.sleep(total) {
		return exitKilled
	}
	return 0
}

// killProgram ends programs: no program of the model catches a signal. Number 0
// is all programs of the session, but not its shells, which go on.
func killProgram(p *proc) int {
	args, sig := p.argv[1:], syscall.SIGTERM
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		name := args[0][1:]
		if name == "s" && len(args) > 1 {
			args = args[1:]
			name = args[0]
		}
		var ok bool
		if sig, ok = signalNamed(name); !ok {
			return p.failf(1, "bash: kill: %s: invalid signal specification", name)
		}
		args = args[1:]
	}
	exit := 0
	for _, a := range args {
		pid, err := strconv.Atoi(a)
		if err != nil {
			exit = p.failf(1, "bash: kill: %s: arguments must be process or job IDs", a)
			continue
		}
		targets := []*process{p.node.pids.find(pid)}
		if pid == 0 {
			targets = p.node.pids.inGroup(groupOf(p.ctx), p.pid)
		}
		for _, r := range targets {
			switch {
			case r == nil:
				exit = p.failf(1, "bash: kill: (%d) - No such process", pid)
			case sig != 0:
				r.signal(sig)
			}
		}
	}
	return exit
}

// signalNamed returns the signal of a name or number, as kill takes them.
func signalNamed(name string) (syscall.Signal, bool) {
	if n, err := strconv.Atoi(name); err == nil {
		return syscall.Signal(n), n >= 0 && n <= 64
	}
	sig, ok := map[string]syscall.Signal{
		"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "KILL": syscall.SIGKILL, "TERM": syscall.SIGTERM,
	}[strings.TrimPrefix(name, "SIG")]
	return sig, ok
}

// envProgram is env [-i] [K=V]... [COMMAND].
func envProgram(p *proc) int {
	args, env := p.argv[1:], p.env
	for len(args) > 0 {
		switch {
		case args[0] == "-i" || args[0] == "-":
			env = nil
		case strings.HasPrefix(args[0], "-"):
			return p.failf(125, "env: invalid option -- '%s'", args[0][1:])
		case strings.Contains(args[0], "="):
			env = append(env[:len(env):len(env)], args[0])
		default:
			return p.node.exec(p.ctx, args, env, p.dir, p.stdin, p.stdout, p.stderr)
		}
		args = args[1:]
	}
	for _, kv := range env {
		fmt.Fprintln(p.stdout, kv)
	}
	return 0
}

// setsidProgram is setsid and nohup, whose program outlives the session.
func setsidProgram(p *proc) int {
	names := "" // of nohup
	if path.Base(p.argv[0]) == "setsid" {
		names = "w wait"
	}
	_, args, exit, ok := p.options(grammar{names: names, inOrder: true}, 1)
	if !ok {
		return exit
	}
	if len(args) == 0 {
		return p.failf(1, "%s: no command specified", path.Base(p.argv[0]))
	}
	done := make(chan int, 1)
	p.node.background.Go(func() {
		done <- p.node.exec(withMask(p.node.life.context(), maskOf(p.ctx)), args, p.env, p.dir, p.stdin, p.stdout, p.stderr)
	})
	select {
	case exit := <-done:
		return exit
	case <-p.ctx.Done():
		return exitKilled
	}
}

// timedatectlProgram is timedatectl show of NTPSynchronized: the lab's clock is
// that of the machine, and right.
func timedatectlProgram(p *proc) int {
	o, names, exit, ok := p.options(grammar{names: "p: property: value"}, 1)
	switch {
	case !ok:
		return exit
	case len(names) != 1 || names[0] != "show" || o.last("p")+o.last("property") != "NTPSynchronized":
		return p.failf(1, "timedatectl: only show -p NTPSynchronized is modelled")
	case o.has("value"):
		fmt.Fprintln(p.stdout, "yes")
	default:
		fmt.Fprintln(p.stdout, "NTPSynchronized=yes")
	}
	return 0
}

// installed returns the version of each package that is installed: what
// /var/lib/dpkg/status says, or without that file what the release has.
func (n *node) installed() map[string]string {
	data, err := n.readFile("/var/lib/dpkg/status")
	if err != nil {
		return n.withServices(maps.Clone(n.packages().packages))
	}
	all := n.withServices(map[string]string{})
	name := ""
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "Package":
			name = value
		case "Version":
			all[name] = value
		}
	}
	return all
}

// withServices adds the packages of services that are installed.
func (n *node) withServices(all map[string]string) map[string]string {
	for _, s := range services() {
		if n.exists(s.binary) {
			all[s.pkg] = s.version
		}
	}
	return all
}

func dpkgProgram(p *proc) int {
	if len(p.argv) == 2 && p.argv[1] == "--print-architecture" {
		fmt.Fprintln(p.stdout, "amd64")
		return 0
	}
	return p.failf(2, "dpkg: error: need an action option")
}

// dpkgQueryProgram is dpkg-query -W [-f FORMAT] PACKAGE...
func dpkgQueryProgram(p *proc) int {
	o, names, _, ok := p.options(grammar{names: "W show f: showformat:"}, 2)
	if !ok {
		return 2
	}
	format := o.last("f") + o.last("showformat")
	if format == "" {
		format = `${Package}\t${Version}\n`
	}
	if !o.has("W") && !o.has("show") {
		return p.failf(2, "dpkg-query: error: need an action option")
	}
	exit := 0
	installed := p.node.installed()
	for _, name := range names {
		version, ok := installed[name]
		if !ok {
			exit = p.failf(1, "dpkg-query: no packages found matching %s", name)
			continue
		}
		fmt.Fprint(p.stdout, strings.NewReplacer(
			"${Package}", name, "${Version}", version, "${binary:Package}", name, "${Architecture}", "amd64",
			"${db:Status-Abbrev}", "ii ", "${Status}", "install ok installed", "${db:Status-Status}", "installed",
			`\n`, "\n", `\t`, "\t",
		).Replace(format))
	}
	return exit
}

func pveversionProgram(p *proc) int {
	all := p.node.packages().packages
	o, names, err := grammar{names: "v verbose"}.parse(p.argv[1:])
	if err != nil || len(names) > 0 {
		return p.failf(255, "USAGE: pveversion [--verbose]")
	}
	if len(o) == 0 {
		fmt.Fprintf(p.stdout, "pve-manager/%s/0e85aecd829f838c (running kernel: %s)\n", all["pve-manager"], kernelRelease)
		return 0
	}
	fmt.Fprintf(p.stdout, "proxmox-ve: %s (running kernel: %s)\npve-manager: %s (running version: %[3]s/0e85aecd829f838c)\n",
		all["proxmox-ve"], kernelRelease, all["pve-manager"])
	for _, name := range []string{"libpve-common-perl", "libpve-storage-perl", "lxc-pve", "lxcfs", "pve-cluster", "pve-container", "pve-ha-manager", "zfsutils-linux"} {
		fmt.Fprintf(p.stdout, "%s: %s\n", name, all[name])
	}
	return 0
}
