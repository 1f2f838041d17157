package lab_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tengil/tengil/engine/lab/labtest"
	"golang.org/x/crypto/ssh"

	"github.com/tengil/tengil/engine/lab"
)

// openLab starts a fresh lab that ends with the test.
func openLab(t *testing.T, o lab.Options) *lab.Lab {
	t.Helper()
	if o.Dir == "" {
		o.Dir = labtest.TempDir(t)
	}
	l, err := lab.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return l
}

// dial connects as a client that trusts the endpoint's host key and no other.
func dial(t *testing.T, e lab.Endpoint) *ssh.Client {
	t.Helper()
	data, err := os.ReadFile(e.ClientKey)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParsePrivateKey(data)
	if err != nil {
		t.Fatal(err)
	}
	host, _, _, _, err := ssh.ParseAuthorizedKey([]byte(e.HostKey))
	if err != nil {
		t.Fatal(err)
	}
	c, err := ssh.Dial("tcp", e.Addr, &ssh.ClientConfig{
		User: e.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.FixedHostKey(host),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// A said is what a command printed and how it ended.
type said struct {
	Out, Err string
	Exit     int
}

// run runs a command line in a session of its own.
func run(t *testing.T, c *ssh.Client, command, stdin string) said {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var out, errs bytes.Buffer
	s.Stdin, s.Stdout, s.Stderr = strings.NewReader(stdin), &out, &errs
	err = s.Run(command)
	got := said{Out: out.String(), Err: errs.String()}
	var exit *ssh.ExitError
	switch {
	case errors.As(err, &exit):
		got.Exit = exit.ExitStatus()
	case err != nil:
		t.Fatalf("%s: %v", command, err)
	}
	return got
}

// do runs argv on the node without a session.
func do(t *testing.T, l *lab.Lab, argv ...string) said {
	t.Helper()
	var out, errs bytes.Buffer
	exit := l.Exec(t.Context(), argv, nil, &out, &errs)
	return said{out.String(), errs.String(), exit}
}

// must is do for a command that has to succeed.
func must(t *testing.T, l *lab.Lab, argv ...string) string {
	t.Helper()
	got := do(t, l, argv...)
	if got.Exit != 0 {
		t.Fatalf("%q: exit %d: %s%s", argv, got.Exit, got.Out, got.Err)
	}
	return got.Out
}

// quote quotes a word for a POSIX shell.
func quote(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

func TestShellRunsWhatIsSent(t *testing.T) {
	c := dial(t, openLab(t, lab.Options{}).Endpoint())
	for _, tc := range []struct {
		name, command, stdin string
		want                 said
	}{
		{name: "a program prints and succeeds", command: "uname -n", want: said{Out: "pve\n"}},
		{name: "an exit status comes back", command: "exit 7", want: said{Exit: 7}},
		{name: "an unknown program is not found", command: "frobnicate", want: said{Err: "bash: line 1: frobnicate: command not found\n", Exit: 127}},
		{name: "an unknown program of sh is not found", command: "sh -c frobnicate", want: said{Err: "sh: 1: frobnicate: not found\n", Exit: 127}},
		{name: "standard input arrives", command: "cat", stdin: "one\ntwo\n", want: said{Out: "one\ntwo\n"}},
		{name: "streams are kept apart", command: "echo out; echo err >&2", want: said{Out: "out\n", Err: "err\n"}},
		{name: "a missing file is said as bash says it", command: "cat < /nope", want: said{Err: "bash: line 1: /nope: No such file or directory\n", Exit: 1}},
		{name: "files are written, read, appended to", command: "echo a > /tmp/x; echo b >> /tmp/x; cat /tmp/x", want: said{Out: "a\nb\n"}},
		{name: "cd changes where relative names lead", command: "cd /etc && cat hostname", want: said{Out: "pve\n"}},
		{name: "home is root's", command: `echo "$HOME"; pwd`, want: said{Out: "/root\n/root\n"}},
		{name: "globs see the node's files", command: "echo /sys/class/net/*/bridge/bridge_id", want: said{Out: "/sys/class/net/vmbr0/bridge/bridge_id\n"}},
		{name: "a glob that matches nothing stays", command: "echo /no/*", want: said{Out: "/no/*\n"}},
		{name: "jobs run in the background", command: "f() { echo bg; }; f > /tmp/y & wait; cat /tmp/y", want: said{Out: "bg\n"}},
		{name: "a trap runs at exit", command: "trap 'echo bye' EXIT; exit 3", want: said{Out: "bye\n", Exit: 3}},
		{name: "pipes connect programs", command: "printf 'a\\nb\\n' | wc -l", want: said{Out: "2\n"}},
		{name: "umask counts for new files", command: "umask 077; : > /tmp/z; stat -c %a /tmp/z", want: said{Out: "600\n"}},
		{name: "/dev/null swallows and gives nothing", command: "echo x > /dev/null; cat /dev/null; stat -c %s /dev/null", want: said{Out: "0\n"}},
		{name: "what is below /proc cannot be written", command: "cp /etc/hostname /proc/meminfo", want: said{Err: "cp: cannot create regular file '/proc/meminfo': Permission denied\n", Exit: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, run(t, c, tc.command, tc.stdin)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.command, diff)
			}
		})
	}
}

func TestArgvArrivesByteForByte(t *testing.T) {
	l := openLab(t, lab.Options{})
	c := dial(t, l.Endpoint())
	for _, word := range []string{"", "a b", "it's", `"$(reboot)"`, "two\nlines", "`x`", `back\slash`, "-n", "*", "ä€", "\t"} {
		before := len(l.Log())
		run(t, c, "true "+quote(word), "")
		log := l.Log()[before:]
		if len(log) == 0 { // true is a builtin of the shell
			run(t, c, "env true "+quote(word), "")
			log = l.Log()[before:]
		}
		if diff := cmp.Diff([]string{"true", word}, log[0].Argv); diff != "" {
			t.Errorf("%q (-want +got):\n%s", word, diff)
		}
	}
}

func TestOnlyTheLabsKeyIsLetIn(t *testing.T) {
	e := openLab(t, lab.Options{}).Endpoint()
	other := openLab(t, lab.Options{}).Endpoint()
	data, err := os.ReadFile(other.ClientKey)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParsePrivateKey(data)
	if err != nil {
		t.Fatal(err)
	}
	_, err = ssh.Dial("tcp", e.Addr, &ssh.ClientConfig{
		User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err == nil || !strings.Contains(err.Error(), "unable to authenticate") {
		t.Errorf("dial with another lab's key: %v", err)
	}
	for _, file := range []string{e.ClientKey, filepath.Join(filepath.Dir(e.ClientKey), "host")} {
		fi, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode().Perm() != 0o600 {
			t.Errorf("mode of %s is %v, want 0600", file, fi.Mode())
		}
	}
}

func TestAConnectionHasTenSessions(t *testing.T) {
	l := openLab(t, lab.Options{})
	c := dial(t, l.Endpoint())
	for range 10 {
		s, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		if err := s.Start("cat"); err != nil {
			t.Fatal(err)
		}
	}
	if got := l.Sessions(); got != 10 {
		t.Errorf("Sessions() = %d, want 10", got)
	}
	if _, err := c.NewSession(); err == nil {
		t.Error("an eleventh session was opened")
	}
	if got := l.Requests(); got != 10 {
		t.Errorf("Requests() = %d, want 10", got)
	}
}

// started begins a command and returns when it has printed its first line.
func started(t *testing.T, c *ssh.Client, command string) *ssh.Session {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(command); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return s
}

// eventually waits until ok, which no event tells.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within ten seconds", what)
		}
	}
}

func TestTheEndOfASessionEndsItsProgram(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(*ssh.Client, *ssh.Session) error
	}{
		{"the channel is closed", func(_ *ssh.Client, s *ssh.Session) error { return s.Close() }},
		{"the connection is lost", func(c *ssh.Client, _ *ssh.Session) error { return c.Close() }},
		{"a signal is sent", func(_ *ssh.Client, s *ssh.Session) error { return s.Signal(ssh.SIGKILL) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := openLab(t, lab.Options{})
			c := dial(t, l.Endpoint())
			s := started(t, c, "echo up; sleep 1000; touch /tmp/after")
			if err := tc.end(c, s); err != nil {
				t.Fatal(err)
			}
			eventually(t, "session ends", func() bool { return l.Sessions() == 0 })
			if got := do(t, l, "stat", "-c", "%n", "/tmp/after"); got.Exit == 0 {
				t.Error("the script ran on after its session had ended")
			}
		})
	}
}

