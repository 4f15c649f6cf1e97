"""What a tenant's rules say: which entities, and how large a profile."""

import pytest
from pydantic import ValidationError

from api.rates import Rates
from contracts.messages import Profile
from contracts.problems import ProblemError
from contracts.tenancy import ProfileBounds, Tenant, TenantLimits, cores_of


@pytest.mark.parametrize(
    ("pattern", "entity", "may"),
    [
        ("*", "anything", True),
        ("acme-*", "acme-1", True),
        ("acme-*", "acme", False),
        ("acme-??", "acme-12", True),
        ("acme-??", "acme-1", False),
        ("cust_*", "CUST_1", False),
        ("a.c", "abc", False),  # a dot is a dot
    ],
)
def test_a_pattern_has_two_wildcards_and_nothing_else(pattern: str, entity: str, may: bool) -> None:
    assert Tenant(id="t", entity_pattern=pattern).may_claim(entity) is may


@pytest.mark.parametrize("pattern", ["", "[ab]*", "a b", "a/b", "a" * 129, "ä*"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValidationError):
        Tenant(id="t", entity_pattern=pattern)


def test_memory_is_compared_by_its_size() -> None:
    bounds = ProfileBounds(driver_memory="2g", executor_memory="1536m")
    assert bounds.broken_by(Profile(driver_memory="2048m", executor_memory="1g")) == []
    broken = bounds.broken_by(Profile(driver_memory="2049m", executor_memory="2g"))
    assert [field for field, _ in broken] == ["driver_memory", "executor_memory"]


def test_no_bound_is_no_bound() -> None:
    largest = Profile(driver_cores=64, driver_memory="999999g", executor_instances=1000, executor_cores=64)
    assert ProfileBounds().broken_by(largest) == []
    assert [field for field, _ in ProfileBounds(executor_instances=0).broken_by(Profile())] == ["executor_instances"]


def test_cores_are_those_of_all_pods() -> None:
    assert cores_of(Profile(driver_cores=2, executor_instances=3, executor_cores=4)) == 14
    assert cores_of(Profile(driver_cores=2, executor_instances=0, executor_cores=4)) == 2


def test_a_rate_refills_while_nobody_asks() -> None:
    now = 0.0
    rates, tenant = Rates(lambda: now), Tenant(id="t", limits=TenantLimits(requests_per_second=4))
    for _ in range(4):
        rates.take(tenant)
    with pytest.raises(ProblemError) as refused:
        rates.take(tenant)
    assert refused.value.extra == {"retry_after": 1}
    now = 0.5
    for _ in range(2):
        rates.take(tenant)
    with pytest.raises(ProblemError):
        rates.take(tenant)
    now = 1000.0
    for _ in range(4):
        rates.take(tenant)
    with pytest.raises(ProblemError):  # a pause saves no more than a second's worth
        rates.take(tenant)


def test_one_tenants_rate_is_not_anothers() -> None:
    rates = Rates(lambda: 0.0)
    for name in ("a", "b"):
        rates.take(Tenant(id=name, limits=TenantLimits(requests_per_second=1)))
    for _ in range(1000):
        rates.take(Tenant(id="unlimited"))
