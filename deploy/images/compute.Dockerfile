# The compute plane: code location, daemon, webserver, run pod (Spark's driver) and executor are one image, so that
# Python, Spark, Hadoop and the jars are the same on both sides of every connection.
# Build from the repository's root: make images
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS java
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends openjdk-17-jre-headless \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 lakemill && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp lakemill

FROM java AS packages
WORKDIR /app
COPY deploy/images/compute.lock /app/deploy/images/compute.lock
RUN python3 -m venv .venv \
 && .venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes --no-deps -r deploy/images/compute.lock

# Only what the checked-in hashes name gets in.
FROM packages AS jars
# A proxy or a trust store of the network that the image is built in.
ARG JAVA_TOOL_OPTIONS
COPY contracts /app/contracts
COPY deploy/__init__.py /app/deploy/__init__.py
COPY deploy/jars /app/deploy/jars
RUN .venv/bin/python -m deploy.jars --into /opt/lakemill/jars --only spark

FROM packages AS runtime
COPY --from=jars /opt/lakemill/jars /opt/lakemill/jars
ENV PATH=/app/.venv/bin:/usr/local/bin:/usr/bin:/bin PYTHONPATH=/app PYTHONUNBUFFERED=1 \
    LAKEMILL_JARS_DIR=/opt/lakemill/jars/spark LAKEMILL_SPARK_ARCHIVE=/opt/lakemill/jars/spark.jsa

# Spark's class archive, from a real small job against a real S3 server; that server stays behind in this stage. The name
# of the machine that builds need not resolve.
FROM runtime AS trained
COPY deploy/images/training.lock /tmp/training.lock
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes --no-deps -r /tmp/training.lock
COPY contracts /app/contracts
COPY resources /app/resources
COPY deploy /app/deploy
RUN SPARK_LOCAL_IP=127.0.0.1 python -m deploy.local.archive /opt/lakemill/jars

FROM runtime AS compute
ARG VERSION=0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Lakemill compute plane" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=trained /opt/lakemill/jars/spark.jsa /opt/lakemill/jars/spark.jsa
COPY . /app
RUN install -m 0755 /app/deploy/images/lakemill /usr/local/bin/lakemill \
 && install -m 0755 /app/deploy/images/entrypoint /usr/local/bin/entrypoint \
 && install -m 0755 /app/deploy/images/decommission /usr/local/bin/decommission \
 && python -m compileall -q assets cli contracts deploy orchestration resources sensors
USER 10001:10001
ENTRYPOINT ["/usr/local/bin/entrypoint"]
CMD ["lakemill", "--help"]
