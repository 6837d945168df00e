# The images of the service: docs/guides/containers.md. `make container` builds them, and so does, without it,
#
#   docker build --target serving -t xception-service:0.7.0 .
#
# The images contain code, no weights: a container pulls its model when it starts. If pip needs settings on a machine,
# they are passed as the secrets `pip.conf` and `ca.crt`, which leave no trace in a layer. The most used targets come
# first, because older builders run all stages before the requested one.

ARG BASE_IMAGE=python:3.11-slim


# The serving requirements, installed by a pip that is not part of the image. Wheels only: nothing is compiled.
FROM ${BASE_IMAGE} AS packages
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/venv
COPY requirements/serve.txt /requirements/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.crt \
    /opt/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-compile \
        --require-hashes --no-deps --only-binary :all: -r /requirements/serve.txt
# Remove files that a CPU server never uses: tests, headers, OpenVINO's GPU and NPU plugins, its frontends for other
# model formats, and its telemetry. Compile to bytecode now, because the root file system may be read-only at run time;
# without bytecode a start takes twice as long. Hash-based .pyc files, because copying may change modification times;
# unchecked, because the sources do not change.
RUN cd /opt/venv/lib/python3*/site-packages \
    && find . -type d -name tests -prune -exec rm -r {} + \
    && rm -r openvino_telemetry* openvino/include \
        openvino/libs/libopenvino_intel_[gn]pu_plugin.so openvino/libs/cache.json \
    && find openvino/libs -name '*_frontend.so*' ! -name '*_ir_frontend.so*' -delete \
    && /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash .


# The application code, without tests.
FROM packages AS code
COPY model_store /app/model_store
COPY engines /app/engines
COPY service /app/service
RUN /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /app


# Common to all images: an unprivileged user and two writable directories. /var/cache/xception is the volume for pulled
# versions; everything else is written to /tmp and is disposable. There is no VOLUME instruction: it would hide files
# that a derived image puts there, and leave an anonymous volume behind for each container without a named one.
FROM ${BASE_IMAGE} AS runtime
# The official image ships the standard library without bytecode.
RUN python3 -m compileall -q -j 0 -x '/(test|tests|idlelib|site-packages|dist-packages)/' \
        "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && groupadd --gid 10001 xception \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin xception \
    && install -d -o 10001 -g 10001 /var/cache/xception
# NumPy multiplies no matrices here; without this OpenBLAS would start a thread per core in every process.
ENV PATH=/opt/venv/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 OPENBLAS_NUM_THREADS=1
WORKDIR /app
USER 10001:10001


# How the service is started, probed and stopped.
FROM runtime AS service
ENV BENTOML_DO_NOT_TRACK=True BENTOML_HOME=/tmp/bentoml BENTOML_HOST=0.0.0.0 BENTOML_PORT=3000 \
    MODEL_CACHE_DIR=/var/cache/xception
EXPOSE 3000 3001
# Liveness, not readiness: a container must not be restarted because the model store is unreachable.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-c", "import os, urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:' + os.environ['BENTOML_PORT'] + '/livez', timeout=4)"]
# As PID 1, BentoML would ignore SIGTERM until its supervisor runs, which is after the pull. --single-child sends the
# signal to BentoML alone, which stops edge and runner in order.
ENTRYPOINT ["dumb-init", "--single-child", "--"]
CMD ["bentoml", "serve", "service.app:EdgeService"]
ARG BASE_IMAGE
LABEL org.opencontainers.image.title="xception-service" \
      org.opencontainers.image.description="Image classification with Keras' Xception; the model is pulled at start-up." \
      org.opencontainers.image.base.name="${BASE_IMAGE}"


# The service on OpenVINO, for CPUs.
FROM service AS serving
COPY --from=packages /opt/venv /opt/venv
COPY --from=code /app /app
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"


# TensorFlow in addition to OpenVINO. A GPU needs other requirements: see docs/guides/containers.md.
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


# Locust and the load-test scenarios, to generate load from within a cluster.
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


# The default target of a build without --target.
FROM serving
