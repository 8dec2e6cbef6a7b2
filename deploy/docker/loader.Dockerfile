# Turns clean events and predictions into rows and daily files.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

# The packages of the lock, built again only if the lock changes. zstandard brings two builds; CPython uses the other one.
# The lock loader-parquet also has what exports as Parquet or to object storage need.
FROM ${PYTHON_IMAGE} AS packages
ARG LOADER_LOCK=loader
COPY deploy/locks/loader.txt deploy/locks/loader-parquet.txt /locks/
RUN python -m venv --without-pip /opt/headrace \
    && python -m pip --python /opt/headrace/bin/python install --no-cache-dir --require-hashes --requirement "/locks/${LOADER_LOCK}.txt" \
    && rm -f /opt/headrace/lib/python3*/site-packages/zstandard/_cffi*.so

# The code, without packages.
FROM ${PYTHON_IMAGE} AS code
COPY deploy/locks/build.txt /lock.txt
RUN python -m pip install --no-cache-dir --require-hashes --requirement /lock.txt
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY shared shared
COPY services/__init__.py services/__init__.py
COPY services/loader services/loader
RUN python -m pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheel . \
    && python -m venv --without-pip /opt/headrace \
    && python -m pip --python /opt/headrace/bin/python install --no-cache-dir --no-deps --no-index /wheel/*.whl

# The bill of materials: what is installed, packages and code.
FROM packages AS sbom
COPY deploy/locks/sbom.txt /sbom.txt
RUN python -m pip install --no-cache-dir --require-hashes --requirement /sbom.txt
COPY pyproject.toml /pyproject.toml
COPY --from=code /opt/headrace /opt/headrace
RUN cyclonedx-py environment --pyproject /pyproject.toml --output-reproducible --output-file /sbom.cdx.json /opt/headrace

FROM ${PYTHON_IMAGE}
ARG APP_UID=10001
RUN useradd --uid "${APP_UID}" --user-group --no-create-home --shell /usr/sbin/nologin headrace \
    && install -d -o headrace -g headrace /var/lib/headrace /var/lib/headrace/exports
COPY --from=packages /opt/headrace /opt/headrace
COPY --from=code /opt/headrace /opt/headrace
COPY --from=sbom /sbom.cdx.json /opt/headrace/sbom.cdx.json
ENV PATH=/opt/headrace/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HEADRACE_DATA_DIR=/var/lib/headrace \
    HEADRACE_ADMIN__HOST=0.0.0.0 \
    HEADRACE_ADMIN__PORT=8080
USER ${APP_UID}
WORKDIR /var/lib/headrace
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/livez', timeout=3)"]
CMD ["python", "-m", "services.loader"]
ARG VERSION=
ARG REVISION=
ARG SOURCE=
LABEL org.opencontainers.image.title="headrace-loader" \
      org.opencontainers.image.description="Turns clean events and predictions into rows and daily files." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
