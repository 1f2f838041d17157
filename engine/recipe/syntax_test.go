package recipe

import (
	"testing"
)

func TestSyntaxErrorsPointToTheToken(t *testing.T) {
	for _, tt := range []struct{ name, src, want string }{
		{"a name without a comma before it", "f(\n    \"web\"\n    image = 1,\n)\n", "x.star:3:5: got identifier, want ','\n  hint: a comma may be missing before it"},
		{"a string without a comma before it", "f(a = 1\n  \"b c\")\n", "x.star:2:3: got string literal, want ','\n  hint: a comma may be missing before it"},
		{"a bracket that is not closed and goes on", "f(a = g(1)\nf(b = 2)\n", "x.star:2:1: got identifier, want ','\n  hint: the \"(\" of line 1, column 2 is not closed"},
		{"a number", "f(a 12.5)\n", "x.star:1:5: got float literal, want ','\n  hint: a comma may be missing before it"},
		{"a bracket", "x = )\n", "x.star:1:5: unexpected ')'"},
		{"a sign of two characters", "x = 1 + ==\n", "x.star:1:9: got '==', want primary expression"},
		{"behind letters of two bytes", "x = \"ü\" + )\n", "x.star:1:11: unexpected ')'"},
		{"a word of the language", "x = 1 + for\n", "x.star:1:9: got for, want primary expression"},
		{"the end of a line", "if True\n  pass\n", "x.star:1:8: got newline, want ':'"},
		{"the end of the file", "# (\ns = \"(\"\nf(\"a\", [1,\n", "x.star:4:1: got end of file, want ']'\n  hint: the \"[\" of line 3, column 8 is not closed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := dialect().Parse("x.star", tt.src, 0)
			if err == nil {
				t.Fatal("it parses")
			}
			if got := syntaxError(err, []byte(tt.src)).Error(); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}
