# Rollcall for production: Postgres is external (DATABASE_URL), the root filesystem may be read-only.
#
#   docker run --read-only --tmpfs /tmp -p 8080:8080 -e DATABASE_URL=postgres://... -e ROLLCALL_MASTER_KEY=... rollcall
#
# Releases replace the tag in both FROM lines by the digest of the image they were tested with.

FROM node:24-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
# applied by the postinstall script; without it a lost database connection ends the process
COPY patches ./patches
# the optional packages are the binaries of the embedded Postgres, which a container does not use
RUN npm ci --omit=dev --omit=optional --no-audit --no-fund

FROM node:24-slim
ENV NODE_ENV=production \
    NODE_COMPILE_CACHE=/app/.compile-cache \
    ROLLCALL_CONFIG=/app/config/container.yaml
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json ./
COPY config ./config
COPY drizzle ./drizzle
COPY src ./src
# fills the compile cache as root: afterwards it is only read, which suits a read-only root, and a process that finds
# all there loads no compiler (20 MB)
RUN node --disable-proto=delete src/main.ts --version && \
    node --disable-proto=delete --input-type=module --eval "await import('/app/src/app/app.ts')"

USER node
# 8080: API, SCIM. 8081: /livez, /readyz, /metrics; keep it inside the cluster.
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:8081/livez').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]

# node itself is process 1, so SIGTERM reaches it and drains
ENTRYPOINT ["node", "--disable-proto=delete", "--max-semi-space-size=32", "--heap-growing-percent=150", "src/main.ts"]
CMD ["serve"]
