# The image of Usher: one static binary, no shell, no root. The same image without a container engine:
#   cd charts && go run ./image -out ../usher.tar
FROM --platform=$BUILDPLATFORM golang:1.27.3 AS build
ARG TARGETOS TARGETARCH VERSION=
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X main.stamped=$VERSION" -o /out/usher ./cmd/usher \
 && install -d -m 0700 /out/data

FROM scratch
ARG VERSION=
LABEL org.opencontainers.image.title=usher org.opencontainers.image.version=$VERSION org.opencontainers.image.licenses=Apache-2.0
COPY --from=build /out/usher /usher
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
ENV USHER_LISTEN=0.0.0.0:8080 USHER_OPS_LISTEN=0.0.0.0:9090 USHER_DATA_DIR=/data
EXPOSE 8080 9090
VOLUME /data
ENTRYPOINT ["/usher"]
