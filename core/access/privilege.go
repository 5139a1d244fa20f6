package access

import (
	"slices"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// Privilege is one right on an object: a Unity Catalog privilege, or a level
// of a workspace object's access list (CAN RUN).
type Privilege uint8

// The privileges. Source: the open-source server's API, the vendor's SDK, and
// the access lists of workspace objects.
const (
	None          Privilege = iota
	AllPrivileges           // whatever applies, except Manage and ExternalUseSchema
	Manage                  // grant, revoke, drop, change the owner; not Select
	Browse                  // see that it exists
	ApplyTag
	UseCatalog
	UseSchema
	UseConnection
	UseTool // declare a tool type in a request
	Select
	Modify
	Execute // a function or a model
	ReadVolume
	WriteVolume
	ReadFiles
	WriteFiles
	ReadSkill
	ExternalUseSchema
	CreateCatalog
	CreateConnection
	CreateExternalLocation
	CreateStorageCredential
	CreateSchema
	CreateTable
	CreateFunction
	CreateVolume
	CreateModel
	CreateService
	CreateExternalTable
	CreateExternalVolume
	CreateManagedStorage
	CanView
	CanQuery // on a model the same as Execute
	CanRun
	CanUse
	CanEdit
	CanManage
	privilegeCount
)

// rule is what is known of one privilege.
type rule struct {
	name  string
	kinds []string // where it takes effect; nil is everywhere
}

var workspaceKinds = []string{GenieSpace, Dashboard, KnowledgeAssistant, ServingEndpoint, App}

var rules = [privilegeCount]rule{
	None:                    {name: "no privilege"},
	AllPrivileges:           {name: "ALL PRIVILEGES"},
	Manage:                  {name: "MANAGE"},
	Browse:                  {name: "BROWSE"},
	ApplyTag:                {name: "APPLY TAG"},
	UseCatalog:              {"USE CATALOG", []string{Catalog}},
	UseSchema:               {"USE SCHEMA", []string{Schema}},
	UseConnection:           {"USE CONNECTION", []string{Connection}},
	UseTool:                 {"USE TOOL", []string{Tool}},
	Select:                  {"SELECT", []string{Table, VectorSearchIndex}},
	Modify:                  {"MODIFY", []string{Table}},
	Execute:                 {"EXECUTE", []string{Function, Model}},
	ReadVolume:              {"READ VOLUME", []string{Volume}},
	WriteVolume:             {"WRITE VOLUME", []string{Volume}},
	ReadFiles:               {"READ FILES", []string{ExternalLocation}},
	WriteFiles:              {"WRITE FILES", []string{ExternalLocation}},
	ReadSkill:               {"READ SKILL", []string{Schema}},
	ExternalUseSchema:       {"EXTERNAL USE SCHEMA", []string{Schema}},
	CreateCatalog:           {"CREATE CATALOG", []string{Metastore}},
	CreateConnection:        {"CREATE CONNECTION", []string{Metastore}},
	CreateExternalLocation:  {"CREATE EXTERNAL LOCATION", []string{Metastore}},
	CreateStorageCredential: {"CREATE STORAGE CREDENTIAL", []string{Metastore}},
	CreateSchema:            {"CREATE SCHEMA", []string{Catalog}},
	CreateTable:             {"CREATE TABLE", []string{Schema}},
	CreateFunction:          {"CREATE FUNCTION", []string{Schema}},
	CreateVolume:            {"CREATE VOLUME", []string{Schema}},
	CreateModel:             {"CREATE MODEL", []string{Schema}},
	CreateService:           {"CREATE SERVICE", []string{Schema}},
	CreateExternalTable:     {"CREATE EXTERNAL TABLE", []string{ExternalLocation}},
	CreateExternalVolume:    {"CREATE EXTERNAL VOLUME", []string{ExternalLocation}},
	CreateManagedStorage:    {"CREATE MANAGED STORAGE", []string{ExternalLocation}},
	CanView:                 {"CAN VIEW", workspaceKinds},
	CanQuery:                {"CAN QUERY", []string{ServingEndpoint, KnowledgeAssistant, Model}},
	CanRun:                  {"CAN RUN", []string{GenieSpace, Dashboard}},
	CanUse:                  {"CAN USE", []string{App}},
	CanEdit:                 {"CAN EDIT", workspaceKinds},
	CanManage:               {"CAN MANAGE", workspaceKinds},
}

// String gives the name with spaces: "USE CATALOG".
func (p Privilege) String() string {
	if p >= privilegeCount {
		return rules[None].name
	}
	return rules[p].name
}

// ParsePrivilege reads a privilege in any case, with spaces, underscores or
// hyphens: "USE CATALOG", "use_catalog". An unknown one gives apierror.Invalid
// with the nearest name there is.
func ParsePrivilege(s string) (Privilege, error) {
	name := strings.ToUpper(words(s))
	for p := AllPrivileges; p < privilegeCount; p++ {
		if rules[p].name == name {
			return p, nil
		}
	}
	if name == "ALL" {
		return AllPrivileges, nil
	}
	var names []string
	for p := AllPrivileges; p < privilegeCount; p++ {
		names = append(names, rules[p].name)
	}
	return None, apierror.New(apierror.Invalid, "There is no privilege %s.%s", show(s), didYouMean(name, names))
}

// words joins the words of s by single spaces, taking underscores and hyphens
// for spaces.
func words(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return r == ' ' || r == '_' || r == '-' || r == '\t'
	}), " ")
}

// set is a set of privileges, one bit each. ALL PRIVILEGES has a bit of its
// own and is spread over the others only when asked, so that an explicit grant
// stays told from a blanket one.
type set uint64

const (
	one       set = 1
	exceptAll     = one<<Manage | one<<ExternalUseSchema | one<<CanManage
	every         = one<<privilegeCount - 2 // without None
)

func (p Privilege) bit() set { return one << p }

// reading is the privileges that change nothing: the only ones that anybody can
// have on the catalog system and what is in it.
const reading = one<<Browse | one<<UseCatalog | one<<UseSchema | one<<Select | one<<Execute | one<<ReadVolume | one<<ReadSkill

// effective spreads ALL PRIVILEGES.
func (s set) effective() set {
	if s&AllPrivileges.bit() != 0 {
		s |= every &^ exceptAll
	}
	return s
}

// String lists the names.
func (s set) String() string {
	var names []string
	for p := AllPrivileges; p < privilegeCount; p++ {
		if s&p.bit() != 0 {
			names = append(names, p.String())
		}
	}
	return strings.Join(names, ", ")
}

// granted is the set that granting p on an object of kind gives: the levels of
// an access list include the lower ones, and on models they stand for the
// Unity Catalog privileges.
func granted(p Privilege, kind string) set {
	p = onKind(p, kind)
	switch p {
	case CanQuery, CanRun, CanUse:
		return p.bit() | CanView.bit()
	case CanEdit:
		return p.bit() | CanRun.bit() | CanUse.bit() | CanQuery.bit() | CanView.bit()
	case CanManage:
		return p.bit() | granted(CanEdit, kind)
	}
	return p.bit()
}

// onKind translates CAN QUERY on a model.
func onKind(p Privilege, kind string) Privilege {
	if p == CanQuery && kind == Model {
		return Execute
	}
	return p
}

// appliesTo reports whether granting p on an object of kind has an effect,
// there or on what is inside it.
func (p Privilege) appliesTo(kind string) bool {
	at := rules[p].kinds
	return at == nil || slices.ContainsFunc(at, func(k string) bool {
		return k == kind || contains(kind, k) && !(p == CanQuery && k == Model)
	})
}
