# The binary `grid` in an image of its own:  docker build -t grid .  &&  docker run --rm grid --help

FROM rust:1.95-slim-trixie AS build
WORKDIR /source
COPY . .
RUN cargo build --release --locked --bin grid

FROM debian:trixie-slim
COPY --from=build /source/target/release/grid /usr/local/bin/grid
# The directory is made here, so that a new volume in its place belongs to the same user.
RUN groupadd --gid 10001 grid \
 && useradd --uid 10001 --gid grid --no-log-init --no-create-home --home-dir /data --shell /usr/sbin/nologin grid \
 && install -d -o grid -g grid -m 0750 /data
USER 10001:10001
WORKDIR /data
# Loopback leads nowhere outside a container, so it listens on all addresses; a member that joins others
# needs GRID_ADVERTISE too, its own name among them. HTTP has no access control: publish it with care.
ENV GRID_BIND=0.0.0.0:5701 \
    GRID_HTTP=0.0.0.0:8701 \
    GRID_DATA_DIR=/data
EXPOSE 5701 8701
# Whether the process works, not whether it serves: who restarts a member that waits for others makes
# things worse, since data is in memory. It answers while it waits, too.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD bash -c \
  'exec 3<>/dev/tcp/127.0.0.1/8701 && printf "GET /health/live HTTP/1.0\r\n\r\n" >&3 && read -r _ status _ <&3 && test "$status" = 200'
# It ends in order on SIGTERM and starts no processes, so it needs no init before it.
ENTRYPOINT ["grid"]
CMD ["start"]