func TestASignalIsToldAsTheReason(t *testing.T) {
	c := dial(t, openLab(t, lab.Options{}).Endpoint())
	s := started(t, c, "echo up; sleep 1000")
	if err := s.Signal(ssh.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var exit *ssh.ExitError
	if err := s.Wait(); !errors.As(err, &exit) || exit.Signal() != "TERM" {
		t.Errorf("wait: %v, want an ExitError of signal TERM", err)
	}
}

func TestALockIsHeldAsLongAsItsSession(t *testing.T) {
	l := openLab(t, lab.Options{})
	holder, other := dial(t, l.Endpoint()), dial(t, l.Endpoint())
	s, err := holder.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("flock -n /run/lock/a cat"); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if got := run(t, other, "flock -n -E 9 /run/lock/a true", ""); got.Exit != 9 {
		t.Errorf("a held lock: %+v, want exit 9", got)
	}
	if err := holder.Close(); err != nil {
		t.Fatal(err)
	}
	if got := run(t, other, "flock -w 10 /run/lock/a echo mine", ""); got.Out != "mine\n" {
		t.Errorf("after the holder's connection was lost: %+v", got)
	}
}

func TestAUnitOutlivesItsSession(t *testing.T) {
	l := openLab(t, lab.Options{})
	c := dial(t, l.Endpoint())
	// The unit waits for a lock that this session holds until it is cut.
	s := started(t, c, "flock /run/go.lock sh -c 'echo up; exec systemd-run --wait --quiet --unit=tengil-a "+
		"--property=StandardOutput=file:/run/a.log -- sh -c \"flock /run/go.lock cat /etc/hostname; exit 3\"'")
	eventually(t, "unit runs", func() bool {
		return must(t, l, "systemctl", "show", "--value", "-p", "ActiveState", "tengil-a") == "active\n"
	})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(); err == nil {
		t.Error("the session of a lost connection ended well")
	}
	eventually(t, "unit ends", func() bool {
		return strings.Contains(must(t, l, "systemctl", "show", "tengil-a", "-p", "ActiveState"), "failed")
	})
	got := must(t, l, "systemctl", "show", "tengil-a.service", "-p", "ActiveState,Result,ExecMainStatus,MainPID,SubState")
	want := "MainPID=0\nResult=exit-code\nExecMainStatus=3\nActiveState=failed\nSubState=failed\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("show (-want +got):\n%s", diff)
	}
	if got := must(t, l, "cat", "/run/a.log"); got != "pve\n" {
		t.Errorf("output of the unit is %q", got)
	}
	again := do(t, l, "systemd-run", "--quiet", "--unit=tengil-a", "--", "true")
	wantAgain := said{Err: "Failed to start transient service unit: Unit tengil-a.service was already loaded or has a fragment file.\n", Exit: 1}
	if diff := cmp.Diff(wantAgain, again); diff != "" {
		t.Errorf("the same unit again (-want +got):\n%s", diff)
	}
	must(t, l, "systemctl", "reset-failed", "tengil-a.service")
	if got := must(t, l, "systemctl", "list-units", "--all", "--plain", "--no-legend", "--full", "tengil-*"); got != "" {
		t.Errorf("units after reset-failed: %q", got)
	}
}

