package engine

import "unicode"

// misleading are the characters that let a reader see something else than what is
// there: those that a terminal or an editor obeys instead of showing, those that
// turn the direction of text, and those that have no width.
var misleading = []*unicode.RangeTable{
	unicode.Cc, // control characters
	unicode.Cf, // bidi, zero width, byte order mark, tags, soft hyphen
	unicode.Zl, // line separator
	unicode.Zp, // paragraph separator
	unicode.Other_Default_Ignorable_Code_Point, // letters that are shown as nothing
}

// Misleads reports whether r lets a reader see something else than what is there.
// So do line ends and tabs; where they belong the caller lets them through.
func Misleads(r rune) bool { return unicode.In(r, misleading...) }
