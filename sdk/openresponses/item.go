package openresponses

// Text builds the message item of one text.
func Text(role, text string) Item {
	typ := PartInputText
	if role == "assistant" {
		typ = PartOutputText
	}
	return Item{Type: TypeMessage, Role: role, Content: []Part{{Type: typ, Text: text}}}
}
