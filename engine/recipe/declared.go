package recipe

import (
	"fmt"

	"go.starlark.net/syntax"

	"github.com/tengil/tengil/engine"
)

// Declared returns what a recipe says about itself, read off its text: nothing is
// evaluated, so listing a catalog costs no more than parsing it. Arguments of
// recipe() that are no plain strings are left out.
func Declared(name string, src []byte) (engine.App, error) {
	if err := checkSource(name, src); err != nil {
		return engine.App{}, err
	}
	f, err := dialect().Parse(name, src, 0)
	if err != nil {
		return engine.App{}, err
	}
	for _, stmt := range f.Stmts {
		if call, ok := callOf(stmt, "recipe"); ok {
			return appOf(call), nil
		}
	}
	return engine.App{}, fmt.Errorf("%s: no recipe(…) at its top", name)
}

func callOf(stmt syntax.Stmt, function string) (*syntax.CallExpr, bool) {
	expr, ok := stmt.(*syntax.ExprStmt)
	if !ok {
		return nil, false
	}
	call, ok := expr.X.(*syntax.CallExpr)
	if !ok {
		return nil, false
	}
	id, ok := call.Fn.(*syntax.Ident)
	return call, ok && id.Name == function
}

func appOf(call *syntax.CallExpr) engine.App {
	var app engine.App
	fields := map[string]*string{"name": &app.Name, "title": &app.Title, "summary": &app.Summary,
		"category": &app.Category, "homepage": &app.Homepage, "license": &app.License}
	for _, arg := range call.Args {
		bin, ok := arg.(*syntax.BinaryExpr)
		if !ok || bin.Op != syntax.EQ {
			continue
		}
		key, isIdent := bin.X.(*syntax.Ident)
		lit, isLit := bin.Y.(*syntax.Literal)
		if !isIdent || !isLit {
			continue
		}
		if s, isString := lit.Value.(string); isString && fields[key.Name] != nil {
			*fields[key.Name] = s
		}
	}
	return app
}