func TestAStateIsTakenUpAgain(t *testing.T) {
	dir := t.TempDir()
	l, err := lab.Open(t.Context(), lab.Options{Dir: dir, PVE: "9.1"})
	if err != nil {
		t.Fatal(err)
	}
	first := l.Endpoint()
	must(t, l, "zfs", "create", "-o", "tengil:app=a", "tank/a")
	must(t, l, "cp", "/etc/hostname", "/tank/a/f")
	must(t, l, "chown", "100999:100999", "/tank/a/f")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, ok := lab.Find(dir); ok {
		t.Error("a closed lab was found")
	}
	l = openLab(t, lab.Options{Dir: dir})
	if got := must(t, l, "stat", "-c", "%u %g %a", "/tank/a/f"); got != "100999 100999 644\n" {
		t.Errorf("owner is %q", got)
	}
	if got := must(t, l, "zfs", "get", "-Hp", "-o", "value", "tengil:app", "tank/a"); got != "a\n" {
		t.Errorf("property is %q", got)
	}
	if e := l.Endpoint(); e.HostKey != first.HostKey || e.PVE != "9.1" {
		t.Errorf("endpoint is %+v, was %+v", e, first)
	}
}

func TestOneProcessRunsALab(t *testing.T) {
	dir := t.TempDir()
	l := openLab(t, lab.Options{Dir: dir})
	_, err := lab.Open(t.Context(), lab.Options{Dir: dir})
	var used *lab.InUseError
	if !errors.As(err, &used) || used.Endpoint.Addr != l.Endpoint().Addr {
		t.Errorf("second open: %v, want an InUseError with %s", err, l.Endpoint().Addr)
	}
	if e, ok := lab.Find(dir); !ok || e != l.Endpoint() {
		t.Errorf("Find = %+v, %v, want %+v", e, ok, l.Endpoint())
	}
	if err := lab.Reset(dir); !errors.As(err, &used) {
		t.Errorf("reset of a running lab: %v, want an InUseError", err)
	}
}

