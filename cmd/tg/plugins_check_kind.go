package main

import (
	"context"
	"fmt"

	"github.com/tengil/tengil/builtins"
	"github.com/tengil/tengil/builtins/kindtest/scripttest"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/recipe"
)

// kindsCheck runs the conformance suite on the kinds that a file defines.
func (s *session) kindsCheck(ctx context.Context, name string, setup []string) error {
	src, err := s.findKinds(name)
	if err != nil {
		return err
	}
	defer src.close()
	o := scripttest.Options{Kinds: builtins.Kinds(), Constructors: builtins.Constructors(), Catalogs: src.otherCatalogs(), Setup: setup}
	scripts, err := recipe.Scripts(src.name, recipe.Options{
		Kinds: o.Kinds, Constructors: o.Constructors, FS: src.file, Dir: src.dir, Catalogs: o.Catalogs,
	})
	if err != nil {
		return err
	}
	if len(scripts) == 0 {
		return fmt.Errorf("%s defines no kinds", name)
	}
	if !s.json() {
		o.Each = func(r scripttest.Result) {
			if r.Err == nil {
				s.printf("ok       %s: %s\n", r.Kind, r.Check)
				return
			}
			s.printf("failed   %s: %s\n", r.Kind, r.Check)
			s.term.Failure(&engine.Error{Err: r.Err, Hint: engine.HintOf(r.Err)})
		}
	}
	all, failed := []scripttest.Result{}, 0
	for _, k := range scripts {
		all = append(all, scripttest.Run(ctx, k, o)...)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	for _, r := range all {
		if r.Err != nil {
			failed++
		}
	}
	if s.json() {
		if err := s.term.JSON(all); err != nil {
			return err
		}
	} else {
		s.printf("%d ok, %d failed\n", len(all)-failed, failed)
	}
	if failed > 0 {
		return statusError(exitFailed)
	}
	return nil
}
