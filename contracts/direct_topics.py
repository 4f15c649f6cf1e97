"""Direct topics: which tenant speaks on which topic. Trust goes by topic, so both planes read the same setting."""

import re

from contracts.identity import safe_name

MAX_DIRECT_TOPICS = 32
_TOPIC = re.compile(r"(?!\.{1,2}\Z)[a-zA-Z0-9._-]{1,249}\Z")


def parse_direct_topics(text: str) -> dict[str, str]:
    """Read ``topic=tenant,topic2=tenant2``: topic → tenant. Raises ValueError naming the part and the rule."""
    found: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        topic, equals, tenant = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise ValueError(f"{part[:64]!r} is not TOPIC=TENANT")
        if not _TOPIC.match(topic):
            raise ValueError(f"{topic[:64]!r} is no topic: 1 to 249 ASCII letters, digits, dots, underscores, hyphens")
        if topic in found:
            raise ValueError(f"the topic {topic!r} stands twice: one topic is one tenant's")
        try:
            found[topic] = safe_name(tenant)
        except ValueError as error:
            raise ValueError(f"the tenant of {topic!r} {error}") from None
    if len(found) > MAX_DIRECT_TOPICS:
        raise ValueError(f"{len(found)} topics are more than {MAX_DIRECT_TOPICS}")
    return found
