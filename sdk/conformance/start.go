package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sallyport-gateway/sallyport/sdk/boot"
	"github.com/sallyport-gateway/sallyport/sdk/golden"
	basev1 "github.com/sallyport-gateway/sallyport/sdk/proto/base/v1"
)

const maxDescribe = 1 << 20

// output is how a run to its end went.
type output struct {
	stdout []byte
	proc   *process
	rule   string // "describe-fails" or "describe-hangs" when it went wrong
	got    string
}

// describe runs `<program> describe` with more in the environment.
func (c *checker) describe(env ...string) output {
	cmd, dir, err := c.command("describe")
	if err != nil {
		return output{rule: "describe-fails", got: err.Error()}
	}
	cmd.Env = append(cmd.Env, env...)
	var all bytes.Buffer
	p, err := launchTo(cmd, dir, &all)
	if err != nil {
		return output{rule: "describe-fails", got: "cannot be started: " + err.Error()}
	}
	if !p.waitEnded(describeWait) {
		p.kill()
		return output{rule: "describe-hangs", got: fmt.Sprintf("still runs after %v; stderr: %s", describeWait, p.said())}
	}
	o := output{stdout: all.Bytes(), proc: p}
	if !cmd.ProcessState.Success() {
		o.rule, o.got = "describe-fails", "the process "+p.exit()
	}
	return o
}

// cookie is what only a plugin that is to serve gets.
func cookie() string {
	h := boot.Handshake()
	return h.MagicCookieKey + "=" + h.MagicCookieValue
}

// describeOnce reads what `describe` prints, the first time.
func (c *checker) describeOnce(context.Context) { c.described() }

// described reads what `describe` prints, and gives it; nil when it is of no
// use.
func (c *checker) described() []byte {
	const sent = "describe"
	o := c.describe()
	if o.rule != "" {
		if with := c.describe(cookie(), "PLUGIN_PROTOCOL_VERSIONS=1"); o.rule == "describe-fails" && with.rule == "" {
			c.find("describe-needs-env", "describe, without the handshake's variables", o.got+"; with them it works")
			return nil
		}
		c.find(o.rule, sent, o.got)
		return nil
	}
	line := o.stdout
	body, rest, found := bytes.Cut(line, []byte("\n"))
	switch {
	case len(line) > maxDescribe:
		c.find("describe-output", sent, fmt.Sprintf("%d bytes on stdout", len(line)))
		return nil
	case found && len(bytes.TrimSpace(rest)) > 0, json.Unmarshal(body, &c.description) != nil:
		c.find("describe-output", sent, fmt.Sprintf("stdout is %q", cut(string(line), 600)))
		return nil
	}
	if entries, err := os.ReadDir(o.proc.dir); err == nil && len(entries) > 0 {
		c.find("describe-writes", sent, fmt.Sprintf("the working directory holds %q afterwards", entries[0].Name()))
	}
	switch k := c.description.Kind; {
	case k != boot.Provider && k != boot.Tool && k != boot.Engine:
		c.find("describe-kind", sent, fmt.Sprintf("kind %q", k))
		c.description.Kind = ""
		return nil
	case c.description.Protocol != boot.Protocol:
		c.find("describe-kind", sent, fmt.Sprintf("protocol %d", c.description.Protocol))
	}
	c.report.Kind = c.description.Kind
	return line
}

// checkDescribe checks what `describe` prints, and that it always prints it.
func (c *checker) checkDescribe(context.Context) {
	line := c.described()
	if line == nil {
		return
	}
	for _, env := range [][]string{nil, {"TZ=Asia/Tokyo", "LANG=de_DE.UTF-8"}, {cookie()}} {
		again := c.describe(env...)
		switch {
		case again.rule != "":
			c.find(again.rule, fmt.Sprintf("describe, another time, with %q in the environment", env), again.got)
		case !bytes.Equal(again.stdout, line):
			c.find("describe-unstable", fmt.Sprintf("describe, another time, with %q in the environment", env), difference(string(again.stdout), string(line)))
		default:
			continue
		}
		return
	}
}

