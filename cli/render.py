"""``lakemill render PROFILE``: what a profile becomes on Kubernetes."""

import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from contracts.problems import LakemillError

_WHERE = "run this in a pod of the release (kubectl exec deployment/…-daemon -- lakemill render …) or in a checkout"
_TEMPLATE = Path(__file__).parent.parent / "deploy" / "templates" / "spark-on-kubernetes"


class ComputePlaneMissingError(LakemillError):
    """This installation has the control plane's packages only."""


class NoLauncherHereError(LakemillError):
    """No dagster.yaml lies where one should: no image brings one, a release mounts its own."""


def render(
    profile: Annotated[str, typer.Argument(help="The profile's name.")],
    dagster_home: Annotated[
        Path, typer.Option(envvar="DAGSTER_HOME", help="The folder of the dagster.yaml that configures the launcher.")
    ] = _TEMPLATE,
    image: Annotated[str | None, typer.Option(help="The name of an image that an action may name.")] = None,
) -> None:
    """Print the run's Job as YAML, then the same driver as arguments of spark-submit."""
    if find_spec("dagster_k8s") is None:
        raise ComputePlaneMissingError(f"'render' needs the compute plane's packages: {_WHERE}")
    if not (dagster_home / "dagster.yaml").exists():
        raise NoLauncherHereError(f"there is no dagster.yaml in {dagster_home}: {_WHERE}, or name its --dagster-home")
    import yaml

    from assets.profiles import load_images, load_profiles
    from orchestration.rendering import launcher_config, run_job, spark_submit

    profiles, images = load_profiles(), load_images()
    if profile not in profiles:
        raise typer.BadParameter(f"there is no {profile!r}; there are {', '.join(profiles)}", param_hint="PROFILE")
    if image is not None and image not in images:
        raise typer.BadParameter(f"there is no {image!r} in deploy/images.toml", param_hint="--image")
    config = launcher_config(dagster_home / "dagster.yaml")
    reference = images[image] if image else None
    typer.echo(
        yaml.safe_dump(run_job(profiles[profile], config, reference), sort_keys=False, allow_unicode=True), nl=False
    )
    typer.echo("---\n# spark-submit")
    for argument in spark_submit(profiles[profile], config, reference):
        typer.echo(f"#   {shlex.quote(argument)}")


def register(root: typer.Typer) -> None:
    """Add ``render`` to the command line."""
    root.command()(render)
