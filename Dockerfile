# The images of the service: docs/guides/containers.md. `make container` builds them, and so does, without it,
#
#   docker build --target serving -t xception-service:0.7.0 .
#
# They hold code, never weights: a container pulls its model at the start. pip's own settings, where a machine needs
# some, come in as the secrets `pip.conf` and `ca.crt`, which leave nothing in a layer. The order of the targets is
# that of how often they are wanted: older builders run every stage that stands before the one that is asked for.

ARG BASE_IMAGE=python:3.11-slim


# What serving needs, installed by a pip that stays behind. Only wheels, so that nothing is ever compiled.
FROM ${BASE_IMAGE} AS packages
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/venv
COPY requirements/serve.txt /requirements/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.crt \
    /opt/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-compile \
        --require-hashes --no-deps --only-binary :all: -r /requirements/serve.txt
# Left out is what never runs on the CPU of a server: tests, headers, OpenVINO's plugins for GPUs and NPUs, its readers
# of other formats, and what tells its maker of every start. Compiled beforehand, as a read-only root cannot be
# written to: without it each start takes twice as long. By hash, as copying may change times; unchecked, as nobody
# edits anything here.
RUN cd /opt/venv/lib/python3*/site-packages \
    && find . -type d -name tests -prune -exec rm -r {} + \
    && rm -r openvino_telemetry* openvino/include \
        openvino/libs/libopenvino_intel_[gn]pu_plugin.so openvino/libs/cache.json \
    && find openvino/libs -name '*_frontend.so*' ! -name '*_ir_frontend.so*' -delete \
    && /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash .


# What runs, as a module tree without tests.
FROM packages AS code
COPY model_store /app/model_store
COPY engines /app/engines
COPY service /app/service
RUN /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /app


# What all images share: an account without rights, and two places to write to. /var/cache/xception is the volume
# with the pulled versions; everything else goes to /tmp and is not missed afterwards. No VOLUME: it would hide what a
# derived image puts there, and leave an anonymous volume behind for each container that names none.
FROM ${BASE_IMAGE} AS runtime
# The official image brings Python's own library uncompiled.
RUN python3 -m compileall -q -j 0 -x '/(test|tests|idlelib|site-packages|dist-packages)/' \
        "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && groupadd --gid 10001 xception \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin xception \
    && install -d -o 10001 -g 10001 /var/cache/xception
# No NumPy here multiplies matrices; OpenBLAS would still start a thread for each core of the machine in every process.
ENV PATH=/opt/venv/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 OPENBLAS_NUM_THREADS=1
WORKDIR /app
USER 10001:10001


# How the service is started, looked at and stopped.
FROM runtime AS service
ENV BENTOML_DO_NOT_TRACK=True BENTOML_HOME=/tmp/bentoml BENTOML_HOST=0.0.0.0 BENTOML_PORT=3000 \
    MODEL_CACHE_DIR=/var/cache/xception
EXPOSE 3000 3001
# Alive, not ready: who restarts what is unhealthy must not do so because a store is away.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-c", "import os, urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:' + os.environ['BENTOML_PORT'] + '/livez', timeout=4)"]
# As the first process BentoML would not hear SIGTERM until its supervisor runs, which is after the pull. The signal
# goes to it alone: it stops edge and runner in their order.
ENTRYPOINT ["dumb-init", "--single-child", "--"]
CMD ["bentoml", "serve", "service.app:EdgeService"]
ARG BASE_IMAGE
LABEL org.opencontainers.image.title="xception-service" \
      org.opencontainers.image.description="Image classification with Keras' Xception; the model is pulled at the start." \
      org.opencontainers.image.base.name="${BASE_IMAGE}"


# The service on OpenVINO, for CPUs.
FROM service AS serving
COPY --from=packages /opt/venv /opt/venv
COPY --from=code /app /app
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"


# TensorFlow beside OpenVINO. For a GPU give other requirements; docs/guides/containers.md says which.
FROM packages AS packages-tensorflow
ARG TENSORFLOW_REQUIREMENTS=requirements/serve-tensorflow.txt
COPY ${TENSORFLOW_REQUIREMENTS} /requirements/tensorflow.txt
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.crt \
    /opt/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-compile \
        --require-hashes --no-deps --only-binary :all: -r /requirements/tensorflow.txt
RUN cd /opt/venv/lib/python3*/site-packages \
    && find . -type d -name tests -prune -exec rm -r {} + \
    && rm -r openvino_telemetry* tensorflow/include clang \
    && /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash .

FROM service AS serving-tensorflow
COPY --from=packages-tensorflow /opt/venv /opt/venv
COPY --from=code /app /app
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"


# Locust and its scenarios, for load from within a cluster.
FROM ${BASE_IMAGE} AS packages-loadtest
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/venv
COPY requirements/loadtest.txt /requirements/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.crt \
    /opt/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir \
        --require-hashes --no-deps --only-binary :all: -r /requirements/loadtest.txt \
    && find /opt/venv/lib -type d -name tests -prune -exec rm -r {} +

FROM runtime AS loadtest
COPY --from=packages-loadtest /opt/venv /opt/venv
COPY loadtest /app/loadtest
ENV MPLCONFIGDIR=/tmp
EXPOSE 5557 8089
ENTRYPOINT ["dumb-init", "--single-child", "--"]
CMD ["locust", "-f", "loadtest/locustfile.py"]
ARG BASE_IMAGE
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="xception-service-loadtest" \
      org.opencontainers.image.description="Locust with the scenarios and objectives of xception-service." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"


# What a build without --target gives.
FROM serving
