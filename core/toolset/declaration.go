package toolset

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// declaration is one entry of `tools` that a plugin serves.
type declaration struct {
	tool.Declaration
	typ       string // the type that the plugin serves
	manifest  tool.Manifest
	canonical string // JSON of what it says, keys sorted, spellings evened out
	version   string // of the object it names; "" if unknown
}

// key tells whether two declarations say the same.
func (d *declaration) key() string { return d.typ + " " + d.canonical }

// hash is the 8 digits by which a function name is made unique.
func (d *declaration) hash(salt string) string {
	h := sha256.Sum256([]byte(d.canonical + salt))
	return hex.EncodeToString(h[:4])
}

// param names a place of the declaration for error messages.
func (d *declaration) param(path string) string {
	return fmt.Sprintf("tools[%d].%s", d.Index, path)
}

// readDeclaration reads one hosted tool. It tolerates what programs in the
// wild send: the nested object under any spelling of its type, a description
// inside it, both spellings of a Genie space's id.
func readDeclaration(index int, t *openresponses.Tool, declared, typ string, spellings []string, m tool.Manifest) (*declaration, error) {
	d := &declaration{typ: typ, manifest: m}
	d.Index = index
	var members map[string]json.RawMessage
	if err := json.Unmarshal(t.Raw, &members); err != nil {
		return nil, apierror.At(apierror.Invalid, fmt.Sprintf("tools[%d]", index), "The tool is not a JSON object.")
	}
	var err error
	if d.Name, err = optionalString(members, "name", d.param("name")); err != nil {
		return nil, err
	}
	if d.Description, err = optionalString(members, "description", d.param("description")); err != nil {
		return nil, err
	}
	at := declared
	nested := present(members[declared])
	for _, s := range spellings {
		if nested == nil {
			if nested = present(members[s]); nested != nil {
				at = s
			}
		}
	}
	field := objectField(m)
	if nested == nil {
		if field != "" {
			return nil, apierror.At(apierror.Invalid, d.param(declared),
				"A %s tool needs an object named %q that says which one it is: {\"type\": %q, %q: {%q: \"…\"}}.", declared, declared, declared, declared, field)
		}
		nested = json.RawMessage("{}")
	}
	var spec map[string]json.RawMessage
	if err := json.Unmarshal(nested, &spec); err != nil || spec == nil {
		return nil, apierror.At(apierror.Invalid, d.param(at), "%q must be an object, not %s.", at, jsonKind(nested))
	}
	if typ == "genie_space" && present(spec["space_id"]) == nil && present(spec["id"]) != nil {
		spec["space_id"] = spec["id"]
		delete(spec, "id")
	}
	if d.Description == "" {
		if d.Description, err = optionalString(spec, "description", d.param(at+".description")); err != nil {
			return nil, err
		}
	}
	if d.Name == "" && field != "name" {
		if d.Name, err = optionalString(spec, "name", d.param(at+".name")); err != nil {
			return nil, err
		}
	}
	if field != "" {
		if d.Object, err = requiredString(spec, field, d.param(at+"."+field), declared); err != nil {
			return nil, err
		}
	}
	return d, d.seal(spec, field)
}

// seal writes the spec and the canonical form, in which an object has one
// spelling.
func (d *declaration) seal(spec map[string]json.RawMessage, field string) error {
	d.Object = strings.ToLower(d.Object)
	var err error
	if d.Spec, err = json.Marshal(spec); err != nil { // the map gives sorted keys
		return apierror.Wrap(apierror.Invalid, err, "tools[%d] cannot be read.", d.Index)
	}
	var value map[string]any
	dec := json.NewDecoder(bytes.NewReader(d.Spec))
	dec.UseNumber()
	if err := dec.Decode(&value); err != nil {
		return apierror.Wrap(apierror.Invalid, err, "tools[%d] cannot be read.", d.Index)
	}
	if field != "" {
		value[field] = d.Object
	}
	canonical, err := json.Marshal(map[string]any{"type": d.typ, "name": d.Name, "description": d.Description, d.typ: value})
	if err != nil {
		return apierror.Wrap(apierror.Invalid, err, "tools[%d] cannot be read.", d.Index)
	}
	d.canonical = string(canonical)
	return nil
}

// objectField is the member of the nested object that names the object:
// "name" for the manifest's "table.name".
func objectField(m tool.Manifest) string {
	if m.Object == nil {
		return ""
	}
	_, field, ok := strings.Cut(m.Object.Field, ".")
	if !ok {
		return m.Object.Field
	}
	return field
}

func present(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	return raw
}

func optionalString(m map[string]json.RawMessage, key, param string) (string, error) {
	raw := present(m[key])
	if raw == nil {
		return "", nil
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return "", apierror.At(apierror.Invalid, param, "%s must be a string, not %s.", param, jsonKind(raw))
	}
	return s, nil
}

func requiredString(m map[string]json.RawMessage, key, param, declared string) (string, error) {
	s, err := optionalString(m, key, param)
	if err == nil && strings.TrimSpace(s) == "" {
		err = apierror.At(apierror.Invalid, param, "%s is missing: it says which %s the tool is for.", param, declared)
	}
	return strings.TrimSpace(s), err
}

// jsonKind says what a value is, for messages.
func jsonKind(raw json.RawMessage) string {
	switch raw = bytes.TrimSpace(raw); {
	case len(raw) == 0:
		return "nothing"
	case raw[0] == '{':
		return "an object"
	case raw[0] == '[':
		return "an array"
	case raw[0] == '"':
		return "a string"
	case raw[0] == 't' || raw[0] == 'f':
		return "a boolean"
	case raw[0] == 'n':
		return "null"
	}
	return "a number"
}

// byType groups declarations by plugin type, in order of first appearance.
func byType(ds []*declaration) [][]*declaration {
	var groups [][]*declaration
	place := map[string]int{}
	for _, d := range ds {
		i, ok := place[d.typ]
		if !ok {
			i = len(groups)
			place[d.typ] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], d)
	}
	return groups
}
