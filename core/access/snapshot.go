package access

import (
	"fmt"
	"maps"
	"slices"
)

// snapshot is all that a check needs, and never changes: a check sees either
// the rights of before a change or of after it.
//
// # Rules
//
// A right on an object is a grant on it or on anything it lies in, to the
// caller or to a group of the caller's, or ownership of the object itself.
// Ownership is not inherited: the owner of a schema may grant rights on its
// tables, and has none by that alone (the vendor's documentation of ownership).
// Objects in a schema also need USE CATALOG and USE SCHEMA on the way, owners
// included. Administrators have every right. All else is denied.
//
// The catalog system is the gateway's own. Rights to change it or what is in it
// are nobody's, administrators and owners included; ALL PRIVILEGES means the
// reading ones there.
type snapshot struct {
	members map[string]*member
	admins  []string // names, sorted
	fixed   map[tokenHash]*Principal
	secrets map[string]tokenHash // of service principals

	system int32 // the node of the catalog system
	index  map[Securable]int32
	nodes  []node
	blanks []string // what has no effect, as sentences
}

// node is an object, or the mere target of a grant.
type node struct {
	exists bool
	owner  int32 // a principal, or -1
	path   chain
	grants []entry // sorted by principal, each once
}

type entry struct {
	who  int32
	what set
}

// chain is the way from the metastore down to an object.
type chain struct {
	n     int
	steps [4]step
}

// step is small: a check reads four of them, from memory that is rarely warm.
type step struct {
	level level
	node  int32 // -1 when nobody knows it
}

// level is where in the hierarchy a step is.
type level uint8

const (
	levelMetastore level = iota
	levelCatalog
	levelSchema
	levelObject // in a schema, or right in the metastore
)

func levelOf(kind string) level {
	switch kind {
	case Metastore:
		return levelMetastore
	case Catalog:
		return levelCatalog
	case Schema:
		return levelSchema
	}
	return levelObject
}

func (c *chain) add(l level, node int32) {
	c.steps[c.n] = step{l, node}
	c.n++
}

// maxSuggestions is how many grants without an object are told what they may
// have meant: all objects are looked through for each.
const maxSuggestions = 20

// build makes the snapshot of ids over objects.
func build(ids *identities, objects []Object) (*snapshot, error) {
	s := &snapshot{members: ids.members, index: make(map[Securable]int32, len(objects)+8)}
	for _, m := range ids.members {
		if m.admin {
			s.admins = append(s.admins, m.name)
		}
	}
	slices.Sort(s.admins)
	s.node(Securable{Kind: Metastore})
	system, ai := Securable{Catalog, SystemCatalog}, Securable{Schema, ModelSchema}
	s.system = s.node(system)
	all := append([]Object{{Securable: Securable{Kind: Metastore}}, {Securable: system}, {Securable: ai}}, objects...)
	for _, o := range all {
		id := s.node(o.Securable)
		n := &s.nodes[id]
		n.exists = true
		if o.Owner != "" {
			// Somebody who left must not stop the gateway; nobody inherits.
			if owner, ok := ids.number[o.Owner]; ok {
				n.owner = owner
			} else {
				s.blanks = append(s.blanks, fmt.Sprintf("%s: its owner %q is no user, service principal or group.%s", o.Securable, o.Owner, didYouMean(o.Owner, ids.names)))
			}
		}
		if o.Parent != (Securable{}) && o.Parent != o.parent() {
			// A hidden object that lies elsewhere than its name says would be
			// refused in other words than an absent one.
			return nil, fmt.Errorf("%s: it lies in %s, not in %s", o.Securable, o.parent(), o.Parent)
		}
	}
	rights := make([]map[int32]set, len(s.nodes))
	add := func(to int32, on Securable, what set) {
		id := s.node(on)
		for int(id) >= len(rights) {
			rights = append(rights, nil)
		}
		if rights[id] == nil {
			rights[id] = map[int32]set{}
		}
		rights[id][to] |= what
	}
	everybody := ids.number[AccountUsers]
	add(everybody, system, UseCatalog.bit())
	add(everybody, ai, UseSchema.bit())
	for _, g := range ids.grants {
		if id, ok := s.index[g.on]; !ok || !s.nodes[id].exists {
			meant := ""
			if len(s.blanks) < maxSuggestions {
				meant = didYouMean(g.on.Name, s.existing(g.on.Kind))
			}
			s.blanks = append(s.blanks, fmt.Sprintf("%s: there is no %s yet, so this grant has no effect.%s", g.path, g.on, meant))
		}
		add(g.to, g.on, g.what)
	}
	for id, r := range rights {
		for _, who := range slices.Sorted(maps.Keys(r)) {
			s.nodes[id].grants = append(s.nodes[id].grants, entry{who, r[who]})
		}
	}
	for on, id := range s.index {
		s.nodes[id].path = s.way(on)
	}
	return s, nil
}

