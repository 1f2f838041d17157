package oci

import (
	"path"
	"testing"

	"github.com/tengil/tengil/engine/pve"
)

func FuzzImageFacts(f *testing.F) {
	f.Add([]byte(`{"format":1,"ref":"docker.io/library/alpine:3","digest":"` + someDigest + `","config":{},"archive":"local:vztmpl/x.tar","path":"/x.tar","size":1}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parseFacts("facts.json", data)
		if err != nil || got.Digest == "" {
			return
		}
		if pve.CheckDigest(got.Digest) != nil || !path.IsAbs(got.Path) || got.Size < 0 {
			t.Errorf("facts are %+v", got)
		}
		_ = check(got.Config, "amd64")
		_ = partialApp(got.Partial)
	})
}
