# The compute image with the tests' actions: as any team adds its own.
ARG COMPUTE
FROM ${COMPUTE}
COPY tests/e2e/k8s/actions/*.py /app/assets/actions/
