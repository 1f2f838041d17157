package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tengil/tengil/engine/pve"
)

// included returns the lines for LXC of a config, with those of the directories that it
// includes (set_config_includefiles in confile.c). A directory that is missing is none;
// of a file the lab knows nothing.
func (n *node) included(raw []pve.KV) ([]pve.KV, error) {
	var out []pve.KV
	for _, kv := range raw {
		if kv.Key != pve.LXCInclude || !strings.HasSuffix(kv.Value, "/") {
			out = append(out, kv)
			continue
		}
		entries, _ := n.readDir(kv.Value)
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), ".conf") {
				continue
			}
			data, err := n.readFile(path.Join(kv.Value, e.Name()))
			if err != nil {
				return nil, err
			}
			for line := range strings.Lines(string(data)) {
				line, _, _ = strings.Cut(strings.TrimSpace(line), "#")
				if key, value, ok := strings.Cut(line, "="); ok {
					out = append(out, pve.KV{Key: strings.TrimSpace(key), Value: strings.TrimSpace(value)})
				}
			}
		}
	}
	return out, nil
}

// A console is what the model of PID 1 prints to, into the file that the container's
// config names; without one it goes nowhere.
type console struct {
	node *node
	file string
	size int64 // 0 is no bound
	keep bool  // one older file
}

// console returns the console of a container.
func (n *node) console(conf *pve.Config) *console {
	c := &console{node: n}
	lines, err := n.included(conf.Raw)
	if err != nil {
		n.log.Error("include", "err", err)
	}
	for _, kv := range lines {
		switch kv.Key {
		case pve.ConsoleLogFile:
			c.file = kv.Value
		case "lxc.console.size":
			c.size, _ = strconv.ParseInt(kv.Value, 10, 64)
		case "lxc.console.rotate":
			c.keep = kv.Value == "1"
		}
	}
	return c
}

// consolePiece is what LXC reads from a console at once (LXC_TERMINAL_BUFFER_SIZE).
const consolePiece = 1024

// Write implements io.Writer; a terminal turns line ends into those of its own.
func (c *console) Write(p []byte) (int, error) {
	if c.file == "" {
		return len(p), nil
	}
	c.node.consoles.Lock()
	defer c.node.consoles.Unlock()
	text := []byte(strings.ReplaceAll(string(p), "\n", "\r\n"))
	for piece := range slices.Chunk(text, consolePiece) {
		if err := c.put(piece); err != nil {
			c.node.log.Error("console", "err", err)
			break // an application does not notice
		}
	}
	return len(p), nil
}

// put appends to the file as lxc_terminal_write_log_file in terminal.c does.
func (c *console) put(p []byte) error {
	f, err := c.open()
	if err != nil {
		return err
	}
	fi, err := f.Stat()
	if left := c.size - sizeOf(fi); err == nil && c.size > 0 && int64(len(p)) > left {
		_, err = f.Write(p[:max(0, left)])
		if p = p[max(0, left):]; err == nil && c.keep {
			err = errors.Join(f.Close(), c.node.rename(c.file, c.file+".1"))
			if err != nil {
				return err
			}
			f, err = c.open()
			if err != nil {
				return err
			}
		} else if err == nil {
			err = f.Truncate(0)
		}
	}
	if err == nil {
		_, err = f.Write(p)
	}
	return errors.Join(err, f.Close())
}

func (c *console) open() (*os.File, error) {
	return c.node.open(c.file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
}

func sizeOf(fi fs.FileInfo) int64 {
	if fi == nil {
		return 0
	}
	return fi.Size()
}

// say prints what a plausible application would.
func (c *console) say(format string, args ...any) {
	fmt.Fprintf(c, "%s %s\n", time.Now().UTC().Format(time.RFC3339), fmt.Sprintf(format, args...))
}

// announce prints what an application says when it starts.
func (m modelDriver) announce(id int, conf *pve.Config, b *boot) {
	c := m.node.console(conf)
	c.say("starting %s", strings.Join(b.argv, " "))
	if m.node.health(id, conf.Get("hostname")).State == Dying {
		c.say("fatal: this application ends right after its start")
		return
	}
	for _, port := range m.node.guest(id).Ports {
		c.say("listening on port %d", port)
	}
}
