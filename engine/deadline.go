package engine

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A TimeoutError is what did not end in the time that it was given. It is the cause
// (context.Cause) of a context that a Deadline ended, and wrapped by the errors that
// come of it.
type TimeoutError struct {
	What  string // "pct start 101"; "" in a cause, which does not know
	After time.Duration
}

func (e *TimeoutError) Error() string {
	if e.What == "" {
		return fmt.Sprintf("no end after %s", e.After)
	}
	return fmt.Sprintf("%s: no end after %s", e.What, e.After)
}

// A Deadline returns a copy of ctx that ends after d, with that cause.
// context.WithTimeoutCause is one; tests have others, which do not wait.
type Deadline func(ctx context.Context, d time.Duration, cause error) (context.Context, context.CancelFunc)

// TimedOut reports whether a Deadline has ended ctx.
func TimedOut(ctx context.Context) bool {
	var late *TimeoutError
	return ctx.Err() != nil && errors.As(context.Cause(ctx), &late)
}

// Lingering is a Spec whose Apply starts what may go on after it was ended, such as a
// program inside a container: when its time is up it fails, and is not tried again.
type Lingering interface {
	Spec
	Lingers()
}

// Patient is a Spec whose Apply waits on purpose: its Patience is added to the time
// that work of its class is given.
type Patient interface {
	Spec
	Patience() time.Duration
}
