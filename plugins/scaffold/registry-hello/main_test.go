package main

import (
	"testing"

	"github.com/tengil/tengil/plugins/registrytest"
	"github.com/tengil/tengil/plugins/sdk"
)

func TestConformance(t *testing.T) {
	reg := sdk.Adapt(registry{"amd64": newImage("amd64"), "arm64": newImage("arm64")})
	if err := registrytest.Run(t.Context(), reg, registrytest.Options{}).Err(); err != nil {
		t.Error(err)
	}
}
