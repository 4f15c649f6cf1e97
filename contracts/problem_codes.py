"""The stable codes with which the API refuses: what each means, why it happens, and what to do about it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of refusal: its HTTP status, a title, why it happens, and the remedy that answers quote."""

    code: str
    status: int
    title: str
    cause: str
    remedy: str


_ALL = (
    Problem(
        "unauthorized",
        401,
        "No valid API key",
        "The key is missing, malformed, unknown, revoked or expired, or a call of a run is not signed rightly.",
        "Send 'Authorization: Bearer lm_…' with a key that is not revoked or expired.",
    ),
    Problem(
        "forbidden",
        403,
        "The key lacks the scope",
        "The key is valid, but was made without the scope that this call needs.",
        "Use a key with the scope named in 'detail'.",
    ),
    Problem(
        "not_found",
        404,
        "Nothing here",
        "The address is wrong, the thing never existed or is kept no longer, or another tenant has it.",
        "Check the address; what belongs to another tenant is answered the same way.",
    ),
    Problem(
        "method_not_allowed", 405, "This method is not offered", "The address answers others.", "See /docs for them."
    ),
    Problem(
        "payload_too_large",
        413,
        "The body is too large",
        "The body is longer than this call reads, by its Content-Length or as it arrives.",
        "Send at most as many bytes as 'detail' says.",
    ),
    Problem(
        "unsupported_media_type",
        415,
        "Only application/json in UTF-8 is read",
        "The Content-Type is missing or another one, names another charset, or the body is compressed.",
        "Send 'Content-Type: application/json' without a content encoding.",
    ),
    Problem(
        "malformed_json",
        400,
        "The body is not acceptable JSON",
        "The body is cut off, no UTF-8, nested too deeply, or holds NaN, Infinity or too long a number.",
        "Send one JSON object in UTF-8; see 'detail'.",
    ),
    Problem(
        "duplicate_key",
        400,
        "A JSON object names a key twice",
        "One object holds the same name twice; readers differ in which of the two they take.",
        "Name every key once.",
    ),
    Problem(
        "invalid_idempotency_key",
        400,
        "The Idempotency-Key cannot be used",
        "It is empty, too long or no visible ASCII, stands twice, contradicts the body, or stands above a batch.",
        "Send it once, 1 to 255 visible ASCII characters; in a batch as a field of each process.",
    ),
    Problem(
        "validation_failed",
        422,
        "A field breaks its rule",
        "A field or option is missing, unknown, of another type, or more than the action or tenant may have.",
        "See 'errors': each names the field and the rule.",
    ),
    Problem(
        "unknown_action",
        422,
        "No such action is published",
        "The name is misspelt, or no code location has published the action, or it was withdrawn.",
        "Publish the action, or choose one that is.",
    ),
    Problem(
        "action_changed",
        409,
        "The published action has another digest",
        "You sent the digest of the code that you expect, and other code was published since.",
        "Drop action_digest or send the published one.",
    ),
    Problem(
        "missing_input",
        422,
        "An input snapshot does not exist",
        "Nothing is published where the action would read, it was retired, or you may not read there.",
        "Produce the input first, or point to another with 'inputs'.",
    ),
    Problem(
        "callback_forbidden",
        422,
        "The callback address is not allowed",
        "It is not https, has credentials or another port, or leads to a private or reserved network.",
        "Use a public https address on port 443 or 8443.",
    ),
    Problem(
        "source_forbidden",
        422,
        "Files may not be read from there",
        "The place is neither below the entity's folder in the landing bucket nor one that the operator allows.",
        "Put them below the entity's folder in the landing bucket, or ask the operator to allow the place.",
    ),
    Problem(
        "idempotency_key_reused",
        422,
        "This Idempotency-Key came with another body",
        "The key was accepted within the last days for a request that differs in at least one field.",
        "Use a new key for a new request.",
    ),
    Problem(
        "process_active",
        409,
        "A process for this coordinate is under way",
        "An earlier request for this entity, data version and dataset has not ended; one may be under way.",
        "Wait for it; see 'process_id'.",
    ),
    Problem(
        "conflicting_request",
        409,
        "The existing process was asked for something else",
        "You asked to join the process that is there, and its action, params or inputs differ from yours.",
        "Send the params and inputs of the process in 'process_id', or another data_version.",
    ),
    Problem(
        "too_many_subscribers",
        409,
        "Enough addresses wait for this process",
        "As many other callback addresses as one process may have have joined it already.",
        "Look at the process in 'process_id' instead of asking for a callback.",
    ),
    Problem(
        "process_ended",
        409,
        "The process has ended",
        "It came to another end, or that end was decided, before it could be cancelled.",
        "Its state is in 'state'; once it is failed, cancelled or expired it can be retried.",
    ),
    Problem(
        "no_callback",
        409,
        "There is no callback to send again",
        "The process has not ended, or was asked for without a callback_url or with our report address.",
        "Wait until the process has ended; one without a callback_url has none.",
    ),
    Problem(
        "backfill_over",
        409,
        "The backfill is over, or being cancelled",
        "It was cancelled, all of its processes have ended, or all are made and there is nothing left to resume.",
        "Look at its state; make another one for what is left.",
    ),
    Problem(
        "process_not_retriable",
        409,
        "Only what failed, was cancelled or expired can be retried",
        "The process is still under way, or it has succeeded.",
        "Retry it once it has ended otherwise; what has succeeded never changes.",
    ),
    Problem(
        "version_already_published",
        409,
        "This coordinate is published and never changes",
        "An earlier process or an operator's run has published there; a coordinate has one snapshot.",
        "Read the snapshot, or submit a new data_version.",
    ),
    Problem(
        "version_retired",
        409,
        "This coordinate was retired for ever",
        "The snapshot that was published there has been retired by an operator.",
        "Submit a new data_version.",
    ),
    Problem(
        "attempt_superseded",
        409,
        "This attempt is no longer wanted",
        "The process has ended, or a newer attempt of it is current; told to runs only.",
        "Stop: another attempt or outcome has taken its place.",
    ),
    Problem(
        "permit_held",
        409,
        "Another attempt holds a live commit permit",
        "An earlier attempt of the process may commit until its permit is over; told to runs only.",
        "Ask again after 'retry_after' seconds.",
    ),
    Problem(
        "commit_outlives_permit",
        409,
        "The presigned commit is valid for longer than the permit",
        "The two planes have different settings or clocks; told to runs only.",
        "Set the same LAKEMILL_PERMIT_SECONDS on both planes and keep their clocks in step.",
    ),
    Problem(
        "backlog_full",
        429,
        "Enough of your processes wait already",
        "Your tenant has as many processes waiting for their release as its limits allow.",
        "Wait until some have been released, or ask for a larger backlog.",
    ),
    Problem(
        "too_many_requests", 429, "Too many requests", "Your tenant's rate is exceeded.", "Wait 'Retry-After' seconds."
    ),
    Problem(
        "recovering",
        503,
        "The control plane is being rebuilt after a restore of its database",
        "An operator restored the database, and what is published is being read back from the lake.",
        "Try again after 'Retry-After' seconds with the same Idempotency-Key; nothing was accepted.",
    ),
    Problem(
        "lake_unavailable",
        503,
        "The object store does not answer",
        "The object store is down, overloaded or refuses our credentials; told to runs only.",
        "Try again later; nothing was changed.",
    ),
    Problem(
        "internal_error",
        500,
        "Lakemill made a mistake",
        "A mistake in Lakemill, or an answer of a server behind it that nobody foresaw.",
        "Report it with the request id; nothing is known of it.",
    ),
    Problem(
        "database_unavailable",
        503,
        "The database does not answer",
        "PostgreSQL is down, restarting or overloaded, or no connection was free in time.",
        "Try again with the same Idempotency-Key: then nothing is accepted twice.",
    ),
)
PROBLEMS: dict[str, Problem] = {problem.code: problem for problem in _ALL}
