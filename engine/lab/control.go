package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// A Health says how the application in a container is doing. The zero value is
// healthy. It tells probes alone: the container runs either way, except a dying one.
type Health struct {
	State HealthState `json:"state"`
	// Probes is how many looks at the application find nothing that listens,
	// from each start of the container. It counts with Slow.
	Probes int `json:"probes,omitempty"`
}

// A HealthState is one of the constants below.
type HealthState string

// The states of an application.
const (
	Healthy   HealthState = "healthy"   // ports accept, HTTP answers 200, probe commands succeed
	Unhealthy HealthState = "unhealthy" // ports accept, HTTP answers 503, probe commands fail
	Slow      HealthState = "slow"      // nothing listens at first; then healthy
	Dying     HealthState = "dying"     // PID 1 ends right after each start
)

// SetHealth says how the application in a container is doing, from now on and
// after restarts. The container is named by host name, which holds for whatever
// has it then, or by id, which holds until that is destroyed; it need not exist
// yet. One that runs and is Dying ends at once.
func (l *Lab) SetHealth(guest string, h Health) error {
	if err := h.Check(); err != nil {
		return err
	}
	return l.node.setHealth(guest, h)
}

// Check says what is wrong with a Health.
func (h Health) Check() error {
	switch h.State {
	case "", Healthy, Unhealthy, Slow, Dying:
	default:
		return fmt.Errorf("health is %q; wanted %q, %q, %q or %q", h.State, Healthy, Slow, Unhealthy, Dying)
	}
	if h.Probes < 0 {
		return fmt.Errorf("%d probes; wanted 0 or more", h.Probes)
	}
	return nil
}

// HealthProgram is a program that no real node has: it does what SetHealth does,
// for those who reach the lab over SSH.
const HealthProgram = "lab-health"

// Argv returns the call of HealthProgram that sets the health of a container.
func (h Health) Argv(guest string) []string {
	return []string{HealthProgram, guest, string(h.State), strconv.Itoa(h.Probes)}
}

// healthProgram is lab-health GUEST STATE PROBES.
func healthProgram(p *proc) int {
	if len(p.argv) != 4 {
		return p.failf(2, "usage: %s GUEST STATE PROBES", HealthProgram)
	}
	probes, err := strconv.Atoi(p.argv[3])
	h := Health{State: HealthState(p.argv[2]), Probes: probes}
	if err == nil {
		err = h.Check()
	}
	if err == nil {
		err = p.node.setHealth(p.argv[1], h)
	}
	if err != nil {
		return p.failf(1, "%s: %v", HealthProgram, err)
	}
	return 0
}

// healthFile keeps what SetHealth was told, by id or host name.
func (n *node) healthFile() string { return filepath.Join(n.dir, "health.json") }

// changeHealth changes what is kept.
func (n *node) changeHealth(change func(all map[string]Health)) error {
	n.settings.Lock()
	defer n.settings.Unlock()
	all, err := n.readHealth()
	if err != nil {
		return err
	}
	change(all)
	data, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return replaceFile(n.healthFile(), data, 0o600)
}

// forgetHealth drops what was said of an id, which another container may get.
func (n *node) forgetHealth(id int) {
	key := strconv.Itoa(id)
	all, err := n.readHealth()
	if _, set := all[key]; err == nil && set {
		err = n.changeHealth(func(all map[string]Health) { delete(all, key) })
	}
	if err != nil {
		n.log.Error("forget health", "ct", id, "err", err)
	}
}

func (n *node) setHealth(guest string, h Health) error {
	if err := n.changeHealth(func(all map[string]Health) { all[guest] = h }); err != nil {
		return fmt.Errorf("set health of %q: %w", guest, err)
	}
	for _, id := range n.guestIDs() {
		if g := n.guest(id); g.Running && (strconv.Itoa(id) == guest || g.Hostname == guest) {
			if h.State == Dying {
				n.endGuest(id)
				continue
			}
			n.changeGuest(id, func(g *guestState) { g.Probes = 0 })
		}
	}
	return nil
}

func (n *node) readHealth() (map[string]Health, error) {
	all := map[string]Health{}
	data, err := os.ReadFile(n.healthFile())
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &all)
	}
	return all, err
}

// health returns how a container's application is doing.
func (n *node) health(id int, hostname string) Health {
	all, err := n.readHealth()
	if err != nil {
		n.log.Error("read health", "err", err)
	}
	if h, ok := all[strconv.Itoa(id)]; ok {
		return h
	}
	return all[hostname]
}

// What a probe of an application finds.
var (
	errNotListening = errors.New("connection refused")
	errIll          = errors.New("application is not healthy")
)

// probe looks once at the application in a container.
func (n *node) probe(id int) error {
	g := n.guest(id)
	if g.Running {
		n.mu.Lock()
		now := n.state.Guests.edit(id)
		now.Probes++ // saved when something else is
		g = *now
		n.mu.Unlock()
	}
	h := n.health(id, g.Hostname)
	switch {
	case !g.Running || h.State == Dying:
		return errNotListening
	case h.State == Slow && g.Probes <= h.Probes:
		return errNotListening
	case h.State == Unhealthy:
		return errIll
	}
	return nil
}