var (
	anyName  = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)
	typeName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
)

// checkManifest checks the manifest of the kind.
func (c *checker) checkManifest(context.Context) {
	sent := "describe"
	read := func(m any) bool {
		if err := json.Unmarshal(c.description.Manifest, m); err != nil {
			c.find("manifest-incomplete", sent, fmt.Sprintf("the manifest cannot be read: %v", err))
			return false
		}
		return true
	}
	var schema json.RawMessage
	var version string
	names := anyName
	switch c.description.Kind {
	case boot.Provider:
		m := &c.provider
		if !read(m) {
			return
		}
		c.report.Name, version, schema = m.Name, m.Version, m.Settings
		if len(m.Ops) == 0 {
			c.find("manifest-incomplete", sent, "ops is empty: list what the translator can do, such as generate")
		}
		switch m.Credential.Scheme {
		case "none", "bearer":
		case "header", "query":
			if m.Credential.Name == "" {
				c.find("manifest-incomplete", sent, "credential: the scheme "+m.Credential.Scheme+" needs a name")
			}
		default:
			c.find("manifest-incomplete", sent, fmt.Sprintf("credential: scheme %q is none of none, bearer, header, query", m.Credential.Scheme))
		}
		if err := m.Check(); err != nil {
			c.find("manifest-surface", sent, err.Error())
			m.Surfaces = nil
		}
	case boot.Tool:
		m := &c.tool
		if !read(m) {
			return
		}
		names = typeName
		c.report.Name, version, schema = m.Type, m.Version, m.Config
		if o := m.Object; o != nil && (o.Field == "" || o.Kind == "" || o.Privilege == "") {
			c.find("manifest-incomplete", sent, fmt.Sprintf("object %+v must name field, kind and privilege", *o))
		}
	case boot.Engine:
		m := &c.engine
		if !read(m) {
			return
		}
		c.report.Name, version = m.Name, m.Version
		if m.Dialect == "" || len(m.Formats) == 0 {
			c.find("manifest-incomplete", sent, "dialect and formats must not be empty")
		}
	}
	c.report.Version = version
	if !names.MatchString(c.report.Name) {
		c.find("manifest-name", sent, fmt.Sprintf("the name is %q", c.report.Name))
	}
	if version == "" {
		c.find("manifest-incomplete", sent, "version is empty")
	}
	if len(schema) > 0 {
		if _, err := golden.CompileSchema(schema); err != nil {
			c.find("manifest-schema", sent, err.Error())
		}
	}
}

// checkByHand starts the program without the cookie, as a person would.
func (c *checker) checkByHand(context.Context) {
	cmd, dir, err := c.command()
	if err != nil {
		c.find("runs-without-cookie", "a start without arguments", err.Error())
		return
	}
	p, err := launch(cmd, dir)
	if err != nil {
		c.find("start-crash", "a start without arguments", err.Error())
		return
	}
	defer p.kill()
	switch {
	case !p.waitEnded(describeWait):
		c.find("runs-without-cookie", "a start without SALLYPORT_PLUGIN", fmt.Sprintf("still runs after %v", describeWait))
	case cmd.ProcessState.Success():
		c.find("runs-without-cookie", "a start without SALLYPORT_PLUGIN", "exit status 0")
	case p.stderr.String() == "":
		c.find("runs-without-cookie", "a start without SALLYPORT_PLUGIN", "nothing on stderr")
	}
}

// start brings up a process that can be called. What goes wrong is a finding.
func (c *checker) start(ctx context.Context) (*process, bool) {
	p, ok := c.startBare(ctx)
	if !ok {
		return nil, false
	}
	if code, message := p.configure(ctx, c.configuration()); code != codes.OK && code != codes.Unimplemented {
		c.find("settings-refused", "Configure "+string(c.configuration()), code.String()+": "+message)
		p.kill()
		return nil, false
	}
	return p, true
}

