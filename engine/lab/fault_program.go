package lab

import (
	"encoding/json"
	"errors"
	"fmt"
)

// FaultProgram is a program that no real node has: it does what Fault and
// SetCondition do, for those who reach the lab over SSH.
const FaultProgram = "lab-fault"

// Faults are all that is wrong with a node, or will be.
type Faults struct {
	Faults     []Fault     `json:"faults"`
	Conditions []Condition `json:"conditions"`
}

// AddArgv returns the call of FaultProgram that sets a fault, which has no Match.
func (f Fault) AddArgv() ([]string, error) { return faultCall("add", f) }

// SetArgv returns the call of FaultProgram that brings the node into a condition.
func (c Condition) SetArgv() ([]string, error) { return faultCall("set", c) }

// The calls of FaultProgram without further words.
var (
	ListFaultsArgv = []string{FaultProgram, "list"} // it prints Faults as JSON
	// ClearFaultsArgv ends all faults and conditions. The kind of a condition,
	// and what it is on, may follow: that alone ends then.
	ClearFaultsArgv = []string{FaultProgram, "clear"}
	RebootArgv      = []string{FaultProgram, "reboot"} // its session ends, as all others
)

func faultCall(what string, v any) ([]string, error) {
	data, err := json.Marshal(v)
	return []string{FaultProgram, what, string(data)}, err
}

// faultProgram is lab-fault add JSON, set JSON, list, clear [KIND [ON]] or reboot.
func faultProgram(p *proc) int {
	args := append(p.argv[1:], "", "", "")
	var err error
	switch args[0] {
	case "add":
		var f Fault
		if err = json.Unmarshal([]byte(args[1]), &f); err == nil {
			err = f.Check()
		}
		if err == nil {
			p.node.faults.add(f)
		}
	case "set":
		var c Condition
		if err = json.Unmarshal([]byte(args[1]), &c); err == nil {
			err = p.node.setCondition(c)
		}
	case "list":
		err = json.NewEncoder(p.stdout).Encode(Faults{p.node.faults.list(), p.node.troubles.all()})
	case "clear":
		count := 0
		count, err = p.node.clearConditions(ConditionKind(args[1]), args[2])
		switch {
		case err != nil:
		case args[1] == "":
			p.node.faults.clear()
		case count == 0:
			err = fmt.Errorf("there is no %s %s", args[1], args[2])
		}
	case "reboot":
		if p.node.reboot == nil {
			err = errors.New("the lab cannot reboot")
			break
		}
		p.node.reboot() // it ends this program too
		<-p.ctx.Done()
	default:
		err = errors.New("usage: add JSON | set JSON | list | clear [KIND [ON]] | reboot")
	}
	if err != nil {
		return p.failf(1, "%s: %v", FaultProgram, err)
	}
	return 0
}
