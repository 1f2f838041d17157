package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tengil/tengil/engine/pve"
)

// The model of LXC keeps a log within its bound, as LXC does.
func TestTheModelsConsoleIsBounded(t *testing.T) {
	l := newGuestLab(t)
	name, data := pve.ConsoleConf("/var/lib/tengil/a/logs/b")
	if err := l.node.writeFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	conf := pve.NewConfig()
	conf.Raw = []pve.KV{pve.ConsoleInclude("/var/lib/tengil/a/logs/b")}
	c := l.node.console(conf)
	piece := strings.Repeat(strings.Repeat("0123456789abcde\n", 64), 1024)
	for range 20 {
		if _, err := c.Write([]byte(piece)); err != nil {
			t.Fatal(err)
		}
	}
	log := filepath.Join(l.Root(), pve.ConsoleLog("/var/lib/tengil/a/logs/b"))
	older, err := os.Stat(log + ".1")
	if err != nil || older.Size() != int64(pve.ConsoleLogSize) {
		t.Errorf("the older part: %v, %v; wanted %d bytes", older, err, pve.ConsoleLogSize)
	}
	newer, err := os.Stat(log)
	if err != nil || newer.Size() > int64(pve.ConsoleLogSize) {
		t.Errorf("the newer part: %v, %v; wanted at most %d bytes", newer, err, pve.ConsoleLogSize)
	}
}
