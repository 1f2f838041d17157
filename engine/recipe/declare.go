package recipe

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"go.starlark.net/starlark"

	"github.com/tengil/tengil/engine"
)

// A declaration is a function of the language itself. It is described like a
// kind, so that one code checks arguments and one code writes the documentation.
type declaration struct {
	Name    string
	Doc     string
	Example string
	Params  []engine.Param
	Run     func(ev *evaluation, c declared) (starlark.Value, error)
	// Section of the reference; "" is Declarations.
	Section string
	// Anywhere says that it may be called before recipe() and in loaded files.
	Anywhere bool
}

// A declared is one call of a declaration.
type declared struct {
	engine.Args
	pos engine.Pos
}

// declarations lists the functions of the language in reading order.
func declarations() []declaration {
	return []declaration{recipeDecl(), optionDecl(), requiresDecl(), outputDecl(), sizeDecl(), kindDecl(), paramDecl(), changeDecl(), sameDecl()}
}

// declaration returns the recipe function of d.
func (ev *evaluation) declaration(d declaration) starlark.Value {
	run := func(t *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		b, err := ev.bind(d.Params, args, kwargs)
		if err != nil {
			return nil, err
		}
		pos, _ := here(t)
		return d.Run(ev, declared{b.args, pos})
	}
	if !d.Anywhere {
		return ev.function(d.Name, run)
	}
	return starlark.NewBuiltin(d.Name, func(t *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		v, err := run(t, args, kwargs)
		if err != nil {
			return nil, callError(d.Name, err)
		}
		return v, nil
	})
}

func recipeDecl() declaration {
	return declaration{
		Name: "recipe",
		Doc: "Says what the recipe is. It comes first, and once. The name becomes the name of the app: " +
			"its containers carry it as a tag, and its records on the node are kept under it.",
		Example: `recipe(name = "immich", title = "Immich", license = "AGPL-3.0")`,
		Params: []engine.Param{
			{Name: "name", Type: engine.TypeString, Required: true, Position: 1, Doc: "Name of the app: lower-case letters, digits and \"-\", at most 39.", Example: `"immich"`},
			{Name: "title", Type: engine.TypeString, Doc: "The name as people write it.", Example: `"Immich"`},
			{Name: "summary", Type: engine.TypeString, Doc: "One line on what the app does.", Example: `"Back up, browse and search photos"`},
			{Name: "category", Type: engine.TypeString, Doc: "Where a list of recipes puts it.", Example: `"photos"`},
			{Name: "homepage", Type: engine.TypeString, Doc: "Address of the app's own site.", Example: `"https://immich.app"`},
			{Name: "license", Type: engine.TypeString, Doc: "The app's licence, as an SPDX identifier.", Example: `"AGPL-3.0"`},
		},
		Run: (*evaluation).declareRecipe, Anywhere: true,
	}
}

// appName is also valid as a tag of a container and as a label of a host name.
var appName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,38}$`)

func (ev *evaluation) declareRecipe(c declared) (starlark.Value, error) {
	if ev.inLibrary() {
		return nil, errors.New("a loaded file only defines functions; the recipe calls them")
	}
	if ev.declared {
		return nil, errors.New("a recipe has one recipe(), and this is the second")
	}
	name := c.String("name")
	if !appName.MatchString(name) {
		return nil, fmt.Errorf("name: wanted lower-case letters, digits and \"-\", at most 39 and no \"-\" in front, got %q", name)
	}
	for _, p := range []string{"title", "summary", "category", "homepage", "license"} {
		if strings.ContainsFunc(c.String(p), unicode.IsControl) {
			return nil, fmt.Errorf("%s: wanted one line of text, got %q", p, c.String(p))
		}
	}
	if home := c.String("homepage"); home != "" {
		if u, err := url.Parse(home); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return nil, fmt.Errorf("homepage: wanted an address such as \"https://immich.app\", got %q", home)
		}
	}
	ev.declared = true
	ev.app = engine.App{
		Name: name, Title: c.String("title"), Summary: c.String("summary"), Category: c.String("category"),
		Homepage: c.String("homepage"), License: c.String("license"),
	}
	return starlark.None, nil
}

func outputDecl() declaration {
	return declaration{
		Name:    "output",
		Doc:     "Names a result that the end of a run and tg show list, such as the address to open.",
		Example: `output("url", "http://%s:2283" % server.address)`,
		Params: []engine.Param{
			{Name: "name", Type: engine.TypeString, Required: true, Position: 1, Doc: "Name of the output.", Example: `"url"`},
			{Name: "text", Type: engine.TypeText, Required: true, Position: 2, Doc: "What it says.", Example: `"http://%s:2283" % server.address`},
			{Name: "help", Type: engine.TypeString, Doc: "What it is good for.", Example: `"open this in a browser"`},
		},
		Run: (*evaluation).declareOutput,
	}
}

// identifier is the form of the names of options and outputs.
var identifier = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,38}$`)

func checkIdentifier(name string) error {
	if !identifier.MatchString(name) {
		return fmt.Errorf("name: wanted lower-case letters, digits, \"_\" and \"-\", at most 39 and a letter in front, got %q", name)
	}
	return nil
}

// maxDeclared bounds options and outputs, which people read.
const maxDeclared = 1000

func (ev *evaluation) declareOutput(c declared) (starlark.Value, error) {
	name := c.String("name")
	if err := checkIdentifier(name); err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(ev.outputs, func(o engine.AppOutput) bool { return o.Name == name }); i >= 0 {
		return nil, fmt.Errorf("output %q is declared at %s already", name, ev.outputs[i].Pos)
	}
	if len(ev.outputs) >= maxDeclared {
		return nil, fmt.Errorf("the recipe has more than %d outputs", maxDeclared)
	}
	ev.outputs = append(ev.outputs, engine.AppOutput{Name: name, Text: c.Text("text"), Doc: c.String("help"), Pos: c.pos})
	return starlark.None, nil
}

func sizeDecl() declaration {
	return declaration{
		Name:    "size",
		Doc:     "Returns the number of bytes of a size, to calculate with. Parameters that are a size take such a number as well as text.",
		Example: `size("2G") // 2`,
		Params: []engine.Param{
			{Name: "text", Type: engine.TypeSize, Required: true, Position: 1, Doc: "A number with K, M, G or T for powers of 1024.", Example: `"2G"`},
		},
		Run: func(_ *evaluation, c declared) (starlark.Value, error) {
			return starlark.MakeInt64(int64(c.Size("text"))), nil
		},
		Anywhere: true,
	}
}
