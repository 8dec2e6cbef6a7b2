# Sends notifications about predictions and results.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
RUN python -m venv /opt/headrace
COPY pyproject.toml README.md LICENSE ./
COPY shared shared
COPY services/__init__.py services/__init__.py
COPY services/notifier services/notifier
RUN /opt/headrace/bin/pip install --no-cache-dir ".[notifier]"

FROM ${PYTHON_IMAGE}
ARG APP_UID=10001
LABEL org.opencontainers.image.title="headrace-notifier" \
      org.opencontainers.image.description="Sends notifications about predictions and results." \
      org.opencontainers.image.licenses="MIT"
RUN useradd --uid "${APP_UID}" --user-group --no-create-home --shell /usr/sbin/nologin headrace \
    && install -d -o headrace -g headrace /var/lib/headrace
COPY --from=build /opt/headrace /opt/headrace
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
CMD ["python", "-m", "services.notifier"]
