package usher

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Code is the stable, machine-readable name of a cause. A caller branches on it; it never changes meaning.
type Code string

// Every code Usher answers with. A code stands for one cause, and one cause has one code.
const (
	CodeInvalidRequest       Code = "invalid_request"
	CodeBulkTooLarge         Code = "bulk_too_large"
	CodeUnauthenticated      Code = "unauthenticated"
	CodeInvalidToken         Code = "invalid_token"
	CodeTokenExpired         Code = "token_expired"
	CodeParticipantRemoved   Code = "participant_removed"
	CodeForbidden            Code = "forbidden"
	CodeTenantSuspended      Code = "tenant_suspended"
	CodeParticipantBanned    Code = "participant_banned"
	CodeQuotaExceeded        Code = "quota_exceeded"
	CodeNotFound             Code = "not_found"
	CodeTenantNotFound       Code = "tenant_not_found"
	CodeRoomNotFound         Code = "room_not_found"
	CodeParticipantNotFound  Code = "participant_not_found"
	CodeVersionNotFound      Code = "version_not_found"
	CodeKeyNotFound          Code = "key_not_found"
	CodeMethodNotAllowed     Code = "method_not_allowed"
	CodeRoomFull             Code = "room_full"
	CodeRoomEnded            Code = "room_ended"
	CodeRoomLocked           Code = "room_locked"
	CodeRoomNotStarted       Code = "room_not_started"
	CodeRoomLimitReached     Code = "room_limit_reached"
	CodeRoomNameTaken        Code = "room_name_taken"
	CodeParticipantDuplicate Code = "participant_duplicate"
	CodeParticipantLeft      Code = "participant_left"
	CodeKeyLimitReached      Code = "key_limit_reached"
	CodeSigningKeyInUse      Code = "signing_key_in_use"
	CodeSigningKeyLimit      Code = "signing_key_limit_reached"
	CodeIdempotencyInFlight  Code = "idempotency_in_flight"
	CodePreconditionFailed   Code = "precondition_failed"
	CodeBodyTooLarge         Code = "body_too_large"
	CodeUnsupportedMediaType Code = "unsupported_media_type"
	CodeIdempotencyMismatch  Code = "idempotency_mismatch"
	CodeRateLimited          Code = "rate_limited"
	CodeInternal             Code = "internal"
	CodeUnavailable          Code = "unavailable"
	CodeOutcomeUnknown       Code = "outcome_unknown"
)

// CodeInfo is one line of the code table.
type CodeInfo struct {
	Code   Code
	Status int    // the HTTP status that every answer with this code has
	Title  string // a short sentence, the same for every occurrence (RFC 9457, section 3.1.3)
}

// Codes is the one table of codes, by status. The OpenAPI document repeats it; a test holds them together.
func Codes() []CodeInfo { return slices.Clone(codes) }

