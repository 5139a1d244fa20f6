package access

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// world is a random configuration.
type world struct {
	cfg     Config
	objects []Object
}

func randomWorld(r *rand.Rand) world {
	var w world
	pick := func(s []string) string { return s[r.IntN(len(s))] }
	groups := []string{"g0", "g1", "g2", "g3", "g4"}
	for i, g := range groups[:4] { // a group is only in later ones: no cycles
		w.cfg.Groups = append(w.cfg.Groups, Group{Name: g})
		if r.IntN(2) == 0 {
			w.cfg.Groups[i].Groups = []string{pick(groups[i+1:])}
		}
	}
	w.cfg.Groups = append(w.cfg.Groups, Group{Name: "g4"})
	var everyone []string
	for i := range 5 {
		u := User{Name: fmt.Sprintf("u%d", i)}
		for range r.IntN(3) {
			u.Groups = append(u.Groups, pick(groups))
		}
		w.cfg.Users = append(w.cfg.Users, u)
		everyone = append(everyone, u.Name)
	}
	w.cfg.Users = append(w.cfg.Users, User{Name: "root", Admin: true})
	everyone = append(append(everyone, groups...), AccountUsers)
	var all []Securable
	add := func(s Securable) {
		o := Object{Securable: s}
		if r.IntN(6) == 0 {
			o.Owner = pick(everyone)
		}
		all = append(all, s)
		if r.IntN(8) != 0 || s.Kind == Catalog || s.Kind == Schema { // some do not exist
			w.objects = append(w.objects, o)
		}
	}
	for c := range 2 {
		catalog := fmt.Sprintf("c%d", c)
		add(Securable{Catalog, catalog})
		for s := range 2 {
			schema := fmt.Sprintf("%s.s%d", catalog, s)
			add(Securable{Schema, schema})
			for o := range 3 {
				add(Securable{[]string{Table, Function, Volume}[r.IntN(3)], fmt.Sprintf("%s.o%d", schema, o)})
			}
		}
	}
	add(ModelNamed("m0"))
	add(Securable{Table, "system.own.usage"})
	add(Securable{Function, "system.own.f"})
	add(Securable{GenieSpace, "s0"})
	add(Securable{Tool, "t0"})
	all = append(all, Securable{Kind: Metastore}, Securable{Schema, ModelSchema}, Securable{Catalog, "system"}, Securable{Schema, "system.own"})
	for range 40 {
		on := all[r.IntN(len(all))]
		p := AllPrivileges + Privilege(r.IntN(int(privilegeCount-AllPrivileges)))
		if r.IntN(3) > 0 {
			p = []Privilege{UseCatalog, UseSchema, Select, Execute, AllPrivileges}[r.IntN(5)]
		}
		if p.appliesTo(on.Kind) && (p == AllPrivileges || !changesSystem(p, on)) {
			w.cfg.Grants = append(w.cfg.Grants, grant(pick(everyone), on.String(), p.String()))
		}
	}
	return w
}

// changesSystem is whether p, of which nobody can have a right, on on is more
// than reading what belongs to the gateway.
func changesSystem(p Privilege, on Securable) bool {
	if on.String() != "catalog system" && !(on.Kind == Schema || schemaLevel(on.Kind)) || !strings.HasPrefix(on.Name+".", "system.") {
		return false
	}
	return !slices.Contains([]string{"BROWSE", "USE CATALOG", "USE SCHEMA", "SELECT", "EXECUTE", "READ VOLUME", "READ SKILL"}, p.String()) &&
		!(p == CanQuery && on.Kind == Model)
}

