package engine_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tengil/tengil/engine"
)

func TestVerifiedContentEndsWellOnlyIfItIsRight(t *testing.T) {
	content := bytes.Repeat([]byte("layer"), 1000)
	right := engine.Descriptor{Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(content)), Size: int64(len(content))}
	flipped := bytes.Clone(content)
	flipped[4999] ^= 1
	broken := errors.New("connection lost")
	for _, tt := range []struct {
		name string
		from io.Reader
		want error
	}{
		{"what it should be", bytes.NewReader(content), nil},
		{"that, byte for byte", iotest.OneByteReader(bytes.NewReader(content)), nil},
		{"that, with its end at once", iotest.DataErrReader(bytes.NewReader(content)), nil},
		{"a bit is flipped", bytes.NewReader(flipped), engine.ErrWrongContent},
		{"a byte is missing", bytes.NewReader(content[:4999]), engine.ErrWrongContent},
		{"a byte too many", strings.NewReader(string(content) + "x"), engine.ErrWrongContent},
		{"nothing", strings.NewReader(""), engine.ErrWrongContent},
		{"it breaks", io.MultiReader(bytes.NewReader(content[:100]), iotest.ErrReader(broken)), broken},
		{"it breaks after all of it", io.MultiReader(bytes.NewReader(content), iotest.ErrReader(broken)), broken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := io.ReadAll(right.Verify(io.NopCloser(tt.from)))
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("wanted error %v, got %v", tt.want, err)
			}
			if tt.want == nil && !bytes.Equal(got, content) || len(got) > len(content) {
				t.Errorf("%d bytes are not the content", len(got))
			}
		})
	}
}
