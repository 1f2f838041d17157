package recipe

import (
	"strings"

	"go.starlark.net/syntax"
)

// rewrite replaces operators in a parsed file by calls of functions that do the
// same and check first, before the file is compiled:
//
//	x == y          eq(x, y)           comparing an unknown is an error, not False
//	x * y           mul(x, y)          the result is measured before it is made
//	x += y          x = add_to(x, y)
//	x[k] += y       set_item(x, k, y)
//	if x:           if test(x):        so are elif, "if else", and, or, not
//	x and y         test(x) and y      which keeps "and" short-circuit
//	x.name          attr(x, "name")    methods of strings, lists and dicts are guarded
//	x[k], {k: v}    x[key(k)]          a key must not take forever to hash
//	x[i:j], f(*x)   made(x[i:j])       copies are measured
//
// Operands are evaluated in the same order as before, once. Nothing else would do:
// Starlark itself takes two values of different types for unequal without asking
// either, and takes every value for true or false.
//
// The functions have names that no recipe can spell (operatorName). The calls get
// the position of the operator, and every call of the recipe the position at which
// its function's name begins.
func rewrite(f *syntax.File) { stmts(f.Stmts) }

// operatorPrefix begins the names of the functions that rewrite puts in.
const operatorPrefix = "operator "

func operatorName(op string) string { return operatorPrefix + op }

func isOperatorName(name string) bool { return strings.HasPrefix(name, operatorPrefix) }

// Operators other than Starlark's own.
const (
	opTest    = "test"
	opAttr    = "attr"
	opKey     = "key"
	opMade    = "made"
	opSpread  = "spread"
	opSetItem = "set item"
)

// augmented are the operators that have an assignment form.
func augmented(op syntax.Token) (syntax.Token, bool) {
	ops := map[syntax.Token]syntax.Token{
		syntax.PLUS_EQ: syntax.PLUS, syntax.MINUS_EQ: syntax.MINUS, syntax.STAR_EQ: syntax.STAR,
		syntax.SLASH_EQ: syntax.SLASH, syntax.SLASHSLASH_EQ: syntax.SLASHSLASH, syntax.PERCENT_EQ: syntax.PERCENT,
		syntax.AMP_EQ: syntax.AMP, syntax.PIPE_EQ: syntax.PIPE, syntax.CIRCUMFLEX_EQ: syntax.CIRCUMFLEX,
		syntax.LTLT_EQ: syntax.LTLT, syntax.GTGT_EQ: syntax.GTGT,
	}
	t, ok := ops[op]
	return t, ok
}

func stmts(list []syntax.Stmt) {
	for i, s := range list {
		list[i] = stmt(s)
	}
}

func stmt(s syntax.Stmt) syntax.Stmt {
	switch s := s.(type) {
	case *syntax.AssignStmt:
		return assign(s)
	case *syntax.DefStmt:
		params(s.Params)
		stmts(s.Body)
	case *syntax.ExprStmt:
		s.X = expr(s.X)
	case *syntax.IfStmt:
		s.Cond = test(s.If, s.Cond)
		stmts(s.True)
		stmts(s.False)
	case *syntax.ForStmt:
		s.Vars = target(s.Vars)
		s.X = expr(s.X)
		stmts(s.Body)
	case *syntax.WhileStmt:
		s.Cond = test(s.While, s.Cond)
		stmts(s.Body)
	case *syntax.ReturnStmt:
		if s.Result != nil {
			s.Result = expr(s.Result)
		}
	}
	return s
}

func assign(s *syntax.AssignStmt) syntax.Stmt {
	op, ok := augmented(s.Op)
	if !ok {
		s.LHS, s.RHS = target(s.LHS), expr(s.RHS)
		return s
	}
	switch lhs := unparen(s.LHS).(type) {
	case *syntax.Ident:
		read := &syntax.Ident{NamePos: lhs.NamePos, Name: lhs.Name}
		s.RHS = call(s.OpPos, op.String()+"=", read, expr(s.RHS))
		s.Op = syntax.EQ
	case *syntax.IndexExpr:
		set := call(s.OpPos, opSetItem, str(s.OpPos, op.String()), expr(lhs.X), key(lhs.Lbrack, lhs.Y), expr(s.RHS))
		return &syntax.ExprStmt{X: set}
	default:
		s.LHS, s.RHS = target(s.LHS), expr(s.RHS)
	}
	return s
}

func unparen(e syntax.Expr) syntax.Expr {
	for {
		p, ok := e.(*syntax.ParenExpr)
		if !ok {
			return e
		}
		e = p.X
	}
}

// target rewrites what is inside the left side of an assignment.
func target(e syntax.Expr) syntax.Expr {
	switch e := e.(type) {
	case *syntax.ParenExpr:
		e.X = target(e.X)
	case *syntax.TupleExpr:
		each(e.List, target)
	case *syntax.ListExpr:
		each(e.List, target)
	case *syntax.IndexExpr:
		e.X, e.Y = expr(e.X), key(e.Lbrack, e.Y)
	case *syntax.DotExpr:
		e.X = expr(e.X)
	}
	return e
}

