// Package registrytest tells whether an engine.Registry is right: in its author's
// tests, and in tg plugins test. It says what is wrong as data.
package registrytest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tengil/tengil/engine"
)

// Options say what to test with; only Ref is needed, unless the registry has an
// example of its own.
type Options struct {
	Ref  string // an image that is there; default what Info names as example
	Arch string // default amd64
	// Missing is an image that is not there; default one whose repository has a name
	// that goes on.
	Missing string
	// Patience is how long a check may take; default 30 s.
	Patience time.Duration
	// Deadline ends a check that takes longer; default context.WithTimeoutCause.
	Deadline engine.Deadline
	// Each, if not nil, is told every result as it comes.
	Each func(Result)
}

// A Result is what a check has found.
type Result struct {
	Check   string `json:"check"`
	Skipped string `json:"skipped,omitempty"` // why there was nothing to check
	Err     error  `json:"-"`                 // nil if all is well
	Error   string `json:"error,omitempty"`
}

// A Report is the results in order.
type Report []Result

// Err joins what is wrong; nil if nothing is.
func (r Report) Err() error {
	var errs []error
	for _, res := range r {
		if res.Err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", res.Check, res.Err))
		}
	}
	return errors.Join(errs...)
}

// Count returns how many checks passed, failed and were skipped.
func (r Report) Count() (passed, failed, skipped int) {
	for _, res := range r {
		switch {
		case res.Err != nil:
			failed++
		case res.Skipped != "":
			skipped++
		default:
			passed++
		}
	}
	return passed, failed, skipped
}

// A check looks at one thing. It returns skip(why) where the registry need not.
type check struct {
	name string
	run  func(s *suite, ctx context.Context) error
}

type skip string

func (s skip) Error() string { return string(s) }

// checks are all there are, in the order in which one builds on another.
var checks = []check{
	{"says what it is", (*suite).info},
	{"resolves a reference to a manifest with the right digest", (*suite).resolve},
	{"says not found of an image that is not there", (*suite).missing},
	{"refuses what is no reference", (*suite).malformed},
	{"streams blobs that are what the manifest says", (*suite).blobs},
	{"says not found of a blob that is not there", (*suite).missingBlob},
	{"bears readers who leave early", (*suite).leave},
	{"can be asked by several at once", (*suite).parallel},
	{"answers no more when the call was cancelled", (*suite).cancelled},
	{"ends a stream whose call was cancelled", (*suite).cancelledStream},
	{"lists tags", (*suite).tags},
	{"searches", (*suite).search},
	{"says where skopeo can pull", (*suite).source},
	{"says unsupported of what it does not claim", (*suite).unclaimed},
}

// Run looks at reg. When ctx ends, the rest is reported as failed.
func Run(ctx context.Context, reg engine.Registry, o Options) Report {
	if o.Arch == "" {
		o.Arch = "amd64"
	}
	if o.Patience == 0 {
		o.Patience = 30 * time.Second
	}
	if o.Deadline == nil {
		o.Deadline = context.WithTimeoutCause
	}
	s := &suite{reg: reg, o: o}
	var report Report
	for _, c := range checks {
		r := Result{Check: c.name}
		err := s.within(ctx, c)
		var skipped skip
		switch {
		case errors.As(err, &skipped):
			r.Skipped = string(skipped)
		case err != nil:
			r.Err, r.Error = err, err.Error()
		}
		report = append(report, r)
		if o.Each != nil {
			o.Each(r)
		}
	}
	return report
}

// within runs one check. One that does not end is left behind: the registry
// ignores that nobody waits any more.
func (s *suite) within(ctx context.Context, c check) error {
	late := &engine.TimeoutError{After: s.o.Patience}
	ctx, stop := s.o.Deadline(ctx, s.o.Patience, late)
	defer stop()
	mine := *s // what a check that was left behind finds out is of no interest
	done := make(chan error, 1)
	go func() { done <- c.run(&mine, ctx) }()
	select {
	case err := <-done:
		if engine.TimedOut(ctx) && err != nil {
			return context.Cause(ctx)
		}
		*s = mine
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
