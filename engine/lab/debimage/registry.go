package debimage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// RegistryPrograms are what Serve runs.
var RegistryPrograms = []string{"docker-registry", "setsid"}

// servePatience is how long a registry may take until it answers.
const servePatience = 20 * time.Second

// Serve starts Debian's docker-registry on an address of this machine, unless a
// registry answers there. What it holds is kept in dir. It goes on after this
// program; pid is 0 if nothing had to be started.
func Serve(ctx context.Context, addr, dir string) (pid int, err error) {
	if answers(ctx, addr) {
		return 0, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	file := filepath.Join(dir, "config.yml")
	conf := fmt.Sprintf("version: 0.1\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q}\nlog: {level: error, accesslog: {disabled: true}}\n", dir, addr)
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		return 0, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return 0, err
	}
	defer log.Close()
	cmd := exec.Command("setsid", "docker-registry", "serve", file) // so that Ctrl-C does not reach it
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start a registry: %w (apt install docker-registry)", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // it ends with this process at the latest
	ctx, cancel := context.WithTimeout(ctx, servePatience)
	defer cancel()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case err = <-ended:
			err = errors.Join(errors.New("it has ended"), err)
		case <-ctx.Done():
			err = errors.Join(ctx.Err(), cmd.Process.Kill())
		case <-look.C:
			if answers(ctx, addr) {
				return cmd.Process.Pid, nil
			}
			continue
		}
		said, _ := os.ReadFile(log.Name()) // the reason, if it had one to give
		return 0, fmt.Errorf("the registry on %s does not start: %w: %s", addr, err, bytes.TrimSpace(said))
	}
}

// answers reports whether there is a registry that asks for neither TLS nor a
// password.
func answers(ctx context.Context, addr string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/v2/", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
}
