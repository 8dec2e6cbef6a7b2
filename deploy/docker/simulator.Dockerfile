# A synthetic source with known true probabilities, in the real source's format.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
RUN python -m venv /opt/headrace
COPY pyproject.toml README.md LICENSE ./
COPY shared shared
COPY simulator simulator
RUN /opt/headrace/bin/pip install --no-cache-dir ".[simulator]"

FROM ${PYTHON_IMAGE}
ARG APP_UID=10001
LABEL org.opencontainers.image.title="headrace-simulator" \
      org.opencontainers.image.description="A synthetic source with known true probabilities." \
      org.opencontainers.image.licenses="MIT"
RUN useradd --uid "${APP_UID}" --user-group --no-create-home --shell /usr/sbin/nologin headrace
COPY --from=build /opt/headrace /opt/headrace
ENV PATH=/opt/headrace/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER ${APP_UID}
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/healthz', timeout=3)"]
CMD ["python", "-m", "simulator", "--host", "0.0.0.0", "--port", "8080"]
