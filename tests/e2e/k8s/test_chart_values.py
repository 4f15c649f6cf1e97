"""The chart's values: which fit together, and that a wrong one is refused by its name."""

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.chart_docs import DEPLOYING
from tests.e2e.k8s.helm import CHART, VARIANTS, CommandError, Manifest, render, run

pytestmark = pytest.mark.k8s


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_helm_finds_nothing_to_blame(options: Sequence[str]) -> None:
    assert "0 chart(s) failed" in run("helm", "lint", "--strict", str(CHART), *options).stdout


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("api.replica=3", "'replica' not allowed"),
        ("images.control.tag=latest", "/images/control/tag"),
        ("kafka.securityProtocol=TLS", "/kafka/securityProtocol"),
        ("kafka.directTopics.a=Acme", "/kafka/directTopics/a"),
        ("run.podLabels.app\\.kubernetes\\.io/component=api", "invalid propertyName"),
        ("s3.control.webIdentity.roleArn=arn", "s3.control: a key or web identity, not both"),
        ("s3.compute.webIdentity.roleArn=arn", "s3.compute: a key or web identity, not both"),
        ("readOnlyWebserver.url=dagster.example.com", "/readOnlyWebserver/url"),
        ("networkPolicy.to.s3.cidrs=null", "missing property 'cidrs'"),
        ("networkPolicy.to.s3.cidrs={10.0.0.0/33}", "10.0.0.0/33 is not a network"),
        ("networkPolicy.to.s3.cidrs={::ffff:169.254.169.254/128}", "/networkPolicy/to/s3/cidrs/0"),
        ("networkPolicy.dns=null", "missing property 'dns'"),
        ("networkPolicy.to.s3.cidrs={169.254.0.0/16}", "cloud's metadata"),
        ("networkPolicy.to.s3.cidrs={fd00:ec2::/32}", "cloud's metadata"),
        ("networkPolicy.to.s3.cidrs={FD00:EC2::254/128}", "cloud's metadata"),
        ("callbacks.allow={169.254.169.254/32}", "cloud's metadata"),
        ("callbacks.allow={169.254.170.2/32}", "cloud's metadata"),
        ("callbacks.allow={100.100.100.200/32}", "cloud's metadata"),
        ("callbacks.allow={168.63.129.16/32}", "cloud's metadata"),
        ("callbacks.allow={fd20:ce:0:0::254/128}", "cloud's metadata"),
        ("callbacks.allow={64:ff9b:0::A9FE:a9fe/128}", "cloud's metadata"),
        ("callbacks.allow={10.20.1.5/16}", "callbacks.allow names 10.20.1.5/16"),
        ("callbacks.allow={10.0.0.0/8,fd12::1/64}", "callbacks.allow names fd12::1/64"),
        ("callbacks.allow={10.20.1.5/16},networkPolicy.enabled=false", "name the network's first address"),
        ("retention.processesDays=5", "make it at least retention.idempotencyDays, which is 7"),
        ("retention.idempotencyDays=91", "retention.processesDays is 90: make it at least"),
        ("networkPolicy.dnsPorts=null", "missing property 'dnsPorts'"),
        ("s3.endpoint=http://s3.example.com", "s3.endpoint leads to port 80,"),
        ("s3.endpoint=https://s3.example.com:9000", "s3.endpoint leads to port 9000,"),
        ("networkPolicy.to.s3.ports={9000}", "s3.endpoint leads to port 443,"),
        ("kafka.bootstrap=a:9092\\,b:9096", "kafka.bootstrap leads to port 9096, which no pod may reach: add it to "),
        ("kafka.topic=a,kafka.directTopics.a=acme", "kafka.directTopics names a, which is kafka.topic"),
        ("kafka.ca.secret=ca", "make that SSL or SASL_SSL, or empty kafka.ca.secret"),
        ("kafka.ca.secret=ca,kafka.securityProtocol=SASL_PLAINTEXT", "make that SSL or SASL_SSL"),
        ("s3.ca.secret=ca,s3.endpoint=http://s3:443", "make that https://, or empty s3.ca.secret"),
    ],
)
def test_a_wrong_value_is_refused_by_name(setting: str, words: str) -> None:
    with pytest.raises(CommandError) as refused:
        render("--set", setting)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "setting",
    [
        "s3.endpoint=https://[fd12::1]",
        "s3.endpoint=http://s3:9000,networkPolicy.to.s3.ports={443,9000}",
        "s3.endpoint=http://s3:9000,networkPolicy.enabled=false",
        "kafka.bootstrap=a:9096,networkPolicy.to.kafka=null",  # whoever removes a place opens it otherwise
        "kafka.ca.secret=ca,kafka.securityProtocol=SSL",
        "retention.processesDays=7",
        "callbacks.allow={10.20.0.0/16,10.20.1.5/32,10.0.0.128/25,0.0.0.0/0,::/0,fd12::/64,fd12::1/128}",
    ],
)
def test_what_fits_together_is_taken(setting: str) -> None:
    assert render("--set", setting)


def test_the_example_fits_the_addresses_of_its_walkthrough() -> None:
    settings = re.findall(r"--set (\S+)", DEPLOYING.read_text())
    sets = [part for setting in settings for part in ("--set", setting.replace("$HOST", "10.0.0.1"))]
    assert render("--values", str(CHART / "examples" / "one-node.yaml"), *sets)


@pytest.mark.parametrize("release", ["1mill", "my.mill"])
def test_a_release_that_no_service_can_be_named_after_is_refused(release: str) -> None:
    with pytest.raises(CommandError, match=f"no Service can be named after a release {release}: take a name"):
        render(release=release)


def test_the_chart_s_label_is_one_whatever_its_version(tmp_path: Path) -> None:
    chart = Path(shutil.copytree(CHART, tmp_path / "chart"))
    stated = yaml.safe_load((chart / "Chart.yaml").read_text()) | {"version": f"0.1.0+{'build.' * 12}1"}
    (chart / "Chart.yaml").write_text(yaml.safe_dump(stated))
    (label,) = {found["metadata"]["labels"].get("helm.sh/chart") for found in render(chart=chart)} - {None}
    assert label == f"lakemill-0.1.0_{'.'.join(['build'] * 8)}"  # of at most 63 characters, without a dot at its end


def test_no_list_of_networks_is_empty_which_would_mean_everywhere() -> None:
    with pytest.raises(CommandError, match=r"networkPolicy/to/s3/cidrs': minItems"):
        render("--set-json", "networkPolicy.to.s3.cidrs=[]")
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert [found for found in _references(schema) if len(found) > 1] == []  # older Helms read nothing beside a $ref


def _references(schema: Any) -> Iterator[Manifest]:
    if isinstance(schema, dict):
        yield from [schema] if "$ref" in schema else []
        for below in schema.values():
            yield from _references(below)
