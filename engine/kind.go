package engine

import (
	"fmt"
	"sync"
	"time"
)

// A Kind describes one recipe function that makes a step. Argument checking,
// "did you mean", help, completion and the reference page all come from Params
// and Outputs, so they cannot disagree.
type Kind struct {
	Name    string
	Doc     string // first sentence is the summary
	Example string // a recipe line that works
	Params  []Param
	Outputs []Output
	// Result, if set, names the output that a call evaluates to (secret("x") is a
	// string); otherwise a call evaluates to the step, with Outputs as attributes.
	Result string
	// New checks the values and makes the step's nodes; it does no I/O. An
	// *ArgError blames one parameter.
	New func(Call) (*Made, error)
	// FindAsks and Find tell, without a recipe, what of this kind an app has on a
	// node; both nil for kinds that leave nothing of their own.
	FindAsks func(known *Answers) []Ask
	Find     func(a *Answers) ([]Found, error)
	// Define, in place of New, makes a kind of one that a file of a catalog defines. A
	// Kind that has it is no recipe function itself.
	Define func(Script) Kind
}

// A Constructor describes a recipe function that makes a value, not a
// step: mount, exec_ready, tcp_ready, http_ready.
type Constructor struct {
	Name    string
	Doc     string
	Example string
	Params  []Param
	// New makes what Args.Object returns; it checks values and does no I/O.
	New func(Call) (any, error)
}

// A Type is the type of a parameter.
type Type string

// The types and the Go type that Args holds for each.
const (
	TypeString       Type = "string"         // string; a value known only later is an error
	TypeText         Type = "text"           // Text: may hold values known only later
	TypeInt          Type = "int"            // int64
	TypeBool         Type = "bool"           // bool
	TypeSize         Type = "size"           // Size: "2G", or a number of bytes
	TypeDuration     Type = "duration"       // time.Duration: "30s"
	TypeStrings      Type = "strings"        // []string
	TypeTexts        Type = "texts"          // []Text
	TypeTextMap      Type = "map"            // []Entry of Text, in recipe order
	TypeMap          Type = "any map"        // []Entry of any (string, Text, *Handle, object)
	TypeStep         Type = "step"           // *Handle of one of Param.Of
	TypeSteps        Type = "steps"          // []*Handle
	TypeObject       Type = "object"         // what a Constructor of Param.Of made
	TypeObjects      Type = "objects"        // []any: list of those
	TypeStepOrString Type = "step or string" // *Handle of one of Param.Of, or string
)

// A Param is one parameter of a recipe function.
type Param struct {
	Name     string
	Type     Type
	Required bool
	Position int      // 1, 2, … if it may be given by position; 0 if by name only
	Default  string   // as a reader writes it; documentation, and the value when not given, see Args
	Choices  []string // for TypeString
	Of       []string // for TypeStep, TypeSteps, TypeObject, TypeMap: names of the kinds or constructors accepted
	Doc      string
	Example  string // as it is written after "name = "
}

// An Output is one attribute of what a step function returns.
type Output struct {
	Name   string
	Part   string // which node yields it
	Doc    string
	Secret bool
}

// A Call is one use of a recipe function.
type Call struct {
	App   string // the recipe's name
	Facts *Facts // of the node; never nil
	Args  Args
	// Shared is the same in all calls of one evaluation.
	Shared *Shared
}

// A Shared holds what steps of one evaluation must agree on, such as which
// container gets which address. The zero Shared is empty.
type Shared struct{ byType sync.Map }

// SharedBy returns the T of the evaluation, a zero one at first. Without a Shared
// the caller is alone.
func SharedBy[T any](s *Shared) *T {
	if s == nil {
		return new(T)
	}
	v, _ := s.byType.LoadOrStore((*T)(nil), new(T))
	return v.(*T)
}

// Args are the checked arguments of a call. Getters return the zero value for a
// parameter that was not given and has no Default; Has tells the difference.
type Args struct {
	Values map[string]any // by parameter; Go types as listed at Type
	Given  map[string]bool
}

