# The operator's command. With `migrate` it is the job that prepares the database and the broker.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
RUN python -m venv /opt/headrace
COPY pyproject.toml README.md LICENSE ./
COPY shared shared
COPY services services
COPY headrace headrace
RUN /opt/headrace/bin/pip install --no-cache-dir ".[cli]"

FROM ${PYTHON_IMAGE}
ARG APP_UID=10001
LABEL org.opencontainers.image.title="headrace-cli" \
      org.opencontainers.image.description="The operator's command, and the job that prepares the database and the broker." \
      org.opencontainers.image.licenses="MIT"
RUN useradd --uid "${APP_UID}" --user-group --no-create-home --shell /usr/sbin/nologin headrace \
    && install -d -o headrace -g headrace /var/lib/headrace
COPY --from=build /opt/headrace /opt/headrace
ENV PATH=/opt/headrace/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HEADRACE_DATA_DIR=/var/lib/headrace
USER ${APP_UID}
WORKDIR /var/lib/headrace
# A command, not a server: there is nothing to check.
HEALTHCHECK NONE
ENTRYPOINT ["headrace"]
CMD ["--help"]
