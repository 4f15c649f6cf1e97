# The control plane: the API and the worker, migrations and `lakemill keys`. No Dagster, no Spark, no Java.
# Build from the repository's root: make images
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS packages
COPY deploy/images/control.lock /tmp/control.lock
RUN python3 -m venv /app/.venv \
 && /app/.venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes --no-deps -r /tmp/control.lock \
 && /app/.venv/bin/pip uninstall --quiet --yes pip setuptools

FROM ${BASE}
ARG VERSION=0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Lakemill control plane" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 lakemill && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp lakemill
COPY --from=packages /app/.venv /app/.venv
COPY . /app
RUN install -m 0755 /app/deploy/images/lakemill /usr/local/bin/lakemill \
 && /app/.venv/bin/python -m compileall -q /app/api /app/cli /app/contracts /app/control /app/deploy /app/resources
ENV PATH=/app/.venv/bin:/usr/local/bin:/usr/bin:/bin PYTHONPATH=/app PYTHONUNBUFFERED=1
WORKDIR /app
USER 10001:10001
CMD ["lakemill", "--help"]
