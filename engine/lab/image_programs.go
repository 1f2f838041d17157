package lab

// imagePrograms returns the programs that move images.
func imagePrograms() map[string]program {
	return map[string]program{"skopeo": skopeo}
}