func TestResetRemovesOnlyALab(t *testing.T) {
	dir := t.TempDir()
	l, err := lab.Open(t.Context(), lab.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := lab.Reset(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "root")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("root after reset: %v", err)
	}
	other := t.TempDir()
	keep := filepath.Join(other, "root")
	if err := os.WriteFile(keep, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := lab.Reset(other); !errors.Is(err, lab.ErrNoLab) {
		t.Errorf("reset of a directory that is no lab: %v, want %v", err, lab.ErrNoLab)
	}
	if _, err := os.Stat(keep); err != nil {
		t.Errorf("a directory that is no lab was touched: %v", err)
	}
}

func TestFaults(t *testing.T) {
	argv := []string{"zfs", "create", "tank/a"}
	for _, tc := range []struct {
		name  string
		fault lab.Fault
		exit  int
		err   string
		made  bool
	}{
		{"fail before", lab.Fault{Prefix: []string{"zfs", "create"}, Exit: 5, Stderr: "no\n"}, 5, "no\n", false},
		{"fail after", lab.Fault{Prefix: []string{"zfs", "create"}, When: lab.After, Stderr: "no\n"}, 1, "no\n", true},
		{"kill before", lab.Fault{Do: lab.Kill}, 137, "", false},
		{"kill after", lab.Fault{When: lab.After, Do: lab.Kill}, 137, "", true},
		{"the second match", lab.Fault{Prefix: []string{"zfs", "create"}, Nth: 2}, 0, "", true},
		{"another program", lab.Fault{Prefix: []string{"pct"}}, 0, "", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := openLab(t, lab.Options{})
			l.Fault(tc.fault)
			got := do(t, l, argv...)
			if got.Exit != tc.exit || got.Err != tc.err {
				t.Errorf("got %+v, want exit %d and %q", got, tc.exit, tc.err)
			}
			if l.Pending() == 0 && do(t, l, "true").Exit != 0 {
				t.Error("the fault fired twice")
			}
			if made := do(t, l, "zfs", "list", "tank/a").Exit == 0; made != tc.made && l.Pending() == 0 {
				t.Errorf("dataset made: %v, want %v", made, tc.made)
			}
		})
	}
}

func TestACutDropsTheConnectionAndAUnitRunsOn(t *testing.T) {
	l := openLab(t, lab.Options{})
	c := dial(t, l.Endpoint())
	l.Fault(lab.Fault{Prefix: []string{"zfs", "create"}, When: lab.Before, Do: lab.Cut})
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	err = s.Run("systemd-run --wait --collect --quiet --unit=u -- zfs create tank/a")
	var exit *ssh.ExitError
	if err == nil || errors.As(err, &exit) {
		t.Errorf("the session ended with %v, want a lost connection", err)
	}
	eventually(t, "unit ends", func() bool { return do(t, l, "zfs", "list", "tank/a").Exit == 0 })

	c = dial(t, l.Endpoint())
	l.Fault(lab.Fault{Prefix: []string{"zfs", "create"}, When: lab.Before, Do: lab.Cut})
	if s, err = c.NewSession(); err != nil {
		t.Fatal(err)
	}
	if err := s.Run("zfs create tank/b"); err == nil {
		t.Error("the session ended well")
	}
	if do(t, l, "zfs", "list", "tank/b").Exit == 0 {
		t.Error("a program ran on although its session was lost before it began")
	}
}

func TestAHungProgramEndsWithItsContext(t *testing.T) {
	l := openLab(t, lab.Options{})
	l.Fault(lab.Fault{Do: lab.Hang})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if exit := l.Exec(ctx, []string{"uname"}, nil, nil, nil); exit != 137 {
			t.Errorf("exit %d, want 137", exit)
		}
	})
	eventually(t, "hangs", func() bool { return l.Pending() == 0 })
	cancel()
	wg.Wait()
}

func TestTheLogTellsWhatMayChangeTheNode(t *testing.T) {
	l := openLab(t, lab.Options{})
	c := dial(t, l.Endpoint())
	run(t, c, "zfs list; cat /etc/hostname > /tmp/x; zfs create tank/a; echo > /etc/x", "")
	var changing [][]string
	for _, e := range l.Log() {
		if e.Mutating {
			changing = append(changing, e.Argv)
		}
	}
	want := [][]string{{"zfs", "create", "tank/a"}, {">", "/etc/x"}}
	if diff := cmp.Diff(want, changing); diff != "" {
		t.Errorf("mutating (-want +got):\n%s", diff)
	}
	data, err := os.ReadFile(filepath.Join(filepath.Dir(l.Root()), "log"))
	if err != nil {
		t.Fatal(err)
	}
	if got := bytes.Count(data, []byte("\n")); got != len(l.Log()) {
		t.Errorf("the log file has %d lines, Log() %d entries", got, len(l.Log()))
	}
}
