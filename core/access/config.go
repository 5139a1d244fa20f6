package access

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sallyport-gateway/sallyport/core/secret"
)

// Config is the `access` section of the configuration.
type Config struct {
	Users             []User             `yaml:"users,omitempty"`
	ServicePrincipals []ServicePrincipal `yaml:"service_principals,omitempty"`
	Groups            []Group            `yaml:"groups,omitempty"` // only for groups inside groups
	Tokens            []FixedToken       `yaml:"tokens,omitempty"`
	Grants            []Grant            `yaml:"grants,omitempty"`
}

// User is a person.
type User struct {
	Name   string   `yaml:"name"`             // usually an e-mail address
	Groups []string `yaml:"groups,omitempty"` // a group exists because somebody is in it
	Admin  bool     `yaml:"admin,omitempty"`  // owns every object of the file
}

// ServicePrincipal is a program.
type ServicePrincipal struct {
	Name   string       `yaml:"name"`             // also its OAuth client id
	Secret secret.Value `yaml:"secret,omitempty"` // for the client-credentials flow; without it only tokens work
	Groups []string     `yaml:"groups,omitempty"`
	Admin  bool         `yaml:"admin,omitempty"`
}

// Group lists the groups that a group is itself a member of.
type Group struct {
	Name   string   `yaml:"name"`
	Groups []string `yaml:"groups,omitempty"`
}

// FixedToken is a token that the operator chose, for automation.
type FixedToken struct {
	Principal string       `yaml:"principal"` // a user or service principal
	Token     secret.Value `yaml:"token"`
	Scopes    []string     `yaml:"scopes,omitempty"` // empty means all
}

// Grant gives privileges on one object, and all inside it, to a principal.
type Grant struct {
	To         string   `yaml:"to"`         // a user, service principal or group
	Privileges []string `yaml:"privileges"` // see ParsePrivilege
	On         string   `yaml:"on"`         // see ParseSecurable
}

// AccountUsers is the group that every user and service principal is in.
const AccountUsers = "account users"

// Validate checks everything that needs no secret and no object. It returns
// all errors, each with the path of the entry it is about.
func (c Config) Validate() error {
	_, err := compile(c)
	return err
}

// identities is a checked Config.
type identities struct {
	names   []string // of principals, by number; users and service principals before groups
	number  map[string]int32
	members map[string]*member // users and service principals
	grants  []resolvedGrant
}

// member is a user or service principal.
type member struct {
	name   string
	kind   Kind
	admin  bool
	groups []string // all, sorted
	ids    []int32  // its own number and its groups', sorted
}

type resolvedGrant struct {
	to   int32
	on   Securable
	what set
	path string
}

