package draw

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/mattn/go-runewidth"
)

// Sizes of the picture, in pixels.
const (
	charWidth = 7.2
	boxHeight = 44.0
	boxPad    = 12.0
	gapX      = 56.0
	gapY      = 16.0
	margin    = 16.0
	maxChars  = 34 // longer names are cut in the middle
)

// A place is where a box stands: its left upper corner and its width.
type place struct{ x, y, w float64 }

// SVG draws the diagram from left to right: every box right of all it needs,
// boxes of a layer near what they are tied to.
func SVG(w io.Writer, d Diagram) error {
	places, width, height := arrange(d)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" font-family="ui-monospace, monospace" font-size="12">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, "<title>%s</title>\n", escapeXML(d.Title))
	b.WriteString(`<rect width="100%" height="100%" fill="#ffffff"/>` + "\n")
	for i, box := range d.Boxes {
		for _, j := range box.Needs {
			b.WriteString(arrow(places[j], places[i]))
		}
	}
	for i, box := range d.Boxes {
		b.WriteString(drawBox(box, places[i]))
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func arrow(from, to place) string {
	x1, y1 := from.x+from.w, from.y+boxHeight/2
	x2, y2 := to.x, to.y+boxHeight/2
	bend := (x2 - x1) / 2
	return fmt.Sprintf(`<path d="M%.1f %.1f C%.1f %.1f %.1f %.1f %.1f %.1f" fill="none" stroke="#8b949e"/>`+"\n", x1, y1, x1+bend, y1, x2-bend, y2, x2, y2)
}

// colors of boxes, by the family of their kind: a container is what people look for.
func color(kind string) (fill, line string) {
	family, _, _ := strings.Cut(kind, "_")
	switch family {
	case "pct":
		return "#ddf4ff", "#0969da"
	case "zfs", "host":
		return "#dafbe1", "#1a7f37"
	case "oci":
		return "#fff8c5", "#9a6700"
	}
	return "#f6f8fa", "#57606a"
}

func drawBox(box Box, p place) string {
	fill, line := color(box.Kind)
	var b strings.Builder
	fmt.Fprintf(&b, `<g><rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="6" fill="%s" stroke="%s"/>`, p.x, p.y, p.w, boxHeight, fill, line)
	fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" fill="%s" font-size="10">%s</text>`, p.x+boxPad, p.y+17, line, escapeXML(box.Kind))
	fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" fill="#1f2328">%s</text></g>`+"\n", p.x+boxPad, p.y+33, escapeXML(short(box.Name)))
	return b.String()
}

// short cuts a name in the middle: both its ends tell it from others.
func short(s string) string {
	r := []rune(s)
	if len(r) <= maxChars {
		return s
	}
	return string(r[:maxChars/2-1]) + "…" + string(r[len(r)-maxChars/2:])
}

func escapeXML(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace(s)
}

// arrange gives every box its layer (one more than the highest it needs) and its
// place in it, and returns the size of the whole.
func arrange(d Diagram) (places []place, width, height float64) {
	layers := layered(d)
	for range 4 {
		untangle(d, layers)
	}
	places = make([]place, len(d.Boxes))
	x := margin
	tallest := 0
	for _, layer := range layers {
		tallest = max(tallest, len(layer))
	}
	height = 2*margin + float64(tallest)*(boxHeight+gapY) - gapY
	for _, layer := range layers {
		w := 0.0
		for _, i := range layer {
			box := d.Boxes[i]
			chars := max(runewidth.StringWidth(short(box.Name)), runewidth.StringWidth(box.Kind))
			w = max(w, float64(chars)*charWidth+2*boxPad)
		}
		y := (height - float64(len(layer))*(boxHeight+gapY) + gapY) / 2
		for _, i := range layer {
			places[i] = place{x, y, w}
			y += boxHeight + gapY
		}
		x += w + gapX
	}
	return places, max(x-gapX+margin, 2*margin), max(height, 2*margin)
}

// layered puts each box into the layer after the last that it needs; boxes that
// need nothing stand right before the first that needs them.
func layered(d Diagram) [][]int {
	layer := make([]int, len(d.Boxes))
	deepest := 0
	for i, box := range d.Boxes {
		for _, j := range box.Needs {
			layer[i] = max(layer[i], layer[j]+1)
		}
		deepest = max(deepest, layer[i])
	}
	nearest := slices.Repeat([]int{deepest}, len(d.Boxes))
	for i, box := range d.Boxes {
		for _, j := range box.Needs {
			nearest[j] = min(nearest[j], layer[i]-1)
		}
	}
	for i, box := range d.Boxes {
		if len(box.Needs) == 0 && nearest[i] < deepest {
			layer[i] = nearest[i]
		}
	}
	layers := make([][]int, deepest+1)
	for i := range d.Boxes {
		layers[layer[i]] = append(layers[layer[i]], i)
	}
	return layers
}

// untangle sorts each layer by the middle of the boxes that its boxes are tied
// to, which keeps arrows short and seldom crossed.
func untangle(d Diagram, layers [][]int) {
	height := make([]float64, len(d.Boxes))
	for _, layer := range layers {
		for row, i := range layer {
			height[i] = float64(row) - float64(len(layer))/2
		}
	}
	ties := make([][]int, len(d.Boxes))
	for i, box := range d.Boxes {
		for _, j := range box.Needs {
			ties[i] = append(ties[i], j)
			ties[j] = append(ties[j], i)
		}
	}
	middle := func(i int) float64 {
		if len(ties[i]) == 0 {
			return height[i]
		}
		sum := 0.0
		for _, j := range ties[i] {
			sum += height[j]
		}
		return sum / float64(len(ties[i]))
	}
	for _, layer := range layers {
		slices.SortStableFunc(layer, func(a, b int) int {
			switch x, y := middle(a), middle(b); {
			case x < y:
				return -1
			case x > y:
				return 1
			}
			return 0
		})
		for row, i := range layer {
			height[i] = float64(row) - float64(len(layer))/2
		}
	}
}
