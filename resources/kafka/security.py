"""TLS and SASL for Kafka clients: the options that the settings mean, and why a broker was not to be had."""

import logging
import ssl
from collections import deque
from typing import Any

from kafka.errors import (
    IllegalSaslStateError,
    InvalidReceiveError,
    KafkaConfigurationError,
    KafkaError,
    KafkaTimeoutError,
    SaslAuthenticationFailedError,
    UnsupportedSaslMechanismError,
)
from kafka.net.compat import KafkaNetClient
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector

from resources.settings import KafkaSettings

# A broker answers a refused login and hangs up at once, so the client may see the end before the answer.
_CUT_OFF = (
    "; a broker that refuses a login or a protocol hangs up like this: check LAKEMILL_KAFKA_SECURITY_PROTOCOL, "
    "LAKEMILL_KAFKA_SASL_MECHANISM, LAKEMILL_KAFKA_SASL_USERNAME and LAKEMILL_KAFKA_SASL_PASSWORD"
)


class BrokerRefusedError(KafkaError):  # type: ignore[misc]  # kafka-python has no types
    """Broker and client do not accept each other; trying again is of no use until somebody changes a setting."""

    def __str__(self) -> str:
        return str(self.args[0])


def security_options(settings: KafkaSettings) -> dict[str, Any]:
    """Return kafka-python's options; certificates and host names are always checked.

    Raises KafkaConfigurationError when the CA file cannot be read.
    """
    options: dict[str, Any] = {"security_protocol": settings.kafka_security_protocol}
    if settings.kafka_ca_file is not None:
        try:
            ssl.create_default_context(cafile=str(settings.kafka_ca_file))
        except OSError as error:
            raise KafkaConfigurationError(
                f"LAKEMILL_KAFKA_CA_FILE ({settings.kafka_ca_file}) is not a readable PEM file of certificates: {error}"
            ) from error
        options["ssl_cafile"] = str(settings.kafka_ca_file)
    if settings.kafka_sasl_password is not None:
        _keep_passwords_out_of_logs()
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_sasl_username
        options["sasl_plain_password"] = settings.kafka_sasl_password.get_secret_value()
    return options


def _keep_passwords_out_of_logs() -> None:
    library = logging.getLogger("kafka")
    if library.isEnabledFor(logging.DEBUG):  # there it writes its configuration and the bytes of each login
        library.setLevel(logging.INFO)


class WatchedNetwork(KafkaNetClient):  # type: ignore[misc]
    """Remembers why its connections failed: a client's constructor only says that its time was up."""

    def __init__(self, **options: Any) -> None:
        net = NetworkSelector(**options)
        self._watched = _WatchedManager(net, **options)
        super().__init__(net=net, manager=self._watched)

    def explain(self, error: KafkaError, settings: KafkaSettings) -> KafkaError:
        """Return the error that a person can act on: BrokerRefusedError, or ``error`` with its cause."""
        for failure in self._watched.failures:  # a refusal tells more than the lost connections around it
            if refusal := _refusal(failure, settings):
                return BrokerRefusedError(refusal)
        if not isinstance(error, KafkaTimeoutError) or not self._watched.failures:
            return error
        last = self._watched.failures[-1]
        hint = _CUT_OFF if any(map(_is_cut_off, self._watched.failures)) else ""
        return KafkaTimeoutError(f"no broker answers at {settings.kafka_bootstrap} (last try: {last}){hint}")


class _WatchedManager(KafkaConnectionManager):  # type: ignore[misc]
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.failures: deque[BaseException] = deque(maxlen=16)

    def get_connection(self, *arguments: Any, **options: Any) -> Any:
        connection = super().get_connection(*arguments, **options)
        if not connection.init_future.is_done:
            connection.close_future.add_errback(self.failures.append)
        return connection


def _is_cut_off(failure: BaseException) -> bool:
    was_reset = any(isinstance(part, ConnectionError) for part in failure.args)
    return was_reset or isinstance(failure, InvalidReceiveError) or "disconnected" in str(failure)


def _refusal(cause: BaseException, settings: KafkaSettings) -> str | None:
    where, tls = settings.kafka_bootstrap, cause.__context__
    if isinstance(cause, SaslAuthenticationFailedError):
        return (
            f"the broker at {where} refuses the login: check LAKEMILL_KAFKA_SASL_MECHANISM, "
            "LAKEMILL_KAFKA_SASL_USERNAME and LAKEMILL_KAFKA_SASL_PASSWORD"
        )
    if isinstance(cause, UnsupportedSaslMechanismError | IllegalSaslStateError):
        return (
            f"the broker at {where} does not log in by {settings.kafka_sasl_mechanism}: check "
            "LAKEMILL_KAFKA_SASL_MECHANISM and LAKEMILL_KAFKA_SECURITY_PROTOCOL"
        )
    if isinstance(tls, ssl.SSLCertVerificationError):
        return (
            f"the certificate of the broker at {where} is not trusted ({tls.verify_message.rstrip('.')}): "
            "LAKEMILL_KAFKA_CA_FILE must hold its authority, LAKEMILL_KAFKA_BOOTSTRAP a name that it is made for"
        )
    if isinstance(tls, ssl.SSLError):
        return (
            f"the broker at {where} does not speak TLS with us ({tls.reason}): check the port in "
            "LAKEMILL_KAFKA_BOOTSTRAP, and LAKEMILL_KAFKA_SECURITY_PROTOCOL"
        )
    return None
