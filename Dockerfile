# Equipoise as an image: `docker build .` is the balancer, `docker build --target demo .` has the demo's picture besides.
#
# What seldom changes comes first: the dashboard's files and the dependencies are rebuilt when their locks change, and
# only then. Compilers, npm and pip stay in the stages that need them; the image has a Python, the locked dependencies and
# the compiled wheel. A private index: docker build --secret id=pip,src=pip.conf .

ARG PYTHON_VERSION=3.11
ARG NODE_VERSION=22

# The dashboard's third-party files, by the hashes of dashboard/package-lock.json ######################################

FROM node:${NODE_VERSION}-bookworm-slim AS dashboard
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY dashboard dashboard/
RUN --mount=type=cache,target=/root/.npm \
    EQUIPOISE_REQUIRE_DASHBOARD=1 python3 dashboard/vendor.py

# What it runs on, from the lock alone ################################################################################

FROM python:${PYTHON_VERSION}-slim-bookworm AS dependencies
# No pip inside: the one of the image is outside of it, and what runs cannot install anything.
RUN python -m venv --without-pip /opt/equipoise
COPY requirements/runtime.lock /build/
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m pip --python /opt/equipoise/bin/python --disable-pip-version-check \
        install --require-hashes --only-binary :all: -r /build/runtime.lock

# The compiled wheel ##################################################################################################

FROM python:${PYTHON_VERSION}-slim-bookworm AS builder
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
COPY requirements/build.lock /build/
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m pip --disable-pip-version-check install --root-user-action ignore --require-hashes --only-binary :all: \
        -r /build/build.lock
WORKDIR /build
COPY setup.py compiled_modules.py pyproject.toml MANIFEST.in README.md LICENSE ./
COPY dashboard dashboard/
COPY src src/
COPY --from=dashboard /build/src/equipoise/admin/static/vendor src/equipoise/admin/static/vendor/
# 0 compiles several times faster, for trying things out.
ARG OPT_LEVEL=3
# Either of the two missing is an error: an image that is slow, or without its dashboard, is not what was asked for.
RUN EQUIPOISE_REQUIRE_COMPILE=1 EQUIPOISE_REQUIRE_DASHBOARD=1 EQUIPOISE_OPT_LEVEL=${OPT_LEVEL} \
    python -m pip --disable-pip-version-check wheel --no-deps --no-build-isolation --wheel-dir /build/wheel .

FROM dependencies AS installed
RUN --mount=type=bind,from=builder,source=/build/wheel,target=/build/wheel \
    python -m pip --python /opt/equipoise/bin/python --disable-pip-version-check install --no-deps /build/wheel/*.whl \
    && /opt/equipoise/bin/python -c "import equipoise.proxy.exchange as built; assert built.__file__.endswith('.so')"

FROM installed AS installed-demo
COPY requirements/demo.lock /build/
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m pip --python /opt/equipoise/bin/python --disable-pip-version-check \
        install --require-hashes --only-binary :all: -r /build/demo.lock

# What both images are ################################################################################################

FROM python:${PYTHON_VERSION}-slim-bookworm AS base
# A number, so that Kubernetes can see that it is not root.
RUN groupadd --system --gid 10001 equipoise \
    && useradd --system --uid 10001 --gid 10001 --home-dir /var/lib/equipoise --shell /usr/sbin/nologin equipoise \
    && install -d -m 0755 /etc/equipoise \
    && install -d -o equipoise -g equipoise -m 0700 /var/lib/equipoise
ENV PATH=/opt/equipoise/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    EQUIPOISE_CONFIG=/etc/equipoise/equipoise.toml \
    STATE_DIRECTORY=/var/lib/equipoise
USER 10001:10001
WORKDIR /var/lib/equipoise
# The one place that is written to; declared, so that `docker run --read-only` needs nothing else.
VOLUME /var/lib/equipoise
# Traffic, and the admin API where the file says 0.0.0.0:8081: its default is loopback, which is this container alone.
EXPOSE 8080 8081
# Whether the process answers, not whether there are targets: who acts on this replaces the container, which helps neither
# with a target that is down nor with a drain. Readiness is `equipoise healthcheck`.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["equipoise", "healthcheck", "--live"]
# Lets requests in flight end. That takes up to [limits] drain_timeout, 30 s: docker stop --time 40.
STOPSIGNAL SIGTERM
ENTRYPOINT ["equipoise"]
CMD ["run"]

FROM base AS demo
COPY --from=installed-demo /opt/equipoise /opt/equipoise
# matplotlib wants to write there.
ENV MPLCONFIGDIR=/tmp

FROM base AS runtime
COPY --from=installed /opt/equipoise /opt/equipoise
# Last, since they change with every build.
ARG VERSION=dev
ARG REVISION=unknown
ARG CREATED=
ARG SOURCE=
LABEL org.opencontainers.image.title="Equipoise" \
      org.opencontainers.image.description="A load balancer that keeps the requests in flight equal over its targets" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}"
