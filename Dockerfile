# One node of Fanfare. `docker compose up` builds it and runs it with all that it needs.
# Alone: docker run --init --read-only --tmpfs /tmp …

FROM python:3.11-slim-bookworm AS packages
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
COPY requirements.txt .
# The lock is complete and holds hashes: nothing else gets in.
RUN /opt/venv/bin/pip install --no-deps --require-hashes -r requirements.txt

FROM python:3.11-slim-bookworm AS native
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev
COPY realtime/native.py realtime/native.c /native/
RUN python /native/native.py

FROM python:3.11-slim-bookworm
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ENVIRONMENT=production \
    INSTANCE_PATH=/var/lib/fanfare
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin fanfare \
    && install --directory --owner=fanfare --mode=0700 /var/lib/fanfare
COPY --from=packages /opt/venv /opt/venv
WORKDIR /srv/fanfare
COPY run.py app.py commands.py config.py gunicorn.conf.py logs.py LICENSE ./
COPY api api
COPY core core
COPY jobs jobs
COPY realtime realtime
COPY --from=native /native/native-*.so realtime/
COPY tail tail
COPY migrations migrations
COPY web web
COPY clients/js/dist clients/js/dist
USER fanfare
VOLUME /var/lib/fanfare
EXPOSE 5000
# Liveness asks no database: a database that is away must not end the node.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ.get('PORT', '5000')}/healthz\", timeout=4)"]
# Watchers are told that the node stops, and come back to another one.
STOPSIGNAL SIGTERM
# Named by its container: so the proxy finds the node that a polling session lives in.
CMD ["sh", "-c", "NODE_NAME=\"${NODE_NAME-$HOSTNAME}\" exec gunicorn --config gunicorn.conf.py run:app"]
