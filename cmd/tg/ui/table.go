package ui

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/mattn/go-runewidth"
	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
)

// Table writes rows under a header, without frames. On a terminal that is too
// narrow, the widest columns are wrapped; elsewhere nothing is.
func (t *Terminal) Table(header []string, rows [][]string) error {
	var b bytes.Buffer
	if err := table(&b, t.Width, header, rows); err != nil {
		return err
	}
	for i, line := range strings.Split(strings.TrimRight(b.String(), "\n"), "\n") {
		line = strings.TrimRight(line, " ")
		if i == 0 {
			line = t.Strong(line)
		}
		if _, err := fmt.Fprintln(t.Out, line); err != nil {
			return err
		}
	}
	return nil
}

// gap is the blank between two columns.
const gap = 2

func table(w io.Writer, width int, header []string, rows [][]string) error {
	limits := tw.NewMapper[int, int]()
	for i, n := range columnWidths(width, header, rows) {
		limits.Set(i, n+gap)
	}
	padding := tw.CellPadding{Global: tw.Padding{Right: strings.Repeat(" ", gap), Overwrite: true}}
	left := tw.CellAlignment{Global: tw.AlignLeft}
	cells := func(wrap int) tw.CellConfig {
		return tw.CellConfig{
			Formatting:   tw.CellFormatting{AutoWrap: wrap, AutoFormat: tw.Off},
			Padding:      padding,
			Alignment:    left,
			ColMaxWidths: tw.CellWidth{PerColumn: limits},
		}
	}
	out := tablewriter.NewTable(w,
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Borders:  tw.BorderNone,
			Settings: tw.Settings{Separators: tw.SeparatorsNone, Lines: tw.LinesNone},
		})),
		tablewriter.WithConfig(tablewriter.Config{Header: cells(tw.WrapNone), Row: cells(tw.WrapNormal)}),
	)
	out.Header(header)
	for _, r := range rows {
		if err := out.Append(r); err != nil {
			return err
		}
	}
	return out.Render()
}

// columnWidths returns how wide each column is: as wide as its content, and
// where that is more than width, the widest columns give way.
func columnWidths(width int, header []string, rows [][]string) []int {
	widths := make([]int, len(header))
	for _, r := range append([][]string{header}, rows...) {
		for i, cell := range r {
			for line := range strings.Lines(cell) {
				widths[i] = max(widths[i], runewidth.StringWidth(strings.TrimRight(line, "\n")))
			}
		}
	}
	if width <= 0 {
		return widths
	}
	const least = 12
	over := len(widths)*gap - width
	for _, w := range widths {
		over += w
	}
	for over > 0 {
		widest := 0
		for i, w := range widths {
			if w > widths[widest] {
				widest = i
			}
		}
		if widths[widest] <= least {
			break
		}
		widths[widest]--
		over--
	}
	return widths
}