// oracle decides slowly and plainly, from the texts of the configuration.
func (w world) oracle(user string, p Privilege, on Securable) bool {
	if changesSystem(p, on) {
		return false
	}
	who := map[string]bool{user: true, AccountUsers: true}
	for changed := true; changed; {
		changed = false
		join := func(member string, groups []string) {
			for _, g := range groups {
				if who[member] && !who[g] {
					who[g], changed = true, true
				}
			}
		}
		for _, u := range w.cfg.Users {
			join(u.Name, u.Groups)
		}
		for _, g := range w.cfg.Groups {
			join(g.Name, g.Groups)
		}
	}
	up := func(s Securable) []string { // the object and what it lies in, as texts
		out := []string{s.String()}
		if schemaLevel(s.Kind) {
			parts := strings.SplitN(s.Name, ".", 3)
			out = append(out, "schema "+parts[0]+"."+parts[1], "catalog "+parts[0])
		}
		if s.Kind == Schema {
			out = append(out, "catalog "+strings.Split(s.Name, ".")[0])
		}
		return append(out, "metastore")
	}
	builtIn := []Grant{grant(AccountUsers, "catalog system", "USE CATALOG"), grant(AccountUsers, "schema system.ai", "USE SCHEMA")}
	has := func(p Privilege, s Securable) bool {
		if p == CanQuery && s.Kind == Model {
			p = Execute
		}
		for _, o := range w.objects {
			if o.Securable == s && o.Owner != "" && who[o.Owner] {
				return true
			}
		}
		for _, g := range append(slices.Clone(w.cfg.Grants), builtIn...) {
			if !who[g.To] || !slices.Contains(up(s), g.On) {
				continue
			}
			name := g.Privileges[0]
			if name == p.String() || name == "ALL PRIVILEGES" && p != Manage && p != ExternalUseSchema && p != CanManage {
				return true
			}
			modelQuery := s.Kind == Model && p == Execute && (name == "CAN QUERY" && strings.HasPrefix(g.On, "model ") || name == "EXECUTE")
			edits := []Privilege{CanView, CanQuery, CanRun, CanUse}
			levels := slices.Contains(edits, p) && (name == "CAN EDIT" || name == "CAN MANAGE") || p == CanEdit && name == "CAN MANAGE" ||
				p == CanView && (name == "CAN RUN" || name == "CAN QUERY" && !strings.HasPrefix(g.On, "model ") || name == "CAN USE")
			if modelQuery || levels {
				return true
			}
		}
		return false
	}
	exists := on.Kind == Metastore || on == Securable{Schema, ModelSchema} || on == Securable{Catalog, "system"} || on == Securable{Schema, "system.own"} && w.holds("system.own.") || slices.ContainsFunc(w.objects, func(o Object) bool { return o.Securable == on })
	if user == "root" {
		return exists
	}
	if !exists || !has(p, on) {
		return false
	}
	if schemaLevel(on.Kind) {
		parts := strings.SplitN(on.Name, ".", 3)
		return has(UseCatalog, Securable{Catalog, parts[0]}) && has(UseSchema, Securable{Schema, parts[0] + "." + parts[1]})
	}
	if on.Kind == Schema {
		return has(UseCatalog, Securable{Catalog, strings.Split(on.Name, ".")[0]})
	}
	return true
}

// holds reports whether there is an object whose name begins so.
func (w world) holds(prefix string) bool {
	return slices.ContainsFunc(w.objects, func(o Object) bool { return strings.HasPrefix(o.Name, prefix) })
}

func TestCheckAgreesWithAPlainReading(t *testing.T) {
	t.Parallel()
	const worlds = 12
	var allowed, denied int
	for seed := range uint64(worlds) {
		w := randomWorld(rand.New(rand.NewPCG(seed, 1)))
		s := snapshotOf(t, w.cfg, w.objects...)
		var targets []Securable
		for _, o := range w.objects {
			targets = append(targets, o.Securable)
		}
		targets = append(targets, Securable{Table, "c0.s0.nowhere"}, Securable{Table, "nowhere.s0.t"}, Securable{Schema, "c0.nowhere"},
			ModelNamed("absent"), Securable{Kind: Metastore}, Securable{Schema, ModelSchema}, Securable{Catalog, "system"}, Securable{Schema, "system.own"},
			Securable{Table, "system.own.absent"}, Securable{Table, "system.nowhere.t"}, Securable{Table, "systems.own.t"})
		for _, u := range w.cfg.Users {
			for _, on := range targets {
				for p := AllPrivileges + 1; p < privilegeCount; p++ {
					v := s.check(s.members[u.Name], p, on)
					got, want := v.n == 0 && v.exists, w.oracle(u.Name, p, on)
					if got != want {
						t.Fatalf("world %d: %s: %s on %s = %v, want %v", seed, u.Name, p, on, got, want)
					}
					if got {
						allowed++
					} else {
						denied++
					}
				}
			}
		}
	}
	if allowed < 1000 || denied < 1000 {
		t.Errorf("%d checks allowed and %d denied: the worlds prove nothing", allowed, denied)
	}
}

func TestDenialNeverTellsWhetherAnObjectExists(t *testing.T) {
	t.Parallel()
	compared := 0
	for seed := range uint64(12) {
		w := randomWorld(rand.New(rand.NewPCG(seed, 2)))
		with := snapshotOf(t, w.cfg, w.objects...)
		for i, o := range w.objects {
			if o.Kind == Catalog || o.Kind == Schema {
				continue
			}
			without := snapshotOf(t, w.cfg, slices.Delete(slices.Clone(w.objects), i, i+1)...)
			for _, u := range w.cfg.Users {
				m := with.members[u.Name]
				for _, p := range []Privilege{Select, Execute, ReadVolume, CanRun, UseTool, Manage, Modify} {
					v := with.check(m, p, o.Securable)
					if v.n == 0 || o.Owner != "" && slices.Contains(append(m.groups, m.name), o.Owner) {
						continue // allowed, or the caller's own
					}
					hidden := with.refuse(m, p, o.Securable, v)
					absent := without.refuse(without.members[u.Name], p, o.Securable, without.check(without.members[u.Name], p, o.Securable))
					if hidden.Error() != absent.Error() || apierror.CodeOf(hidden) != apierror.CodeOf(absent) {
						t.Fatalf("world %d: %s: hidden: %v\nabsent: %v", seed, u.Name, hidden, absent)
					}
					compared++
				}
			}
		}
	}
	if compared < 1000 {
		t.Errorf("%d denials compared: the worlds prove nothing", compared)
	}
}
