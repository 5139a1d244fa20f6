package httpapi

import (
	"net/http"
	"slices"
	"strings"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/router"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// modelsPrefix is what Gemini's clients put before the name of a model.
const modelsPrefix = "models/"

// resolve is the model that a client of sf means: by an alias of the surface,
// by a name that a model has, else the default for names of elsewhere.
func (sf *surface) resolve(asked string, models *router.Router) string {
	asked = strings.TrimPrefix(asked, modelsPrefix)
	name := router.Canonical(asked)
	if name == "" {
		return asked
	}
	for _, a := range sf.aliases {
		if router.Match(a.from, name) {
			return a.to
		}
	}
	ours := len(asked) > len(schemaPrefix) && strings.EqualFold(asked[:len(schemaPrefix)], schemaPrefix)
	if sf.fallback == "" || ours || models.Known(name) {
		return asked
	}
	return sf.fallback
}

// schemaPrefix begins the full name of a model: it is none of elsewhere.
const schemaPrefix = access.ModelSchema + "."

// admit decides whether p may use sf at all.
func (sf *surface) admit(p *access.Principal, helper string) error {
	if sf.disabled {
		return apierror.New(apierror.Unsupported, "The surface %s is switched off on this gateway. %s can switch it on: surfaces.%s.enabled in the configuration.", sf.Name, helper, sf.Name)
	}
	if len(sf.allow) == 0 || p.Admin {
		return nil
	}
	for _, name := range sf.allow {
		if name == p.Name || slices.Contains(p.Groups, name) {
			return nil
		}
	}
	return apierror.New(apierror.Denied, "%s may not use the surface %s, which is for some users and groups only. %s can add you: surfaces.%s.allow in the configuration.", p.Name, sf.Name, helper, sf.Name)
}

// betaHeaders are those in which clients ask for features that are not
// finished.
var betaHeaders = []string{"Anthropic-Beta", "Openai-Beta"}

// checkBetas refuses a request that asks for a beta feature that is switched
// off: taking the value out instead would change what the body means.
func (sf *surface) checkBetas(h http.Header, helper string) error {
	if len(sf.denyBetas) == 0 {
		return nil
	}
	for _, name := range betaHeaders {
		for _, v := range h[name] {
			for b := range strings.SplitSeq(v, ",") {
				b = strings.TrimSpace(b)
				for _, p := range sf.denyBetas {
					if router.Match(p, strings.ToLower(b)) {
						return apierror.At(apierror.Unsupported, strings.ToLower(name), "The beta feature %s is switched off on the surface %s. Switch it off in your client too, or ask: %s can allow it (surfaces.%s.deny_betas in the configuration).", clip(b), sf.Name, helper, sf.Name)
					}
				}
			}
		}
	}
	return nil
}
