package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/plugins/scaffold"
)

func (s *session) pluginsNewCmd() *cobra.Command {
	var language string
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Write the beginning of a plugin, which works as it is",
		Args:  exactly("NAME"),
		RunE:  func(_ *cobra.Command, args []string) error { return s.pluginsNew(args[0], language) },
	}
	cmd.Flags().StringVar(&language, "lang", "go", strings.Join(scaffold.Languages, " or "))
	if err := cmd.RegisterFlagCompletionFunc("lang", completeWords(scaffold.Languages...)); err != nil {
		panic(err) // the flag is defined right above
	}
	return cmd
}

func (s *session) pluginsNew(name, language string) error {
	scheme := strings.TrimPrefix(name, "registry-")
	err := engine.RegistryInfo{Name: name, Version: "0.1.0", Scheme: scheme, Can: []engine.RegistryPower{engine.CanBlobs}}.Check()
	if err != nil {
		return usagef("%w", err)
	}
	made, commands, err := scaffold.Write(name, name, language)
	if err != nil {
		return err
	}
	if s.json() {
		return s.term.JSON(struct {
			Files    []string `json:"files"`
			Commands []string `json:"commands"`
		}{made, commands})
	}
	for _, file := range made {
		s.printf("%s\n", file)
	}
	s.notef("to build and test it:\n    %s\n", strings.Join(commands, "\n    "))
	return nil
}