// existing lists the names of the objects of a kind, sorted.
func (s *snapshot) existing(kind string) []string {
	var names []string
	for o, id := range s.index {
		if o.Kind == kind && s.nodes[id].exists {
			names = append(names, o.Name)
		}
	}
	slices.Sort(names)
	return names
}

// node returns the number of o, which is new if need be.
func (s *snapshot) node(o Securable) int32 {
	id, ok := s.index[o]
	if !ok {
		id = int32(len(s.nodes))
		s.index[o] = id
		s.nodes = append(s.nodes, node{owner: -1})
	}
	return id
}

// find returns the number of o, or -1.
func (s *snapshot) find(o Securable) int32 {
	if id, ok := s.index[o]; ok {
		return id
	}
	return -1
}

// way is the chain of o by its kind and name, the same for an object that
// nobody announced. It does not allocate.
func (s *snapshot) way(o Securable) (c chain) {
	c.add(levelMetastore, 0)
	switch p := o.parent(); p.Kind {
	case Schema:
		c.add(levelCatalog, s.find(p.parent()))
		c.add(levelSchema, s.find(p))
	case Catalog:
		c.add(levelCatalog, s.find(p))
	case "": // the metastore itself
		return c
	}
	c.add(levelOf(o.Kind), s.find(o))
	return c
}

// inSystem reports whether the way of an object leads through the catalog
// system, or ends at it.
func (s *snapshot) inSystem(c *chain) bool {
	return c.n > 1 && c.steps[1].level == levelCatalog && c.steps[1].node == s.system
}

// verdict is the outcome of a check.
type verdict struct {
	never   bool     // whatever is granted
	missing [3]level // where something is lacking, with the privilege in need
	need    [3]Privilege
	n       int
	exists  bool
	at      chain
}

func (v *verdict) lacks(at level, p Privilege) {
	v.missing[v.n], v.need[v.n] = at, p
	v.n++
}

// check decides whether m has p on o, including the USE privileges on the way.
// It does not allocate.
func (s *snapshot) check(m *member, p Privilege, o Securable) (v verdict) {
	if id, ok := s.index[o]; ok {
		v.exists, v.at = s.nodes[id].exists, s.nodes[id].path
	} else {
		v.at = s.way(o)
	}
	p = onKind(p, o.Kind)
	if p.bit()&reading == 0 && s.inSystem(&v.at) {
		v.never = true
		v.lacks(v.at.steps[v.at.n-1].level, p)
		return v
	}
	if m.admin {
		return v
	}
	inherited := set(0)
	for i := range v.at.n {
		st := v.at.steps[i]
		last := i == v.at.n-1
		owned := false
		if st.node >= 0 {
			n := &s.nodes[st.node]
			inherited |= n.to(m.ids)
			owned = n.owner >= 0 && holds(m.ids, n.owner)
		}
		have := inherited.effective()
		if owned {
			have = every
		}
		need := None
		switch {
		case last:
			need = p
		case st.level == levelCatalog:
			need = UseCatalog
		case st.level == levelSchema:
			need = UseSchema
		}
		if (last || need != None) && have&need.bit() == 0 {
			v.lacks(st.level, need)
		}
	}
	return v
}

// to is the union of the grants to any of ids, which is sorted as the grants
// are: the shorter list is looked up in the longer one.
func (n *node) to(ids []int32) (s set) {
	g := n.grants
	if len(g) <= 4*len(ids) {
		for i, j := 0, 0; i < len(g) && j < len(ids); {
			switch who, id := g[i].who, ids[j]; {
			case who == id:
				s |= g[i].what
				i++
				j++
			case who < id:
				i++
			default:
				j++
			}
		}
		return s
	}
	for _, id := range ids {
		lo, hi := 0, len(g)
		for lo < hi {
			if mid := int(uint(lo+hi) >> 1); g[mid].who < id {
				lo = mid + 1
			} else {
				hi = mid
			}
		}
		if lo == len(g) {
			return s
		}
		if g[lo].who == id {
			s |= g[lo].what
		}
		g = g[lo:]
	}
	return s
}

func holds(ids []int32, id int32) bool {
	for _, i := range ids {
		if i == id {
			return true
		}
	}
	return false
}

// explicit reports whether p was granted by its own name, not by ALL
// PRIVILEGES, ownership or administration.
func (s *snapshot) explicit(m *member, p Privilege, o Securable) bool {
	id, ok := s.index[o]
	if !ok {
		return false
	}
	c := s.nodes[id].path
	if onKind(p, o.Kind).bit()&reading == 0 && s.inSystem(&c) {
		return false
	}
	var have set
	for _, st := range c.steps[:c.n] {
		if st.node >= 0 {
			have |= s.nodes[st.node].to(m.ids)
		}
	}
	return have&onKind(p, o.Kind).bit() != 0
}
