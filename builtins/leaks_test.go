package builtins_test

import (
	"os"
	"testing"

	"github.com/tengil/tengil/engine/lab/labtest"
)

func TestMain(m *testing.M) { os.Exit(labtest.Main(m)) }
