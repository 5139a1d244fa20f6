package httpapi

import (
	"net/http"
	"strings"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// welcome tells a person who opened the address in a browser where they are.
func (a *API) welcome(w http.ResponseWriter, _ *http.Request, c call) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := w.Write([]byte("Sallyport " + a.version + " is running.\nSend requests to " + c.PublicURL + "/ai-gateway/mlflow/v1/responses with a token.\n"))
	_ = err // a client that left needs no answer
	return nil
}

// databricksConfig answers the one request the vendor's SDK makes before its
// first call. Source: databricks-sdk, host metadata.
func (a *API) databricksConfig(w http.ResponseWriter, _ *http.Request, c call) error {
	writeJSON(w, http.StatusOK, map[string]string{"oidc_endpoint": c.PublicURL + "/oidc", "cloud": "AWS"})
	return nil
}

// oauthMetadata is RFC 8414 metadata of the client-credentials flow.
func (a *API) oauthMetadata(w http.ResponseWriter, _ *http.Request, c call) error {
	issuer := c.PublicURL + "/oidc"
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                issuer,
		"authorization_endpoint":                issuer + "/v1/authorize",
		"token_endpoint":                        issuer + "/v1/token",
		"grant_types_supported":                 []string{"client_credentials"},
		"response_types_supported":              []string{"token"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post"},
		"scopes_supported":                      []string{"all-apis"},
	})
	return nil
}

// oauthToken gives a service principal an access token (RFC 6749 section 4.4).
func (a *API) oauthToken(w http.ResponseWriter, r *http.Request, c call) error {
	w.Header().Set("Cache-Control", "no-store")
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	if err := r.ParseForm(); err != nil {
		return oauthFail(w, http.StatusBadRequest, "invalid_request", "The body is not a form of at most 16 KiB.")
	}
	if g := r.PostForm.Get("grant_type"); g != "client_credentials" {
		return oauthFail(w, http.StatusBadRequest, "unsupported_grant_type", "Only grant_type=client_credentials is offered.")
	}
	id, secret, ok := r.BasicAuth()
	if !ok {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	scopes := strings.Fields(r.PostForm.Get("scope"))
	if len(scopes) == 0 {
		scopes = []string{access.ScopeAllAPIs}
	}
	tok, life, err := c.Access.ClientCredentials(r.Context(), id, secret, scopes...)
	switch {
	case apierror.Is(err, apierror.Invalid):
		return oauthFail(w, http.StatusBadRequest, "invalid_scope", apierror.From(err).Message)
	case apierror.Is(err, apierror.Unauthenticated):
		w.Header().Set("WWW-Authenticate", `Basic realm="sallyport"`)
		return oauthFail(w, http.StatusUnauthorized, "invalid_client", "Unknown client id or wrong secret. The client id is the service principal's name.")
	case err != nil:
		return err
	}
	writeJSON(w, http.StatusOK, map[string]any{"access_token": tok, "token_type": "Bearer", "expires_in": int(life.Seconds()), "scope": strings.Join(scopes, " ")})
	return nil
}

func oauthFail(w http.ResponseWriter, status int, code, description string) error {
	writeJSON(w, status, map[string]string{"error": code, "error_description": description})
	return nil
}

// me tells the caller who they are, as SCIM.
func (a *API) me(w http.ResponseWriter, _ *http.Request, c call) error {
	p := c.principal
	type ref struct {
		Display string `json:"display"`
	}
	groups := []ref{}
	for _, g := range p.Groups {
		groups = append(groups, ref{g})
	}
	if p.Admin {
		groups = append(groups, ref{"admins"})
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:User"}, "id": p.Name, "userName": p.Name, "displayName": p.Name, "active": true,
		"emails": []map[string]any{{"value": p.Name, "primary": true}}, "groups": groups,
	})
	return nil
}
