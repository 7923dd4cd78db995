# Build:  docker build -t bidsapp-brainage .
# Run:    docker run --rm --network none --read-only --tmpfs /tmp -u $(id -u):$(id -g) \
#             -v BIDS:/bids:ro -v OUT:/out -v WORK:/work bidsapp-brainage /bids /out participant -w /work
#
# Build arguments
#   FETCH_TEMPLATES  auto  fetch the recommended templates and atlases; where TemplateFlow cannot
#                          be reached say so and leave them out (the embedded ones remain)
#                    yes   the same, but a failure ends the build
#                    no    do not try
#   FETCH_MODELS     names of published models to put into the image, as `brainage-model fetch` takes
#                    them, with --accept-licence where a licence asks for it; default: none
#   VERSION, REVISION, TAG, URI   recorded in every output (GeneratedBy) and in the image's labels
#   BASE_DIGEST      digest of the base, for the labels; `make image` takes the pinned base and says so
#
# containers/bidsapp-brainage.def makes the same image with Apptainer, from the base by its digest.
#
# Optional secrets, for machines with their own package index or certificates; they leave no trace:
#   --secret id=pipconf,src=pip.conf   --secret id=ca,src=ca-certificates.crt

# ---- environment: every dependency at the version of constraints.txt, then the app ----------
FROM python:3.11-slim-bookworm AS environment
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONNOUSERSITE=1
RUN python3 -m venv /opt/venv
WORKDIR /src
# Dependencies first: this layer is rebuilt only when they change.
COPY setup.cfg constraints.txt ./
COPY scripts/list_requirements.py scripts/
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf --mount=type=secret,id=ca \
    python3 scripts/list_requirements.py setup.cfg xai cluster > /tmp/requirements.txt \
    && /opt/venv/bin/pip install -c constraints.txt setuptools wheel -r /tmp/requirements.txt \
    && rm -f /tmp/requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY bidsapp_brainage bidsapp_brainage
RUN /opt/venv/bin/pip install --no-deps --no-index --no-build-isolation . \
    # whatever umask the clone was made with, any user may read the app
    && chmod -R a+rX /opt/venv/lib/python3*/site-packages/bidsapp_brainage* \
    && /opt/venv/bin/bidsapp-brainage --version \
    && /opt/venv/bin/brainage-model selftest --quick --device cpu

# ---- templates, atlases, models: the only stage that talks to anything but a package index ---
FROM environment AS fetched
ARG FETCH_TEMPLATES=auto
ARG FETCH_MODELS=
ENV TEMPLATEFLOW_HOME=/opt/templateflow BRAINAGE_MODELS_DIR=/opt/models
COPY scripts/fetch_templates.py scripts/
RUN --mount=type=secret,id=ca \
    mkdir -p /opt/templateflow \
    && /opt/venv/bin/python scripts/fetch_templates.py "$FETCH_TEMPLATES" \
    # empty files and folders mark what could be fetched; without network they only mislead
    && find /opt/templateflow -type f -empty -delete \
    && find /opt/templateflow -mindepth 1 -type d -empty -delete \
    && mkdir -p /opt/models \
    && if [ -n "$FETCH_MODELS" ]; then /opt/venv/bin/brainage-model fetch $FETCH_MODELS; fi \
    && chmod -R a+rX /opt/templateflow /opt/models

# ---- the image -------------------------------------------------------------------------------
FROM python:3.11-slim-bookworm
COPY --from=environment /opt/venv /opt/venv
COPY --from=fetched /opt/templateflow /opt/templateflow
COPY --from=fetched /opt/models /opt/models
COPY LICENSE CITATION.cff CHANGES.md /opt/app/

ARG VERSION=0.1.0
ARG REVISION=unknown
ARG TAG=bidsapp-brainage:0.1.0
ARG URI=
ARG BASE_DIGEST=unknown
# Baked in, because what a variable says at run time need not be true.
RUN printf '{"Type": "docker", "Tag": "%s", "URI": "%s", "Version": "%s", "Revision": "%s"}\n' \
      "$TAG" "$URI" "$VERSION" "$REVISION" > /opt/app/container.json \
    && chmod -R a+rX /opt/app \
    && mkdir -p -m 755 /bids /out /work \
    && chown 1000:1000 /out /work

# HOME and every cache lie in /tmp: the root may be read-only and the user any number.
# One thread per library unless the app asks for more: --omp-nthreads decides.
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/tmp \
    LANG=C.UTF-8 \
    LC_ALL=C.UTF-8 \
    MPLBACKEND=Agg \
    MPLCONFIGDIR=/tmp/matplotlib \
    XDG_CACHE_HOME=/tmp/cache \
    TEMPLATEFLOW_HOME=/opt/templateflow \
    TEMPLATEFLOW_AUTOUPDATE=0 \
    BRAINAGE_MODELS_DIR=/opt/models \
    PYTHONNOUSERSITE=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NO_ET=1 \
    OMP_NUM_THREADS=1 \
    MKL_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1 \
    ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS=1

LABEL org.opencontainers.image.title="bidsapp-brainage" \
      org.opencontainers.image.description="Brain age with region-level explanations, as a BIDS App" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.authors="The bidsapp-brainage developers" \
      org.opencontainers.image.ref.name="$TAG" \
      org.opencontainers.image.url="$URI" \
      org.opencontainers.image.base.name="docker.io/library/python:3.11-slim-bookworm" \
      org.opencontainers.image.base.digest="$BASE_DIGEST"

USER 1000:1000
WORKDIR /tmp
ENTRYPOINT ["bidsapp-brainage"]
