package render

import (
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// ErrorCode is the `code` that clients see for e. It is the apierror code,
// save where OpenAI's clients know another name for the same thing.
func ErrorCode(e *apierror.Error) string {
	switch e.Code {
	case apierror.Internal:
		return "server_error"
	case apierror.RateLimited, apierror.UpstreamLimited:
		return "rate_limit_exceeded"
	}
	return string(e.Code)
}

// ErrorType is the class of e by the specification's list; the other dialects
// write OpenAI's invalid_request_error for invalid_request.
func ErrorType(d Dialect, e *apierror.Error) string {
	switch e.Code {
	case apierror.NotFound:
		return "not_found"
	case apierror.RateLimited, apierror.UpstreamLimited:
		return "too_many_requests"
	case apierror.UpstreamAuth, apierror.UpstreamFailed, apierror.UpstreamTimeout:
		return "model_error"
	case apierror.Internal, apierror.Unavailable, apierror.Canceled:
		return "server_error"
	}
	if d == OpenResponses {
		return "invalid_request"
	}
	return "invalid_request_error"
}

// AppendError appends the error object of e: type, code, message, param.
func AppendError(b []byte, d Dialect, e *apierror.Error) []byte {
	b = append(b, `{"type":`...)
	b = appendString(b, ErrorType(d, e))
	b = append(b, `,"code":`...)
	b = appendString(b, ErrorCode(e))
	b = append(b, `,"message":`...)
	b = appendString(b, e.Message)
	b = append(b, `,"param":`...)
	b = appendNullable(b, e.Param)
	return append(b, '}')
}

// appendErrorMembers appends what an error event holds after its
// sequence_number: the nested object of the specification and, for OpenAI's
// clients, the same members flat.
func appendErrorMembers(b []byte, d Dialect, e *apierror.Error) []byte {
	if d != OpenResponses {
		b = append(b, `,"code":`...)
		b = appendString(b, ErrorCode(e))
		b = append(b, `,"message":`...)
		b = appendString(b, e.Message)
		b = append(b, `,"param":`...)
		b = appendNullable(b, e.Param)
	}
	b = append(b, `,"error":`...)
	return AppendError(b, d, e)
}
