# The compute image with the tests' actions: as any team adds its own.
ARG COMPUTE
FROM ${COMPUTE}
COPY actions/*.py /app/assets/actions/
