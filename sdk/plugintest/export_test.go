package plugintest

// Only is o with no more than the named rules checked, beside the manifest and
// the dialogues.
func (o ToolOptions) Only(rules ...string) ToolOptions {
	o.only = append([]string{}, rules...)
	return o
}

// Only is o with no more than the named checks made, beside those that all
// others build on.
func (o BinaryOptions) Only(checks ...string) BinaryOptions {
	o.only = checks
	return o
}
