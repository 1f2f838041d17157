package lab_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/lab/labtest"
)

// TestConformance holds the model to what containers that run for real do: the
// tests of tg run the same transcripts with LXC.
func TestConformance(t *testing.T) {
	labtest.Conform(t, "testdata/conformance", false, func(t *testing.T) labtest.Shell {
		l := openLab(t, lab.Options{})
		labtest.PlaceImages(t, l.Root())
		return func(ctx context.Context, command, stdin string) (exit int, stdout, stderr string, err error) {
			var out, errs bytes.Buffer
			exit, err = lab.Shell(ctx, l.Endpoint(), command, strings.NewReader(stdin), &out, &errs)
			return exit, out.String(), errs.String(), err
		}
	})
}