func each(list []syntax.Expr, f func(syntax.Expr) syntax.Expr) {
	for i, e := range list {
		list[i] = f(e)
	}
}

// params rewrites the default values of parameters.
func params(list []syntax.Expr) {
	for _, p := range list {
		if d, ok := p.(*syntax.BinaryExpr); ok {
			d.Y = expr(d.Y)
		}
	}
}

func expr(e syntax.Expr) syntax.Expr {
	switch e := e.(type) {
	case *syntax.BinaryExpr:
		return binary(e)
	case *syntax.CallExpr:
		e.Lparen = callPos(e)
		e.Fn = expr(e.Fn)
		each(e.Args, arg)
	case *syntax.Comprehension:
		clauses(e.Clauses)
		e.Body = expr(e.Body)
	case *syntax.CondExpr:
		e.Cond, e.True, e.False = test(e.If, e.Cond), expr(e.True), expr(e.False)
	case *syntax.DictEntry:
		e.Key, e.Value = key(e.Colon, e.Key), expr(e.Value)
	case *syntax.DictExpr:
		each(e.List, expr)
	case *syntax.DotExpr:
		return call(e.Dot, opAttr, expr(e.X), str(e.NamePos, e.Name.Name))
	case *syntax.IndexExpr:
		e.X, e.Y = expr(e.X), key(e.Lbrack, e.Y)
	case *syntax.LambdaExpr:
		params(e.Params)
		e.Body = expr(e.Body)
	case *syntax.ListExpr:
		each(e.List, expr)
	case *syntax.ParenExpr:
		e.X = expr(e.X)
	case *syntax.SliceExpr:
		return slice(e)
	case *syntax.TupleExpr:
		each(e.List, expr)
	case *syntax.UnaryExpr:
		if e.Op == syntax.NOT {
			e.X = test(e.OpPos, e.X)
		} else if e.X != nil {
			e.X = expr(e.X)
		}
	}
	return e
}

func binary(e *syntax.BinaryExpr) syntax.Expr {
	if e.Op == syntax.AND || e.Op == syntax.OR {
		e.X, e.Y = test(e.OpPos, e.X), expr(e.Y)
		return e
	}
	return call(e.OpPos, e.Op.String(), expr(e.X), expr(e.Y))
}

// callPos is what messages say of a call: where its function's name begins.
func callPos(e *syntax.CallExpr) syntax.Position {
	if dot, ok := e.Fn.(*syntax.DotExpr); ok {
		return dot.Name.NamePos // the parser leaves dot.NamePos empty
	}
	start, _ := e.Fn.Span()
	return start
}

// arg rewrites an argument of a call: x, name=x, *x or **x.
func arg(e syntax.Expr) syntax.Expr {
	switch e := e.(type) {
	case *syntax.BinaryExpr:
		if e.Op == syntax.EQ {
			e.Y = expr(e.Y)
			return e
		}
	case *syntax.UnaryExpr:
		if (e.Op == syntax.STAR || e.Op == syntax.STARSTAR) && e.X != nil {
			e.X = call(e.OpPos, opSpread, expr(e.X))
			return e
		}
	}
	return expr(e)
}

func clauses(list []syntax.Node) {
	for _, c := range list {
		switch c := c.(type) {
		case *syntax.ForClause:
			c.Vars, c.X = target(c.Vars), expr(c.X)
		case *syntax.IfClause:
			c.Cond = test(c.If, c.Cond)
		}
	}
}

func slice(e *syntax.SliceExpr) syntax.Expr {
	e.X = expr(e.X)
	for _, bound := range []*syntax.Expr{&e.Lo, &e.Hi, &e.Step} {
		if *bound != nil {
			*bound = expr(*bound)
		}
	}
	return call(e.Lbrack, opMade, e)
}

func test(pos syntax.Position, e syntax.Expr) syntax.Expr { return call(pos, opTest, expr(e)) }

// key guards a key that is computed; a literal needs no guard.
func key(pos syntax.Position, e syntax.Expr) syntax.Expr {
	if _, ok := e.(*syntax.Literal); ok {
		return e
	}
	return call(pos, opKey, expr(e))
}

func call(pos syntax.Position, op string, args ...syntax.Expr) *syntax.CallExpr {
	fn := &syntax.Ident{NamePos: pos, Name: operatorName(op)}
	return &syntax.CallExpr{Fn: fn, Lparen: pos, Args: args, Rparen: pos}
}

func str(pos syntax.Position, s string) *syntax.Literal {
	return &syntax.Literal{Token: syntax.STRING, TokenPos: pos, Raw: syntax.Quote(s, false), Value: s}
}
