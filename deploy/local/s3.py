"""SeaweedFS: an S3 server in one process, with atomic conditional PUT."""

import sys
from pathlib import Path

from deploy.local.server import STORAGE_WAVE, Server
from deploy.local.site import Site
from resources.lake.admin import ensure_buckets

BUCKETS = ("lake", "landing", "logs")
_PORTS = {
    "s3.port": "s3",
    "master.port": "s3-master",
    "volume.port": "s3-volume",
    "filer.port": "s3-filer",
    "master.port.grpc": "s3-master-grpc",
    "volume.port.grpc": "s3-volume-grpc",
    "filer.port.grpc": "s3-filer-grpc",
    "s3.port.grpc": "s3-grpc",
    "admin.port": "s3-admin",
    "admin.port.grpc": "s3-admin-grpc",
}
_OFF = ("-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false")


def s3_server(site: Site) -> Server:
    """Return the server; ready once the three buckets are there."""
    variables = site.variables
    access, secret = variables["LAKEMILL_S3_ACCESS_KEY"], variables["LAKEMILL_S3_SECRET_KEY"]
    ports = [f"-{flag}={site.ports.of(name)}" for flag, name in _PORTS.items()]
    data = site.folder("s3")
    weed = str(Path(sys.executable).parent / "weed")
    return Server(
        name="s3",
        command=(weed, "mini", f"-dir={data}", f"-ip={site.ports.host}", f"-ip.bind={site.ports.host}", *_OFF, *ports),
        address=site.ports.address("s3"),
        env={"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret},
        is_ready=lambda _: ensure_buckets(variables["LAKEMILL_S3_ENDPOINT"], access, secret, BUCKETS),
        prepare=lambda: data.mkdir(parents=True, exist_ok=True),
        wave=STORAGE_WAVE,
    )
