package toolset

import (
	"cmp"
	"context"
	"time"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// start is what the row of a call of f begins with.
func (s *Set) start(f *Function, began time.Time) usage.Start {
	service := &usage.Service{Type: usage.HostedTool, Name: f.declaration.Object, ToolType: f.Type, Function: f.Object}
	if f.Type == mcpType {
		service.Type = usage.MCPService
	}
	if service.Name == "" {
		service.Name = f.Type
	}
	return usage.Start{
		Source: s.source, Time: began, Service: service,
		Requester: s.principal.Name, ServicePrincipal: s.principal.Kind == access.KindServicePrincipal, Groups: s.principal.NamedGroups(),
	}
}

// refuse records a call that its plugin is not asked for.
func (s *Set) refuse(ctx context.Context, f *Function, began time.Time, code apierror.Code) {
	err := s.toolset.deps.Usage.Refuse(ctx, s.start(f, began), usage.Outcome{Status: usage.Refused, Code: code, Latency: time.Since(began)})
	if err != nil {
		s.toolset.log.Error("a refused tool call could not be recorded", "function", f.Object, "error", err)
	}
}

// ended is how a call ended. A result by which the tool itself says that it
// failed has no code; its row has that of a provider which failed.
func ended(ctx context.Context, r Result, code apierror.Code, took time.Duration) usage.Outcome {
	o := usage.Outcome{Status: usage.Completed, Code: code, Latency: took}
	switch {
	case code == apierror.Canceled && ctx.Err() != nil:
		o.Status = usage.Canceled
	case r.Failed:
		o.Status, o.Code = usage.Failed, cmp.Or(code, apierror.UpstreamFailed)
	}
	return o
}
