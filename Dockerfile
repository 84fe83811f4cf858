# `docker build -t squad-orchestrator .`, then `docker run --rm -v "$PWD:/work" squad-orchestrator run squad.yaml --offline`.
# docs/guides/ci.md says more. The three stages: a wheel of this checkout, its installation, and an image without either's tools.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS wheel
WORKDIR /src
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY docs docs
COPY personas personas
COPY providers providers
COPY agents agents
COPY orchestrator orchestrator
RUN pip wheel --quiet --no-cache-dir --no-deps --wheel-dir /wheel .

FROM python:${PYTHON}-slim AS installed
ARG EXTRAS=cluster,fast,mcp,otel,prices,redis,server
COPY constraints.txt /
COPY --from=wheel /wheel /wheel
RUN python -m venv /opt/squads \
    && /opt/squads/bin/pip install --quiet --no-cache-dir --only-binary :all: -c /constraints.txt "$(echo /wheel/*.whl)[${EXTRAS}]" \
    && /opt/squads/bin/pip uninstall --quiet --yes pip

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="squad-orchestrator" org.opencontainers.image.licenses="MIT"
# A user of its own, with a folder for squads (mount yours there) and one for state (a volume).
RUN useradd --uid 1000 --create-home squads && mkdir /work /state && chown squads /work /state
COPY --from=installed /opt/squads /opt/squads
ENV PATH=/opt/squads/bin:$PATH ORCHESTRATOR_STATE=/state PYTHONDONTWRITEBYTECODE=1
USER 1000
WORKDIR /work
VOLUME /state
EXPOSE 8700
# Of `serve`, whose page for logging in asks for no key. Other commands end by themselves; a worker has --health.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8700/login', timeout=4)"]
ENTRYPOINT ["orchestrator"]
CMD ["--help"]