var codes = []CodeInfo{
	{CodeInvalidRequest, 400, "The request is malformed or invalid"},
	{CodeBulkTooLarge, 400, "Too many items in one request"},
	{CodeUnauthenticated, 401, "No credential, or one that is not known"},
	{CodeInvalidToken, 401, "The token is not valid here"},
	{CodeTokenExpired, 401, "The token has expired"},
	{CodeParticipantRemoved, 401, "The participant was removed from the room"},
	{CodeForbidden, 403, "The credential may not do this"},
	{CodeTenantSuspended, 403, "The tenant is suspended"},
	{CodeParticipantBanned, 403, "The participant is banned from the room"},
	{CodeQuotaExceeded, 403, "The tenant keeps as much as it may"},
	{CodeNotFound, 404, "There is nothing at this path"},
	{CodeTenantNotFound, 404, "No such tenant"},
	{CodeRoomNotFound, 404, "No such room"},
	{CodeParticipantNotFound, 404, "No such participant in this room"},
	{CodeVersionNotFound, 404, "No such version of the settings"},
	{CodeKeyNotFound, 404, "No such key"},
	{CodeMethodNotAllowed, 405, "The method is not allowed here"},
	{CodeRoomFull, 409, "The room is full"},
	{CodeRoomEnded, 409, "The room has ended"},
	{CodeRoomLocked, 409, "The room is locked"},
	{CodeRoomNotStarted, 409, "The room has not started"},
	{CodeRoomLimitReached, 409, "The tenant has as many rooms as it may"},
	{CodeRoomNameTaken, 409, "A room of this name has not ended"},
	{CodeParticipantDuplicate, 409, "This user already has a seat in the room"},
	{CodeParticipantLeft, 409, "The participant has left the room"},
	{CodeKeyLimitReached, 409, "The tenant has as many API keys as it may"},
	{CodeSigningKeyInUse, 409, "The signing key is in use"},
	{CodeSigningKeyLimit, 409, "The tenant has as many signing keys as it may"},
	{CodeIdempotencyInFlight, 409, "A request with this Idempotency-Key is in flight"},
	{CodePreconditionFailed, 412, "The resource has changed"},
	{CodeBodyTooLarge, 413, "The body is too large"},
	{CodeUnsupportedMediaType, 415, "The body's media type is not supported"},
	{CodeIdempotencyMismatch, 422, "The Idempotency-Key was used with another request"},
	{CodeRateLimited, 429, "Too many requests"},
	{CodeInternal, 500, "Something went wrong on our side"},
	{CodeUnavailable, 503, "The service cannot do this now"},
	{CodeOutcomeUnknown, 503, "The write may or may not have happened"},
}

// Info is the code's line in the table; a code that is not in it reads as CodeInternal.
func (c Code) Info() CodeInfo {
	for _, info := range codes {
		if info.Code == c {
			return info
		}
	}
	return CodeInternal.Info()
}

// Error is the one error type from the domain to the wire. What it says in Detail, Fields and Members is for the
// caller; Err is for the log only and never reaches an answer.
type Error struct {
	Code       Code
	Detail     string         // what is wrong and what to do next; empty reads as the code's title
	Fields     []FieldError   // for CodeInvalidRequest: every offending field
	Members    map[string]any // extension members of the problem document (RFC 9457, section 3.2)
	RetryAfter time.Duration  // when set, how long to wait before trying again
	Err        error          // the cause, for the log
}

// FieldError names one offending field of a request, by its path in the body, and what is wrong with it.
type FieldError struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// String reads as a sentence: "display_name is required".
func (f FieldError) String() string { return f.Field + " " + f.Message }

// Errorf makes an error whose detail the caller will read.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// MostFieldErrors is how many field errors an answer tells. Who looks for faults stops when there are as many.
const MostFieldErrors = 20

// Invalid makes a CodeInvalidRequest of at least one field error, and of the first MostFieldErrors at most; its detail
// repeats the first.
func Invalid(fields ...FieldError) *Error {
	return &Error{Code: CodeInvalidRequest, Detail: fields[0].String(), Fields: fields[:min(len(fields), MostFieldErrors)]}
}

// Internal wraps what the caller must not see: format and args say what was being done, and to what.
func Internal(err error, format string, args ...any) *Error {
	return &Error{Code: CodeInternal, Err: fmt.Errorf(format+": %w", append(args, err)...)}
}

// With adds an extension member to the problem document, and returns e.
func (e *Error) With(member string, value any) *Error {
	if e.Members == nil {
		e.Members = make(map[string]any, 1)
	}
	e.Members[member] = value
	return e
}

// Message is what the caller reads: the detail, or the code's title where there is none.
func (e *Error) Message() string {
	if e.Detail != "" {
		return e.Detail
	}
	return e.Code.Info().Title
}

// Error is for the log: code, detail and cause.
func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Message(), e.Err)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Message())
}

// Unwrap gives the cause to errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Err }

// AsError finds the Error in err's chain; any other error is a CodeInternal that wraps it.
func AsError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: CodeInternal, Err: err}
}

// HasCode says whether err carries the code.
func HasCode(err error, code Code) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Code == code
}
