package launch

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/plugins/registryv1"
)

// A process is a plugin that runs.
type process struct {
	child  *child
	client *plugin.Client
	api    registryv1.RegistryClient
	dir    string // its own: the copy that runs, and its socket
}

// start verifies the plugin and starts it.
func (p *Plugin) start(ctx context.Context) (_ *process, err error) {
	env, err := environ(p.info, p.env, p.o.Getenv)
	if err != nil {
		return nil, err
	}
	proc := &process{}
	if proc.dir, err = os.MkdirTemp(tempDir(), "tg-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, proc.stop())
		}
	}()
	file := filepath.Join(proc.dir, filepath.Base(p.file))
	sum, err := copyFile(p.file, file)
	if err != nil {
		return nil, err
	}
	if p.sum != "" {
		if err := changed(p.name, sum, p.sum); err != nil {
			return nil, err
		}
	}
	cert, mine, err := certificate()
	if err != nil {
		return nil, err
	}
	proc.child = newChild(
		&exec.Cmd{Path: file, Args: []string{p.name}, Dir: proc.dir, Env: append(env, "PLUGIN_CLIENT_CERT="+string(mine))},
		func(level, text string) { p.o.Log(Line{p.name, level, engine.Shown(text, maxLine)}) },
	)
	synced := &lineWriter{to: proc.child.print}
	proc.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  plugin.HandshakeConfig{MagicCookieKey: registryv1.CookieKey, MagicCookieValue: registryv1.CookieValue},
		VersionedPlugins: map[int]plugin.PluginSet{registryv1.Version: {}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		RunnerFunc: func(_ hclog.Logger, with *exec.Cmd, _ string) (runner.Runner, error) {
			proc.child.cmd.Env = append(proc.child.cmd.Env, with.Env...)
			return proc.child, nil
		},
		// What AutoMTLS does, but on P-256: the certificates that it makes are on P-521,
		// which gRPC in Python before 1.60 refuses.
		TLSConfig:        &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, ServerName: "localhost"},
		SkipHostEnv:      true,
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: proc.dir},
		StartTimeout:     p.o.Start + time.Hour, // the deadline below decides
		Logger:           hclog.NewNullLogger(),
		SyncStdout:       synced,
		SyncStderr:       synced,
		GRPCDialOptions:  []grpc.DialOption{grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(engine.MaxManifest + 64<<10))},
	})
	ctx, done := p.o.Deadline(ctx, p.o.Start, &engine.TimeoutError{After: p.o.Start})
	defer done()
	defer context.AfterFunc(ctx, func() { _ = proc.child.Kill(ctx) })()
	err = proc.connect()
	switch refused := proc.child.refusal(); {
	case err == nil:
		// It is in memory; what runs cannot be changed any more.
		_ = os.Remove(file)
		return proc, nil
	case engine.TimedOut(ctx):
		return nil, fmt.Errorf("it has not started in %s%s", p.o.Start, proc.child.printed())
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(refused, errSilent) && proc.waits(grace) || errors.Is(err, errGone):
		how, _ := proc.child.ended()
		return nil, fmt.Errorf("it ended at its start, %s%s", how, proc.child.printed())
	case refused != nil:
		return nil, refused
	}
	return nil, fmt.Errorf("%w%s", err, proc.child.printed())
}

// errGone is a plugin that ended between its handshake and the first answer.
var errGone = errors.New("gone")

// connect waits for the handshake and for the first answer.
func (proc *process) connect() error {
	c, err := proc.client.Client()
	if err != nil {
		return err
	}
	if err := c.Ping(); err != nil {
		if proc.waits(time.Second) {
			return errGone
		}
		return fmt.Errorf("it cannot be talked to after its handshake: %s", statusText(err))
	}
	g, ok := c.(*plugin.GRPCClient)
	if !ok {
		return errors.New("it does not speak gRPC")
	}
	proc.api = registryv1.NewRegistryClient(g.Conn)
	return nil
}

// waits reports whether the process ends within d.
func (proc *process) waits(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-proc.child.exited:
		return true
	case <-t.C:
		return false
	}
}

// grace is how long a plugin may take to end when its standard input has.
const grace = 2 * time.Second

// stop ends the process, and waits until it has ended.
func (proc *process) stop() error {
	if proc.child != nil && proc.child.stdin != nil {
		_ = proc.child.stdin.Close()
		if !proc.waits(grace) {
			_ = proc.child.Kill(context.Background())
			<-proc.child.exited
		}
	}
	if proc.client != nil {
		proc.client.Kill()
	}
	return os.RemoveAll(proc.dir)
}

// kill ends a process that does not answer.
func (proc *process) kill() error {
	_ = proc.child.Kill(context.Background())
	<-proc.child.exited
	return proc.stop()
}

// certificate makes a certificate for one run, as go-plugin does.
func certificate() (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "localhost", Organization: []string{"tengil"}},
		DNSNames:     []string{"localhost"},
		NotBefore:    now.Add(-time.Minute), NotAfter: now.Add(30 * 24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyAgreement | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// A lineWriter hands on whole lines.
type lineWriter struct {
	to   func(string)
	mu   sync.Mutex
	rest []byte
}

var _ io.Writer = (*lineWriter)(nil)

// Write implements io.Writer.
func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for rest := append(w.rest, p...); ; {
		line, after, ok := bytes.Cut(rest, []byte("\n"))
		if !ok && len(rest) < maxLine {
			w.rest = rest
			return len(p), nil
		}
		w.to(strings.TrimSuffix(string(line), "\r"))
		rest = after
	}
}
