package lab

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// pveshTask changes something. A task's output comes first, then its id; that it
// failed is said on standard error, and the exit status is 0 all the same.
func (c *guestCall) pveshTask(verb string, parts []string) error {
	run, task, err := c.taskOf(verb, parts)
	if err != nil {
		return err
	}
	err = run(c)
	if !task {
		return err
	}
	var die *cliError
	switch {
	case err == nil:
	case !c.worked:
		return err
	case errors.As(err, &die):
		fmt.Fprint(c.stderr, die.text)
	default:
		return err
	}
	upid := c.task.upid
	if strings.HasPrefix(c.opts["output-format"], "json") {
		upid = strconv.Quote(upid)
	}
	fmt.Fprintln(c.stdout, upid)
	return nil
}

// taskOf returns what a path does and whether it is a task.
func (c *guestCall) taskOf(verb string, parts []string) (run func(*guestCall) error, task bool, err error) {
	if len(parts) < 3 || parts[0] != "nodes" || parts[2] != "lxc" {
		return nil, false, noHandler(verb, parts)
	}
	id := c.opts["vmid"]
	if len(parts) > 3 {
		id = parts[3]
	}
	if err := c.placeID(id); err != nil {
		return nil, false, err
	}
	switch verb + " " + strings.Join(parts[min(4, len(parts)):], "/") {
	case "create ":
		c.args["ostemplate"] = c.opts["ostemplate"]
		maps.DeleteFunc(c.opts, func(k, _ string) bool {
			return slices.Contains([]string{"vmid", "ostemplate", "output-format"}, k)
		})
		return pctCreate, true, nil
	case "delete ":
		return pctDestroy, true, nil
	case "set config":
		delete(c.opts, "output-format")
		return pctSet, false, nil
	case "create status/start":
		return pctStart, true, nil
	case "create status/stop":
		return pctStop, true, nil
	case "create status/shutdown":
		return pctShutdown, true, nil
	case "create status/reboot":
		return pctReboot, true, nil
	}
	return nil, false, noHandler(verb, parts)
}