// configuration is what Configure is given: a provider's settings come with
// each turn instead.
func (c *checker) configuration() json.RawMessage {
	if c.description.Kind == boot.Provider {
		return nil
	}
	return c.cfg.Settings
}

// startBare starts a process and looks at its handshake and its health.
func (c *checker) startBare(ctx context.Context) (*process, bool) {
	const sent = "a start as the gateway does it"
	cmd, dir, err := c.command()
	if err != nil {
		c.find("start-crash", sent, err.Error())
		return nil, false
	}
	cmd.Env = append(cmd.Env, handshakeEnv(dir, strconv.Itoa(os.Getpid()))...)
	p, err := launch(cmd, dir)
	if err != nil {
		c.find("start-crash", sent, err.Error())
		return nil, false
	}
	if rule, got := p.shakeHands(dir); rule != "" {
		c.find(rule, sent, got)
		p.kill()
		return nil, false
	}
	if err := p.connect(); err != nil {
		c.find("handshake-format", sent, err.Error())
		p.kill()
		return nil, false
	}
	if err := p.ping(ctx); err != nil {
		got := err.Error()
		if p.waitEnded(lostWait) {
			got += "; the process " + p.exit()
		}
		c.find("unhealthy", "grpc.health.v1.Health/Check for the service plugin", got)
		p.kill()
		return nil, false
	}
	return p, true
}

// checkStart starts the program twice: what the first run left must not be in
// the way of the second.
func (c *checker) checkStart(ctx context.Context) {
	for range 2 {
		if c.fresh(ctx) == nil {
			return
		}
	}
}

// configure hands over settings.
func (p *process) configure(ctx context.Context, settings json.RawMessage) (codes.Code, string) {
	ctx, cancel := context.WithTimeout(ctx, healthWait)
	defer cancel()
	in := &basev1.ConfigureRequest{Json: settings}
	in.ProtoReflect().SetUnknown(unknownField())
	_, err := basev1.NewBaseClient(p.conn).Configure(ctx, in)
	return status.Code(err), status.Convert(err).Message()
}

// checkSettings looks whether a typing error in a setting would be noticed: by
// the gateway, which has the schema, or by the plugin.
func (c *checker) checkSettings(ctx context.Context) {
	const typo = `{"no_such_setting":1}`
	schema := c.tool.Config
	if c.description.Kind == boot.Provider {
		schema = c.provider.Settings
	}
	settings := map[string]json.RawMessage{}
	if len(c.cfg.Settings) > 0 && json.Unmarshal(c.cfg.Settings, &settings) != nil {
		c.find("settings-refused", string(c.cfg.Settings), "the settings given to the kit are no JSON object")
		return
	}
	if len(schema) == 0 {
		if c.description.Kind == boot.Provider {
			c.skip = "the manifest has no settings, so the gateway refuses any"
			return
		}
	} else if s, err := golden.CompileSchema(schema); err == nil {
		if len(c.cfg.Settings) > 0 && !golden.Accepts(s, string(c.cfg.Settings)) {
			c.find("settings-refused", string(c.cfg.Settings), "the manifest's own schema refuses these settings")
		}
		settings["no_such_setting"] = json.RawMessage("1")
		with, _ := json.Marshal(settings) // of raw JSON: cannot fail
		if !golden.Accepts(s, string(with)) {
			return // the gateway notices
		}
		if c.description.Kind == boot.Provider {
			c.find("unknown-setting-accepted", string(with), "the schema `settings` accepts it")
			return
		}
	}
	p, ok := c.startBare(ctx)
	if !ok {
		return
	}
	defer p.kill()
	if code, _ := p.configure(ctx, json.RawMessage(typo)); code == codes.OK {
		c.find("unknown-setting-accepted", "Configure "+typo, "it was accepted")
	}
}

// pause waits, but not longer than ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
