"""Where a request wants a delivery to be read from: the run checks it again, this tells it at once."""

from pydantic import ValidationError

from contracts.messages import ProcessRequest
from contracts.problems import ProblemError
from contracts.reading import validation_errors
from contracts.sources import SourceParams, is_allowed
from contracts.tenancy import Tenant
from resources.settings import ControlSettings


def check_source(request: ProcessRequest, settings: ControlSettings, tenant: Tenant) -> None:
    """Return when the tenant may have the folder read. Raises ProblemError: validation_failed, source_forbidden."""
    try:
        source = SourceParams.model_validate(request.params).source
    except ValidationError as error:
        errors = validation_errors(error)
        raise ProblemError("validation_failed", "source is not the address of a folder", errors=errors) from error
    if source is None:
        return
    allowed, landing = settings.register_sources, settings.landing_bucket
    if not is_allowed(source, allowed, landing, tenant.id, request.entity_id):
        raise ProblemError("source_forbidden", "source lies in no folder that may be read for you")
