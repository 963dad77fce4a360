# syntax=docker/dockerfile:1
# sconce in a container: one program, libtorch beside it, and nothing else that runs.
#
#   docker build -t sconce .
#   docker run -p 127.0.0.1:8080:8080 -v ./models:/models:ro --read-only --tmpfs /tmp sconce
#
# deploy/README.md says what the image expects; scripts/image builds and tries it without Docker.

# The workspace's version; .ci/run compares.
ARG VERSION=0.1.0
# cpu, or cuda: the same program with all of PyTorch's CUDA libraries beside it (several gigabytes).
# NOTE: cuda is unproven. The program has loaded these libraries outside a container, but no image
# made this way has run on a GPU yet.
ARG DEVICE=cpu

FROM rust:1.95-slim-bookworm AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends binutils g++ make python3 python3-pip \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
ENV SCONCE_CACHE=/var/cache/sconce
# What takes long lies in cache mounts: libtorch's 540 MB of wheels, compiled crates, cargo's registry.
# A pip configuration (own index, proxy, certificate) comes as a secret and stays out of every layer:
# docker build --secret id=pip,src=$HOME/.config/pip/pip.conf
ARG DEVICE
# hadolint ignore=DL3042
RUN --mount=type=cache,id=sconce-build,target=/var/cache/sconce,sharing=locked \
    --mount=type=cache,id=sconce-registry,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=secret,id=pip,target=/etc/pip.conf \
    scripts/setup \
    && cargo build --release --locked --bin sconce \
    && scripts/stage-image "$DEVICE" /staged

FROM debian:bookworm-slim
ARG VERSION
LABEL org.opencontainers.image.title="sconce" \
      org.opencontainers.image.description="Serves TorchScript models over HTTP: batched, bounded, watched" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.base.name="debian:bookworm-slim"
COPY --from=build /staged/ /
# What stores' certificates are checked against.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
# The number is fixed so that volumes and Kubernetes' runAsUser can name it. The program's version is
# asked for so that a library that is missing ends the build and not the first start.
RUN groupadd --gid 10001 sconce \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin sconce \
    && install --directory --owner=10001 --group=10001 --mode=0750 /var/lib/sconce \
    && install --directory /models \
    && /opt/sconce/bin/sconce --version
# The listener for predictions must be met from outside the container. The management listener, which
# can change state and asks nobody who he is, stays on the container's own loopback.
ENV PATH="/opt/sconce/bin:${PATH}" \
    SCONCE_HTTP__LISTEN=0.0.0.0:8080 \
    SCONCE_MODELS=/models \
    SCONCE_STATE_DIR=/var/lib/sconce
USER 10001:10001
WORKDIR /
EXPOSE 8080
STOPSIGNAL SIGTERM
# Ready, not alive: nobody should send requests before. The start period covers trying new models.
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 CMD ["/opt/sconce/bin/health-check"]
ENTRYPOINT ["/opt/sconce/bin/sconce"]
CMD ["serve"]