func compile(c Config) (*identities, error) {
	b := &identities{number: map[string]int32{}, members: map[string]*member{}}
	var errs []error
	bad := func(path, format string, args ...any) {
		errs = append(errs, fmt.Errorf("access.%s: %w", path, fmt.Errorf(format, args...)))
	}
	direct := map[string][]string{} // principal → groups
	declare := func(path, name string, kind Kind, admin bool, groups []string) {
		switch _, taken := b.number[name]; {
		case strings.TrimSpace(name) != name || name == "":
			bad(path, "needs a name without spaces around it")
			return
		case taken || name == AccountUsers:
			bad(path, "the name %q is taken: users, service principals and groups share one set of names", name)
			return
		}
		b.number[name] = int32(len(b.names))
		b.names = append(b.names, name)
		b.members[name] = &member{name: name, kind: kind, admin: admin}
		direct[name] = groups
	}
	for i, u := range c.Users {
		declare(fmt.Sprintf("users[%d]", i), u.Name, KindUser, u.Admin, u.Groups)
	}
	for i, sp := range c.ServicePrincipals {
		declare(fmt.Sprintf("service_principals[%d]", i), sp.Name, KindServicePrincipal, sp.Admin, sp.Groups)
	}
	groups := map[string]string{AccountUsers: "built in"}
	for _, name := range slices.Sorted(maps.Keys(direct)) {
		for _, g := range direct[name] {
			groups[g] = fmt.Sprintf("the groups of %q", name)
		}
	}
	for i, g := range c.Groups {
		path := fmt.Sprintf("groups[%d]", i)
		if _, twice := direct[g.Name]; twice || g.Name == AccountUsers {
			bad(path, "the name %q is taken", g.Name)
			continue
		}
		groups[g.Name] = path
		for _, outer := range g.Groups {
			groups[outer] = path
		}
		direct[g.Name] = g.Groups
	}
	for _, g := range slices.Sorted(maps.Keys(groups)) {
		if b.members[g] != nil {
			bad(groups[g], "%q is a user or service principal, not a group", g)
			continue
		}
		if strings.TrimSpace(g) != g || g == "" {
			bad(groups[g], "a group needs a name without spaces around it")
			continue
		}
		b.number[g] = int32(len(b.names))
		b.names = append(b.names, g)
	}
	for _, g := range c.Groups {
		if cycle := findCycle(g.Name, direct); cycle != nil {
			bad("groups", "the groups contain each other: %s", strings.Join(cycle, " in "))
			return nil, errors.Join(errs...)
		}
	}
	for _, m := range b.members {
		seen := map[string]bool{AccountUsers: true}
		addGroups(seen, m.name, direct)
		m.groups = slices.Sorted(maps.Keys(seen))
		m.ids = append(m.ids, b.number[m.name])
		for _, g := range m.groups {
			m.ids = append(m.ids, b.number[g])
		}
		slices.Sort(m.ids)
	}
	for i, g := range c.Grants {
		b.grant(fmt.Sprintf("grants[%d]", i), g, bad)
	}
	for i, t := range c.Tokens {
		path := fmt.Sprintf("tokens[%d]", i)
		if b.members[t.Principal] == nil {
			bad(path, "there is no user or service principal %q.%s", t.Principal, didYouMean(t.Principal, slices.Sorted(maps.Keys(b.members))))
		}
		if t.Token.IsZero() {
			bad(path, "needs a token: {env: NAME} or {file: PATH}")
		}
		if _, err := parseScopes(t.Scopes); err != nil {
			bad(path, "%w", err)
		}
	}
	return b, errors.Join(errs...)
}

// grant checks and adds one grant.
func (b *identities) grant(path string, g Grant, bad func(path, format string, args ...any)) {
	to, ok := b.number[g.To]
	if !ok {
		bad(path+".to", "there is no user, service principal or group %q.%s", g.To, didYouMean(g.To, b.names))
	}
	on, err := ParseSecurable(g.On)
	if err != nil {
		bad(path+".on", "%w", err)
		return
	}
	if len(g.Privileges) == 0 {
		bad(path+".privileges", "names no privilege")
	}
	var what set
	for _, name := range g.Privileges {
		p, err := ParsePrivilege(name)
		switch {
		case err != nil:
			bad(path+".privileges", "%w", err)
		case !p.appliesTo(on.Kind):
			bad(path+".privileges", "%s has no meaning on %s; it applies to: %s", p, on, strings.Join(rules[p].kinds, ", "))
		case p != AllPrivileges && onKind(p, on.Kind).bit()&reading == 0 && on.inSystem():
			bad(path+".privileges", "nobody can have %s on %s: the catalog system belongs to the gateway and is only read; the privileges there are %s", p, on, reading)
		default:
			what |= granted(p, on.Kind)
		}
	}
	if ok {
		b.grants = append(b.grants, resolvedGrant{to, on, what, "access." + path})
	}
}

// addGroups adds every group that name is in, at any depth.
func addGroups(seen map[string]bool, name string, direct map[string][]string) {
	for _, g := range direct[name] {
		if !seen[g] {
			seen[g] = true
			addGroups(seen, g, direct)
		}
	}
}

// findCycle returns the way from start back to itself, or nil.
func findCycle(start string, direct map[string][]string) []string {
	seen := map[string]bool{}
	var visit func(name string, way []string) []string
	visit = func(name string, way []string) []string {
		way = append(way, name)
		for _, g := range direct[name] {
			if g == start {
				return append(way, start)
			}
			if !seen[g] {
				seen[g] = true
				if c := visit(g, way); c != nil {
					return c
				}
			}
		}
		return nil
	}
	return visit(start, nil)
}