func arg[T any](a Args, name string) T {
	v, _ := a.Values[name].(T)
	return v
}

// Has reports whether the recipe gave the parameter.
func (a Args) Has(name string) bool { return a.Given[name] }

// String returns a TypeString argument.
func (a Args) String(name string) string { return arg[string](a, name) }

// Text returns a TypeText argument.
func (a Args) Text(name string) Text { return arg[Text](a, name) }

// Int returns a TypeInt argument.
func (a Args) Int(name string) int64 { return arg[int64](a, name) }

// Bool returns a TypeBool argument.
func (a Args) Bool(name string) bool { return arg[bool](a, name) }

// Size returns a TypeSize argument.
func (a Args) Size(name string) Size { return arg[Size](a, name) }

// Duration returns a TypeDuration argument.
func (a Args) Duration(name string) time.Duration { return arg[time.Duration](a, name) }

// Strings returns a TypeStrings argument.
func (a Args) Strings(name string) []string { return arg[[]string](a, name) }

// Texts returns a TypeTexts argument.
func (a Args) Texts(name string) []Text { return arg[[]Text](a, name) }

// Entries returns a TypeTextMap or TypeMap argument, in recipe order.
func (a Args) Entries(name string) []Entry { return arg[[]Entry](a, name) }

// Step returns a TypeStep argument, nil if not given.
func (a Args) Step(name string) *Handle { return arg[*Handle](a, name) }

// Steps returns a TypeSteps argument.
func (a Args) Steps(name string) []*Handle { return arg[[]*Handle](a, name) }

// Object returns a TypeObject or TypeStepOrString argument, nil if not given.
func (a Args) Object(name string) any { return a.Values[name] }

// Objects returns a TypeObjects argument.
func (a Args) Objects(name string) []any { return arg[[]any](a, name) }

// An Entry is one key and value of a dict argument.
type Entry struct {
	Key   string
	Value any // Text for TypeTextMap
}

// An ArgError blames one parameter of a call.
type ArgError struct {
	Param string
	Err   error
}

func (e *ArgError) Error() string { return fmt.Sprintf("%s: %v", e.Param, e.Err) }

// Unwrap returns the cause.
func (e *ArgError) Unwrap() error { return e.Err }

// ArgErrorf returns an *ArgError for param.
func ArgErrorf(param, format string, a ...any) error {
	return &ArgError{param, fmt.Errorf(format, a...)}
}

// Made is what Kind.New makes of a call.
type Made struct {
	Name  string // the step's name within its kind
	Parts []Part // in order
	// Known are outputs that need no node: a dataset's name. Keys are Output names.
	Known map[string]string
	// Detail is for other kinds that get the step's Handle; kinds of one package
	// agree on its type.
	Detail any
}

// A Part is one node of a step.
type Part struct {
	Name  string // "" for a step of one node
	Spec  Spec
	Class Class
	// Uses are the outputs that the part's values have holes for; each makes an edge.
	Uses []Ref
	// After are further nodes that must have succeeded first.
	After []NodeID
	// AttachTo, if set, is a node that takes this part's outputs (Inputs.Attached).
	AttachTo NodeID
	// Before are nodes, of steps made earlier, that must wait for this part.
	Before []NodeID
}

// A Handle is what a step function returns to the recipe, and what another
// step gets when it is passed on.
type Handle struct {
	ID     StepID
	Pos    Pos
	Known  map[string]string
	Detail any
}

// A Size is a number of bytes.
type Size int64

// Units of Size. Proxmox and ZFS count in powers of 1024.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
	TiB Size = 1 << 40
)

// String returns the shortest exact form: "2G", "1536M", "100".
func (s Size) String() string {
	for _, u := range []struct {
		unit Size
		name string
	}{{TiB, "T"}, {GiB, "G"}, {MiB, "M"}, {KiB, "K"}} {
		if s != 0 && s%u.unit == 0 {
			return fmt.Sprintf("%d%s", s/u.unit, u.name)
		}
	}
	return fmt.Sprint(int64(s))
}
